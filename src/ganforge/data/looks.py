"""What is kept of a picture while a data set is looked at: a small version, a perceptual hash, a few measures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import fft

from ganforge.pictures import images
from ganforge.pictures.views import shown_bands

SMALL = 16  # px a side of the small versions, which alone are kept
_HASH = 32  # px a side of what is hashed, of which 8 × 8 frequencies are used
_DETAIL = 128  # px a side of what is measured
_BITS_APART = 8  # of 63, at most
_APART = 0.12  # of its standard deviation; JPEG of quality 50 and half the size reach 0.07, other pictures 0.16
_LEVELS_APART = 5.0  # of 255: JPEG changes so much in thin drawings and dull colours, whose deviation is small
_LEAST_DEVIATION = 4.0  # of 255: less is noise
_COLOURLESS = 3  # of 255 between the largest and smallest of red, green and blue, at 99 % of pixels; black shoes: 4
_BLOCK = 1024


@dataclass(frozen=True)
class Look:
    """small: uint8 (16, 16, 3); bits: bool (63,); contrast: standard deviation of the values of the file, the mean over
    the bands; valid: share of the pixels; measures: float (8,) that tell drawings from photographs (`swapped`).
    """

    shape: tuple[int, int]
    small: np.ndarray
    bits: np.ndarray
    contrast: float
    valid: float
    grey: bool
    measures: np.ndarray


def look(values: np.ndarray, valid: np.ndarray | None, bands: tuple[str, ...]) -> Look:
    """Look at (H, W, C) as in a file, with the pixels (H, W) that are measurements; None: all."""
    picture = shown(values, valid, bands)
    image = Image.fromarray(picture)
    small = np.asarray(image.resize((SMALL, SMALL), Image.Resampling.HAMMING))
    detail = np.asarray(image.resize((_DETAIL, _DETAIL), Image.Resampling.BOX), np.float32)
    inside = values.reshape(-1, values.shape[-1]) if valid is None else values[valid]
    contrast = float(np.mean([inside[:, band].std(dtype=np.float64) for band in range(values.shape[-1])]))
    chroma = detail.max(axis=-1) - detail.min(axis=-1)
    return Look(
        values.shape[:2], small, _bits(image), contrast if len(inside) else 0.0,
        1.0 if valid is None else float(valid.mean()), bool(np.percentile(chroma, 99) < _COLOURLESS),
        _measures(detail, chroma),
    )  # fmt: skip


def shown(values: np.ndarray, valid: np.ndarray | None, bands: tuple[str, ...]) -> np.ndarray:
    """uint8 (H, W, 3) as people would look at it; of other types than bytes between the picture's own percentiles."""
    chosen = values[..., list(shown_bands(bands))]
    if chosen.dtype != np.uint8:
        chosen = chosen.astype(np.float32)
        for band in range(chosen.shape[-1]):
            own = chosen[..., band]
            inside = own[np.isfinite(own)] if valid is None else own[valid]
            low, high = np.percentile(inside, [2, 98]) if inside.size else (0, 1)
            chosen[..., band] = (own - low) / max(high - low, 1e-12) * 255
        chosen = np.nan_to_num(chosen).clip(0, 255).astype(np.uint8)
    if valid is not None:
        chosen = np.where(valid[..., None], chosen, np.uint8(0))
    return np.repeat(chosen, 3, axis=-1) if chosen.shape[-1] == 1 else np.ascontiguousarray(chosen)


def _bits(image: Image.Image) -> np.ndarray:
    """The perceptual hash: which of the 63 lowest frequencies are above their median (pHash, Zauner 2010)."""
    grey = np.asarray(image.convert("L").resize((_HASH, _HASH), Image.Resampling.BOX), np.float32)
    low = fft.dctn(grey, norm="ortho")[:8, :8].ravel()[1:]
    return low > np.median(low)


def _measures(detail: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    grey = detail.mean(axis=-1)
    steps = np.hypot(np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1])
    counts = np.histogram(grey, 32, (0, 256))[0] / grey.size
    entropy = -float(sum(share * np.log2(share) for share in counts if share > 0))
    flat, white, black = (float(part.mean()) for part in (steps < 2, grey > 245, grey < 10))
    return np.array([chroma.mean() / 64, grey.mean() / 64, grey.std() / 64, np.log1p(steps.mean()), entropy / 2,
                     2 * flat, 2 * white, 2 * black])  # fmt: skip


def near_duplicates(looks: Sequence[Sequence[Look]]) -> list[tuple[int, int]]:
    """Which of the pictures (or pairs: several looks each) are the same but for compression and size: rows i < j.

    Candidates have hashes of at most 8 bits apart; they are the same where their small versions differ by less than
    0.12 of their standard deviation or by 5 levels. Pictures without any contrast are left out.
    """
    rows = np.array([row for row, own in enumerate(looks) if any(one.small.std() > _LEAST_DEVIATION for one in own)])
    if not len(rows):
        return []
    bits = [np.array([looks[row][side].bits for row in rows], np.float32) * 2 - 1 for side in range(len(looks[0]))]
    found = []
    for begin in range(0, len(rows), _BLOCK):
        agree = [own[begin : begin + _BLOCK] @ own[begin:].T for own in bits]
        near = np.all([both >= own.shape[1] - 2 * _BITS_APART for both, own in zip(agree, bits, strict=True)], axis=0)
        for one, other in zip(*np.nonzero(np.triu(near, 1)), strict=True):
            pair = int(rows[begin + one]), int(rows[begin + other])
            if all(_same(*sides) for sides in zip(*(looks[row] for row in pair), strict=True)):
                found.append(pair)
    return found


def _same(one: Look, other: Look) -> bool:
    a, b = one.small.astype(np.float32), other.small.astype(np.float32)
    return float(np.sqrt(((a - b) ** 2).mean())) < max(_LEVELS_APART, _APART * min(a.std(), b.std()))


def swapped(pairs: Sequence[tuple[Look, Look]]) -> list[bool]:
    """Of each pair, whether its sides look the other way round than those of the others.

    By the direction in the differences of their measures (colour, brightness, contrast, fineness, flat, white and black
    shares) along which source and target differ most surely (Fisher's discriminant). Nothing is said of fewer than ten
    pairs, or where a fifth of the pairs is on the other side: then the sides are too alike.
    """
    if len(pairs) < _LEAST_PAIRS:
        return [False] * len(pairs)
    differences = np.array([source.measures - target.measures for source, target in pairs])
    middle = np.median(differences, axis=0)
    # Those of the other way round are turned, by the plain difference, so that they do not widen the spread.
    turned = differences * np.where(differences @ middle < 0, -1, 1)[:, None]
    spread = np.cov(turned, rowvar=False) + 0.01 * np.eye(len(middle))
    scores = differences @ np.linalg.solve(spread, turned.mean(axis=0))
    usual = np.median(scores)
    if usual < _DISTINCT or (scores < 0).mean() > _MOST_SWAPPED:
        return [False] * len(pairs)
    return list(scores < -_SURE * usual)


_LEAST_PAIRS = 10
_DISTINCT = 6.0  # squared standard deviations between the sides
_MOST_SWAPPED = 0.2
_SURE = 0.4  # of the usual distance, on the wrong side


def empty(looks: Sequence[Look]) -> list[bool]:
    """Of each picture of one side, whether it is nearly empty: a twentieth of the usual contrast, or of its pixels."""
    usual = float(np.median([own.contrast for own in looks])) if looks else 0.0
    return [own.contrast <= 0.05 * usual or own.valid < 0.05 for own in looks]


def thumbnail(picture: np.ndarray, side: int) -> np.ndarray:
    """uint8 (H, W, 3) fitted into side × side, its longer side being that."""
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    return images.resize(picture, (max(1, round(height * factor)), max(1, round(width * factor))))
