"""Sample grids: what the generator draws, as pictures in the run's folder."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor

from ganforge.errors import UserError, require
from ganforge.pictures import images
from ganforge.pictures.grids import animate, by_class, cells, rows, save

GIF_FRAMES = 60
REAL = "real.png"


class SampleGrid(pl.Callback):
    """At every validation a PNG of the same pictures, so that one sees them come about.

    Of translations the first `pictures` validation items, one a row, as the model's `panels` shows them, each column
    under its name: source | result | target of pairs. Of pictures from noise the first `samples`, of fixed latents,
    with a column a class where the model is told classes; real.png shows as many real ones. At the end `evolution.gif`
    of all these PNGs, and `evolution.png`: the first `pictures` rows at up to `stages` times, from first to last.
    folder: where the pictures go; those that are there when a training goes on are its earlier ones.
    """

    def __init__(self, *, folder: str, pictures: int = 6, samples: int = 64, stages: int = 8):
        require(pictures >= 1, f"callbacks.grid.pictures={pictures}: 1 or more")
        require(samples >= 1, f"callbacks.grid.samples={samples}: 1 or more")
        require(stages >= 2, f"callbacks.grid.stages={stages}: 2 or more")
        self.folder, self.pictures, self.samples, self.stages = Path(folder), pictures, samples, stages
        self.files: list[Path] = []
        self.names: tuple[str, ...] = ()  # of the columns of a translation
        self._seen: list[tuple[Tensor, ...]] = []
        self._real: list[tuple[Tensor, ...]] = []  # pictures of the validation, and their labels where there are any
        self._has_real = False

    @property
    def last_grid(self) -> Path | None:
        """The newest PNG."""
        return self.files[-1] if self.files else None

    def state_dict(self) -> dict[str, Any]:
        return {"names": self.names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.names = tuple(state["names"])

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # Not when the training starts: one that was killed after its last epoch only ends.
        earlier = sorted(self.folder.glob("images_*.png"))
        self.files = [file for file in earlier if int(file.stem.removeprefix("images_")) <= module.images_seen]

    def on_validation_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._seen, self._real = [], []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Tensor, batch: Any, *_: Any
    ) -> None:
        missing = (self.samples if "image" in batch else self.pictures) - sum(len(seen[0]) for seen in self._seen)
        if missing > 0:
            items = {name: value[:missing] for name, value in batch.items()}
            panels = module.panels(items, outputs[:missing])
            columns = [column.float() for column in panels.values()]
            if "image" not in batch:
                self.names = tuple(panels)
            elif _class_names(trainer):
                columns.append(items["label"])
            self._seen.append(tuple(column.cpu() for column in columns))
            if "image" in items and not self._has_real:
                self._real.append(tuple(items[name].cpu() for name in ("image", "label") if name in items))

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        goes_on = trainer.sanity_checking and module.images_seen > 0  # its picture of this moment is there, of all rows
        if not trainer.is_global_zero or goes_on:
            return
        columns = [torch.cat(column) for column in zip(*self._seen, strict=True)]
        if "image" in trainer.datamodule.provides:
            names = _class_names(trainer)
            page = by_class(columns[0], columns[1] if names else None, names)
            self._save_real(names, whole=not trainer.sanity_checking)
        else:
            page = rows(columns, self.names)
        file = self.folder / f"images_{module.images_seen:09d}.png"
        save(page, file)
        self.files = [*(other for other in self.files if other != file), file]

    def _save_real(self, names: tuple[str, ...], whole: bool) -> None:
        """As many pictures of the validation as are generated, once: they stay the same. whole: that was all of it."""
        self._has_real = whole
        if self._real:
            columns = [torch.cat(column).float() for column in zip(*self._real, strict=True)]
            labels = columns[1].long() if names and len(columns) > 1 else None
            save(by_class(columns[0], labels, names), self.folder / REAL)

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
        translates, size = "image" not in trainer.datamodule.provides, trainer.datamodule.size
        padding, names = 4 if translates else 2, self.names if translates else _class_names(trainer)
        stages = [files[index] for index in _spread(len(files), self.stages)]
        grids = [cells(file, size, padding, names) for file in stages]
        seen = [f"{int(file.stem.removeprefix('images_')):,}" for file in stages]
        columns = dict(zip(seen, grids, strict=True))
        if translates:  # of several directions the first one
            n = Image.open(files[-1]).width // (size + padding)
            columns = {names[0] if names else "source": grids[-1]} | {at: grid[1:] for at, grid in columns.items()}
            if "target" in names:
                columns["target"] = grids[-1][names.index("target") :]
            columns = {name: grid[::n] for name, grid in columns.items()}
        else:
            columns = {at: grid[: self.pictures] for at, grid in columns.items()}
        save(rows(list(columns.values()), list(columns)), self.folder / "evolution.png")
        frames = [images.read(files[index], channels=3) for index in _spread(len(files), GIF_FRAMES)]
        animate(frames, self.folder / "evolution.gif")


def _class_names(trainer: pl.Trainer) -> tuple[str, ...]:
    """Of the classes that the model is told; () where it is told none."""
    told = any(output.told == "label" for output in trainer.lightning_module.outputs.values())
    return tuple(trainer.datamodule.class_names) if told else ()


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to n - 1, from the first to the last, evenly."""
    return torch.linspace(0, n - 1, min(most, n)).round().int().tolist()
