"""Tensors of pictures between 8 bits and [-1, 1], which networks compute in."""

import torch
from torch import Tensor


def to_unit(pictures: Tensor) -> Tensor:
    """Values in [0, 255], uint8 or float -> float32 in [-1, 1] of the same shape: 0 is -1, 255 is 1."""
    return pictures.to(torch.float32, copy=True).div_(127.5).sub_(1)


def from_unit(pictures: Tensor) -> Tensor:
    """Float in [-1, 1] -> uint8 of the same shape, rounded; values outside are clipped. What a PNG would hold."""
    return ((pictures.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
