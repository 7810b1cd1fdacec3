"""A look at the run's folder before Hydra makes it. Imports nothing heavy."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ganforge import processes, status
from ganforge.errors import UserError
from ganforge.folders import make_writable
from ganforge.sweeps import stop_with_parent

# Settings that say how a run is started, not what it is.
STARTING = ("resume", "ckpt_path", "run_dir")
# Written by a sweep into its folder.
SWEEP = "multirun.yaml"
# The settings that a run is asked to go on with: `ganforge.resume.accept` makes them those of the run.
NEXT = ".hydra/next"


class Preflight(Callback):
    """Ends with one sentence where the run's folder cannot be written, or already holds a run."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        stop_with_parent()
        HydraConfig.instance().set_config(config)  # the folder's name is made of the choices
        share_folder(config)
        named = any(override.startswith("hydra.run.dir=") for override in config.hydra.overrides.hydra)
        if config.resume and not named:
            folder = newest_unfinished(Path(config.hydra.run.dir).parent, config)
            if folder is None:
                print(f"resume: there is no run of these settings in {Path(config.hydra.run.dir).parent}; one begins")
            else:
                with read_write(config.hydra), open_dict(config.hydra):
                    config.hydra.run.dir = str(folder)
        folder = Path(config.hydra.run.dir)
        check_folder(folder, "hydra.run.dir", may_go_on=bool(config.resume))
        if config.resume and not processes.rank():
            check_alone(folder)
            if (folder / ".hydra/config.yaml").exists():  # until it is known that the run goes on with these settings
                with read_write(config.hydra), open_dict(config.hydra):
                    config.hydra.output_subdir = NEXT

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)
        folder = Path(config.hydra.sweep.dir)
        named = any(override.startswith("hydra.sweep.dir=") for override in config.hydra.overrides.hydra)
        if config.resume and not named:
            found = newest_sweep(folder.parent, config)
            if found is None:
                print(f"resume: there is no sweep of these settings in {folder.parent}; one begins")
            else:
                folder = found
                with read_write(config.hydra), open_dict(config.hydra):
                    config.hydra.sweep.dir = str(folder)
        check_folder(folder, "hydra.sweep.dir", may_go_on=bool(config.resume))


def share_folder(config: DictConfig) -> None:
    """Have all processes that torchrun or srun started use one folder, into which the first one writes."""
    with read_write(config.hydra), open_dict(config.hydra):
        if processes.rank():
            config.hydra.output_subdir = None
        started = processes.launch()
        named = any(override.startswith("hydra.run.dir=") for override in config.hydra.overrides.hydra)
        if started is None or started.processes == 1 or named:
            return
        if started.name is None:
            sys.exit(
                f"error: {started.by} started {started.processes} processes, and each would name a folder by its own "
                "clock; give hydra.run.dir=FOLDER, or --rdzv-id=NAME to torchrun"
            )
        config.hydra.run.dir = str(Path(config.hydra.run.dir).parent / started.name)


def check_folder(folder: Path, name: str, may_go_on: bool = False) -> None:
    """Make `folder` where it is not there; exit with a message where it cannot take this run."""
    if processes.rank():  # a further process of a run
        return
    try:
        make_writable(folder, f"{name}={folder}")
    except UserError as error:
        sys.exit(f"error: {error}")
    sweep = (folder / SWEEP).exists() and any(folder.glob("*/.hydra"))
    if not may_go_on and (sweep or any((folder / name).exists() for name in ("metrics.csv", "results.json"))):
        kind = "a sweep" if sweep else "a run"
        sys.exit(
            f"error: {name}={folder}: already holds {kind}, which is not overwritten; choose another folder, or go on "
            "with resume=true"
        )


def check_alone(folder: Path) -> None:
    """Exit with a message where another process of this machine trains in `folder`."""
    found = status.read(folder)
    alive = found is not None and found["state"] == "running" and found.get("host") == socket.gethostname()
    if alive and found.get("pid") != os.getpid():
        sys.exit(f"error: {folder}: process {found.get('pid')} trains in this folder; wait for it, or stop it first")


def newest_unfinished(folder: Path, config: DictConfig) -> Path | None:
    """Of the runs in `folder` with the settings of `config`, the newest that has not ended, else the newest."""
    wanted = _settings(config)
    same = [run.parent for run in folder.glob("*/.hydra") if _settings(_read(run / "config.yaml")) == wanted]
    same.sort(key=lambda run: run.name)
    unfinished = [run for run in same if (status.read(run) or {}).get("state") not in ("finished", "pruned")]
    return (unfinished or same or [None])[-1]


def newest_sweep(folder: Path, config: DictConfig) -> Path | None:
    """Of the sweeps in `folder` with the overrides of `config`, the newest."""
    wanted = _overrides(config)
    same = [path.parent for path in folder.glob(f"*/{SWEEP}") if _overrides(_read(path)) == wanted]
    return max(same, key=lambda sweep: sweep.name, default=None)


def _overrides(config: Any) -> list[str] | None:
    try:
        given = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    except (AttributeError, OmegaConfBaseException, ValueError):
        return None
    return sorted(override for override in given if not override.startswith(("resume=", "launcher")))


def _read(path: Path) -> Any:
    try:
        return OmegaConf.load(path)
    except (OSError, OmegaConfBaseException, ValueError, YAMLError):
        return None


def _settings(config: Any) -> Any:
    if not isinstance(config, DictConfig):
        return None
    plain = OmegaConf.to_container(config, resolve=False)
    return {name: value for name, value in plain.items() if name not in (*STARTING, "hydra")}
