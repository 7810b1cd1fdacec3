"""Which tensors hold numbers that nothing can be computed with."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

# The squares of larger weights overflow in fp32, so that their networks give no number.
LARGEST_WEIGHT = math.sqrt(torch.finfo(torch.float32).max)

SHOWN = 3  # names in a sentence


def not_finite(tensors: Mapping[str, Any], largest: float = math.inf) -> list[str]:
    """The names of the floating-point tensors that hold a NaN, an infinity, or an absolute value above `largest`.

    One transfer from each device; values that are no such tensors are passed over.
    """
    floating = {
        name: value
        for name, value in tensors.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel()
    }
    bad = set()
    for device in {value.device for value in floating.values()}:
        here = {name: value for name, value in floating.items() if value.device == device}
        sizes = torch.stack(torch._foreach_norm(list(here.values()), torch.inf)).tolist()
        bad |= {name for name, size in zip(here, sizes, strict=True) if not (math.isfinite(size) and size <= largest)}
    return [name for name in floating if name in bad]


def spoiled(checkpoint: Mapping[str, Any]) -> list[str]:
    """The names of the weights and of the optimizers' moments in the contents of a checkpoint that are not finite."""
    return not_finite(checkpoint["state_dict"], LARGEST_WEIGHT) + not_finite(dict(_moments(checkpoint)))


def _moments(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for which, optimizer in enumerate(checkpoint.get("optimizer_states") or ()):
        for parameter, moments in optimizer["state"].items():
            for name, value in moments.items():
                yield f"{name} of optimizer {which}, parameter {parameter}", value


def listed(names: list[str]) -> str:
    """The first few names, and how many there are besides."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
