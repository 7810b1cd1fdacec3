"""Loggers that show more than rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger


class MediaLogger(Logger):
    """A logger that shows more than rows. `ganforge.callbacks.Dashboard` calls these methods, on rank 0 alone."""

    def begin(self, card: dict[str, Any], processes: int) -> None:
        """Before the training. card: `config` (resolved), `versions`, `data_fingerprint`, `git_difference`."""

    def picture(self, name: str, file: Path, caption: str, images: int) -> None:
        """A picture file, at this number of images seen."""

    def histogram(self, name: str, values: Sequence[float], images: int) -> None:
        """How numbers are distributed, at this number of images seen."""

    def table(self, name: str, columns: list[str], rows: list[list[Any]], images: int) -> None:
        """A table of strings, numbers and None."""

    def cases(self, name: str, rows: list[tuple[Path, str, dict[str, float]]], images: int) -> None:
        """Picture files, each with what it is called and what it scores."""

    def numbers(self, values: dict[str, float], images: int) -> None:
        """The numbers with which the run ends."""

    def checkpoint(self, file: Path, images: int) -> None:
        """The best checkpoint, when the run has ended."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Told by `begin`."""
