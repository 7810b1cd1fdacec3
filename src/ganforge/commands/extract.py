"""`ganforge extractor`: a data set as train.py knows it, and a classifier trained on it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganforge.commands.chosen_data import chosen_data, chosen_name
from ganforge.errors import require
from ganforge.evaluation.extractor import LEAST_ACCURACY
from ganforge.evaluation.extractor_training import train_extractor

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
    own = f"{chosen_name(overrides)}_cnn"
    name = name or own
    output = Path(output or FOLDER / f"{name}.pt")
    require(overwrite or not output.exists(), f"{output}: is already there; give another --output, or --overwrite")
    data = chosen_data(overrides, seed)
    card = train_extractor(data, name=name, output=output, epochs=epochs, seed=seed, least_accuracy=least_accuracy)
    found = output == FOLDER / f"{own}.pt"  # by evaluation=domain itself
    file = "" if found else f" {shlex.quote(f'evaluation.metrics.fidelity.extractor={output}')}"
    print(f"to train and compare by it: evaluation=domain{file}")
    return card
