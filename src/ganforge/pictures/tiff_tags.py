"""What the tags of a TIFF say of its numbers: alpha, names of bands, nodata, place. No library of TIFFs is needed."""

import html
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganforge.files.untrusted import shortened
from ganforge.pictures.raster_data import Georeference

BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 262, 274, 277, 338, 339
PIXEL_SCALE, TIE_POINTS, MATRIX, GEO_KEYS, GEO_DOUBLES, GEO_TEXT = 33550, 33922, 34264, 34735, 34736, 34737
GDAL_METADATA, GDAL_NODATA = 42112, 42113

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}  # samples of a photometric interpretation
_UNSIGNED = 1  # of sample formats
_ALPHA = (1, 2)  # of extra samples; 0 is one of unknown meaning
_ALPHA_NAMES = ("alpha", "a", "mask")
_MODEL, _RASTER_TYPE, _GEOGRAPHIC, _PROJECTED, _BY_USER = 1024, 1025, 2048, 3072, 32767
_POINT = 2  # of raster types: the tie point is the middle of a pixel
_LONGEST_METADATA = 1_000_000  # characters
_LONGEST_NAME = 100
_DESCRIPTION = re.compile(r'<Item name="DESCRIPTION" sample="(\d{1,5})" role="description">([^<]*)</Item>')

SUBFILE_TYPE = 254
MASK = 4  # bit of the subfile type

Get = Callable[[int], Any]  # the value of a tag, None where it is missing


@dataclass(frozen=True)
class Layout:
    """What the bands of a TIFF are. alpha: which of them is transparency, as far as the file says so."""

    bits: int
    is_unsigned: bool
    photometric: int
    orientation: int
    names: tuple[str, ...]
    alpha: int | None
    nodata: float | None

    @property
    def beyond(self) -> str | None:
        """What of it no picture of grey or colour with transparency holds, in words; None where it is one."""
        bands = len(self.names)
        if bands - (self.alpha is not None) != _COLOURS.get(self.photometric, 1):
            return f"{bands} bands ({', '.join(self.names[:8])}{', ...' if bands > 8 else ''})"
        if self.bits > 8 and bands > 1:
            return f"{self.bits}-bit colour"
        return "signed values" if self.bits == 8 and not self.is_unsigned else None

    @property
    def is_ordinary(self) -> bool:
        """Whether 8 bits of grey or colour hold it. Values of a palette stand for colours, nodata among them."""
        plain = self.photometric == PALETTE or self.nodata is None
        return self.beyond is None and self.bits <= 8 and plain


def layout(get: Get) -> Layout:
    samples = max(1, _int(get(SAMPLES), 1))
    photometric = _int(get(PHOTOMETRIC), BLACK_IS_ZERO)
    described = _described(get(GDAL_METADATA))
    before = _COLOURS.get(photometric, 1)
    extra = _ints(get(EXTRA_SAMPLES))
    alpha = [
        before + i
        for i, meaning in enumerate(extra)
        if meaning in _ALPHA and before + i < samples and described.get(before + i, "alpha").casefold() in _ALPHA_NAMES
    ]
    names: list[str] = []
    for band in range(samples):
        name = described.get(band) or ("alpha" if band in alpha[:1] else "")
        names.append(name if name and name not in names else str(band + 1))
    return Layout(
        bits=max(_ints(get(BITS)) or (1,)),
        is_unsigned=set(_ints(get(SAMPLE_FORMAT)) or (1,)) == {_UNSIGNED},
        photometric=photometric,
        orientation=_int(get(ORIENTATION), 1),
        names=tuple(names),
        alpha=alpha[0] if alpha else None,
        nodata=_number(get(GDAL_NODATA)),
    )


def place(get: Get) -> Georeference | None:
    """The georeference of the tags; its crs is "EPSG:n" where they name it by a number, else ""."""
    scale, ties, matrix = (_floats(get(code)) for code in (PIXEL_SCALE, TIE_POINTS, MATRIX))
    keys = tuple((code, value) for code in (GEO_KEYS, GEO_DOUBLES, GEO_TEXT) if (value := get(code)) is not None)
    directory = _ints(get(GEO_KEYS))
    found = {directory[i]: directory[i + 3] for i in range(4, len(directory) - 3, 4) if directory[i + 1] == 0}
    if len(matrix) == 16:
        transform = (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    elif len(scale) >= 2 and len(ties) == 6:
        a, e = scale[0], -scale[1]
        transform = (a, 0.0, ties[3] - ties[0] * a, 0.0, e, ties[4] - ties[1] * e)
    else:
        return None
    if not all(map(math.isfinite, transform)) or transform[0] * transform[4] == transform[1] * transform[3]:
        return None
    number = next((found[key] for key in (_PROJECTED, _GEOGRAPHIC) if key in found), _BY_USER)
    crs = f"EPSG:{number}" if 0 < number < _BY_USER else ""
    here = Georeference(crs, transform, keys or None)
    return here.moved(-0.5, -0.5) if found.get(_RASTER_TYPE) == _POINT else here


def to_tags(here: Georeference) -> list[tuple[int, str, int, Any, bool]]:
    """The tags of a georeference that was read from tags, as tifffile's `extratags`."""
    keys = dict(here.keys or ())
    directory = _ints(keys.get(GEO_KEYS))
    is_point = any(directory[i] == _RASTER_TYPE and directory[i + 3] == _POINT for i in range(4, len(directory) - 3, 4))
    a, b, c, d, e, f = (here.moved(0.5, 0.5) if is_point else here).transform
    if b == d == 0 and a > 0 > e:
        tags: list = [(PIXEL_SCALE, "d", 3, (a, -e, 0.0), True), (TIE_POINTS, "d", 6, (0.0, 0.0, 0.0, c, f, 0.0), True)]
    else:
        tags = [(MATRIX, "d", 16, (a, b, 0.0, c, d, e, 0.0, f, *[0.0] * 7, 1.0), True)]
    for code, kind in ((GEO_KEYS, "H"), (GEO_DOUBLES, "d"), (GEO_TEXT, "s")):
        if code in keys:
            value = keys[code]
            numbers = value if isinstance(value, str) else tuple(value) if isinstance(value, tuple | list) else (value,)
            tags.append((code, kind, 0 if kind == "s" else len(numbers), numbers, True))
    return tags


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, ...) turned as the orientation tag says (TIFF 6.0, page 36)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    # As they are after the rows and columns of 5 to 8 are exchanged.
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def names_to_metadata(names: tuple[str, ...]) -> str:
    """The band names in the form of GDAL's metadata tag."""
    items = [
        f'  <Item name="DESCRIPTION" sample="{band}" role="description">{html.escape(name)}</Item>\n'
        for band, name in enumerate(names)
    ]
    return f"<GDALMetadata>\n{''.join(items)}</GDALMetadata>"


def _described(metadata: Any) -> dict[int, str]:
    if not isinstance(metadata, str) or len(metadata) > _LONGEST_METADATA:
        return {}
    found = {int(band): html.unescape(name).strip() for band, name in _DESCRIPTION.findall(metadata)}
    return {band: shortened(name, _LONGEST_NAME) for band, name in found.items() if name}


def _ints(value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, tuple | list) else (value,)
    return tuple(int(one) for one in values if isinstance(one, int))


def _floats(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, tuple | list) else (value,)
    return tuple(float(one) for one in values if isinstance(one, int | float))


def _int(value: Any, default: int) -> int:
    return next(iter(_ints(value)), default)


def _number(value: Any) -> float | None:
    try:
        return float(str(value).strip("\0 "))
    except ValueError:
        return None
