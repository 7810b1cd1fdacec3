"""Where a drawing has dots."""

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from ganforge.lattice.bonds import STEP, WIDEST, Lines, lines_between
from ganforge.lattice.ink import FAR, Page
from ganforge.lattice.network import bond_array

MOST_SHIFT = 2.0  # px from a known site within which its dot is looked for
DELTA = 0.1  # px, step of the derivatives when sites are settled
SCALES = (0.5, 1.0, 2.0)  # px, Gaussians in which dots of radius 1 to 6 px are local maxima
RAYS = 16  # directions in which a dot's rim is looked for
LEAST_WORTH = 0.2  # of a dot in `settled`: near 1 in drawings, 0.3 where blurred; lines without a dot are below 0
LEAST_GIRTH = 0.68  # of the dots' radius; half a line's width is at most 0.67


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


def settled(page: Page, sites: np.ndarray, radius: float, lines: Lines) -> tuple[np.ndarray, float, np.ndarray]:
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
