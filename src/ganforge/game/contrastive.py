"""Contrast of patches (Park et al. 2020): a patch of a translation is like that of its source, unlike others."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def drawn_places(drawn: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """`count` different places of a map of this height and width, or all where there are fewer: int64 (P,).

    A place is row * width + column.
    """
    places = size[0] * size[1]
    return drawn.choice(places, min(count, places), replace=False)


def mirrored(places: Tensor, width: int) -> Tensor:
    """Where places of a map are in its mirror image, left and right exchanged."""
    return places + width - 1 - 2 * (places % width)


def patches_at(features: Tensor, places: Tensor) -> Tensor:
    """Of maps (S * B, C, h, w), S groups one after another, what is at the places (S, P) of each: (S * B, P, C)."""
    rows = features.permute(0, 2, 3, 1).flatten(1, 2).chunk(len(places))
    return torch.cat([group.index_select(1, own) for group, own in zip(rows, places, strict=True)])


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """(B, P, D) of length 1 each -> (B,): the mean cross-entropy by which each query finds the key of its own place.

    The other keys are those of the same picture. The authors' code puts -10 in place of the diagonal of the negatives,
    which counts e^-143 beside the positive: nothing. Keys are data: no gradient passes to them.
    """
    with torch.autocast(queries.device.type, enabled=False):
        logits = queries.float() @ keys.detach().float().transpose(1, 2) / temperature
        places = torch.arange(logits.shape[-1], device=logits.device).expand(len(logits), -1)
        return functional.cross_entropy(logits.transpose(1, 2), places, reduction="none").mean(dim=1)
