"""Whether a training can go on from a checkpoint: that it is the same experiment, and that its state is one."""

import math
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ganforge.errors import UserError, require
from ganforge.files import tensor_files
from ganforge.files.finite import spoiled
from ganforge.runs.checkpoint import (
    COUNTERS,
    LARGEST,
    LAYOUT,
    fits,
    is_count,
    is_resumable,
    is_tensor_or_plain,
    is_whole,
    load,
    require_finite,
)
from ganforge.runs.folder import flatten


def check_resumable(path: Path, card: dict[str, Any], force: bool = False) -> None:
    """Raise UserError where going on from `path` with the run that `card` describes would be another experiment.

    Compared are the model, the data (by fingerprint and settings), the evaluation, the seed, the precision, the global
    batch, and the number of epochs where something depends on it; not where and how it runs. force: only networks that
    do not fit are refused.
    """
    contents = load(path)
    last = path.with_name("last.ckpt")
    require(
        is_resumable(contents),
        f"{path}: holds weights alone, as the best checkpoint of a run does, and no optimizers to go on with; go on "
        f"from the newest one, {last}, with ckpt_path={last}, or begin another training with these weights, with "
        f"init_from={path}",
    )
    _check_state(contents, path)
    require_finite(spoiled(contents), path, "go on from another checkpoint of its run, with ckpt_path=FILE")
    theirs_card = contents["ganforge"]
    theirs, ours = _meaning(theirs_card), _meaning(card)
    differing = [
        f"{key}={_shown(ours.get(key))} but {_shown(theirs.get(key))} in the checkpoint"
        for key in {**theirs, **ours}
        if ours.get(key) != theirs.get(key)  # a setting that is not there is one that is null
    ]
    networks = [line for line in differing if line.startswith(_networks(card))]
    require(not networks, f"{path}: cannot be resumed with other networks: {'; '.join(networks)}")
    require(
        force or not differing,
        f"{path}: going on with other settings would be another experiment: {'; '.join(differing)}; "
        "give the settings of the run, or resume=force",
    )


def _networks(card: dict[str, Any]) -> tuple[str, ...]:
    """The settings of the networks of the model that a card describes."""
    model = card["config"]["model"].items()
    ours = [name for name, part in model if isinstance(part, dict) and "networks." in str(part.get("_target_"))]
    return tuple(f"model.{name}" for name in dict.fromkeys([*ours, "generator", "discriminator"]))


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 and text.isprintable() else reprlib.repr(text)


def _check_state(contents: dict[str, Any], path: Path) -> None:
    """Raise UserError where what a training goes on from is of other types than what a training leaves."""
    card, ranks = contents["ganforge"], contents.get("ganforge_state")
    versions = card.get("versions") if isinstance(card.get("versions"), dict) else {}
    require(
        card.get("layout") == LAYOUT,
        f"{path}: was written by ganforge {_shown(versions.get('ganforge'))} ({_shown(versions.get('git_commit'))}), "
        "whose checkpoints can be used, but no training of this version goes on from them",
    )
    optimizers = contents.get("optimizer_states")
    means = {
        "state_dict": all(map(is_tensor_or_plain, contents["state_dict"].values())),
        "ganforge": all(is_count(card.get(name)) for name in COUNTERS) and _are_counts(card.get("updates")),
        "epoch": is_count(contents.get("epoch")) and is_count(contents.get("global_step")),
        "loops": isinstance(contents.get("loops"), dict) and fits(contents["loops"], is_whole, lists=False),
        "callbacks": fits(contents.get("callbacks"), is_tensor_or_plain),
        "optimizer_states": isinstance(optimizers, list) and fits(optimizers, is_tensor_or_plain),
        "ganforge_state": isinstance(ranks, list) and len(ranks) > 0 and all(map(_is_state, ranks)),
    }
    wrong = [name for name, right in means.items() if not right]
    require(not wrong, f"{path}: no training can go on from its {', '.join(wrong)}; it was changed")


def _are_counts(counts: Any) -> bool:
    return isinstance(counts, dict) and len(counts) > 0 and all(map(is_count, counts.values()))


def _is_state(own: Any) -> bool:
    """Whether this is what `Adversarial` saves of a process: generators, the numbers since the last row and the pools
    by name.
    """
    if not (isinstance(own, dict) and isinstance(own.get("randomness"), dict) and isinstance(own.get("rows"), dict)):
        return False
    pools = own.get("pools", {})
    columns = all(isinstance(name, str) and _is_column(column) for name, column in own["rows"].items())
    return columns and isinstance(pools, dict) and all(map(_is_pool, pools.values()))


def _is_pool(pool: Any) -> bool:
    """Whether this is what an `ImagePool` saves: pictures, if there are any, of sides that there can be."""
    if not (isinstance(pool, dict) and is_count(pool.get("queries")) and isinstance(pool.get("pictures"), Tensor)):
        return False
    pictures = pool["pictures"]
    sides = pictures.shape[2:]
    return pictures.is_floating_point() and (
        pictures.numel() == 0 or (pictures.ndim == 4 and all(side <= LARGEST for side in sides))
    )


def _is_column(column: Any) -> bool:
    if not (isinstance(column, dict) and isinstance(column.get("is_term"), bool)):
        return False
    values, left_out, moments = (column.get(name) for name in ("values", "left_out", "moments"))
    return (
        isinstance(values, Tensor)
        and values.ndim == 1
        and values.is_floating_point()
        and isinstance(left_out, list)
        and isinstance(moments, list)
        and len(values) == len(left_out) == len(moments)
        and all(bad is None or (isinstance(bad, Tensor) and bad.ndim == 0) for bad in left_out)
        and all(map(is_count, moments))
    )


@contextmanager
def restoring(path: Path | None, updates: Callable[[], dict[str, int]]) -> Iterator[None]:
    """Around a training that goes on from `path`: what ends it before each player has moved is the checkpoint's fault.

    updates: of each player so far, counting those before. Raises UserError, naming the file.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if path is None or min(updates().values()) > min(load(path)["ganforge"]["updates"].values()):
            raise
        raise UserError(
            f"{path}: the training cannot go on from it ({type(error).__name__}: {tensor_files.first_line(error)}); it "
            "was changed, or is of another version"
        ) from error


def _meaning(card: dict[str, Any]) -> dict[str, Any]:
    """What a run computes, as flat settings."""
    config = card["config"]
    flat = flatten({name: config.get(name) for name in ("model", "data", "evaluation")})
    where = ("data.root", "data.num_workers", "data.n_classes", "data.cache_bytes", "data.cache_dir")
    where = (*where, "model.discriminator.weights")  # of which the checkpoint has a checksum
    run_dir = str(config.get("run_dir"))
    flat = {
        key: value.replace(run_dir, "RUN") if isinstance(value, str) else value
        for key, value in flat.items()
        if key not in where
    }
    flat["seed"], flat["data"] = config.get("seed"), card.get("data_fingerprint")
    trainer = config.get("trainer") if isinstance(config.get("trainer"), dict) else {}
    flat["trainer.precision"], flat["trainer.compile"] = trainer.get("precision"), bool(trainer.get("compile"))
    sizes = (flat.pop("data.batch_size", None), trainer.get("devices"), trainer.get("num_nodes"))
    flat["the global batch"] = math.prod(size if isinstance(size, int) else 1 for size in sizes)
    depends = any(key.endswith(("decay_from", "jitter_until")) and value is not None for key, value in flat.items())
    if depends or flat.get("model.input_noise.std"):
        flat["trainer.max_epochs"] = trainer.get("max_epochs")
    return flat
