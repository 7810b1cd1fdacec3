"""How the two sides of pairs are read where files hold any bands of any depth, and what all these files are like."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ganforge.data.pair_files import Pair, ambiguous, require_sound
from ganforge.data.threads import in_threads
from ganforge.errors import UserError, require
from ganforge.pictures import images, rasters
from ganforge.pictures.normalization import Accumulator, Statistics
from ganforge.pictures.raster_data import chosen as picked

SIDES = ("source", "target")

_BLOCK = 2**24  # values of a file that are read at once while all files are looked at
_TOLERANCE = 0.1  # pixels that two grids may lie apart at a corner

Values = tuple[np.ndarray, np.ndarray | None]  # (H, W, C) as in the file; valid (H, W), None where every pixel is
Window = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Reading:
    """How the files of one side are read.

    channels: 1 or 3, to which ordinary pictures of 8 bits are converted; None for files that are read band by band.
    chosen: the bands to read, by name or number from 1; None for all. bands: the names of what is read.
    """

    channels: int | None
    chosen: tuple[str | int, ...] | None
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None

    def read(self, path: Path, window: Window | None = None) -> Values:
        """The values of a file, or of a window of it; NaN and infinities are not valid. Raises UserError."""
        if self.channels is not None:
            values = images.read(path, self.channels)
            if window is not None:
                top, left, height, width = window
                values = values[top : top + height, left : left + width]
            return values, None
        raster = rasters.read(path, bands=self.chosen, window=window)
        require(
            raster.values.shape[-1] == len(self.bands),
            f"{path}: has {raster.values.shape[-1]} bands instead of {len(self.bands)}; it was changed",
        )
        valid = raster.valid
        if raster.values.dtype.kind == "f":
            finite = np.isfinite(raster.values).all(axis=-1)
            valid = finite if valid is None else valid & finite
        return raster.values, None if valid is None or valid.all() else valid


@dataclass(frozen=True)
class Sides:
    """The files of both sides, by what their headers say, before they are decoded."""

    readings: Mapping[str, Reading]
    headers: Mapping[Path, rasters.Header]
    direction: str

    def file(self, pair: Pair, side: str) -> Path:
        return pair.a if (side == "source") == (self.direction == "AtoB") else pair.b

    def read(self, pair: Pair, side: str, shape: tuple[int, int], window: Window | None = None) -> Values:
        """One side of a pair of pictures of this shape, or a window of it."""
        path = self.file(pair, side)
        if pair.side_by_side:
            top, left, height, width = window or (0, 0, *shape)
            window = (top, left + (shape[1] if _is_right(side, self.direction) else 0), height, width)
        return self.readings[side].read(path, window)

    def size_of(self, pair: Pair) -> int:
        """The bytes of both pictures when they are decoded, as their header says."""
        header = self.headers.get(pair.a)
        pixels = 0 if header is None else header.height * header.width // (2 if pair.side_by_side else 1)
        return pixels * sum(len(own.bands) * np.dtype(own.dtype).itemsize for own in self.readings.values())


def _is_right(side: str, direction: str) -> bool:
    """Whether a side is the right half of a side-by-side file."""
    return (side == "source") != (direction == "AtoB")


def find_sides(
    pairs: Sequence[Pair],
    *,
    direction: str,
    channels: Mapping[str, int | str],
    bands: Mapping[str, Sequence[str | int] | None],
) -> tuple[Sides, bool]:
    """How both sides are read, and whether all files are ordinary pictures of which no bands were chosen.

    channels: 1, 3 or "auto" for each side, to which ordinary pictures are converted. Files that are missing or have no
    header that can be read are left out here: they are named when all are decoded. Raises UserError where the files of
    one side do not hold the same bands of the same type.
    """
    paths = list(dict.fromkeys(path for pair in pairs for path in (pair.a, pair.b)))
    found = in_threads(_header, paths, "Looking at pictures")
    headers = {path: header for path, header in zip(paths, found, strict=True) if header}
    sides = Sides({}, headers, direction)
    readings = {}
    for side in SIDES:
        files = list(dict.fromkeys(sides.file(pair, side) for pair in pairs))
        known = [file for file in files if file in headers]
        readings[side] = _reading(side, known, headers, channels[side], bands[side])
    is_ordinary = all(header.is_ordinary for header in headers.values()) and not any(bands.values())
    return Sides(readings, headers, direction), is_ordinary


def _header(path: Path) -> rasters.Header | None:
    try:
        return rasters.header(path)
    except (UserError, OSError):
        return None


def _reading(
    side: str,
    files: Sequence[Path],
    headers: Mapping[Path, rasters.Header],
    channels: int | str,
    chosen: Sequence[str | int] | None,
) -> Reading:
    if chosen is None and all(headers[file].is_ordinary for file in files):
        if channels == "auto":
            channels = 1 if files and all(len(headers[file].bands) == 1 for file in files) else 3
        require(channels in (1, 3), f"data.{side}_channels={channels}: of these pictures 1 (grey) or 3 (RGB)")
        bands = ("grey",) if channels == 1 else ("red", "green", "blue")
        return Reading(channels, None, bands, "uint8", None)
    kinds: dict[tuple, Path] = {}
    for file in files:
        own = headers[file]
        names = own.bands if chosen is None else tuple(own.bands[band] for band in picked(chosen, own.bands, str(file)))
        kinds.setdefault((names, own.dtype), file)
    (bands, dtype), *others = kinds
    if others:
        first, other = list(kinds.values())[:2]
        said = "; choose them by name" if others[0][1] == dtype else "; convert them, or leave the odd ones out"
        raise UserError(
            f"data.{side}_bands: the files of one side must hold the same bands of one type, but {first} holds "
            f"{_named(bands)} ({dtype}) and {other} {_named(others[0][0])} ({others[0][1]}){said}"
        )
    require(
        channels in ("auto", len(bands)),
        f"data.{side}_channels={channels}: its pictures, such as {files[0]}, give {len(bands)} bands "
        f"({_named(bands)}); leave it auto, or choose bands with data.{side}_bands",
    )
    said = Counter(headers[file].nodata for file in files if headers[file].nodata is not None).most_common(1)
    return Reading(None, None if chosen is None else tuple(chosen), bands, dtype, said[0][0] if said else None)


def _named(bands: Sequence[str]) -> str:
    return ", ".join(bands[:13]) + (", ..." if len(bands) > 13 else "")


@dataclass
class Survey:
    """What was found when every pair was decoded.

    shapes: (height, width) of the pictures of each pair. masked: whether some target has a pixel that is not valid.
    empty: the pairs with no valid pixel in their target. statistics: of each side, by split and side.
    """

    shapes: dict[Pair, tuple[int, int]] = field(default_factory=dict)
    masked: bool = False
    empty: list[Pair] = field(default_factory=list)
    statistics: dict[tuple[str, str], Statistics] = field(default_factory=dict)


def survey(
    sides: Sides,
    splits: Mapping[str, Sequence[Pair]],
    *,
    size: int,
    measure: bool,
    kept: dict[Pair, tuple[Values, Values]] | None,
) -> Survey:
    """Decode every pair, in threads; raises one UserError that lists every fault of every file by name.

    measure: whether statistics are computed, in the same pass. kept: where the pairs go, or None. Files are looked at
    in blocks of rows, so that those larger than the memory can be.
    """
    pairs = list(dict.fromkeys(pair for own in splits.values() for pair in own))
    number = {pair: index for index, pair in enumerate(pairs)}
    found, faults = Survey(), ambiguous(pairs)
    totals = {
        (split, side): Accumulator(len(sides.readings[side].bands)) for split in splits for side in SIDES if measure
    }
    members = {split: set(own) for split, own in splits.items()}
    most_bands = max(len(own.bands) for own in sides.readings.values())

    def look(pair: Pair) -> list[str] | tuple[tuple[int, int], dict[str, Accumulator], int]:
        try:
            shape = _shape(sides, pair, size)
            whole = None
            if kept is not None:
                whole = kept[pair] = tuple(sides.read(pair, side, shape) for side in SIDES)
            own = {side: Accumulator(len(sides.readings[side].bands)) for side in SIDES}
            valid_pixels = 0
            for block, window in enumerate(_blocks(shape, most_bands)):
                for row, side in enumerate(SIDES):
                    read = sides.read(pair, side, shape, window) if whole is None else _rows(whole[row], window)
                    values, valid = read
                    require(
                        values.shape[:2] == window[2:],
                        f"{sides.file(pair, side)}: its size is not the one that its header says",
                    )
                    if side == "target":
                        valid_pixels += math.prod(window[2:]) if valid is None else int(valid.sum())
                    if measure:
                        own[side].merge(Accumulator.of(values, valid, [number[pair], block]))
        except UserError as error:
            return str(error).splitlines()
        except OSError as error:
            return [f"{error.filename or pair.a}: cannot be read ({error.strerror})"]
        return shape, own, valid_pixels

    for pair, result in zip(pairs, in_threads(look, pairs, "Checking pairs"), strict=True):
        if isinstance(result, list):
            faults += result
            continue
        found.shapes[pair], own, valid_pixels = result
        found.masked |= valid_pixels < math.prod(found.shapes[pair])
        found.empty += [] if valid_pixels else [pair]
        for split, side in totals:
            if pair in members[split]:
                totals[split, side].merge(own[side])
    require_sound(faults, pairs)
    for (split, side), total in totals.items():
        require(
            total.count > 0,
            f"data.root: no pixel of any {side} picture for {'training' if split == 'train' else split} is valid; look "
            f"at what its files say of nodata ({sides.readings[side].nodata})",
        )
        found.statistics[split, side] = total.statistics()
    return found


def check_grids(sides: Sides, pairs: Sequence[Pair]) -> None:
    """Raise one UserError for all pairs of ordinary pictures of which both say where they lie, and not at one place."""
    faults = []
    for pair in pairs:
        headers = [sides.headers.get(sides.file(pair, side)) for side in SIDES]
        if pair.a != pair.b and all(header is not None and header.place is not None for header in headers):
            shapes = {side: (own.height, own.width) for side, own in zip(SIDES, headers, strict=True)}
            try:
                _require_one_grid(*(sides.file(pair, side) for side in SIDES), shapes, headers)
            except UserError as error:
                faults.append(str(error))
    require_sound(faults, pairs)


def _blocks(shape: tuple[int, int], bands: int) -> Iterator[Window]:
    rows = max(1, _BLOCK // (shape[1] * bands))
    for top in range(0, shape[0], rows):
        yield top, 0, min(rows, shape[0] - top), shape[1]


def _rows(values: Values, window: Window) -> Values:
    """The rows of a window, which is as wide as the picture."""
    return tuple(None if part is None else part[window[0] : window[0] + window[2]] for part in values)


def _shape(sides: Sides, pair: Pair, size: int) -> tuple[int, int]:
    """(height, width) of the pictures of a pair; raises UserError with a line for each fault of its files."""
    faults, shapes = [], {}
    for side, partner in (SIDES, SIDES[::-1]):
        path = sides.file(pair, side)
        if not path.exists():
            faults.append(f"{path}: missing, the partner of {sides.file(pair, partner)}")
        elif sides.readings[side].channels is not None:
            shapes[side] = images.read(path, 1).shape[:2]  # upright, which its header does not say
        else:
            header = sides.headers.get(path) or rasters.header(path)  # which says why it could not be read
            shapes[side] = (header.height, header.width)
    require(not faults, "\n".join(dict.fromkeys(faults)))
    height, width = shapes["source"]
    a, b = sides.file(pair, "source"), sides.file(pair, "target")
    if pair.side_by_side:
        require(width % 2 == 0, f"{pair.a}: its width of {width} is odd, so it has no two halves of one size")
        width //= 2
    elif a != b:
        _require_one_grid(a, b, shapes, [sides.headers.get(path) for path in (a, b)])
    require(
        min(height, width) >= size,
        f"{a}: has {width}×{height} pixels, of which none is a window of data.size={size}; use "
        f"data.size={largest_power(min(height, width))} or less, or leave it out",
    )
    return height, width


def largest_power(side: int) -> int:
    """The largest power of two up to a side in pixels, which every network can take."""
    return 2 ** int(math.log2(max(1, side)))


def _require_one_grid(a: Path, b: Path, shapes: Mapping[str, tuple], headers: Sequence[rasters.Header | None]) -> None:
    """Raise UserError for two pictures that do not show the same, pixel by pixel, as far as they say."""
    (height, width), other = shapes["source"], shapes["target"]
    places = [None if header is None else header.place for header in headers]
    reason = ""
    if other != (height, width):
        reason = f"the sizes differ, {width}×{height} and {other[1]}×{other[0]}"
    if None not in places and not reason:
        one, two = places
        if one.crs and two.crs and one.crs != two.crs:
            reason = f"the coordinate systems differ, {_short(one.crs)} and {_short(two.crs)}"
        elif (apart := _apart(one.transform, two.transform, height, width)) > _TOLERANCE:
            reason = f"they lie {apart:,.4g} pixels apart"
    if not reason:
        return
    if places[0] is None:
        raise UserError(f"{a}, {b}: {reason}; both must show the same, pixel by pixel")
    x0, y0, x1, y1 = _bounds(places[0].transform, height, width)
    crs = f"-t_srs {places[0].crs} " if places[0].crs.startswith("EPSG:") else ""
    raise UserError(
        f"{a}, {b}: {reason}; warp one to the other's grid, such as by `rio warp {b} OUTPUT.tif --like {a}` or "
        f"`gdalwarp {crs}-te {x0:.12g} {y0:.12g} {x1:.12g} {y1:.12g} -ts {width} {height} {b} OUTPUT.tif`"
    )


def _short(crs: str) -> str:
    return crs if len(crs) <= 40 else f"{crs[:37]}..."


def _corners(transform: Sequence[float], height: int, width: int) -> list[tuple[float, float]]:
    a, b, c, d, e, f = transform
    return [(a * x + b * y + c, d * x + e * y + f) for x in (0, width) for y in (0, height)]


def _bounds(transform: Sequence[float], height: int, width: int) -> tuple[float, float, float, float]:
    xs, ys = zip(*_corners(transform, height, width), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _apart(one: Sequence[float], two: Sequence[float], height: int, width: int) -> float:
    """The largest distance of equal corners, in pixels of the first."""
    pixel = math.sqrt(abs(one[0] * one[4] - one[1] * one[3])) or 1.0
    corners = zip(_corners(one, height, width), _corners(two, height, width), strict=True)
    return max(math.dist(*pair) for pair in corners) / pixel
