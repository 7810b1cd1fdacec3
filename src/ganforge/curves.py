"""metrics.csv as curves, whatever stands in it and however long it is. Imports nothing heavy."""

import csv
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ganforge import untrusted

AXES = {"images", "step", "epoch"}
MOST_BYTES = 32_000_000  # of metrics.csv, from its beginning
MOST_COLUMNS = 1000
MOST_POINTS = 1_000_000  # of all curves together, while a file is read
LONGEST_LINE = 1_000_000  # bytes


class Curves(NamedTuple):
    """axis: "images" or "step"; points: name -> (that count, value) of each row that has both.

    left_out: what of the file was too much to be read, in words; or None.
    """

    axis: str
    points: dict[str, list[tuple[float, float]]]
    left_out: str | None = None


def read(path: Path, most: int) -> Curves:
    """The curves of a metrics.csv; none where there is no such file.

    Of long curves `most` points are kept: the smallest and the largest of every stretch, so that no spike is lost.
    """
    if not untrusted.is_file(path.parent, path.name):
        return Curves("step", {})
    header = next(_rows(path), [])
    where = {name: index for index, name in enumerate(header[:MOST_COLUMNS]) if name}
    axis = "images" if any(_cell(row, where.get("images")) for row in islice(_rows(path), 1, None)) else "step"
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in where if name not in AXES}
    meanwhile = max(most, MOST_POINTS // max(1, len(found)))
    for row in islice(_rows(path), 1, None):
        x = _number(_cell(row, where.get(axis)))
        for name, points in found.items():
            y = _number(_cell(row, where[name]))
            if x is None or y is None:
                continue
            points.append((x, y))
            if len(points) > 2 * meanwhile:
                points[:] = thin(points, meanwhile)
    left_out = []
    if len(header) > MOST_COLUMNS:
        left_out.append(f"all but the first {MOST_COLUMNS} of {len(header):,} columns")
    if path.stat().st_size > MOST_BYTES:
        left_out.append(f"all after the first {MOST_BYTES // 1_000_000} MB")
    points = {name: thin(points, most) for name, points in found.items() if points}
    return Curves(axis, points, " and ".join(left_out) or None)


def thin(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most `most` points: the smallest and the largest of every stretch."""
    if len(points) <= most:
        return points
    stretch = math.ceil(2 * len(points) / most)
    kept = []
    for start in range(0, len(points), stretch):
        part = range(start, min(start + stretch, len(points)))
        kept += sorted({min(part, key=lambda i: points[i][1]), max(part, key=lambda i: points[i][1])})
    return [points[index] for index in kept]


def _rows(path: Path) -> Iterator[list[str]]:
    """Up to the first line that is none of a CSV file, or too long."""
    try:
        with untrusted.open_file(path.parent, path.name) as file:
            yield from (row for row in csv.reader(_lines(file)) if row)
    except (OSError, csv.Error):
        return


def _lines(file: BinaryIO) -> Iterator[str]:
    left = MOST_BYTES
    while 0 < len(line := file.readline(LONGEST_LINE)) < LONGEST_LINE:
        left -= len(line)
        if left < 0:
            return
        yield line.decode(errors="replace").replace("\0", "")


def _cell(row: list[str], index: int | None) -> str | None:
    return row[index] if index is not None and index < len(row) else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
