"""Adversarial objectives: pure functions of logits, for the discriminator and for the generator."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus


class Objective(NamedTuple):
    """d(real_logits, fake_logits) and g(fake_logits): scalars to be minimised, means over all logits."""

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[[Tensor], Tensor]


def _vanilla_d(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


def _vanilla_g(fake: Tensor) -> Tensor:
    return softplus(-fake).mean()


def _least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    return (real - 1).square().mean() + fake.square().mean()


def _least_squares_g(fake: Tensor) -> Tensor:
    return (fake - 1).square().mean()


def _hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    return relu(1 - real).mean() + relu(1 + fake).mean()


def _hinge_g(fake: Tensor) -> Tensor:
    return -fake.mean()


# Goodfellow et al. 2014, non-saturating: binary cross-entropy with logits against 1 (real) and 0 (fake).
vanilla = Objective(d=_vanilla_d, g=_vanilla_g)
# Mao et al. 2017, with targets 1 and 0, without the factor 1/2.
least_squares = Objective(d=_least_squares_d, g=_least_squares_g)
# Lim and Ye 2017; Miyato et al. 2018.
hinge = Objective(d=_hinge_d, g=_hinge_g)
