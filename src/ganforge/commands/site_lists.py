"""Lists of sites that a command is given: CSV, JSON, GraphML. They come from elsewhere and are read within bounds."""

import csv
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.commands.networks import LARGEST, MOST_BYTES, MOST_SITES, from_graphml
from ganforge.errors import UserError, require
from ganforge.files.folders import open_file
from ganforge.files.untrusted import shortened

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".graphml")
ACCEPTED = 'a table of x,y; [[x, y], ...] or {"sites": [[x, y], ...]}; GraphML whose nodes have x and y'
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_COMMENT = "#"
_LONGEST_LINE = 10_000
_NO_NUMBERS = ("nan", "inf", "infinity", "na", "n/a", "null", "none")  # but in a row, not in a heading
_NAMED = 3  # rows, in a note
# Of a number in a table of decimal commas.
_COMMA_NUMBER = re.compile(r"[+-]?\d*,?\d*([eE][+-]?\d+)?")


def read(file: Path) -> tuple[np.ndarray, list[str]]:
    """(N, 2) float64 sites of a file, each once, and what was noticed. Raises UserError, naming file and row."""
    try:
        with open_file(file) as opened:
            content = opened.read(MOST_BYTES + 1)
        require(len(content) <= MOST_BYTES, f"has more than {MOST_BYTES / 2**20:.0f} MiB; give fewer sites")
        suffix = file.suffix.lower()
        if suffix == ".graphml":
            sites = from_graphml(content).sites
        else:
            sites = _from_json(content) if suffix == ".json" else _from_table(_text(content))
        sites, repeated = _each_once(sites)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); give another file") from error
    return sites, [f"{file.name}: {repeated}"] if repeated else []


def checked(sites: np.ndarray, said: str) -> np.ndarray:
    """(N, 2) float64, each site once; raises UserError for what are no sites."""
    require(
        0 < len(sites) <= MOST_SITES and bool((np.abs(sites) <= LARGEST).all()),
        f"{said} holds {len(sites)} sites, of which not all are within {LARGEST:g}; accepted are 1 to {MOST_SITES:,} "
        "finite ones",
    )
    return _each_once(np.asarray(sites, dtype=np.float64))[0]


def _each_once(sites: np.ndarray) -> tuple[np.ndarray, str]:
    require(len(sites) > 0, f"holds no sites; accepted is {ACCEPTED}")
    _, first = np.unique(sites, axis=0, return_index=True)
    repeated = np.setdiff1d(np.arange(len(sites)), first)
    note = ""
    if len(repeated):
        places = "; ".join(f"{sites[at][0]:g}, {sites[at][1]:g}" for at in repeated[:_NAMED])
        more = "; ..." if len(repeated) > _NAMED else ""
        note = f"{len(repeated)} sites are given more than once and are taken once ({places}{more})"
    return sites[np.sort(first)], note


def _from_json(content: bytes) -> np.ndarray:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"is no JSON ({shortened(error, 100)}); accepted is {ACCEPTED}") from error
    found = found.get("sites") if isinstance(found, dict) else found
    require(isinstance(found, list), f"is no list of sites; accepted is {ACCEPTED}")
    require(len(found) <= MOST_SITES, f"has more than {MOST_SITES:,} sites; give fewer")

    def pair(index: int, value: Any) -> tuple[float, float]:
        if isinstance(value, dict):
            value = [value.get("x"), value.get("y")]
        good = isinstance(value, list) and len(value) == 2 and all(type(number) in (int, float) for number in value)
        # NaN compares with nothing.
        require(
            good and all(abs(number) <= LARGEST for number in value),
            f"site {index} is {shortened(value, 60)}; accepted are two numbers from {-LARGEST:g} to {LARGEST:g}",
        )
        return float(value[0]), float(value[1])

    return np.array([pair(index, value) for index, value in enumerate(found)], dtype=np.float64).reshape(-1, 2)


def _text(content: bytes) -> str:
    """Text of UTF-8 or UTF-16 as its first bytes say, or of the Western European encoding of old spreadsheets."""
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    try:
        text = content.decode(marked or "utf-8")
    except UnicodeDecodeError:
        require(marked is None, f"is no text of {marked}, as its first bytes say; save it as UTF-8")
        text = content.decode("cp1252", errors="replace")
    require("\0" not in text, f"is no text; accepted is {ACCEPTED}")
    return text


def _from_table(text: str) -> np.ndarray:
    lines = [(row, line) for row, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(row, line) for row, line in lines if not line.lstrip().startswith(_COMMENT)]
    require(len(lines) > 0, f"holds no sites; accepted is {ACCEPTED}")
    require(len(lines) <= MOST_SITES + 1, f"has more than {MOST_SITES:,} rows; give fewer sites")
    longest = next((row for row, line in lines if len(line) > _LONGEST_LINE), None)
    require(longest is None, f"row {longest} has more than {_LONGEST_LINE:,} characters; accepted is {ACCEPTED}")
    split, number = _dialect(lines[-1][1])
    rows = [(row, split(line)) for row, line in lines]
    x, y = 0, 1
    head = [cell.strip().strip('"').lower() for cell in rows[0][1]]
    if any(cell[:1].isalpha() and cell not in _NO_NUMBERS for cell in head):
        rows = rows[1:]
        require(len(rows) > 0, f"holds a heading and no sites; accepted is {ACCEPTED}")
        named = [name.split("(")[0].split("[")[0].strip(" _") for name in head]
        if "x" in named and "y" in named:
            x, y = named.index("x"), named.index("y")
        else:
            require(
                len(head) == 2,
                f"has the columns {shortened(', '.join(head), 100)}, of which none are x and y; name these so",
            )
    else:
        require(
            len(rows[0][1]) == 2,
            f"row {rows[0][0]} has {len(rows[0][1])} columns and there is no heading that says which are x and y; add "
            "one, or give two columns",
        )

    def pair(row: int, cells: Sequence[str]) -> tuple[float, float]:
        found = []
        for name, column in (("x", x), ("y", y)):
            require(column < len(cells), f"row {row} has {len(cells)} columns and no {name}; complete it or remove it")
            value = number(cells[column])
            require(
                value is not None and abs(value) <= LARGEST,
                f"row {row} has {name}={shortened(cells[column].strip(), 60)!r}; accepted is a number from "
                f"{-LARGEST:g} to {LARGEST:g}",
            )
            found.append(value)
        return found[0], found[1]

    return np.array([pair(row, cells) for row, cells in rows], dtype=np.float64).reshape(-1, 2)


def _dialect(line: str) -> tuple[Callable[[str], list[str]], Callable[[str], float | None]]:
    """How lines like this one are cut into cells, and what a cell is worth: None where it is no number."""
    mark = next((mark for mark in (";", "\t", ",") if mark in line), None)
    if mark is None or (mark == "\t" and not line.strip("\t ").count("\t")):
        return lambda line: line.split(), _number
    decimal_comma = mark != "," and any("," in cell for cell in line.split(mark))
    number = _comma_number if decimal_comma else _number
    return lambda line: next(csv.reader([line.strip()], delimiter=mark), []), number


def _number(cell: str) -> float | None:
    try:
        value = float(cell.strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _comma_number(cell: str) -> float | None:
    cell = cell.strip()
    return _number(cell.replace(",", ".")) if _COMMA_NUMBER.fullmatch(cell) else _number(cell)
