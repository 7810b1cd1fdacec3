"""One side of a translation, source or target: its bands and what their numbers mean, as data and checkpoint say it."""

import math
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganforge.errors import require
from ganforge.pictures.normalization import RANGES, Normalization


@dataclass(frozen=True)
class Side:
    """The bands by name, the type of their files, what stands for no measurement, and the normalization."""

    bands: tuple[str, ...]
    dtype: str
    nodata: float | None
    normalization: Normalization

    def encode(self, values: np.ndarray, valid: np.ndarray | None, *, clip: bool = True) -> np.ndarray:
        """(H, W, C) of the files -> float32 (C, H, W) for networks; 0, the middle, where not valid (H, W).

        clip: at the percentiles, where these are; not for targets, of which errors are measured.
        """
        if valid is None:
            return self.normalization.encode(values, clip=clip)
        encoded = self.normalization.encode(np.where(valid[..., None], values, 0), clip=clip)
        return np.where(valid, encoded, np.float32(0))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the bands as parts of the names of numbers: plain, short, and each once."""
        plain = ["".join(c if c.isalnum() or c in "._-" else "_" for c in name)[:32] for name in self.bands]
        return tuple(
            name if name and plain.count(name) == 1 else f"{name or 'band'}_{number}"
            for number, name in enumerate(plain, 1)
        )

    def to_card(self) -> dict[str, Any]:
        return {
            "bands": list(self.bands),
            "dtype": self.dtype,
            # As a word: JSON and configs have no NaN.
            "nodata": "nan" if self.nodata is not None and math.isnan(self.nodata) else self.nodata,
            "normalization": self.normalization.to_card(),
        }

    @staticmethod
    def from_card(card: Any, said: str) -> "Side":
        """What `to_card` gave; raises UserError, beginning with `said`, for anything else."""
        require(isinstance(card, dict), f"{said}: is {reprlib.repr(card)} and no side of a translation; it was changed")
        bands, dtype, nodata = (card.get(name) for name in ("bands", "dtype", "nodata"))
        normalization = Normalization.from_card(card.get("normalization"), said)
        nodata = math.nan if nodata == "nan" else nodata
        fits = (
            isinstance(bands, list)
            and all(isinstance(band, str) for band in bands)
            and len(bands) == len(normalization)
            and isinstance(dtype, str)
            and dtype in RANGES
            and (nodata is None or (type(nodata) in (int, float) and not abs(nodata) > 1e300))
        )
        require(fits, f"{said}: says bands={reprlib.repr(bands)}, dtype={reprlib.repr(dtype)}; it was changed")
        return Side(tuple(bands), dtype, None if nodata is None else float(nodata), normalization)
