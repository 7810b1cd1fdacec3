"""Which checkpoints of a run are kept."""

from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint

from ganforge.folders import plain_name


class Kept(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which also knows its files where a run goes on in another folder.

    `ganforge.resume` takes the files along. Where they are not there, it starts anew.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(self.dirpath) / plain_name(Path(path).name)) if path else path

        moved = {**state_dict, "dirpath": self.dirpath}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[name] = here(moved[name])
        moved["best_k_models"] = {here(path): score for path, score in moved["best_k_models"].items()}
        if all(Path(path).is_file() for path in (*moved["best_k_models"], moved["best_model_path"]) if path):
            super().load_state_dict(moved)
            self.current_score = moved["current_score"]  # which Lightning saves, and does not load
