"""Who plays a game and what comes of it: players move networks, outputs are what a user gets from a trained model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ganforge.errors import require
from ganforge.game.outputs import Output
from ganforge.game.schedules import Cosine, Schedule

__all__ = ["Output", "Player", "clamp", "clamped", "held"]


@dataclass(frozen=True)
class Player:
    """One side of a game. What is trained together belongs to one player.

    name: of its losses (the system's method `NAME_losses`), rows (`train/NAME/...`) and settings (`optimizer_NAME`).
    networks: the attributes of the system that it moves; a mapping gives each a parameter group with own options.
    optimizer: a function of parameters, or of parameter groups, that returns an optimizer.
    schedule: factor of its learning rates as a function of the share of the training that is done.
    clip: largest norm of its gradient, or None.
    every: it moves at one turn of so many.
    generates: its networks draw the images that all share, and it learns through them. One player of a system at most;
    the others see these images as data.
    after_step: called with its parameters after each of its steps.
    """

    name: str
    networks: Sequence[str] | Mapping[str, Mapping[str, Any]]
    optimizer: Callable[..., Optimizer]
    schedule: Schedule = lambda progress: 1.0
    clip: float | None = None
    every: int = 1
    generates: bool = False
    after_step: Callable[[Iterable[nn.Parameter]], None] | None = None

    def __post_init__(self) -> None:
        require(
            not isinstance(self.schedule, Cosine),
            f"model.schedule_{self.name}: Cosine is a function of images seen; learning rates take one of the share of "
            "the training that is done, such as model/schedule=linear",
        )
        require(self.clip is None or self.clip > 0, f"model.clip_{self.name}={self.clip}: a norm above 0, or null")


@contextmanager
def held(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within it these take no gradients, though gradients pass through what is computed with them."""
    paused = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in paused:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in paused:
            parameter.requires_grad_(True)


@torch.no_grad()
def clamp(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Clip every weight to [-limit, limit] (Arjovsky et al. 2017)."""
    for parameter in parameters:
        parameter.clamp_(-limit, limit)


def clamped(limit: float | None) -> Callable[[Iterable[nn.Parameter]], None] | None:
    """`clamp` with this limit, as a player's `after_step`; None without one."""
    return None if limit is None else partial(clamp, limit=limit)
