"""A checkpoint says what it is, and loads without running anything that it contains."""

import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ganforge.errors import UserError, require
from ganforge.files import tensor_files
from ganforge.files.finite import listed
from ganforge.networks.layers import NORM_MODES
from ganforge.pictures.normalization import MOST_BANDS
from ganforge.pictures.sides import Side

LARGEST = 4096  # px a side, of the pictures that a checkpoint may ask for
LARGEST_WEIGHT = 1e3  # of a calibration
LAYOUT = 2  # of what a training goes on from; 1: of one generator and one discriminator
COUNTERS = ("images_seen", "turns", "skipped_updates")
_MOST_VALUES = 100_000  # of a card, in all lists and dicts
_DEEPEST = 50


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _is_output(value: Any) -> bool:
    """Whether this is a `ganforge.game.Output`, and whether its network has a moving average."""
    return (
        isinstance(value, dict)
        and value.keys() == {"network", "fed", "told", "averaged"}
        and isinstance(value["network"], str)
        and value["fed"] in ("picture", "latent")
        and value["told"] in (None, "label")
        and isinstance(value["averaged"], bool)
    )


def _is_calibration(value: Any) -> bool:
    """Whether this is a `ganforge.lattice.probability.Calibration`."""
    if not isinstance(value, dict) or value.keys() != {"intercept", "weights"}:
        return False
    weights = value["weights"]
    numbers = [value["intercept"], *weights] if isinstance(weights, list) and len(weights) == 3 else [None]
    return all(type(number) is float and abs(number) <= LARGEST_WEIGHT for number in numbers)


def _is_band_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MOST_BANDS


def _are_sides(value: Any) -> bool:
    try:
        return isinstance(value, dict) and value.keys() == {"source", "target"} and all(map(_side, value.values()))
    except UserError:
        return False


def _side(value: Any) -> Side:
    return Side.from_card(value, "the checkpoint")


def _is_look(value: Any) -> bool:
    from ganforge.lattice.canonical import Look  # most checkpoints need none of SciPy

    return Look.is_card(value)


# What every card says, and whether a value can be meant; `ganforge.runs.provenance.describe` writes it.
CARD: dict[str, Callable[[Any], bool]] = {
    "networks": lambda value: isinstance(value, dict) and all(isinstance(own, dict) for own in value.values()),
    "outputs": lambda value: isinstance(value, dict) and len(value) > 0 and all(map(_is_output, value.values())),
    "norm_mode": lambda value: value in NORM_MODES,
    "size": lambda value: type(value) is int and 1 <= value <= LARGEST,
    "fit_to_size": lambda value: value in ("squash", "pad", "crop"),
    "provides": _are_words,
    "config": lambda value: isinstance(value, dict),
}
# What some say.
MORE = {
    **dict.fromkeys(("source_channels", "target_channels"), lambda value: value is None or _is_band_count(value)),
    "channels": lambda value: value in (None, 1, 3),
    "sides": lambda value: value is None or _are_sides(value),
    "drawing": lambda value: value is None or _is_look(value),
    "class_names": _are_words,
    "data_fingerprint": lambda value: isinstance(value, str),
    "bond_calibration": _is_calibration,
    "initial_weights": lambda value: isinstance(value, dict),
    **dict.fromkeys(COUNTERS, is_count),
}


def find(path: str | Path, prefer: str = "best") -> Path:
    """A checkpoint file: `path` itself, or its best.ckpt or last.ckpt, first the preferred one.

    path: a file, a run's folder, or the folder of its checkpoints.
    """
    path = Path(path)
    if not path.is_dir():
        require(path.is_file(), f"{path}: no such file or folder; give a checkpoint (.ckpt) or a run folder")
        return path
    names = sorted(("best", "last"), key=lambda name: name != prefer)
    folders_of = (path / "checkpoints", path)
    found = [file for folder in folders_of for name in names if (file := folder / f"{name}.ckpt").is_file()]
    require(
        bool(found), f"{path}: no checkpoint in {path / 'checkpoints'}; give a run folder of ganforge or a .ckpt file"
    )
    return found[0]


def load(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint of ours: tensors and plain values only.

    Raises UserError for a file that is truncated, is no checkpoint, holds anything that would run code, or was not
    written by ganforge.
    """
    path = find(path)
    contents = tensor_files.read(path, str(path))
    require(
        isinstance(contents, dict) and isinstance(contents.get("ganforge"), dict) and "state_dict" in contents,
        f"{path}: is a file of another program; ganforge reads the checkpoints that it wrote",
    )
    card = contents["ganforge"]
    _upgrade(card, contents["state_dict"])
    require(
        fits(card, _is_word_or_number) and isinstance(contents["state_dict"], dict),
        f"{path}: says of itself what ganforge does not write; it was changed",
    )
    wrong = {name: card.get(name) for name, is_meant in CARD.items() if not is_meant(card.get(name))}
    wrong |= {name: card[name] for name, is_meant in MORE.items() if name in card and not is_meant(card[name])}
    require(
        not wrong,
        f"{path}: does not say its {', '.join(wrong)} ("
        + ", ".join(f"{name}={reprlib.repr(value)}" for name, value in wrong.items())
        + "); it was changed, or is of another version",
    )
    return contents


def _upgrade(card: dict[str, Any], state: Any) -> None:
    """Let a card of layout 1, which had one generator, say what one of layout 2 says."""
    if "networks" in card or not isinstance(card.get("generator"), dict):
        return
    generator = card["generator"]
    averaged = isinstance(state, dict) and any(str(name).startswith("generator_ema.") for name in state)
    translates = "in_channels" in generator
    output = {
        "network": "generator",
        "fed": "picture" if translates else "latent",
        "told": "label" if generator.get("n_classes") else None,
        "averaged": averaged,
    }
    card["networks"] = {"generator": generator}
    card["outputs"] = {"translate" if translates else "sample": output}


def fits(contents: Any, is_leaf: Callable[[Any], bool], lists: bool = True) -> bool:
    """Whether these are dicts, and lists where there may be any, of such leaves, few enough to be looked at one by one.

    A file of some bytes can hold a list that holds another one ten times, and so on, or itself.
    """
    room = _MOST_VALUES

    def fits(value: Any, depth: int) -> bool:
        nonlocal room
        room -= 1
        if room < 0 or depth > _DEEPEST:
            return False
        if isinstance(value, dict):
            return all(_is_word_or_number(key) and fits(inner, depth + 1) for key, inner in value.items())
        if isinstance(value, list | tuple):
            return lists and all(fits(inner, depth + 1) for inner in value)
        return is_leaf(value)

    return fits(contents, 0)


def _is_word_or_number(value: Any) -> bool:
    return value is None or type(value) in (bool, float, str) or (type(value) is int and abs(value) < 2**63)


def is_whole(value: Any) -> bool:
    return type(value) in (int, bool) and abs(value) < 2**63


def is_tensor_or_plain(value: Any) -> bool:
    return isinstance(value, Tensor) or _is_word_or_number(value)


def require_finite(bad: list[str], path: Path, remedy: str) -> None:
    """Raise UserError, naming the first of these weights and what to do, where there are any."""
    require(
        not bad,
        f"{path}: its weights are not finite, or too large to compute with ({listed(bad)}): the training had broken "
        f"down; {remedy}",
    )


def is_resumable(contents: Mapping[str, Any]) -> bool:
    """Whether a checkpoint holds what a training goes on from beside weights: optimizers, generators, callbacks."""
    return "optimizer_states" in contents


def sides_in(card: Mapping[str, Any]) -> dict[str, Side] | None:
    """What the numbers of source and target mean, as a card says it; None where they are ordinary pictures."""
    sides = card.get("sides")
    return None if sides is None else {name: _side(own) for name, own in sides.items()}


def precision_of(path: Path) -> str | None:
    """The precision at which the training of a checkpoint computed; None where it does not say one."""
    trainer = load(path)["ganforge"]["config"].get("trainer")
    said = trainer.get("precision") if isinstance(trainer, dict) else None
    return said if said in ("32-true", "bf16-mixed", "16-mixed") else None


def origin_of(path: Path) -> dict[str, Any]:
    """What the card of a training that goes on from `path` says of where its weights came from at first."""
    card = load(path)["ganforge"]
    return {name: card[name] for name in ("initial_weights",) if name in card}
