"""Runs, and numbers, as tables in a terminal, be it narrow."""

import re
from collections.abc import Sequence
from typing import Any

from ganforge.files.untrusted import printable, shortened
from ganforge.runs import bounds
from ganforge.runs.compare import differing
from ganforge.runs.folder import BETWEEN, Run, clock, plain

NAME = (16, 32)  # characters, at least and at most; of longer ones the end is shown, in which they differ
LONGEST_SETTING = 24  # of the lines of a value
LONGEST_NAME = 12  # of the lines of a number's name, where there is no room
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

    def too_wide() -> bool:
        return sum(map(_width, columns.items())) - len("run") + shortest > width

    if too_wide() and "test" in columns:
        columns["test"] = [value.partition(" ")[0] for value in columns["test"]]  # without intervals
    if too_wide():  # --csv has them
        columns = {name: values for name, values in columns.items() if name not in BETWEEN}
    fixed, keys = len(columns), differing(runs)
    short = _short(keys)
    own = [run.settings for run in runs]
    settings = {key: [plain(values.get(key)) for values in own] for key in keys}
    # Values may take several lines, names of settings one.
    longest_value = {key: min(LONGEST_SETTING + _MARGIN, _width(("", settings[key]))) for key in keys}
    widths = {key: max(_width((short[key], [])), longest_value[key]) for key in keys}
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
            cell(name), justify="left" if number in (1, 2) else "right", no_wrap=number < fixed, overflow="fold",
            min_width=len(shortened(name)),
        )  # fmt: skip
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
    """The compared number on the test set with its interval, of translations between its floor and its ceiling."""
    found = [run.between for run in runs]
    titles = [title for title in BETWEEN if any(title in own for own in found)]
    columns = {title: [f"{own[title]:.4g}" if title in own else "" for own in found] for title in titles}
    if "test" in columns:
        ends = [bounds.of(run.results, f"test/{(run.monitor or '').removeprefix('val/')}") for run in runs]
        columns["test"] = [
            f"{value} [{own[0]:.4g}, {own[1]:.4g}]" if value and own else value
            for value, own in zip(columns["test"], ends, strict=True)
        ]
    return columns


def fitted(heads: Sequence[str], rows: Sequence[Sequence[str]], console: Any, **looks: Any) -> Any:
    """A rich table of names and numbers; where it would be too wide, intervals and remarks stand below numbers.

    heads: of the columns after that of the names, which are broken between their parts alone. looks: title, and
    strong, the number of a row that stands out.
    """
    from rich import box
    from rich.table import Table

    def of(rows: Sequence[Sequence[str]]) -> tuple[Any, int]:
        """The table, and how much it is too wide."""
        shown = Table(title=looks.get("title"), box=box.SIMPLE_HEAD)
        shown.add_column("", overflow="fold")  # names are never cut
        for head in heads:
            shown.add_column(cell(head), justify="right", overflow="fold", min_width=min(LONGEST_NAME, len(head)))
        for number, row in enumerate(rows):
            shown.add_row(*map(_lines, row), style="bold" if number == looks.get("strong") else None)
        whole = console.measure(shown, options=console.options.update(width=10_000))
        return shown, whole.maximum - console.width

    shown, much = of(rows)
    if much > 0:
        rows = [[row[0], *(re.sub(r" +(?=[\[(]|\d+ %)", "\n", number) for number in row[1:])] for row in rows]
        shown, much = of(rows)
    if much > 0:
        most = max(LONGEST_NAME, max(len(row[0]) for row in rows) - much)
        shown, _ = of([[folded(row[0], most), *row[1:]] for row in rows])
    return shown


def folded(name: str, most: int) -> str:
    """A name in lines of at most `most` characters, broken behind /, _, . and spaces alone."""
    lines = [""]
    for part in re.findall(r"[^/_. ]+[/_. ]?|[/_. ]", printable(name)):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > most:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _lines(text: str) -> Any:
    from rich.text import Text

    return Text(printable(text, lines=True))


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
