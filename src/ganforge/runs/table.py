"""Runs as their folders tell them: found, compared, ranked. Imports nothing heavy; nothing broken crashes it."""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ganforge.errors import UserError, require
from ganforge.files import untrusted
from ganforge.files.untrusted import printable, shortened
from ganforge.runs import status

# The order of a ranking: what has a result comes first.
STATES = ("finished", "pruned", "running", "interrupted", "failed", "unknown")
MARKS = (".hydra/config.yaml", status.FILE, "results.json", "metrics.csv")
# Where a run is and how it was started, not what it trains.
PLACE = {"name", "run_dir", "resume", "ckpt_path", "sweep", "launcher"}
LONGEST_COLUMN = 32
MOST_COLUMNS = 8  # of settings, in a terminal
LONGEST_ERROR = 2000  # characters, in a terminal
# Of runs that did not write down whether a small or a large number is better.
LARGER_IS_BETTER = re.compile(r"f1|exact|^is\b|psnr|ssim|accuracy|precision|recall")


@dataclass(kw_only=True)
class Run:
    """One run. What its folder does not tell is None or empty.

    state: one of STATES; "unknown" where a run of an older version did not finish.
    score: the best value of `monitor` (`val/...`), better when smaller or larger as `mode` ("min", "max") says.
    config: as written, interpolations unresolved; choices: config group -> choice.
    """

    folder: Path
    name: str
    state: str = "unknown"
    score: float | None = None
    monitor: str | None = None
    mode: str | None = None
    overrides: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, str | None] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> int | None:
        """Images seen."""
        for found in (self.results.get("images_seen"), self.status.get("images_seen")):
            if isinstance(found, int):
                return found
        return None

    @property
    def duration(self) -> float | None:
        """Seconds; of a running one until now."""
        if _is_number(self.results.get("duration_s")):
            return float(self.results["duration_s"])
        began = _time(self.status.get("began"))
        ended = _time(self.status.get("ended")) or (datetime.now(timezone.utc) if self.state == "running" else None)
        # A clock that was set back in between tells nothing.
        return (ended - began).total_seconds() if began and ended and ended >= began else None

    @property
    def error(self) -> str | None:
        return self.status.get("error")

    @property
    def settings(self) -> dict[str, Any]:
        """Every choice and every value of the config by its dotted key."""
        return flatten(self.config) | self.choices

    def value(self, key: str) -> Any:
        """What the run has under `key`: a column of the table, a setting, or a number of its results; None if nothing.

        The last part of a setting's key is enough where one setting alone ends so.
        """
        if key in ("name", "folder", "state", "score", "monitor", "mode", "images", "duration", "error"):
            return getattr(self, key)
        settings = self.settings
        for values in (settings, self.results, self.status):
            if key in values:
                return values[key]
        ends = [name for name in settings if name.endswith(f".{key}")]
        return settings[ends[0]] if len(ends) == 1 else None


def read(folder: str | Path) -> Run:
    """The run in a folder, whatever is missing or broken there."""
    folder = Path(folder)
    run = Run(folder=folder, name=folder.resolve().name)
    run.config = _of_type(untrusted.read_yaml(folder, ".hydra/config.yaml"), dict)
    run.overrides = [str(override) for override in _of_type(untrusted.read_yaml(folder, ".hydra/overrides.yaml"), list)]
    run.choices = _choices(folder)
    run.results = _of_type(untrusted.read_json(folder, "results.json"), dict)
    run.status = status.read(folder) or {}
    best = [key for key in run.results if key.startswith("best/val/")]
    run.state = run.status.get("state") or ("finished" if best else "unknown")
    run.monitor = run.status.get("monitor") or (best[0].removeprefix("best/") if best else None)
    if run.monitor:
        guessed = "max" if LARGER_IS_BETTER.search(run.monitor.removeprefix("val/")) else "min"
        run.mode = run.status.get("mode") or guessed
    for found in (run.status.get("score"), run.results.get(f"best/{run.monitor}")):
        if run.score is None and _is_number(found):
            run.score = float(found)
    return run


def find(folder: str | Path) -> list[Run]:
    """All runs in and below a folder, by path; each is named by its path from there."""
    root = Path(folder)
    found = []
    for here, below, _ in os.walk(root):
        if is_run(here):
            run = read(here)
            relative = str(Path(here).relative_to(root))
            run.name = run.name if relative == "." else relative
            found.append(run)
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
    return sorted(found, key=lambda run: _natural(run.name))


def is_run(folder: str | Path) -> bool:
    return any(os.path.isfile(os.path.join(folder, mark)) for mark in MARKS)


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs differ. Where a choice differs, what follows from it is left out.

    A setting that was given on the command line of one of the runs always counts.
    """
    given = {_key(override) for run in runs for override in run.overrides}
    # A run without any setting, whose files are lost, does not count.
    choices = [run.choices for run in runs if run.choices]
    configs = [flatten(run.config) for run in runs if run.config]
    differ = [key for key in _union(choices) if _differs(choices, key)]
    # A recipe decides everything that was not given, and the file in tuned/ follows from model and data.
    recipes = "experiment" in differ
    differ = [key for key in differ if key in given or (key == "experiment" if recipes else key != "tuned")]
    follows = tuple(f"{key.replace('/', '.')}." for key in differ)
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
            return (order, run.monitor or "", 1, 0.0, _natural(run.name))
        return (order, run.monitor or "", 0, run.score if run.mode == "min" else -run.score, _natural(run.name))

    return sorted(runs, key=place)


def difference(one: Run, other: Run) -> dict[str, tuple[Any, Any]]:
    """Every setting in which the configs of two runs differ -> its two values; None where one has no such setting."""
    left, right = one.settings, other.settings
    keys = [key for key in _union((left, right)) if key.split(".")[0] not in PLACE]
    return {key: (left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested dict; lists and empty dicts are values."""
    if not isinstance(config, dict) or (prefix and not config):
        return {prefix: config}
    flat = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


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
    numbers = all(_is_number(values[id(run)]) for run in with_value)
    with_value.sort(key=lambda run: values[id(run)] if numbers else _natural(str(values[id(run)])), reverse=reverse)
    return with_value + [run for run in runs if values[id(run)] is None]


def columns(runs: Sequence[Run], keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """A row a run: name, state, score, monitor, images, duration in seconds, and the settings that differ."""
    keys = differing(runs) if keys is None else keys
    settings = [run.settings for run in runs]
    return [
        {
            "name": run.name,
            "state": run.state,
            "score": run.score,
            "monitor": run.monitor,
            "images": run.images,
            "duration": run.duration,
            **{key: values.get(key) for key in keys},
        }
        for run, values in zip(runs, settings, strict=True)
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
    shown.add_column(_cell(monitors.copy().pop() if len(monitors) == 1 else "score"), justify="right", no_wrap=True)
    for name in ("images", "time"):
        shown.add_column(name, justify="right", no_wrap=True)
    short = _short(keys)
    for key in keys:
        shown.add_column(_cell(short[key]), justify="right", overflow="fold")
    for number, run in enumerate(runs, 1):
        score = "" if run.score is None else f"{run.score:.4g}"
        if score and len(monitors) > 1:
            score = f"{run.monitor} {score}"
        settings = run.settings
        cells = [str(number), run.name, run.state, score, "" if run.images is None else f"{run.images:,}"]
        cells += [clock(run.duration), *(plain(settings.get(key)) for key in keys)]
        shown.add_row(*(_cell(cell) for cell in cells))
    return shown


def clock(seconds: float | None) -> str:
    """Seconds as h:mm:ss or m:ss."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain(value: Any) -> str:
    """A setting in a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
    require(Path(folder).is_dir(), f"{folder}: no such folder; give one that holds runs, such as lightning_logs")
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


def print_table(runs: Sequence[Run], console: Any) -> None:
    """The table, and below it a line for each run that failed."""
    console.print(table(runs))
    for number, run in enumerate(runs, 1):
        if run.error:
            said = shortened(run.error, LONGEST_ERROR)
            console.print(f"{number}: {said}", soft_wrap=True, markup=False, highlight=False)


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
    shown.add_column("")
    for run in (one, other):
        shown.add_column(_cell(run.name), overflow="fold")
    for key, values in found.items():
        shown.add_row(_cell(key), *(_cell("" if value is None else value) for value in values))
    console.print(shown)


def _cell(value: Any) -> Any:
    """Of a table in a terminal."""
    from rich.text import Text

    return Text(shortened(value))


def _text(value: Any) -> Any:
    """Of a line of CSV: a number as it is."""
    return value if value is None or isinstance(value, int | float) else printable(value)


def _named(name: str, folder: str | Path) -> Run:
    """The run in the folder `name`, or in that folder below `folder`."""
    for path in (Path(name), Path(folder) / name):
        if is_run(path):
            return read(path)
    raise UserError(f"--diff {name}: no run there nor in {folder}; give the folder of a run")


def _meets(value: Any, sign: str, wanted: str) -> bool:
    if sign in "<>":
        try:
            limit = float(wanted)
        except ValueError:
            raise UserError(f"--filter ...{sign}{wanted}: a number is compared with < and >") from None
        return _is_number(value) and (value < limit if sign == "<" else value > limit)
    return _equal(value, wanted) == (sign == "=")


def _equal(value: Any, wanted: str) -> bool:
    if _is_number(value):
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    return ("null" if value is None else plain(value)) == wanted


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


def _union(dicts: Iterable[dict]) -> list:
    """All keys, in the order in which they first appear."""
    return list(dict.fromkeys(key for one in dicts for key in one))


def _differs(of: Sequence[dict[str, Any]], key: str) -> bool:
    return len({json.dumps(values.get(key), default=str, sort_keys=True) for values in of}) > 1


def _key(override: str) -> str:
    return override.split("=")[0].lstrip("+~")


def _natural(text: str) -> list:
    """Sorts 2 before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,30})", text) if part]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo else time.astimezone()
    except (TypeError, ValueError, OverflowError):
        return None


def _of_type(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else kind()


def _choices(folder: Path) -> dict[str, str | None]:
    """The choice of each of our config groups; without Hydra's own."""
    found = untrusted.read_yaml(folder, ".hydra/hydra.yaml")
    for key in ("hydra", "runtime", "choices"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    groups = {str(key).split("@")[-1] if "@" in str(key) else str(key): value for key, value in found.items()}
    return {key: value for key, value in groups.items() if not key.startswith("hydra/") and key not in PLACE}
