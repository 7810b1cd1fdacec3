"""What commands know of a trained generator, whatever computes it: PyTorch, or a runtime without it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ganforge.game.domains import Domains
from ganforge.game.outputs import Output

Draw = Callable[[np.ndarray], np.ndarray]


class Engine(Protocol):
    """A generator of pictures in one mode: float32 (B, C, H, W) -> float32 (B, C', H, W), finite.

    halvings: how many px of a picture are one in the network's middle. has_own_statistics: whether each window of a
    scene would be normalized by itself.
    """

    halvings: int
    has_own_statistics: bool

    def draw(self, sources: np.ndarray) -> np.ndarray: ...

    def with_statistics(self, sample: np.ndarray) -> AbstractContextManager[Draw]:
        """`draw` with the statistics of these pictures, of all together."""
        ...


class Generator(Protocol):
    """A trained generator: `ganforge.runs.generators.Generator`, or `ganforge.runs.onnx_model.OnnxGenerator`."""

    card: dict[str, Any]
    path: Path
    output: Output

    @property
    def domains(self) -> Domains | None: ...

    def engine(self, norm_mode: str, tta: bool) -> Engine: ...

    def check_size(self, *shapes: tuple[int, ...], said: str) -> None: ...

    def asked(self, labels: np.ndarray) -> "Generator": ...
