"""The mechanical network in a translated picture, as JSON and GraphML."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx
import numpy as np

from ganforge.errors import require
from ganforge.lattice import Network, find_sites
from ganforge.lattice.classify import classify
from ganforge.lattice.draw import line_ink
from ganforge.lattice.ink import SMALLEST
from ganforge.lattice.probability import DOUBTFUL, Calibration, Candidates, probable_bonds
from ganforge.lattice.show import DOUBTFUL_BOND, DOUBTFUL_PAIR


def check_size(height: int, width: int) -> None:
    """Raise UserError for a picture that networks are not read from."""
    require(
        min(height, width) >= SMALLEST,
        f"a picture of {width}×{height} px: networks are read from {SMALLEST}×{SMALLEST} px or more; give larger "
        "pictures, or leave out --full-size",
    )


def calibration_of(card: dict[str, Any]) -> Calibration | None:
    """What a checkpoint's card says of the probabilities of bonds; None where it says nothing."""
    said = card.get("bond_calibration")
    return None if said is None else Calibration.from_card(said)


def between(
    source: np.ndarray, generated: np.ndarray, factors: np.ndarray, calibration: Calibration | None = None
) -> tuple[Network, Candidates]:
    """The network between the dots of the source, in pixels of the picture, `factors` (x, y) times as large.

    source, generated: uint8 (H, W, C), of SMALLEST px or more.
    """
    sites = find_sites(source[..., 0])
    found = probable_bonds(generated[..., 0], sites, calibration)
    return Network(sites * factors, found.pairs[found.is_bond]), found


def read_and_write(
    seen: list[Candidates],
    card: dict[str, Any],
    source: np.ndarray,
    generated: np.ndarray,
    factors: np.ndarray,
    *files: Path,
) -> None:
    """Write what `between` reads, as JSON and as GraphML, and add its candidates to `seen`."""
    network, found = between(source, generated, factors, calibration_of(card))
    seen.append(found)
    write(network, *files, candidates=found)


def said_of(found: Sequence[Candidates]) -> list[str]:
    """How many bonds are doubtful, in a sentence, and what the probabilities are."""
    if not found:
        return []
    low, high = DOUBTFUL
    bonds = sum(int((one.is_doubtful & one.is_bond).sum()) for one in found)
    others = sum(int((one.is_doubtful & ~one.is_bond).sum()) for one in found)
    between = f"(probability between {low} and {high})"
    number = "1 bond is" if bonds == 1 else f"{bonds or 'no'} bonds are"
    said = [f"{number} doubtful {between}, and {others or 'no'} further pairs may be bonds"]
    if not all(one.calibrated for one in found):
        said.append(
            "the checkpoint says nothing of probabilities, so these are ink: 1 as dark as the picture's lines, 0.5 the "
            "palest that is a line"
        )
    return said


def coloured(drawn: np.ndarray, sites: np.ndarray, candidates: Candidates, width: float) -> np.ndarray:
    """uint8 (H, W, 1 or 3) -> (H, W, 3): doubtful bonds in orange over it, doubtful other pairs in blue.

    sites: (N, 2) in px of it. width: px, of a line.
    """
    shown = (np.repeat(drawn, 3, axis=2) if drawn.shape[2] == 1 else drawn).astype(np.float32)
    for colour, chosen in ((DOUBTFUL_BOND, candidates.is_bond), (DOUBTFUL_PAIR, ~candidates.is_bond)):
        pairs = candidates.pairs[candidates.is_doubtful & chosen]
        ink = line_ink(Network(sites, pairs), width, drawn.shape[:2])[..., None]
        shown = shown * (1 - ink) + np.array(colour) * ink
    return (shown + 0.5).astype(np.uint8)


def candidates_of(said: dict[str, Any]) -> Candidates | None:
    """The bonds and the doubtful other pairs of what `write` wrote; None where it says nothing of probabilities."""
    if "probabilities" not in said:
        return None
    pairs = np.array([*said["bonds"], *said["doubtful_other_pairs"]], dtype=np.int64).reshape(-1, 2)
    probabilities = np.array([*said["probabilities"], *said["doubtful_other_probabilities"]])
    return Candidates(pairs, probabilities, said["calibrated"])


def write(
    network: Network,
    json_file: Path,
    graph_file: Path,
    decimals: int | None = 3,
    candidates: Candidates | None = None,
) -> None:
    """decimals: of the sites in the files; None for all, where they are in no pixels.

    candidates: all pairs of its sites that could be bonds; the JSON has the probabilities of its bonds in their order,
    and the doubtful pairs that are none of them.
    """
    sites = network.sites if decimals is None else network.sites.round(decimals)
    plain = {"sites": sites.tolist(), "bonds": network.bonds.tolist()}
    if candidates is not None:
        others = candidates.is_doubtful & ~candidates.is_bond
        plain["probabilities"] = candidates.probabilities[candidates.is_bond].round(4).tolist()
        plain["doubtful_other_pairs"] = candidates.pairs[others].tolist()
        plain["doubtful_other_probabilities"] = candidates.probabilities[others].round(4).tolist()
        plain["calibrated"] = candidates.calibrated
    found = classify(network)
    said = {"lattice": found.lattice, "lattice_margin": round(found.margin, 3)}
    json_file.write_text(json.dumps(plain | said) + "\n")
    graph = networkx.Graph()
    graph.add_nodes_from((i, {"x": x, "y": y}) for i, (x, y) in enumerate(plain["sites"]))
    graph.add_edges_from(network.bonds.tolist())
    networkx.write_graphml(graph, graph_file)
