"""Which checkpoints of a run are kept."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from ganforge.files.folders import plain_name


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, at the end of those epochs that were validated; the last one always is.

    A measure that is not finite is never the best, and a file that was deleted is not.

    It also knows its files where a run goes on in another folder: `ganforge.runs.resume` takes them along. Where they
    are not there, it starts anew.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if (trainer.current_epoch + 1) % trainer.check_val_every_n_epoch == 0:
            super().on_train_epoch_end(trainer, module)

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        if current is None or not current.isfinite():
            return False
        self.best_k_models = {
            path: score for path, score in self.best_k_models.items() if self.file_exists(path, trainer)
        }
        return super().check_monitor_top_k(trainer, current)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(self.dirpath) / plain_name(Path(path).name)) if path else path

        moved = {**state_dict, "dirpath": self.dirpath}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[name] = here(moved[name])
        moved["best_k_models"] = {here(path): score for path, score in moved["best_k_models"].items()}
        files_are_there = all(
            Path(path).is_file() for path in (*moved["best_k_models"], moved["best_model_path"]) if path
        )
        if files_are_there and all(score.isfinite() for score in moved["best_k_models"].values()):
            super().load_state_dict(moved)
            self.current_score = moved["current_score"]  # which Lightning saves, and does not load
