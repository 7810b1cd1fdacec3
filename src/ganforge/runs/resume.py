"""`resume=true`: a run goes on in its own folder, from its newest checkpoint, as if it had never stopped."""

import os
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from ganforge.errors import require
from ganforge.runs import checkpoint, status
from ganforge.runs.preflight import NEXT

CHOICES = (False, True, "force")
# What rank 0 found, for the processes that it starts: by then the folder says that the run goes on.
DECIDED = "GANFORGE_CHECKPOINT"


def score_of_finished(config: DictConfig) -> float | None:
    """The score of the run in this folder where it is to go on but has ended; None where there is something to do."""
    require(config.resume in CHOICES, f"resume={config.resume}: true, false, or force (with other settings)")
    if not config.resume or _is_child():
        return None
    found = status.read(config.run_dir)
    if found is None or found["state"] not in ("finished", "pruned") or found["score"] is None:
        return None
    print(
        f"{config.run_dir}: has {found['state']}, {found['monitor']} {found['score']:.4f}; nothing is left to do "
        f"(other settings: ckpt_path={config.run_dir} goes on in a folder of its own)"
    )
    return found["score"]


def checkpoint_of(config: DictConfig) -> Path | None:
    """The checkpoint that this run goes on from, or None for one that begins."""
    if _is_child():
        return Path(os.environ[DECIDED]) if os.environ.get(DECIDED) else None
    found = _checkpoint_of(config)
    os.environ[DECIDED] = "" if found is None else str(found.resolve())
    return found


def _checkpoint_of(config: DictConfig) -> Path | None:
    if config.ckpt_path is not None:
        return checkpoint.find(config.ckpt_path, prefer="last")
    if not config.resume:
        return None
    last = Path(config.run_dir) / "checkpoints" / "last.ckpt"
    if not last.is_file():
        print(f"{config.run_dir}: no checkpoint yet, so it begins")
        return None
    return last


def adopt_settings(run_dir: Path) -> None:
    """The settings with which a run was asked to go on are now its own; until here its former ones were in .hydra."""
    if rank_zero_only.rank == 0 and (run_dir / NEXT).is_dir():
        for file in (run_dir / NEXT).iterdir():
            file.replace(run_dir / ".hydra" / file.name)
        (run_dir / NEXT).rmdir()


def drop_settings(run_dir: Path) -> None:
    """Forget the settings with which a run was asked to go on; `accept` has taken them, or they are not taken."""
    if rank_zero_only.rank == 0:
        shutil.rmtree(run_dir / NEXT, ignore_errors=True)


def _is_child() -> bool:
    """Whether this process was started by one of a lower rank of the same run, which has decided."""
    return (
        DECIDED in os.environ and os.environ.get("LOCAL_RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" not in os.environ
    )


def rewind_logs(loggers: list[Any], run_dir: Path, resumed: Path | None) -> None:
    """Bring the folder and the loggers of a run to where its checkpoint is: the rows that came later come again.

    A run that goes on in another folder takes along what the first one wrote.
    """
    if rank_zero_only.rank != 0:
        return
    images = -1
    if resumed is not None:
        images = checkpoint.load(resumed)["ganforge"]["images_seen"]
        former = resumed.parent.parent
        for file in (former / "metrics.csv", *former.glob("samples/images_*.png"), *resumed.parent.glob("*.ckpt")):
            copy = run_dir / file.relative_to(former)
            if file.is_file() and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
    for logger in loggers:
        if hasattr(logger, "rewind"):
            logger.rewind(images)
