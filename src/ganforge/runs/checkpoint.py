"""A checkpoint says what it is, and loads without running anything that it contains.

PyTorch is imported where weights are read: what a checkpoint says of itself is known without it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge.errors import require
from ganforge.files import archives
from ganforge.runs import hub_folder
from ganforge.runs.card import CARD, COUNTERS, LARGEST, check, fits, is_count, is_word_or_number, sides_in

__all__ = ["CARD", "COUNTERS", "LARGEST", "LAYOUT", "fits", "is_count", "sides_in"]  # and what is defined here

LAYOUT = 2  # of what a training goes on from; 1: of one generator and one discriminator
_EXPORTS = (".onnx", ".pt2")


def find(path: str | Path, prefer: str = "best") -> Path:
    """A checkpoint file: `path` itself, or its best.ckpt or last.ckpt, first the preferred one.

    path: a file, a run's folder, or the folder of its checkpoints; of a folder of `ganforge export` its weights.
    """
    path = Path(path)
    if hub_folder.is_hub_folder(path):
        return path / hub_folder.WEIGHTS
    require(
        path.suffix.lower() not in _EXPORTS,
        f"{path}: is a graph for other runtimes; ganforge predict opens .onnx files, others need a checkpoint",
    )
    if not path.is_dir():
        require(path.is_file(), f"{path}: no such file or folder; give a checkpoint (.ckpt) or a run folder")
        return path
    names = sorted(("best", "last"), key=lambda name: name != prefer)
    folders_of = (path / "checkpoints", path)
    found = [file for folder in folders_of for name in names if (file := folder / f"{name}.ckpt").is_file()]
    require(
        bool(found), f"{path}: no checkpoint in {path / 'checkpoints'}; give a run folder of ganforge or a .ckpt file"
    )
    return found[0]


def load(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint of ours: tensors and plain values only.

    Raises UserError for a file that is truncated, is no checkpoint, holds anything that would run code, or was not
    written by ganforge.
    """
    from ganforge.files import tensor_files

    path = find(path)
    is_hub = path.name == hub_folder.WEIGHTS
    return _checked(hub_folder.read(path) if is_hub else tensor_files.read(path, str(path)), path)


def card_of(path: str | Path) -> dict[str, Any]:
    """What a checkpoint says of itself, as `load` gives it; its weights are not looked at; without PyTorch."""
    path = find(path)
    is_hub = path.name == hub_folder.WEIGHTS
    contents = {"ganforge": hub_folder.card(path), "state_dict": {}} if is_hub else (
        archives.without_tensors(path, str(path))
    )  # fmt: skip
    return _checked(contents, path)["ganforge"]


def _checked(contents: Any, path: Path) -> dict[str, Any]:
    require(
        isinstance(contents, dict) and isinstance(contents.get("ganforge"), dict) and "state_dict" in contents,
        f"{path}: is a file of another program; ganforge reads the checkpoints that it wrote",
    )
    _upgrade(contents["ganforge"], contents["state_dict"])
    require(
        isinstance(contents["state_dict"], dict), f"{path}: says of itself what ganforge does not write; it was changed"
    )
    check(contents["ganforge"], path)
    return contents


def _upgrade(card: dict[str, Any], state: Any) -> None:
    """Let a card of layout 1, which had one generator, say what one of layout 2 says."""
    if "networks" in card or not isinstance(card.get("generator"), dict):
        return
    generator = card["generator"]
    averaged = isinstance(state, dict) and any(
        isinstance(name, str) and name.startswith("generator_ema.") for name in state
    )
    translates = "in_channels" in generator
    output = {
        "network": "generator",
        "fed": "picture" if translates else "latent",
        "told": "label" if generator.get("n_classes") else None,
        "averaged": averaged,
    }
    card["networks"] = {"generator": generator}
    card["outputs"] = {"translate" if translates else "sample": output}


def is_whole(value: Any) -> bool:
    return type(value) in (int, bool) and abs(value) < 2**63


def is_tensor_or_plain(value: Any) -> bool:
    from torch import Tensor

    return isinstance(value, Tensor) or is_word_or_number(value)


def require_finite(bad: list[str], path: Path, remedy: str) -> None:
    """Raise UserError, naming the first of these weights and what to do, where there are any."""
    from ganforge.files.finite import listed

    require(
        not bad,
        f"{path}: its weights are not finite, or too large to compute with ({listed(bad)}): the training had broken "
        f"down; {remedy}",
    )


def is_resumable(contents: Mapping[str, Any]) -> bool:
    """Whether a checkpoint holds what a training goes on from beside weights: optimizers, generators, callbacks."""
    return "optimizer_states" in contents


def precision_of(path: Path) -> str | None:
    """The precision at which the training of a checkpoint computed; None where it does not say one."""
    trainer = load(path)["ganforge"]["config"].get("trainer")
    said = trainer.get("precision") if isinstance(trainer, dict) else None
    return said if said in ("32-true", "bf16-mixed", "16-mixed") else None


def origin_of(path: Path) -> dict[str, Any]:
    """What the card of a training that goes on from `path` says of where its weights came from at first."""
    card = load(path)["ganforge"]
    return {name: card[name] for name in ("initial_weights",) if name in card}
