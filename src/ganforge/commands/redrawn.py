"""Networks from sites alone: a picture or a list of them, redrawn as the model was trained to see them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ganforge.commands import bonds, scenes, site_lists
from ganforge.commands.progress import Begin, Written, in_terminal
from ganforge.commands.scenes import Seen
from ganforge.commands.sources import Source, check, check_targets, find
from ganforge.commands.translator import Translator
from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable, plain_name
from ganforge.lattice import Network, find_sites
from ganforge.lattice.canonical import Look, joined, pages, spacing
from ganforge.lattice.draw import dot_ink, draw_at
from ganforge.lattice.probability import Calibration, Candidates, probable_bonds
from ganforge.pictures import images, rasters

_BATCH_PIXELS = 2**19  # of pages that are translated at a time
_BATCH = 16  # pictures whose pages are translated together
_THREADS = 2  # that find sites, and write
_SAID = 10  # pictures of which is said how many sites they have
_LIST_SIDE = 2048  # px, longest side of the picture that is drawn of a list, at most
_LIST_SPACING = 24.0  # px between its sites, at most
_SITE_COLOUR = (216, 27, 96)
_CIRCLE = 1.0  # px, its line
_DOUBT = 2.0  # px, line of a doubtful bond
_PALE = 0.5  # of a picture's contrast, beneath the sites that were found in it


@dataclass(frozen=True, eq=False)
class Sites:
    """sites: (N, 2) in px of a picture of this shape (H, W), or in the unit of a list, which `picture_of` places."""

    sites: np.ndarray
    shape: tuple[int, int]
    is_list: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def in_picture(self) -> np.ndarray:
        """(N, 2) in px of a picture of `shape`."""
        return _placed(self.sites, self.shape) if self.is_list else self.sites


def look_of(translator: Translator) -> Look | None:
    """How a model saw sites; None where its checkpoint does not say, or is no model of networks."""
    said = translator.generator.card.get("drawing")
    return None if said is None else Look.from_card(said)


def in_picture(picture: np.ndarray) -> Sites:
    """The sites that a picture, uint8 (H, W, 1 or 3), shows."""
    return Sites(find_sites(picture), picture.shape[:2])


def in_file(file: Path) -> Sites:
    """The sites of a list, or of a picture. Raises UserError, naming the file, where there are none to be read."""
    if file.suffix.lower() in site_lists.SUFFIXES:
        sites, notes = site_lists.read(file)
        return of_list(sites, notes)
    return in_picture(images.read(file, 3))


def of_list(sites: np.ndarray, notes: Sequence[str] = ()) -> Sites:
    unit, span = spacing(sites), np.ptp(sites, axis=0)
    factor = _list_factor(unit, span)
    width, height = (max(int(np.ceil(length * factor + 2 * _LIST_SPACING)), 32) for length in span)
    return Sites(sites, (height, width), True, tuple(notes))


def _list_factor(unit: float, span: np.ndarray) -> float:
    factor = _LIST_SPACING / unit if unit > 0 else 1.0
    return min(factor, (_LIST_SIDE - 2 * _LIST_SPACING) / span.max()) if span.max() > 0 else factor


def _placed(sites: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    low, span = sites.min(axis=0), np.ptp(sites, axis=0)
    factor = _list_factor(spacing(sites), span)
    return (np.array(shape[::-1]) - span * factor) / 2 + (sites - low) * factor


def networks(translator: Translator, look: Look, given: Sequence[Sites]) -> list[tuple[Network, Candidates]]:
    """The network of each, over its sites, and how likely all bonds are that could be."""
    size = translator.size
    of_each = [pages(one.sites, look, size) for one in given]
    every = [page for own in of_each for page in own]
    at_a_time = max(1, _BATCH_PIXELS // size**2)
    drawn: list[np.ndarray] = []
    for begin in range(0, len(every), at_a_time):
        drawn += translator.pictures([page.picture[..., None] for page in every[begin : begin + at_a_time]])
    generated, calibration = iter(drawn), bonds.calibration_of(translator.generator.card)
    return [_network(one.sites, own, generated, calibration) for one, own in zip(given, of_each, strict=True)]


def _network(
    sites: np.ndarray, own: Sequence, generated: Iterator[np.ndarray], calibration: Calibration | None
) -> tuple[Network, Candidates]:
    found = [probable_bonds(next(generated)[..., 0], page.sites, calibration) for page in own]
    candidates = joined(own, found, len(sites))
    return Network(sites, candidates.pairs[candidates.is_bond]), candidates


def picture_of(look: Look, given: Sites, bonds: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 1): the sites and the bonds between them, in the size and at the places of what was given."""
    placed = Network(given.in_picture, bonds)
    return draw_at(placed, given.shape, *look.strokes_at(spacing(placed.sites), max(given.shape)))[..., None]


def picture_of_sites(picture: np.ndarray, found: Sites, candidates: Candidates) -> np.ndarray:
    """uint8 (H, W, 3): a picture, paled, with a circle around each site found in it, and doubtful bonds in colour."""
    shown = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    shown = 255 - _PALE * (255 - shown.astype(np.float32))
    radius = max(2.5, 0.3 * spacing(found.sites))
    circles = [dot_ink(found.sites, radius + side * _CIRCLE / 2, found.shape) for side in (1, -1)]
    ink = (circles[0] - circles[1])[..., None]
    circled = (shown * (1 - ink) + np.array(_SITE_COLOUR) * ink).astype(np.uint8)
    return bonds.coloured(circled, found.sites, candidates, _DOUBT)


def translate(translator: Translator, look: Look, picture: np.ndarray | Path) -> np.ndarray:
    """uint8 (H, W, 1): the network of a picture (array or file), or of a list (file, or (N, 2) of floats)."""
    if isinstance(picture, Path):
        given = in_file(picture)
    elif picture.ndim == 2 and picture.shape[1] == 2 and picture.dtype.kind == "f":
        given = of_list(site_lists.checked(picture, "the array"))
    else:
        require(
            picture.dtype == np.uint8 and picture.ndim in (2, 3),
            f"a picture {picture.shape} of {picture.dtype}: give uint8 (H, W, C), or sites as floats (N, 2)",
        )
        given = in_picture(images.with_channels(picture, 3))
    ((network, _),) = networks(translator, look, [given])
    return picture_of(look, given, network.bonds)


def write(
    translator: Translator,
    look: Look,
    given: Sequence[str | Path],
    output: Path,
    *,
    recursive: bool,
    skip_broken: bool,
    overwrite: bool,
    progress: Begin = in_terminal,
) -> Written:
    """As `ganforge.commands.predict.write`, of pictures and of lists of sites, each shown as in the training.

    Written are the network as a picture, NAME.json, NAME.graphml, and of pictures NAME_sites.png: the sites found.
    """
    sources, notes = find(given, recursive, site_lists.SUFFIXES)
    seen, broken = check(sources, lambda source: _look(source.file, translator))
    hint = "; --skip-broken leaves them out" if seen else ""
    require(not broken or (skip_broken and bool(seen)), "; ".join(broken) + hint)
    files = {source: _files(output, source, one.suffix) for source, one in seen.items()}
    written = [file for targets in files.values() for file in targets]
    check_targets(output, written, overwrite)
    side = translator.size
    translator.generator.check_size((1, len(translator.source.bands), side, side), said=f"a page of {side} px")
    for folder in {output, *(file.parent for file in written)}:
        make_writable(folder, f"--output {folder}")

    counts: dict[Source, int] = {}

    def prepare(source: Source) -> tuple[Source, np.ndarray | None, Sites]:
        if source.file.suffix.lower() in site_lists.SUFFIXES:
            return source, None, in_file(source.file)
        picture = images.read(source.file, 3)
        return source, picture, in_picture(picture)

    def write_one(
        source: Source, picture: np.ndarray | None, sites: Sites, network: Network, candidates: Candidates
    ) -> None:
        target, json_file, graph_file, *more = files[source]
        drawn, place = picture_of(look, sites, network.bonds), seen[source].place
        if place is None:
            images.write(target, drawn)
        else:
            rasters.write(target, rasters.Raster(drawn, translator.target.bands, place=place))
        bonds.write(network, json_file, graph_file, None if sites.is_list else 3, candidates)
        for file in more:
            images.write(file, picture_of_sites(picture, sites, candidates))

    found: list[Candidates] = []
    with progress(len(seen)) as done, ThreadPoolExecutor(_THREADS) as pool:
        order = list(seen)
        for begin in range(0, len(order), _BATCH):
            prepared = list(pool.map(prepare, order[begin : begin + _BATCH]))
            of_each = _named_networks(translator, look, prepared)
            list(pool.map(lambda one, of: write_one(*one, *of), prepared, of_each))
            found += [candidates for _, candidates in of_each]
            for source, _, sites in prepared:
                counts[source] = len(sites.sites)
                notes += sites.notes
            done(len(prepared))
    notes = [*_said(counts, seen), *bonds.said_of(found), *notes]
    notes += [f"left out {len(broken)} broken pictures:", *broken] if broken else []
    return Written(written, notes, len(seen))


def _named_networks(translator: Translator, look: Look, prepared: Sequence) -> list[tuple[Network, Candidates]]:
    """As `networks`; what is wrong with the sites of one is said of its file."""
    try:
        return networks(translator, look, [sites for _, _, sites in prepared])
    except UserError:
        for source, _, sites in prepared:
            try:
                pages(sites.sites, look, translator.size)
            except UserError as error:
                raise UserError(f"{source.file}: {error}") from error
        raise


def _said(counts: dict[Source, int], seen: dict[Source, Seen]) -> list[str]:
    """How many sites there were."""
    said = [f"{source.file.name}: {count} sites" for source, count in counts.items()]
    if len(said) > _SAID:
        said = [f"{sum(counts.values()):,} sites, {min(counts.values())} to {max(counts.values()):,} a picture"]
    few = [source.file.name for source, count in counts.items() if count < 2]
    said += [f"shows no network, as there are fewer than two sites: {', '.join(few)}"] if few else []
    several = [source.file.name for source in seen if seen[source].pages > 1]
    return said + ([f"of several pages the first was translated: {', '.join(several)}"] if several else [])


def _look(file: Path, translator: Translator) -> Seen:
    """What a file is. Raises UserError where no sites are read from it."""
    if file.suffix.lower() in site_lists.SUFFIXES:
        return Seen(*in_file(file).shape, ".png")
    seen = scenes.look(file, translator)
    bonds.check_size(seen.height, seen.width)
    return seen


def _files(output: Path, source: Source, suffix: str) -> list[Path]:
    folder, stem = output.joinpath(*map(plain_name, source.below.parts)), source.file.stem
    is_list = source.file.suffix.lower() in site_lists.SUFFIXES
    files = [folder / plain_name(stem, end) for end in (suffix, ".json", ".graphml")]
    return files if is_list else [*files, folder / plain_name(f"{stem}_sites", ".png")]
