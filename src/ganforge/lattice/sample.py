"""Draws random networks and styles whose pictures can be read.

The rule of legibility, in pixels of the page: any two sites lie at least two dot radii + 4 and at least three line
widths + 4 apart; every other site keeps a dot radius + half a line width + 1 from every bond; a dot is at least 1.5
times as wide as a line, and 1.25 px wider. Patches too large to obey it on the page lose cells, the scale is drawn
from where it holds, and what disorder still spoils is drawn again.
"""

from dataclasses import dataclass, replace

import numpy as np

from ganforge.errors import UserError, require
from ganforge.lattice.draw import PAGE, Style, place, room, strokes
from ganforge.lattice.network import BREATHING, LATTICES, REGULAR, Network, disorder
from ganforge.lattice.outlines import CORNERS, DENTS, OUTLINES, cut

ATTEMPTS = 100  # draws before a distribution is called illegible
DOT_TO_LINE = 1.5  # least ratio of a dot's diameter to a line's width
DOT_OVER_LINE = 1.25  # px, least difference of the same; below, a dot on a straight line is lost between the pixels
# Drawn where none are chosen; the other tilings have more sites in a cell, so that fewer cells fit a page.
LOOSE = ("kagome", "square", "triangular", "honeycomb", "snub-square", "elongated-triangular")
FEWEST_CELLS = 2  # a side
MOST_DISORDER = 0.3  # standard deviation of the sites, in shortest bonds
SQUEEZE = 4.5  # with disorder std s the shortest of a few hundred bonds is about 1 - 4.5 s of the undisturbed one


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Ranges from which networks and styles are drawn uniformly; each range is (low, high). Raises UserError.

    lattices: names of `LATTICES`, drawn evenly; six of them where none are given.
    cells: whole numbers of cells, drawn for both sides of the patch on their own.
    disorder: standard deviation of the sites, in units of the shortest bond.
    breathing: side of kagome's small triangles over the lattice constant, 0.5 regular; other lattices ignore it.
    dot_radius, line_width, margin: px on a page of 256 px, scaled with the page. line_grey: 0 black.
    scale: share of the largest scale that fits.
    symmetries: turn and mirror the network by one of the 8 symmetries of the page.
    outlines: names of `OUTLINES`, drawn evenly; all but parallelograms are cut along either axis of the lattice.
    """

    lattices: tuple[str, ...] = LOOSE
    cells: tuple[int, int] = (3, 8)
    disorder: tuple[float, float] = (0.0, 0.1)
    breathing: tuple[float, float] = (0.38, 0.62)
    dot_radius: tuple[float, float] = (1.5, 3.5)
    line_width: tuple[float, float] = (0.8, 2.0)
    line_grey: tuple[float, float] = (0.0, 0.5)
    margin: tuple[float, float] = (6.0, 16.0)
    scale: tuple[float, float] = (0.7, 1.0)
    symmetries: bool = True
    outlines: tuple[str, ...] = ("parallelogram",)

    def __post_init__(self) -> None:
        require(
            not isinstance(self.lattices, str) and len(self.lattices) > 0,
            f"lattices={self.lattices!r} is not a list of names; choose from {', '.join(LATTICES)}.",
        )
        object.__setattr__(self, "lattices", tuple(self.lattices))
        for name in self.lattices:
            require(name in LATTICES, f"lattices names {name!r}, which is unknown; choose from {', '.join(LATTICES)}.")
        require(
            not isinstance(self.outlines, str) and len(self.outlines) > 0 and set(self.outlines) <= set(OUTLINES),
            f"outlines={self.outlines!r} is no list of names; choose from {', '.join(OUTLINES)}.",
        )
        object.__setattr__(self, "outlines", tuple(self.outlines))
        limits = {
            "cells": (FEWEST_CELLS, 64),
            "disorder": (0, MOST_DISORDER),
            "breathing": BREATHING,
            "dot_radius": (0.5, PAGE / 8),
            "line_width": (0.1, PAGE / 8),
            "line_grey": (0, 0.9),
            "margin": (0, PAGE / 4 - 1),
            "scale": (0.05, 1),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            require(
                not isinstance(value, str) and np.shape(value) == (2,) and np.asarray(value).dtype.kind in "iuf",
                f"{name}={value!r} is not a range; accepted are two numbers (low, high).",
            )
            low, high = value
            require(
                least <= low <= high <= most,
                f"{name}={(low, high)} is not accepted; it takes (low, high) with {least} <= low <= high <= {most}.",
            )
            object.__setattr__(self, name, (low, high))
        require(
            all(int(n) == n for n in self.cells), f"cells={self.cells} is not accepted; it takes two whole numbers."
        )
        require(
            2 * self.dot_radius[1] >= DOT_TO_LINE * self.line_width[0],
            f"dot_radius={self.dot_radius} is too small for line_width={self.line_width}; a dot must be at least "
            f"{DOT_TO_LINE} times as wide as a line.",
        )


def sample(distribution: Distribution, size: int, rng: np.random.Generator) -> tuple[Network, Style]:
    """A random network, in lattice constants, and a style in which `draw` makes a legible picture of `size` px of it.

    Equal states of `rng` give equal results. Raises UserError where the distribution does not fit on the page.
    """
    name = distribution.lattices[rng.integers(len(distribution.lattices))]
    for _ in range(ATTEMPTS):
        style = draw_style(distribution, rng)
        breathing = float(rng.uniform(*distribution.breathing)) if LATTICES[name].breathes else REGULAR
        std = float(rng.uniform(*distribution.disorder))
        radius, width = strokes(style, size)
        if not distinct(radius, width):
            continue
        free = room(style, size) * distribution.scale[1]
        need = least_distance(radius, width) / max(1 - SQUEEZE * std, 0.3)
        cells = rng.integers(int(distribution.cells[0]), int(distribution.cells[1]) + 1, size=2)
        outline = draw_outline(distribution, rng)
        network = cut(name, tuple(cells), breathing, *outline)
        while len(network.bonds) and free < need * extent_in_bonds(network) and cells.max() > distribution.cells[0]:
            cells[cells.argmax()] -= 1
            network = cut(name, tuple(cells), breathing, *outline)
        if len(network.bonds) == 0:
            continue
        extent = extent_in_bonds(network)
        network = disorder(network, std, rng)
        if distribution.symmetries:
            network = turned(network, int(rng.integers(8)))
        share = rng.uniform()  # drawn in any case, so that what follows does not depend on the page
        least = need * extent / room(style, size)
        low, high = min(max(distribution.scale[0], least), distribution.scale[1]), distribution.scale[1]
        style = replace(style, scale=low + share * (high - low))
        if legible(place(network, size, style), radius, width):
            return network, style
    raise UserError(
        f"size={size} px is too small for legible {name} networks of cells={distribution.cells}, "
        f"disorder={distribution.disorder}, dot_radius={distribution.dot_radius} and scale={distribution.scale}; "
        "use a larger size or lower these."
    )


def draw_outline(distribution: Distribution, rng: np.random.Generator) -> tuple[str, bool, np.ndarray]:
    """What `cut` needs to know of an outline; where there is no choice nothing is drawn."""
    if distribution.outlines == ("parallelogram",):
        return "parallelogram", False, np.ones(CORNERS)
    name = distribution.outlines[rng.integers(len(distribution.outlines))]
    return name, bool(rng.integers(2)), rng.uniform(*DENTS, size=CORNERS)


def draw_style(distribution: Distribution, rng: np.random.Generator) -> Style:
    """A random style of the distribution, scale still 1, with dots wide enough for their lines."""
    lines = distribution.line_width
    low, high = distribution.dot_radius
    radius = float(rng.uniform(max(low, DOT_TO_LINE * lines[0] / 2), high))
    return Style(
        dot_radius=radius,
        line_width=float(rng.uniform(lines[0], min(lines[1], 2 * radius / DOT_TO_LINE))),
        line_grey=float(rng.uniform(*distribution.line_grey)),
        margin=float(rng.uniform(*distribution.margin)),
        position=(float(rng.uniform()), float(rng.uniform())),
    )


def extent_in_bonds(network: Network) -> float:
    """Longer side of the box around the sites, over the shortest bond."""
    return float(np.ptp(network.sites, axis=0).max() / network.lengths().min())


def turned(network: Network, symmetry: int) -> Network:
    """The network under one of the 8 symmetries of a square page, 0 (none) to 7."""
    sites = network.sites * np.array([1 - 2 * (symmetry & 1), 1 - (symmetry & 2)])
    return replace(network, sites=sites[:, ::-1].copy() if symmetry & 4 else sites)


def least_distance(radius: float, width: float) -> float:
    """Least distance in px of two sites with dots of `radius` and lines of `width` px."""
    return max(2 * radius, 3 * width) + 4


def distinct(radius: float, width: float) -> bool:
    """Whether dots of `radius` px stand out from lines of `width` px that run through them."""
    # The widest line of a style may miss its ratio by a rounding.
    return 2 * radius >= max(DOT_TO_LINE * width * (1 - 1e-9), width + DOT_OVER_LINE)


def legible(placed: Network, radius: float, width: float) -> bool:
    """Whether dots and bonds of a network in px can be told apart, drawn with dots of `radius` and lines of `width`.

    The rule is the module's; it bounds distances only.
    """
    sites, bonds = placed.sites, placed.bonds
    if not distinct(radius, width):
        return False
    x, y = sites[:, 0], sites[:, 1]
    apart = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    np.fill_diagonal(apart, np.inf)
    if len(sites) > 1 and apart.min() < least_distance(radius, width) ** 2:
        return False
    away = distance_to_bonds(sites, sites[bonds[:, 0]], sites[bonds[:, 1]])
    away[np.arange(len(bonds))[:, None], bonds] = np.inf
    return len(bonds) == 0 or bool(away.min() >= radius + width / 2 + 1)


def distance_to_bonds(points: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(M, N) distances of N points to M segments; all in one unit, no segment of length 0."""
    ax, ay = (second - first).T
    dx, dy = points[:, 0] - first[:, :1], points[:, 1] - first[:, 1:]
    squared = (ax * ax + ay * ay)[:, None]
    ax, ay = ax[:, None], ay[:, None]
    share = np.clip((dx * ax + dy * ay) / squared, 0.0, 1.0)
    return np.hypot(dx - share * ax, dy - share * ay)
