"""What a trained model says of itself, of which someone else may have written every word: checked, without torch."""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from ganforge.errors import UserError, require
from ganforge.game.domains import Domains
from ganforge.pictures import lab
from ganforge.pictures.images import INTERPOLATIONS
from ganforge.pictures.normalization import MOST_BANDS
from ganforge.pictures.sides import Side

NORM_MODES = ("running", "batch")
LARGEST = 4096  # px a side, of the pictures that a checkpoint may ask for
LARGEST_SCORE = 1e4  # of a calibration, and of the numbers that it comes from
MOST_STEPS = 1000  # of a calibration
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
        and value.keys() | {"reader"} == {"network", "fed", "told", "averaged", "reader"}
        and isinstance(value["network"], str)
        and value["fed"] in ("picture", "latent")
        and value["told"] in (None, "label", "labels")
        and isinstance(value.get("reader"), str | None)
        and isinstance(value["averaged"], bool)
    )


def _is_calibration(value: Any) -> bool:
    """Whether this is a `ganforge.lattice.probability.Calibration`."""
    if not isinstance(value, dict) or value.keys() | {"steps"} != {"intercept", "weights", "steps"}:
        return False
    weights, steps = value["weights"], value.get("steps", [])
    if not isinstance(weights, list) or len(weights) != 3 or not isinstance(steps, list) or len(steps) > MOST_STEPS:
        return False
    if not all(isinstance(step, list) and len(step) == 2 for step in steps):
        return False
    numbers = [value["intercept"], *weights, *(number for step in steps for number in step)]
    if not all(type(number) is float and abs(number) <= LARGEST_SCORE for number in numbers):
        return False
    shares = [share for _, share in steps]
    return steps == sorted(steps) and shares == sorted(shares) and all(0 <= share <= 1 for share in shares)


def is_band_count(value: Any) -> bool:
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
    **dict.fromkeys(("source_channels", "target_channels"), lambda value: value is None or is_band_count(value)),
    "channels": lambda value: value in (None, 1, 3),
    "sides": lambda value: value is None or _are_sides(value),
    "colour_space": lambda value: value in (None, lab.SPACE),
    "drawing": lambda value: value is None or _is_look(value),
    "class_names": _are_words,
    "domains": Domains.is_card,
    "source_interpolation": lambda value: value in INTERPOLATIONS,
    "data_fingerprint": lambda value: isinstance(value, str),
    "bond_calibration": _is_calibration,
    "initial_weights": lambda value: isinstance(value, dict),
    **dict.fromkeys(COUNTERS, is_count),
}


def check(card: Any, path: Any) -> None:
    """Raise UserError, naming the file, for a card that ganforge does not write."""
    require(
        isinstance(card, dict) and fits(card, is_word_or_number),
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
            return all(is_word_or_number(key) and fits(inner, depth + 1) for key, inner in value.items())
        if isinstance(value, list | tuple):
            return lists and all(fits(inner, depth + 1) for inner in value)
        return is_leaf(value)

    return fits(contents, 0)


def is_word_or_number(value: Any) -> bool:
    return value is None or type(value) in (bool, float, str) or (type(value) is int and abs(value) < 2**63)


def sides_in(card: Mapping[str, Any]) -> dict[str, Side] | None:
    """What the numbers of source and target mean, as a card says it; None where they are ordinary pictures."""
    sides = card.get("sides")
    return None if sides is None else {name: _side(own) for name, own in sides.items()}
