"""Grids, tables and histograms for the loggers that can show them; the GANs know nothing of it."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ganforge.callbacks.grids import SampleGrid
from ganforge.errors import require
from ganforge.runs.loggers import MediaLogger

DETAILS = ("low", "high")  # of an interval
COLUMNS = ["weights", "set", "number", "value", *DETAILS]


class Dashboard(pl.Callback):
    """Tells every `ganforge.runs.loggers.MediaLogger` what the run is, and shows each new sample grid on it.

    histograms: every how many logged rows to show how the gradient norms of the layers are distributed, as
    `gradients/PLAYER`, after clipping; null for never.
    """

    def __init__(self, *, histograms: int | None = None):
        require(
            histograms is None or (isinstance(histograms, int) and histograms >= 1),
            f"callbacks.dashboard.histograms={histograms}: a number of logged rows, 1 or more, or null",
        )
        self.histograms = histograms
        self._shown: Any = None  # the grid that was last
        self._latest: Any = None
        self._rows = 0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rows = state["rows"]

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            for logger in _media_loggers(trainer):
                logger.begin(module.card, trainer.world_size)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        if not module.latest or module.latest is self._latest:
            return
        self._latest = module.latest
        self._rows += 1
        if self.histograms is None or self._rows % self.histograms:
            return
        for logger in _media_loggers(trainer):
            for player in module.players:
                gradients = [parameter.grad for parameter in module.parameters_of(player) if parameter.grad is not None]
                if gradients:
                    norms = torch.stack(torch._foreach_norm(gradients)).float().tolist()
                    logger.histogram(f"gradients/{player.name}", norms, module.images_seen)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        grid = _grid(trainer)
        if grid is None or grid.last_grid == self._shown:
            return
        self._shown = grid.last_grid
        what = " | ".join(grid.names) or "results, always of the same noise"
        for logger in _media_loggers(trainer):
            logger.picture("samples", grid.last_grid, f"{module.images_seen} images seen: {what}", module.images_seen)

    def conclude(self, trainer: pl.Trainer, results: dict[str, Any], test_names: list[str]) -> None:
        """Show what results.json says, when the run has ended."""
        images = results["images_seen"]
        numbers = {name: value for name, value in results.items() if isinstance(value, int | float)}
        grid = _grid(trainer)
        evolution = grid and grid.folder / "evolution.png"
        for logger in _media_loggers(trainer):
            logger.numbers(numbers, images)
            logger.table("evaluation", COLUMNS, evaluation_table(results, test_names), images)
            for name, rows in cases(results).items():
                logger.cases(name, rows, images)
            if evolution and evolution.is_file():
                logger.picture("evolution", evolution, "from the first validation to the last", images)
            logger.checkpoint(Path(results["best_checkpoint"]), results["best_checkpoint_images_seen"])


def cases(results: dict[str, Any]) -> dict[str, list[tuple[Path, str, dict[str, float]]]]:
    """The pictures of the test sets that came out worst, by the name they are shown under: worst/test."""
    found = {}
    for name, said in results["evaluation"].items():
        if name.endswith("/worst") and "worst" in said:
            known = ("picture", "name", "index", "detail", "detail_picture")
            rows = [
                (
                    Path(said["folder"]) / case["picture"],
                    case["name"],
                    {key: value for key, value in case.items() if key not in known},
                )
                for case in said["worst"]
            ]
            found[f"worst/{name.removesuffix('/worst')}"] = [row for row in rows if row[0].is_file()]
    return {name: rows for name, rows in found.items() if rows}


def evaluation_table(results: dict[str, Any], test_names: list[str]) -> list[list[Any]]:
    """A row for every number of the test sets: whose weights, which set, its name, value and interval."""
    rows = []
    for prefix, weights in (("", "best"), ("final/", "final")):
        for name in test_names:
            start = f"{prefix}{name}/"
            for key, value in results.items():
                number = key.removeprefix(start)
                if number != key and number.rpartition("/")[2] not in DETAILS:
                    interval = [results.get(f"{key}/{detail}") for detail in DETAILS]
                    rows.append([weights, name, number, value, *interval])
    # Methods that have no weights, and what translations lie between.
    plain = [key for key in results if key.startswith(("baseline/", "floor/", "ceiling/"))]
    for key in plain:
        if key.rpartition("/")[2] not in DETAILS:
            interval = [results.get(f"{key}/{detail}") for detail in DETAILS]
            rows.append(["", test_names[0], key, results[key], *interval])
    return rows


def _media_loggers(trainer: pl.Trainer) -> list[MediaLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, MediaLogger)] if trainer.is_global_zero else []


def _grid(trainer: pl.Trainer) -> SampleGrid | None:
    return next((callback for callback in trainer.callbacks if isinstance(callback, SampleGrid)), None)
