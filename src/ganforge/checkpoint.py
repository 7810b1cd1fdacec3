"""A checkpoint says what it is, and loads without running anything that it contains."""

import io
import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from ganforge import folders
from ganforge.errors import Stopped, UserError, require

# What every card says, and its type; `ganforge.experiment.describe` writes it.
CARD = {"generator": dict, "norm_mode": str, "size": int, "fit_to_size": str, "provides": list, "config": dict}


@dataclass(frozen=True)
class Generator:
    """A trained generator and what its checkpoint says of it (`card`: channels, size, norm_mode, ...)."""

    network: nn.Module
    card: dict[str, Any]
    path: Path


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints so that a file of that name is whole at any time: a full disk or a kill keeps the former."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        contents = io.BytesIO()  # torch's own writer aborts the process where the disk is full
        torch.save(checkpoint, contents)
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with folders.replace(path) as file:
                file.write(contents.getbuffer())
        except OSError as error:
            kept = f"; {path} is still the one before" if path.is_file() else ""
            raise Stopped(
                f"{path}: the checkpoint could not be written ({error.strerror}){kept}; make room, then go on with "
                "resume=true"
            ) from error


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


def check_resumable(path: Path, card: dict[str, Any], force: bool = False) -> None:
    """Raise UserError where going on from `path` with the run that `card` describes would be another experiment.

    Compared are the model, the data (by fingerprint and settings), the evaluation, the seed, the precision, the global
    batch, and the number of epochs where something depends on it; not where and how it runs. force: only networks that
    do not fit are refused.
    """
    theirs_card = load(path)["ganforge"]
    theirs, ours = _meaning(theirs_card), _meaning(card)
    missing = object()
    differing = [
        f"{key}={ours.get(key)} but {theirs.get(key)} in the checkpoint"
        for key in {**theirs, **ours}
        if ours.get(key, missing) != theirs.get(key, missing)
    ]
    networks = [line for line in differing if line.startswith(("model.generator", "model.discriminator"))]
    require(not networks, f"{path}: cannot be resumed with other networks: {'; '.join(networks)}")
    require(
        force or not differing,
        f"{path}: going on with other settings would be another experiment: {'; '.join(differing)}; "
        "give the settings of the run, or resume=force",
    )


def _meaning(card: dict[str, Any]) -> dict[str, Any]:
    """What a run computes, as flat settings."""
    config = card["config"]
    flat = dict(_flat({name: config.get(name) for name in ("model", "data", "evaluation")}))
    where = ("data.root", "data.num_workers", "data.n_classes", "data.cache_bytes", "data.cache_dir")
    run_dir = str(config.get("run_dir"))
    flat = {
        key: value.replace(run_dir, "RUN") if isinstance(value, str) else value
        for key, value in flat.items()
        if key not in where
    }
    flat["seed"], flat["data"] = config.get("seed"), card.get("data_fingerprint")
    trainer = config.get("trainer") if isinstance(config.get("trainer"), dict) else {}
    flat["trainer.precision"] = trainer.get("precision")
    sizes = (flat.pop("data.batch_size", None), trainer.get("devices"), trainer.get("num_nodes"))
    flat["the global batch"] = math.prod(size if isinstance(size, int) else 1 for size in sizes)
    depends = any(key.endswith("decay_from") and value is not None for key, value in flat.items())
    if depends or flat.get("model.input_noise.std"):
        flat["trainer.max_epochs"] = trainer.get("max_epochs")
    return flat


def _flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, dict) and config:
        for key, value in config.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, config
