"""Where a picture has marks: dots, rings, squares or crosses, of whatever colour, on whatever paper.

The paper is what the rim of the picture shows and changes slowly across it; marks are what differs from it. They are of
one size, that of most blobs of the picture, and lie where a blob of that size stands out, too round to be a line.
"""

import numpy as np
from scipy import ndimage
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter
from scipy.spatial import cKDTree

STEP = 1.15  # between radii that are looked for
SMALLEST, LARGEST = 1.0, 12.0  # px, radii of marks on a picture of 256 px; smaller ones on all
PAGE = 256
COARSE = 5.0  # px, radius above which a picture is looked at with half as many pixels a side
FAINTEST = 0.25  # of the response to a blob, where a full disk has 0.74; below is noise
LIKE = 0.5  # of the usual mark's response, what a mark has at least
ROUND = 0.3  # of the curvature across, least curvature along: a line has none
CROWDED = 0.25  # of all ink, in patches of more than two marks
CONE = 0.55  # of the radius of a disk, that of the blob that the distance to its rim is
LEAST_MASS = 0.3  # of the usual mark's ink
LEAST_CONTRAST = 24.0  # of 255, between marks and paper
FLAT = 1.0  # of 255, by which most of the paper differs from a smooth surface at most
RIM = 0.03  # of the shorter side, that is taken for paper at first
FITTED = 20_000  # pixels that the paper is fitted to, about
PALEST = 0.15  # ink of a line
LEAST_DISK = 2.0  # px, radius of disks that differ from lines in their distance to the paper
ALL_INK = (0.85, 1.3)  # of the ink, what disks cover that are all of it
FAR = 0.3  # of what all ink covers
LEAST_HOLE, MOST_HOLE = 0.08, 0.9  # of what a ring encloses


NONE = np.zeros((0, 2))


def marks(ink: np.ndarray) -> np.ndarray:
    """(N, 2) centres in px of the marks of a picture's ink."""
    blobs = with_rings_filled(ink)
    radius = usual_radius(blobs)
    if radius is None:
        return NONE
    if are_crowded(blobs, radius):
        depth = distance_transform_edt(blobs > 0.5)
        radius = usual_depth(depth)
        sites = round_blobs(np.minimum(depth / radius, 1.0), CONE * radius)
    else:
        sites = round_blobs(blobs, radius)
    if len(sites) == 0:
        return NONE
    sites, mass = centred(blobs, sites, radius)
    return sites[mass > LEAST_MASS * np.median(mass)]


def ink_of(picture: np.ndarray) -> np.ndarray | None:
    """(H, W) float32: how much each pixel differs from the paper, 1 for most of the marks; None for an empty page."""
    levels = np.asarray(picture, dtype=np.float32).reshape(*picture.shape[:2], -1)
    if levels.shape[2] > 1 and (levels == levels[..., :1]).all():
        levels = levels[..., :1]
    paper, is_ink = paper_of(levels)
    away = paper - levels
    if not is_ink.any():
        return None
    mean = away[is_ink].mean(axis=0)
    length = float(np.sqrt((mean**2).sum()))
    size = np.sqrt((away**2).sum(axis=2))
    if length > 0.7 * float(size[is_ink].mean()):  # one colour: along it noise has a sign, and no mean
        ink = (away * (mean / length)).sum(axis=2)
        if mean.sum() > 0:  # what is dark reflects a share of what falls on it
            ink = ink * (paper.mean() / np.maximum(paper.mean(axis=2), 1.0))
    else:
        ink = size
    full = float(np.quantile(ink[is_ink], 0.7))
    if full < LEAST_CONTRAST:
        return None
    return np.clip(ink / full, -0.5, 1.2).astype(np.float32)


def paper_of(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, C) the paper beneath, a smooth surface, and (H, W) which pixels are none of it."""
    height, width, channels = levels.shape
    y, x = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32), indexing="ij"
    )
    rim = max(2, round(RIM * min(height, width)))
    used = np.zeros((height, width), bool)
    used[:rim], used[-rim:], used[:, :rim], used[:, -rim:] = True, True, True, True
    powers = [(i, j) for total in range(4) for i, j in ((total - k, k) for k in range(total + 1))]
    is_ink = np.zeros((height, width), bool)
    for degree in (0, 1, 2, 3, 3, 3):
        row, column = np.nonzero(used & ~is_ink)
        step = max(1, len(row) // FITTED)
        row, column = row[::step], column[::step]
        terms = [(i, j) for i, j in powers if i + j <= degree]
        basis = np.stack([x[row, column] ** i * y[row, column] ** j for i, j in terms], axis=1)
        values = levels[row, column]
        weight = np.ones(len(row), np.float32)
        for _ in range(8):  # marks on the rim are outliers
            root = np.sqrt(weight)[:, None]
            factors = np.linalg.lstsq(basis * root, values * root, rcond=None)[0]
            miss = np.sqrt(((values - basis @ factors) ** 2).sum(axis=1))
            scale = max(2.0, 1.5 * float(np.median(miss)))
            weight = 1 / (1 + (miss / scale) ** 2) ** 2
        paper = sum(
            x[..., None] ** i * y[..., None] ** j * factor for (i, j), factor in zip(terms, factors, strict=True)
        )
        away = np.sqrt(((levels - paper) ** 2).sum(axis=2))
        level = parting(away)
        is_ink = away > level
        used[:] = True
        if level > LEAST_CONTRAST and float(np.quantile(away[~is_ink], 0.9)) < FLAT:
            return paper, is_ink
    # What the polynomial misses, from the paper around.
    reach = max(6.0, 0.04 * min(height, width))
    near_ink = maximum_filter(away > level / 2, 3)
    free = (~near_ink).astype(np.float32)
    weight = gaussian_filter(free, reach, truncate=3.0)
    rest = np.stack(
        [gaussian_filter((levels[..., c] - paper[..., c]) * free, reach, truncate=3.0) for c in range(channels)], axis=2
    )
    paper = paper + rest / (weight + 0.05)[..., None]
    away = np.sqrt(((levels - paper) ** 2).sum(axis=2))
    level = parting(away)
    return paper, (away > level) & (level > LEAST_CONTRAST / 3)


def parting(values: np.ndarray) -> float:
    """The value that parts two kinds best (Otsu 1979)."""
    count, edge = np.histogram(values, bins=128)
    middle = (edge[:-1] + edge[1:]) / 2
    below = np.cumsum(count)[:-1]
    above = below[-1] + count[-1] - below
    total = np.cumsum(count * middle)
    low, high = total[:-1] / np.maximum(below, 1), (total[-1] - total[:-1]) / np.maximum(above, 1)
    best = int(np.argmax(below * above * (high - low) ** 2.0))
    return float(low[best] + high[best]) / 2


def with_rings_filled(ink: np.ndarray) -> np.ndarray:
    """The ink, 1 also inside of rings, where most marks are rings; what others enclose is paper between them."""
    dark = ink > 0.5
    parts, count = label(dark, np.ones((3, 3)))
    if count == 0:
        return ink
    areas = np.bincount(parts.ravel())[1:]
    filled = ink.copy()
    usual, rings, parted = np.median(areas[areas >= 4]) if (areas >= 4).any() else 4, 0, 0
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        if areas[number - 1] < usual / 4:
            continue
        own = parts[place] == number
        whole = ndimage.binary_fill_holes(own)
        inside = whole & ~own
        parted += 1
        if LEAST_HOLE < inside.sum() / whole.sum() < MOST_HOLE and label(inside)[1] == 1:
            rings += 1
            filled[place] = np.where(inside, 1.0, filled[place])
    return filled if rings > parted / 2 else ink


def are_crowded(blobs: np.ndarray, radius: float) -> bool:
    """whether much ink is in patches of more than two marks: between marks that touch they hardly stand out."""
    parts, _ = label(blobs > 0.5)
    areas = np.bincount(parts.ravel())[1:]
    return bool(areas[areas > 2.5 * np.pi * radius**2].sum() > CROWDED * areas.sum())


def usual_depth(depth: np.ndarray) -> float:
    """Radius in px of most disks, from each pixel's distance to the paper; lines between them are thinner."""
    peaks = np.sort(depth[(depth >= maximum_filter(depth, 3)) & (depth > 0)])
    if len(peaks) == 0:
        return 1.0
    volume = np.cumsum(peaks**4)
    return float(peaks[np.searchsorted(volume, volume[-1] / 2)])


def response(ink: np.ndarray, radius: float) -> np.ndarray:
    """(H, W) how much a blob of this radius stands out at each pixel: scale-normalized Laplacian of a Gaussian."""
    sigma = radius / np.sqrt(2)
    twice = [gaussian_filter(ink, sigma, order=order, truncate=4.0, mode="nearest") for order in ((0, 2), (2, 0))]
    return -(sigma**2) * (twice[0] + twice[1])


def halved(ink: np.ndarray) -> np.ndarray:
    height, width = ink.shape
    padded = np.pad(ink, ((0, height % 2), (0, width % 2)), mode="edge")
    return (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4


def usual_radius(ink: np.ndarray) -> float | None:
    """Radius in px of most blobs, None where there are none: blobs are maxima in the page and in scale (Lindeberg)."""
    largest = LARGEST * max(1.0, max(ink.shape) / PAGE)
    radii = SMALLEST * STEP ** np.arange(int(np.log(largest / SMALLEST) / np.log(STEP)) + 1)
    found, half, factor = [], ink, 1.0
    for number, radius in enumerate(radii):
        while radius / factor > COARSE:
            half, factor = halved(half), 2 * factor
        standing = response(half, radius / factor)
        row, column = np.nonzero((standing >= maximum_filter(standing, 3)) & (standing > FAINTEST))
        found.append(
            np.stack([(column + 0.5) * factor, (row + 0.5) * factor, standing[row, column], 0 * row + number], 1)
        )
    places, value, number = np.split(np.concatenate(found), [2, 3], axis=1)
    if len(places) == 0:
        return None
    value, number = value[:, 0], number[:, 0].astype(np.int64)
    # A blob's rim has maxima at smaller scales, all weaker than its own.
    chosen = strongest(places, value, radii[number] + 0.5)
    votes = np.bincount(number[chosen], value[chosen] * radii[number[chosen]], len(radii))
    votes = np.convolve(votes, [0.5, 1, 0.5], mode="same")
    peak = int(votes.argmax())
    low, high = max(peak - 1, 0), min(peak + 2, len(radii))
    return float(np.exp(np.average(np.log(radii[low:high]), weights=votes[low:high])))


def strongest(places: np.ndarray, value: np.ndarray, reach: np.ndarray | float) -> np.ndarray:
    """Indices, the strongest first, of places that lie within the reach of no stronger one that is kept."""
    near = cKDTree(places).query_ball_point(places, reach)
    free, chosen = np.ones(len(places), bool), []
    for index in np.argsort(-value, kind="stable"):
        if free[index]:
            chosen.append(index)
            free[near[index]] = False
    return np.array(chosen, dtype=np.int64)


def round_blobs(ink: np.ndarray, radius: float) -> np.ndarray:
    """(K, 2) where blobs of the radius are, in px."""
    half, factor = ink, 1.0
    while radius / factor > 2 * COARSE:
        half, factor = halved(half), 2 * factor
    sigma = radius / factor / np.sqrt(2)
    xx, yy, xy = (gaussian_filter(half, sigma, order=o, truncate=4.0, mode="nearest") for o in ((0, 2), (2, 0), (1, 1)))
    standing = -(sigma**2) * (xx + yy)
    row, column = np.nonzero((standing >= maximum_filter(standing, 3)) & (standing > FAINTEST))
    if len(row) == 0:
        return NONE
    value = standing[row, column]
    usual = float(np.median(value[value > LIKE * np.quantile(value, 0.9)]))
    mean, spread = (xx + yy)[row, column] / 2, np.hypot((xx - yy)[row, column] / 2, xy[row, column])
    keep = (value > LIKE * usual) & (-(mean + spread) > ROUND * (spread - mean))
    places, value = np.stack([column[keep] + 0.5, row[keep] + 0.5], axis=1) * factor, value[keep]
    if len(places) == 0:
        return NONE
    places = places[strongest(places, value, max(1.1 * radius, 1.5))]
    return places[np.lexsort((places[:, 0], places[:, 1]))]


def centred(ink: np.ndarray, sites: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Sites moved to the middle of the ink that is nearer to them than to any other, and how much ink (px) that is."""
    height, width = ink.shape
    reach = 1.3 * radius + 1.0
    offset = np.arange(-int(reach) - 1, int(reach) + 2)
    column, row = (grid.ravel() for grid in np.meshgrid(offset, offset))
    inked = np.clip(ink - 0.15, 0.0, 1.0)
    mass = np.zeros(len(sites))
    for _ in range(3):
        corner = np.floor(sites).astype(np.int64)
        x, y = corner[:, :1] + column, corner[:, 1:] + row
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        dx, dy = x + 0.5 - sites[:, :1], y + 0.5 - sites[:, 1:]
        own = inside & (dx**2 + dy**2 <= reach**2)
        if len(sites) > 1:
            points = np.stack([x[own] + 0.5, y[own] + 0.5], axis=1)
            distance = np.sqrt(dx[own] ** 2 + dy[own] ** 2)
            own[own] = distance <= cKDTree(sites).query(points)[0] + 1e-9
        weight = np.where(own, inked[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)], 0.0)
        mass = weight.sum(axis=1)
        shift = (
            np.stack([(weight * dx).sum(axis=1), (weight * dy).sum(axis=1)], axis=1) / np.maximum(mass, 1e-6)[:, None]
        )
        sites = sites + np.clip(shift, -radius, radius)
    return sites, mass


def may_be_joined(ink: np.ndarray) -> bool:
    """Whether most ink is in patches that reach far across it: marks that lines join, or that touch each other."""
    quiet = (ink < PALEST).any() and float(np.quantile(np.abs(ink[ink < PALEST]), 0.99)) < PALEST / 2
    for level in (0.4, PALEST) if quiet else (0.4,):
        parts, count = label(ink > level, np.ones((3, 3)))
        if count:
            sides = [
                max(row.stop - row.start, column.stop - column.start) for row, column in ndimage.find_objects(parts)
            ]
            areas = np.bincount(parts.ravel())[1:]
            far = np.array(sides) > FAR * np.ptp(np.nonzero(parts), axis=1).max()
            if areas[far].sum() > areas.sum() / 2:
                return True
    return False


def are_disks(ink: np.ndarray, sites: np.ndarray) -> bool:
    """Whether disks at these sites, each in the middle of one, are all the ink there is: then nothing joins them."""
    dark = ink > 0.5
    if len(sites) < 2 or not dark.any():
        return False
    depth, (height, width) = distance_transform_edt(dark), dark.shape
    radius, (low, high) = usual_depth(depth), ALL_INK
    column, row = np.clip(np.floor(sites).astype(np.int64), 0, [width - 1, height - 1]).T
    apart = cKDTree(sites).query(sites, k=2)[0][:, 1]
    are_in_middle = np.quantile(depth[row, column], 0.2) > 0.7 * radius and np.quantile(apart, 0.2) > 1.6 * radius
    is_told = radius >= LEAST_DISK  # a line is as thin as smaller ones
    return bool(is_told and are_in_middle and low < len(sites) * np.pi * radius**2 / dark.sum() < high)
