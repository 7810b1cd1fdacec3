"""Games of one generator against one discriminator."""

from collections.abc import Callable

from torch import nn
from torch.optim import Optimizer

from ganforge.errors import require
from ganforge.game.players import Player, clamped
from ganforge.game.schedules import Schedule
from ganforge.networks.layers import layers_of
from ganforge.systems.adversarial import Adversarial


class TwoPlayers(Adversarial):
    """A discriminator "d" that moves at every turn, and a generator "g" that moves after it at one of `d_steps`.

    Both see the same generated images, under the name "fake". optimizer_g, optimizer_d: functions of parameters that
    return an optimizer. schedule_g, schedule_d: factor of the learning rate. clip_g, clip_d: largest gradient norm of a
    network, or None. clip_weights: the discriminator's weights are clipped to [-c, c] after each of its updates.
    freeze_d: so many layers of the discriminator, from the images on, keep the weights that they begin with (FreezeD,
    Mo et al. 2020); statistics of their normalization go on.
    The rest: see `Adversarial`.
    """

    def __init__(
        self,
        *,
        generator: nn.Module,
        discriminator: nn.Module,
        optimizer_g: Callable[..., Optimizer],
        optimizer_d: Callable[..., Optimizer],
        schedule_g: Schedule,
        schedule_d: Schedule,
        d_steps: int = 1,
        clip_g: float | None = None,
        clip_d: float | None = None,
        clip_weights: float | None = None,
        freeze_d: int = 0,
        **base,
    ):
        require(d_steps >= 1, f"model.d_steps={d_steps}: 1 or more discriminator updates a generator update")
        require(clip_weights is None or clip_weights > 0, f"model.clip_weights={clip_weights}: above 0, or null")
        layers = layers_of(discriminator)
        require(
            isinstance(freeze_d, int) and 0 <= freeze_d < len(layers),
            f"model.freeze_d={freeze_d}: 0 to {len(layers) - 1} of the {len(layers)} layers of the discriminator",
        )
        players = [
            Player("d", ["discriminator"], optimizer_d, schedule_d, clip_d, after_step=clamped(clip_weights)),
            Player("g", ["generator"], optimizer_g, schedule_g, clip_g, every=d_steps, generates=True),
        ]
        super().__init__(
            networks={"generator": generator, "discriminator": discriminator},
            players=players,
            averaged=["generator"],
            **base,
        )
        self.frozen = [parameter for layer in layers[:freeze_d] for parameter in layer]
        for parameter in self.frozen:
            parameter.requires_grad_(False)
