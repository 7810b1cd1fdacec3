"""GeoTIFFs through rasterio (`ganforge[geo]`): by windows, in any compression, with every coordinate system.

GDAL is told to open TIFFs alone, and no file beside them: other formats name files and addresses to be opened.
"""

import logging
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from ganforge.errors import UserError
from ganforge.files.folders import open_file
from ganforge.files.untrusted import first_line
from ganforge.pictures.raster_data import Georeference, Raster

_MOST_OPEN = 32  # files of a thread
TILE = 256  # pixels, of tiled files that are written
_SETTINGS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no .aux.xml, .ovr, .msk or .tfw beside the file
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,  # MB, instead of a twentieth of the memory
    "GDAL_TIFF_INTERNAL_MASK": True,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "none",
}

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
logging.getLogger("rasterio").addFilter(lambda record: record.levelno >= logging.CRITICAL)  # what fails is raised


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Whatever GDAL raises becomes a UserError that names the file."""
    try:
        with rasterio.Env(**_SETTINGS):
            yield
    except UserError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # rasterio's own words are those of GDAL, or point to them
            cause = cause.__cause__
        reason = getattr(cause, "strerror", None) or first_line(cause)
        raise UserError(f"{path}: does not decode ({reason}); replace it by a complete TIFF") from error


def place(path: str | Path) -> Georeference | None:
    """Where the file lies, None where it says nothing about it."""
    with named(path), _open(path) as file:
        crs = file.crs.to_string() if file.crs else ""
        if not crs and file.transform == Affine.identity():
            return None
        return Georeference(crs, tuple(file.transform)[:6])


def read(
    path: str | Path, bands: Sequence[int], window: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Bands (from 0) in a window (top, left, h, w): (h, w, C) in the file's type, and where its mask hides them."""
    top, left, height, width = window
    region = Window(left, top, width, height)
    with named(path):
        file = _kept(path)
        values = file.read([band + 1 for band in bands], window=region)
        flags = file.mask_flag_enums[0]
        has_mask = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        mask = file.read_masks(1, window=region) == 0 if has_mask else None
    return values.transpose(1, 2, 0), mask


def _open(path: str | Path) -> rasterio.DatasetReader:
    open_file(path).close()
    return rasterio.open(Path(path).absolute(), driver="GTiff", sharing=False)


class _Open(threading.local):
    """The files of one thread of one process that stay open, because to open one takes as long as to read a window."""

    def __init__(self):
        self.process, self.files = os.getpid(), OrderedDict()


_open_files = _Open()


def _kept(path: str | Path) -> rasterio.DatasetReader:
    if _open_files.process != os.getpid():  # a fork reads from files of its own: positions in them are shared
        _open_files.__init__()
    files, status = _open_files.files, os.stat(path)
    key = (os.path.abspath(path), status.st_ino, status.st_size, status.st_mtime_ns)
    if key not in files:
        while len(files) >= _MOST_OPEN:
            files.popitem(last=False)[1].close()
        files[key] = _open(path)
    files.move_to_end(key)
    return files[key]


def create(
    path: Path,
    *,
    height: int,
    width: int,
    dtype: str,
    bands: Sequence[str],
    nodata: float | None,
    place: Georeference | None,
) -> rasterio.io.DatasetWriter:
    """An empty GeoTIFF to be filled and closed, compressed without loss; inside `settings()`."""
    is_colour = len(bands) == 3 and dtype == "uint8"
    options: dict[str, Any] = {"photometric": "RGB" if is_colour else "MINISBLACK"}
    if max(height, width) > 2 * TILE:
        options |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE}
    if dtype != "float32":
        options["predictor"] = 2
    if place is not None:
        options |= {
            "transform": Affine(*place.transform),
            "crs": rasterio.CRS.from_user_input(place.crs) if place.crs else None,
        }
    file = rasterio.open(
        path.absolute(),
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=len(bands),
        dtype=dtype,
        nodata=nodata,
        interleave="pixel",
        compress="deflate",
        bigtiff="IF_SAFER",
        **options,
    )
    if not is_colour:
        file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(bands) - 1)
    for number, name in enumerate(bands, 1):
        if name != str(number):
            file.set_band_description(number, name)
    return file


def settings() -> rasterio.Env:
    return rasterio.Env(**_SETTINGS)


def write(path: Path, raster: Raster) -> None:
    """Write a GeoTIFF."""
    height, width = raster.values.shape[:2]
    with (
        settings(),
        create(
            path,
            height=height,
            width=width,
            dtype=raster.values.dtype.name,
            bands=raster.bands,
            nodata=raster.nodata,
            place=raster.place,
        ) as file,
    ):
        file.write(raster.values.transpose(2, 0, 1))
