"""TIFFs of any depth and bands through tifffile, which needs neither GDAL nor other programs."""

import errno
import importlib.util
import itertools
import logging
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from ganforge.errors import UserError, require
from ganforge.files.folders import open_file
from ganforge.files.untrusted import first_line
from ganforge.pictures import images, tiff_tags
from ganforge.pictures.raster_data import Georeference, Raster

MOST_BYTES = 20 * images.MOST_PIXELS  # of the values that are read at once
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_PLAIN_CODECS = {1: "none", 8: "deflate", 32946: "deflate", 32773: "PackBits"}
_UNCOMPRESSED = 1
_PADDING = 64  # bytes that a strip may have more than its pixels
_DEFLATE = (8, 32946)
_DEFLATES_TO = 1032  # bytes at most, of one
_FLOAT = 3  # of predictors: 1 is none, 2 the difference to the value before
_MOST_PAGES = 64  # that are looked at for a mask
_SEPARATE = 2  # planar configuration

logging.getLogger("tifffile").addFilter(lambda record: record.levelno >= logging.CRITICAL)  # what fails is raised


@dataclass(frozen=True)
class Tiff:
    """What the first page of a TIFF says. missing: what is needed to decode it, None where nothing is."""

    height: int
    width: int
    dtype: np.dtype
    layout: tiff_tags.Layout
    place: Georeference | None
    is_georeferenced: bool
    missing: str | None
    block_bytes: int
    nbytes: int
    has_mask: bool


@contextmanager
def opened(path: str | Path) -> Iterator[tifffile.TiffFile]:
    """The TIFF; whatever its decoder raises becomes a UserError that names it."""
    try:
        with open_file(path) as file, tifffile.TiffFile(file, name=Path(path).name) as tiff:
            yield tiff
    except UserError:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        known = isinstance(error, OSError | tifffile.TiffFileError | zlib.error)
        reason = getattr(error, "strerror", None) or (first_line(error) if known else "its tags or pixels are damaged")
        raise UserError(f"{path}: does not decode ({reason}); replace it by a complete TIFF") from error


def inspect(path: str | Path) -> Tiff:
    """What the file says, without decoding it. Raises UserError, naming it, where it is no TIFF of a picture."""
    with opened(path) as tiff:
        return _inspected(path, tiff)


def read(path: str | Path, said: Tiff) -> tuple[np.ndarray, np.ndarray | None]:
    """Values (H, W, C) in the file's own type, upright, and its mask: bool (H, W), True where there is nothing.

    said: what `inspect` found.
    """
    require(said.missing is None, f"{path}: {said.missing}")
    check_bytes(path, said.height, said.width, len(said.layout.names), said.dtype.itemsize)
    check_bytes(path, 1, 1, 1, said.block_bytes)
    with opened(path) as tiff:
        page = tiff.pages[0]
        require(page.nbytes == said.nbytes, f"{path}: was changed while it was read; start again")
        _check_expansion(path, page, said.block_bytes)
        values = _unpredicted(page) if page.predictor == _FLOAT else page.asarray(maxworkers=1)
        values = _bands_last(page, values).astype(said.dtype, copy=False)
        mask = _mask(path, tiff) if said.has_mask else None
    turned = [None if array is None else tiff_tags.upright(array, said.layout.orientation) for array in (values, mask)]
    return turned[0], turned[1]


def check_bytes(path: str | Path, height: int, width: int, bands: int, itemsize: int) -> None:
    """Raise UserError where values of this size are more than are read at once."""
    needed = height * width * bands * itemsize
    require(
        needed <= MOST_BYTES,
        f"{path}: {width}×{height} pixels of {bands} bands are {needed / 2**30:,.1f} GiB, more than the "
        f"{MOST_BYTES / 2**30:.1f} that are read at once; cut it into tiles, or allow more by the "
        f"environment's GANFORGE_MOST_PIXELS (now {images.MOST_PIXELS:,}; 20 bytes each)",
    )


def write(file: BinaryIO, raster: Raster) -> None:
    """Write a TIFF, compressed without loss, with its band names, nodata and georeference."""
    values = raster.values
    count = values.shape[2]
    is_colour = count == 3 and values.dtype == np.uint8
    tags = [] if raster.place is None else tiff_tags.to_tags(raster.place)
    if any(name != str(band + 1) for band, name in enumerate(raster.bands)):
        tags.append((tiff_tags.GDAL_METADATA, "s", 0, tiff_tags.names_to_metadata(raster.bands), True))
    if raster.nodata is not None:
        tags.append((tiff_tags.GDAL_NODATA, "s", 0, f"{raster.nodata:.17g}", True))
    tifffile.imwrite(
        file,
        values if count > 1 else values[..., 0],
        photometric="rgb" if is_colour else "minisblack",
        planarconfig="contig" if count > 1 else None,
        extrasamples=None if is_colour or count == 1 else [0] * (count - 1),
        compression="zlib",
        predictor=2 if values.dtype.kind in "iu" else None,
        metadata=None,
        software=False,
        extratags=tags,
        bigtiff=values.nbytes > 2**32 - 2**25,
        maxworkers=1,
    )


def _inspected(path: str | Path, tiff: tifffile.TiffFile) -> Tiff:
    page = tiff.pages[0]
    layout = tiff_tags.layout(page.tags.valueof)
    require(
        page.dtype is not None and min(page.shape, default=0) > 0 and page.imagedepth == 1,
        f"{path}: is no picture of rows and columns of whole or real numbers",
    )
    bits = page.tags.valueof(tiff_tags.BITS)
    require(
        page.samplesperpixel == len(layout.names)
        and (not isinstance(bits, tuple) or len(bits) == page.samplesperpixel),
        f"{path}: does not decode (its tags disagree on the number of bands); replace it by a complete TIFF",
    )
    turned = layout.orientation in (5, 6, 7, 8)
    height, width = (page.imagewidth, page.imagelength) if turned else (page.imagelength, page.imagewidth)
    here = tiff_tags.place(page.tags.valueof)
    block = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    rows, columns = int(block[0]) if page.is_tiled else min(int(block[0]), page.imagelength), int(block[1])
    bands = 1 if page.planarconfig == _SEPARATE else len(layout.names)
    block_bytes = rows * columns * bands * np.dtype(page.dtype).itemsize
    if not layout.is_ordinary:  # others are read by Pillow, which reads more than the standard allows
        _check_segments(path, page)
        _check_lengths(path, page, block_bytes)
    return Tiff(
        height=height,
        width=width,
        dtype=np.dtype(page.dtype).newbyteorder("="),
        layout=layout,
        place=here,
        is_georeferenced=here is not None or page.tags.valueof(tiff_tags.GEO_KEYS) is not None,
        missing=_missing(page),
        block_bytes=block_bytes,
        nbytes=page.nbytes,
        has_mask=_mask_page(tiff) is not None,
    )


def _missing(page: tifffile.TiffPage) -> str | None:
    codec, predictor = int(page.compression), int(page.predictor)
    packed = page.bitspersample not in (8, 16, 32, 64)
    if codec in _PLAIN_CODECS and predictor in (1, 2, _FLOAT) and not packed:
        return None
    if importlib.util.find_spec("imagecodecs") is not None:
        return None
    what = f"is compressed by {getattr(page.compression, 'name', codec)}"
    if codec in _PLAIN_CODECS:
        what = f"has {page.bitspersample} bits a value" if packed else f"is compressed with the predictor {predictor}"
    return f"{what}, which needs rasterio: pip install 'ganforge[geo]' (or pip install imagecodecs)"


def _check_segments(path: str | Path, page: tifffile.TiffPage) -> None:
    """Raise UserError where strips or tiles are missing, or are not in the file; those of no bytes are sparse."""
    ends = np.add(page.dataoffsets, page.databytecounts, dtype=np.float64)  # of 64-bit numbers that lie, too
    size = page.parent.filehandle.size
    require(
        len(ends) == len(page.databytecounts) == math.prod(page.chunked),
        f"{path}: does not decode (its tags disagree on the number of strips); replace it by a complete TIFF",
    )
    require(
        not (ends[np.asarray(page.databytecounts) > 0] > size).any(),
        f"{path}: does not decode (it ends at {size:,} bytes, before its pixels do); replace it by a complete TIFF",
    )


def _check_lengths(path: str | Path, page: tifffile.TiffPage, nominal: int) -> None:
    """Raise UserError where the first strip or tile, or an uncompressed one, does not hold the pixels that tags say."""
    lengths = list(page.databytecounts)
    if int(page.compression) in _DEFLATE:
        lengths = [_decoded(page, 0, nominal)]
    elif int(page.compression) != _UNCOMPRESSED:
        return
    enough = lengths[0] >= nominal or page.databytecounts[0] == 0
    require(
        enough and max(lengths) <= nominal + _PADDING,
        f"{path}: does not decode (a strip of it does not hold the {nominal:,} bytes that its tags say); replace it "
        "by a complete TIFF",
    )


def _check_expansion(path: str | Path, page: tifffile.TiffPage, nominal: int) -> None:
    """Raise UserError where a strip or tile decodes to so much more than its pixels that memory is in danger."""
    if int(page.compression) in _DEFLATE:
        for number, count in enumerate(page.databytecounts):
            if count * _DEFLATES_TO > max(nominal, MOST_BYTES // 8):
                require(
                    _decoded(page, number, nominal) <= nominal + _PADDING,
                    f"{path}: does not decode (a strip of it holds more than its pixels); give a sound TIFF",
                )


def _decoded(page: tifffile.TiffPage, number: int, most: int) -> int:
    """The bytes that a deflated strip or tile decodes to, counted until they are more than `most` and some."""
    page.parent.filehandle.seek(page.dataoffsets[number])
    decoder, data, found = zlib.decompressobj(), page.parent.filehandle.read(page.databytecounts[number]), 0
    while data and not decoder.eof and found <= most + _PADDING:
        found += len(decoder.decompress(data, 2**20))
        data = decoder.unconsumed_tail
    return found


def _unpredicted(page: tifffile.TiffPage) -> np.ndarray:
    """Real numbers with predictor 3 (Adobe Photoshop TIFF Technical Note 3), which tifffile leaves to other libraries.

    In each row of a strip or tile the first bytes of all values come first, then the second ones; and each byte is the
    difference to that before, of the same sample.
    """
    height, width, size = page.imagelength, page.imagewidth, np.dtype(page.dtype).itemsize
    samples, planes = (1, page.samplesperpixel) if page.planarconfig == _SEPARATE else (page.samplesperpixel, 1)
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
    values = np.empty((planes, height, width, samples), dtype=f">f{size}")
    places = itertools.product(range(planes), range(0, height, rows), range(0, width, columns))
    for (plane, top, left), offset, count in zip(places, page.dataoffsets, page.databytecounts, strict=True):
        page.parent.filehandle.seek(offset)
        data = page.parent.filehandle.read(count)
        data = zlib.decompress(data) if int(page.compression) in _DEFLATE else data
        height_here = rows if page.is_tiled else min(rows, height - top)
        differences = np.frombuffer(data, np.uint8).reshape(height_here, size * columns, samples)
        planes_of_bytes = differences.cumsum(1, dtype=np.uint8).reshape(height_here, size, columns * samples)
        block = np.ascontiguousarray(planes_of_bytes.swapaxes(1, 2)).view(values.dtype)
        block = block.reshape(height_here, columns, samples)[: height - top, : width - left]
        values[plane, top : top + len(block), left : left + block.shape[1]] = block
    return values


def _bands_last(page: tifffile.TiffPage, values: np.ndarray) -> np.ndarray:
    """(H, W, C), for pages of one band, of bands last and of separate bands."""
    if page.samplesperpixel == 1:
        return values.reshape(page.imagelength, page.imagewidth, 1)
    if page.planarconfig == _SEPARATE:
        return values.reshape(-1, page.imagelength, page.imagewidth).transpose(1, 2, 0)
    return values.reshape(page.imagelength, page.imagewidth, -1)


def _mask_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage | None:
    """The page that masks the first one, None without one."""
    for number in range(1, _MOST_PAGES):
        try:
            page = tiff.pages[number]
        except IndexError:
            return None
        kind = page.tags.valueof(tiff_tags.SUBFILE_TYPE, 0)
        same = (page.imagelength, page.imagewidth) == (tiff.pages[0].imagelength, tiff.pages[0].imagewidth)
        if isinstance(kind, int) and kind & tiff_tags.MASK and same and page.samplesperpixel == 1:
            return page
    return None


def _mask(path: str | Path, tiff: tifffile.TiffFile) -> np.ndarray | None:
    """True where the file's mask says that there is nothing; None without one."""
    page = _mask_page(tiff)
    if page is None:
        return None
    block = page.tilelength * page.tilewidth if page.is_tiled else 0
    check_bytes(path, 1, 1, 1, max(block, page.imagelength * page.imagewidth))
    _check_segments(path, page)
    _check_expansion(path, page, max(block, page.imagelength * page.imagewidth))
    return page.asarray(maxworkers=1).reshape(page.imagelength, page.imagewidth) == 0


def check_written(path: Path) -> None:
    """Raise OSError where a TIFF lacks some of its pixels: GDAL does not always say that a disk is full."""
    size = path.stat().st_size
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True) if count]
        if len(ends) != int(np.prod(page.chunked)) or max(ends) > size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
