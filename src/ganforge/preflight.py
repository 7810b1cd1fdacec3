"""A look at the run's folder before Hydra makes it. Imports nothing heavy."""

import os
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ganforge.errors import UserError
from ganforge.folders import make_writable


class Preflight(Callback):
    """Ends with one sentence where the run's folder cannot be written, or already holds a run."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)  # the folder's name is made of the choices
        check_folder(Path(config.hydra.run.dir), "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)
        check_folder(Path(config.hydra.sweep.dir), "hydra.sweep.dir")


def check_folder(folder: Path, name: str) -> None:
    """Make `folder` where it is not there; exit with a message where it cannot take a new run."""
    if "LOCAL_RANK" in os.environ:  # a further process of a run that has begun
        return
    try:
        make_writable(folder, f"{name}={folder}")
    except UserError as error:
        sys.exit(f"error: {error}")
    if (folder / "metrics.csv").exists() or (folder / "results.json").exists():
        sys.exit(f"error: {name}={folder}: already holds a run, which is not overwritten; choose another folder")
