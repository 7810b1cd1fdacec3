"""All runs below a folder as a table, CSV or JSON, or what differs between two of them."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganforge.errors import UserError, require
from ganforge.files.untrusted import printable
from ganforge.runs.compare import difference, differing, rank, select, sort
from ganforge.runs.folder import BETWEEN, Run, find, is_run, read
from ganforge.runs.table import cell, print_table


def show(
    folder: str | Path = "lightning_logs",
    *,
    sort_by: str | None = None,
    filters: Sequence[str] = (),
    diff: Sequence[str] | None = None,
    output: str = "table",
) -> None:
    """What `ganforge runs` prints: a table (or "csv", "json") of all runs below, or the difference of two.

    Raises UserError for folders without runs, and for filters and sorting that mean nothing.
    """
    if diff is not None:
        _show_difference(*(_named(name, folder) for name in diff), output=output)
        return
    found = find(folder)
    require(Path(folder).is_dir(), f"{folder}: no such folder{_elsewhere(folder)}")
    require(bool(found), f"{folder}: no run in it or below it")
    chosen = select(found, filters)
    chosen = rank(chosen) if sort_by is None else sort(chosen, sort_by)
    if output != "table":
        print(as_csv(chosen) if output == "csv" else as_json(chosen), end="")
        return
    from rich.console import Console

    console = Console()
    if not chosen:
        wanted = printable(" ".join(filters))
        console.print(f"none of {len(found)} runs meets {wanted}", soft_wrap=True, markup=False)
        return
    print_table(chosen, console)


def _elsewhere(folder: str | Path) -> str:
    """What to do where a folder is not there: the one that trainings write to is where they were started."""
    if Path(folder) == Path("lightning_logs"):
        return f" in {Path.cwd()}; go to where you trained, or give the folder: ganforge runs FOLDER"
    return "; give one that holds runs, such as lightning_logs where you trained"


def _show_difference(one: Run, other: Run, *, output: str) -> None:
    found = difference(one, other)
    if output == "json":
        print(json.dumps({key: list(values) for key, values in found.items()}, indent=2, default=str))
        return
    if output == "csv":
        writer = csv.writer(written := io.StringIO(), lineterminator="\n")
        rows = [("setting", one.name, other.name), *((key, *values) for key, values in found.items())]
        writer.writerows([_text(value) for value in row] for row in rows)
        print(written.getvalue(), end="")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not found:
        names = f"{printable(one.name)} and {printable(other.name)}"
        console.print(f"{names} have equal settings", soft_wrap=True, markup=False)
        return
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("", overflow="fold", min_width=min(max(map(len, found)), console.width // 3))
    for run in (one, other):
        shown.add_column(cell(run.name), overflow="fold")
    for key, values in found.items():
        shown.add_row(cell(key), *(cell("" if value is None else value) for value in values))
    console.print(shown)


def _named(name: str, folder: str | Path) -> Run:
    """The run in the folder `name`, or in that folder below `folder`."""
    for path in (Path(name), Path(folder) / name):
        if is_run(path):
            return read(path)
    raise UserError(f"--diff {name}: no run there nor in {folder}; give the folder of a run")


def columns(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row a run: name, state, score, monitor, images, duration in seconds, the compared number on the test set (of
    translations also its floor and ceiling), and the settings that differ.
    """
    names, keys = ("name", "state", "score", "monitor", "images", "duration"), differing(runs)
    rows = [(run, run.settings) for run in runs]
    bounds = [title for title in BETWEEN if any(title in run.between for run in runs)]
    return [
        {name: getattr(run, name) for name in names}
        | {title: run.between.get(title) for title in bounds}
        | {key: settings.get(key) for key in keys}
        for run, settings in rows
    ]


def as_csv(runs: Sequence[Run]) -> str:
    rows = columns(runs)
    written = io.StringIO()
    writer = csv.DictWriter(written, fieldnames=list(rows[0]) if rows else ["name"], lineterminator="\n")
    writer.writerow({key: printable(key) for key in writer.fieldnames})
    writer.writerows({key: _text(value) for key, value in row.items()} for row in rows)
    return written.getvalue()


def as_json(runs: Sequence[Run]) -> str:
    rows = columns(runs)
    for row, run in zip(rows, runs, strict=True):
        row |= {"folder": str(run.folder), "mode": run.mode, "error": run.error, "overrides": run.overrides}
    return json.dumps(rows, indent=2, default=str) + "\n"


def _text(value: Any) -> Any:
    """Of a line of CSV: a number as it is."""
    return value if value is None or isinstance(value, int | float) else printable(value)
