"""What a training logs: means of its numbers since the last row, taken from the device once a row."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.systems import nonfinite

if TYPE_CHECKING:
    from ganforge.systems.adversarial import Adversarial


@dataclass
class Column:
    """Numbers of one name: on the device, with the images seen when each was computed."""

    is_term: bool
    values: list[Tensor] = field(default_factory=list)
    left_out: list[Tensor | None] = field(default_factory=list)  # whether an update was, () of 0 or 1; None: never
    moments: list[int] = field(default_factory=list)

    def mean(self) -> Tensor:
        """Of the numbers whose updates were made; NaN where none was."""
        values = torch.stack(self.values).float()
        if all(left_out is None for left_out in self.left_out):
            return values.mean()
        counts = torch.stack([values.new_ones(()) if bad is None else 1 - bad for bad in self.left_out])
        return values.where(counts > 0, 0).sum() / counts.sum()


class Rows:
    """Collects the numbers of a system; `log` writes their means over all ranks as a row. Nothing waits in between."""

    def __init__(self, system: Adversarial):
        self.system = system
        self.columns: dict[str, Column] = {}

    def term(self, name: str, value: Tensor) -> None:
        self._add(name, value, is_term=True)

    def number(self, name: str, value: Tensor) -> None:
        self._add(name, value.detach(), is_term=False)

    def _add(self, name: str, value: Tensor, is_term: bool) -> None:
        column = self.columns.setdefault(f"train/{name}", Column(is_term))
        column.values.append(value)
        column.left_out.append(None)
        column.moments.append(self.system.images_seen)

    def mark(self) -> dict[str, int]:
        """How many numbers there are of each name."""
        return {name: len(column.values) for name, column in self.columns.items()}

    def leave_out(self, since: dict[str, int], bad: Tensor) -> None:
        """Do not count the numbers since a mark where `bad` is 1."""
        for name, column in self.columns.items():
            for index in range(since.get(name, 0), len(column.values)):
                column.left_out[index] = bad

    def log(self) -> None:
        """Write a row; raises UserError where the training is to stop because a number is not finite."""
        system, guard = self.system, self.system.safeguard
        means = [column.mean() for column in self.columns.values()]
        numbers = torch.stack([*means, self._faults(), guard.skipped])
        *means, faults, skipped = system.trainer.strategy.reduce(numbers, reduce_op="mean").tolist()
        if faults:
            raise self._error()
        system.skipped_updates = round(skipped)
        # What has no mean was left out each time.
        row = {name: mean for name, mean in zip(self.columns, means, strict=True) if guard.latches or mean == mean}
        system.latest = row
        system.on_the_bar = {name[6:]: mean for name, mean in row.items() if self.columns[name].is_term}
        self.columns = {}
        optimizers = zip(system.players, system.trainer.optimizers, strict=True)
        rates = {f"lr/{player.name}": optimizer.param_groups[0]["lr"] for player, optimizer in optimizers}
        skips = {"train/skipped_updates": system.skipped_updates} if system.skipped_updates else {}
        system.log_row({**row, **rates, **skips})

    def check(self) -> None:
        """Raise UserError, on every rank alike, where the training is to stop because a number is not finite."""
        if self.system.safeguard is None:
            return
        if self.system.trainer.strategy.reduce(self._faults(), reduce_op="mean").item():
            raise self._error()

    def _faults(self) -> Tensor:
        guard = self.system.safeguard
        if guard.latches or self.system.on_nonfinite == "skip":
            return guard.broken
        # fp16, whose updates are left out for gradients alone: the terms tell.
        terms = [value for column in self.columns.values() if column.is_term for value in column.values]
        return (~torch.stack(terms).isfinite()).any().float() if terms else guard.broken

    def _error(self) -> UserError:
        """Of the first numbers that are not finite, by name and moment."""
        found: dict[int, dict[str, float]] = {}
        gradients: dict[int, dict[str, float]] = {}
        for name, column in self.columns.items():
            if not (column.is_term or name.endswith("/grad_norm")):
                continue
            values = torch.stack(column.values).float()
            values = self.system.trainer.strategy.reduce(values, reduce_op="mean").tolist()
            for moment, value in zip(column.moments, values, strict=True):
                if not math.isfinite(value):
                    (found if column.is_term else gradients).setdefault(moment, {})[name[6:]] = value
                    break
        bad = found or gradients
        moment = min(bad, default=self.system.images_seen)
        values = bad.get(moment, {})
        first = next(iter(values), "").split("/")[0]  # the player of the first of them; the others follow from it
        what = " and ".join(f"{name} is {value}" for name, value in values.items() if name.split("/")[0] == first)
        remedy = "; model.on_nonfinite=skip leaves such updates out"
        return nonfinite.ended(self.system, what or "a number is not finite", "before this update", remedy, moment)

    def state_dict(self) -> dict[str, Any]:
        return {
            name: {
                "is_term": column.is_term,
                "values": torch.stack(column.values).cpu(),
                "left_out": [None if bad is None else bad.cpu() for bad in column.left_out],
                "moments": column.moments,
            }
            for name, column in self.columns.items()
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self.columns = {
            name: Column(
                is_term=column["is_term"],
                values=list(column["values"].to(device)),
                left_out=[None if bad is None else bad.to(device) for bad in column["left_out"]],
                moments=list(column["moments"]),
            )
            for name, column in state.items()
        }
