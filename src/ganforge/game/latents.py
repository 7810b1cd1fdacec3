"""Latents: what generators from noise start from."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def latents(indices: Sequence[int], latent_dim: int, seed: int, truncation: float | None = None) -> Tensor:
    """(len(indices), latent_dim) of N(0, 1), row by row a function of (seed, index) alone.

    truncation: values beyond it (in standard deviations) are drawn again (Brock et al. 2019, section 3.1): fewer odd
    images, and less variety.
    """
    rows = []
    for index in indices:
        rng = np.random.default_rng([seed, index])
        row = rng.standard_normal(latent_dim)
        while truncation is not None and (outside := np.abs(row) > truncation).any():
            row[outside] = rng.standard_normal(outside.sum())
        rows.append(row)
    return torch.from_numpy(np.stack(rows)).float()


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation of two latents (D,), share 0 (start) to 1 (end) (White 2016).

    A straight line between latents of a normal distribution goes through lengths that are never drawn.
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    if torch.sin(angle).abs() < 1e-6:
        return torch.lerp(start, end, share)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)
