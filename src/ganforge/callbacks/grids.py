"""Sample grids: what the generator draws, as pictures in the run's folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid, save_image

from ganforge.errors import UserError, require
from ganforge.files.folders import replace
from ganforge.pictures import images

GIF_FRAMES = 60
GIF_WIDTH = 512  # px, at most


def rows(columns: list[Tensor]) -> Tensor:
    """Columns of (B, C, H, W) pictures in [-1, 1] side by side, one row a picture: (3, height, width) in [0, 1]."""
    pictures = torch.stack([column.expand(-1, 3, -1, -1) for column in columns], dim=1).flatten(0, 1)
    return make_grid((pictures + 1) / 2, nrow=len(columns), padding=4, pad_value=0.6).clamp(0, 1)


def square(pictures: Tensor) -> Tensor:
    """(B, C, H, W) pictures in [-1, 1] as a grid that is about square: (3, height, width) in [0, 1]."""
    side = max(1, round(len(pictures) ** 0.5))
    return make_grid((pictures.expand(-1, 3, -1, -1) + 1) / 2, nrow=side, padding=2, pad_value=0.6).clamp(0, 1)


def cells(file: Path, size: int, padding: int) -> Tensor:
    """The pictures of a PNG of `rows` (padding 4) or `square` (2), row by row: (B, 3, size, size) in [-1, 1]."""
    grid = torch.from_numpy(images.read(file, channels=3)).permute(2, 0, 1).float() / 127.5 - 1
    if grid.shape[1:] == (size, size):  # a single picture has no frame
        return grid[None]
    framed = grid[:, padding:, padding:].unfold(1, size, size + padding).unfold(2, size, size + padding)
    return framed.permute(1, 2, 0, 3, 4).flatten(0, 1)


def save(picture: Tensor, path: Path) -> None:
    """Write a picture (3, H, W) in [0, 1] as a PNG; `path` is whole at any time."""
    with replace(path) as file:
        save_image(picture, file, format="png")


def animate(frames: list[np.ndarray], path: Path, seconds: float = 0.25) -> None:
    """Write a GIF of uint8 pictures (H, W, C) of one size, at most 512 px wide; the last one stays longer."""
    pictures = [Image.fromarray(np.broadcast_to(frame, (*frame.shape[:2], 3))) for frame in frames]
    width, height = pictures[0].size
    factor = min(1.0, GIF_WIDTH / width)
    size = (round(width * factor), round(height * factor))
    pictures = [picture.resize(size, Image.Resampling.BOX).quantize(64) for picture in pictures]
    durations = [round(1000 * seconds)] * (len(pictures) - 1) + [max(1000, round(1000 * seconds))]
    with replace(path) as file:
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)


class SampleGrid(pl.Callback):
    """At every validation a PNG of the same pictures, so that one sees them come about.

    Of translations the first `pictures` validation pairs, one a row: source | generated | target. Of pictures from
    noise the first `samples`, of fixed latents. At the end `evolution.gif` of all these PNGs, and `evolution.png`: the
    first `pictures` rows at up to `stages` times from the first to the last.
    folder: where the pictures go; those that are there when a training goes on are its earlier ones.
    """

    def __init__(self, *, folder: str, pictures: int = 6, samples: int = 64, stages: int = 8):
        require(pictures >= 1, f"callbacks.grid.pictures={pictures}: 1 or more")
        require(samples >= 1, f"callbacks.grid.samples={samples}: 1 or more")
        require(stages >= 2, f"callbacks.grid.stages={stages}: 2 or more")
        self.folder, self.pictures, self.samples, self.stages = Path(folder), pictures, samples, stages
        self.files: list[Path] = []
        self._seen: list[tuple[Tensor, ...]] = []

    @property
    def last_grid(self) -> Path | None:
        """The newest PNG."""
        return self.files[-1] if self.files else None

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # Not when the training starts: one that was killed after its last epoch only ends.
        earlier = sorted(self.folder.glob("images_*.png"))
        self.files = [file for file in earlier if int(file.stem.removeprefix("images_")) <= module.images_seen]

    def on_validation_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._seen = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Tensor, batch: Any, *_: Any
    ) -> None:
        paired = "source" in batch
        missing = (self.pictures if paired else self.samples) - sum(len(seen[0]) for seen in self._seen)
        if missing > 0:
            columns = (outputs, batch["source"], batch["target"]) if paired else (outputs,)
            self._seen.append(tuple(column[:missing].float().cpu() for column in columns))

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        goes_on = trainer.sanity_checking and module.images_seen > 0  # its picture of this moment is there, of all rows
        if not trainer.is_global_zero or goes_on:
            return
        generated, *pair = (torch.cat(column) for column in zip(*self._seen, strict=True))
        file = self.folder / f"images_{module.images_seen:09d}.png"
        save(rows([pair[0], generated, pair[1]]) if pair else square(generated), file)
        self.files = [*(other for other in self.files if other != file), file]

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.files = [file for file in self.files if file.is_file()]
        try:
            self._make_evolution(trainer)
        except (OSError, UserError) as error:  # a full disk, a picture that was changed: the numbers are still to come
            print(f"{self.folder}: evolution.png and evolution.gif could not be made ({error})")

    def _make_evolution(self, trainer: pl.Trainer) -> None:
        # The check before training may have seen fewer pictures: then it is left out.
        files = [file for file in self.files if Image.open(file).size == Image.open(self.files[-1]).size]
        if len(files) < 2:
            return
        paired, size = "paired" in trainer.datamodule.provides, trainer.datamodule.size
        grids = [cells(file, size, 4 if paired else 2) for file in (files[i] for i in _spread(len(files), self.stages))]
        if paired:  # source | generated | target
            columns = [grids[-1][0::3], *(grid[1::3] for grid in grids), grids[-1][2::3]]
        else:
            columns = [grid[: self.pictures] for grid in grids]
        save(rows(columns), self.folder / "evolution.png")
        frames = [images.read(files[index], channels=3) for index in _spread(len(files), GIF_FRAMES)]
        animate(frames, self.folder / "evolution.gif")


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to n - 1, from the first to the last, evenly."""
    return torch.linspace(0, n - 1, min(most, n)).round().int().tolist()
