"""A scene in overlapping windows, and the scene again from what became of each of them, in constant memory.

Pure numpy. The weights of a window fall to zero towards those of its edges that lie inside the scene, and those of all
windows add up to 1 at every pixel, so that no window shows where it ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ganforge.errors import require

_IGNORED = 0.25  # of an overlap, at each edge inside: what a network makes of it suffers most from the missing context


@dataclass(frozen=True)
class Window:
    """Rows [top, top + height) and columns [left, left + width) of a scene, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, values: np.ndarray, top: int = 0) -> np.ndarray:
        """What lies in it, of rows (H, W, ...) of the scene that begin at `top`."""
        return values[self.top - top : self.top - top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Tiling:
    """Overlapping windows that cover a scene of height × width pixels.

    tile: side of a window in pixels; a scene that is smaller is one window in that direction. overlap: the least share
    of a window that it has in common with the next one, in [0, 0.9]. step: windows begin at multiples of it, so that a
    network that halves the picture sees every window as it sees the scene; the last ones end with the scene, and are up
    to step - 1 pixels smaller. Raises UserError for other values.
    """

    height: int
    width: int
    tile: int
    overlap: float = 0.5
    step: int = 1

    def __post_init__(self):
        require(0 <= self.overlap <= 0.9, f"--overlap {self.overlap}: a share of the tile from 0 to 0.9, such as 0.5")
        near = max(1, round(self.tile / self.step)) * self.step
        require(
            self.tile >= 1 and self.tile % self.step == 0,
            f"--tile {self.tile}: a multiple of {self.step}, such as {near}",
        )

    @cached_property
    def tops(self) -> list[int]:
        return self._starts(self.height)

    @cached_property
    def lefts(self) -> list[int]:
        return self._starts(self.width)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def __iter__(self) -> Iterator[Window]:
        """The windows, row by row."""
        for top in self.tops:
            for left in self.lefts:
                yield Window(top, left, min(self.tile, self.height - top), min(self.tile, self.width - left))

    def weights(self, window: Window) -> np.ndarray:
        """Weight of each pixel of a window, float32 (height, width); those of all windows add up to 1 at each pixel."""
        down, across = self._down[window.top], self._across[window.left]
        return down[:, None] * across

    def _starts(self, length: int) -> list[int]:
        stride = max(self.step, int(self.tile * (1 - self.overlap) + 1e-9) // self.step * self.step)
        last = -(-max(0, length - self.tile) // self.step) * self.step
        return [*range(0, last, stride), last]

    @cached_property
    def _down(self) -> dict[int, np.ndarray]:
        return self._along(self.tops, self.height)

    @cached_property
    def _across(self) -> dict[int, np.ndarray]:
        return self._along(self.lefts, self.width)

    def _along(self, starts: list[int], length: int) -> dict[int, np.ndarray]:
        """Start -> weights of a window along one side: the products of two are those of its pixels."""
        total, raw = np.zeros(length), {}
        for before, start, after in zip([None, *starts], starts, [*starts[1:], None], strict=False):
            end = min(start + self.tile, length)
            weight = np.ones(end - start)
            if before is not None:
                weight *= _ramp(weight.size, before + self.tile - start)
            if after is not None:
                weight *= _ramp(weight.size, end - after)[::-1]
            raw[start] = weight
            total[start:end] += weight
        return {start: (w / total[start : start + w.size]).astype(np.float32) for start, w in raw.items()}


class Mosaic:
    """The scene from its windows: `add` takes them in any order and hands on the rows that are finished.

    Held are the rows of one row of windows, and windows that came before their turn: they are added up in the tiling's
    own order, so that the result does not depend on the one in which they come, bit for bit.
    """

    def __init__(self, tiling: Tiling, channels: int):
        self.tiling = tiling
        self._turns = iter(enumerate(tiling))
        self._turn, self._window = next(self._turns)
        self._waiting: dict[int, np.ndarray] = {}
        self._top = 0  # of the rows that are held
        self._rows = np.zeros((min(tiling.tile, tiling.height), tiling.width, channels), dtype=np.float32)

    def add(self, index: int, values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Take window number `index`, (height, width, C); yields (top, rows (h, W, C) float32) in order, each row once.

        The rows are the caller's to keep. Raises ValueError for a window of another shape, or one that came before.
        """
        if index < self._turn or index in self._waiting:
            raise ValueError(f"window {index} came twice")
        self._waiting[index] = values
        while self._turn in self._waiting:
            window, values = self._window, self._waiting.pop(self._turn)
            if values.shape != (window.height, window.width, self._rows.shape[2]):
                raise ValueError(f"{values.shape} for {window}, of {self._rows.shape[2]} channels")
            yield from self._hand_on(window.top)
            window.of(self._rows, self._top)[:] += values * self.tiling.weights(window)[..., None]
            self._turn, self._window = next(self._turns, (len(self.tiling), None))
            if self._window is None:
                yield from self._hand_on(self.tiling.height)

    def _hand_on(self, top: int) -> Iterator[tuple[int, np.ndarray]]:
        """The rows above `top`, to which no window adds any more; what is held moves up."""
        if top == self._top:
            return
        finished = self._rows[: top - self._top].copy()
        kept = len(self._rows) - len(finished)
        self._rows[:kept] = self._rows[len(finished) :]
        self._rows[kept:] = 0
        before, self._top = self._top, top
        yield before, finished


def _ramp(length: int, overlap: int) -> np.ndarray:
    """Weights that rise from almost 0 to 1 over the overlap with the window before, after a part that is ignored."""
    place = (np.arange(length) + 0.5) / max(overlap, 1)
    return np.clip((place - _IGNORED) / (1 - 2 * _IGNORED), 1e-6, 1)
