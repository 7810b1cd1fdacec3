"""From a config to what is trained: data, system, metrics, callbacks; checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from omegaconf import DictConfig

from ganforge import settings
from ganforge.callbacks import Evaluation
from ganforge.compatibility import check_logits, check_match, check_parts, settle
from ganforge.data.module import DataModule
from ganforge.errors import UserError
from ganforge.hardware import choice as hardware
from ganforge.runs import checkpoint
from ganforge.runs.provenance import describe
from ganforge.systems import Adversarial


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a training is made of, for a Trainer of one's own: Trainer(callbacks=callbacks).fit(system, data).

    config: as it was composed. callbacks: the metrics first, then those of the config.
    """

    config: DictConfig
    data: DataModule
    system: Adversarial
    callbacks: list[pl.Callback]


def instances(config: DictConfig, group: str) -> list[Any]:
    """The objects of a group of which each, or all, may have been removed."""
    nodes = (config.get(group) or {}).values()
    return [hydra.utils.instantiate(node) for node in nodes if node is not None]


def load_data(config: DictConfig, resumed: Path | None = None) -> tuple[DataModule, dict[str, Any]]:
    """The data module, checked against the model, and what checkpoints will say of the training.

    resumed: the checkpoint that the training goes on from, which says what the numbers of its pictures mean.
    """
    data: DataModule = hydra.utils.instantiate(config.data, _convert_="all")
    check_match(config, data)
    check_parts(config)
    data.serve(hydra.utils.get_class(config.model._target_).outputs)
    if "n_classes" in config.data:
        config.data.n_classes = len(data.class_names) or None
    if resumed is not None:
        data.adopt(checkpoint.sides_in(checkpoint.load(resumed)["ganforge"]))
    settle(config, data)
    return data, describe(config, data)


def build_evaluation(config: DictConfig, data: DataModule) -> Evaluation:
    evaluation: Evaluation = hydra.utils.instantiate(config.evaluation)
    evaluation.choose(data)
    return evaluation


def parts(config: DictConfig) -> Parts:
    """What a Trainer of one's own needs of this config, with weights drawn from its seed; nothing is written."""
    settings.apply(config)
    config.trainer.precision = hardware.precision(config.trainer)
    pl.seed_everything(config.seed, verbose=False)
    data, card = load_data(config)
    data.sets  # noqa: B018  everything that is wrong with the data is said here
    system = build_model(config.model, card)
    check_logits(system, data)
    callbacks = [build_evaluation(config, data), *instances(config, "callbacks")]
    return Parts(config=config, data=data, system=system, callbacks=callbacks)


def build_model(config: DictConfig, card: dict[str, Any]) -> Adversarial:
    """The system, with its card for the checkpoints; raises UserError for settings that its optimizers refuse."""
    model: Adversarial = hydra.utils.instantiate(config, _convert_="all")  # plain lists: checkpoints hold no configs
    model.card = card
    try:
        model.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise UserError(f"model.optimizer_g or model.optimizer_d: {error}") from error
    return model
