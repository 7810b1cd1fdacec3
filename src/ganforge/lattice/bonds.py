"""Where a drawing has lines: ridges, darker than the paper on both sides, from dot to dot without a gap."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from ganforge.lattice.ink import Page
from ganforge.lattice.network import bond_array

WIDEST = 4.0  # px, widest line
STEP = 0.5  # px between samples, along rays and across lines
WIGGLE = 1.25  # px a line may stray from the straight one between its dots
CROWD = 4.25  # px beside a line within which another dot makes it crowded
LEAST_RIDGE = 0.06  # of the ink of a dot; the thinnest, palest line legible has twice this once softened
SHARE = 0.5  # of the picture's own lines: a fainter stretch is a gap
RIDGE = 0.25  # of the same: a line stands out by less from its sides is a smear; small triangles fill with blur
THINNEST = 2.0  # px, of a line's profile: one between two pixels is as broad, however thin it is
CROWDED = 1.4  # times RIDGE
USUAL = 0.75  # share of stations at which lines are no broader than usual; beside others they seem narrow
NARROW = 0.25  # share of a line's middle that is no broader; the rest may have other lines close by
BROADER, BROADER_BY = 1.2, 0.5  # times, or px: a line broader than the picture's own by more is a smear
LONGEST = 6.0  # median distances to the nearest dot, longest bond; breathing and disorder stretch one to about 3
MOST_AT_ONCE = 2_000_000  # distances computed at once: a page of noise has many dots
PLATEAU = 0.9  # of a profile's peak: what is as dark belongs to the top of a smear
PAPER = 0.4  # share of a line along which paper has to show on both sides; near its dots other lines may be close
OFFSETS = np.arange(-5.0, 5.0 + STEP, STEP)  # px, across a line


@dataclass(frozen=True, eq=False)
class Ridges:
    """Profiles across candidate bonds at stations along them; stations of one bond are consecutive.

    ink: (S, Q) softened ink at the lateral offsets `OFFSETS`. bond: (S,) index of the candidate. count: per candidate.
    """

    ink: np.ndarray
    bond: np.ndarray
    count: np.ndarray


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
    breadth = breadths(ridges.ink, wide)
    clear = sure[ridges.bond] & (contrast >= SHARE * line)
    usual = max(float(np.quantile(breadth[clear], USUAL)), THINNEST)
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
    broad = quantile_per_bond(breadth[keep], middle, NARROW)
    # Between others so close that it does not fall to half on any side, a line has to stand out by more.
    ridge = quantile_per_bond(contrast, middle, 1 - PAPER) >= RIDGE * line * np.where(broad == 0, CROWDED, 1.0)
    lone = np.minimum(below, above) > free + 0.6
    narrow = broad <= max(BROADER * usual, usual + BROADER_BY)
    bonds = whole & ridge & lone & narrow
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


def breadths(ink: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(S,) twice the distance in px in which a profile falls halfway to its sides, on the side where it falls first.

    From the middle of the darkest at `allowed` offsets: beside other lines one side tells; 0 where none does.
    """
    station = np.arange(len(ink))
    inner = np.where(allowed, ink, -1.0)
    level = inner.max(axis=1)
    top = inner >= PLATEAU * level[:, None]
    centre = np.rint((top * np.arange(len(OFFSETS))).sum(axis=1) / top.sum(axis=1)).astype(np.int64)
    peak = ink[station, centre]
    nearest = np.full(len(ink), 2 * OFFSETS[-1])
    for side in (1, -1):
        beyond = (np.arange(len(OFFSETS)) - centre[:, None]) * side > 0
        level = (peak + np.where(beyond, ink, 1.0).min(axis=1)) / 2
        before, open_ = np.zeros(len(ink)), np.ones(len(ink), dtype=bool)
        last = ink[station, centre]
        for step in range(1, len(OFFSETS)):
            place = np.clip(centre + side * step, 0, len(OFFSETS) - 1)
            now = ink[station, place]
            fell = open_ & (now < level)
            part = np.clip((last - level) / np.maximum(last - now, 1e-6), 0.0, 1.0)
            before = np.where(fell, (step - 1 + part) * STEP, before)
            open_ &= ~fell
            last = now
        nearest = np.where(open_, nearest, np.minimum(nearest, before))
    return np.where(nearest < 2 * OFFSETS[-1], 2 * nearest, 0.0)


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
