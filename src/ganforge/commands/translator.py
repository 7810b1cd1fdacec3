"""A trained generator on pictures of any size and depth: numbers in, numbers out, no files."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np

from ganforge.commands import windows as parts
from ganforge.commands.windows import Scene, scene_of
from ganforge.errors import require
from ganforge.pictures import images
from ganforge.pictures.normalization import RANGES, Normalization
from ganforge.pictures.rasters import Raster
from ganforge.pictures.sides import Side
from ganforge.pictures.tiling import Mosaic, Tiling, Window
from ganforge.runs.card import sides_in
from ganforge.runs.engine import Draw, Generator

_BATCH_PIXELS = 2**20  # of windows that are translated at a time, at most
_SAMPLED = 4  # windows a side of a scene, of which its statistics are taken
_LARGEST_STEP = 16  # px between windows; what a network sees in still fewer places is too smooth to show a shift


@dataclass(frozen=True)
class Prepared:
    """A picture as it was read, as the network's encoding takes it, and the (height, width) that it takes there."""

    picture: np.ndarray
    fitted: np.ndarray
    covered: tuple[int, int]


class Translator:
    """The generator of a checkpoint with what its card says of the numbers that it takes and gives.

    A picture is prepared (brought to the size of the network), encoded, drawn, decoded, and finished (brought back to
    its own size): `pictures` does what lies between `prepare` and `finish`. Another kind of model overrides these, and
    `ganforge.commands.translators.translator` chooses it by the card.

    norm_mode: in place of the card's. tile: side in px of the windows in which pictures are translated at their own
    scale; None for the size that the model was trained with if it was trained on pictures of their own scale, and
    for no windows if pictures were resized for it. overlap: of the windows, a share of them. full_size: at each
    picture's own size in one piece. dtype: of the results; None for that of the training's targets. tta: the mean of
    what is drawn of the picture turned and mirrored by the symmetries of the square (test-time augmentation), in eight
    times the time. Raises UserError for a dtype that does not hold the results.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        norm_mode: str | None = None,
        full_size: bool = False,
        tile: int | None = None,
        overlap: float | None = None,
        dtype: str | None = None,
        tta: bool = False,
    ):
        card = generator.card
        require(
            generator.output.fed == "picture",
            f"{generator.path}: this model draws pictures from noise; use ganforge sample",
        )
        require(tile is None or not full_size, "--tile and --full-size: in windows, or in one piece; give one of them")
        require(tile is None or tile >= 8, f"--tile {tile}: 8 pixels or more")
        self.generator, self.size = generator, card["size"]
        self.norm_mode = norm_mode or card["norm_mode"]
        sides = sides_in(card)
        self.is_measured = sides is not None
        config = card.get("networks", {}).get(generator.output.network, {})  # of each direction its own channels
        ends = {"source": "in_channels", "target": "out_channels"}
        self.source, self.target = (
            sides[name] if sides else _of_bytes(config.get(end, card.get(f"{name}_channels")))
            for name, end in ends.items()
        )
        # Of the picture files that it is given, and of those that it gives.
        self.bands_read, self.bands_written = self.source.bands, self.target.bands
        self.dtype = dtype or self.target.dtype
        self._check_dtype()
        if tile is None and not full_size and (self.is_measured or card["fit_to_size"] == "crop"):
            tile = self.size
        require(overlap is None or tile is not None, f"--overlap {overlap}: is that of tiles; give --tile N too")
        self.tile, self.overlap, self.full_size = tile, 0.5 if overlap is None else overlap, full_size
        self.engine = generator.engine(self.norm_mode, tta)
        self.tiling(self.size, self.size)  # refuses what is no overlap

    @property
    def reads_scenes(self) -> bool:
        """Whether large files with a place may be read and written by windows."""
        return True

    @property
    def keeps_scale(self) -> bool:
        """Whether pictures are translated at their own scale, not brought to the trained size."""
        return self.full_size or self.tile is not None

    def translate(self, picture: np.ndarray | Raster) -> np.ndarray | Raster:
        """uint8 (H, W, C) -> uint8 (H, W, C'), or a Raster -> a Raster at its place, with the target's bands."""
        if isinstance(picture, Raster):
            nodata = self.nodata_for(picture.nodata, picture.valid is not None)
            rows = [rows for _, rows in self.rows(scene_of(picture.values, picture.valid), nodata)]
            return Raster(np.concatenate(rows), self.target.bands, nodata, picture.valid, picture.place)
        require(
            not self.is_measured,
            f"{self.generator.path}: translates {len(self.source.bands)} bands of {self.source.dtype}; give a Raster",
        )
        prepared = self.prepare(picture)
        return self.finish(prepared, self.pictures([prepared.fitted])[0])

    def prepare(self, picture: np.ndarray) -> Prepared:
        """What is done to a picture, uint8 (H, W, C), before it is encoded."""
        fitted, covered = (picture, picture.shape[:2]) if self.keeps_scale else fit(picture, self.generator.card)
        return Prepared(picture, fitted, covered)

    def encode(self, fitted: np.ndarray) -> np.ndarray:
        """A prepared picture (h, w, C) -> float32 (C, h, w) in [-1, 1]."""
        return images.to_unit(fitted)

    def decode(self, drawn: np.ndarray) -> np.ndarray:
        """Float (C', h, w) in [-1, 1] -> a picture (h, w, C')."""
        return images.from_unit(drawn)

    def finish(self, prepared: Prepared, generated: np.ndarray) -> np.ndarray:
        """The result at the picture's own size, of what `pictures` gave for `prepared.fitted`."""
        height, width = prepared.covered
        return images.resize(generated[:height, :width], prepared.picture.shape[:2])

    def seen_at(self, height: int, width: int) -> tuple[int, int]:
        """The size in which the network sees a picture of this one, or each window of it."""
        if not self.keeps_scale:
            return self.size, self.size
        return (height, width) if self.tile is None else (min(self.tile, height), min(self.tile, width))

    def pictures(self, fitted: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Prepared pictures (h, w, C) of one size -> (h, w, C'), at this size; in windows where that is larger."""
        if self.tile is not None and max(fitted[0].shape[:2]) > self.tile:
            return [np.concatenate([rows for _, rows in self.rows(scene_of(picture))]) for picture in fitted]
        drawn = self.engine.draw(np.stack([self.encode(picture) for picture in fitted]))
        return [self.decode(picture) for picture in drawn]

    def tiling(self, height: int, width: int) -> Tiling:
        """The windows in which a picture of this size is translated."""
        if self.tile is None:
            return Tiling(height, width, max(height, width), 0)
        return Tiling(height, width, self.tile, self.overlap, math.gcd(self.tile, _LARGEST_STEP, self.engine.halvings))

    def rows(
        self, scene: Scene, nodata: float | None = None, done: Callable[[int], None] = lambda windows: None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(top, rows (h, W, C') of self.dtype) of a scene at its own scale, from above, in constant memory.

        nodata: written where the source is not valid. done: called with how many windows were translated.
        """
        tiling, channels = self.tiling(scene.height, scene.width), len(self.target.bands)
        mosaic, masks, index = Mosaic(tiling, channels), deque(maxlen=2), 0
        with ThreadPoolExecutor(1) as pool, self._drawing(scene, tiling) as draw:
            strips = [list(windows) for _, windows in groupby(tiling, key=attrgetter("top"))]
            ahead = pool.submit(scene.read, *parts.strip(strips[0], scene.width))
            for strip, after in zip(strips, [*strips[1:], None], strict=True):
                values, valid = ahead.result()
                if after is not None:
                    ahead = pool.submit(scene.read, *parts.strip(after, scene.width))
                masks.append((strip[0].top, strip[0].height, valid))
                for windows in parts.batches(strip, max(1, _BATCH_PIXELS // tiling.tile**2)):
                    for part in self._windows(draw, windows, values, valid, tiling.tile):
                        for top, rows in mosaic.add(index, part):
                            yield top, self._finished(rows, parts.mask(masks, top, len(rows)), nodata)
                        index += 1
                    done(len(windows))

    def nodata_for(self, nodata: float | None, needed: bool) -> float | None:
        """What stands for no measurement in a result: the target's, else the source's, else, where needed, the lowest.

        nodata: the source's.
        """
        for value in (self.target.nodata, nodata):
            if value is not None and _holds(self.dtype, value):
                return value
        lowest = math.nan if self.dtype == "float32" else float(np.iinfo(self.dtype).min)
        return lowest if needed else None

    def _windows(
        self,
        draw: Draw,
        windows: Sequence[Window],
        values: np.ndarray,
        valid: np.ndarray | None,
        tile: int,
    ) -> list[np.ndarray]:
        """What the network makes of each window of a strip: (h, w, C') in [-1, 1]; nothing where nothing is valid."""
        top = windows[0].top
        seen = [window for window in windows if valid is None or window.of(valid, top).any()]
        generated = {}
        if seen:
            batch = np.stack([self._encoded(window, values, valid, top, tile) for window in seen])
            drawn = draw(batch).transpose(0, 2, 3, 1)
            generated = {w: part[: w.height, : w.width] for w, part in zip(seen, drawn, strict=True)}
        channels = len(self.target.bands)
        return [
            generated[w] if w in generated else np.zeros((w.height, w.width, channels), np.float32) for w in windows
        ]

    def _encoded(self, window: Window, values: np.ndarray, valid: np.ndarray | None, top: int, tile: int) -> np.ndarray:
        """A window for the network, (C, h, w); at the far edges of a scene repeated to the size of the others."""
        encoded = self.source.encode(window.of(values, top), None if valid is None else window.of(valid, top))
        # A scene that is smaller than a window is given as it is.
        below = tile - window.height if window.top else 0
        right = tile - window.width if window.left else 0
        return np.pad(encoded, ((0, 0), (0, below), (0, right)), mode="edge")

    @contextmanager
    def _drawing(self, scene: Scene, tiling: Tiling) -> Iterator[Draw]:
        """The network for windows: with the statistics of the scene where each window would be given its own."""
        sample = self._sample(scene, tiling) if self.engine.has_own_statistics and len(tiling) > 1 else []
        if not len(sample):
            yield self.engine.draw
            return
        with self.engine.with_statistics(np.stack(sample)) as draw:
            yield draw

    def _sample(self, scene: Scene, tiling: Tiling) -> list[np.ndarray]:
        """Windows from all over a scene, encoded."""
        a_side = max(1, min(_SAMPLED, math.isqrt(_BATCH_PIXELS // tiling.tile**2)))
        tops, lefts = (parts.spread(starts, a_side) for starts in (tiling.tops, tiling.lefts))
        sample = []
        for top in tops:
            for left in lefts:
                size = min(tiling.tile, scene.height - top), min(tiling.tile, scene.width - left)
                values, valid = scene.read(top, left, *size)
                if valid is None or valid.any():
                    sample.append(self._encoded(Window(0, 0, *size), values, valid, 0, tiling.tile))
        return [part for part in sample if part.shape == sample[0].shape]

    def _finished(self, rows: np.ndarray, valid: np.ndarray | None, nodata: float | None) -> np.ndarray:
        """Rows (h, W, C') in [-1, 1] in the unit and type of the results."""
        values = self.target.normalization.decode(rows.transpose(2, 0, 1))
        if self.dtype != "float32":
            limits = np.iinfo(self.dtype)
            values = np.rint(values).clip(limits.min, limits.max).astype(self.dtype)
            if nodata is not None:
                # What is measured must not read as nothing.
                values[values == int(nodata)] += -1 if nodata == limits.max else 1
        if valid is not None:
            require(
                nodata is not None, "has pixels that are masked and no value that stands for them; --dtype float32 has"
            )
            values[~valid] = nodata
        return values

    def _check_dtype(self) -> None:
        if self.dtype == self.target.dtype:
            return
        require(self.dtype in RANGES, f"--dtype {self.dtype}: choose one of {', '.join(RANGES)}")
        require(
            self.is_measured,
            f"--dtype {self.dtype}: this model gives pictures of 8 bits, uint8; leave --dtype out",
        )
        if self.dtype == "float32":
            return
        normal, limits = self.target.normalization, np.iinfo(self.dtype)
        reach = 1 if normal.is_bounded else 3  # standard deviations
        low, high = (normal.centre - reach * normal.scale).min(), (normal.centre + reach * normal.scale).max()
        require(
            limits.min <= low and high <= limits.max,
            f"--dtype {self.dtype}: the results lie between {low:g} and {high:g}, and {self.dtype} holds {limits.min} "
            f"to {limits.max}; choose float32 or another that holds them",
        )
        require(
            normal.scale.min() >= 1,
            f"--dtype {self.dtype}: would round results that lie between {low:g} and {high:g} to whole numbers; choose "
            "float32",
        )


def fit(picture: np.ndarray, card: dict) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture at the size the model was trained with, and the height and width that it takes there.

    As in training: squashed to the square; or, for drawings, in proportion, with white paper added to the square.
    """
    size = card["size"]
    interpolation = card.get("source_interpolation", "bicubic")
    if card["fit_to_size"] != "pad":
        return images.resize(picture, (size, size), interpolation), (size, size)
    height, width = picture.shape[:2]
    factor = size / max(height, width)
    covered = (max(1, round(height * factor)), max(1, round(width * factor)))
    page = np.full((size, size, picture.shape[2]), 255, dtype=np.uint8)
    page[: covered[0], : covered[1]] = images.resize(picture, covered, interpolation)
    return page, covered


def _of_bytes(channels: int) -> Side:
    """The side of ordinary pictures."""
    low, high = RANGES["uint8"]
    return Side(
        ("red", "green", "blue") if channels == 3 else ("grey",),
        "uint8",
        None,
        Normalization("range", (low,) * channels, (high,) * channels),
    )


def _holds(dtype: str, value: float) -> bool:
    if dtype == "float32":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max
