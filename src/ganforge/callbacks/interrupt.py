"""Ctrl-C and SIGTERM end a training at the end of a batch, with a checkpoint."""

import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl


class Interrupted(Exception):
    """Training was stopped from outside; `checkpoint` is where it can go on."""

    def __init__(self, checkpoint: Path):
        super().__init__(f"interrupted; {checkpoint} holds everything up to here")
        self.checkpoint = checkpoint


class Interrupt(pl.Callback):
    """The first Ctrl-C (or SIGTERM) finishes the batch, saves `path` and raises Interrupted; a second one kills."""

    def __init__(self, *, path: str):
        self.path = Path(path)
        self.asked = False
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        # After the last batch it waits for the end of the epoch, so that the checkpoint includes its validation; and it
        # does not stop within a window of accumulated batches.
        if not trainer.is_last_batch and module.between_updates:
            self._stop_if_asked(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        asked = self.asked
        if trainer.world_size > 1:  # a signal may reach one process alone; all stop at the same batch
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            trainer.save_checkpoint(self.path)
            raise Interrupted(self.path)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
