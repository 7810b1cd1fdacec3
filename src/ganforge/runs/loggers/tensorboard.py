"""A run as the event files of TensorBoard."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from ganforge.runs.loggers.media import MediaLogger

if TYPE_CHECKING:  # it takes a second to import
    from torch.utils.tensorboard import SummaryWriter


class RunTensorBoard(MediaLogger):
    """FOLDER/tensorboard: event files whose step is the number of images seen; a run that goes on adds one."""

    name, version, save_dir = "tensorboard", "", ""

    def __init__(self, *, folder: str):
        super().__init__()
        self.save_dir = folder
        self.folder = Path(folder) / "tensorboard"
        self._purge: int | None = None
        self._writer: SummaryWriter | None = None

    def rewind(self, images: int) -> None:
        """Have TensorBoard forget what is there of later steps: it comes again."""
        self._purge = images + 1

    @property
    def writer(self) -> "SummaryWriter":
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self._purge)
        return self._writer

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        for name, value in metrics.items():
            if name != "images":  # the step
                self.writer.add_scalar(name, value, step)

    def begin(self, card: dict[str, Any], processes: int) -> None:
        self.writer.add_text("config", f"```yaml\n{OmegaConf.to_yaml(card['config'])}\n```", 0)

    def picture(self, name: str, file: Path, caption: str, images: int) -> None:
        from ganforge.pictures import images as pictures

        self.writer.add_image(name, pictures.read(file, channels=3), images, dataformats="HWC")

    def histogram(self, name: str, values: Sequence[float], images: int) -> None:
        import numpy as np

        self.writer.add_histogram(name, np.asarray(values), images)

    def table(self, name: str, columns: list[str], rows: list[list[Any]], images: int) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join(f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in lines)
        self.writer.add_text(name, text, images)

    def cases(self, name: str, rows: list[tuple[Path, str, dict[str, float]]], images: int) -> None:
        numbers = list(dict.fromkeys(number for *_, scores in rows for number in scores))
        self.table(name, ["name", *numbers], [[title, *map(scores.get, numbers)] for _, title, scores in rows], images)
        for place, (file, title, _) in enumerate(rows, 1):
            self.picture(f"{name}/{place}", file, title, images)

    def numbers(self, values: dict[str, float], images: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"results/{name}", value, images)

    @rank_zero_only
    def save(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._writer is not None:
            self._writer.flush()
