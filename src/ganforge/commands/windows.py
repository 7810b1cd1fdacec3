"""Scenes: pictures that are read by windows, in strips of these from above."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ganforge.pictures.tiling import Window

Read = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class Scene:
    """A picture that is read by windows: read(top, left, height, width) -> values (h, w, C), valid (h, w) or None."""

    height: int
    width: int
    read: Read


def scene_of(values: np.ndarray, valid: np.ndarray | None = None) -> Scene:
    """What is in memory, (H, W, C) and (H, W), as a scene."""

    def read(top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        window = Window(top, left, height, width)
        return window.of(values), None if valid is None else window.of(valid)

    return Scene(*values.shape[:2], read)


def strip(windows: Sequence[Window], width: int) -> tuple[int, int, int, int]:
    """Where to read the windows of one height: (top, left, height, width)."""
    return windows[0].top, 0, windows[0].height, width


def batches(windows: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    """Windows in their order, so many at a time."""
    return (windows[begin : begin + size] for begin in range(0, len(windows), size))


def mask(masks: Sequence[tuple[int, int, np.ndarray | None]], top: int, rows: int) -> np.ndarray | None:
    """That of these rows; finished are those of the strip before, or at the end of the last one."""
    begin, valid = next((begin, valid) for begin, height, valid in masks if begin <= top <= begin + height - rows)
    return None if valid is None else valid[top - begin : top - begin + rows]


def spread(starts: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, from the first to the last, evenly."""
    return [starts[at] for at in sorted({round(p) for p in np.linspace(0, len(starts) - 1, count)})]
