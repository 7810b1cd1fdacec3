"""A look at the run's folder before Hydra makes it. Imports nothing heavy."""

import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ganforge.errors import UserError
from ganforge.files import lock, untrusted
from ganforge.files.folders import make_writable
from ganforge.hardware import processes
from ganforge.runs import status

# Settings that say how a run is started, not what it is.
STARTING = ("resume", "ckpt_path", "run_dir")
# Written by a sweep into its folder.
SWEEP = "multirun.yaml"
# The settings that a run is asked to go on with: `ganforge.runs.resume.adopt_settings` makes them those of the run.
NEXT = ".hydra/next"


# What there is of a run or a sweep before its work begins.
BEGINNINGS = {lock.FILE, status.FILE, SWEEP, ".hydra"}

_made: list[Path] = []  # the folders that this process made, from the outermost to the run's


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Around a training: one that is refused before its work begins leaves no new folder behind.

    A folder that was there stays as it is, and so does one with anything else in it than a run begins with; that of a
    job of a sweep tells the sweep what happened.
    """
    try:
        yield
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            _remove_made()
        raise
    finally:
        _made.clear()


def _remove_made() -> None:
    if not _made or processes.SWEEP in os.environ:
        return
    folder = _made[-1]
    with suppress(OSError):
        found = status.read(folder)
        if any(path.name not in BEGINNINGS for path in folder.iterdir()) or (found and found["state"] != "failed"):
            return
        shutil.rmtree(folder / ".hydra", ignore_errors=True)
        for name in (status.FILE, SWEEP, lock.FILE):
            (folder / name).unlink(missing_ok=True)
        lock.release(folder)
        for empty in reversed(_made):
            empty.rmdir()  # that of a model and its data may hold other runs, and stays


def _make(folder: Path) -> None:
    """Make a folder that is not there, and note what was made."""
    missing = [path for path in reversed(folder.absolute().parents) if not path.exists()]
    folder.mkdir(parents=True)
    _made[:] = [*missing, folder.absolute()]


class Preflight(Callback):
    """Ends with one sentence where the run's folder cannot be written, or already holds a run."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        processes.stop_with_parent()
        HydraConfig.instance().set_config(config)  # the folder's name is made of the choices
        shared = share_folder(config)
        take_folder(config, "hydra.run.dir", newest_unfinished, "run", may_be_renamed=not shared)
        folder = Path(config.hydra.run.dir)
        processes.answer(folder=str(folder.absolute()))
        if config.resume and not processes.rank() and (folder / ".hydra/config.yaml").exists():
            with read_write(config.hydra), open_dict(config.hydra):  # until it is known that the run goes on with these
                config.hydra.output_subdir = NEXT

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)
        take_folder(config, "hydra.sweep.dir", newest_sweep, "sweep")


def take_folder(
    config: DictConfig,
    name: str,
    newest: Callable[[Path, DictConfig], Path | None],
    kind: str,
    may_be_renamed: bool = True,
) -> None:
    """Settle the folder of a run or sweep, make it, and hold its lock until this process ends; exit where it is taken.

    name: the setting. newest: finds the one that resume=true goes on with. A folder that was not named by the user is
    made anew: of two runs that begin in one second the second gets another name.
    """
    node = config.hydra.run if name == "hydra.run.dir" else config.hydra.sweep
    named = any(override.startswith(f"{name}=") for override in config.hydra.overrides.hydra)
    folder, found = Path(node.dir), None
    if config.resume and not named:
        found = newest(folder.parent, config)
        if found is None and not processes.rank():
            print(f"resume: there is no {kind} of these settings in {folder.parent}; one begins")
    folder = found or folder
    if not processes.rank():
        if found is None and not named and may_be_renamed:
            folder = make_new(folder, name)
        check_folder(folder, name, may_go_on=bool(config.resume))
    with read_write(config.hydra), open_dict(config.hydra):
        node.dir = str(folder)


def make_new(folder: Path, name: str) -> Path:
    """Make `folder`, or where it is there FOLDER_2, FOLDER_3 and so on; exit with a message where that cannot be."""
    for number in itertools.count(1):
        made = folder if number == 1 else folder.with_name(f"{folder.name}_{number}")
        try:
            _make(made)
        except FileExistsError:
            if not made.is_dir():
                sys.exit(f"error: {name}={made}: is a file; choose another folder")
        except OSError as error:
            sys.exit(f"error: {name}={made}: this folder cannot be written ({error.strerror}); choose another")
        else:
            return made
    raise AssertionError  # numbers do not end


def share_folder(config: DictConfig) -> bool:
    """Have all processes that torchrun or srun started use one folder, into which the first one writes.

    Returns whether the folder is named after that launch.
    """
    with read_write(config.hydra), open_dict(config.hydra):
        if processes.rank():
            config.hydra.output_subdir = None
        started = processes.launch()
        named = any(override.startswith("hydra.run.dir=") for override in config.hydra.overrides.hydra)
        if started is None or started.processes == 1 or named:
            return False
        if started.name is None:
            sys.exit(
                f"error: {started.by} started {started.processes} processes, and each would name a folder by its own "
                "clock; give hydra.run.dir=FOLDER, or --rdzv-id=NAME to torchrun"
            )
        config.hydra.run.dir = str(Path(config.hydra.run.dir).parent / started.name)
        return True


def check_folder(folder: Path, name: str, may_go_on: bool = False) -> None:
    """Make `folder` where it is not there and hold its lock; exit with a message where it cannot take this run."""
    try:
        if not folder.is_dir():
            _make(folder)
        if not lock.hold(folder):
            found = status.read(folder) or {}
            who = f"process {found.get('pid')} on {found.get('host')}" if found else "another process"
            sys.exit(f"error: {name}={folder}: {who} is at work in this folder; wait for it, or stop it first")
        make_writable(folder, f"{name}={folder}")
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {name}={folder}: this folder cannot be written ({error.strerror}); choose another")
    sweep = (folder / SWEEP).exists() and any(folder.glob("*/.hydra"))
    if not may_go_on and (sweep or any((folder / name).exists() for name in ("metrics.csv", "results.json"))):
        kind = "a sweep" if sweep else "a run"
        sys.exit(
            f"error: {name}={folder}: already holds {kind}, which is not overwritten; choose another folder, or go on "
            "with resume=true"
        )


def newest_unfinished(folder: Path, config: DictConfig) -> Path | None:
    """Of the runs in `folder` with the settings of `config`, the newest that has not ended, else the newest."""
    wanted = untrusted.plain(_settings(OmegaConf.to_container(config, resolve=False, enum_to_str=True)))
    same = [run for run in _folders(folder) if _settings(untrusted.read_yaml(run, ".hydra/config.yaml")) == wanted]
    same.sort(key=lambda run: run.name)
    unfinished = [run for run in same if (status.read(run) or {}).get("state") not in ("finished", "pruned")]
    return (unfinished or same or [None])[-1]


def newest_sweep(folder: Path, config: DictConfig) -> Path | None:
    """Of the sweeps in `folder` with the overrides of `config`, the newest."""
    wanted = _overrides(OmegaConf.to_container(config, resolve=False))
    same = [sweep for sweep in _folders(folder) if _overrides(untrusted.read_yaml(sweep, SWEEP)) == wanted]
    return max(same, key=lambda sweep: sweep.name, default=None)


def _folders(folder: Path) -> list[Path]:
    """Below `folder`; links, which lead elsewhere, are not gone on with."""
    return [path for path in folder.glob("*") if path.is_dir() and not path.is_symlink()]


def _overrides(config: Any) -> list[str] | None:
    for name in ("hydra", "overrides", "task"):
        config = config.get(name) if isinstance(config, dict) else None
    if not isinstance(config, list):
        return None
    return sorted(str(override) for override in config if not str(override).startswith(("resume=", "launcher")))


def _settings(config: Any) -> dict[str, Any] | None:
    if not isinstance(config, dict):
        return None
    return {name: value for name, value in config.items() if name not in (*STARTING, "hydra")}
