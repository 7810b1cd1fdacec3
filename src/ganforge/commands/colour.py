"""Colour for pictures of any size: that of the network, at the size it was trained with; their own lightness stays."""

from typing import Any

import numpy as np
from PIL import Image

from ganforge.commands.translator import Prepared, Translator
from ganforge.errors import require
from ganforge.pictures import lab
from ganforge.pictures.normalization import Normalization
from ganforge.pictures.sides import Side
from ganforge.runs.engine import Generator

_ROWS = 2**20  # pixels that are converted at once
# Lightness and colour as `ganforge.pictures.lab` gives them: they are in [-1, 1] already.
_SOURCE = Side(("lightness",), "float32", None, Normalization("range", (-1.0,), (1.0,)))
_TARGET = Side(("a", "b"), "float32", None, Normalization("range", (-1.0,) * 2, (1.0,) * 2))


class ColourTranslator(Translator):
    """Gives colour to pictures, grey or not: uint8 (H, W, 3) -> uint8 (H, W, 3)."""

    def __init__(self, generator: Generator, **options: Any):
        super().__init__(generator, **options)
        given, card = (len(self.source.normalization), len(self.target.normalization)), generator.card
        require(
            given == (1, 2) and not self.is_measured and "networks" not in card["provides"],
            f"{generator.path}: says that it gives colour to pictures, and its network takes {given[0]} channels and "
            f"gives {given[1]}, or it says of others what they are; it was changed",
        )
        self.source, self.target, self.dtype = _SOURCE, _TARGET, _TARGET.dtype
        self.bands_read = self.bands_written = ("red", "green", "blue")

    @property
    def reads_scenes(self) -> bool:
        return False  # their lightness is needed beside

    def prepare(self, picture: np.ndarray) -> Prepared:
        prepared = super().prepare(picture)
        return Prepared(picture, _lightness(prepared.fitted), prepared.covered)

    def encode(self, fitted: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(fitted.transpose(2, 0, 1))

    def decode(self, drawn: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(drawn.transpose(1, 2, 0))

    def finish(self, prepared: Prepared, generated: np.ndarray) -> np.ndarray:
        """The network's colour, bilinearly brought to the picture's size, with the picture's own lightness."""
        (height, width), size = prepared.covered, prepared.picture.shape[:2]
        colours = generated[:height, :width].transpose(2, 0, 1)
        if (height, width) != size:
            colours = np.stack([_resized(band, size) for band in colours])
        result = np.empty((*size, 3), np.uint8)
        for begin, end in _strips(*size):
            own = lab.lightness(prepared.picture[begin:end])
            result[begin:end] = lab.painted(own, colours[:, begin:end])
        return result


def _resized(band: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Float (h, w) at another size, bilinearly; averaged where that is smaller."""
    picture = Image.fromarray(np.ascontiguousarray(band, np.float32))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))


def _lightness(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> float32 (H, W, 1) in [-1, 1]."""
    found = np.empty((*picture.shape[:2], 1), np.float32)
    for begin, end in _strips(*picture.shape[:2]):
        found[begin:end, :, 0] = lab.lightness(picture[begin:end])
    return found


def _strips(height: int, width: int) -> list[tuple[int, int]]:
    """Rows of a picture in parts, so that its floats take little memory."""
    rows = max(1, _ROWS // width)
    return [(begin, min(begin + rows, height)) for begin in range(0, height, rows)]
