"""Gradient penalties: pure functions of a critic and images, and when and how strongly a penalty is added.

A critic is a callable images (B, C, H, W) -> logits (B, ...). The gradient of an image is that of the sum of its logits
with respect to its pixels; it is an image's own only where the critic uses no batch statistics. Images are detached: a
penalty moves the critic alone. Gradients are computed outside autocast in float32, or in float64 for float64 images.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ganforge.errors import require
from ganforge.game.schedules import Strength, at, extremes

Critic = Callable[[Tensor], Tensor]

KINDS = ("wgan_gp", "r1", "r2", "dragan")

_TINY = 1e-12  # keeps the root's derivative finite where the gradient is 0


def zero_centred(critic: Critic, images: Tensor) -> Tensor:
    """Mean over the images of the squared norm of the critic's gradient: R1 at real images, R2 at generated ones.

    Mescheder et al. 2018, eq. 9 and 10, WITHOUT their factor 1/2: their gamma is twice the weight of this scalar.
    images: (B, C, H, W).
    """
    with torch.autocast(images.device.type, enabled=False):
        return _gradients(critic, _exact(images)).square().sum(1).mean()


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP: mean of (norm of the critic's gradient - 1)^2 between real and generated images (Gulrajani et al. 2017).

    real, fake: (B, C, H, W); each pair is mixed with a uniform share of its own. Returns a scalar.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, fake = _exact(real), _exact(fake)
        return _one_centred(critic, real + _shares(real) * (fake - real))


def dragan(critic: Critic, real: Tensor) -> Tensor:
    """DRAGAN: mean of (norm of the critic's gradient - 1)^2 near the real images (Kodali et al. 2017).

    As in the authors' code: at x + a * 0.5 * std * u, with the standard deviation of the whole batch, u uniform in
    [0, 1) for every pixel and a for every image. real: (B, C, H, W). Returns a scalar.
    """
    with torch.autocast(real.device.type, enabled=False):
        real = _exact(real)
        noise = 0.5 * real.std(correction=0) * torch.rand_like(real)
        return _one_centred(critic, real + _shares(real) * noise)


class Penalty:
    """A penalty of the discriminator with its weight: called at every update, added at every `every`-th.

    kind: wgan_gp, r1 (at real images), r2 (at generated ones) or dragan. weight: the factor of the penalty, a number or
    a function of the images seen; for r1 and r2 gamma / 2 of Mescheder et al. 2018. every: lazy regularization (Karras
    et al. 2020, appendix B): the penalty is computed at one update of `every` and counts `every` times there, so that
    its mean over the updates stays.
    """

    def __init__(self, *, kind: str, weight: Strength, every: int = 1):
        require(kind in KINDS, f"model.penalties: kind={kind!r}: choose one of {', '.join(KINDS)}")
        require(
            extremes(weight)[1] > 0,
            f"model.penalties: weight={weight} of {kind}: above 0; leave the penalty out for none",
        )
        require(
            isinstance(every, int) and every >= 1,
            f"model.penalties: every={every} of {kind}: 1 or more discriminator updates between two penalties",
        )
        self.kind, self.weight, self.every = kind, weight, every

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, update: int, images_seen: int = 0) -> Tensor | None:
        """The weighted penalty at discriminator update `update` (from 0), a scalar; None where it is not its turn."""
        if update % self.every:
            return None
        if self.kind == "wgan_gp":
            penalty = gradient_penalty(critic, real, fake)
        elif self.kind == "dragan":
            penalty = dragan(critic, real)
        else:
            penalty = zero_centred(critic, real if self.kind == "r1" else fake)
        return at(self.weight, images_seen) * self.every * penalty


class Penalties:
    """The penalties of a discriminator by their weights, as a config gives them; 0: without. See `Penalty`."""

    def __init__(
        self,
        *,
        r1: Strength = 0.0,
        r2: Strength = 0.0,
        wgan_gp: Strength = 0.0,
        dragan: Strength = 0.0,
        every: int = 1,
    ):
        weights = {"r1": r1, "r2": r2, "wgan_gp": wgan_gp, "dragan": dragan}
        for kind, weight in weights.items():
            require(extremes(weight)[0] >= 0, f"model.penalties.{kind}={weight}: 0 or more")
        self.chosen = [Penalty(kind=kind, weight=weight, every=every) for kind, weight in weights.items() if weight]

    def __call__(
        self, critic: Critic, real: Tensor, fake: Tensor, update: int, images_seen: int = 0
    ) -> dict[str, Tensor]:
        """kind -> weighted penalty, of those whose turn it is at discriminator update `update`."""
        terms = {penalty.kind: penalty(critic, real, fake, update, images_seen) for penalty in self.chosen}
        return {kind: term for kind, term in terms.items() if term is not None}


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
