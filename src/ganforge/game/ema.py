"""Moving averages of weights, by images seen: the same on any number of devices."""

import torch
from torch import nn

from ganforge.game.schedules import Strength, at

RUNNING = ("running_mean", "running_var")  # of batch norms
RAMP_UP = 0.08  # of the images seen: the longest half-life, so that the first weights are soon forgotten


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, half_life: Strength, images: int, images_seen: int) -> None:
    """Move an average towards a network of the same kind.

    The running statistics of batch norms are averaged as the weights are, since those of the newest weights do not fit
    the average; other buffers are taken as they are. half_life: images after which weights count half. images: seen
    since the last update.
    """
    shortened = min(at(half_life, images_seen), RAMP_UP * images_seen)
    decay = 0.5 ** (images / max(shortened, 1e-8))
    kept, newest = list(average.parameters()), list(network.parameters())
    for (name, mine), value in zip(average.named_buffers(), network.buffers(), strict=True):
        if name.endswith(RUNNING):
            kept.append(mine)
            newest.append(value)
        else:
            mine.copy_(value)
    torch._foreach_lerp_(kept, newest, 1 - decay)
