"""How pictures of any bands are shown: as grey or as red, green and blue, with a contrast that stays the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ganforge.pictures.normalization import Statistics
from ganforge.pictures.sides import Side

if TYPE_CHECKING:
    from torch import Tensor

# Names of red, green and blue: in words, and of the sensors that most files are of.
_COLOURS = (("red", "green", "blue"), ("r", "g", "b"), ("b4", "b3", "b2"), ("b04", "b03", "b02"))


@dataclass(frozen=True)
class View:
    """Which bands are shown, from 0: one as grey or three as colour; low becomes black and high white."""

    bands: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @staticmethod
    def of(side: Side, statistics: Statistics) -> View:
        """The bands named red, green and blue (or B4, B3, B2), else the first three; of fewer the first.

        Bytes are shown as they are; of other values black and white are the percentiles of the training pictures.
        """
        bands = shown_bands(side.bands)
        if side.dtype == "uint8" and side.normalization.kind == "range":
            return View(bands, (-1.0,) * len(bands), (1.0,) * len(bands))
        import torch

        normalization = side.normalization
        low, high = (
            ((torch.tensor(values, dtype=torch.float64) - torch.from_numpy(normalization.centre))
             / torch.from_numpy(normalization.scale)).tolist()
            for values in (statistics.lower, statistics.upper)
        )  # fmt: skip
        ends = [(low[band], high[band] if high[band] > low[band] else low[band] + 1) for band in bands]
        return View(bands, *(tuple(end) for end in zip(*ends, strict=True)))

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) encoded -> (B, 1 or 3, H, W) in [-1, 1]."""
        low, high = (pictures.new_tensor(end)[:, None, None] for end in (self.low, self.high))
        return (2 * (pictures[:, list(self.bands)] - low) / (high - low) - 1).clamp(-1, 1)


def shown_bands(names: tuple[str, ...]) -> tuple[int, ...]:
    plain = [name.strip().lower() for name in names]
    for colours in _COLOURS:
        if all(colour in plain for colour in colours):
            return tuple(plain.index(colour) for colour in colours)
    return (0, 1, 2) if len(names) >= 3 else (0,)
