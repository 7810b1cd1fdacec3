"""metrics.csv as curves, whatever stands in it and however long it is."""

import csv
import math
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ganforge.files import untrusted

AXES = {"images", "step", "epoch"}
MOST_BYTES = 32_000_000  # of metrics.csv, from its beginning
MOST_COLUMNS = 1000


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
    found = {name: (array("d"), array("d")) for name in where if name not in AXES}
    columns = [(where[name], *numbers) for name, numbers in found.items()]
    for row in islice(_rows(path), 1, None):
        x = _number(_cell(row, where.get(axis)))
        if x is None:
            continue
        for index, xs, ys in columns:
            y = _number(_cell(row, index))
            if y is not None:
                xs.append(x)
                ys.append(y)
    left_out = []
    if len(header) > MOST_COLUMNS:
        left_out.append(f"all but the first {MOST_COLUMNS} of {len(header):,} columns")
    if path.stat().st_size > MOST_BYTES:
        left_out.append(f"all after the first {MOST_BYTES // 1_000_000} MB")
    points = {name: _thin(np.array(xs), np.array(ys), most) for name, (xs, ys) in found.items() if xs}
    return Curves(axis, points, " and ".join(left_out) or None)


def _thin(x: np.ndarray, y: np.ndarray, most: int) -> list[tuple[float, float]]:
    """At most `most` points: the smallest and the largest of every stretch."""
    if len(y) > most:
        stretch = math.ceil(2 * len(y) / most)
        starts = np.arange(0, len(y), stretch)
        stretches = np.pad(y, (0, len(starts) * stretch - len(y)), mode="edge").reshape(len(starts), stretch)
        kept = np.unique(np.concatenate([starts + stretches.argmin(axis=1), starts + stretches.argmax(axis=1)]))
        x, y = x[kept], y[kept]
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _rows(path: Path) -> Iterator[list[str]]:
    """Up to the first line that is none of a CSV file, or too long."""
    try:
        with untrusted.open_file(path.parent, path.name) as file:
            yield from (row for row in csv.reader(_lines(file)) if row)
    except (OSError, csv.Error):
        return


def _lines(file: BinaryIO) -> Iterator[str]:
    left = MOST_BYTES
    for line in untrusted.lines(file):
        left -= len(line)
        if left < 0:
            return
        yield line.decode(errors="replace").replace("\0", "")


def _cell(row: list[str], index: int | None) -> str | None:
    return row[index] if index is not None and index < len(row) else None


def _number(text: str | None) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
