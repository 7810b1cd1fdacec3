"""The mechanical network in a translated picture, as JSON and GraphML."""

import json
from pathlib import Path

import networkx
import numpy as np

from ganforge.errors import require
from ganforge.lattice import Network, find_sites, read
from ganforge.lattice.classify import classify
from ganforge.lattice.ink import SMALLEST


def check_size(height: int, width: int) -> None:
    """Raise UserError for a picture that networks are not read from."""
    require(
        min(height, width) >= SMALLEST,
        f"a picture of {width}×{height} px: networks are read from {SMALLEST}×{SMALLEST} px or more; give larger "
        "pictures, or leave out --full-size",
    )


def between(source: np.ndarray, generated: np.ndarray, factors: np.ndarray) -> Network:
    """The network between the dots of the source, in pixels of the picture, `factors` (x, y) times as large.

    source, generated: uint8 (H, W, C), of SMALLEST px or more.
    """
    found = read(generated[..., 0], find_sites(source[..., 0]))
    return Network(found.sites * factors, found.bonds)


def read_and_write(source: np.ndarray, generated: np.ndarray, factors: np.ndarray, *files: Path) -> None:
    """Write what `between` reads, as JSON and as GraphML."""
    write(between(source, generated, factors), *files)


def write(network: Network, json_file: Path, graph_file: Path, decimals: int | None = 3) -> None:
    """decimals: of the sites in the files; None for all, where they are in no pixels."""
    sites = network.sites if decimals is None else network.sites.round(decimals)
    plain = {"sites": sites.tolist(), "bonds": network.bonds.tolist()}
    found = classify(network)
    said = {"lattice": found.lattice, "lattice_margin": round(found.margin, 3)}
    json_file.write_text(json.dumps(plain | said) + "\n")
    graph = networkx.Graph()
    graph.add_nodes_from((i, {"x": x, "y": y}) for i, (x, y) in enumerate(plain["sites"]))
    graph.add_edges_from(network.bonds.tolist())
    networkx.write_graphml(graph, graph_file)
