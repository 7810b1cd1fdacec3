"""Updates that are left out where numbers are not finite, without asking the device: it decides by itself."""

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer


class Safeguard:
    """Steps optimizers only where the norm of the gradients is finite.

    latches: after the first norm that is not finite no update is made any more (the training is to stop); otherwise
    each is left out by itself. What happened stays on the device: `broken` (whether it has latched) and `skipped` (how
    many updates were left out), scalars that are read when a row is logged.
    """

    def __init__(self, device: torch.device, latches: bool, skipped: int = 0):
        self.latches = latches
        self.broken = torch.zeros((), device=device)
        self.skipped = torch.full((), float(skipped), device=device)

    @torch.no_grad()
    def step(self, optimizer: Optimizer, gradients: list[Tensor], norm: Tensor, clip: float | None) -> Tensor:
        """Make one step of `optimizer` (Lightning's or torch's), clipped to the norm `clip`, or leave it out.

        norm: of all gradients together, (). Returns whether it was left out, () of 0 or 1.
        """
        bad = (~norm.isfinite()).float()
        if self.latches:
            self.broken = bad = torch.maximum(self.broken, bad)
        self.skipped = self.skipped + bad
        # Gradients are divided by this.
        scale = None if clip is None else ((norm + 1e-6) / clip).clamp(min=1)
        plain = getattr(optimizer, "optimizer", optimizer)
        if decides_on_device(plain):
            plain.found_inf, plain.grad_scale = bad, scale
            optimizer.step()
        elif not bad:
            if scale is not None:
                torch._foreach_div_(gradients, scale)
            optimizer.step()
        return bad


def decides_on_device(optimizer: Optimizer) -> bool:
    """Whether an optimizer leaves weights, moments and step count as they are where its `found_inf` is 1.

    torch's fused ones do, but for SGD with momentum, whose first moments would not be set.
    """
    if not optimizer.defaults.get("fused"):
        return False
    return type(optimizer) in (Adam, AdamW) or (type(optimizer) is SGD and not optimizer.defaults["momentum"])
