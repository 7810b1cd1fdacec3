"""What a checkpoint says of itself, and of what computed it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

import ganforge
from ganforge import CONF
from ganforge.data.module import DataModule
from ganforge.runs.checkpoint import LAYOUT
from ganforge.runs.generators import outputs_of
from ganforge.words import is_installed_command

MOST_DIFFERENCE = 1_000_000  # characters of uncommitted changes that a checkpoint holds


def describe(config: DictConfig, data: DataModule) -> dict[str, Any]:
    """What a checkpoint says of itself: enough to rebuild the generator and use it, and what it came from."""
    resolved = OmegaConf.to_container(config, resolve=True)
    return {
        **outputs_of(get_class(config.model._target_), resolved["model"]),
        "norm_mode": resolved["model"].get("norm_mode", "running"),
        "source_channels": resolved["data"].get("source_channels"),
        "target_channels": resolved["data"].get("target_channels"),
        "sides": None if data.sides is None else {side: own.to_card() for side, own in data.sides.items()},
        "colour_space": data.colour_space,
        "channels": resolved["data"].get("channels"),
        "class_names": list(data.class_names),
        "domains": None if data.domains is None else data.domains.to_card(),
        "size": data.size,
        "fit_to_size": data.fit_to_size,
        "source_interpolation": data.source_interpolation,
        "provides": sorted(data.provides),
        "drawing": data.drawing(),
        "config": resolved,
        "layout": LAYOUT,
        "data_fingerprint": data.fingerprint(),
        "versions": versions(),
        "git_difference": _git("diff", "HEAD")[:MOST_DIFFERENCE],
    }


def versions() -> dict[str, str]:
    """Versions of what computed the result, and the git commit of the working folder, where there is one."""
    found = {"ganforge": ganforge.__version__, "torch": str(torch.__version__), "pytorch_lightning": pl.__version__}
    found["python"] = sys.version.split()[0]
    found["git_commit"] = _git("describe", "--always", "--dirty", "--abbrev=12").strip() or "unknown"
    return found


def project() -> Path:
    """The folder whose git state belongs to a run: where `ganforge train` was typed, or the clone of ganforge."""
    return Path.cwd() if is_installed_command() else CONF.resolve().parent


def _git(*arguments: str) -> str:
    """What git says of the project; nothing where it is no checkout."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(project()), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return answer.stdout if answer.returncode == 0 else ""
