"""Ctrl-C and SIGTERM end a training at the end of a batch, with a checkpoint."""

import atexit
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 30  # seconds that the clean-up after an interruption may take
ASKED_EVERY = 8  # batches after which several processes ask each other, which waits for the device


class Interrupted(BaseException):
    """A run was stopped from outside; `checkpoint` is where it can go on. As KeyboardInterrupt, it is no Exception:
    what looks for faults in pictures and the like must not catch it.
    """

    def __init__(self, checkpoint: Path, *, just_saved: bool = False):
        if just_saved:
            held = f"{checkpoint} holds everything up to here"
        else:
            held = f"{checkpoint} is the newest checkpoint" if checkpoint.is_file() else "there is no checkpoint yet"
        super().__init__(f"interrupted; {held}")
        self.checkpoint = checkpoint


class Interrupt(Checkpoint):
    """While a run `listens`, Ctrl-C and SIGTERM end it by raising Interrupted.

    The first one in a training finishes the batch (or the validation) and saves `path`; in a test it finishes the
    batch. A second one, or one while no Trainer works, ends at once. Among the Trainer's checkpoint callbacks, which
    come after all others, and the last of them: at the end of an epoch the others have saved theirs.
    """

    def __init__(self, *, path: str | Path):
        self.path = Path(path)
        self.asked = False
        self._listening = self._works = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it signals are heard; in the main thread of a program only, which alone gets them."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._listening = True
        self._take_signals()
        try:
            yield
        except RuntimeError as error:
            if self.asked and "DataLoader worker" in str(error):  # it was asked too, before or after it could listen
                raise Interrupted(self.path) from error
            raise
        finally:
            signal.alarm(0)
            self._listening = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take_signals(self) -> None:
        if self._listening:
            for number in SIGNALS:
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        again, self.asked = self.asked, True
        if again or not self._works:
            # Raised at any place, it may leave a lock taken for which the clean-up of data workers waits.
            signal.alarm(PATIENCE)
            atexit.register(signal.alarm, PATIENCE)
            raise Interrupted(self.path)

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._works = True
        connector = trainer._signal_connector
        if "register_signal_handlers" not in vars(connector):
            # The Trainer takes SIGTERM for itself, ends in mid-epoch, and asks the other processes within the handler.
            register = connector.register_signal_handlers
            connector.register_signal_handlers = lambda: (register(), self._take_signals())

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._works = False
        self._end_if_asked(trainer)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._end_if_asked(trainer)

    def on_test_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.world_size == 1:  # several end together, after the test
            self._end_if_asked(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.world_size > 1 and (batch_idx + 1) % ASKED_EVERY:
            return
        # After the last batch it waits for the end of the epoch, so that the checkpoint includes its validation; and it
        # does not stop within a window of accumulated batches.
        if not trainer.is_last_batch and module.between_updates:
            self._stop_if_asked(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_if_asked(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._end_if_asked(trainer)  # since the end of the epoch

    def _end_if_asked(self, trainer: pl.Trainer) -> None:
        if self._is_asked(trainer):
            raise Interrupted(self.path)

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        if self._is_asked(trainer):
            trainer.save_checkpoint(self.path)
            raise Interrupted(self.path, just_saved=True)

    def _is_asked(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return self.asked
        # A signal may reach one process alone; all stop at the same batch.
        return trainer.strategy.reduce_boolean_decision(self.asked, all=False)
