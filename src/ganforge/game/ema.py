"""Moving averages of weights, by images seen: the same on any number of devices."""

import torch
from torch import nn

from ganforge.game.schedules import Strength, at

RAMP_UP = 0.08  # of the images seen: the longest half-life, so that the first weights are soon forgotten


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, half_life: Strength, images: int, images_seen: int) -> None:
    """Move an average towards a network of the same kind; buffers are taken as they are.

    half_life: images after which weights count half. images: seen since the last update.
    """
    shortened = min(at(half_life, images_seen), RAMP_UP * images_seen)
    decay = 0.5 ** (images / max(shortened, 1e-8))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for kept, value in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(value)
