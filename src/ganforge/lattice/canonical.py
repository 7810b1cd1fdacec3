"""Sites as a model was trained to see them, whatever picture or list they come from: one look, one scale, one page.

A network that fits the page of the training at the scale of the training is one page; a larger one is cut into
overlapping windows, in which every two neighbours are somewhere far from the cuts.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ganforge.errors import require
from ganforge.lattice.draw import GRID, LEAST_RADIUS, LEAST_WIDTH, PAGE, Style, dot_ink, grey, room, strokes
from ganforge.lattice.probability import Candidates
from ganforge.lattice.sample import Distribution, sample

NEIGHBOURS = 3  # nearest sites that the spacing is taken of: the bonds of the loosest lattices, and part of all others
SURVEYED = 600  # networks of a training whose spacing is looked at; quantiles then stay within a few percent
STRIDE = 0.5  # of a window's side between two
TORN = 0.75  # spacings from a cut within which sites lack neighbours, and say next to nothing
WHOLE = 2.5  # spacings from a cut beyond which a window knows all that matters to a bond
LEAST_WEIGHT = 0.01
MOST_IN_WINDOW = 4000  # sites; where one spacing is that of the network a window holds about a hundred


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a model saw sites in its training; lengths in px on a page of 256 px, scaled with the page.

    dot_radius, line_width, line_grey, margin, scale: as `Style`, the middle of the training's ranges. spacing: of its
    networks (see `spacing`), what one in twenty falls below, what half does, and what one in twenty exceeds.
    """

    dot_radius: float
    line_width: float
    line_grey: float
    margin: float
    scale: float
    spacing: tuple[float, float, float]

    def __post_init__(self) -> None:
        self.style()  # raises for what cannot be drawn
        least, usual, most = self.spacing
        require(
            self.dot_radius <= PAGE / 8,
            f"dot_radius={self.dot_radius} px; accepted is at most {PAGE / 8} on {PAGE} px.",
        )
        require(
            1 <= least <= usual <= most <= PAGE,
            f"spacing={self.spacing}; accepted are three ascending px from 1 to {PAGE}.",
        )

    def style(self) -> Style:
        return Style(
            dot_radius=self.dot_radius,
            line_width=self.line_width,
            line_grey=self.line_grey,
            margin=self.margin,
            scale=self.scale,
        )

    def strokes_at(self, unit: float, size: int) -> tuple[float, float]:
        """Radius of dots and width of lines in px of a picture of `size` px whose sites have this spacing in px."""
        factor = min(unit / self.spacing[1], size / PAGE)
        return max(self.dot_radius * factor, LEAST_RADIUS), max(self.line_width * factor, LEAST_WIDTH)

    @classmethod
    @lru_cache
    def of(cls, distribution: Distribution, size: int, seed: int) -> "Look":
        """That of a training with networks and styles of a distribution on pages of `size` px."""
        rng = np.random.default_rng([seed, SURVEYED])
        turns = [replace(distribution, lattices=(name,)) for name in distribution.lattices]  # as in training
        seen = [sample(turns[index % len(turns)], size, rng) for index in range(SURVEYED)]
        free = [style.scale * room(style, size) / np.ptp(network.sites, axis=0).max() for network, style in seen]
        units = [spacing(network.sites) * PAGE / size for network, _ in seen]
        spacings = np.multiply(free, units)
        styles = [style for _, style in seen]
        return cls(
            spacing=tuple(float(value) for value in np.quantile(spacings, [0.05, 0.5, 0.95])),
            **{
                name: float(np.median([getattr(style, name) for style in styles]))
                for name in ("dot_radius", "line_width", "line_grey", "margin", "scale")
            },
        )

    def to_card(self) -> dict[str, Any]:
        return {**asdict(self), "spacing": list(self.spacing)}

    @staticmethod
    def is_card(value: Any) -> bool:
        """Whether a value from a checkpoint is what `to_card` gives."""
        if not isinstance(value, dict) or value.keys() != set(Look.__dataclass_fields__):
            return False
        spacing = value["spacing"]
        numbers = [number for name, number in value.items() if name != "spacing"]
        if not isinstance(spacing, list) or len(spacing) != 3 or {type(n) for n in (*spacing, *numbers)} != {float}:
            return False
        try:
            Look.from_card(value)
        except ValueError:
            return False
        return True

    @classmethod
    def from_card(cls, value: dict[str, Any]) -> "Look":
        """The look of a value that `is_card`."""
        return cls(**{**value, "spacing": tuple(value["spacing"])})


@dataclass(frozen=True, eq=False)
class Page:
    """Some sites on a page of the training: picture (size, size) uint8.

    index: (K,) of the sites it shows. sites: (K, 2) in px of it. weight: (K,) 0 to 1, how far each is from where the
    network was cut.
    """

    index: np.ndarray
    sites: np.ndarray
    weight: np.ndarray
    picture: np.ndarray


def spacing(sites: np.ndarray) -> float:
    """About the length of a bond between (N, 2) sites, in their unit, from the sites alone; 0 for fewer than two.

    The median distance to the three nearest ones. For all lattices of the table, disorder up to 0.2 of a bond included,
    it is the bond's length within a tenth: the nearest one alone falls short of it by a quarter at that disorder.
    """
    if len(sites) < 2:
        return 0.0
    count = min(NEIGHBOURS, len(sites) - 1)
    return float(np.median(cKDTree(sites).query(sites, k=count + 1)[0][:, 1:]))


def pages(sites: np.ndarray, look: Look, size: int) -> list[Page]:
    """The pages on which a model that was trained at `size` px sees (N, 2) sites, in px or in any other unit.

    Raises UserError where sites crowd so that no page of any scale shows them.
    """
    sites = np.asarray(sites, dtype=np.float64).reshape(-1, 2)
    if len(sites) == 0:
        return []
    low, span = sites.min(axis=0), np.ptp(sites, axis=0)
    unit, free = spacing(sites), room(look.style(), size)
    least, usual, most = (length * size / PAGE for length in look.spacing)
    if span.max() == 0 or unit == 0:
        require(len(sites) == 1, f"{len(sites)} sites lie on each other; give sites apart from each other")
        return [_page(sites, np.array([0]), np.ones(1), low, 1.0, np.full(2, size / 2), look, size)]
    fitting = min(max(look.scale * free / span.max(), least / unit), free / span.max())
    if fitting * unit >= least * (1 - 1e-9):
        factor = min(fitting, most / unit)
        start = (size - span * factor) / 2
        return [_page(sites, np.arange(len(sites)), np.ones(len(sites)), low, factor, start, look, size)]
    factor = usual / unit
    side, start = free / factor, (size - free) / 2
    count = np.maximum(np.ceil((span - side) / (STRIDE * side)), 0).astype(np.int64) + 1
    stride = np.where(count > 1, (span - side) / np.maximum(count - 1, 1), 0.0)
    found = []
    for corner, index in _windows(sites - low, side, count, stride):
        require(
            len(index) <= MOST_IN_WINDOW,
            f"{len(index)} of its {len(sites)} sites lie within {side / unit:.0f} usual spacings: their density "
            "differs too much for one scale; give its parts one by one",
        )
        origin = corner * stride
        inside = sites[index] - low - origin
        # The rim of the network itself is no cut.
        before = np.where(corner > 0, inside, np.inf)
        after = np.where(corner < count - 1, side - inside, np.inf)
        away = np.minimum(before, after).min(axis=1) / unit
        weight = np.clip((away - TORN) / (WHOLE - TORN), LEAST_WEIGHT, 1.0)
        # A side on which the network is narrower than the window is centred.
        room_left = np.maximum(side - span, 0.0) * factor / 2
        found.append(_page(sites, index, weight, low + origin, factor, start + room_left, look, size))
    return found


def _windows(sites: np.ndarray, side: float, count: np.ndarray, stride: np.ndarray):
    """(corner (2,), index (K,)) of each window with sites in it, by how many windows from the lowest it starts.

    Of the sites, not of the windows, that there may be: two sites far apart have nearly all windows between them empty.
    """
    first, last = np.zeros(sites.shape, np.int64), np.zeros(sites.shape, np.int64)
    for axis in range(2):
        if count[axis] > 1:
            first[:, axis] = np.ceil((sites[:, axis] - side) / stride[axis] - 1e-9)
            last[:, axis] = np.floor(sites[:, axis] / stride[axis] + 1e-9)
    first, last = np.clip(first, 0, count - 1), np.clip(last, 0, count - 1)
    reach = int((last - first).max()) + 1
    member, corners = [], []
    for row in range(reach):
        for column in range(reach):
            corner = first + np.array([column, row])
            here = (corner <= last).all(axis=1)
            member.append(np.flatnonzero(here))
            corners.append(corner[here])
    member, corners = np.concatenate(member), np.concatenate(corners)
    order = np.lexsort((member, corners[:, 0], corners[:, 1]))
    member, corners = member[order], corners[order]
    begin = np.flatnonzero(np.r_[True, (np.diff(corners, axis=0) != 0).any(axis=1)])
    for start, stop in zip(begin, [*begin[1:], len(member)], strict=True):
        yield corners[start], member[start:stop]


def _page(
    sites: np.ndarray,
    index: np.ndarray,
    weight: np.ndarray,
    origin: np.ndarray,
    factor: float,
    start: np.ndarray | float,
    look: Look,
    size: int,
) -> Page:
    placed = np.round((start + (sites[index] - origin) * factor) * GRID) / GRID
    radius, _ = strokes(look.style(), size)
    return Page(index, placed, weight, grey(dot_ink(placed, radius, size)))


def joined(pages: Sequence[Page], found: Sequence[Candidates], n_sites: int) -> Candidates:
    """What pages of one network say together: the mean of their probabilities, weighted by distance from the cuts.

    found: of each page, over its own sites. A page that shows both ends of a pair and has no probability for it says 0.
    """
    if len(pages) == 1:
        page, own = pages[0], found[0]
        order = np.argsort(page.index)
        if np.array_equal(page.index[order], page.index):
            return Candidates(page.index[own.pairs], own.probabilities, own.calibrated)
    keys = [np.sort(page.index[own.pairs], axis=1) @ [n_sites, 1] for page, own in zip(pages, found, strict=True)]
    every = np.unique(np.concatenate([np.zeros(0, np.int64), *keys]))
    pairs = np.stack(np.divmod(every, max(n_sites, 1)), axis=1)
    total, weights = np.zeros(len(every)), np.zeros(len(every))
    starts = np.searchsorted(pairs[:, 0], np.arange(n_sites + 1))  # ascending, so the pairs of a site lie together
    weight_of = np.zeros(n_sites)
    for page, own, key in zip(pages, found, keys, strict=True):
        weight_of[page.index] = page.weight
        own_pairs = np.concatenate([np.arange(starts[site], starts[site + 1]) for site in page.index])
        shown = np.minimum(weight_of[pairs[own_pairs, 0]], weight_of[pairs[own_pairs, 1]])
        weights[own_pairs] += shown
        at = np.searchsorted(every, key)
        total[at] += own.probabilities * np.minimum(weight_of[pairs[at, 0]], weight_of[pairs[at, 1]])
        weight_of[page.index] = 0.0
    return Candidates(pairs, total / np.maximum(weights, 1e-12), all(own.calibrated for own in found))
