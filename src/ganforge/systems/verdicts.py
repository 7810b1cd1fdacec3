"""How critics judge, for the rows of a training."""

from torch import Tensor

from ganforge.game.objectives import Objective
from ganforge.systems.adversarial import Adversarial


def note(system: Adversarial, objective: Objective, real: Tensor, fake: Tensor, critic: str = "") -> None:
    """Log the mean logits of real and generated images, and the accuracy where a logit alone says which it is.

    critic: of a system that has several, which; it ends the names.
    """
    ending = f"_{critic}" if critic else ""
    real, fake = real.detach(), fake.detach()
    system.log_mean(f"d/logit_real{ending}", real.mean())
    system.log_mean(f"d/logit_fake{ending}", fake.mean())
    if objective.boundary is not None:
        system.log_mean(f"d/accuracy_real{ending}", (real > objective.boundary).float().mean())
        system.log_mean(f"d/accuracy_fake{ending}", (fake < objective.boundary).float().mean())
