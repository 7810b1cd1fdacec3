"""The trained generator in a checkpoint, built from what the checkpoint says of it."""

import os
import reprlib
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ganforge import networks
from ganforge.errors import UserError, require
from ganforge.files import tensor_files
from ganforge.files.folders import plain_name
from ganforge.game.domains import Domains
from ganforge.game.players import Output
from ganforge.networks.stargan import Asked
from ganforge.runs.checkpoint import LARGEST, find, load
from ganforge.runs.classes import NOT_THERE, classes, named
from ganforge.runs.torch_engine import TorchEngine

_MOST_SETTING = 2**16  # of a network: channels, layers, numbers of a latent
_LAYERS_HELD = 3  # outputs of a layer that are in memory at once, at least


@dataclass(frozen=True)
class Generator:
    """The network of an output of a trained model, and what its checkpoint says (`card`: channels, size, ...).

    reader: the network that says which labels it sees in a picture, where labels are told.
    """

    network: nn.Module
    card: dict[str, Any]
    path: Path
    output: Output
    reader: nn.Module | None = None

    @property
    def domains(self) -> Domains | None:
        """What it can translate to, where it is told labels."""
        return Domains.from_card(self.card["domains"]) if self.output.told == "labels" else None

    @property
    def channels(self) -> int:
        """Of the pictures that it is given."""
        return self.card["networks"][self.output.network]["in_channels"]

    @property
    def told_label(self) -> bool:
        """Whether it is told a class."""
        return self.output.told == "label"

    def engine(self, norm_mode: str, tta: bool) -> TorchEngine:
        return TorchEngine(self.network, self.checked, norm_mode, tta)

    def check_size(self, *shapes: tuple[int, ...], said: str) -> None:
        check_size(self, *shapes, said=said)

    def asked(self, labels: np.ndarray) -> "Generator":
        """One of pictures alone, told labels (D,); where they are NaN, those that the reader sees in a picture."""
        unknown = bool(np.isnan(labels).any())
        require(
            not unknown or self.reader is not None,
            f"{self.path}: give all of {', '.join(self.domains.names)}; it cannot read them in a picture",
        )
        told = torch.from_numpy(labels)
        network = Asked(self.network, told, self.reader if unknown else None, self.card["size"])
        return replace(self, network=network)

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


def known_networks() -> dict[str, type]:
    """Path -> class, of the networks in `ganforge.networks` and in packages that the user named; not their layers."""

    def fits(kind: type) -> bool:
        return issubclass(kind, nn.Module) and not {"in_channels", "out_channels"}.isdisjoint(
            signature(kind).parameters
        )

    return classes(networks, fits)


def build_network(config: dict[str, Any], said: str) -> nn.Module:
    """The network that a checkpoint's config names: one of `known_networks`, of plain arguments and such networks.

    Any other `_target_` raises UserError: a checkpoint from elsewhere is data, and must not choose what is run.
    """
    config = dict(config)
    target = config.pop("_target_", None)
    known = known_networks()
    near = "".join(f", did you mean {name}?" for name in get_close_matches(str(target), known, n=1))
    require(
        isinstance(target, str) and target in known,
        f"{said} names {reprlib.repr(target)}{near}; only those of ganforge.networks are built from a "
        f"checkpoint: {named(known)}{NOT_THERE}",
    )
    built = {}
    for name, value in config.items():
        if isinstance(value, dict) and "_target_" in value:
            built[name] = build_network(value, f"{said}, {name},")
            continue
        require(is_plain(value), f"{said} has values that are not plain numbers or words: {name}")
        built[name] = value
    most = {"size": LARGEST}
    absurd = [
        f"{name}={reprlib.repr(value)}"
        for name, value in config.items()
        for number in (value if isinstance(value, list) else [value])
        if isinstance(number, int | float) and not abs(number) <= most.get(name, _MOST_SETTING)  # NaN neither
    ]
    require(not absurd, f"{said} is larger than any that can be used ({', '.join(absurd)})")
    return known[target](**built)


def load_generator(path: str | Path, output: str | None = None) -> Generator:
    """What a user of the run gets (of a network with a moving average that average), in evaluation mode.

    output: its name where the model has several, such as AtoB; None for the first. Raises UserError for a file that is
    no checkpoint of ours, for a network that is not of its weights, before it takes memory, and for an unknown output.
    """
    path = find(path)
    contents = load(path)
    card, state = contents["ganforge"], contents["state_dict"]
    outputs = card["outputs"]
    name = next(iter(outputs)) if output is None else output
    require(name in outputs, f"{path}: has no output {name}; choose one of {', '.join(map(plain_name, outputs))}")
    averaged = outputs[name]["averaged"]
    chosen = Output(**{key: value for key, value in outputs[name].items() if key != "averaged"})
    networks = {}
    for part, end in ((chosen.network, "_ema" if averaged else ""), (chosen.reader, "")):
        if part is None:
            continue
        prefix = f"{part}{end}."
        config = card["networks"].get(part)
        require(config is not None, f"{path}: does not say what its {reprlib.repr(part)} is; it was changed")
        names = [name for name in state if isinstance(name, str) and name.startswith(prefix)]
        weights = {name.removeprefix(prefix): state[name] for name in names}
        said = f"{path}: its {plain_name(part)}"
        build = partial(build_network, config, said)
        networks[part] = tensor_files.fitted(build, weights, str(path))
    _check_channels(card, card["networks"][chosen.network], chosen, path)
    reader = networks.get(chosen.reader)
    return Generator(network=networks[chosen.network], card=card, path=path, output=chosen, reader=reader)


def outputs_of(system: type, model: dict[str, Any]) -> dict[str, Any]:
    """What a card says of the outputs of a system with this config: `outputs` and the configs of their `networks`.

    Raises UserError for a network that a checkpoint could not name: without it no one could load what is trained.
    """
    averaged = model.get("ema_half_life") is not None
    said = {name: {**asdict(output), "averaged": averaged} for name, output in system.outputs.items()}
    outputs = system.outputs.values()
    used = {name: model[name] for output in outputs for name in (output.network, output.reader) if name is not None}
    for name, config in used.items():
        with torch.device("meta"), suppress(TypeError):  # of which Hydra says more when it builds the same
            build_network(config, f"model.{name}")
    return {"outputs": said, "networks": used}


@torch.no_grad()
def check_size(generator: Generator, *shapes: tuple[int, ...], said: str) -> None:
    """Raise UserError where inputs of these shapes are too small for a generator, or need more memory than there is.

    Computed without memory. The last of two shapes is that of labels, (B,) or (B, D).
    """
    network, largest = generator.network, 0
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
    else:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if _is_plainly_small(generator, shapes[0], memory):
        return

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
    require(
        _LAYERS_HELD * largest <= memory,
        f"{generator.path}: {said} would need more than {_LAYERS_HELD * largest / 1e9:,.0f} GB, and there are "
        f"{memory / 1e9:,.0f}; give smaller pictures, or use a machine with more memory",
    )


def _is_plainly_small(generator: Generator, shape: tuple[int, ...], memory: int) -> bool:
    """Whether a bound on the outputs of layers says that there is enough: to compute it torch loads its compiler, for a
    second. Of a network at the size that it was trained with: of others it is to be seen whether it takes them.
    """
    config = generator.card.get("networks", {}).get(generator.output.network, {})
    size, settings = generator.card.get("size"), {key: value for key, value in config.items() if key != "_target_"}
    if not settings or not is_plain(settings) or any(side != size for side in shape[2:]):
        return False
    side = 2 * max(size, settings.get("size") or 0)  # with what a layer adds around
    channels = max(length for value in generator.network.parameters() for length in value.shape[:2])
    return _LAYERS_HELD * 4 * shape[0] * channels * side**2 <= memory


def _check_channels(card: dict[str, Any], config: dict[str, Any], output: Output, path: Path) -> None:
    """Raise UserError where a card says other channels and classes than its generator has."""
    ends = {"in_channels": "source_channels", "out_channels": "target_channels"}
    if config.get("in_channels") != card.get("source_channels") and len(card["outputs"]) > 1:
        ends = {"in_channels": "target_channels", "out_channels": "source_channels"}  # the way back
    pairs = ends if output.fed == "picture" and output.told != "labels" else {"out_channels": "channels"}
    wrong = [
        f"{name}={card.get(name)} but {own}={config.get(own)}"
        for own, name in pairs.items()
        if card.get(name) != config.get(own)
    ]
    sides = card.get("sides") if output.fed == "picture" else None
    wrong += [
        f"{name}={card.get(name)} but {len(own['bands'])} bands"
        for side, own in (sides or {}).items()
        if len(own["bands"]) != card.get(name := f"{side}_channels")
    ]
    if output.told == "labels":
        count = len((card.get("domains") or {"names": ()})["names"])
        told = {name: card["networks"][name].get("n_domains") for name in (output.network, output.reader) if name}
        wrong += [f"{count} domains but {name}.n_domains={own}" for name, own in told.items() if own != count]
        read = {name: card["networks"][name].get("in_channels") for name in told}
        wrong += [
            f"channels={card.get('channels')} but {n}.in_channels={own}"
            for n, own in read.items()
            if own != card.get("channels")
        ]
    classes = config.get("n_classes") if output.told == "label" else None
    if classes is not None and len(card.get("class_names", [])) != classes:
        wrong.append(f"{len(card.get('class_names', []))} class names but n_classes={classes}")
    require(not wrong, f"{path}: its card contradicts its generator ({'; '.join(wrong)}); it was changed")
