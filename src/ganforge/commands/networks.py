"""Networks that a command is given: drawn pictures, and the JSON and GraphML files that `ganforge predict` writes.

The files come from elsewhere: they are read within bounds, and XML with declarations of its own (entities, which may
name other files or stand for more than any memory holds) is refused.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from ganforge.errors import UserError, require
from ganforge.files.folders import natural_key, open_file
from ganforge.files.untrusted import shortened
from ganforge.lattice import Network, bond_array, read
from ganforge.lattice.ink import SMALLEST
from ganforge.lattice.mechanics import cell_of
from ganforge.pictures import images

MOST_BYTES = 2**25
MOST_SITES = 100_000
MOST_BONDS = 4 * MOST_SITES  # twelve crossing-free bonds a site is far more than a plane holds
LARGEST = 1e9  # of a coordinate
DEEPEST = 20  # elements inside each other; GraphML has five
LONGEST_TEXT = 400  # characters of a number
SUFFIXES = (".json", ".graphml")


@dataclass(frozen=True, eq=False)
class Given:
    """A network and where it is from; cell: (2, 2) vectors by which it repeats, None for open ones."""

    file: Path
    network: Network
    cell: np.ndarray | None = None


def load(paths: Sequence[str | Path]) -> list[Given]:
    """The networks of files and folders; raises UserError, naming the file, for what holds none.

    Of a folder its network files are taken (of two of one name the JSON), or its pictures where it has none.
    """
    files = []
    for path in map(Path, paths):
        require(path.exists(), f"{path}: no such picture, network or folder")
        files += _in_folder(path) if path.is_dir() else [path]
    return [load_one(file) for file in files]


def load_one(file: Path) -> Given:
    """The network of one file, by its suffix."""
    suffix = file.suffix.lower()
    require(
        suffix in (*SUFFIXES, *images.SUFFIXES),
        f"{file}: networks are read from {', '.join(SUFFIXES)} and pictures ({images.accepted()})",
    )
    if suffix not in SUFFIXES:
        picture = images.read(file, 1)
        height, width = picture.shape[:2]
        require(
            min(height, width) >= SMALLEST,
            f"{file}: has {width}×{height} px; networks are read from {SMALLEST}×{SMALLEST} px or more",
        )
        network, cell = read(picture[..., 0]), None
        require(len(network.bonds) > 0, f"{file}: shows no bonds between dots; give a picture of dots joined by lines")
        return Given(file, network)
    try:
        with open_file(file) as opened:
            content = opened.read(MOST_BYTES + 1)
        require(len(content) <= MOST_BYTES, f"has more than {MOST_BYTES / 2**20:.0f} MiB; give a smaller network")
        network, cell = from_json(content) if suffix == ".json" else (from_graphml(content), None)
        require(len(network.bonds) > 0, "has no bonds; give a network with at least one")
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); give another file") from error
    return Given(file, network, cell)


def from_json(content: bytes) -> tuple[Network, np.ndarray | None]:
    """{"sites": [[x, y], ...], "bonds": [[i, j], ...]}, and "cell": [[x, y], [x, y]] of a periodic one."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"is no JSON ({shortened(error, 100)}); give a file of ganforge predict") from error
    require(
        isinstance(found, dict) and isinstance(found.get("sites"), list) and isinstance(found.get("bonds"), list),
        'is no network; accepted is {"sites": [[x, y], ...], "bonds": [[i, j], ...]}, as ganforge predict writes it',
    )
    cell = found.get("cell")
    if cell is not None:
        cell = cell_of(_pairs(cell, "cell", 2))
    return network_of(_pairs(found["sites"], "sites", MOST_SITES), _pairs(found["bonds"], "bonds", MOST_BONDS)), cell


def _pairs(values: Any, name: str, most: int) -> list[list[int | float]]:
    require(isinstance(values, list) and len(values) <= most, f"{name} is no list of at most {most:,} pairs of numbers")
    for index, pair in enumerate(values):
        good = isinstance(pair, list) and len(pair) == 2 and all(type(value) in (int, float) for value in pair)
        # NaN compares with nothing.
        require(
            good and all(abs(value) <= LARGEST for value in pair),
            f"{name}[{index}] is {shortened(pair, 60)}; accepted are two numbers from {-LARGEST:g} to {LARGEST:g}",
        )
    return values


def network_of(sites: Sequence[Sequence[float]], bonds: Sequence[Sequence[int]]) -> Network:
    """A network of plain numbers; raises UserError for bonds that are not between two of its sites."""
    for index, (first, second) in enumerate(bonds):
        require(
            all(int(end) == end and 0 <= end < len(sites) for end in (first, second)) and first != second,
            f"bonds[{index}] is [{first}, {second}]; accepted are two different whole numbers from 0 to "
            f"{len(sites) - 1}",
        )
    return Network(np.array(sites, dtype=np.float64).reshape(-1, 2), bond_array(bonds))


def from_graphml(content: bytes) -> Network:
    """GraphML whose nodes have the attributes x and y, and whose edges name nodes, as networkx writes it."""
    reader = _GraphML()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"is no GraphML ({shortened(error, 100)}); give a file of ganforge predict") from error
    return reader.network()


class _GraphML:
    """What the elements of a GraphML file say, one at a time."""

    def __init__(self):
        self.names: dict[str, str] = {}  # of attributes, by their key
        self.nodes: dict[str, dict[str, float]] = {}
        self.edges: list[tuple[str, str]] = []
        self.depth = 0
        self.node: str | None = None
        self.attribute: str | None = None
        self.value = ""

    def doctype(self, *_: Any) -> None:
        raise UserError("has a document type declaration, which GraphML does without; remove it")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        require(self.depth <= DEEPEST, f"has more than {DEEPEST} elements inside each other; give a plain graph")
        kind = name.rpartition(" ")[2]
        if kind == "key" and attributes.get("for") in ("node", "all"):
            self.names[attributes.get("id", "")] = attributes.get("attr.name", "")
        elif kind == "node":
            require(len(self.nodes) < MOST_SITES, f"has more than {MOST_SITES:,} nodes; give a smaller network")
            self.node = attributes.get("id", "")
            require(
                self.node not in self.nodes, f"has two nodes {shortened(self.node, 60)}; each has a name of its own"
            )
            self.nodes[self.node] = {}
        elif kind == "edge":
            require(len(self.edges) < MOST_BONDS, f"has more than {MOST_BONDS:,} edges; give a smaller network")
            self.edges.append((attributes.get("source", ""), attributes.get("target", "")))
        elif kind == "data" and self.node is not None:
            self.attribute, self.value = self.names.get(attributes.get("key", "")), ""

    def text(self, text: str) -> None:
        if self.attribute in ("x", "y"):
            self.value += text
            require(len(self.value) <= LONGEST_TEXT, f"node {shortened(self.node, 60)} has a {self.attribute} too long")

    def end(self, name: str) -> None:
        self.depth -= 1
        kind = name.rpartition(" ")[2]
        if kind == "data" and self.node is not None and self.attribute in ("x", "y"):
            try:
                number = float(self.value)
            except ValueError:
                number = math.nan
            require(
                abs(number) <= LARGEST,
                f"node {shortened(self.node, 60)} has {self.attribute}={shortened(self.value, 60)!r}; accepted is a "
                f"number from {-LARGEST:g} to {LARGEST:g}",
            )
            self.nodes[self.node][self.attribute] = number
        if kind == "data":
            self.attribute = None
        elif kind == "node":
            self.node = None

    def network(self) -> Network:
        places = {name: index for index, name in enumerate(self.nodes)}
        for name, node in self.nodes.items():
            require(node.keys() >= {"x", "y"}, f"node {shortened(name, 60)} has no x and y; give both as attributes")
        for edge in self.edges:
            unknown = next((name for name in edge if name not in places), None)
            require(unknown is None, f"an edge names the node {shortened(unknown, 60)!r}, which is none; remove it")
        sites = [(node["x"], node["y"]) for node in self.nodes.values()]
        return network_of(sites, [(places[source], places[target]) for source, target in self.edges])


def _in_folder(folder: Path) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_file()]
    entries.sort(key=lambda entry: natural_key(entry.name))
    plain = [entry for entry in entries if entry.suffix.lower() == ".json"]
    stems = {entry.stem for entry in plain}
    plain += [entry for entry in entries if entry.suffix.lower() == ".graphml" and entry.stem not in stems]
    found = plain or [entry for entry in entries if entry.suffix.lower() in images.SUFFIXES]
    require(bool(found), f"{folder} holds no networks ({', '.join(SUFFIXES)}) and no pictures ({images.accepted()})")
    return found


def stems(given: Sequence[Given]) -> list[str]:
    """A name for each network; raises UserError where two would have the same."""
    names = [one.file.stem for one in given]
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(not repeated, f"networks of one name would overwrite each other: {', '.join(repeated)}; rename one")
    return names
