"""What a file of `ganforge export` says of itself beside a checkpoint's card, checked without PyTorch."""

import math
from typing import Any

from ganforge.errors import require

KEY = "ganforge"  # of the metadata, with the card as JSON
SECTION = "export"  # of the card
MOST_CARD = 4_000_000  # bytes
LARGEST_STEP = 2**12  # px
LARGEST_ABSOLUTE, LARGEST_GREY = 1e-4, 1  # differences from PyTorch that are allowed: of [-1, 1], and of 255 levels
MOST_PER_PIXEL = 2**20
UNKNOWN_LICENCE = "unknown"

# Of a checkpoint's card, what a user of the generator needs; not the folders, hosts and changes of who trained it.
_KEPT = (
    "norm_mode", "size", "fit_to_size", "provides", "channels", "source_channels", "target_channels", "sides",
    "colour_space", "drawing", "class_names", "domains", "source_interpolation", "data_fingerprint",
    "bond_calibration", "layout", "images_seen", "versions",
)  # fmt: skip
_CONFIG = {"model": None, "data": None, "seed": None, "name": None, "trainer": ("precision", "max_epochs")}


def card_of(card: dict[str, Any], outputs: list[str]) -> dict[str, Any]:
    """The card of an export of these outputs."""
    own = {name: card["outputs"][name] for name in outputs}
    used = {network for output in own.values() for network in (output["network"], output.get("reader")) if network}
    config = {
        name: value if kept is None else {inner: value[inner] for inner in kept if inner in value}
        for name, kept in _CONFIG.items()
        if (value := card["config"].get(name)) is not None and (kept is None or isinstance(value, dict))
    }
    return {
        "outputs": own,
        "networks": {name: card["networks"][name] for name in card["networks"] if name in used},
        **{name: card[name] for name in _KEPT if name in card},
        "config": _without_paths(config),
    }


def _without_paths(value: Any) -> Any:
    """Settings without those that name files of who trained."""
    if isinstance(value, dict):
        return {name: _without_paths(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    return None if isinstance(value, str) and any(mark in value for mark in "/\\~") else value


def check(section: Any, path: Any) -> None:
    """Raise UserError, naming the file, where its section is not what `ganforge export` writes."""
    said = section if isinstance(section, dict) else {}
    fits = (
        type(said.get("step")) is int
        and 1 <= said["step"] <= LARGEST_STEP
        and type(said.get("halvings")) is int
        and 1 <= said["halvings"] <= LARGEST_STEP
        and isinstance(said.get("has_own_statistics"), bool)
        and type(said.get("numbers_per_pixel")) in (int, float)
        and math.isfinite(said["numbers_per_pixel"])
        and 0 < said["numbers_per_pixel"] <= MOST_PER_PIXEL
    )
    require(fits, f"{path}: does not say how pictures are given to it, as ganforge export writes; it was changed")
