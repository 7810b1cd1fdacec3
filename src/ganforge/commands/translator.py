"""A trained generator on pictures of any size and depth: numbers in, numbers out, no files."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import attrgetter

import numpy as np
import torch
from torch import nn

from ganforge.errors import require
from ganforge.networks.layers import fixed_statistics, infer
from ganforge.networks.symmetry import SymmetryAverage
from ganforge.pictures import images
from ganforge.pictures.normalization import RANGES, Normalization
from ganforge.pictures.rasters import Raster
from ganforge.pictures.sides import Side
from ganforge.pictures.tiling import Mosaic, Tiling, Window
from ganforge.runs.checkpoint import sides_in
from ganforge.runs.generators import Generator

_BATCH_PIXELS = 2**20  # of windows that are translated at a time, at most
_SAMPLED = 4  # windows a side of a scene, of which its statistics are taken
_LARGEST_STEP = 16  # px between windows; what a network sees in still fewer places is too smooth to show a shift

Read = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class Scene:
    """A picture that is read by windows: read(top, left, height, width) -> values (h, w, C), valid (h, w) or None."""

    height: int
    width: int
    read: Read


class Translator:
    """The generator of a checkpoint with what its card says of the numbers that it takes and gives.

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
        self.dtype = dtype or self.target.dtype
        self._check_dtype()
        if tile is None and not full_size and (self.is_measured or card["fit_to_size"] == "crop"):
            tile = self.size
        require(overlap is None or tile is not None, f"--overlap {overlap}: is that of tiles; give --tile N too")
        self.tile, self.overlap, self.full_size = tile, 0.5 if overlap is None else overlap, full_size
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = (SymmetryAverage(generator.network) if tta else generator.network).to(device)
        self.tiling(self.size, self.size)  # refuses what is no overlap

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
        if self.keeps_scale:
            return self.pictures([picture])[0]
        fitted, (height, width) = fit(picture, self.generator.card)
        return images.resize(self.pictures([fitted])[0][:height, :width], picture.shape[:2])

    def seen_at(self, height: int, width: int) -> tuple[int, int]:
        """The size in which the network sees a picture of this one, or each window of it."""
        if not self.keeps_scale:
            return self.size, self.size
        return (height, width) if self.tile is None else (min(self.tile, height), min(self.tile, width))

    def pictures(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 (H, W, C) of one size -> uint8 (H, W, C'), at this size; in windows where that is larger."""
        if self.tile is not None and max(pictures[0].shape[:2]) > self.tile:
            return [np.concatenate([rows for _, rows in self.rows(scene_of(picture))]) for picture in pictures]
        sources = torch.from_numpy(np.stack([images.to_unit(picture) for picture in pictures]))
        generated = infer(self.network, sources.to(self._device), self.norm_mode)
        return [images.from_unit(picture) for picture in self.generator.checked(generated).cpu().numpy()]

    def tiling(self, height: int, width: int) -> Tiling:
        """The windows in which a picture of this size is translated."""
        if self.tile is None:
            return Tiling(height, width, max(height, width), 0)
        return Tiling(height, width, self.tile, self.overlap, math.gcd(self.tile, _LARGEST_STEP, self._halvings))

    def rows(
        self, scene: Scene, nodata: float | None = None, done: Callable[[int], None] = lambda windows: None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(top, rows (h, W, C') of self.dtype) of a scene at its own scale, from above, in constant memory.

        nodata: written where the source is not valid. done: called with how many windows were translated.
        """
        tiling, channels = self.tiling(scene.height, scene.width), len(self.target.bands)
        mosaic, masks, index = Mosaic(tiling, channels), deque(maxlen=2), 0
        with ThreadPoolExecutor(1) as pool, self._network(scene, tiling) as network:
            strips = [list(windows) for _, windows in groupby(tiling, key=attrgetter("top"))]
            ahead = pool.submit(scene.read, *_strip(strips[0], scene.width))
            for strip, after in zip(strips, [*strips[1:], None], strict=True):
                values, valid = ahead.result()
                if after is not None:
                    ahead = pool.submit(scene.read, *_strip(after, scene.width))
                masks.append((strip[0].top, strip[0].height, valid))
                for windows in _batches(strip, max(1, _BATCH_PIXELS // tiling.tile**2)):
                    parts = self._windows(network, windows, values, valid, tiling.tile)
                    for part in parts:
                        for top, rows in mosaic.add(index, part):
                            yield top, self._finished(rows, _mask(masks, top, len(rows)), nodata)
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
        network: Callable[[torch.Tensor], torch.Tensor],
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
            drawn = network(torch.from_numpy(batch).to(self._device)).float()
            drawn = self.generator.checked(drawn).permute(0, 2, 3, 1).cpu().numpy()
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
    def _network(self, scene: Scene, tiling: Tiling) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """The network for windows: with the statistics of the scene where each window would be given its own."""
        own = self.norm_mode == "batch" or any(isinstance(m, nn.InstanceNorm2d) for m in self.network.modules())
        sample = self._sample(scene, tiling) if own and len(tiling) > 1 else []
        if not len(sample):
            yield lambda windows: infer(self.network, windows, self.norm_mode)
            return
        with fixed_statistics(self.network, torch.from_numpy(np.stack(sample)).to(self._device)):
            yield lambda windows: infer(self.network, windows, "running")

    def _sample(self, scene: Scene, tiling: Tiling) -> list[np.ndarray]:
        """Windows from all over a scene, encoded."""
        a_side = max(1, min(_SAMPLED, math.isqrt(_BATCH_PIXELS // tiling.tile**2)))
        tops, lefts = (_spread(starts, a_side) for starts in (tiling.tops, tiling.lefts))
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

    @cached_property
    def _halvings(self) -> int:
        """How many px of a picture are one in the network's middle."""
        strides = [module.stride[0] for module in self.network.modules() if isinstance(module, nn.Conv2d)]
        return math.prod(strides)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def fit(picture: np.ndarray, card: dict) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture at the size the model was trained with, and the height and width that it takes there.

    As in training: squashed to the square; or, for drawings, in proportion, with white paper added to the square.
    """
    size = card["size"]
    if card["fit_to_size"] != "pad":
        return images.resize(picture, (size, size)), (size, size)
    height, width = picture.shape[:2]
    factor = size / max(height, width)
    covered = (max(1, round(height * factor)), max(1, round(width * factor)))
    page = np.full((size, size, picture.shape[2]), 255, dtype=np.uint8)
    page[: covered[0], : covered[1]] = images.resize(picture, covered)
    return page, covered


def scene_of(values: np.ndarray, valid: np.ndarray | None = None) -> Scene:
    """What is in memory, (H, W, C) and (H, W), as a scene."""

    def read(top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        window = Window(top, left, height, width)
        return window.of(values), None if valid is None else window.of(valid)

    return Scene(*values.shape[:2], read)


def _of_bytes(channels: int) -> Side:
    """The side of ordinary pictures."""
    low, high = RANGES["uint8"]
    return Side(
        ("red", "green", "blue") if channels == 3 else ("grey",),
        "uint8",
        None,
        Normalization("range", (low,) * channels, (high,) * channels),
    )


def _strip(windows: Sequence[Window], width: int) -> tuple[int, int, int, int]:
    return windows[0].top, 0, windows[0].height, width


def _batches(windows: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    return (windows[begin : begin + size] for begin in range(0, len(windows), size))


def _mask(masks: Sequence[tuple[int, int, np.ndarray | None]], top: int, rows: int) -> np.ndarray | None:
    """That of these rows; finished are those of the strip before, or at the end of the last one."""
    begin, valid = next((begin, valid) for begin, height, valid in masks if begin <= top <= begin + height - rows)
    return None if valid is None else valid[top - begin : top - begin + rows]


def _spread(starts: Sequence[int], count: int) -> list[int]:
    return [starts[at] for at in sorted({round(p) for p in np.linspace(0, len(starts) - 1, count)})]


def _holds(dtype: str, value: float) -> bool:
    if dtype == "float32":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max
