"""How fast the training went, and the progress bar."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar

from ganforge.runs.folder import clock


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
    """Lightning's bar with images/s, the losses, and what is left of the whole training.

    Where standard error is no terminal (a log file), a line every `seconds` and after each validation in its place.
    """

    def __init__(self, *, refresh_rate: int = 10, seconds: float = 30.0):
        self._as_lines = not sys.stderr.isatty()
        super().__init__(refresh_rate=0 if self._as_lines else refresh_rate, leave=True)
        self.seconds = seconds
        self._began = self._said = 0.0
        self._progress_before = 0.0

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        speed = next((callback for callback in trainer.callbacks if isinstance(callback, Speed)), None)
        rate = {} if speed is None else {"img/s": f"{speed.images_per_second:.1f}"}
        # The terms from the module itself: Lightning's `log` takes milliseconds for them.
        phase = {"phase": "pre-training"} if module.pretrains else {}
        return {**phase, **rate, **self._left(module), **module.on_the_bar, **trainer.progress_bar_metrics}

    def _left(self, module: pl.LightningModule) -> dict[str, str]:
        """Of the whole training, with its validations, as fast as this process has been."""
        done = module.progress - self._progress_before
        seconds = time.perf_counter() - self._began
        return {"left": clock(seconds * (1 - module.progress) / done)} if done > 0 else {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_train_start(trainer, module)
        self._began = self._said = time.perf_counter()
        self._progress_before = module.progress

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *arguments: Any) -> None:
        super().on_train_batch_end(trainer, module, *arguments)
        if time.perf_counter() - self._said >= self.seconds:
            self._say(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, module)
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._say(trainer, module)

    def _say(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self._as_lines or not trainer.is_global_zero:
            return
        self._said = time.perf_counter()
        place = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, {module.images_seen:,} images"
        numbers = self.get_metrics(trainer, module)
        numbers.pop("v_num", None)
        said = (f"{name} {value if isinstance(value, str) else f'{value:.4g}'}" for name, value in numbers.items())
        print(", ".join([place, *said]), file=sys.stderr, flush=True)
