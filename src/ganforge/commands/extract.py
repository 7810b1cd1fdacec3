"""`ganforge extractor`: a data set as train.py knows it, and a classifier trained on it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ganforge import CONF
from ganforge.errors import UserError, require
from ganforge.evaluation.extractor import LEAST_ACCURACY
from ganforge.evaluation.extractor_training import train_extractor
from ganforge.words import sentence

FOLDER = Path("lightning_logs/extractors")


def train(
    overrides: Sequence[str],
    *,
    name: str | None = None,
    output: str | Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    least_accuracy: float = LEAST_ACCURACY,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train a classifier on the data of `overrides` (data=mnist data.size=32 ...); see `train_extractor`.

    name: None for the data's, with _cnn. output: None for lightning_logs/extractors/NAME.pt. Raises UserError for other
    overrides than the data's, and for a file that is there.
    """
    chosen = [override for override in overrides if override.startswith("data=")]
    others = [override for override in overrides if not override.lstrip("+~").startswith(("data=", "data."))]
    require(len(chosen) == 1 and not others, f"{' '.join(overrides)}: data=NAME and data.NAME=VALUE are expected")
    name = name or f"{chosen[0].removeprefix('data=')}_cnn"
    output = Path(output or FOLDER / f"{name}.pt")
    require(overwrite or not output.exists(), f"{output}: is already there; give another --output, or --overwrite")
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", overrides=[*overrides, f"seed={seed}"])
            data = hydra.utils.instantiate(config.data, _convert_="all")
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(sentence(error, overrides)) from error
    card = train_extractor(data, name=name, output=output, epochs=epochs, seed=seed, least_accuracy=least_accuracy)
    found = output == FOLDER / f"{chosen[0].removeprefix('data=')}_cnn.pt"  # by evaluation=domain itself
    file = "" if found else f" {shlex.quote(f'evaluation.metrics.fidelity.extractor={output}')}"
    print(f"to train and compare by it: evaluation=domain{file}")
    return card
