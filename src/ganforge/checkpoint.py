"""A checkpoint says what it is, and loads without running anything that it contains."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganforge.errors import UserError, require

# What every card says, and its type; `ganforge.experiment.describe` writes it.
CARD = {"generator": dict, "norm_mode": str, "size": int, "fit_to_size": str, "provides": list, "config": dict}


@dataclass(frozen=True)
class Generator:
    """A trained generator and what its checkpoint says of it (`card`: channels, size, norm_mode, ...)."""

    network: nn.Module
    card: dict[str, Any]
    path: Path


def find(path: str | Path, prefer: str = "best") -> Path:
    """A checkpoint file: `path` itself, or of a run folder its best.ckpt or last.ckpt, first the preferred one."""
    path = Path(path)
    if not path.is_dir():
        require(path.is_file(), f"{path}: no such file or folder; give a checkpoint (.ckpt) or a run folder")
        return path
    names = sorted(("best", "last"), key=lambda name: name != prefer)
    found = [file for name in names if (file := path / "checkpoints" / f"{name}.ckpt").is_file()]
    require(
        bool(found), f"{path}: no checkpoint in {path / 'checkpoints'}; give a run folder of ganforge or a .ckpt file"
    )
    return found[0]


def load(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint of ours: tensors and plain values only.

    Raises UserError for a file that is truncated, is no checkpoint, holds anything that would run code, or was not
    written by ganforge.
    """
    path = find(path)
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds more than tensors and plain values, or is no checkpoint at all; refused, since loading it "
            "could run code"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as a checkpoint, it may be truncated ({first})") from error
    require(
        isinstance(contents, dict) and isinstance(contents.get("ganforge"), dict) and "state_dict" in contents,
        f"{path}: is a file of another program; ganforge reads the checkpoints that it wrote",
    )
    missing = [name for name, kind in CARD.items() if not isinstance(contents["ganforge"].get(name), kind)]
    require(not missing, f"{path}: does not say its {', '.join(missing)}; it was changed, or is of another version")
    return contents


def is_plain(value: Any) -> bool:
    """Whether a value from a config is numbers and words, in lists and dicts; nothing to be built or looked up."""
    if isinstance(value, dict):
        return "_target_" not in value and all(isinstance(key, str) and is_plain(v) for key, v in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and "${" not in value)


def build_generator(config: dict[str, Any], path: Path) -> nn.Module:
    """The network that a checkpoint's config names: one of GENERATORS, with plain values as arguments.

    Any other `_target_` raises UserError: a checkpoint from elsewhere is data, and must not choose what is run.
    """
    from ganforge.networks import GENERATORS

    config = dict(config)
    target = config.pop("_target_", None)
    require(
        target in GENERATORS,
        f"{path}: names {target!r} as its generator; only {', '.join(GENERATORS)} are built from a checkpoint",
    )
    strange = [name for name, value in config.items() if not is_plain(value)]
    require(not strange, f"{path}: its generator has values that are not plain numbers or words: {', '.join(strange)}")
    try:
        return GENERATORS[target](**config)
    except TypeError as error:
        raise UserError(f"{path}: its generator does not fit this version of ganforge ({error})") from error


def load_generator(path: str | Path) -> Generator:
    """The generator that a user of the run gets (the moving average where there is one), in evaluation mode."""
    path = find(path)
    contents = load(path)
    card = contents["ganforge"]
    network = build_generator(card["generator"], path)
    state = contents["state_dict"]
    prefix = "generator_ema." if any(name.startswith("generator_ema.") for name in state) else "generator."
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{path}: its weights do not fit the generator it names ({str(error).splitlines()[0]})"
        ) from error
    return Generator(network=network.eval(), card=card, path=path)


def check_resumable(path: Path, card: dict[str, Any]) -> None:
    """Raise UserError where the checkpoint at `path` is not one of the same networks as `card` describes."""
    theirs, ours = load(path)["ganforge"]["config"].get("model"), card["config"]["model"]
    for network in ("generator", "discriminator"):
        known = isinstance(theirs, dict) and isinstance(theirs.get(network), dict)
        require(known, f"{path}: does not say which {network} it was trained with, so it cannot be resumed")
        differing = [
            f"model.{network}.{name}={ours[network].get(name)} but {theirs[network].get(name)} in the checkpoint"
            for name in {**theirs[network], **ours[network]}
            if theirs[network].get(name) != ours[network].get(name)
        ]
        require(not differing, f"{path}: cannot be resumed with another {network}: {'; '.join(differing)}")
