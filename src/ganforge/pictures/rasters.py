"""Pictures of any bands, any depth and any size: one way of reading and of writing them.

Pillow reads the ordinary ones, tifffile deep TIFFs and such of many bands, rasterio (`pip install 'ganforge[geo]'`)
what is georeferenced, read by windows, or compressed as only GDAL knows. Nothing is reduced: what cannot arrive
with all its values is refused by name.
"""

import importlib.util
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from PIL import Image

from ganforge.errors import UserError, require
from ganforge.files.folders import open_file, remedy, replace
from ganforge.files.untrusted import shortened
from ganforge.pictures import images, plain_tiffs, tiff_tags
from ganforge.pictures.raster_data import (
    DTYPES,
    Georeference,
    Header,
    Raster,
    arrives_as,
    chosen,
    converted,
    cut,
    representable,
)

__all__ = ["DTYPES", "Georeference", "Header", "Raster", "Writer", "has_rasterio", "header", "read", "write"]

_TIFF_SUFFIXES = (".tif", ".tiff")
_SAME_IN_RASTERIO = (tiff_tags.BLACK_IS_ZERO, tiff_tags.RGB, tiff_tags.YCBCR)  # photometric interpretations
_INSTALL = "pip install 'ganforge[geo]'"


def has_rasterio() -> bool:
    try:
        return importlib.util.find_spec("rasterio") is not None
    except ValueError:  # hidden by sys.modules["rasterio"] = None
        return False


def header(path: str | Path) -> Header:
    """What a picture file says of itself. Raises UserError, naming the file, where it is none or its size is absurd."""
    return _tiff(path).header if _is_tiff(path) else _ordinary(path)


def read(
    path: str | Path,
    *,
    bands: Sequence[str | int] | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> Raster:
    """A picture with all its values: of the bands given by name, or number from 1, and in the window (top, left, h, w).

    Ordinary pictures are as `images.read` gives them. Otherwise values are as they are stored; a band of transparency
    is one of them, named "alpha". With rasterio a window of a TIFF is read for itself; without, it is cut out of the
    whole. Raises UserError, naming the file: for what does not decode in full, has values that none of DTYPES holds, is
    larger than is read at once, has no such band, or needs rasterio.
    """
    if not _is_tiff(path):
        return _cut(path, _pillow(path), bands, window)
    tiff = _tiff(path)
    head, said = tiff.header, tiff.said
    by_rasterio = has_rasterio() and said.layout.orientation == 1
    if head.is_ordinary and not (
        by_rasterio and window is not None and said.layout.photometric in _SAME_IN_RASTERIO and not said.layout.alpha
    ):
        raster = Raster(images.read(path, len(head.bands)), head.bands, None, None, head.place)
        return _cut(path, raster, bands, window)
    if not by_rasterio or not (said.is_georeferenced or window is not None or said.missing):
        found, values, mask = plain_tiffs.read(path)
        values = values.astype(found.dtype, copy=False)
        mask = _transparent(values, found.layout.alpha, mask)
        top, left, height, width = cut(window, head.height, head.width, str(path))
        rows, columns = slice(top, top + height), slice(left, left + width)
        picked = chosen(bands, head.bands, str(path))
        values = values[rows, columns][..., picked]
        mask = None if mask is None else mask[rows, columns]
    else:
        from ganforge.pictures import geotiffs

        top, left, height, width = cut(window, head.height, head.width, str(path))
        picked = chosen(bands, head.bands, str(path))
        plain_tiffs.check_bytes(path, height, width, len(picked), said.dtype.itemsize)
        plain_tiffs.check_bytes(path, 1, said.block_bytes, 1, 1)
        alpha = said.layout.alpha
        wanted = picked if alpha is None or alpha in picked else [*picked, alpha]
        values, mask = geotiffs.read(path, wanted, (top, left, height, width))
        mask = _transparent(values, None if alpha is None else wanted.index(alpha), mask)
        values = values[..., : len(picked)]
    values, nodata, valid = converted(values, said.layout.nodata, mask, str(path))
    place = None if head.place is None else head.place.moved(top, left)
    return Raster(values, tuple(head.bands[band] for band in picked), nodata, valid, place)


def write(path: str | Path, raster: Raster) -> None:
    """Write a raster, whole or not at all; where it is not valid, its nodata is written (NaN where a float has none).

    As .tif and .tiff anything; as the other formats of `images.write` what is 8-bit grey or RGB, as .png also 16-bit
    grey, without a georeference. Raises UserError where the suffix cannot hold it, the coordinate system needs
    rasterio, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _TIFF_SUFFIXES:
        values = raster.values
        deep_grey = suffix == ".png" and values.dtype == np.uint16 and values.shape[2] == 1
        ordinary = values.dtype == np.uint8 and values.shape[2] in (1, 3)
        require(
            suffix in images.SUFFIXES and (ordinary or deep_grey),
            f"{path}: {values.shape[2]} bands of {values.dtype} are written as .tif, not as {suffix!r}",
        )
        if ordinary:
            images.write(path, values)
        else:
            with _writing(path) as file:
                Image.fromarray(values[..., 0]).save(file, format="PNG")
        return
    raster = _filled(path, raster)
    with _writing(path) as file:
        if has_rasterio() and raster.place is not None:
            from ganforge.pictures import geotiffs

            geotiffs.write(Path(file.name), raster)
        else:
            plain_tiffs.write(file, raster)


class Writer:
    """A scene written from top to bottom in constant memory, a GeoTIFF; the file is there when all of it is written.

    with Writer(path, height=..., width=..., dtype="uint16", bands=("1",)) as scene: scene.write(0, values)
    Left by an exception, or before the last row, nothing remains. Needs rasterio.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        height: int,
        width: int,
        dtype: str,
        bands: Sequence[str],
        nodata: float | None = None,
        place: Georeference | None = None,
    ):
        require(has_rasterio(), f"{path}: a scene is written in parts by rasterio, which is not installed: {_INSTALL}")
        require(Path(path).suffix.lower() in _TIFF_SUFFIXES, f"{path}: a scene is written as .tif")
        require(dtype in DTYPES, f"dtype={dtype}: choose one of {', '.join(DTYPES)}")
        self.path, self.height, self.width = Path(path), height, width
        self.dtype, self.bands, self.nodata, self.place = dtype, tuple(bands), nodata, place
        self.rows = 0  # that were given so far
        self._waiting: list[np.ndarray] = []

    def __enter__(self) -> "Writer":
        from ganforge.pictures import geotiffs

        with ExitStack() as undo:
            self._temporary = Path(undo.enter_context(_writing(self.path)).name)
            undo.enter_context(geotiffs.settings())
            self._file = undo.enter_context(
                geotiffs.create(
                    self._temporary,
                    height=self.height,
                    width=self.width,
                    dtype=self.dtype,
                    bands=self.bands,
                    nodata=self.nodata,
                    place=self.place,
                )
            )
            self._closing = undo.pop_all()
        return self

    def write(self, top: int, values: np.ndarray) -> None:
        """Write rows from `top` on, (h, W, C) of the dtype; they follow those written before."""
        from ganforge.pictures import geotiffs

        if top != self.rows or values.shape[1:] != (self.width, len(self.bands)) or values.dtype != self.dtype:
            raise ValueError(
                f"{values.dtype} {values.shape} at row {top}; {self.dtype} (h, {self.width}, {len(self.bands)}) "
                f"at row {self.rows} follow"
            )
        self.rows += len(values)
        require(self.rows <= self.height, f"{self.path}: more than {self.height} rows")
        self._waiting.append(values)
        # Whole rows of tiles, so that none is compressed twice.
        waiting = sum(map(len, self._waiting))
        ready = waiting if self.rows == self.height else waiting - waiting % geotiffs.TILE
        if ready:
            rows = np.concatenate(self._waiting)
            begin = self.rows - waiting
            self._file.write(rows[:ready].transpose(2, 0, 1), window=((begin, begin + ready), (0, self.width)))
            self._waiting = [rows[ready:].copy()] if ready < waiting else []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.rows != self.height:
            error = ValueError(f"{self.path}: {self.rows} of {self.height} rows were written")
            self._closing.__exit__(ValueError, error, None)
            raise error
        self._closing.__exit__(kind, error, trace)


@dataclass(frozen=True)
class _Tiff:
    header: Header
    said: plain_tiffs.Tiff


def _is_tiff(path: str | Path) -> bool:
    try:
        with open_file(path) as file:
            return file.read(4) in plain_tiffs.MAGIC
    except OSError as error:
        raise UserError(f"{path}: does not decode ({error.strerror}); give a picture ({images.accepted()})") from error


def _tiff(path: str | Path) -> _Tiff:
    status = Path(path).stat()
    return _inspected(str(path), status.st_size, status.st_mtime_ns, has_rasterio())


@lru_cache(maxsize=2**14)
def _inspected(path: str, size: int, changed_at: int, with_rasterio: bool) -> _Tiff:
    """What a file says, kept while it stays the same: windows of it are read again and again."""
    said = plain_tiffs.inspect(path)
    here = said.place
    if said.is_georeferenced and with_rasterio:
        from ganforge.pictures import geotiffs

        here = geotiffs.place(path)
    is_ordinary = said.layout.is_ordinary and not said.has_mask
    grey = said.layout.photometric in (tiff_tags.WHITE_IS_ZERO, tiff_tags.BLACK_IS_ZERO)
    names = said.layout.names
    if is_ordinary:  # transparency and palettes are gone when they are read
        names = names[: 1 if grey else 3] if len(names) >= (1 if grey else 3) else ("1", "2", "3")
    dtype = "uint8" if is_ordinary else arrives_as(said.dtype, path)
    nodata = representable(said.layout.nodata, dtype)
    return _Tiff(Header(said.height, said.width, dtype, names, nodata, here, is_ordinary), said)


def _ordinary(path: str | Path) -> Header:
    """The header of a file that is no TIFF."""
    height, width, mode, deep = images.said(path)
    grey = mode in ("1", "L", "LA", "La")
    return Header(
        height,
        width,
        "uint16" if deep else "uint8",
        deep or (("1",) if grey else ("1", "2", "3")),
        None,
        None,
        not deep,
    )


def _pillow(path: str | Path) -> Raster:
    """A file that is no TIFF, whole."""
    head = _ordinary(path)
    if head.is_ordinary:
        return Raster(images.read(path, len(head.bands)), head.bands)
    values = images.read_deep_png(path)
    masked = _transparent(values, head.bands.index("alpha") if "alpha" in head.bands else None, None)
    return Raster(values, head.bands, valid=None if masked is None or not masked.any() else ~masked)


def _transparent(values: np.ndarray, alpha: int | None, mask: np.ndarray | None) -> np.ndarray | None:
    """Where the mask or transparency of a picture says that there is nothing, bool (H, W)."""
    if alpha is None:
        return mask
    clear = values[..., alpha] == 0
    return clear if mask is None else mask | clear


def _cut(
    path: str | Path, raster: Raster, bands: Sequence[str | int] | None, window: tuple[int, int, int, int] | None
) -> Raster:
    """Bands and a window of a raster."""
    if bands is None and window is None:
        return raster
    top, left, height, width = cut(window, *raster.values.shape[:2], str(path))
    picked = chosen(bands, raster.bands, str(path))
    rows, columns = slice(top, top + height), slice(left, left + width)
    return Raster(
        np.ascontiguousarray(raster.values[rows, columns][..., picked]),
        tuple(raster.bands[band] for band in picked),
        raster.nodata,
        None if raster.valid is None else raster.valid[rows, columns],
        None if raster.place is None else raster.place.moved(top, left),
    )


def _filled(path: Path, raster: Raster) -> Raster:
    """With nodata where it is not valid."""
    if raster.valid is None or raster.valid.all():
        return raster
    nodata = raster.nodata
    if nodata is None and raster.values.dtype == np.float32:
        nodata = math.nan
    if nodata is None:
        raise ValueError(f"{path}: {raster.values.dtype} with pixels that are not valid needs a nodata value")
    values = np.where(raster.valid[..., None], raster.values, raster.values.dtype.type(nodata))
    return changed(raster, values=values, nodata=nodata)


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """As `folders.replace`; what cannot be written raises UserError, naming the file."""
    try:
        with replace(path) as file:
            yield file
            file.flush()
            if path.suffix.lower() in _TIFF_SUFFIXES:
                plain_tiffs.check_written(Path(file.name))
    except OSError as error:  # rasterio's errors are such
        said = error.strerror or shortened(str(error).splitlines()[0])
        raise UserError(f"{path}: cannot be written ({said}); {remedy(error)}") from error
