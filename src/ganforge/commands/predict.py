"""Translates pictures with a trained generator; the checkpoint alone is enough."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import Progress

from ganforge.commands import scenes
from ganforge.commands.scenes import Seen
from ganforge.commands.sources import Source, check, check_targets, find
from ganforge.commands.translator import Translator, fit
from ganforge.errors import require
from ganforge.files.folders import make_writable, plain_name
from ganforge.files.untrusted import printable
from ganforge.pictures import images, rasters
from ganforge.runs.generators import check_size, load_generator

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
    norm_mode: str | None = None,
    full_size: bool = False,
    tile: int | None = None,
    overlap: float | None = None,
    dtype: str | None = None,
    recursive: bool = False,
    skip_broken: bool = False,
    overwrite: bool = False,
    as_drawn: bool = False,
    tta: bool = False,
) -> list[Path]:
    """Write the translation of every picture (files, or all of folders) to `output`; returns the files written.

    direction: which output of a model that has several, such as AtoB; None for the first. tile, overlap, dtype, tta:
    see `Translator`. recursive: also of folders in the folders, into folders of the same names. skip_broken: pictures
    that do not decode are left out, and said. Everything that can be wrong (a picture that does not decode, two of one
    name, a file that is already there) raises UserError before the first picture is translated. Names are kept, unless
    they are none for a file of `output`; formats that are read and not written (GIF) become PNG, and what they cannot
    hold TIFF. Of several pages or frames the first is translated.

    A model of networks is shown the sites of a picture as it saw sites in training, whatever they look like, and takes
    lists of them too (see `redrawn`); as_drawn: it is shown the pictures as they are, as with full_size and tile.
    """
    generator = load_generator(checkpoint, direction)
    translator = Translator(
        generator, norm_mode=norm_mode, full_size=full_size, tile=tile, overlap=overlap, dtype=dtype, tta=tta
    )
    reads_networks = "networks" in generator.card["provides"]
    if reads_networks:
        from ganforge.commands import bonds, redrawn  # other translations need none of SciPy

        look = None if as_drawn or translator.keeps_scale else redrawn.look_of(translator)
        if look is not None:
            return redrawn.predict(
                translator, look, pictures, Path(output),
                recursive=recursive, skip_broken=skip_broken, overwrite=overwrite,
            )  # fmt: skip

    sources, notes = find(pictures, recursive)
    if reads_networks and not as_drawn and not translator.keeps_scale:
        notes.append(f"{generator.path} does not say how its sites were drawn, so the pictures are given as they are")
    seen, broken = check(sources, lambda source: scenes.look(source.file, translator))
    hint = "; --skip-broken leaves them out" if seen else ""
    require(not broken or (skip_broken and bool(seen)), "; ".join(broken) + hint)
    output = Path(output)
    files = {source: _files(output, source, seen[source].suffix, reads_networks) for source in seen}
    written = [file for targets in files.values() for file in targets]
    check_targets(output, written, overwrite)
    for height, width in dict.fromkeys(translator.seen_at(one.height, one.width) for one in seen.values()):
        if reads_networks:
            bonds.check_size(height, width)
        shape = (1, len(translator.source.bands), height, width)
        check_size(generator, shape, said=f"a picture of {width}×{height} px")
    for folder in {output, *(file.parent for file in written)}:
        make_writable(folder, f"--output {folder}")

    found: list[Candidates] = []
    with Progress() as progress:
        task = progress.add_task("translating", total=sum(one.steps(translator) for one in seen.values()))

        def done(count: int = 1) -> None:
            progress.advance(task, count)

        read_networks = partial(bonds.read_and_write, found, generator.card) if reads_networks else None
        _translate_pictures(translator, {s: files[s] for s in seen if not seen[s].is_scene}, seen, read_networks, done)
        for source in (source for source in seen if seen[source].is_scene):
            scenes.translate(source.file, seen[source], translator, files[source][0], done)
    print(f"{len(seen)} pictures translated with {generator.path}, written to {output}")
    notes += dict.fromkeys(chain.from_iterable(one.notes for one in seen.values()))
    notes += bonds.said_of(found) if reads_networks else []
    several = [source.file.name for source in seen if seen[source].pages > 1]
    notes += [f"of several pages the first was translated: {', '.join(several)}"] if several else []
    notes += [f"left out {len(broken)} broken pictures:", *broken] if broken else []
    print(*(printable(note) for note in notes), sep="\n", end="\n" if notes else "")
    return written


@dataclass(frozen=True)
class _Picture:
    """A picture as it was read, as the network takes it, and the height and width that it takes there."""

    source: Source
    read: np.ndarray
    fitted: np.ndarray
    covered: tuple[int, int]


def _translate_pictures(
    translator: Translator,
    files: Mapping[Source, Sequence[Path]],
    seen: Mapping[Source, Seen],
    read_networks: Callable[..., None] | None,
    done: Callable[[], None],
) -> None:
    """Read, translate in batches of one size, and write at the same time."""

    def prepare(source: Source) -> _Picture:
        picture = images.read(source.file, len(translator.source.bands))
        keep = translator.keeps_scale
        return _Picture(
            source, picture, *((picture, picture.shape[:2]) if keep else fit(picture, translator.generator.card))
        )

    def write(one: _Picture, generated: np.ndarray) -> None:
        target, *network_files = files[one.source]
        result = images.resize(generated[: one.covered[0], : one.covered[1]], one.read.shape[:2])
        place = seen[one.source].place
        if place is None:
            images.write(target, result)
        else:
            rasters.write(target, rasters.Raster(result, translator.target.bands, place=place))
        if read_networks is not None:
            factors = np.divide(one.read.shape[:2], one.covered)[::-1]
            read_networks(one.fitted, generated, factors, *network_files)

    largest = max((seen[source].height * seen[source].width for source in files), default=1)
    held = max(1, min(_BATCH, _HELD_PIXELS // largest))
    with ThreadPoolExecutor(_THREADS) as readers, ThreadPoolExecutor(_THREADS) as writers:
        unwritten: deque[Future[None]] = deque()
        for batch in _batches(_ahead(readers, prepare, files, held), held):
            for one, generated in zip(batch, translator.pictures([one.fitted for one in batch]), strict=True):
                unwritten.append(writers.submit(write, one, generated))
                while len(unwritten) > held:
                    unwritten.popleft().result()
                done()
        for future in unwritten:
            future.result()


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
    for (height, width), group in groupby(pictures, key=lambda one: one.fitted.shape[:2]):
        size = max(1, min(most, _BATCH_PIXELS // (height * width)))
        while batch := list(islice(group, size)):
            yield batch


def _files(output: Path, source: Source, suffix: str, network: bool) -> list[Path]:
    """What is written for a picture: the translation under its name, and the two files of a network."""
    folder = output.joinpath(*map(plain_name, source.below.parts))
    return [folder / plain_name(source.file.stem, end) for end in [suffix, *([".json", ".graphml"] if network else [])]]
