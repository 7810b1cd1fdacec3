"""Averaging over the symmetries of the page: a picture of dots has no up and down."""

import torch
from torch import Tensor, nn

SYMMETRIES = 8  # of the square


class SymmetryAverage(nn.Module):
    """The mean of what a network draws of an image turned and mirrored by the 8 symmetries of the square, turned back.

    network: (B, C, H, W) -> (B, C', H, W).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        drawn = [back(self.network(turned(images, symmetry)), symmetry) for symmetry in range(SYMMETRIES)]
        return torch.stack(drawn).mean(dim=0)


def turned(images: Tensor, symmetry: int) -> Tensor:
    """(B, C, H, W) under symmetry 0 (none) to 7: quarter turns, from 4 on mirrored after them."""
    images = torch.rot90(images, symmetry % 4, (2, 3))
    return images.flip(3) if symmetry >= 4 else images


def back(images: Tensor, symmetry: int) -> Tensor:
    """The inverse of `turned`."""
    images = images.flip(3) if symmetry >= 4 else images
    return torch.rot90(images, -symmetry % 4, (2, 3))
