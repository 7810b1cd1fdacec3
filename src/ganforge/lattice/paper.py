"""The ink of a picture, whatever its colour, on whatever paper.

The paper is what the rim of the picture shows and changes slowly across it; ink is what differs from it.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

LEAST_CONTRAST = 24.0  # of 255, between marks and paper
FLAT = 1.0  # of 255, by which most of the paper differs from a smooth surface at most
RIM = 0.03  # of the shorter side, that is taken for paper at first
WIDEST_FRAME = 0.25  # of the shorter side
EVEN, PAPER_EVEN = 0.95, 0.8  # of a ring of pixels, what is of one tone in a frame and, with marks, in paper
HALF_NORMAL = 0.6745  # median of the absolute value of normal noise of deviation 1
ABOVE_NOISE = 5.0  # deviations, that a page of noise does not reach
FITTED = 20_000  # pixels that the paper is fitted to, about


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


def frame_of(picture: np.ndarray) -> int:
    """Width in px of a frame of one tone along the rim of a (H, W) or (H, W, C) picture, 0 where there is none.

    Inside of it is paper of another tone, which is not that of the frame again.
    """
    levels = np.asarray(picture, dtype=np.float32).reshape(*picture.shape[:2], -1)
    height, width, channels = levels.shape
    tones, shares = [], []
    for depth in range(int(WIDEST_FRAME * min(height, width))):
        part = levels[depth : height - depth, depth : width - depth]
        ring = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]]).reshape(-1, channels)
        tones.append(np.median(ring, axis=0))
        shares.append((np.abs(ring - tones[-1]).max(axis=1) < LEAST_CONTRAST).mean())
    if not tones:
        return 0
    tone, share = np.array(tones), np.array(shares)
    is_outer = np.abs(tone - tone[0]).max(axis=1) < LEAST_CONTRAST
    end = int(np.argmin(is_outer)) if not is_outer.all() else 0
    is_paper = ~is_outer & (share > PAPER_EVEN)
    if end == 0 or (share[:end] < EVEN).any() or is_outer[end:].any() or not is_paper[end : end + 4].sum() > 1:
        return 0
    return end + 1  # and the pixel that is partly frame


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
    """The value that parts paper and ink: Otsu's (1979), or half of what rises above noise where that parts noise.

    The few pixels of small marks on a noisy page are too few for a threshold that asks for kinds of equal weight.
    """
    level, noise = otsu(values), float(np.median(values)) / HALF_NORMAL
    if level >= ABOVE_NOISE * noise:
        return level
    above = values[values > ABOVE_NOISE * noise]
    return level if len(above) == 0 else max(ABOVE_NOISE * noise, float(np.quantile(above, 0.9)) / 2)


def otsu(values: np.ndarray) -> float:
    """The value that parts two kinds best (Otsu 1979)."""
    count, edge = np.histogram(values, bins=128)
    middle = (edge[:-1] + edge[1:]) / 2
    below = np.cumsum(count)[:-1]
    above = below[-1] + count[-1] - below
    total = np.cumsum(count * middle)
    low, high = total[:-1] / np.maximum(below, 1), (total[-1] - total[:-1]) / np.maximum(above, 1)
    best = int(np.argmax(below * above * (high - low) ** 2.0))
    return float(low[best] + high[best]) / 2
