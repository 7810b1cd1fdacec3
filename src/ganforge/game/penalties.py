"""Gradient penalties: pure functions of a critic and images, and when and how strongly a penalty is added.

A critic is a callable images (B, C, H, W) -> logits (B, ...). The gradient of an image is that of the sum of its logits
with respect to its pixels; it is an image's own only where the critic uses no batch statistics. Images are detached: a
penalty moves the critic alone. Gradients are computed outside autocast in float32, or in float64 for float64 images.
"""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from ganforge.errors import require
from ganforge.game.schedules import Strength, at, extremes

Critic = Callable[[Tensor], Tensor]

_TINY = 1e-12  # keeps the root's derivative finite where the gradient is 0


def zero_centred(critic: Critic, images: Tensor) -> Tensor:
    """Mean over the images of the squared norm of the critic's gradient: R1 at real images, R2 at generated ones.

    Mescheder et al. 2018, eq. 9 and 10, WITHOUT their factor 1/2: their gamma is twice the weight of this scalar.
    images: (B, C, H, W).
    """
    with torch.autocast(images.device.type, enabled=False):
        return _gradients(critic, _exact(images)).square().sum(1).mean()


def r1(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """`zero_centred` at the real images."""
    return zero_centred(critic, real)


def r2(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """`zero_centred` at the generated images."""
    return zero_centred(critic, fake)


def wgan_gp(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP: mean of (norm of the critic's gradient - 1)^2 between real and generated images (Gulrajani et al. 2017).

    Each pair is mixed with a uniform share of its own.
    """
    return wgan_gp_at(critic, real, fake, _shares(real))


def wgan_gp_at(critic: Critic, real: Tensor, fake: Tensor, shares: Tensor) -> Tensor:
    """`wgan_gp` with given shares (B, 1, 1, 1) of the generated image in each mixture."""
    with torch.autocast(real.device.type, enabled=False):
        real, fake = _exact(real), _exact(fake)
        return _one_centred(critic, real + shares * (fake - real))


def dragan(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """DRAGAN: mean of (norm of the critic's gradient - 1)^2 near the real images (Kodali et al. 2017).

    As in the authors' code: at x + a * 0.5 * std * u, with the standard deviation of the whole batch, u uniform in
    [0, 1) for every pixel and a for every image.
    """
    with torch.autocast(real.device.type, enabled=False):
        real = _exact(real)
        noise = 0.5 * real.std(correction=0) * torch.rand_like(real)
        return _one_centred(critic, real + _shares(real) * noise)


def drift(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of the squared logits of the real images, so that a critic's do not drift from 0 (Karras et al. 2018)."""
    with torch.autocast(real.device.type, enabled=False):
        return critic(_exact(real)).square().mean()


def known() -> dict[str, Callable[[Critic, Tensor, Tensor], Tensor]]:
    """The penalties by name: the functions of this module of (critic, real, fake), images (B, C, H, W), to a scalar."""
    functions = {name: value for name, value in globals().items() if inspect.isfunction(value)}
    taken = {name: list(inspect.signature(function).parameters) for name, function in functions.items()}
    return {name: functions[name] for name in functions if taken[name] == ["critic", "real", "fake"]}


class Penalties:
    """Penalties of the discriminator by their weights, added to its loss at every `every`-th update.

    weights: by the names in `known()`, the factor of a penalty, a number or a function of the images seen; 0: without.
    For r1 and r2 it is gamma / 2 of Mescheder et al. 2018. every: lazy regularization (Karras et al. 2020, appendix B):
    the penalties are computed at one update of `every` and count `every` times there, so that their mean over the
    updates stays.
    """

    def __init__(self, *, every: int = 1, **weights: Strength):
        functions = known()
        for name, weight in weights.items():
            require(name in functions, f"model.penalties.{name}: no such penalty; choose from {', '.join(functions)}")
            require(extremes(weight)[0] >= 0, f"model.penalties.{name}={weight}: 0 or more")
        require(
            isinstance(every, int) and every >= 1,
            f"model.penalties.every={every}: 1 or more discriminator updates between two penalties",
        )
        self.every = every
        self.chosen = {name: (functions[name], weight) for name, weight in weights.items() if extremes(weight)[1]}

    def __call__(
        self, critic: Critic, real: Tensor, fake: Tensor, update: int, images_seen: int = 0
    ) -> dict[str, Tensor]:
        """name -> weighted penalty at discriminator update `update` (from 0), a scalar; none where not its turn."""
        if update % self.every:
            return {}
        return {
            name: at(weight, images_seen) * self.every * penalty(critic, real, fake)
            for name, (penalty, weight) in self.chosen.items()
        }


def _exact(images: Tensor) -> Tensor:
    return images.detach().to(torch.promote_types(images.dtype, torch.float32))


def _shares(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, dtype=images.dtype, device=images.device)


def _gradients(critic: Critic, images: Tensor) -> Tensor:
    """(B, C * H * W), differentiable once more."""
    images = images.requires_grad_()
    (gradients,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradients.flatten(1)


def _one_centred(critic: Critic, images: Tensor) -> Tensor:
    norms = (_gradients(critic, images).square().sum(1) + _TINY).sqrt()
    return (norms - 1).square().mean()
