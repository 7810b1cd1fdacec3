"""`init_from=`: a training begins with the weights of another one, onto other data or settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import to_absolute_path
from omegaconf import DictConfig
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from ganforge.errors import UserError, require
from ganforge.files.finite import LARGEST_WEIGHT, listed, not_finite
from ganforge.runs import checkpoint


def find(config: DictConfig, resumed: Path | None) -> Path | None:
    """The checkpoint that `init_from` names, a relative path seen from where the program was started.

    None without one, and for a training that goes on from `resumed`, whose weights are in there. Raises UserError where
    it does not exist, and together with `ckpt_path`.
    """
    if config.init_from is None:
        return None
    require(
        config.ckpt_path is None,
        f"init_from={config.init_from} begins a training with weights alone, and ckpt_path={config.ckpt_path} goes on "
        "with one; give one of the two",
    )
    if resumed is not None:
        return None
    try:
        return checkpoint.find(to_absolute_path(str(config.init_from)))
    except UserError as error:
        raise UserError(f"init_from={config.init_from}: {error}") from error


def load_weights(
    path: Path, state: Mapping[str, Tensor], networks: Sequence[str], averaged: Sequence[str]
) -> dict[str, Any]:
    """Copy into `state`, a system's by name, what the checkpoint `path` has for its networks, and say what it lacks.

    A tensor is taken where name and shape are the same; the others stay as they were initialised, and are named in one
    printed line. Each network takes its own weights and a moving average, NAME_ema, those of the average, as
    StyleGAN2-ADA (Karras et al. 2020) and FreezeD (Mo et al. 2020) do: generator and discriminator have learnt from
    each other as they are, while the average drew images that this discriminator never judged. Where the checkpoint
    has no average, ours begins as the network.

    Returns what a card says of it. Raises UserError for a file that is no checkpoint of ours, for weights that are not
    finite, and where nothing matches.
    """
    contents = checkpoint.load(path)
    theirs = {name: value for name, value in contents["state_dict"].items() if isinstance(value, Tensor)}
    checkpoint.require_finite(not_finite(theirs, LARGEST_WEIGHT), path, "give another checkpoint as init_from")
    has_average = {name for name in averaged if any(key.startswith(f"{name}_ema.") for key in theirs)}
    sources = {name: name for name in networks}
    sources |= {f"{name}_ema": f"{name}_ema" if name in has_average else name for name in averaged}
    taken, left = [], []
    for name, own in state.items():
        network, _, tensor = name.partition(".")
        if network not in sources:
            continue
        known = theirs.get(f"{sources[network]}.{tensor}")
        matches = known is not None and known.shape == own.shape and not known.is_complex()
        if matches:
            own.copy_(known)
        if own.is_floating_point() and network in networks:  # counters say nothing, and averages the same once more
            (taken if matches else left).append(name)
    require(
        bool(taken),
        f"init_from={path}: none of its tensors has the name and shape of one of {', '.join(networks)}, such as "
        f"{listed(left)}; give a checkpoint of networks of the same kind",
    )
    said = f"; {len(left)} did not match by name or shape and begin anew: {listed(left)}" if left else ""
    rank_zero_only(print)(
        f"init_from: {len(taken)} of {len(taken) + len(left)} tensors of {', '.join(networks)} begin as in {path}{said}"
    )
    return {"path": str(path), "images_seen": contents["ganforge"].get("images_seen"), "not_matched": len(left)}
