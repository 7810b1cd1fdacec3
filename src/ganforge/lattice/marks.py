"""Where a picture has marks: dots, rings, squares or crosses, in its ink, which is what differs from its paper.

They are of one size, that of most blobs of the picture, and lie where a blob of that size stands out, too round to be a
line. Where several may be in one patch of ink, disks that are all of it are looked for.
"""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter
from scipy.spatial import cKDTree

from ganforge.lattice.disks import are_others, disks_of

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
PALEST = 0.15  # ink of a line
LEAST_DISK = 2.0  # px, radius of disks that differ from lines in their distance to the paper
FAR = 0.3  # of what all ink covers
SOLID = 0.5  # of a blob's radius, how far from paper its middle is at least, but in crosses and groups of marks
LEAST_SHARE = 0.1  # of the marks, what are more marks of another size
THICK = 0.7  # of a mark's radius, how far its middle is from paper at least where it may be a stroke
LONGEST = 2.5  # diameters of a mark, how far its patch reaches at most
FEWEST = 3  # patches of which can be said that they are alike
UNLIKE, MOST = 0.3, 0.8  # of the usual area, by which less that share of all differs where patches are alike
LEAST_HOLE, MOST_HOLE = 0.08, 0.9  # of what a ring encloses


NONE = np.zeros((0, 2))


def marks(ink: np.ndarray) -> tuple[np.ndarray, bool]:
    """(N, 2) centres in px of the marks of a picture's ink, and whether it is known that no lines join them.

    It is where the marks are disks that are all the ink there is.
    """
    blobs = with_rings_filled(ink)
    radius = usual_radius(blobs)
    if radius is None or not (blobs > 0.5).any():
        return NONE, False
    parts, areas = patches(blobs)
    depth = distance_transform_edt(blobs > 0.5)
    deep = usual_depth(depth)
    sites = round_blobs(blobs, radius)
    if deep < SOLID * radius or not one_each(sites, parts, areas):
        disks = disks_of(blobs, guesses(blobs, depth, radius, deep))
        if disks is not None:
            return disks.sites, disks.radius >= LEAST_DISK
        whole = radius_of_alike(parts, areas)
        if whole is not None:
            radius, sites = whole, round_blobs(blobs, whole)
        elif areas[areas > 2.5 * np.pi * radius**2].sum() > CROWDED * areas.sum():
            radius, sites = deep, round_blobs(np.minimum(depth / deep, 1.0), CONE * deep)
    if len(sites) == 0:
        return NONE, False
    sites = sites[~are_on_strokes(sites, radius, parts, depth)]
    if len(sites) == 0:
        return NONE, False
    sites, mass = centred(blobs, sites, radius)
    keep = mass > LEAST_MASS * np.median(mass)
    if radius >= LEAST_DISK:  # of smaller ones pixels decide the shape
        keep &= ~are_others(blobs, sites, radius)
    return np.concatenate([sites[keep], of_another_size(blobs, sites, parts)]), False


def of_another_size(blobs: np.ndarray, sites: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(K, 2) more marks: disks that are all the ink of the patches without a site."""
    found = np.unique(patch_of(sites, parts))
    rest = np.where(maximum_filter(np.isin(parts, found[found > 0]), 5), 0.0, blobs)
    depth = distance_transform_edt(rest > 0.5)
    radius = usual_radius(rest)
    if radius is None or (rest > 0.5).sum() < LEAST_SHARE * len(sites) * np.pi:
        return NONE
    disks = disks_of(rest, guesses(rest, depth, radius, usual_depth(depth)))
    is_told = disks is not None and disks.radius > SMALLEST and len(disks.sites) > LEAST_SHARE * len(sites)
    return disks.sites if is_told else NONE


def guesses(blobs: np.ndarray, depth: np.ndarray, radius: float, deep: float) -> Iterator[tuple[np.ndarray, float]]:
    """Sites and radius of marks that may touch: blobs of several radii, of the ink and of its distance to the paper."""
    for guess in (radius, 1.2 * radius, 0.85 * deep, deep, 1.15 * deep):
        if not SOLID * deep < guess < deep / SOLID:
            continue
        for sites in (round_blobs(blobs, guess), round_blobs(np.minimum(depth / guess, 1.0), CONE * guess)):
            yield centred(blobs, sites, guess)[0], guess


def patches(blobs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) number of the patch of ink that a pixel belongs to, 0 for none, and the area of each, that of 0 first."""
    parts, _ = label(blobs > 0.5, np.ones((3, 3)))
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    return parts, areas


def cell_of(sites: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(2, N) column and row of the pixel that each site lies in."""
    return np.clip(np.floor(sites).astype(np.int64), 0, [shape[1] - 1, shape[0] - 1]).T


def patch_of(sites: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(N,) number of the patch that each site lies in, 0 for none."""
    column, row = cell_of(sites, parts.shape)
    return parts[row, column]


def are_on_strokes(sites: np.ndarray, radius: float, parts: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(N,) whether a site is where strokes meet: thin, in a patch that reaches farther than its marks side by side.

    depth: (H, W) px from the paper. A frame or an axis is such a patch; a mark that touches one is thick.
    """
    sides = [0, *(max(row.stop - row.start, column.stop - column.start) for row, column in ndimage.find_objects(parts))]
    column, row = cell_of(sites, parts.shape)
    own = parts[row, column]
    reach = np.bincount(own, minlength=len(sides)) * LONGEST * 2 * radius
    reach[0] = np.inf
    return (np.array(sides) > reach)[own] & (depth[row, column] < THICK * radius)


def one_each(sites: np.ndarray, parts: np.ndarray, areas: np.ndarray) -> bool:
    """Whether every patch of ink but specks has one site."""
    count = np.bincount(patch_of(sites, parts), minlength=len(areas))
    is_patch = areas > np.median(areas[1:]) / 4
    return bool((count[is_patch] == 1).all())


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


def radius_of_alike(parts: np.ndarray, areas: np.ndarray) -> float | None:
    """Radius in px of a disk that spreads as far as the usual patch, where most are alike, so that each is a mark."""
    usual = np.median(areas[1:])
    chosen = np.flatnonzero(areas > usual / 4)
    if len(chosen) < FEWEST or (np.abs(areas[chosen] / usual - 1) < UNLIKE).mean() < MOST:
        return None
    row, column = np.nonzero(parts)
    owner = parts[row, column]
    spread = sum(
        np.bincount(owner, axis**2) / np.maximum(areas, 1) - (np.bincount(owner, axis) / np.maximum(areas, 1)) ** 2
        for axis in (row.astype(float), column.astype(float))
    )
    return float(np.sqrt(2 * np.median(spread[chosen])))


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
