"""tiles.csv: from where in which scene each tile was cut, and for what it is used."""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ganforge.errors import UserError, require
from ganforge.files.folders import open_file, replace

MANIFEST = "tiles.csv"

_SPLITS = ("train", "val", "test")
_LARGEST = 2**28  # bytes


@dataclass(frozen=True)
class Tile:
    """A tile, its window in pixels of a scene, and its split: train, val or test."""

    name: str
    scene: str
    top: int
    left: int
    height: int
    width: int
    split: str


def write_manifest(path: Path, tiles: Iterable[Tile]) -> None:
    """Write a line for each tile, below one with the names of the columns."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(field.name for field in fields(Tile))
    lines.writerows(map(astuple, tiles))
    with replace(path) as file:
        file.write(text.getvalue().encode())


def read_manifest(path: Path) -> dict[str, str]:
    """Name of a tile -> its split. Raises UserError where the file is none of tiles."""
    try:
        with open_file(path) as file:
            text = file.read(_LARGEST).decode()
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); write it again by ganforge tiles") from error
    found = {}
    for number, row in enumerate(rows, 2):
        name, split = row.get("name"), row.get("split")
        require(
            bool(name) and split in _SPLITS and name not in found,
            f"{path}, line {number}: a name that is there once, and a split of {', '.join(_SPLITS)} are expected, not "
            f"{name!r} and {split!r}",
        )
        found[name] = split
    require(bool(found), f"{path}: names no tiles; write it again by ganforge tiles")
    return found
