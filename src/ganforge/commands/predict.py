"""Translates pictures with a trained generator; the checkpoint alone is enough."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganforge.commands import scenes
from ganforge.commands.progress import Begin, Written, in_terminal
from ganforge.commands.scenes import Seen
from ganforge.commands.sources import Source, check, check_targets, find
from ganforge.commands.translator import Prepared, Translator
from ganforge.commands.translators import translator as translator_of
from ganforge.errors import require
from ganforge.files.folders import make_writable, plain_name
from ganforge.files.untrusted import printable
from ganforge.pictures import images, rasters
from ganforge.pictures.paper import whitened
from ganforge.runs.asking import asked
from ganforge.runs.engine import Generator
from ganforge.runs.opened import open_generator

if TYPE_CHECKING:
    from ganforge.lattice.probability import Candidates

_BATCH_PIXELS = 2**19  # of pictures that are translated at a time, at most
_BATCH = 16  # pictures, at most; so many are read ahead, and wait to be written
_HELD_PIXELS = 2**24  # of these
_THREADS = 2  # that read; as many write


def predict(
    checkpoint: str | Path,
    pictures: Sequence[str | Path],
    output: str | Path,
    *,
    direction: str | None = None,
    **options: Any,
) -> list[Path]:
    """`write` with the generator of a checkpoint, and say what was written; returns the files.

    direction: which output of a model that has several, such as AtoB; None for the first.
    """
    generator = open_generator(checkpoint, direction)
    written = write(generator, pictures, output, **options)
    print(f"{written.pictures} pictures translated with {generator.path}, written to {Path(output)}")
    print(*(printable(note) for note in written.notes), sep="\n", end="\n" if written.notes else "")
    return written.files


def write(
    generator: Generator,
    pictures: Sequence[str | Path],
    output: str | Path,
    *,
    to: str | None = None,
    settings: Sequence[str] = (),
    norm_mode: str | None = None,
    full_size: bool = False,
    tile: int | None = None,
    overlap: float | None = None,
    dtype: str | None = None,
    whiten: bool = False,
    recursive: bool = False,
    skip_broken: bool = False,
    overwrite: bool = False,
    as_drawn: bool = False,
    tta: bool = False,
    progress: Begin = in_terminal,
) -> Written:
    """Write the translation of every picture (files, or all of folders) to `output`.

    to, settings: what a model of many domains is asked for, as `ganforge.runs.asking.asked` takes it, settings as
    NAME=1 or NAME=0; with to="all" each picture is translated to every domain, to NAME_DOMAIN. tile, overlap, dtype,
    tta: see `Translator`. whiten: scanned drawings are given white paper first (see `whitened`). recursive: also of
    folders in the folders, into folders of the same names. skip_broken: pictures that do not decode are left out, and
    said. Everything that can be wrong (a picture that does not decode, two of one name, a file that is already there)
    raises UserError before the first picture is translated. Names are kept, unless they are none for a file of
    `output`; formats that are read and not written (GIF) become PNG, and what they cannot hold TIFF. Of several pages
    or frames the first is translated.

    A model of networks is shown the sites of a picture as it saw sites in training, whatever they look like, and takes
    lists of them too (see `redrawn`); as_drawn: it is shown the pictures as they are, as with full_size and tile.
    """
    options = {"norm_mode": norm_mode, "full_size": full_size, "tile": tile, "overlap": overlap, "dtype": dtype}
    options["tta"] = tta
    asked_for = {end: translator_of(one, **options) for end, one in _asked(generator, to, settings).items()}
    translator = next(iter(asked_for.values()))
    reads_networks = "networks" in generator.card["provides"]
    if reads_networks:
        from ganforge.commands import bonds, redrawn  # other translations need none of SciPy

        look = None if as_drawn or translator.keeps_scale else redrawn.look_of(translator)
        if look is not None:
            require(not whiten, "--whiten: sites are found on any paper; leave it out, or give --as-drawn too")
            return redrawn.write(
                translator, look, pictures, Path(output),
                recursive=recursive, skip_broken=skip_broken, overwrite=overwrite, progress=progress,
            )  # fmt: skip

    sources, notes = find(pictures, recursive)
    if reads_networks and not as_drawn and not translator.keeps_scale:
        notes.append(f"{generator.path} does not say how its sites were drawn, so the pictures are given as they are")
    seen, broken = check(sources, lambda source: scenes.look(source.file, translator))
    hint = "; --skip-broken leaves them out" if seen else ""
    require(not broken or (skip_broken and bool(seen)), "; ".join(broken) + hint)
    scene = next((source.file for source in seen if seen[source].is_scene), None)
    require(
        not whiten or scene is None,
        f"--whiten: is for drawings in grey or colour of 8 bits, and {scene} is translated by windows or holds more; "
        "leave it out",
    )
    output = Path(output)
    files = {
        end: {source: _files(output, source, end, seen[source].suffix, reads_networks) for source in seen}
        for end in asked_for
    }
    written = [file for own in files.values() for targets in own.values() for file in targets]
    check_targets(output, written, overwrite)
    for height, width in dict.fromkeys(translator.seen_at(one.height, one.width) for one in seen.values()):
        if reads_networks:
            bonds.check_size(height, width)
        shape = (1, len(translator.source.bands), height, width)
        translator.generator.check_size(shape, said=f"a picture of {width}×{height} px")
    for folder in {output, *(file.parent for file in written)}:
        make_writable(folder, f"--output {folder}")

    found: list[Candidates] = []
    steps = len(asked_for) * sum(one.steps(translator) for one in seen.values())
    with progress(steps) as done:
        read_networks = partial(bonds.read_and_write, found, generator.card) if reads_networks else None
        clean = whitened if whiten else _as_it_is
        for end, own in asked_for.items():
            plain = {source: files[end][source] for source in seen if not seen[source].is_scene}
            _translate_pictures(own, plain, seen, read_networks, done, clean)
            for source in (source for source in seen if seen[source].is_scene):
                scenes.translate(source.file, seen[source], own, files[end][source][0], done)
    notes += dict.fromkeys(chain.from_iterable(one.notes for one in seen.values()))
    notes += bonds.said_of(found) if reads_networks else []
    several = [source.file.name for source in seen if seen[source].pages > 1]
    notes += [f"of several pages the first was translated: {', '.join(several)}"] if several else []
    notes += [f"left out {len(broken)} broken pictures:", *broken] if broken else []
    return Written(written, notes, len(seen))


def _asked(generator: Generator, to: str | None, settings: Sequence[str]) -> dict[str, Generator]:
    """What stands behind the names of the files that are written -> the generator of these."""
    values: dict[str, bool] = {}
    for setting in settings:
        name, _, value = setting.rpartition("=")
        require(bool(name) and value in ("0", "1"), f"--set {setting}: give NAME=1 or NAME=0")
        require(values.setdefault(name, value == "1") == (value == "1"), f"--set {setting}: contradicts another one")
    domains = generator.domains
    if to != "all" or domains is None or "all" in domains.names:
        return {"": asked(generator, to, values)}
    require(not values, "--to all and --set: give one of them")
    return {f"_{name}": asked(generator, name) for name in domains.names}


@dataclass(frozen=True)
class _Picture:
    source: Source
    prepared: Prepared


def _translate_pictures(
    translator: Translator,
    files: Mapping[Source, Sequence[Path]],
    seen: Mapping[Source, Seen],
    read_networks: Callable[..., None] | None,
    done: Callable[[], None],
    clean: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Read, clean, translate in batches of one size, and write at the same time."""

    def prepare(source: Source) -> _Picture:
        return _Picture(source, translator.prepare(clean(images.read(source.file, len(translator.bands_read)))))

    def write(one: _Picture, generated: np.ndarray) -> None:
        target, *network_files = files[one.source]
        result = translator.finish(one.prepared, generated)
        place = seen[one.source].place
        if place is None:
            images.write(target, result)
        else:
            rasters.write(target, rasters.Raster(result, translator.bands_written, place=place))
        if read_networks is not None:
            factors = np.divide(one.prepared.picture.shape[:2], one.prepared.covered)[::-1]
            read_networks(one.prepared.fitted, generated, factors, *network_files)

    largest = max((seen[source].height * seen[source].width for source in files), default=1)
    held = max(1, min(_BATCH, _HELD_PIXELS // largest))
    with ThreadPoolExecutor(_THREADS) as readers, ThreadPoolExecutor(_THREADS) as writers:
        unwritten: deque[Future[None]] = deque()
        for batch in _batches(_ahead(readers, prepare, files, held), held):
            for one, generated in zip(batch, translator.pictures([one.prepared.fitted for one in batch]), strict=True):
                unwritten.append(writers.submit(write, one, generated))
                while len(unwritten) > held:
                    unwritten.popleft().result()
                done()
        for future in unwritten:
            future.result()


def _as_it_is(picture: np.ndarray) -> np.ndarray:
    return picture


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Source], _Picture], items: Iterable[Source], count: int
) -> Iterator[_Picture]:
    """function(item) of each, in order, computed in threads so many items ahead."""
    waiting: deque[Future[_Picture]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _batches(pictures: Iterable[_Picture], most: int) -> Iterator[list[_Picture]]:
    """Pictures in their order, as many of one size as are translated at a time."""
    for (height, width), group in groupby(pictures, key=lambda one: one.prepared.fitted.shape[:2]):
        size = max(1, min(most, _BATCH_PIXELS // (height * width)))
        while batch := list(islice(group, size)):
            yield batch


def _files(output: Path, source: Source, end: str, suffix: str, network: bool) -> list[Path]:
    """What is written for a picture: the translation under its name with this end, and the two files of a network."""
    folder = output.joinpath(*map(plain_name, source.below.parts))
    stem = f"{source.file.stem}{end}"
    return [folder / plain_name(stem, kind) for kind in [suffix, *([".json", ".graphml"] if network else [])]]
