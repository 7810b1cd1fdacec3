"""The trained generator in a checkpoint, built from what the checkpoint says of it."""

import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ganforge import tensor_files
from ganforge.checkpoint import LARGEST, find, load
from ganforge.errors import UserError, require

_MOST_SETTING = 2**16  # of a network: channels, layers, numbers of a latent
_LAYERS_HELD = 3  # outputs of a layer that are in memory at once, at least


@dataclass(frozen=True)
class Generator:
    """A trained generator and what its checkpoint says of it (`card`: channels, size, norm_mode, ...)."""

    network: nn.Module
    card: dict[str, Any]
    path: Path

    def checked(self, pictures: Tensor) -> Tensor:
        """The pictures that it drew; raises UserError where they hold a NaN or an infinity."""
        require(
            bool(pictures.isfinite().all()),
            f"{self.path}: it draws a picture that is not finite, though its weights are: they are too large; use an "
            "earlier checkpoint of its run",
        )
        return pictures


def is_plain(value: Any) -> bool:
    """Whether a value from a config is numbers and words, in lists and dicts; nothing to be built or looked up."""
    if isinstance(value, dict):
        return "_target_" not in value and all(isinstance(key, str) and is_plain(v) for key, v in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and "${" not in value)


def build_generator(config: dict[str, Any], path: Path, weights: dict[str, Any]) -> nn.Module:
    """The network that a checkpoint's config names, with its weights: one of GENERATORS, of plain arguments.

    Any other `_target_` raises UserError: a checkpoint from elsewhere is data, and must not choose what is run. So does
    a network that is not of these weights, before it takes memory.
    """
    from ganforge.networks import GENERATORS

    config = dict(config)
    target = config.pop("_target_", None)
    require(
        isinstance(target, str) and target in GENERATORS,
        f"{path}: names {reprlib.repr(target)} as its generator; only {', '.join(GENERATORS)} are built from a "
        "checkpoint",
    )
    strange = [name for name, value in config.items() if not is_plain(value)]
    require(not strange, f"{path}: its generator has values that are not plain numbers or words: {', '.join(strange)}")
    most = {"size": LARGEST}
    absurd = [
        f"{name}={reprlib.repr(value)}"
        for name, value in config.items()
        for number in (value if isinstance(value, list) else [value])
        if isinstance(number, int | float) and not abs(number) <= most.get(name, _MOST_SETTING)  # NaN neither
    ]
    require(not absurd, f"{path}: its generator is larger than any that can be used ({', '.join(absurd)})")
    return tensor_files.fitted(lambda: GENERATORS[target](**config), weights, str(path))


def load_generator(path: str | Path) -> Generator:
    """The generator that a user of the run gets (the moving average where there is one), in evaluation mode."""
    path = find(path)
    contents = load(path)
    card = contents["ganforge"]
    state = contents["state_dict"]
    names = [name for name in state if isinstance(name, str)]
    prefix = "generator_ema." if any(name.startswith("generator_ema.") for name in names) else "generator."
    weights = {name.removeprefix(prefix): state[name] for name in names if name.startswith(prefix)}
    network = build_generator(card["generator"], path, weights)
    _check_channels(card, path)
    return Generator(network=network, card=card, path=path)


@torch.no_grad()
def check_size(generator: Generator, *shapes: tuple[int, ...], said: str) -> None:
    """Raise UserError where inputs of these shapes are too small for a generator, or need more memory than there is.

    Computed without memory. The last of two shapes is that of labels, (B,).
    """
    network, largest = generator.network, 0

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal largest
        largest = max(largest, output.numel() * output.element_size())

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    inputs = [torch.empty(s, dtype=torch.int64 if len(s) == 1 else torch.float32, device="meta") for s in shapes]
    try:
        functional_call(
            network, {name: value.to("meta") for name, value in network.state_dict().items()}, tuple(inputs)
        )
    except (RuntimeError, ValueError, IndexError) as error:
        raise UserError(
            f"{generator.path}: its network cannot take {said} ({tensor_files.first_line(error)}); give larger pictures"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
    else:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    require(
        _LAYERS_HELD * largest <= memory,
        f"{generator.path}: {said} would need more than {_LAYERS_HELD * largest / 1e9:,.0f} GB, and there are "
        f"{memory / 1e9:,.0f}; give smaller pictures, or use a machine with more memory",
    )


def _check_channels(card: dict[str, Any], path: Path) -> None:
    """Raise UserError where a card says other channels and classes than its generator has."""
    said, built = {**card}, card["generator"]
    said["channels"] = said.get("target_channels") if "in_channels" in built else said.get("channels")
    pairs = [("out_channels", "channels"), *([("in_channels", "source_channels")] if "in_channels" in built else [])]
    wrong = [
        f"{name}={said.get(name)} but {own}={built.get(own)}" for own, name in pairs if said.get(name) != built[own]
    ]
    classes = built.get("n_classes")
    if classes and len(card.get("class_names", [])) != classes:
        wrong.append(f"{len(card.get('class_names', []))} class names but n_classes={classes}")
    require(not wrong, f"{path}: its card contradicts its generator ({'; '.join(wrong)}); it was changed")
