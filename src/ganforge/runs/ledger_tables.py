"""Tables and numbers of the ledger in Markdown pages, between two comments.

    <!-- results: NAME,... columns="TITLE=KEY:FORMAT; ..." -->  a row an entry; each=run: a row a run
    <!-- results: NAME networks=SET -->                          bond F1 and exact networks, beside geometric methods
    <!-- results: NAME study=arms -->                            of a study: the arms, and each against the reference
    <!-- results: NAME study=verdict -->                         of a study: what it came to, and the primary comparison
    <!-- results: NAME value=KEY:FORMAT -->                      one number, or a study's verdict, in a sentence
    <!-- results: all -->                                        every entry, with what stands behind it
    ...
    <!-- end -->

FORMAT is Python's (.4f, .0%, ,.0f). Of several runs the mean stands there and their range. Behind a backtick a comment
is an example, and left alone. Imports nothing heavy.
"""

import re
import shlex
from pathlib import Path
from statistics import fmean
from typing import Any

from ganforge.errors import UserError, require
from ganforge.runs import git, ledger
from ganforge.runs.folder import clock, is_number

BLOCK = re.compile(r"(?<!`)(<!-- results: (?P<asked>.*?) -->)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
METHODS = {
    "delaunay": "Delaunay, pruned",
    "gabriel": "Gabriel graph",
    "relative_neighbourhood": "relative neighbourhood graph",
}

Entry = dict[str, Any]


def rendered(text: str, entries: dict[str, Entry], name: str = "text") -> str:
    """A page with its blocks as the ledger has them. name: of the page, for errors."""

    def body(found: re.Match) -> str:
        try:
            begins_line = not text[: found.start()].rpartition("\n")[2].strip()
            return f"{found[1]}{of(found['asked'], entries, begins_line)}{found[4]}"
        except (UserError, ValueError, KeyError, TypeError) as error:
            where = f"{name} line {line_of(text, found.start())}: <!-- results: {found['asked']} -->"
            raise UserError(f"{where}: {error}") from error

    opened, closed = len(re.findall(r"(?<!`)<!-- results: ", text)), len(BLOCK.findall(text))
    require(opened <= closed, f"{name}: a <!-- results: ... --> has no <!-- end -->; add it")
    return BLOCK.sub(body, text)


def difference(text: str, entries: dict[str, Entry], name: str) -> str | None:
    """The first line of a page that differs from the ledger, in one sentence; None where they agree."""
    wanted = rendered(text, entries, name)
    if wanted == text:
        return None
    ours, theirs = text.splitlines(), wanted.splitlines()
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    said, due = (lines[at].strip() if at < len(lines) else "" for lines in (ours, theirs))
    return f"{name} line {at + 1} says {said!r} where the ledger gives {due!r}; run ganforge record --render"


def line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def of(asked: str, entries: dict[str, Entry], begins_line: bool = False) -> str:
    """What stands between the comments. begins_line: whether nothing stands before them."""
    names, *options = shlex.split(asked)
    settings = dict(option.split("=", 1) for option in options)
    if names == "all":
        return "\n\n" + "\n\n".join(_whole(name, entry) for name, entry in entries.items()) + "\n\n"
    chosen = {}
    for name in names.split(","):
        require(name in entries, f"no entry {name!r} in the ledger; it has {', '.join(entries)}")
        chosen[name] = entries[name]
    first = next(iter(chosen.values()))
    if "value" in settings:
        require(not begins_line, "a number at the start of a line is no part of its sentence in Markdown; move it on")
        return value(first, *_key(settings["value"]))
    if "networks" in settings:
        return f"\n\n{_networks(first, settings['networks'])}\n\n"
    if "study" in settings:
        study = runs(first)[0]
        require("verdict" in study, "is no study; ganforge record STUDY_FOLDER writes one")
        require(settings["study"] in ("arms", "verdict"), "give study=arms or study=verdict")
        return f"\n\n{_arms(study) if settings['study'] == 'arms' else _verdict(study)}\n\n"
    require("columns" in settings, "give columns=, networks=, study= or value=")
    columns = {title.strip(): _key(key) for title, key in (one.split("=", 1) for one in settings["columns"].split(";"))}
    rows = []
    for name, entry in chosen.items():
        own = [entry] if settings.get("each") != "run" else [{"runs": [run]} for run in runs(entry)]
        rows += [[f"`{name}`", *(value(one, *key) for key in columns.values()), _seeds(one)] for one in own]
    return f"\n\n{table(['', *columns, 'seeds'], rows)}\n\n"


def runs(entry: Entry) -> list[Entry]:
    return entry.get("runs") or [entry]


def value(entry: Entry, key: str, form: str = ".4g") -> str:
    """A number of an entry: of one run with its interval, of several the mean and range; text stays as it is."""
    found = [known for run in runs(entry) if (known := _known(run, key)) is not None]
    require(bool(found), f"no number {key!r} in it; it has {', '.join(runs(entry)[0]['numbers'])}")
    if not all(map(is_number, found)):
        return ", ".join(map(str, found))
    if len(found) == 1:
        return _form(found[0], form)
    low, mean, high = (_form(own, form) for own in (min(found), fmean(found), max(found)))
    return mean if low == high else f"{mean} ({low} to {high})"


def _known(run: Entry, key: str) -> Any:
    """A number of a run, or what it says of itself: date, commit, images, minutes."""
    if key == "minutes" and is_number(run.get("seconds")):
        return run["seconds"] / 60
    return run["numbers"].get(key, run.get(key))


def _form(number: float, form: str) -> str:
    text = format(number, form)
    if text == "100%" and number < 1:  # nearly all is not all
        text = format(number, ".1%")
    return f"{text[:-1]} %" if text.endswith("%") else text


def _key(text: str) -> tuple[str, ...]:
    """KEY or KEY:FORMAT."""
    key, sign, form = text.strip().partition(":")
    return (key, form) if sign else (key,)


def _networks(entry: Entry, name: str) -> str:
    """Bond F1 and the share of networks without a wrong bond: a row a method, a column a lattice."""
    start = f"{name}/bond_f1/"
    lattices = [key.removeprefix(start) for key in runs(entry)[0]["numbers"] if key.startswith(start)]
    before = "baseline/" if name == "test" else f"{name}/baseline/"
    methods = {"**ganforge**": (f"{name}/bond_f1", f"{name}/network_exact")}
    methods |= {title: (f"{before}{method}_f1", f"{before}{method}_exact") for method, title in METHODS.items()}
    rows = []
    for title, (f1, exact) in methods.items():
        all_of_them = f"{value(entry, f1, '.4f')}, {value(entry, exact, '.0%')}"
        of_each = (f"{_mean(entry, f'{f1}/{own}', '.4f')}, {_mean(entry, f'{exact}/{own}', '.0%')}" for own in lattices)
        rows.append([title, all_of_them, *of_each])
    shown = table(["", "all", *(lattice.replace("kagome", "Kagome") for lattice in lattices)], rows)
    several = len(runs(entry)) > 1
    return f"{shown}\n\nMeans over seeds {_seeds(entry)}, with their range for all." if several else shown


_FIGURES = {"macro_f1": "macro-F1", "accuracy": "accuracy"}


def _arms(study: Entry) -> str:
    """The arms of a study: a row each, with its figures and what they are above the reference of the comparison."""
    primary, numbers = study["primary"], study["numbers"]
    keys = dict.fromkeys(key.rpartition("/")[0] for key in numbers if key.endswith(tuple(_FIGURES)))
    rows = []
    for key in keys:
        shots, arm = key.removeprefix("shots-").split("/")
        is_primary = (int(shots), arm) == (primary["shots"], primary["arm"])
        compared = "primary" if is_primary else key
        cells = [shots, f"`{arm}`", *(_share(numbers, f"{key}/{figure}") for figure in _FIGURES)]
        p = numbers.get(f"{compared}/p")
        cells += [_share(numbers, f"{compared}/gain", "+.1f"), "" if p is None else _form(p, ".3f")]
        rows.append([f"**{cell}**" if is_primary and cell else cell for cell in cells])
    above = f"points of {_FIGURES[primary['figure']]} above `{primary['against']}`"
    heads = ["real pictures a class", "trained on", *(f"{title}, %" for title in _FIGURES.values()), above, "p"]
    return (
        f"{table(heads, rows)}\n\nMeans over seeds {_seeds({'runs': [study]})} with 95 % intervals. Bold: the primary "
        "comparison, settled before; p of a sign-flip test, that of the others adjusted for being several (Holm)."
    )


def _verdict(study: Entry) -> str:
    """What a study came to, with its primary comparison."""
    primary, numbers = study["primary"], study["numbers"]
    gain = _share(numbers, "primary/gain", "+.1f")
    return (
        f"**{study['verdict']}**\n\nPrimary comparison: `{primary['arm']}` against `{primary['against']}` on "
        f"{primary['shots']} real pictures a class: {gain} points of {_FIGURES[primary['figure']]}, "
        f"p = {numbers['primary/p']:.3f}, seeds {_seeds({'runs': [study]})}."
    )


def _share(numbers: Entry, key: str, form: str = ".1f") -> str:
    """A share in points of 100, with its interval where it is known."""
    if key not in numbers:
        return ""
    value, low, high = (numbers.get(own) for own in (key, f"{key}/low", f"{key}/high"))
    shown = format(100 * value, form)
    return shown if low is None else f"{shown} [{100 * low:{form}}, {100 * high:{form}}]"


def _mean(entry: Entry, key: str, form: str) -> str:
    return _form(fmean(run["numbers"][key] for run in runs(entry)), form)


def _whole(name: str, entry: Entry) -> str:
    """Everything about an entry: each run, and each number."""
    said = [f"## {name}"]
    if entry.get("source"):
        said.append(f"*{entry['source']}*" + (f": {entry['said']}" if entry.get("said") else ""))
    facts = ("seed", "seeds", "commit", "date", "machine", "images", "seconds", "note")
    own = runs(entry)
    known = [fact for fact in facts if any(run.get(fact) is not None for run in own)]
    said.append("command unknown" if entry.get("command") == "unknown" else f"    {_command(entry)}")
    if known and not entry.get("source"):
        rows = [[_fact(fact, run.get(fact)) for fact in known] for run in own]
        said.append(table(["time" if fact == "seconds" else fact for fact in known], rows))
    said += [_verdict(run) for run in own if "verdict" in run]
    keys = dict.fromkeys(key for run in own for key in run["numbers"] if not key.endswith(("/low", "/high")))
    rows = [[f"`{key}`", *(_bounded(run["numbers"], key) for run in own)] for key in keys]
    heads = ["", *(f"seed {run['seed']}" if "seed" in run else "value" for run in own)]
    numbers = table(heads, rows)
    folded = f"<details markdown><summary>{len(keys)} numbers</summary>\n\n{numbers}\n\n</details>"
    said.append(folded if len(keys) > 8 else numbers)
    return "\n\n".join(said)


def _bounded(numbers: dict[str, Any], key: str) -> str:
    """A number with its 95 % interval."""
    if key not in numbers:
        return ""
    low, high = numbers.get(f"{key}/low"), numbers.get(f"{key}/high")
    shown = f"{numbers[key]:.5g}" if is_number(numbers[key]) else str(numbers[key])
    return shown if low is None else f"{shown} [{low:.4g}, {high:.4g}]"


def _fact(fact: str, known: Any) -> str:
    if known is None:
        return ""
    if fact == "commit":
        return str(known).replace(git.DIRTY, " with changes")
    if fact == "seeds":
        return ", ".join(map(str, known))
    return clock(known) if fact == "seconds" else f"{known:,}" if fact == "images" else str(known)


def _command(entry: Entry) -> str:
    command = str(runs(entry)[0].get("command", "unknown"))
    return ledger.without_seed(command) if len(runs(entry)) > 1 else command


def _seeds(entry: Entry) -> str:
    return ", ".join(str(seed) for run in runs(entry) for seed in run.get("seeds", [run.get("seed", "unknown")]))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "|" + "|".join(f" {cell.replace('|', '&#124;')} " if cell else " " for cell in line) + "|" for line in lines
    )


def pages(file: Path) -> list[Path]:
    """The Markdown pages of a ledger: those in its folder and below, and the README beside that folder."""
    folder = file.absolute().parent
    return [page for page in (folder.parent / "README.md", *sorted(folder.rglob("*.md"))) if page.is_file()]
