"""The border between picture files and arrays: everything inside ganforge is numbers, everything outside is files.

Arrays of pictures are uint8 (H, W, C) with C = 1 (grey) or 3 (RGB); arrays for networks are float32 (C, H, W) in
[-1, 1].
"""

import hashlib
import logging
import os
import warnings
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from ganforge.errors import UserError, require
from ganforge.files.folders import natural_key, open_file
from ganforge.pictures import tiff_tags

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")

# A picture of a few bytes may say that it is as large as the memory: what it says is looked at before it is decoded.
MOST_PIXELS = int(os.environ.get("GANFORGE_MOST_PIXELS") or 2**26)
MOST_ASPECT = 100  # of the longer side to the shorter
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")

Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, MOST_PIXELS)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # what it warns of is refused here

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")  # Pillow knows more, of which some run other programs
_SAVE_OPTIONS = {".jpg": {"quality": 95}, ".jpeg": {"quality": 95}, ".webp": {"lossless": True}}
_EDGE_BYTES = 2**19
_PNG_COLOURS = {0: ("1",), 2: ("1", "2", "3"), 4: ("1", "alpha"), 6: ("1", "2", "3", "alpha")}  # bands of colour types
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


def read(path: str | Path, channels: int, background: str = "white") -> np.ndarray:
    """Read one picture as uint8 (H, W, channels); channels is 1 (grey) or 3 (RGB).

    Transparency is composited on the background, the EXIF orientation is applied, and of several frames the first is
    read. Deep grey keeps its range and not its steps, which is said: 16-bit and integer grey is scaled by 65535 -> 255,
    float grey (TIFF) from [0, 1]; the scale never depends on the picture, so that pictures stay comparable, and values
    outside it are an error. `rasters.read` reads all values, of any number of bands.

    background: an opaque colour by name or as "#rrggbb". Raises UserError, naming the file, when it holds more than a
    picture of 8 bits (bands beyond the colour, 16-bit colour, signed values) or does not decode in full, and before it
    is decoded when it says that it has more than MOST_PIXELS (2^26, or the environment's GANFORGE_MOST_PIXELS), or is
    more than MOST_ASPECT times as long as it is wide.
    """
    require(channels in (1, 3), f"channels={channels}: pictures are read with 1 (grey) or 3 (RGB) channels")
    colour = opaque(background)
    try:
        # Opened here, because Pillow maps files that it opens itself, and mapped TIFFs are turned wrongly (13.0).
        with open_file(path) as file, Image.open(file, formats=_FORMATS) as image:
            _check_shape(path, *image.size)
            white_is_zero = getattr(image, "tag_v2", {}).get(tiff_tags.PHOTOMETRIC) == tiff_tags.WHITE_IS_ZERO
            if image.format == "TIFF":
                _check_bands(path, tiff_tags.layout(image.tag_v2.get).beyond)
            elif len(_deep_bands(image, file)) > 1:
                _check_bands(path, f"16-bit {image.mode}")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)  # a copy costs as much memory again
            upright = image
        if upright.mode == "F" or upright.mode.startswith("I"):
            _say_reduced("float" if upright.mode == "F" else "16-bit")
            grey = _deep_to_uint8(np.asarray(upright), 1.0 if upright.mode == "F" else 65535.0, white_is_zero)
            return np.repeat(grey[..., None], channels, axis=2)
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, (*colour, 255)), upright)
        array = np.array(upright.convert("L" if channels == 1 else "RGB"))
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: says that it has more than {MOST_PIXELS:,} pixels; {_TOO_MANY}") from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        if isinstance(error, UnidentifiedImageError):
            _check_bands(path, _tiff_beyond(path))
            reason = "not a picture, or of a depth or channel count that Pillow does not know"
        else:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(
            f"{path}: does not decode ({reason}); replace it by a complete PNG, JPEG, TIFF, BMP or WebP file"
        ) from error
    return array.reshape(*array.shape[:2], channels)


def said(path: str | Path) -> tuple[int, int, str, tuple[str, ...]]:
    """(height, width) upright, Pillow's mode, and the bands of a PNG of 16 bits, () otherwise; without decoding.

    Raises UserError, naming the file, where it is no picture that Pillow knows, or of an absurd size.
    """
    try:
        with open_file(path) as file, Image.open(file, formats=_FORMATS) as image:
            _check_shape(path, *image.size)
            turned = image.getexif().get(tiff_tags.ORIENTATION) in _SIDEWAYS
            width, height = reversed(image.size) if turned else image.size
            return height, width, image.mode, _deep_bands(image, file)
    except UserError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or "not a picture, or damaged at its beginning"
        raise UserError(
            f"{path}: does not decode ({reason}); replace it by a complete PNG, JPEG, TIFF, BMP or WebP file"
        ) from error


def _deep_bands(image: Image.Image, file: BinaryIO) -> tuple[str, ...]:
    """The bands of a PNG of 16 bits a value, () for every other picture."""
    if image.format != "PNG":
        return ()
    here = file.tell()
    file.seek(24)  # of the first chunk, which is the header: depth and colour type
    depth, colour = file.read(2)
    file.seek(here)
    return _PNG_COLOURS.get(colour, ()) if depth == 16 else ()


def read_deep_png(path: str | Path) -> np.ndarray:
    """A PNG of 16 bits as it is stored, upright: uint16 (H, W, C). Raises UserError where it does not decode."""
    try:
        with open_file(path) as file, Image.open(file, formats=("PNG",)) as image:
            _check_shape(path, *image.size)
            orientation = image.getexif().get(tiff_tags.ORIENTATION, 1)
            if len(_deep_bands(image, file)) == 1:
                values = np.asarray(image, dtype=np.uint16)[..., None]
            else:  # Pillow reduces colour to 8 bits
                import torch
                from torchvision.io import ImageReadMode, decode_png

                file.seek(0)
                content = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
                values = decode_png(content, ImageReadMode.UNCHANGED).numpy().transpose(1, 2, 0)
    except UserError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or "damaged"
        raise UserError(f"{path}: does not decode ({reason}); replace it by a complete PNG file") from error
    return tiff_tags.upright(np.ascontiguousarray(values), orientation)


def _check_bands(path: str | Path, beyond: str | None) -> None:
    require(
        beyond is None,
        f"{path}: has {beyond}, of which a picture of 8 bits in grey or colour holds only a part; data=pairs reads "
        "all of it (data.source_bands and data.target_bands choose), for other data convert it",
    )


def _tiff_beyond(path: str | Path) -> str | None:
    """As `tiff_tags.Layout.beyond`, of TIFFs that Pillow does not know."""
    import tifffile

    try:
        with open_file(path) as file, tifffile.TiffFile(file) as tiff:
            return tiff_tags.layout(tiff.pages[0].tags.valueof).beyond
    except Exception:  # readers of damaged files raise nearly anything
        return None


@cache
def _say_reduced(what: str) -> None:
    log.warning("%s pictures are reduced to 256 levels of grey; data=pairs reads them in full", what)


def pages(path: str | Path) -> int:
    """The pages or frames of a picture file that `read` accepts."""
    with open_file(path) as file, Image.open(file, formats=_FORMATS) as image:
        return getattr(image, "n_frames", 1)


_TOO_MANY = (
    "cut or shrink it, or allow so many by the environment's GANFORGE_MOST_PIXELS (each takes some 20 bytes of memory "
    "while it is decoded)"
)


def _check_shape(path: str | Path, width: int, height: int) -> None:
    require(
        width * height <= MOST_PIXELS,
        f"{path}: says that it has {width}×{height} pixels, which are more than {MOST_PIXELS:,}; {_TOO_MANY}",
    )
    require(
        max(width, height) <= MOST_ASPECT * min(width, height),
        f"{path}: has {width}×{height} pixels; pictures are at most {MOST_ASPECT} times as long as they are wide, so "
        "cut it or leave it out",
    )


def opaque(colour: str) -> tuple[int, int, int]:
    """(red, green, blue) of a colour given by name or as "#rrggbb"; raises UserError for anything else."""
    try:
        values = ImageColor.getrgb(colour)
    except (ValueError, AttributeError):
        values = ()
    require(len(values) == 3, f"background={colour}: an opaque colour such as white, black, or '#c0ffee'")
    return values


def write(path: str | Path, array: np.ndarray) -> None:
    """Write uint8 (H, W), (H, W, 1) or (H, W, 3) in the format of the suffix: grey or RGB as the array is.

    JPEG is written with quality 95, everything else without loss. Raises UserError for a suffix that is not in
    SUFFIXES, ValueError for another shape or type.
    """
    suffix = Path(path).suffix.lower()
    require(suffix in SUFFIXES, f"{path}: pictures are written as {', '.join(SUFFIXES)}, not as {suffix!r}")
    _pillow(array).save(path, **_SAVE_OPTIONS.get(suffix, {}))


def with_channels(array: np.ndarray, channels: int) -> np.ndarray:
    """A picture, uint8 (H, W), (H, W, 1) or (H, W, 3), with 1 (grey) or 3 (RGB) channels, as `read` would give it."""
    picture = _pillow(array).convert("L" if channels == 1 else "RGB")
    return np.array(picture).reshape(*array.shape[:2], channels)


def resize(array: np.ndarray, size: tuple[int, int], interpolation: str = "bicubic") -> np.ndarray:
    """Resize uint8 (H, W, C) to size = (h, w).

    interpolation: "bicubic" or "bilinear" by Pillow, which average when they shrink (no aliasing); "nearest": no value
    that was not there, for drawings and labels.
    """
    height, width = size
    if array.shape[:2] == (height, width):
        return array
    resized = np.array(_pillow(array).resize((width, height), Image.Resampling[interpolation.upper()]))
    return resized.reshape(height, width, *array.shape[2:])


def to_unit(array: np.ndarray) -> np.ndarray:
    """uint8 (H, W, C) -> float32 (C, H, W) in [-1, 1]: 0 is -1, 255 is 1."""
    return np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32) / np.float32(127.5) - np.float32(1)


def from_unit(array: np.ndarray) -> np.ndarray:
    """Float (C, H, W) in [-1, 1] -> uint8 (H, W, C), rounded; values outside are clipped. The inverse of to_unit."""
    scaled = np.rint((array.transpose(1, 2, 0) + 1) * 127.5)
    return np.ascontiguousarray(scaled.clip(0, 255).astype(np.uint8))


def contents_hash(path: Path) -> bytes:
    """A hash of the whole of a file up to 1 MiB, else of its first and last 512 KiB: enough to tell pictures apart."""
    with path.open("rb") as file:
        contents = file.read(2 * _EDGE_BYTES)
        if path.stat().st_size > len(contents):
            file.seek(-_EDGE_BYTES, os.SEEK_END)
            contents = contents[:_EDGE_BYTES] + file.read()
    return hashlib.blake2b(contents, digest_size=16).digest()


def list_images(folder: str | Path) -> list[Path]:
    """The pictures directly in a folder, in natural order (2 before 10), known by suffix in any case.

    Hidden files (`.DS_Store`, `._1.jpg`) are left out. Raises UserError when the folder is missing or has none.
    """
    folder = Path(folder)
    require(folder.is_dir(), f"{folder} is not a folder; give the folder that holds the pictures ({accepted()})")
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    found = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    if not found:
        below = sorted(entry.name for entry in entries if entry.is_dir())
        hint = f"; it holds the folders {', '.join(below[:10])}: is one of them meant?" if below else ""
        raise UserError(f"{folder} holds no pictures ({accepted()}){hint}")
    return sorted(found, key=lambda entry: natural_key(entry.name))


def accepted() -> str:
    return f"files in {', '.join(SUFFIXES)}"


def _pillow(array: np.ndarray) -> Image.Image:
    grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if array.dtype != np.uint8 or not (grey or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(f"{array.dtype} {array.shape} is no picture; uint8 (H, W), (H, W, 1) or (H, W, 3) is")
    return Image.fromarray(array.reshape(array.shape[:2]) if grey else array)


def _deep_to_uint8(values: np.ndarray, white: float, white_is_zero: bool) -> np.ndarray:
    """Scale (H, W) grey values in [0, white] to uint8 [0, 255]. Raises ValueError for values outside."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # written so that NaN fails
        raise ValueError(f"values from {low:g} to {high:g} are outside [0, {white:g}]")
    scaled = values.astype(np.float64)
    scaled *= 255 / white
    if white_is_zero:
        np.subtract(255, scaled, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint8)
