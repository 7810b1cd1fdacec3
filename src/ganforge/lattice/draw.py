"""Draws a network as a pair of pictures: its sites (the source), and its sites joined by bonds (the target).

The same network and style give the same bytes on every machine: placed sites are rounded to 1/1024 px, and from there
only + - * / sqrt, comparisons and rounding are used, which IEEE 754 fixes to the last bit.
"""

from dataclasses import dataclass, replace

import numpy as np

from ganforge.errors import require
from ganforge.lattice.network import Network

PAGE = 256  # px; the page on which a style states its lengths
GRID = 1024  # placed sites lie on 1/1024 px
LEAST_RADIUS = 1.0  # px on the page drawn; a smaller dot is drawn this large, or it cannot be told from its lines
LEAST_WIDTH = 0.5  # px on the page drawn; a thinner line is drawn this wide, or grey ones drown in JPEG noise


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a network is drawn. Raises UserError for values out of range.

    dot_radius, line_width: px on a page of 256 px, scaled with the page (see `strokes`); a line is no wider than a dot.
    line_grey: 0 black, below 1; dots are always black.
    margin: px on a page of 256 px, the border kept clear of dots.
    scale: above 0, to 1: share of the largest scale at which the network fits inside the margin.
    position: (0..1, 0..1), where in the room that is left: (0, 0) top left, (0.5, 0.5) centred.
    """

    dot_radius: float = 2.5
    line_width: float = 1.2
    line_grey: float = 0.0
    margin: float = 8.0
    scale: float = 1.0
    position: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        require(self.dot_radius > 0, f"dot_radius={self.dot_radius} px; accepted is above 0.")
        require(
            0 < self.line_width <= 2 * self.dot_radius,
            f"line_width={self.line_width} px; accepted is above 0 and at most the dots' diameter, "
            f"{2 * self.dot_radius} px.",
        )
        require(0 <= self.line_grey < 1, f"line_grey={self.line_grey}; accepted is 0 (black) to below 1 (white).")
        require(
            0 <= self.margin < PAGE / 4, f"margin={self.margin} px; accepted is 0 to below {PAGE / 4} on {PAGE} px."
        )
        require(0 < self.scale <= 1, f"scale={self.scale}; accepted is above 0, to 1.")
        require(
            len(self.position) == 2 and all(0 <= p <= 1 for p in self.position),
            f"position={self.position}; accepted are two numbers from 0 to 1.",
        )


@dataclass(frozen=True, eq=False)
class Drawing:
    """A pair of pictures and what they show.

    source: (size, size) uint8, black dots on white (255). target: likewise, with the bonds.
    network: the network in pixels, x right and y down; the page is [0, size] x [0, size], pixel centres at +0.5.
    """

    source: np.ndarray
    target: np.ndarray
    network: Network


def strokes(style: Style, size: int) -> tuple[float, float]:
    """Radius of the dots and width of the lines in px of a page of `size` px, never below what can be read back."""
    radius = max(style.dot_radius * size / PAGE, LEAST_RADIUS)
    return radius, max(style.line_width * size / PAGE, LEAST_WIDTH)


def room(style: Style, size: int) -> float:
    """Side in px of the square of the page in which sites may lie: inside the margin, whole dots."""
    return size - 2 * (style.margin * size / PAGE + strokes(style, size)[0])


def place(network: Network, size: int, style: Style) -> Network:
    """The network in pixels of a page of `size` px, as `draw` draws it, on multiples of 1/1024 px."""
    free = room(style, size)
    require(free > 0, f"size={size} px leaves no room inside margin={style.margin}; use a larger page.")
    sites = network.sites
    require(len(sites) > 0, "network has no sites; accepted is at least 1.")
    low = sites.min(axis=0)
    span = sites.max(axis=0) - low
    factor = style.scale * free / span.max() if span.max() > 0 else 1.0
    start = (size - free) / 2 + np.array(style.position) * (free - span * factor)
    return replace(network, sites=np.round((start + (sites - low) * factor) * GRID) / GRID)


def draw(network: Network, size: int, style: Style) -> Drawing:
    """The network as source and target pictures of `size` x `size` px, anti-aliased.

    Dots are black and lie at the same sub-pixel places in both pictures. Raises UserError where the page is too small.
    """
    require(int(size) == size and size >= 16, f"size={size}; accepted are whole numbers of px from 16.")
    size = int(size)
    placed = place(network, size, style)
    radius, width = strokes(style, size)
    dots = dot_ink(placed.sites, radius, size)
    lines = line_ink(placed, width, size)
    target = np.maximum(dots, lines * (1.0 - style.line_grey))
    return Drawing(grey(dots), grey(target), placed)


def draw_at(network: Network, shape: tuple[int, int], radius: float, width: float) -> np.ndarray:
    """(H, W) = shape, uint8: a network in px of the page with dots of `radius` px and black lines of `width` px."""
    return grey(np.maximum(dot_ink(network.sites, radius, shape), line_ink(network, width, shape)))


def grey(ink: np.ndarray) -> np.ndarray:
    """Ink, 0 none to 1 black, as uint8 grey, 255 white to 0 black."""
    return np.floor(255.0 * (1.0 - ink) + 0.5).astype(np.uint8)


def dot_ink(sites: np.ndarray, radius: float, size: int | tuple[int, int]) -> np.ndarray:
    """Share of each pixel covered by disks of `radius` px at `sites` in px; overlaps count once.

    size: of the (size, size) or (H, W) result. The coverage falls from 1 to 0 over the pixel that the rim crosses.
    """
    reach = int(radius + 1.5)
    offset = np.arange(-reach, reach + 1)
    column, row = (np.floor(sites[:, axis, None]).astype(np.int64) + offset for axis in (0, 1))
    dx, dy = column + 0.5 - sites[:, :1], row + 0.5 - sites[:, 1:]
    distance = np.sqrt((dx * dx)[:, None, :] + (dy * dy)[:, :, None])
    coverage = np.minimum(np.maximum(radius + 0.5 - distance, 0.0), 1.0)
    return stamp(coverage, column[:, None, :], row[:, :, None], size)


def line_ink(placed: Network, width: float, size: int | tuple[int, int]) -> np.ndarray:
    """Share of each pixel covered by straight lines of `width` px along the bonds, ends under the dots; as `dot_ink`.

    A line thinner than a pixel covers less of it, so its ink stays proportional to its width.
    """
    first, second = placed.sites[placed.bonds[:, 0]], placed.sites[placed.bonds[:, 1]]
    along = second - first
    length = np.sqrt(along[:, 0] * along[:, 0] + along[:, 1] * along[:, 1])
    keep = length > 0
    first, second, along, length = first[keep], second[keep], along[keep], length[keep]
    # Walk each line pixel by pixel along the axis it is closest to, and cover the few pixels across.
    steep = np.abs(along[:, 1]) > np.abs(along[:, 0])
    major = np.where(steep, 1, 0)
    lines = np.arange(len(length))
    a, b = first[lines, major], second[lines, major]
    begin, end = np.floor(np.minimum(a, b)).astype(np.int64), np.floor(np.maximum(a, b)).astype(np.int64)
    count = end - begin + 1
    line = np.repeat(lines, count)
    step = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + begin[line]
    slope = along[lines, 1 - major] / along[lines, major]
    minor = first[lines, 1 - major][line] + (step + 0.5 - a[line]) * slope[line]
    reach = int((width / 2 + 0.5) * 1.5) + 1  # a line at 45 degrees is sqrt(2) as wide across an axis
    across = np.floor(minor).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    tilt = np.abs(along[lines, major]) / length  # distance to the line over distance along the minor axis
    distance = np.abs(across + 0.5 - minor[:, None]) * tilt[line][:, None]
    coverage = np.minimum(np.maximum(width / 2 + 0.5 - distance, 0.0), min(width, 1.0))
    step, flip = step[:, None], steep[line][:, None]
    return stamp(coverage, np.where(flip, across, step), np.where(flip, step, across), size)


def stamp(coverage: np.ndarray, column: np.ndarray, row: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Picture, of size as in `dot_ink`, of the largest coverage on each pixel; what lies off the page is left out."""
    height, width = (size, size) if isinstance(size, int) else size
    keep = (coverage > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    picture = np.zeros(height * width)
    np.maximum.at(picture, (row * width + column)[keep], coverage[keep])
    return picture.reshape(height, width)
