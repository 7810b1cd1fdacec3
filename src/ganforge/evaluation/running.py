"""Metrics of several data sets, while their pictures come."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ganforge.data.module import DataModule
from ganforge.errors import require
from ganforge.evaluation.partners import converts, source_of, with_channels


class RunningMetrics:
    """Feeds generated images to those metrics whose needs the data meets.

    metrics: name -> an object with `needs`, `stages`, `monitor`, update(batch, generated, dataset), compute(), reset(),
    and where it wants them prepare(data), called before training starts, describe(), and `stage` and `name`, set to
    "val" or "test" and to that of the data set before the first update; learn(infer, data, device, most), called before
    the test, whose result the model's card says from then on, and recall(card), called before the first update.

    A metric's number `x` becomes `val/x`, `test/x`, or `NAME/x` for a further test set, with `prefix` before it.
    `baseline/x` of the test set keeps its name. Translations are tested between a floor and a ceiling, `floor/x` and
    `ceiling/x` (`floor/NAME/x` for a further test set): the source pictures as they are in place of their translations,
    by every metric that has a floor, and what its `ceiling()` says, where it has one. `descriptions` says how each
    metric was computed.
    """

    def __init__(self, *, metrics: dict[str, Any]):
        self.metrics = {name: metric for name, metric in metrics.items() if metric is not None}  # null: without it
        self.running: dict[str, dict[str, Any]] = {}
        self.descriptions: dict[str, dict[str, Any]] = {}
        self.prefix = ""
        self.card: dict[str, Any] = {}  # of the model that is judged
        self.floors: dict[str, dict[str, Any]] = {}  # as `running`, of the source pictures
        self._has_floor = False

    def choose(self, data: DataModule) -> None:
        """Drop the metrics whose needs this data does not meet, and let the others look at it."""
        self.metrics = {name: metric for name, metric in self.metrics.items() if metric.needs <= data.provides}
        for metric in self.metrics.values():
            if hasattr(metric, "prepare"):
                metric.prepare(data)
        require(
            any(metric.monitor for metric in self.metrics.values()),
            f"evaluation: none of its metrics can compare checkpoints on {type(data).__name__}; choose another one",
        )
        translates = bool({"paired", "unpaired"} & data.provides) and len(data.channels) == 2
        # Of pairs that measure something, source and target are in other units.
        self._has_floor = translates and data.sides is None and converts(*data.channels.values())

    @property
    def monitor(self) -> tuple[str, str]:
        """(name, "min" or "max") of the number by which checkpoints are compared: the first metric's."""
        name, mode = next(metric.monitor for metric in self.metrics.values() if metric.monitor)
        return f"val/{name}", mode

    def begin(self, stage: str, names: list[str], device: torch.device) -> None:
        """Fresh metrics for each of these data sets. With a prefix, further weights are judged: by what can compare."""
        fitting = {
            title: metric
            for title, metric in self.metrics.items()
            if stage in metric.stages and (metric.monitor or not self.prefix)
        }
        self.running = {name: copy.deepcopy(fitting) for name in names}
        bounded = {title: metric for title, metric in fitting.items() if getattr(metric, "has_floor", False)}
        judged = self._has_floor and stage == "test" and not self.prefix  # it has no weights, and is judged once
        self.floors = {name: copy.deepcopy(bounded) for name in names} if judged else {}
        for data_name, metrics in (*self.running.items(), *self.floors.items()):
            for metric in metrics.values():
                metric.stage, metric.name = stage, data_name
                if hasattr(metric, "recall"):
                    metric.recall(self.card)
                if isinstance(metric, nn.Module):
                    metric.to(device)

    def update(self, name: str, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], for the items `batch` of the data set called `name`."""
        for metric in self.running[name].values():
            metric.update(batch, generated, dataset)
        for metric in self.floors.get(name, {}).values():
            metric.update(batch, with_channels(source_of(batch), generated.shape[1]), dataset)

    def compute(self, name: str) -> dict[str, float]:
        """The numbers of one data set, under their full names; its metrics are dropped."""
        values = {}
        for title, metric in self.running.pop(name).items():
            for key, value in metric.compute().items():
                plain = name == "test" and key.startswith("baseline/")
                values[f"{self.prefix}{key if plain else f'{name}/{key}'}"] = value
            bounds = {"floor": self.floors[name][title].compute()} if title in self.floors.get(name, {}) else {}
            if bounds and hasattr(metric, "ceiling"):
                bounds["ceiling"] = metric.ceiling()
            place = "" if name == "test" else f"{name}/"
            for bound, numbers in bounds.items():
                values |= {f"{bound}/{place}{key}": value for key, value in numbers.items()}
            if hasattr(metric, "describe"):
                self.descriptions[f"{self.prefix}{name}/{title}"] = metric.describe()
        return values
