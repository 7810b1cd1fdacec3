"""How fast the training went, and the progress bar."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar


class Speed(pl.Callback):
    """Counts images and seconds of the training alone, not of validation; over all processes that a run went on in."""

    def __init__(self) -> None:
        self.training_seconds = 0.0
        self.images = 0
        self.seconds_before = 0.0  # of the processes that this one goes on from, up to the checkpoint
        self._began = self._since = time.perf_counter()
        self._images_before = 0

    @property
    def images_per_second(self) -> float:
        """Training images a second over all ranks, with data loading and logging, without validation."""
        return self.images / self.training_seconds if self.training_seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        seconds = self.seconds_before + time.perf_counter() - self._began
        return {"training_seconds": self.training_seconds, "images": self.images, "seconds": seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.training_seconds, self.images = float(state["training_seconds"]), int(state["images"])
        self.seconds_before = float(state.get("seconds", self.training_seconds))  # older checkpoints do not tell

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self._begin(trainer)  # an epoch that is resumed in its middle does not start again

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self._begin(trainer)

    def _begin(self, trainer: pl.Trainer) -> None:
        self._since = time.perf_counter()
        self._images_before = trainer.lightning_module.images_seen

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        # Counted here, so that what comes after the last batch of an epoch (validation, checkpoints) is not.
        now = time.perf_counter()
        self.training_seconds += now - self._since
        self.images += module.images_seen - self._images_before
        self._since, self._images_before = now, module.images_seen


class Progress(TQDMProgressBar):
    """Lightning's bar with images/s and the losses."""

    def __init__(self, *, refresh_rate: int = 10):
        super().__init__(refresh_rate=refresh_rate, leave=True)

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        speed = next((callback for callback in trainer.callbacks if isinstance(callback, Speed)), None)
        rate = {} if speed is None else {"img/s": f"{speed.images_per_second:.1f}"}
        # The terms from the module itself: Lightning's `log` takes milliseconds for them.
        return {**rate, **module.on_the_bar, **trainer.progress_bar_metrics}
