"""How Lightning writes and reads checkpoints here."""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ganforge.errors import Stopped
from ganforge.files import folders
from ganforge.runs.checkpoint import load


def add_to_card(path: Path, entries: dict[str, Any]) -> None:
    """Let a checkpoint that is there say these of itself too."""
    contents = load(path)
    contents["ganforge"] |= entries
    WholeFileCheckpointIO().save_checkpoint(contents, path)


class WholeFileCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints so that a file of that name is whole at any time: a full disk or a kill keeps the former.

    What it reads are tensors and plain values, every byte of them checked.
    """

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        return load(path)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        contents = io.BytesIO()  # torch's own writer aborts the process where the disk is full
        torch.save(checkpoint, contents)
        path = Path(path)
        try:
            with folders.replace(path) as file:
                file.write(contents.getbuffer())
        except OSError as error:
            kept = f"; {path} is still the one before" if path.is_file() else ""
            raise Stopped(
                f"{path}: the checkpoint could not be written ({error.strerror}){kept}; {folders.remedy(error)}, then "
                "go on with resume=true"
            ) from error
