"""Pictures as numbers of any depth and any bands: what a file holds, before anything is made of it."""

import dataclasses
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganforge.errors import require
from ganforge.files.untrusted import printable

DTYPES = ("uint8", "uint16", "int16", "float32")

# Whole numbers of 32 and 64 bits become float32, which holds them exactly up to here.
_LARGEST_EXACT = 2**24
_ARRIVES_AS = {"int8": "int16"} | dict.fromkeys(("float16", "float64", "int32", "uint32", "int64", "uint64"), "float32")


@dataclass(frozen=True)
class Georeference:
    """Where a picture lies.

    crs: "EPSG:n" or WKT; "" where it cannot be known without rasterio, or the file has none. transform: (a, b, c, d, e,
    f), the pixel corner (column, row) lies at x = a * column + b * row + c, y = d * column + e * row + f. keys: the
    GeoTIFF tags 34735 to 34737 as they are in a file, by which a crs is carried over without rasterio.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    keys: tuple[tuple[int, tuple | str], ...] | None = None

    def moved(self, top: int, left: int) -> "Georeference":
        """That of the window whose first pixel is (top, left)."""
        a, b, c, d, e, f = self.transform
        return dataclasses.replace(self, transform=(a, b, a * left + b * top + c, d, e, d * left + e * top + f))


@dataclass(frozen=True)
class Header:
    """What a file says of its picture; read without decoding it.

    dtype: in which the values arrive, one of DTYPES. bands: their names, from the file or "1", "2", ... place: None
    where the file has no georeference. is_ordinary: a picture of 8 bits, grey or colour, perhaps with a palette or
    transparency, that `images.read` reads without loss.
    """

    height: int
    width: int
    dtype: str
    bands: tuple[str, ...]
    nodata: float | None
    place: Georeference | None
    is_ordinary: bool


@dataclass(frozen=True)
class Raster:
    """A picture of any depth and bands.

    values: (H, W, C), uint8, uint16, int16 or float32, C-contiguous. bands: C names. nodata: the value that stands for
    none (NaN possible). valid: bool (H, W), False where any of the bands is nodata, NaN, infinite or masked; None where
    all are valid.
    """

    values: np.ndarray
    bands: tuple[str, ...]
    nodata: float | None = None
    valid: np.ndarray | None = None
    place: Georeference | None = None

    def __post_init__(self):
        shape, dtype = self.values.shape, self.values.dtype
        if len(shape) != 3 or dtype.name not in DTYPES or len(self.bands) != shape[2]:
            raise ValueError(
                f"{dtype} {shape} with {len(self.bands)} band names is no raster; {', '.join(DTYPES)} (H, W, C) is"
            )


def has_rasterio() -> bool:
    return importlib.util.find_spec("rasterio") is not None


def arrives_as(dtype: np.dtype, said: str) -> str:
    """The one of DTYPES in which values of a file's type arrive. Raises UserError for types that have none."""
    name = np.dtype(dtype).name
    name = _ARRIVES_AS.get(name, name)
    require(
        name in DTYPES,
        f"{said}: its values are of type {name}; pictures are whole or real numbers, so store for example magnitudes",
    )
    return name


def representable(nodata: float | None, dtype: str) -> float | None:
    """nodata as a value of this type; None where no value of it is, NaN where a float type cannot hold it."""
    if nodata is None or (dtype != "float32" and not nodata.is_integer()):
        return None
    if dtype != "float32":
        limits = np.iinfo(dtype)
        return nodata if limits.min <= nodata <= limits.max else None
    beyond = math.isfinite(nodata) and abs(nodata) > np.finfo(np.float32).max
    return math.nan if beyond else float(np.float32(nodata))


def converted(
    values: np.ndarray, nodata: float | None, masked: np.ndarray | None, said: str
) -> tuple[np.ndarray, float | None, np.ndarray | None]:
    """Values (H, W, C) of a file as one of DTYPES, its nodata in that type, and where they are valid, (H, W) or None.

    masked: bool (H, W), True where a mask in the file says that there is nothing. float64 is rounded to float32; whole
    numbers of 32 bits and more that float32 does not hold exactly raise UserError.
    """
    dtype = arrives_as(values.dtype, said)
    known = representable(nodata, dtype)
    absent = None
    with np.errstate(over="ignore"):
        if nodata is not None and values.dtype.kind == "f":
            absent = values == values.dtype.type(nodata)
        elif nodata is not None and nodata.is_integer():
            absent = values == int(nodata)
        if values.dtype.kind in "iu" and dtype == "float32":
            _check_exact(values if absent is None else values[~absent], said)
        if values.dtype.name != dtype:
            values = values.astype(dtype)
            if absent is not None:
                values[absent] = known
    invalid = masked
    for more in (absent, ~np.isfinite(values) if dtype == "float32" else None):
        if more is not None:
            more = more.any(2)
            invalid = more if invalid is None else invalid | more
    valid = None if invalid is None or not invalid.any() else ~invalid
    return np.ascontiguousarray(values), known, valid


def _check_exact(values: np.ndarray, said: str) -> None:
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    require(
        max(-low, high) <= _LARGEST_EXACT,
        f"{said}: has whole numbers from {low} to {high}, which float32 does not hold exactly; store them as uint16, "
        "int16 or float32",
    )


def chosen(bands: Sequence[str | int] | None, names: Sequence[str], said: str) -> list[int]:
    """The positions of bands given by name, or by number from 1; all of them for None. Raises UserError."""
    if bands is None:
        return list(range(len(names)))
    found = []
    for band in bands:
        if str(band) in names and not isinstance(band, int):
            found.append(list(names).index(band))
        else:
            number = int(band) if str(band).isascii() and str(band).isdigit() else 0
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            require(
                1 <= number <= len(names),
                f"{said}: has no band {printable(band)}; its {len(names)} bands are {printable(shown)}, also known as "
                f"1 to {len(names)}",
            )
            found.append(number - 1)
    require(bool(found), f"{said}: no band is asked for; leave the bands out for all of them")
    return found


def cut(window: tuple[int, int, int, int] | None, height: int, width: int, said: str) -> tuple[int, int, int, int]:
    """The window (top, left, height, width), or the whole; raises UserError where it leaves the picture."""
    top, left, rows, columns = window or (0, 0, height, width)
    require(
        top >= 0 and left >= 0 and 0 < rows <= height - top and 0 < columns <= width - left,
        f"{said}: the window of {columns}×{rows} pixels at column {left}, row {top} leaves its {width}×{height} pixels",
    )
    return top, left, rows, columns
