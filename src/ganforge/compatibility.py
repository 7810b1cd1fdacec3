"""Whether what was chosen fits together: data to a model, the parts of a model to it and its data."""

import inspect
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from torch import Tensor, nn
from torch.func import functional_call

from ganforge import CONF
from ganforge.data.module import DataModule
from ganforge.errors import UserError, require
from ganforge.files.untrusted import first_line
from ganforge.systems import CUT, Adversarial, CycleGAN, LatentGAN, Pix2Pix
from ganforge.words import choices

# What a user can do where data lack something that they could provide.
REMEDIES = {
    "label": "labels come from one folder a class, and data.n_labels must be null",
    "some_labels": "labels come from one folder a class",
}


def check_match(config: DictConfig, data: DataModule) -> None:
    """Raise UserError where the data does not provide what the model needs, with the choices of data that do."""
    needs = hydra.utils.get_class(config.model._target_).needs
    if needs <= data.provides:
        return
    chosen = HydraConfig.get().runtime.choices
    fitting = [name for name in _choices("data") if needs <= _provides(name)]
    remedies = "".join(f"{REMEDIES[name]}; " for name in sorted(needs - data.provides) if name in REMEDIES)
    raise UserError(
        f"model={chosen['model']} needs {', '.join(sorted(needs))} data, but data={chosen['data']} provides "
        f"{', '.join(sorted(data.provides))}; {remedies}use data={' or data='.join(fitting)}"
    )


def check_parts(config: DictConfig) -> None:
    """Raise UserError where a part of the model (generator, discriminator, ...) needs a setting that model and data do
    not have, or has none that the model gives it; with the choices that do fit.
    """
    chosen = HydraConfig.get().runtime.choices
    saved = {output.network for output in hydra.utils.get_class(config.model._target_).outputs.values()}
    for name in config.model:
        group = next((f"model/{part}" for part in (name, name.rpartition("_")[0]) if f"model/{part}" in chosen), None)
        # Where a model has several of a kind: model/generator@model.a_to_b.
        group = next((key for key in chosen if key.endswith(f"@model.{name}")), group)
        node = OmegaConf.select(config.model, name, throw_on_resolution_failure=False)
        if group is None or not OmegaConf.is_dict(node) or "_target_" not in node:
            continue
        if name in saved and not str(node._target_).startswith("ganforge."):
            continue  # whether a checkpoint can hold it is said first, of its card
        reason = _misfit(node)
        fitting = [] if reason is None else [other for other in _choices(group) if _fits(group, other, name)]
        if reason is None or chosen[group] in fitting:
            continue  # or a setting that the user gave is wrong, of which its class says more
        use = f"use {group}={f' or {group}='.join(fitting)}" if fitting else "choose another model or other data"
        raise UserError(
            f"{group}={chosen[group]} does not fit model={chosen['model']} with data={chosen['data']}: {reason}; {use}"
        )


def settle(config: DictConfig, data: DataModule) -> None:
    """Write into the config what the data decide: sizes, channels, normalization, and what the generator ends in.

    Raises UserError for a generator that is bounded while its targets are not.
    """
    for name, value in data.settled.items():
        if name in config.data:
            config.data[name] = value
    target = (data.sides or {}).get("target")
    generator = config.model.get("generator")
    if target is None or target.normalization.is_bounded or generator is None:
        return
    if generator.get("output", "tanh") is None:
        generator.output = "linear"
    require(
        generator.get("output") == "linear",
        f"data.target_normalization={target.normalization.kind} has values beyond [-1, 1], where "
        f"{str(generator.get('_target_')).rpartition('.')[2]} ends; use model.generator.output=linear with a generator "
        "that has this setting (unet, resnet), or data.target_normalization=minmax",
    )


@torch.no_grad()
def check_logits(model: Adversarial, data: DataModule) -> None:
    """Raise UserError where a discriminator takes no pictures of the data, or does not return what the loss takes.

    Of translations and of GANs from noise. Computed on shapes alone.
    """
    a, b = (*data.channels.values(), None)[:2]
    judged = {}
    if isinstance(model, Pix2Pix):
        judged = {"discriminator": a + b}
    elif isinstance(model, CycleGAN):
        judged = {"critic_a": a, "critic_b": b}
    elif isinstance(model, CUT):
        judged = {"discriminator": b}
    for name, channels in judged.items():
        pictures = torch.empty(data.batch_size, channels, data.size, data.size, device="meta")
        _shape_of_logits(name, getattr(model, name), pictures)
    if isinstance(model, Pix2Pix):
        for term in model.terms.values():
            term.check(model.discriminator, data)
    if not isinstance(model, LatentGAN):
        return
    images = torch.empty(2, data.channels["channels"], data.size, data.size, device="meta")
    label = model.label({"label": torch.zeros(2, dtype=torch.int64, device="meta")})
    wanted = model.logits_shape(len(images), len(data.class_names))
    shape = _shape_of_logits("discriminator", model.discriminator, images, label)
    require(
        shape in (None, wanted),
        f"model.discriminator: {type(model.discriminator).__name__} returns {_form(shape or ())}, and "
        f"{type(model).__name__} takes {_form(wanted)}; model.discriminator.outputs is the number of classes for a "
        "semi-supervised GAN, and 1 for others",
    )


def _shape_of_logits(name: str, network: nn.Module, *inputs: Tensor | None) -> tuple[int, ...] | None:
    """What a discriminator returns for inputs of these shapes; None where that cannot be said without numbers."""
    try:
        weights = {name: value.to("meta") for name, value in network.state_dict().items()}
        logits = functional_call(network, weights, inputs)
        return tuple((logits[0] if isinstance(logits, tuple) else logits).shape)
    except NotImplementedError:  # an operation that needs numbers
        return None
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        size = "×".join(map(str, inputs[0].shape[2:]))
        raise UserError(
            f"model.{name}: {type(network).__name__} takes no such pictures or classes ({first_line(error)}), "
            f"as those of {size} px; a larger data.size, or fewer layers or scales, may help"
        ) from error


def _form(shape: tuple[int, ...]) -> str:
    return f"{' x '.join(map(str, shape[1:])) or '1'} for each picture"


def _misfit(node: DictConfig) -> str | None:
    """Why an object cannot be built from its settings in this config, as far as their names tell."""
    try:
        kind = hydra.utils.get_object(node._target_)
    except (ImportError, ValueError):
        return None  # Hydra says so
    parameters = inspect.signature(kind).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    name = node._target_.rpartition(".")[2]
    unknown = [key for key in node if key not in parameters and not key.startswith("_")]
    if unknown:
        return f"{name} has no {' and no '.join(unknown)}"
    for key in node:
        try:
            node[key]
        except InterpolationResolutionError:
            return f"{name} needs {key}={OmegaConf.to_container(node)[key]}, which is not there"
    return None


def _fits(group: str, choice: str, name: str) -> bool:
    """Whether model.NAME of this job could be built with another choice of its group."""
    own = (f"{group}=", f"model.{name}.")
    kept = [override for override in HydraConfig.get().overrides.task if not override.lstrip("+~").startswith(own)]
    try:
        return _misfit(_composed([*kept, f"{group}={choice}"]).model[name]) is None
    except (HydraException, OmegaConfBaseException):
        return False


def _provides(data: str) -> frozenset[str]:
    return hydra.utils.get_class(_composed([f"data={data}"]).data._target_).provides


def _composed(overrides: Iterable[str]) -> DictConfig:
    """The config of train.py with other overrides, from the folders that this job's config was made of."""
    running = GlobalHydra.instance().is_initialized()  # within train.py
    with nullcontext() if running else hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        others = ",".join(f"file://{folder}" for folder in _folders()[1:])
        return hydra.compose("train", overrides=[*overrides, f"hydra.searchpath=[{others}]"])


def _choices(group: str) -> list[str]:
    """Of a group, wherever in the config its choice is put."""
    kind = group.partition("@")[0]
    return sorted({choice for folder in _folders() for choice in choices(folder).get(kind, [])})


def _folders() -> list[Path]:
    """conf/, and the folders that a user added with --config-dir or hydra.searchpath."""
    sources = [Path(source.path) for source in HydraConfig.get().runtime.config_sources if source.schema == "file"]
    return [CONF, *(folder for folder in sources if folder.resolve() != CONF.resolve())]
