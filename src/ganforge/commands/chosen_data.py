"""A data set as train.py knows it, by overrides: data=NAME and data.NAME=VALUE."""

from collections.abc import Sequence
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ganforge import CONF
from ganforge.errors import UserError, require
from ganforge.words import sentence


def chosen_name(overrides: Sequence[str]) -> str:
    """NAME of the one data=NAME; raises UserError where there is none, and for other overrides than the data's."""
    chosen = [override for override in overrides if override.startswith("data=")]
    others = [override for override in overrides if not override.lstrip("+~").startswith(("data=", "data."))]
    require(len(chosen) == 1 and not others, f"{' '.join(overrides)}: data=NAME and data.NAME=VALUE are expected")
    return chosen[0].removeprefix("data=")


def chosen_data(overrides: Sequence[str], seed: int = 0) -> Any:
    """The data set that `overrides` describe. Raises UserError for what Hydra or the data set does not accept."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", overrides=[*overrides, f"seed={seed}"])
            return hydra.utils.instantiate(config.data, _convert_="all")
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(sentence(error, overrides)) from error
