"""Runs the metrics over the validation and test pictures."""

import copy
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ganforge.data.module import DataModule
from ganforge.errors import require
from ganforge.systems import breakdown


class Evaluation(pl.Callback):
    """Feeds generated images to those metrics whose needs the data meets; logs `val/...` and keeps `results`.

    metrics: name -> an object with `needs`, `stages`, `monitor`, update(batch, generated, dataset), compute(), reset(),
    and where it wants them prepare(data), called before training starts, describe(), and `stage`, set to "val" or
    "test" before the first update.

    A metric's number `x` becomes `val/x`, `test/x`, or `NAME/x` for a further test set, with `prefix` before it.
    `baseline/x` of the test set keeps its name. `descriptions` says how each metric was computed.
    """

    def __init__(self, *, metrics: dict[str, Any]):
        self.metrics = metrics
        self.running: dict[str, dict[str, Any]] = {}
        self.results: dict[str, float] = {}
        self.descriptions: dict[str, dict[str, Any]] = {}
        self.prefix = ""
        self._finite: bool | Tensor = True  # whether all pictures were, of the data sets that are running

    def choose(self, data: DataModule) -> None:
        """Drop the metrics whose needs this data does not meet, and let the others look at it."""
        self.metrics = {name: metric for name, metric in self.metrics.items() if metric.needs <= data.provides}
        require(
            any(metric.monitor for metric in self.metrics.values()),
            f"evaluation: none of its metrics can compare checkpoints on {type(data).__name__}; choose another one",
        )
        for metric in self.metrics.values():
            if hasattr(metric, "prepare"):
                metric.prepare(data)

    @property
    def monitor(self) -> tuple[str, str]:
        """(name, "min" or "max") of the number by which checkpoints are compared: the first metric's."""
        name, mode = next(metric.monitor for metric in self.metrics.values() if metric.monitor)
        return f"val/{name}", mode

    def repeat_as(self, prefix: str, names: list[str]) -> None:
        """Repeat the numbers of the test sets under another prefix: those of the same weights."""
        tests = tuple(f"{name}/" for name in names)
        self.results |= {f"{prefix}{key}": v for key, v in self.results.items() if key.startswith(tests)}

    def begin(self, stage: str, names: list[str], device: torch.device) -> None:
        """Fresh metrics for each of these data sets. With a prefix, further weights are judged: by what can compare."""
        fitting = {
            title: metric
            for title, metric in self.metrics.items()
            if stage in metric.stages and (metric.monitor or not self.prefix)
        }
        self._finite = True
        self.running = {name: copy.deepcopy(fitting) for name in names}
        for metrics in self.running.values():
            for metric in metrics.values():
                metric.stage = stage
                if isinstance(metric, nn.Module):
                    metric.to(device)

    def update(self, name: str, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], for the items `batch` of the data set called `name`."""
        for metric in self.running[name].values():
            metric.update(batch, generated, dataset)

    def compute(self, name: str) -> dict[str, float]:
        """The numbers of one data set, under their full names; its metrics are dropped."""
        values = {}
        for title, metric in self.running.pop(name).items():
            for key, value in metric.compute().items():
                plain = name == "test" and key.startswith("baseline/")
                values[f"{self.prefix}{key if plain else f'{name}/{key}'}"] = value
            if hasattr(metric, "describe"):
                self.descriptions[f"{self.prefix}{name}/{title}"] = metric.describe()
        return values

    def state_dict(self) -> dict[str, Any]:
        return {"results": self.results}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.results = {**state["results"], **self.results}  # nothing newer is forgotten when the best is tested

    def on_validation_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.begin("val", ["val"], module.device)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Tensor, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._update_finite("val", batch, outputs, trainer.datamodule.sets["val"])

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        breakdown.check_pictures(module, bool(self._finite))
        if trainer.sanity_checking:
            return  # a single batch: too few images for most numbers
        values = self.compute("val")
        # For checkpoints that compare; the first number is on the bar.
        for name, value in values.items():
            module.log(name, value, prog_bar=name == self.monitor[0], logger=False)
        module.record(values)
        self.results = {**self.results, **values}

    def on_test_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.begin("test", trainer.datamodule.test_names, module.device)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Tensor,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        name = trainer.datamodule.test_names[dataloader_idx]
        self._update_finite(name, batch, outputs, trainer.datamodule.sets[name])

    def _update_finite(self, name: str, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """Note whether the pictures are finite, which is told at the end, by all ranks; metrics fail at others."""
        finite = generated.isfinite()
        self._finite = finite.all() & self._finite  # on the device
        self.update(name, batch, generated.where(finite, 0), dataset)

    def on_test_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        breakdown.check_pictures(module, bool(self._finite))
        for name in trainer.datamodule.test_names:
            self.results.update(self.compute(name))
