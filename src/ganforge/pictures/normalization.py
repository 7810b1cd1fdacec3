"""What the numbers of a picture mean: from the values of its bands to those that networks compute in, and back."""

import json
import reprlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.errors import require
from ganforge.files.folders import files_key, open_file, replace

KINDS = ("range", "minmax", "percentiles", "deviation")
PERCENTILES = (1.0, 99.0)
MOST_BANDS = 4096

# Of values that are no measurement but a grey level, by the type of the file; floats as Pillow's "F" pictures.
RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "int16": (-32768.0, 32767.0), "float32": (0.0, 1.0)}

_FORMAT = 1  # of the cached statistics
_SAMPLE = 2**17  # pixels of which percentiles are taken; of fewer all, so that they are exact
_LARGEST_FILE = 2**24  # bytes of cached statistics


@dataclass(frozen=True)
class Normalization:
    """An affine map of each band, with its inverse. Plain numbers, so that a checkpoint's card holds it.

    kind: "range" (of the type: 0 to 255, 0 to 65535, ...), "minmax" or "percentiles" of the training pictures:
    low becomes -1 and high 1. What lies outside is kept, but clipped for "percentiles". "deviation": low is the mean,
    which becomes 0, and high the standard deviation, which becomes 1.
    """

    kind: str
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __len__(self) -> int:
        """Bands."""
        return len(self.low)

    @property
    def is_bounded(self) -> bool:
        """Whether the training pictures lie in [-1, 1], where a generator may end in tanh."""
        return self.kind != "deviation"

    @property
    def scale(self) -> np.ndarray:
        """What a difference of 1 of encoded values is in the unit of each band: (C,), float64."""
        low, high = np.array(self.low), np.array(self.high)
        return (high - low) / 2 if self.is_bounded else high

    @property
    def centre(self) -> np.ndarray:
        """What is encoded as 0: (C,), float64."""
        low, high = np.array(self.low), np.array(self.high)
        return (low + high) / 2 if self.is_bounded else low

    def encode(self, values: np.ndarray, *, clip: bool = True) -> np.ndarray:
        """Values (H, W, C) of the files -> float32 (C, H, W) for networks. clip: at the percentiles, if it has them."""
        bands = (slice(None), None, None)  # first, because numpy is slow where the last axis is short
        encoded = np.subtract(values.transpose(2, 0, 1), self.centre[bands], dtype=np.float64, order="C")
        encoded /= self.scale[bands]
        if clip and self.kind == "percentiles":
            np.clip(encoded, -1, 1, out=encoded)
        return encoded.astype(np.float32)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Float (C, H, W) of networks -> float32 (H, W, C) in the unit of the files, not clipped and not rounded."""
        decoded = values.transpose(1, 2, 0).astype(np.float64) * self.scale + self.centre
        return np.ascontiguousarray(decoded, dtype=np.float32)

    def to_card(self) -> dict[str, Any]:
        return {"kind": self.kind, "low": list(self.low), "high": list(self.high)}

    @staticmethod
    def from_card(card: Any, said: str) -> "Normalization":
        """What `to_card` gave; raises UserError, beginning with `said`, for anything else."""
        kind, low, high = (card.get(name) for name in ("kind", "low", "high")) if isinstance(card, dict) else [None] * 3
        fits = kind in KINDS and _are_numbers(low) and _are_numbers(high) and 1 <= len(low) == len(high) <= MOST_BANDS
        if fits:
            fits = all(a < b for a, b in zip(low, high, strict=True)) if kind != "deviation" else min(high) > 0
        require(fits, f"{said}: is no normalization that ganforge wrote ({reprlib.repr(card)}); it was changed")
        return Normalization(kind, tuple(map(float, low)), tuple(map(float, high)))


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        type(value) in (int, float) and abs(value) < 1e39  # of float32; NaN fails
        for value in values
    )


@dataclass(frozen=True)
class Statistics:
    """Of the valid pixels of pictures, a number a band: mean, standard deviation, extremes and percentiles."""

    count: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    lower: tuple[float, ...]  # PERCENTILES
    upper: tuple[float, ...]

    def constant(self) -> list[int]:
        """The bands, from 0, in which every pixel has one value."""
        return [band for band, (low, high) in enumerate(zip(self.minimum, self.maximum, strict=True)) if low == high]


class Accumulator:
    """Statistics in one pass over pictures, in constant memory.

    Means and squared deviations are merged pairwise (Chan et al. 1979). Percentiles are of a uniform sample of at most
    2^17 pixels: those whose random keys, a function of the picture's number alone, are smallest. So the result is
    the same in every process.
    """

    def __init__(self, bands: int):
        self.count = 0
        self.mean, self.squares = np.zeros(bands), np.zeros(bands)  # squares: of deviations from the mean, summed
        self.minimum, self.maximum = np.full(bands, np.inf), np.full(bands, -np.inf)
        self._keys: list[np.ndarray] = []
        self._pixels: list[np.ndarray] = []  # of these keys

    @staticmethod
    def of(values: np.ndarray, valid: np.ndarray | None, number: int | Sequence[int]) -> "Accumulator":
        """Of one picture (H, W, C), valid (H, W) or None where every pixel counts; number: which picture it is."""
        own = Accumulator(values.shape[-1])
        pixels = values.reshape(-1, values.shape[-1]) if valid is None else values[valid]
        if not len(pixels):
            return own
        own.count = len(pixels)
        own.mean = pixels.mean(axis=0, dtype=np.float64)
        for band, mean in enumerate(own.mean):  # one at a time, for the memory
            own.squares[band] = np.square(pixels[:, band] - mean).sum(dtype=np.float64)
        own.minimum, own.maximum = pixels.min(axis=0).astype(np.float64), pixels.max(axis=0).astype(np.float64)
        own._keys = [np.random.default_rng(number).random(len(pixels))]
        own._pixels = [pixels]
        own._sample()
        return own

    def merge(self, other: "Accumulator") -> None:
        if not other.count:
            return
        total = self.count + other.count
        difference = other.mean - self.mean
        self.mean = self.mean + difference * (other.count / total)
        self.squares = self.squares + other.squares + difference**2 * (self.count * other.count / total)
        self.minimum = np.minimum(self.minimum, other.minimum)
        self.maximum = np.maximum(self.maximum, other.maximum)
        self.count = total
        self._keys, self._pixels = self._keys + other._keys, self._pixels + other._pixels
        if sum(map(len, self._keys)) > 2 * _SAMPLE:
            self._sample()

    def _sample(self) -> np.ndarray:
        """The sampled pixels; what is not among them is forgotten."""
        keys = np.concatenate(self._keys)
        pixels = np.concatenate(self._pixels).astype(np.float32, copy=False)  # which holds the values of all types
        if len(keys) > _SAMPLE:
            chosen = np.argpartition(keys, _SAMPLE)[:_SAMPLE]
            keys, pixels = keys[chosen], pixels[chosen]
        self._keys, self._pixels = [keys], [pixels]
        return pixels

    def statistics(self) -> Statistics:
        """Raises UserError where no pixel was valid."""
        require(self.count > 0, "no pixel is valid in any picture")
        lower, upper = np.percentile(self._sample().astype(np.float64), PERCENTILES, axis=0)
        numbers = (self.mean, np.sqrt(self.squares / self.count), self.minimum, self.maximum, lower, upper)
        return Statistics(self.count, *(tuple(map(float, values)) for values in numbers))


def normalization(kind: str, dtype: str, statistics: Statistics) -> Normalization:
    """Of one kind, for bands of these statistics.

    A band in which every pixel has one value becomes -1 (0 by its mean), and what is larger stays finite.
    Where percentiles are equal although the values differ, the extremes are taken.
    """
    if kind == "range":
        low, high = RANGES[dtype]
        return Normalization(kind, (low,) * len(statistics.mean), (high,) * len(statistics.mean))
    if kind == "deviation":
        constant = statistics.constant()  # whose deviation may be of rounding
        spread = (1.0 if band in constant else own for band, own in enumerate(statistics.deviation))
        return Normalization(kind, statistics.mean, tuple(spread))
    low, high = statistics.minimum, statistics.maximum
    if kind == "percentiles":
        pairs = zip(statistics.lower, statistics.upper, low, high, strict=True)
        low, high = zip(*((a, b) if a < b else (c, d) for a, b, c, d in pairs), strict=True)
    return Normalization(
        kind, tuple(low), tuple(b if b > a else a + max(1.0, abs(a)) for a, b in zip(low, high, strict=True))
    )


def key(files: Iterable[Path], *settings: Any) -> str:
    """Equal for the same files, by path, size and date, read in the same way; the name of their cached statistics."""
    return files_key(files, json.dumps([_FORMAT, PERCENTILES, *settings]))


def stored(path: Path, bands: Sequence[int]) -> tuple[Statistics, ...] | None:
    """What `store` wrote, of sides with so many bands; None where there is nothing, or something else."""
    try:
        with open_file(path) as file:
            contents = json.loads(file.read(_LARGEST_FILE))
    except (OSError, ValueError, RecursionError):
        return None
    sides = contents if isinstance(contents, list) and all(isinstance(side, dict) for side in contents) else []
    if len(sides) != len(bands) or not all(_are_statistics(*pair) for pair in zip(sides, bands, strict=True)):
        return None
    return tuple(
        Statistics(**{name: value if name == "count" else tuple(value) for name, value in side.items()})
        for side in sides
    )


def store(path: Path, sides: Sequence[Statistics]) -> None:
    """Write statistics for the next run; where that cannot be done they are computed again."""
    with suppress(OSError), replace(path) as file:
        file.write(json.dumps([asdict(side) for side in sides]).encode())


def _are_statistics(side: dict[str, Any], bands: int) -> bool:
    names = [field.name for field in fields(Statistics)]
    return (
        side.keys() == set(names)
        and type(side["count"]) is int
        and side["count"] > 0
        and all(_are_numbers(side[name]) and len(side[name]) == bands for name in names[1:])
        and all(a <= b for a, b in zip(side["minimum"], side["maximum"], strict=True))
        and all(a <= b for a, b in zip(side["lower"], side["upper"], strict=True))
        and all(
            own > 0 or low == high
            for own, low, high in zip(side["deviation"], side["minimum"], side["maximum"], strict=True)
        )
    )
