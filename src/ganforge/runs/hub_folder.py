"""A folder as the Hugging Face Hub expects it (model.safetensors, config.json), from anyone: read as a checkpoint."""

import json
from pathlib import Path
from typing import Any

from ganforge.errors import UserError, require
from ganforge.files.folders import open_file
from ganforge.files.untrusted import first_line

WEIGHTS, CONFIG, README = "model.safetensors", "config.json", "README.md"
LIBRARY = "ganforge"
_MOST_CONFIG = 4_000_000  # bytes


def is_hub_folder(path: Path) -> bool:
    return path.is_dir() and (path / WEIGHTS).is_file() and (path / CONFIG).is_file()


def read(weights: Path) -> dict[str, Any]:
    """What a checkpoint of ours holds, of the weights of such a folder: {"ganforge": card, "state_dict": tensors}.

    The card is not checked here. Raises UserError for files that are damaged or of another program.
    """
    said = card(weights)
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(
            f'{weights}: is opened by safetensors, which is missing: pip install "ganforge[export]"'
        ) from error
    try:
        open_file(weights).close()
        state = load_file(weights)
    except Exception as error:  # of damaged files, of any kind
        raise UserError(f"{weights}: cannot be read, it may be truncated or damaged ({first_line(error)})") from error
    return {"ganforge": said, "state_dict": state}


def card(weights: Path) -> dict[str, Any]:
    """What the folder of these weights says of them, unchecked. Raises UserError as `read`."""
    config = weights.with_name(CONFIG)
    try:
        with open_file(config) as file:  # a link, in a folder that the Hub's client downloaded
            text = file.read(_MOST_CONFIG + 1)
        require(len(text) <= _MOST_CONFIG, f"{config}: cannot be read, it has more than {_MOST_CONFIG:,} bytes")
        said = json.loads(text.decode(), parse_constant=_no_number).get("ganforge")
    except UserError:
        raise
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise UserError(
            f"{config}: cannot be read as JSON ({first_line(error)}); give a folder of ganforge export"
        ) from (error)
    require(isinstance(said, dict), f"{config}: is of another program; ganforge opens the folders that it exported")
    return said


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
