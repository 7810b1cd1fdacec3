"""Line drawings of pictures: black strokes on white paper, so that any folder of pictures gives pairs to learn from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

import numpy as np

from ganforge.errors import UserError, require
from ganforge.pictures import images

_MOST = 1000.0  # of a setting that a checkpoint names


@dataclass(frozen=True, kw_only=True)
class XDoG:
    """Extended difference of Gaussians (Winnemöller et al. 2012, eq. 5 and 7): strokes as wide as the edges are strong.

    Called with uint8 (H, W, C) it gives uint8 (H, W, 1). sigma: px, of the narrower Gaussian, by which strokes are
    wide; the other is 1.6 times as wide. strength: p of the paper, how much an edge counts. threshold, steepness: its
    epsilon, below which there is ink, and phi, how suddenly. The paper adds edges to the picture, whose dark areas
    become ink too; here they are added to white paper, so that lines alone are drawn.
    """

    sigma: float = 0.7
    strength: float = 12.0
    threshold: float = 0.75
    steepness: float = 6.0

    def __post_init__(self) -> None:
        for name in ("sigma", "strength", "steepness"):
            require(getattr(self, name) > 0, f"data.sketch.{name}={getattr(self, name)}: above 0")
        require(0 <= self.threshold <= 1, f"data.sketch.threshold={self.threshold}: 0 (black) to 1 (white)")
        _scikit_image()

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        gaussian = _scikit_image().filters.gaussian
        grey = _grey(picture)
        narrow, wide = gaussian(grey, self.sigma), gaussian(grey, 1.6 * self.sigma)
        sharpened = 1 + self.strength * (narrow - wide)
        ink = np.tanh(self.steepness * (sharpened - self.threshold))
        return _paper(np.where(sharpened >= self.threshold, 1.0, 1.0 + ink))


@dataclass(frozen=True, kw_only=True)
class Canny:
    """Edges of Canny 1986, one pixel wide; sigma: px, of the Gaussian before; above it edges are seen."""

    sigma: float = 1.0

    def __post_init__(self) -> None:
        require(self.sigma >= 0, f"data.sketch.sigma={self.sigma}: px, 0 or more")
        _scikit_image()

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        return _paper(~_scikit_image().feature.canny(_grey(picture), sigma=self.sigma))


def of_card(settings: Any) -> XDoG | Canny:
    """What a checkpoint says that its sketches were drawn by; UserError for anything but numbers of these."""
    numbers = dict(settings) if isinstance(settings, dict) else {}
    named = numbers.pop("_target_", None)
    kind = next((one for one in (XDoG, Canny) if named == f"{one.__module__}.{one.__name__}"), None)
    require(
        kind is not None
        and numbers.keys() <= {field.name for field in fields(kind)}
        and all(type(value) in (int, float) and abs(value) <= _MOST for value in numbers.values()),
        f"data.sketch: {str(settings)[:100]} is no choice of data/sketch",
    )
    return kind(**numbers)


def _scikit_image() -> ModuleType:
    try:
        import skimage
        import skimage.feature
        import skimage.filters
    except ImportError as error:
        raise UserError(
            'data.source=sketch draws with scikit-image, which is not installed; pip install "ganforge[sketch]", or '
            "pip install scikit-image"
        ) from error
    return skimage


def _grey(picture: np.ndarray) -> np.ndarray:
    """float64 (H, W) in [0, 1]."""
    return images.with_channels(picture, 1)[..., 0] / 255


def _paper(values: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] as uint8 (H, W, 1)."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)[..., None]
