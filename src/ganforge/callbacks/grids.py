"""Sample grids: what the generator draws, as pictures in the run's folder."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from ganforge.errors import require


def rows(columns: list[Tensor]) -> Tensor:
    """Columns of (B, C, H, W) pictures in [-1, 1] side by side, one row a picture: (3, height, width) in [0, 1]."""
    pictures = torch.stack([column.expand(-1, 3, -1, -1) for column in columns], dim=1).flatten(0, 1)
    return make_grid((pictures + 1) / 2, nrow=len(columns), padding=4, pad_value=0.6).clamp(0, 1)


class SampleGrid(pl.Callback):
    """At every validation a PNG of the first `pictures` validation pairs, one a row: source | generated | target.

    At the end `evolution.png`: source | generated at up to `stages` times from the first to the last | target.
    folder: where the pictures go.
    """

    def __init__(self, *, folder: str, pictures: int = 6, stages: int = 8):
        require(pictures >= 1, f"callbacks.grid.pictures={pictures}: 1 or more")
        require(stages >= 2, f"callbacks.grid.stages={stages}: 2 or more")
        self.folder, self.pictures, self.stages = Path(folder), pictures, stages
        self.history: list[list[Tensor]] = []  # of every validation: source, generated, target
        self.last_grid: Path | None = None
        self._seen: list[tuple[Tensor, ...]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._seen = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Tensor, batch: Any, *_: Any
    ) -> None:
        missing = self.pictures - sum(len(seen[0]) for seen in self._seen)
        if missing > 0:
            columns = (batch["source"], outputs, batch["target"])
            self._seen.append(tuple(column[:missing].float().cpu() for column in columns))

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.history.append([torch.cat(column) for column in zip(*self._seen, strict=True)])
        if trainer.sanity_checking:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.last_grid = self.folder / f"images_{module.images_seen:09d}.png"
        save_image(rows(self.history[-1]), self.last_grid)

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if len(self.history) < 2 or not trainer.is_global_zero:
            return
        source, _, target = self.history[-1]
        # The check before training may have seen fewer pictures.
        count = min(len(generated) for _, generated, _ in self.history)
        chosen = torch.linspace(0, len(self.history) - 1, min(self.stages, len(self.history))).round().int().tolist()
        columns = [source, *(self.history[index][1] for index in chosen), target]
        save_image(rows([column[:count] for column in columns]), self.folder / "evolution.png")
