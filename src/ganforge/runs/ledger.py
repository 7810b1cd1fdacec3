"""The ledger of results: `docs/results.yaml`, with every number that README and docs quote, and where it comes from.

An entry is a name and the runs of one command that differ in their seeds alone, or one study (`studies/recorded.py`),
or `source: measured before the ledger` with what is known. Nothing in it names a folder of the machine. Imports nothing
heavy.
"""

import fnmatch
import re
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ganforge.errors import UserError, require
from ganforge.files import untrusted
from ganforge.files.folders import replace
from ganforge.files.untrusted import printable
from ganforge.runs import bounds, git, machine, summary
from ganforge.runs.folder import Run, flatten, is_number

HEAD = """\
# The results that README.md and docs/ quote. Written by `ganforge record RUN --name NAME`; the tables of the pages are
# rendered from it by `ganforge record --render`, and `ganforge record --check` says whether they still agree.
"""
BEFORE = "measured before the ledger"
BOUNDS = ("floor", "ceiling", "baseline")
# Of a test set the numbers that tell little beside the others.
DETAILS = (
    "*disorder_*",
    "*/probable_*",
    "*_precision*",
    "*bond_recall*",
    "*probable_recall*",
    "*baseline/*_recall*",
    "*/std",
    "*/low",
    "*/high",
    "*/classes/*",
)
_PATH = re.compile(r"(^|[^\w.\-/])(~?/\w|~(/|$)|\.\.?/|[A-Za-z]:\\)")  # an absolute path, or one that climbs
_KEY = re.compile(r"[\w./@+\- ]+")  # nothing that a table would take for its own
_DIGITS = 6


def read(file: str | Path) -> dict[str, dict[str, Any]]:
    """The entries of a ledger by name, none where there is no file. Raises UserError for what is no ledger."""
    file = Path(file)
    if not file.exists():
        return {}
    entries = untrusted.read_yaml(file.parent, file.name)
    whole = isinstance(entries, dict) and all(map(_is_entry, entries.values()))
    require(whole, f"{file}: is no ledger of results; restore it, or give another by --file")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    runs = entry.get("runs", [entry])
    return isinstance(runs, list) and all(
        isinstance(run, dict) and isinstance(run.get("numbers"), dict) for run in runs
    )


def write(entries: dict[str, dict[str, Any]], file: str | Path) -> None:
    """The ledger, whole at any time, entries by name."""
    text = yaml.safe_dump(dict(sorted(entries.items())), sort_keys=False, allow_unicode=True, width=120)
    with replace(file) as written:
        written.write((HEAD + text).encode())


def of_run(run: Run, patterns: Sequence[str] = (), note: str | None = None) -> dict[str, Any]:
    """What the ledger says of a run. patterns: shell patterns of the numbers that are kept; default: those of the test
    sets and what they lie between, without details. Raises UserError for a run that has no results.
    """
    names = summary.test_names(run.results)
    require(bool(names), f"{run.folder}: has no results of a test; give a run that has finished")
    found = {
        "command": command(run.overrides),
        "commit": printable(run.results.get("git_commit", "unknown")),
        "machine": machine.of_run(run),
        "seed": run.results.get("seed"),
        "date": _date(run),
        "images": run.images,
        "seconds": None if run.duration is None else round(run.duration),
        "note": note,
        "numbers": numbers(run.results, names, patterns),
    }
    refuse_paths(found)
    return {key: value for key, value in found.items() if value is not None}


def of_script(file: str | Path, typed: str | None, note: str | None = None) -> dict[str, Any]:
    """What the ledger says of numbers that a script measured: a JSON file of these by name, nested ones by a/b.

    typed: the command that measured them, here and now: the commit, machine and date are those of this moment. Raises
    UserError for a file that holds anything else.
    """
    file = Path(file)
    require(
        bool(typed),
        f"{file}: add --command with the line that measured these numbers, such as 'python benchmarks/seams.py RUN'",
    )
    content = untrusted.read_json(file.parent, file.name)
    measured = flatten(content, joint="/") if isinstance(content, dict) else {}
    whole = bool(measured) and all(is_number(value) and _KEY.fullmatch(key) for key, value in measured.items())
    require(whole, f'{file}: give a JSON file of numbers by name, such as {{"square": {{"f1": 0.9}}}}')
    found = {
        "command": printable(typed).replace("`", "'"),
        "commit": git.commit(),
        "machine": machine.here(),
        "date": datetime.now().date().isoformat(),
        "note": note,
        "numbers": {key: rounded(value) for key, value in measured.items()},
    }
    refuse_paths(found)
    return {key: value for key, value in found.items() if value is not None}


def numbers(results: dict[str, Any], names: Sequence[str], patterns: Sequence[str] = ()) -> dict[str, float]:
    """The numbers that are kept, with their intervals (KEY/low, KEY/high) and counts.

    A share of networks gets the interval of a share of so many.
    """
    kept = {}
    for key, value in results.items():
        head = key.split("/")[0]
        if patterns:
            chosen = any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)
        else:
            own = "/" in key and (head in names or head in BOUNDS)
            chosen = own and not any(fnmatch.fnmatchcase(key, pattern) for pattern in DETAILS)
        if chosen and is_number(value) and _KEY.fullmatch(key):
            kept[key] = value
    for key in [key for key in kept if not key.startswith(BOUNDS)]:
        ends = bounds.of(results, key) or _of_share(results, key)
        kept |= {f"{key}/{end}": value for end, value in zip(("low", "high"), ends, strict=False)}
    return {key: rounded(value) for key, value in kept.items()}


def rounded(value: float) -> float:
    """To the digits that the ledger keeps."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _of_share(results: dict[str, Any], key: str) -> tuple[float, ...]:
    """The 95 % interval of a share of all networks of a test set; empty for other numbers."""
    head, _, rest = key.partition("/")
    count = results.get(f"{head}/networks")
    if not (
        rest.endswith("_exact")
        and "baseline" not in rest
        and is_number(count)
        and count >= 1
        and 0 <= results[key] <= 1
    ):
        return ()
    from ganforge.evaluation import intervals  # loads torch

    return intervals.of_share(float(results[key]), int(count))


def command(overrides: Sequence[str], typed: str = "python train.py") -> str:
    """The command as it was typed, but for places: `data.root=FOLDER` stands for a folder of the machine."""
    words = [typed]
    for override in overrides:
        key, sign, value = override.partition("=")
        if key.lstrip("+~") in ("resume", "run_dir", "ckpt_path") or key.startswith("hydra."):
            continue  # where it was and how it went on, not what it was
        if is_path(value):
            value = "FOLDER" if key.endswith(("root", "root_a", "root_b", "dir")) else "FILE"
        words.append(_quoted(f"{key}{sign}{value}"))
    return printable(" ".join(words)).replace("`", "'")


def _quoted(word: str) -> str:
    """For a shell, in single quotes where it needs any."""
    return word if re.fullmatch(r"[\w\-.,=/+:@%]+", word) else shlex.quote(word)


def without_seed(command: str) -> str:
    """Of a run without its seed, of a study without how many it has."""
    return re.sub(r" seeds?=\S+", "", command)


def add(entries: dict[str, dict[str, Any]], name: str, run: dict[str, Any], *, anew: bool = False) -> str:
    """Put a run into the entry `name`; what it took the place of, in words.

    A run of the same seed takes the place of the former one. Raises UserError where the entry's runs are of another
    command, unless `anew`: then the entry begins again with this run.
    """
    require(re.fullmatch(r"[\w\-]+", name) is not None, f"--name {name!r}: give letters, digits, - and _")
    entry = entries.get(name, {})
    former = entry.get("runs", [])
    others = {without_seed(str(other.get("command"))) for other in former} - {without_seed(run["command"])}
    if others and not anew:
        raise UserError(
            f"{name}: its runs are of `{min(others)}`, this one is of `{without_seed(run['command'])}`; "
            "give another --name, or --anew to begin the entry again"
        )
    kept = [] if anew else [other for other in former if other.get("seed") != run.get("seed")]
    whole = (anew and former) or (entry and "runs" not in entry) or "seeds" in run
    replaced = "the entry" if whole else f"seed {run.get('seed')}"
    was = anew or len(kept) < len(former) or (entry and not former)
    runs = sorted([*kept, run], key=lambda one: str(one.get("seed")).zfill(9))
    entries[name] = {key: value for key, value in entry.items() if key == "title"} | {"runs": runs}
    return f"in place of {replaced} as it was" if was and entry else "new"


def refuse_paths(found: dict[str, Any]) -> None:
    """Raise UserError where an entry holds a path of this machine."""
    paths = [text for text in texts(found) if is_path(text)]
    require(not paths, f"{paths[:1]}: looks like a path of this machine, which must not get into the ledger")


def texts(value: Any) -> list[str]:
    """All strings in nested values, keys too."""
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


def is_path(text: str) -> bool:
    """Whether a text holds a path of a machine: an absolute one, or one that begins at home or climbs."""
    return _PATH.search(text) is not None


def _date(run: Run) -> str | None:
    try:
        return datetime.fromisoformat(str(run.status.get("began"))).date().isoformat()
    except ValueError:
        return None
