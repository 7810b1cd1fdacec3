"""Runs the metrics over the validation and test pictures."""

from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import Dataset

from ganforge.evaluation.running import RunningMetrics
from ganforge.systems import nonfinite


class Evaluation(RunningMetrics, pl.Callback):
    """Says when `RunningMetrics` run: at each validation and test. Logs `val/...` and keeps `results`."""

    def __init__(self, *, metrics: dict[str, Any]):
        super().__init__(metrics=metrics)
        self.results: dict[str, float] = {}
        self.learned: dict[str, Any] = {}  # by metrics, of the model that is tested, for its card
        self._finite: bool | Tensor = True  # whether all pictures were, of the data sets that are running

    def repeat_as(self, prefix: str, names: list[str]) -> None:
        """Repeat the numbers of the test sets under another prefix: those of the same weights."""
        tests = tuple(f"{name}/" for name in names)
        self.results |= {f"{prefix}{key}": v for key, v in self.results.items() if key.startswith(tests)}

    def state_dict(self) -> dict[str, Any]:
        return {"results": self.results}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.results = {**state["results"], **self.results}  # nothing newer is forgotten when the best is tested

    def on_validation_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._finite = True
        self.begin("val", ["val"], module.device)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Tensor, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._update_finite("val", batch, outputs, trainer.datamodule.sets["val"])

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        nonfinite.check_pictures(module, bool(self._finite))
        if trainer.sanity_checking:
            return  # a single batch: too few images for most numbers
        values = self.compute("val")
        # For checkpoints that compare; the first number is on the bar.
        for name, value in values.items():
            module.log(name, value, prog_bar=name == self.monitor[0], logger=False)
        module.log_row(values)
        self.results = {**self.results, **values}

    def on_test_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._finite = True
        if not self.prefix:
            for metric in self.metrics.values():
                if hasattr(metric, "learn"):
                    limit = trainer.limit_test_batches
                    most = limit if isinstance(limit, int) else None
                    self.learned |= metric.learn(module.infer, trainer.datamodule, module.device, most)
        self.card = self.learned
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

    def on_test_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        nonfinite.check_pictures(module, bool(self._finite))
        for name in trainer.datamodule.test_names:
            self.results.update(self.compute(name))

    def _update_finite(self, name: str, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """Note whether the pictures are finite, which is told at the end, by all ranks; metrics fail at others."""
        finite = generated.isfinite()
        self._finite = finite.all() & self._finite  # on the device
        self.update(name, batch, generated.where(finite, 0), dataset)
