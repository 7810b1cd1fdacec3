"""Picture files for a translator: what each is, and scenes that are read, translated and written piece by piece."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganforge.commands.translator import Translator
from ganforge.commands.windows import Scene, scene_of
from ganforge.errors import UserError, require
from ganforge.pictures import images, rasters
from ganforge.pictures.rasters import Georeference, Header, Raster

_DECODED = 2**24  # px; larger scenes are not decoded before the work
_TIFFS = (".tif", ".tiff")
ORDINARY = (("grey",), ("red", "green", "blue"))  # bands to which pictures of 8 bits are converted


@dataclass(frozen=True)
class Seen:
    """What a file was found to be.

    is_scene: whether it is translated by windows and gives the bands of the target; otherwise it is a picture of 8 bits
    that gives one. bands: those that are read; None for pictures of 8 bits, which are converted. has_gaps: whether not
    all of it is valid, as far as it was seen. suffix: of what is written for it.
    """

    height: int
    width: int
    suffix: str
    is_scene: bool = False
    place: Georeference | None = None
    nodata: float | None = None
    has_gaps: bool = False
    bands: tuple[str | int, ...] | None = None
    pages: int = 1
    notes: tuple[str, ...] = ()

    def steps(self, translator: Translator) -> int:
        """Windows, or 1 for a picture."""
        return len(translator.tiling(self.height, self.width)) if self.is_scene else 1


def look(file: Path, translator: Translator) -> Seen:
    """What a file is to this translator. Raises UserError where it does not decode or is not what the model takes."""
    source, suffix = translator.source, file.suffix if file.suffix.lower() in images.SUFFIXES else ".png"
    count = len(translator.bands_read)
    head = rasters.header(file) if translator.is_measured or suffix.lower() in _TIFFS else None
    place = None if head is None else head.place
    by_windows = place is not None and len(head.bands) == count and rasters.has_rasterio() and translator.reads_scenes
    if not translator.is_measured and not (by_windows and translator.tile is not None and head.dtype == "uint8"):
        return Seen(*images.read(file, count).shape[:2], suffix, place=place, pages=images.pages(file))
    suffix = _suffix(suffix, head, translator)
    if head.is_ordinary and source.bands in ORDINARY and not by_windows:
        return Seen(*images.read(file, count).shape[:2], suffix, True, place)
    bands = _bands(file, head, source.bands) if translator.is_measured else tuple(range(1, count + 1))
    gaps = head.nodata is not None
    if head.height * head.width <= _DECODED:
        raster = rasters.read(file, bands=bands)
        gaps = gaps or raster.valid is not None
        require(
            raster.valid is None or bool(raster.valid.any()),
            f"{file}: no pixel of it is valid (nodata={head.nodata}); leave it out",
        )
    notes = ()
    if head.dtype != source.dtype:
        notes = (f"{file.name}: its values are {head.dtype}, and the model was trained with {source.dtype}",)
    return Seen(head.height, head.width, suffix, True, place, head.nodata, gaps, bands, notes=notes)


def read(file: Path, translator: Translator) -> np.ndarray | Raster:
    """A picture file as `Translator.translate` takes it, whole. Raises UserError as `look` does."""
    seen = look(file, translator)
    if seen.bands is not None:
        return rasters.read(file, bands=seen.bands)
    values = images.read(file, len(translator.bands_read))
    return Raster(values, translator.source.bands, place=seen.place) if translator.is_measured else values


def translate(file: Path, seen: Seen, translator: Translator, target: Path, done: Callable[[int], None]) -> None:
    """Write the translation of a scene at its place: bands of the target, nodata where the source has none."""
    scene, bands = _open(file, seen, translator), translator.target.bands
    nodata = translator.nodata_for(seen.nodata, seen.has_gaps)
    parts = translator.rows(scene, nodata, done)
    try:
        if target.suffix.lower() in _TIFFS and rasters.has_rasterio():
            with (
                rasters.Writer(
                    target,
                    height=seen.height,
                    width=seen.width,
                    dtype=translator.dtype,
                    bands=bands,
                    nodata=nodata,
                    place=seen.place,
                ) as written,
                ThreadPoolExecutor(1) as pool,
            ):
                waiting: deque[Future[None]] = deque()
                for top, rows in parts:
                    waiting.append(pool.submit(written.write, top, rows))
                    if len(waiting) > 1:
                        waiting.popleft().result()
                for future in waiting:
                    future.result()
            return
        values = np.concatenate([rows for _, rows in parts])
        rasters.write(target, Raster(values, bands, nodata, place=seen.place))
    except UserError as error:
        raise UserError(str(error) if str(file) in str(error) else f"{file}: {error}") from error


def _open(file: Path, seen: Seen, translator: Translator) -> Scene:
    if seen.bands is None:
        return scene_of(images.read(file, len(translator.source.bands)))
    if not (file.suffix.lower() in _TIFFS and rasters.has_rasterio()):
        raster = rasters.read(file, bands=seen.bands)
        return scene_of(raster.values, raster.valid)

    def read(top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        raster = rasters.read(file, bands=seen.bands, window=(top, left, height, width))
        return raster.values, raster.valid

    return Scene(seen.height, seen.width, read)


def _bands(file: Path, head: Header, wanted: Sequence[str]) -> tuple[str | int, ...]:
    """The bands of a file that a model takes: those of the names it was trained with; all where these have no names."""
    if set(wanted) <= set(head.bands):
        return tuple(wanted)
    numbers = [all(band.isdigit() for band in names) for names in (wanted, head.bands)]
    require(
        len(head.bands) == len(wanted) and any(numbers),
        f"{file}: has the bands {', '.join(head.bands[:20])}, and the model was trained with {', '.join(wanted[:20])}; "
        "give files that hold these",
    )
    return tuple(range(1, len(wanted) + 1))


def _suffix(suffix: str, head: Header, translator: Translator) -> str:
    """That of the source where its format holds the result, else .tif."""
    kind = translator.dtype, len(translator.target.bands)
    plain = kind in (("uint8", 1), ("uint8", 3)) or (kind == ("uint16", 1) and suffix.lower() == ".png")
    holds = plain and head.place is None and head.nodata is None
    return suffix if suffix.lower() in _TIFFS or holds else ".tif"
