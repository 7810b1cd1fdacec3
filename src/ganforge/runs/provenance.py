"""What a checkpoint says of itself, and of what computed it."""

import sys
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

import ganforge
from ganforge.data.module import DataModule
from ganforge.runs import git
from ganforge.runs.checkpoint import LAYOUT
from ganforge.runs.generators import outputs_of

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
        "git_difference": git.answer("diff", "HEAD")[:MOST_DIFFERENCE],
    }


def versions() -> dict[str, str]:
    """Versions of what computed the result, and the git commit of the working folder, where there is one."""
    found = {"ganforge": ganforge.__version__, "torch": str(torch.__version__), "pytorch_lightning": pl.__version__}
    found["python"] = sys.version.split()[0]
    found["git_commit"] = git.commit()
    return found
