"""Scanned and photographed drawings: uneven, grey or yellowish paper becomes white, as in what was trained on."""

import numpy as np
from PIL import Image, ImageFilter

_SMALL = 256  # px of the longer side, in which the paper is found
_WIDEST = 31  # px there; strokes that are wider count as paper
_SOFT = 8  # px there, over which the paper is smooth
_LEAST_INK = 0.02  # share of the pixels that decide how dark ink is


def whitened(picture: np.ndarray) -> np.ndarray:
    """A drawing, uint8 (H, W, 1 or 3), on white paper, its strokes kept and as dark as ink.

    How bright the paper is at each place is what is left when strokes are filled by their surroundings (a closing:
    strokes up to an eighth of the picture's longer side vanish) and smoothed; the picture is divided by it, each
    channel by its own. Then the levels between the darkest 2 % and the paper, less three times the noise of the paper,
    are stretched to those between black and white. A black drawing on white paper stays as it is. Large dark areas
    become paper too: it is for line drawings.
    """
    flat = np.stack([_flattened(picture[..., channel]) for channel in range(picture.shape[-1])], axis=-1)
    grey = flat.mean(axis=-1)
    paper = float(np.median(grey))
    noise = 1.4826 * float(np.median(np.abs(grey - paper)))
    white = max(0.5 * paper, paper - 3 * noise)
    black = min(float(np.quantile(grey, _LEAST_INK)), 0.5 * white)
    return np.rint(((flat - black) / (white - black)).clip(0, 1) * 255).astype(np.uint8)


def _flattened(values: np.ndarray) -> np.ndarray:
    """uint8 (H, W) divided by the paper's brightness: float32, 1 where there is paper."""
    height, width = values.shape
    factor = min(1.0, _SMALL / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    # By means, or the brightest grain of the paper would count.
    paper = Image.fromarray(values).resize(size, Image.Resampling.BOX)
    paper = paper.filter(ImageFilter.MaxFilter(_WIDEST)).filter(ImageFilter.MinFilter(_WIDEST))
    paper = paper.filter(ImageFilter.GaussianBlur(_SOFT)).resize((width, height), Image.Resampling.BILINEAR)
    return values / np.maximum(np.asarray(paper, dtype=np.float32), 1)
