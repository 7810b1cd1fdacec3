"""Rasters to files, whole or not at all."""

import errno
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace as changed
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from PIL import Image

from ganforge.errors import UserError, require
from ganforge.files.folders import remedy, replace
from ganforge.files.untrusted import shortened
from ganforge.pictures import images, plain_tiffs
from ganforge.pictures.raster_data import DTYPES, Georeference, Raster, has_rasterio, representable

_TIFF_SUFFIXES = (".tif", ".tiff")
_INSTALL = "pip install 'ganforge[geo]'"


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
    raster, place = _filled(path, raster), raster.place
    require(
        has_rasterio() or place is None or place.keys is not None or not place.crs,
        f"{path}: its coordinate system, {shortened(place.crs if place else '', 60)}, is written by rasterio, which is "
        f"not installed: {_INSTALL}",
    )
    with _writing(path) as file:
        if has_rasterio() and place is not None:
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
        _check_nodata(Path(path), nodata, dtype)
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


def _filled(path: Path, raster: Raster) -> Raster:
    """With nodata where it is not valid."""
    _check_nodata(path, raster.nodata, raster.values.dtype.name)
    if raster.valid is None or raster.valid.all():
        return raster
    nodata = raster.nodata
    if nodata is None and raster.values.dtype == np.float32:
        nodata = math.nan
    if nodata is None:
        raise ValueError(f"{path}: {raster.values.dtype} with pixels that are not valid needs a nodata value")
    values = np.where(raster.valid[..., None], raster.values, raster.values.dtype.type(nodata))
    return changed(raster, values=values, nodata=nodata)


def _check_nodata(path: Path, nodata: float | None, dtype: str) -> None:
    require(
        nodata is None or representable(float(nodata), dtype) is not None,
        f"{path}: nodata={nodata} is no value of {dtype}; choose another nodata or type",
    )


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """As `folders.replace`; what cannot be written raises UserError, naming the file."""
    try:
        with replace(path) as file:
            yield file
            file.flush()
            if path.suffix.lower() in _TIFF_SUFFIXES:
                plain_tiffs.check_written(Path(file.name))
    except OSError as error:
        reason = error.errno or errno.ENOSPC  # GDAL says none, and the file could be opened before
        raise UserError(
            f"{path}: cannot be written ({os.strerror(reason)}); {remedy(OSError(reason, os.strerror(reason)))}"
        ) from error
