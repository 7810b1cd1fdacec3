"""What a checkpoint holds of a system beside the weights and moments that Lightning saves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, distributed, nn

from ganforge.runs import randomness
from ganforge.runs.checkpoint import COUNTERS, is_resumable

if TYPE_CHECKING:
    from ganforge.systems.adversarial import Adversarial


def save(system: Adversarial, checkpoint: dict[str, Any]) -> None:
    """Add the card, the counters and, where a training can go on from it, the state of every process."""
    if system.safeguard is not None:
        system.skipped_updates = int(system.safeguard.skipped)
    counters = {name: getattr(system, name) for name in (*COUNTERS, "updates")}
    checkpoint["ganforge"] = {**system.card, **copy.deepcopy(counters)}
    if not is_resumable(checkpoint):
        del checkpoint["loops"]
        return
    pools = {name: pool.state_dict() for name, pool in system.pools.items()}
    mine = {"rows": system.rows.state_dict(), "randomness": randomness.state(), "pools": pools}
    ranks: list[Any] = [mine] * system.trainer.world_size
    if system.trainer.world_size > 1:
        distributed.all_gather_object(ranks, mine)
    checkpoint["ganforge_state"] = ranks


def load(system: Adversarial, checkpoint: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Take the counters; returns the states of the processes for `go_on`, when they have started, None without any."""
    card = checkpoint["ganforge"]
    for name in COUNTERS:
        setattr(system, name, card[name])
    system.updates = dict(card["updates"])
    for player, states in zip(system.players, checkpoint.get("optimizer_states", ()), strict=False):
        _check_moments(system.parameters_of(player), states["state"])
    return checkpoint.get("ganforge_state")


def go_on(system: Adversarial, states: list[dict[str, Any]]) -> None:
    """Take what this process has begun to log, its pools and its random generators, before the first batch.

    Raises ValueError for pools of another system.
    """
    rank = system.global_rank
    # A rank that there was not begins with the numbers of the first: every rank logs the same ones.
    system.rows.load_state_dict(states[rank if rank < len(states) else 0]["rows"], system.device)
    if rank < len(states):
        randomness.restore(states[rank]["randomness"])
        pools = states[rank].get("pools", {})
        if pools.keys() != system.pools.keys():
            raise ValueError(f"pools {list(pools)} for a model with {list(system.pools)}")
        for name, pool in system.pools.items():
            pool.load_state_dict(pools[name], system.device)


def _check_moments(parameters: list[nn.Parameter], states: Mapping[int, Mapping[str, Any]]) -> None:
    """Raise ValueError for moments of other shapes and types than their weights: fused optimizers do not look."""
    for index, moments in states.items():
        weight = parameters[index]
        for name, value in moments.items():
            if not isinstance(value, Tensor):
                continue
            shape = () if name == "step" else weight.shape
            if value.shape != shape or not value.is_floating_point() or (shape and value.dtype != weight.dtype):
                raise ValueError(f"{name} {list(value.shape)} of an optimizer, for a weight {list(weight.shape)}")
