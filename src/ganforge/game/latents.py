"""Latents: what generators from noise start from, and the ways between them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def latents(indices: Sequence[int], latent_dim: int, seed: int, truncation: float = 1.0) -> Tensor:
    """(len(indices), latent_dim) of N(0, 1), row by row a function of (seed, index) alone.

    truncation: they are that much nearer to their mean 0, in (0, 1]: images are less varied, by how much depends on the
    network (the truncation of Karras et al. 2019 where there is no mapping network, the temperature of Kingma and
    Dhariwal 2018). Other than values drawn again (Brock et al. 2019) it leaves each image the same one.
    """
    rows = [np.random.default_rng([seed, index]).standard_normal(latent_dim) for index in indices]
    return torch.from_numpy(truncation * np.stack(rows)).float()


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation of two latents (D,), share 0 (exactly start) to 1 (exactly end) (White 2016).

    A straight line between latents of a normal distribution goes through lengths that are never drawn.
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    if torch.sin(angle).abs() < 1e-6:
        return torch.lerp(start, end, share)
    before, after = torch.sin((1 - share) * angle) / torch.sin(angle), torch.sin(share * angle) / torch.sin(angle)
    return before * start + after * end


def mean_latent(members: Tensor) -> Tensor:
    """The mean (D,) of latents (N, D), as long as these are on average: the plain mean is shorter than any drawn."""
    return _as_long_as(members.mean(dim=0), members)


def combined(signs: Sequence[int], groups: Sequence[Tensor]) -> Tensor:
    """The sum (D,) of the means of groups of latents (N, D), each with its sign (Radford et al. 2016, section 6.3.2).

    As long as the latents are on average: a sum of several means has a length that is hardly ever drawn. What is left
    of nothing is 0.
    """
    total = sum(sign * group.mean(dim=0) for sign, group in zip(signs, groups, strict=True))
    return _as_long_as(total, torch.cat(list(groups)))


def _as_long_as(latent: Tensor, others: Tensor) -> Tensor:
    length, wanted = latent.norm(), others.norm(dim=1).mean()
    return latent if length <= 1e-5 * wanted else latent * (wanted / length)
