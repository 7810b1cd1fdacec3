"""A picture as ink, which dots and lines are read from."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ganforge.errors import require

SOFTEN = 0.5  # px, Gaussian: a thin line's peak no longer depends on where it falls between pixels
SMALLEST = 16  # px a side, of a drawing that is read
FAR = 9.0  # px, longest ray; dots are smaller
LEAST_CONTRAST = 24  # of 255, between the darkest and the paper; below, the page is empty


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
