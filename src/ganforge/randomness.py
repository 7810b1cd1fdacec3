"""The state of every random generator, so that a training goes on with the numbers that it would have drawn."""

import random
from typing import Any

import numpy as np
import torch
from torch import distributed


def states() -> list[dict[str, Any]]:
    """The generators of Python, numpy and torch (CPU and this process's GPU), one entry a rank; plain values only."""
    name, keys, *position = np.random.get_state()
    mine = {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *position],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }
    if not (distributed.is_available() and distributed.is_initialized()):
        return [mine]
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, mine)
    return everyone


def restore(states: list[dict[str, Any]], rank: int) -> None:
    """Set the generators of this process as they were on this rank; a rank that there was not keeps its own."""
    if rank >= len(states):
        return
    mine = states[rank]
    version, internal, gauss = mine["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *position = mine["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    torch.set_rng_state(mine["torch"])
    if mine["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(mine["cuda"])
