"""Runs the metrics over the validation and test pictures."""

import copy
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from ganforge.data.module import DataModule


class Evaluation(pl.Callback):
    """Feeds generated images to those metrics whose needs the data meets; logs `val/...` and keeps `results`.

    metrics: name -> an object with `needs`, `stages`, `monitor`, update(batch, generated, dataset), compute(), reset().
    A metric's number `x` becomes `val/x`, `test/x`, or `NAME/x` for a further test set. `baseline/x` of the test set
    keeps its name.
    """

    def __init__(self, *, metrics: dict[str, Any]):
        self.metrics = list(metrics.values())
        self.running: dict[str, list[Any]] = {}
        self.results: dict[str, float] = {}

    def choose(self, data: DataModule) -> None:
        """Drop the metrics whose needs this data does not meet."""
        self.metrics = [metric for metric in self.metrics if metric.needs <= data.provides]

    @property
    def monitor(self) -> tuple[str, str]:
        """(name, "min" or "max") of the number by which checkpoints are compared: the first metric's."""
        name, mode = next(metric.monitor for metric in self.metrics if metric.monitor)
        return f"val/{name}", mode

    def _begin(self, module: pl.LightningModule, stage: str, names: list[str]) -> None:
        fitting = [metric for metric in self.metrics if stage in metric.stages]
        self.running = {name: copy.deepcopy(fitting) for name in names}
        for metrics in self.running.values():
            for metric in metrics:
                if isinstance(metric, nn.Module):
                    metric.to(module.device)

    def _update(self, trainer: pl.Trainer, name: str, generated: Tensor, batch: dict[str, Tensor]) -> None:
        for metric in self.running[name]:
            metric.update(batch, generated, trainer.datamodule.sets[name])

    def _compute(self, name: str) -> dict[str, float]:
        values = {}
        for metric in self.running[name]:
            for key, value in metric.compute().items():
                plain = name == "test" and key.startswith("baseline/")
                values[key if plain else f"{name}/{key}"] = value
        return values

    def on_validation_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._begin(module, "val", ["val"])

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Tensor, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._update(trainer, "val", outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        values = self._compute("val")
        if trainer.sanity_checking:
            return
        # For checkpoints that compare; the first number is on the bar.
        for name, value in values.items():
            module.log(name, value, prog_bar=name == self.monitor[0], logger=False)
        module.record(values)
        self.results = {**self.results, **values}

    def on_test_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._begin(module, "test", trainer.datamodule.test_names)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Tensor,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._update(trainer, trainer.datamodule.test_names[dataloader_idx], outputs, batch)

    def on_test_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for name in trainer.datamodule.test_names:
            self.results.update(self._compute(name))
