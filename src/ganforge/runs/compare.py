"""Runs compared, ranked, selected and sorted."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ganforge.errors import UserError, require
from ganforge.files.folders import natural_key
from ganforge.runs.folder import PLACE, STATES, Run, flatten, is_number, plain


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs differ. Where a choice differs, what follows from it is left out.

    A setting that was given on the command line of one of the runs always counts.
    """
    given = {_key(override) for run in runs for override in run.overrides}
    # A run without any setting, whose files are lost, does not count.
    choices = [run.choices for run in runs if run.choices]
    configs = [flatten(run.config) for run in runs if run.config]
    differ = [key for key in _union(choices) if _differs(choices, key)]
    # A recipe decides everything that was not given; what suits the data and the parts of a model follow from others.
    recipes = "experiment" in differ
    whole = [key for key in differ if "/" not in key and key != "tuned"]
    leading = ["experiment"] if recipes else whole or differ
    differ = [key for key in differ if key in given or key in leading]
    # model/optimizer is of model.optimizer_g and model.optimizer_d.
    follows = tuple(f"{key.replace('/', '.')}{end}" for key in differ for end in (".", "_"))
    known = set(differ)
    for key in _union(configs):
        if key.split(".")[0] in PLACE or key in known:
            continue
        if (recipes or key.startswith(follows)) and key not in given:
            continue
        if _differs(configs, key):
            differ.append(key)
    return differ


def rank(runs: Iterable[Run]) -> list[Run]:
    """The best first; runs without a score after those with one, by state; each monitor for itself."""

    def place(run: Run) -> tuple:
        order = STATES.index(run.state) if run.state in STATES else len(STATES)
        if run.score is None:
            return (order, run.monitor or "", 1, 0.0, natural_key(run.name))
        return (order, run.monitor or "", 0, run.score if run.mode == "min" else -run.score, natural_key(run.name))

    return sorted(runs, key=place)


def difference(one: Run, other: Run) -> dict[str, tuple[Any, Any]]:
    """Every setting in which the configs of two runs differ -> its two values; None where one has no such setting."""
    left, right = one.settings, other.settings
    keys = [key for key in _union((left, right)) if key.split(".")[0] not in PLACE]
    return {key: (left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)}


def select(runs: Iterable[Run], filters: Sequence[str]) -> list[Run]:
    """Those that meet all filters: KEY=VALUE, KEY!=VALUE, KEY<NUMBER, KEY>NUMBER; raises UserError for others."""
    chosen = list(runs)
    for text in filters:
        match = re.fullmatch(r"([^=<>!]+)(!=|=|<|>)(.*)", text)
        require(match is not None, f"--filter {text}: such as state=finished, seed!=0, or score>0.9")
        key, sign, wanted = match.groups()
        chosen = [run for run in chosen if _meets(run.value(key.strip()), sign, wanted.strip())]
    return chosen


def sort(runs: Iterable[Run], key: str) -> list[Run]:
    """By any column, setting or result, ascending, or with `-KEY` descending; those without it last."""
    runs = list(runs)
    name, reverse = key.removeprefix("-"), key.startswith("-")
    values = {id(run): run.value(name) for run in runs}
    require(
        not runs or any(value is not None for value in values.values()),
        f"--sort {key}: none of the runs has it; name, state, score, images, duration, a setting such as seed, "
        "or a number of results.json such as test/l1",
    )
    with_value = [run for run in runs if values[id(run)] is not None]
    numbers = all(is_number(values[id(run)]) for run in with_value)
    with_value.sort(key=lambda run: values[id(run)] if numbers else natural_key(str(values[id(run)])), reverse=reverse)
    return with_value + [run for run in runs if values[id(run)] is None]


def _meets(value: Any, sign: str, wanted: str) -> bool:
    if sign in "<>":
        try:
            limit = float(wanted)
        except ValueError:
            raise UserError(f"--filter ...{sign}{wanted}: a number is compared with < and >") from None
        return is_number(value) and (value < limit if sign == "<" else value > limit)
    return _equal(value, wanted) == (sign == "=")


def _equal(value: Any, wanted: str) -> bool:
    if is_number(value):
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    return ("null" if value is None else plain(value)) == wanted


def _union(dicts: Iterable[dict]) -> list:
    """All keys, in the order in which they first appear."""
    return list(dict.fromkeys(key for one in dicts for key in one))


def _differs(of: Sequence[dict[str, Any]], key: str) -> bool:
    return len({json.dumps(values.get(key), default=str, sort_keys=True) for values in of}) > 1


def _key(override: str) -> str:
    return override.split("=")[0].lstrip("+~")
