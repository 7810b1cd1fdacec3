"""Runs as a table in a terminal."""

from collections.abc import Sequence
from typing import Any

from ganforge.files.untrusted import shortened
from ganforge.runs.compare import differing
from ganforge.runs.folder import Run, clock, plain

LONGEST_COLUMN = 32
MOST_COLUMNS = 8  # of settings
LONGEST_ERROR = 2000  # characters


def table(runs: Sequence[Run], title: str | None = None) -> Any:
    """A rich table, in the order of `runs`."""
    from rich import box
    from rich.table import Table

    keys = differing(runs)
    left_out, keys = keys[MOST_COLUMNS:], keys[:MOST_COLUMNS]
    monitors = {run.monitor for run in runs if run.monitor}
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    if left_out:
        shown.caption = f"and {len(left_out)} more settings: --csv, --json, or --diff RUN RUN"
    shown.add_column("")
    shown.add_column(
        "run", overflow="fold", min_width=min(LONGEST_COLUMN, max((len(run.name) for run in runs), default=0))
    )
    shown.add_column("state", no_wrap=True)
    shown.add_column(cell(monitors.copy().pop() if len(monitors) == 1 else "score"), justify="right", no_wrap=True)
    for name in ("images", "time"):
        shown.add_column(name, justify="right", no_wrap=True)
    short = _short(keys)
    for key in keys:
        shown.add_column(cell(short[key]), justify="right", overflow="fold")
    for number, run in enumerate(runs, 1):
        score = "" if run.score is None else f"{run.score:.4g}"
        if score and len(monitors) > 1:
            score = f"{run.monitor} {score}"
        settings = run.settings
        cells = [str(number), run.name, run.state, score, "" if run.images is None else f"{run.images:,}"]
        cells += [clock(run.duration), *(plain(settings.get(key)) for key in keys)]
        shown.add_row(*map(cell, cells))
    return shown


def print_table(runs: Sequence[Run], console: Any) -> None:
    """The table, and below it a line for each run that failed."""
    console.print(table(runs))
    for number, run in enumerate(runs, 1):
        if run.error:
            said = shortened(run.error, LONGEST_ERROR)
            console.print(f"{number}: {said}", soft_wrap=True, markup=False, highlight=False)


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
