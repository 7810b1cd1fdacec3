"""Pictures of any bands, any depth and any size: one way of reading and of writing them.

Pillow reads the ordinary ones, tifffile deep TIFFs and such of many bands, rasterio (`pip install 'ganforge[geo]'`)
what is georeferenced, read by windows, or compressed as only GDAL knows. Nothing is reduced: what cannot arrive
with all its values is refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ganforge.errors import UserError
from ganforge.files.folders import open_file
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
    has_rasterio,
    representable,
)
from ganforge.pictures.raster_writer import Writer, write

__all__ = ["DTYPES", "Georeference", "Header", "Raster", "Writer", "has_rasterio", "header", "read", "write"]

_SAME_IN_RASTERIO = (tiff_tags.BLACK_IS_ZERO, tiff_tags.RGB, tiff_tags.YCBCR)  # photometric interpretations


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
    if window == (0, 0, head.height, head.width):
        window = None
    by_rasterio = has_rasterio() and said.layout.orientation == 1
    if head.is_ordinary and (window is None or not by_rasterio or not tiff.is_stored_as_seen):
        return _cut(path, Raster(images.read(path, len(head.bands)), head.bands, place=head.place), bands, window)
    top, left, height, width = cut(window, head.height, head.width, str(path))
    picked, alpha = chosen(bands, head.bands, str(path)), said.layout.alpha
    wanted = picked if alpha is None else [*picked, alpha]
    if by_rasterio and (said.is_georeferenced or window is not None or said.missing):
        from ganforge.pictures import geotiffs

        plain_tiffs.check_bytes(path, height, width, len(wanted), said.dtype.itemsize)
        plain_tiffs.check_bytes(path, 1, 1, 1, said.block_bytes)
        values, mask = geotiffs.read(path, wanted, (top, left, height, width))
    else:
        values, mask = plain_tiffs.read(path, said)
        values = values[top : top + height, left : left + width]
        values = values if wanted == list(range(len(head.bands))) else values[..., wanted]
        mask = None if mask is None else mask[top : top + height, left : left + width]
    if alpha is not None:
        clear = values[..., -1] == 0
        values, mask = values[..., :-1], clear if mask is None else mask | clear
    values, nodata, valid = converted(values, said.layout.nodata, mask, str(path))
    place = None if head.place is None else head.place.moved(top, left)
    return Raster(values, tuple(head.bands[band] for band in picked), nodata, valid, place)


@dataclass(frozen=True)
class _Tiff:
    header: Header
    said: plain_tiffs.Tiff

    @property
    def is_stored_as_seen(self) -> bool:
        """Whether the stored numbers are those that `images.read` gives."""
        layout = self.said.layout
        return layout.bits == 8 and layout.alpha is None and layout.photometric in _SAME_IN_RASTERIO


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
    if said.layout.orientation != 1:
        here = None  # of the picture as it is stored, not as it is seen
    elif said.is_georeferenced and with_rasterio:
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
    valid = values[..., -1] != 0 if head.bands[-1] == "alpha" else None
    return Raster(values, head.bands, valid=None if valid is None or valid.all() else valid)


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
