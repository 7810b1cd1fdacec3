"""Whether two pictures of different kinds (photograph and drawing, radar and optical) show the same at the same place.

Edges are what such pictures share: their cross-correlation over shifts, with half of the whitening of phase correlation
(Kuglin and Hines 1975), peaks where they lie on each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import fft, ndimage

_SIDE = 512  # px of the longer side, at most; larger pictures are shrunk to it
_REACH = 48  # px of that scale; and at most a fifth of the shorter side
_NEAR = 3.0  # px of that scale that count as no shift; maps and photographs of one place are often that far apart
_BORDER = 12  # a twelfth of each side fades out

# In standard deviations of the correlation at other places. Of 590 pairs of eight kinds none reached both without being
# shifted: the surest peak elsewhere was 7.1 (a picture of water), and those of 8 and more were less than 2 ahead.
_CERTAIN = 8.0
_AHEAD = 2.5
_FAR = 0.015  # of the longer side: 4 px of 256
_FAR_BELOW = 0.2  # of the median of all pairs
_CLEAR = 15.0  # from this median on, nothing that belongs together is far below it
_DISTINCT = 7.0  # from this on, few are: pictures with hardly an edge
_WEAK = 4.0


@dataclass(frozen=True)
class Fit:
    """Where the edges of a pair agree best: shift (down, right) of the target in px of the file; peak there, and
    `here`, without a shift, in standard deviations of the correlation elsewhere. moved: by more than 3 px of 512; far:
    by more than 1.5 % of the longer side.
    """

    shift: tuple[float, float]
    peak: float
    here: float
    moved: bool
    far: bool

    @property
    def misaligned(self) -> bool:
        return self.moved and self.peak >= _CERTAIN and self.peak - self.here >= _AHEAD


def edges(values: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Where the bands change, (H, W, C) of any type to float32 (h, w): at most 512 px a side, 0 where not valid."""
    height, width = values.shape[:2]
    factor = max(1.0, max(height, width) / _SIDE)
    shape = max(1, round(height / factor)), max(1, round(width / factor))
    total = np.zeros(shape, np.float32)
    for band in range(values.shape[2]):
        own = values[..., band].astype(np.float32)
        if valid is not None and valid.any():
            own[~valid] = np.median(own[valid])
        own = _shrunk(np.nan_to_num(own, posinf=0, neginf=0), shape)
        steps = ndimage.gaussian_gradient_magnitude(own, 1.0)
        strong = np.percentile(steps, 98) or steps.max()
        if strong > 0:
            total += np.minimum(steps / strong, 1)
    total -= ndimage.gaussian_filter(total, 8)
    if valid is not None:
        holes = _shrunk((~valid).astype(np.float32), shape) > 0
        total[ndimage.binary_dilation(holes, iterations=4)] = 0
    for axis, side in enumerate(shape):
        inwards = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
        total *= np.expand_dims(np.minimum(1, inwards * _BORDER / side), 1 - axis).astype(np.float32)
    return total


def _shrunk(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if picture.shape == shape:
        return picture
    return np.asarray(Image.fromarray(picture).resize(shape[::-1], Image.Resampling.BOX))


def surface(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The correlation of two pictures of edges over shifts of the target, (2 R + 1, 2 R + 1), no shift in the middle.

    In standard deviations of it over all shifts (by their median, so that a peak counts for nothing); 0 without edges.
    """
    product = fft.rfft2(target) * np.conj(fft.rfft2(source))
    product /= np.sqrt(np.maximum(np.abs(product), 1e-12))
    whole = fft.fftshift(fft.irfft2(product, source.shape))
    middle, reach = [side // 2 for side in source.shape], min(_REACH, min(source.shape) // 5)
    part = whole[tuple(slice(at - reach, at + reach + 1) for at in middle)]
    return standardized(part)


def standardized(part: np.ndarray) -> np.ndarray:
    part = part - np.median(part)
    spread = 1.4826 * np.median(np.abs(part))
    return part / spread if spread > 0 else np.zeros_like(part)


def fit(correlation: np.ndarray, shape: Sequence[int]) -> Fit:
    """What a surface says of pictures of (height, width)."""
    scale = max(1.0, max(shape) / _SIDE)
    side = max(shape) / scale
    reach = len(correlation) // 2
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    here = np.hypot(down, right) <= _NEAR
    best = int(correlation.argmax())
    shift = float(down.flat[best]), float(right.flat[best])
    return Fit(
        (shift[0] * scale, shift[1] * scale), float(correlation.max()), float(correlation[here].max()),
        not here.flat[best], float(np.hypot(*shift)) > _FAR * side,
    )  # fmt: skip


def strangers(fits: Sequence[Fit]) -> tuple[list[bool], bool]:
    """Of each pair, whether its edges agree far less than those of the others, and whether that is proof."""
    usual = float(np.median([own.here for own in fits])) if fits else 0.0
    return [usual >= _DISTINCT and own.here < _FAR_BELOW * usual for own in fits], usual >= _CLEAR


def weak(fits: Sequence[Fit]) -> bool:
    """Whether the two sides share so few edges that shifted pairs cannot be told from others."""
    return bool(fits) and float(np.median([max(own.peak, own.here) for own in fits])) < _WEAK
