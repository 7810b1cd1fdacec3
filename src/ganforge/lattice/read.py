"""Reads a drawn network back: where the dots are, and which of them are joined by a line.

This is the ruler that generated pictures are measured with, so it looks for lines and not for darkness: a bond is a
ridge, darker than the paper on both of its sides, that runs from dot to dot without a gap and past no third dot.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from ganforge.errors import require
from ganforge.lattice.network import Network, bond_array

MOST_SHIFT = 2.0  # px from a known site within which its dot is looked for
DELTA = 0.1  # px, step of the derivatives when sites are settled
SOFTEN = 0.5  # px, Gaussian: a thin line's peak no longer depends on where it falls between pixels
SCALES = (0.5, 1.0, 2.0)  # px, Gaussians in which dots of radius 1 to 6 px are local maxima
SMALLEST = 16  # px a side, of a drawing that is read
RAYS = 16  # directions in which a dot's rim is looked for
FAR = 9.0  # px, longest ray; dots are smaller
WIDEST = 4.0  # px, widest line
STEP = 0.5  # px between samples, along rays and across lines
WIGGLE = 1.25  # px a line may stray from the straight one between its dots
CROWD = 4.25  # px beside a line within which another dot makes it crowded
LEAST_CONTRAST = 24  # of 255, between the darkest and the paper; below, the page is empty
LEAST_RIDGE = 0.06  # of the ink of a dot; the thinnest, palest line legible has twice this once softened
LEAST_WORTH = 0.2  # of a dot in `settled`: near 1 in drawings, 0.3 where blurred; lines without a dot are below 0
LEAST_GIRTH = 0.68  # of the dots' radius; half a line's width is at most 0.67
SHARE = 0.5  # of the picture's own lines: a fainter stretch is a gap
RIDGE = 0.25  # of the same: a line stands out by less from its sides is a smear; small triangles fill with blur
LONGEST = 6.0  # median distances to the nearest dot, longest bond; breathing and disorder stretch one to about 3
MOST_AT_ONCE = 2_000_000  # distances computed at once: a page of noise has many dots
PAPER = 0.4  # share of a line along which paper has to show on both sides; near its dots other lines may be close


@dataclass(frozen=True, eq=False)
class Page:
    """A picture as ink, 0 paper to 1 dots, softened, in a border of paper that sampling may reach into."""

    sharp: np.ndarray
    soft: np.ndarray
    border: int

    def at(self, ink: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Ink at points in px of the picture, bilinear; points may lie up to the border off it."""
        height, width = ink.shape
        x = np.minimum(np.maximum(x + (self.border - 0.5), 0.0), width - 1.001).astype(np.float32)
        y = np.minimum(np.maximum(y + (self.border - 0.5), 0.0), height - 1.001).astype(np.float32)
        column, row = x.astype(np.int32), y.astype(np.int32)
        x -= column
        y -= row
        flat, start = ink.ravel(), row * width + column
        top = flat[start] * (1 - x) + flat[start + 1] * x
        start += width
        return top * (1 - y) + (flat[start] * (1 - x) + flat[start + 1] * x) * y


def read(drawn: np.ndarray, sites: np.ndarray | None = None, lattice: str = "") -> Network:
    """The network in a picture, in pixels (x right, y down, pixel centres at +0.5).

    drawn: (H, W) uint8, dark dots and lines on light paper. sites: (N, 2) in pixels where they are known; then only
    the bonds are read, else the sites are found as well (`find_sites`). lattice: name to give the network.
    Raises UserError for any other picture or sites.
    """
    page = page_of(drawn)
    if sites is None:
        sites, bonds = dots(page)
    else:
        sites = np.asarray(sites, dtype=np.float64)
        require(
            sites.ndim == 2 and sites.shape[1] == 2 and bool(np.isfinite(sites).all()),
            f"sites has shape {sites.shape}; accepted is (N, 2) of finite pixels.",
        )
        bonds = lines_between(page, *anchored(page, sites)).bonds
    return Network(sites, bonds, lattice)


def find_sites(drawn: np.ndarray) -> np.ndarray:
    """(N, 2) float64 centres of the dots in px, of a picture as `read` takes it, with lines or without."""
    return dots(page_of(drawn))[0]


def page_of(drawn: np.ndarray) -> Page:
    drawn = np.asarray(drawn)
    require(
        drawn.ndim == 2 and drawn.dtype == np.uint8 and min(drawn.shape) >= SMALLEST,
        f"drawn has shape {drawn.shape} and type {drawn.dtype}; accepted is (H, W) uint8 of at least "
        f"{SMALLEST} x {SMALLEST} px.",
    )
    levels = drawn.astype(np.float32)
    black = float(np.partition(levels, 8, axis=None)[8])  # the ninth darkest pixel, lest one speck sets the scale
    light = levels[levels >= (black + levels.max()) / 2]
    paper = float(np.median(light))
    ink = np.zeros_like(levels)
    if paper - black >= LEAST_CONTRAST:
        ink = np.clip((paper - levels) / (paper - black), 0.0, 1.0)
    border = int(FAR) + 3
    sharp = np.pad(ink, border)
    return Page(sharp, gaussian_filter(sharp, SOFTEN, truncate=3.0), border)


# Dots


def dots(page: Page) -> tuple[np.ndarray, np.ndarray]:
    """Centres (N, 2) in px of the dots, and the (M, 2) bonds between them, which were needed to place them."""
    centres = candidates(page)
    if len(centres) == 0:
        return np.zeros((0, 2)), bond_array([])
    lengths = rays(page, centres, FAR)
    for _ in range(2):
        centres = centres + chord_shift(lengths)
        lengths = rays(page, centres, FAR)
    girths = girth(lengths)
    radius = common_radius(centres, girths)
    keep = girths > LEAST_GIRTH * radius
    # Where lines meet at a sharp angle they are as broad as a dot, but mostly paler.
    rank = girths * page.at(page.soft, centres[:, 0], centres[:, 1])
    centres = thin(centres[keep], rank[keep], 2 * radius + 1)
    lines = lines_between(page, centres, radius)
    centres, radius, worth = settled(page, centres, radius, lines)
    keep = worth > LEAST_WORTH
    centres = thin(centres[keep], worth[keep], 2 * radius + 1)
    return centres, lines_between(page, centres, radius).bonds


def candidates(page: Page) -> np.ndarray:
    """(K, 2) points that may be dots: dark local maxima at one of the scales."""
    found = []
    for scale in SCALES:
        ink = gaussian_filter(page.sharp, scale, truncate=3.0)
        row, column = np.nonzero((ink >= maximum_filter(ink, 3)) & (page.sharp > 0.45) & (ink > 0.3))
        found.append(np.stack([column, row], axis=1))
    return np.unique(np.concatenate(found), axis=0) + (0.5 - page.border)


def rays(page: Page, centres: np.ndarray, far: float) -> np.ndarray:
    """(K, RAYS) lengths in px, at most `far`, at which the ink falls below half of that at the centre."""
    angle = np.arange(RAYS) * (2 * np.pi / RAYS)
    reach = np.arange(0.0, far + STEP, STEP)
    x = centres[:, 0, None, None] + np.cos(angle)[:, None] * reach
    y = centres[:, 1, None, None] + np.sin(angle)[:, None] * reach
    ink = page.at(page.sharp, x, y)
    level = np.maximum(ink[:, :1, :1] / 2, 0.42)
    below = ink < level
    below[:, :, -1] = True
    end = np.maximum(below.argmax(axis=2), 1)[:, :, None]
    inner = np.take_along_axis(ink, end - 1, axis=2)
    outer = np.take_along_axis(ink, end, axis=2)
    part = np.clip((inner - level) / np.maximum(inner - outer, 1e-6), 0.0, 1.0)
    return ((end - 1 + part) * STEP)[:, :, 0]


def girth(lengths: np.ndarray) -> np.ndarray:
    """(K,) mean of the four shortest rays: a dot's radius, half a line's width."""
    return np.partition(lengths, 3, axis=1)[:, :4].mean(axis=1)


def directions() -> np.ndarray:
    angle = np.arange(RAYS) * (2 * np.pi / RAYS)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def weighted_shift(weight: np.ndarray, push: np.ndarray) -> np.ndarray:
    """(K, 2) shifts s of least squares with s . direction = push, for (K, D) weights and pushes over D directions."""
    across = directions()[: weight.shape[1]]
    matrix = np.einsum("kd,di,dj->kij", weight, across, across) + 0.3 * np.eye(2)  # where no ray tells, stay
    return np.linalg.solve(matrix, np.einsum("kd,kd,di->ki", weight, push, across)[:, :, None])[:, :, 0]


def chord_shift(lengths: np.ndarray) -> np.ndarray:
    """Shifts to the middle of the shortest chords: the axis of a line, the centre of a dot."""
    forth, back = lengths[:, : RAYS // 2], lengths[:, RAYS // 2 :]
    chord = forth + back
    weight = (chord <= 1.4 * chord.min(axis=1, keepdims=True) + 0.1).astype(float)
    shift = weighted_shift(weight, (forth - back) / 2)
    return np.clip(shift, -1.5, 1.5)


def common_radius(centres: np.ndarray, girths: np.ndarray) -> float:
    """Radius of the dots: the highest girth that candidates apart from each other cluster at; lines lie below 0.75."""
    apart = np.sort(girths[thin_index(centres, girths, 2.0)])
    need = min(3, len(apart))
    alike = (apart[(apart >= 0.8 * top) & (apart <= 1.25 * top)] for top in apart[::-1])
    cluster = next((group for group in alike if len(group) >= need), apart)
    for _ in range(8):
        middle = np.median(cluster)
        cluster = apart[(apart >= 0.8 * middle) & (apart <= 1.25 * middle)]
    return float(np.quantile(cluster, 0.35))  # where thick lines meet the rim is hidden, so dots look larger


def thin(centres: np.ndarray, rank: np.ndarray, apart: float) -> np.ndarray:
    """Centres in ascending order of the page, of any two closer than `apart` px the one of higher rank."""
    kept = centres[thin_index(centres, rank, apart)]
    return kept[np.lexsort((kept[:, 0], kept[:, 1]))]


def thin_index(centres: np.ndarray, rank: np.ndarray, apart: float) -> np.ndarray:
    tree = cKDTree(centres)
    free = np.ones(len(centres), dtype=bool)
    chosen = []
    near = tree.query_ball_point(centres, apart) if len(centres) else []
    for index in np.argsort(-rank, kind="stable"):
        if free[index]:
            chosen.append(index)
            free[near[index]] = False
    return np.array(chosen, dtype=np.int64)


def settled(page: Page, sites: np.ndarray, radius: float, lines: "Lines") -> tuple[np.ndarray, float, np.ndarray]:
    """Sites and radius that explain the picture best: disks with this picture's lines towards their neighbours.

    Least squares in a window around each site, Gauss-Newton; without the lines a dot would be drawn towards them.
    Returns also (N,) what each disk is worth: 1 where it explains all the ink it adds, -1 where there is none of it.
    """
    reach = int(radius + 2)
    corner = np.floor(sites).astype(np.int64)
    offset = np.arange(-reach, reach + 1)
    column, row = np.tile(offset, len(offset)), np.repeat(offset, len(offset))
    height, width = page.soft.shape
    x, y = corner[:, :1] + column, corner[:, 1:] + row
    inside = (x >= -page.border) & (x < width - page.border) & (y >= -page.border) & (y < height - page.border)
    rows, columns = np.clip(y + page.border, 0, height - 1), np.clip(x + page.border, 0, width - 1)
    x, y = x + 0.5, y + 0.5
    inside &= (x - sites[:, :1]) ** 2 + (y - sites[:, 1:]) ** 2 <= (radius + 2) ** 2
    ends = np.concatenate([lines.bonds, lines.bonds[:, ::-1]])
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    owners, first = np.unique(ends[:, 0], return_index=True)

    def model(at: np.ndarray, radius: float, width: float, black: float, blur: float) -> np.ndarray:
        dx, dy = x - at[:, :1], y - at[:, 1:]
        picture = np.clip((radius + blur - np.sqrt(dx * dx + dy * dy)) / (2 * blur), 0.0, 1.0)
        if len(ends):
            along = at[ends[:, 1]] - at[ends[:, 0]]
            along = along / np.sqrt((along**2).sum(axis=1, keepdims=True))
            forth = dx[ends[:, 0]] * along[:, :1] + dy[ends[:, 0]] * along[:, 1:]
            aside = dy[ends[:, 0]] * along[:, :1] - dx[ends[:, 0]] * along[:, 1:]
            most = min(width / 2 / blur, 1.0)  # a line thinner than the blur stays below its ink
            spread = black * np.clip((width / 2 + blur - np.abs(aside)) / (2 * blur), 0.0, most)
            spread = np.where(forth > 0, spread, 0.0)
            picture[owners] = np.maximum(picture[owners], np.maximum.reduceat(spread, first, axis=0))
        return picture

    strokes = np.array([radius, lines.width, lines.ink, 0.5])
    most = np.array([FAR, WIDEST, 1.0, 1.5])
    # First softly, as dots may be a pixel off and a sharp rim pulls over half a pixel only.
    for image in [page.soft] * 2 + [page.sharp] * 4:
        shape = strokes if image is page.sharp else np.array([*strokes[:3], 1.0])
        ink = image[rows, columns]
        now = model(sites, *shape)
        miss = np.where(inside, ink - now, 0.0)
        gx, gy = ((model(sites + shift, *shape) - now) / DELTA for shift in ([DELTA, 0.0], [0.0, DELTA]))
        xx, xy, yy = (gx * gx).sum(axis=1) + 0.1, (gx * gy).sum(axis=1), (gy * gy).sum(axis=1) + 0.1
        bx, by = (gx * miss).sum(axis=1), (gy * miss).sum(axis=1)
        shift = np.stack([yy * bx - xy * by, xx * by - xy * bx], axis=1) / (xx * yy - xy * xy)[:, None]
        sites = sites + np.clip(shift, -0.5, 0.5)
        if image is page.sharp:
            now = model(sites, *strokes)
            miss = np.where(inside, ink - now, 0.0).ravel()
            slopes = np.stack([(model(sites, *row) - now).ravel() / DELTA for row in strokes + DELTA * np.eye(4)])
            step = np.linalg.solve(slopes @ slopes.T + 0.1 * np.eye(4), slopes @ miss)
            strokes = np.clip(strokes + np.clip(step, -0.2 * strokes, 0.2 * strokes), [0.05, 0.05, 0.05, 0.4], most)
    ink = np.where(inside, page.sharp[rows, columns], 0.0)
    full, bare = model(sites, *strokes), model(sites, -2.0, *strokes[1:])
    worth = ((ink - bare) ** 2 - (ink - full) ** 2).sum(axis=1) / (((full - bare) ** 2).sum(axis=1) + 1e-6)
    return sites, float(strokes[0]), worth


def anchored(page: Page, sites: np.ndarray) -> tuple[np.ndarray, float]:
    """Known sites moved onto their dots where these are drawn a pixel off, and the common radius, at least 1 px."""
    if len(sites) == 0:
        return sites, 1.0
    centres, there = sites, rays(page, sites, FAR)
    lengths = there
    for _ in range(2):
        centres = centres + chord_shift(lengths)
        lengths = rays(page, centres, FAR)
    inked = page.at(page.sharp, centres[:, 0], centres[:, 1]) > 0.45
    radius = max(float(np.median(girth(lengths)[inked])), 1.0) if inked.any() else 1.0
    # The middle of the chords is less exact than a site that is known, so it has to be the better centre by far.
    gain = np.minimum(lengths, radius).mean(axis=1) - np.minimum(there, radius).mean(axis=1)
    moved = inked & (gain > 0.1 * radius) & (((centres - sites) ** 2).sum(axis=1) <= MOST_SHIFT**2)
    return np.where(moved[:, None], centres, sites), radius


# Bonds


@dataclass(frozen=True, eq=False)
class Ridges:
    """Profiles across candidate bonds at stations along them; stations of one bond are consecutive.

    ink: (S, Q) softened ink at the lateral offsets `OFFSETS`. bond: (S,) index of the candidate. count: per candidate.
    """

    ink: np.ndarray
    bond: np.ndarray
    count: np.ndarray


OFFSETS = np.arange(-5.0, 5.0 + STEP, STEP)  # px, across a line
MIDDLE = len(OFFSETS) // 2


@dataclass(frozen=True, eq=False)
class Lines:
    """bonds: (M, 2). width: px, and ink: 0 to 1, of this picture's lines."""

    bonds: np.ndarray
    width: float
    ink: float


NO_LINES = Lines(bond_array([]), 1.0, 0.0)


def lines_between(page: Page, sites: np.ndarray, radius: float) -> Lines:
    """The bonds: ridges between two dots that pass no third."""
    pairs = inked_pairs(page, sites, radius)
    if len(pairs) == 0:
        return NO_LINES
    below, above = third_sites(sites, pairs)
    clear = np.minimum(below, above) > radius + 0.5
    pairs, below, above = pairs[clear], below[clear], above[clear]
    if len(pairs) == 0:
        return NO_LINES
    ridges = ridges_along(page, sites, pairs, radius)
    # First pass: any ridge, to learn how dark and how wide this picture's lines are.
    wide = np.abs(OFFSETS) <= WIGGLE
    peak = ridges.ink[:, wide].max(axis=1)
    contrast = peak - sides(ridges.ink, 1.5, 4.5)
    lowest = per_bond(np.minimum.reduceat, peak, ridges)
    strength = quantile_per_bond(contrast, ridges, 1 - PAPER)
    sure = (lowest >= LEAST_RIDGE) & (strength >= LEAST_RIDGE)
    if not sure.any():
        return NO_LINES
    line = float(np.median(strength[sure]))
    clearest = sure[ridges.bond] & (contrast >= line)  # elsewhere other lines are close
    profile = np.median(ridges.ink[clearest], axis=0)
    width = line_width(ridges.ink[clearest])
    # Second pass: as dark as this picture's lines, no gap, paper on both sides.
    free = radius + width / 2
    crowded = free + CROWD
    # Past a dot at its side a bond has to run straight, or the bent way over that dot would pass for it.
    inner = np.where(OFFSETS < -0.1, below[ridges.bond, None] > crowded, above[ridges.bond, None] > crowded)
    inner[:, np.abs(OFFSETS) < 0.1] = True
    inner &= wide
    peak = np.where(inner, ridges.ink, 0.0).max(axis=1)
    floor = max(SHARE * line, LEAST_RIDGE)
    whole = longest_run(peak < floor, ridges) <= 1
    keep = middle_half(ridges)
    middle = Ridges(ridges.ink[keep], ridges.bond[keep], np.bincount(ridges.bond[keep], minlength=len(pairs)))
    contrast = flanked(middle.ink, inner[keep], width / 2 + 1.0, width / 2 + 2.25)
    ridge = quantile_per_bond(contrast, middle, 1 - PAPER) >= RIDGE * line
    lone = np.minimum(below, above) > free + 0.6
    bonds = whole & ridge & lone
    if not bonds.any():
        return NO_LINES
    mass = profile[np.abs(OFFSETS) <= width / 2 + 1].sum() * STEP
    return Lines(bond_array(pairs[bonds]), width, min(float(mass) / width, 1.0))


def inked_pairs(page: Page, sites: np.ndarray, radius: float) -> np.ndarray:
    """(K, 2) pairs of sites with some ink all the way between them."""
    if len(sites) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    tree = cKDTree(sites)
    spacing = float(np.median(tree.query(sites, k=2)[0][:, 1]))
    pairs = tree.query_pairs(LONGEST * spacing, output_type="ndarray")
    first, second = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].T.astype(np.int64)
    along = sites[second] - sites[first]
    length = np.sqrt((along**2).sum(axis=1))
    keep = length > 2 * radius + 0.5
    first, second, along, length = first[keep], second[keep], along[keep], length[keep]
    ink = maximum_filter(page.soft, 3).ravel()
    stride = page.soft.shape[1]
    start = np.minimum((radius + 1.0) / length, 0.4)
    for share in (0.5, 0.25, 0.75, 0.0, 1.0, 0.375, 0.625, 0.125, 0.875):
        at = start + share * (1 - 2 * start)
        point = np.floor(sites[first] + along * at[:, None]).astype(np.int64) + page.border
        row = np.clip(point[:, 1], 0, page.soft.shape[0] - 1)
        keep = ink[row * stride + np.clip(point[:, 0], 0, stride - 1)] >= LEAST_RIDGE
        first, second, along, start = first[keep], second[keep], along[keep], start[keep]
    return np.stack([first, second], axis=1)


def third_sites(sites: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in px from each pair's segment to the nearest other site beside it: (below, above) of its direction."""
    if len(pairs) * len(sites) > MOST_AT_ONCE:
        parts = np.array_split(pairs, len(pairs) * len(sites) // MOST_AT_ONCE + 1)
        below, above = zip(*(third_sites(sites, part) for part in parts), strict=True)
        return np.concatenate(below), np.concatenate(above)
    start = sites[pairs[:, 0]]
    along = sites[pairs[:, 1]] - start
    length = np.sqrt((along**2).sum(axis=1))
    unit = along / length[:, None]
    dx, dy = sites[:, 0] - start[:, :1], sites[:, 1] - start[:, 1:]
    forth = dx * unit[:, :1] + dy * unit[:, 1:]
    aside = dy * unit[:, :1] - dx * unit[:, 1:]
    beside = (forth > 0) & (forth < length[:, None])
    beside[np.arange(len(pairs))[:, None], pairs] = False
    below = np.where(beside & (aside < 0), -aside, np.inf).min(axis=1)
    above = np.where(beside & (aside >= 0), aside, np.inf).min(axis=1)
    return below, above


def ridges_along(page: Page, sites: np.ndarray, pairs: np.ndarray, radius: float) -> Ridges:
    """Profiles about every 0.75 px along the stretch between the dots of each pair, averaged over three stations."""
    start = sites[pairs[:, 0]]
    along = sites[pairs[:, 1]] - start
    length = np.sqrt((along**2).sum(axis=1))
    unit = along / length[:, None]
    begin = np.minimum(radius + 1.0, 0.4 * length)
    count = np.maximum(np.ceil((length - 2 * begin) / 0.75).astype(np.int64) + 1, 3)
    bond = np.repeat(np.arange(len(pairs)), count)
    step = np.arange(len(bond)) - np.repeat(np.cumsum(count) - count, count)
    forth = begin[bond] + step * ((length - 2 * begin) / (count - 1))[bond]
    x = start[bond, 0] + forth * unit[bond, 0]
    y = start[bond, 1] + forth * unit[bond, 1]
    ink = page.at(
        page.soft, x[:, None] - OFFSETS * unit[bond, 1][:, None], y[:, None] + OFFSETS * unit[bond, 0][:, None]
    )
    index = np.arange(len(bond))
    before = np.where(step > 0, index - 1, index)
    after = np.where(step < count[bond] - 1, index + 1, index)
    return Ridges((ink[before] + ink + ink[after]) / 3, bond, count)


def middle_half(ridges: Ridges) -> np.ndarray:
    """(S,) whether a station lies in the middle half of its candidate, where other lines are farthest."""
    step = np.arange(len(ridges.bond)) - starts(ridges)[ridges.bond]
    last = (ridges.count - 1)[ridges.bond]
    return (4 * step >= last) & (4 * step <= 3 * last)


def sides(ink: np.ndarray, near: float, far: float) -> np.ndarray:
    """(S,) ink of the darker side's lightest point, `near` to `far` px from the line."""
    left = ink[:, (-far <= OFFSETS) & (-near >= OFFSETS)].min(axis=1)
    right = ink[:, (near <= OFFSETS) & (far >= OFFSETS)].min(axis=1)
    return np.maximum(left, right)


def flanked(ink: np.ndarray, allowed: np.ndarray, near: float, far: float) -> np.ndarray:
    """(S,) most by which ink at `allowed` offsets exceeds that of both its sides, `near` to `far` px away."""
    best = np.full(len(ink), -np.inf)
    for index in np.flatnonzero(np.abs(OFFSETS) <= WIGGLE):
        away = OFFSETS - OFFSETS[index]
        left = ink[:, (away >= -far) & (away <= -near)].min(axis=1)
        right = ink[:, (away >= near) & (away <= far)].min(axis=1)
        above_sides = np.where(allowed[:, index], ink[:, index] - np.maximum(left, right), -np.inf)
        best = np.maximum(best, above_sides)
    return best


def starts(ridges: Ridges) -> np.ndarray:
    return np.cumsum(ridges.count) - ridges.count


def per_bond(reduceat, values: np.ndarray, ridges: Ridges) -> np.ndarray:
    return reduceat(values, starts(ridges))


def quantile_per_bond(values: np.ndarray, ridges: Ridges, share: float) -> np.ndarray:
    """(K,) the value that `share` of each candidate's stations do not exceed."""
    order = np.lexsort((values, ridges.bond))
    return values[order][starts(ridges) + ((ridges.count - 1) * share).astype(np.int64)]


def longest_run(bad: np.ndarray, ridges: Ridges) -> np.ndarray:
    """(K,) the largest number of consecutive stations of each candidate that are `bad`."""
    index = np.arange(len(bad))
    first = starts(ridges)[ridges.bond]
    last_good = np.maximum.accumulate(np.where(bad, -1, index))
    return np.maximum.reduceat(np.where(bad, index - np.maximum(last_good, first - 1), 0), starts(ridges))


def line_width(ink: np.ndarray) -> float:
    """Width in px of lines from (S, Q) profiles across them: the median width at half height, less the softening."""
    station, place = np.arange(len(ink)), np.arange(len(OFFSETS))
    centre = np.where(np.abs(OFFSETS) <= WIGGLE, ink, -1.0).argmax(axis=1)
    level = ink[station, centre] / 2
    below = ink < level[:, None]
    breadth = np.zeros(len(ink))
    for side in (1, -1):
        beyond = below & (side * (place - centre[:, None]) > 0)
        end = beyond.argmax(axis=1) if side == 1 else place[-1] - beyond[:, ::-1].argmax(axis=1)
        end = np.where(beyond.any(axis=1), end, place[-1] if side == 1 else 0)
        inner, outer = ink[station, end - side], ink[station, end]
        part = np.clip((inner - level) / np.maximum(inner - outer, 1e-6), 0.0, 1.0)
        breadth += (side * (end - centre) - 1 + part) * STEP
    return float(np.sqrt(min(max(float(np.median(breadth)) ** 2 - 2.6, 0.25), WIDEST**2)))
