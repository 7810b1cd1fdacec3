"""Runs as a table in a terminal."""

from collections.abc import Sequence
from typing import Any

from ganforge.files.untrusted import printable, shortened
from ganforge.runs.compare import differing
from ganforge.runs.folder import BETWEEN, Run, clock, plain

NAME = (16, 32)  # characters, at least and at most; of longer ones the end is shown, in which they differ
LONGEST_SETTING = 24
LONGEST_ERROR = 2000
_MARGIN = 3  # of a column


def table(runs: Sequence[Run], title: str | None = None, width: int = 80, first: int = 1) -> Any:
    """A rich table, in the order of `runs`, numbered from `first`; of the settings as many as fit into the width."""
    from rich import box
    from rich.table import Table

    monitors = {run.monitor for run in runs if run.monitor}
    columns = {
        "": [str(number) for number, _ in enumerate(runs, first)],
        "run": ["" for run in runs],
        "state": [run.state for run in runs],
        monitors.copy().pop() if len(monitors) == 1 else "score": [_score(run, len(monitors) > 1) for run in runs],
        **_between(runs),
        "images": ["" if run.images is None else f"{run.images:,}" for run in runs],
        "time": [clock(run.duration) for run in runs],
    }
    shortest = min(NAME[0], max((len(printable(run.name)) for run in runs), default=0))
    if sum(map(_width, columns.items())) - len("run") + shortest > width:  # --csv has them
        columns = {name: values for name, values in columns.items() if name not in BETWEEN}
    fixed, keys = len(columns), differing(runs)
    short = _short(keys)
    own = [run.settings for run in runs]
    settings = {key: [plain(values.get(key)) for values in own] for key in keys}
    widths = {key: min(LONGEST_SETTING + _MARGIN, _width((short[key], settings[key]))) for key in keys}
    room = width - sum(map(_width, columns.items())) + len("run")
    longest = max(NAME[0], min(NAME[1], room - sum(widths.values())))
    columns["run"] = [_end(run.name, longest) for run in runs]
    room -= max(map(len, columns["run"]), default=0)
    fitting = [key for number, key in enumerate(keys) if sum(widths[other] for other in keys[: number + 1]) <= room]
    columns |= {short[key] if short[key] not in columns else key: settings[key] for key in fitting}
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    if len(fitting) < len(keys):
        shown.caption = f"and {len(keys) - len(fitting)} more settings: --csv, --json, or --diff RUN RUN"
    for number, name in enumerate(columns):
        shown.add_column(
            cell(name), justify="left" if number in (1, 2) else "right", no_wrap=number < fixed, overflow="fold"
        )
    for row in zip(*columns.values(), strict=True):
        shown.add_row(*map(cell, row))
    return shown


def print_table(runs: Sequence[Run], console: Any) -> None:
    """A table for each measure, since numbers of different ones do not compare; below it a line for each run that
    failed.
    """
    measures = list(dict.fromkeys(run.monitor for run in runs if run.score is not None)) or [None]
    of_measure = {
        measure: [run for run in runs if run.score is not None and run.monitor == measure] for measure in measures
    }
    of_measure[measures[-1]] += [run for run in runs if run.score is None]  # nothing to compare yet
    first = 1
    for same in of_measure.values():
        console.print(table(same, width=console.width, first=first))
        for number, run in enumerate(same, first):
            if run.error:
                said = shortened(run.error, LONGEST_ERROR)
                console.print(f"{number}: {said}", soft_wrap=True, markup=False, highlight=False)
        first += len(same)


def _between(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Of translations the compared number on the test set, between its floor and its ceiling."""
    found = [run.between for run in runs]
    titles = [title for title in BETWEEN if any(title in own for own in found)]
    return {title: [f"{own[title]:.4g}" if title in own else "" for own in found] for title in titles}


def _score(run: Run, named: bool) -> str:
    if run.score is None:
        return ""
    return f"{run.monitor} {run.score:.4g}" if named else f"{run.score:.4g}"


def _end(name: str, most: int) -> str:
    name = printable(name)
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _width(column: tuple[str, Sequence[str]]) -> int:
    """Characters of a column with its margin."""
    name, values = column
    return max(len(shortened(text)) for text in (name, *values)) + _MARGIN


def cell(value: Any) -> Any:
    """The text of a cell of a table in a terminal."""
    from rich.text import Text

    return Text(shortened(value))


def _short(keys: Sequence[str]) -> dict[str, str]:
    """As few last parts of each key as tell it from the others."""
    short = {}
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            end = ".".join(parts[-count:])
            if sum(f".{other}".endswith(f".{end}") for other in keys) == 1:
                break
        short[key] = end
    return short
