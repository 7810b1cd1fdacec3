"""Which lattice a network is, by numbers: coordination, rings, and the order of the bonds' directions."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from ganforge.lattice.network import LATTICES, Network, patch
from ganforge.lattice.rings import OUTSIDE, Rings, rings, shares

UNKNOWN = "unknown"
FARTHEST = 0.3  # distance from which on a network is none of the table
CLOSEST = 0.05  # margin below which it may as well be another one
REFERENCE = 12  # cells a side of the patches that networks are compared with


@dataclass(frozen=True)
class LatticeClass:
    """A network's numbers, and the lattice of `LATTICES` that has the same.

    lattice: a name, or UNKNOWN. nearest: the nearest one in any case. distance: the share of the bonds inside that lie
    between other rings than there, and of the sites inside with another number of bonds, averaged (total variation, 0
    to 1); margin: how much more that is for the second nearest. coordination: mean number of bonds at the sites inside,
    of all where there are none inside. rings: shares of the rings by size. psi4, psi6: mean |mean of exp(i n angle)
    over a site's bonds| at the same sites (Nelson and Halperin 1979): 1 where bonds are n-fold.
    """

    lattice: str
    nearest: str
    distance: float
    margin: float
    coordination: float
    rings: dict[int, float]
    psi4: float
    psi6: float


def classify(network: Network) -> LatticeClass:
    """The lattice that the network's bonds show; the sites may be disordered, and of any unit."""
    found = rings(network)
    own = numbers(network, found)
    distances = {
        name: sum(distance(mine, its) for mine, its in zip(own, there, strict=True) if mine)
        / max(sum(map(bool, own)), 1)
        for name, there in references().items()
    }
    nearest, second = sorted(distances, key=distances.get)[:2]
    margin = distances[second] - distances[nearest]
    inside = ~found.rim if not found.rim.all() else np.ones(len(network.sites), dtype=bool)
    degrees = network.degrees()[inside]
    psi4, psi6 = (order_parameter(network, n)[inside] for n in (4, 6))
    known = bool(own[0]) and distances[nearest] < FARTHEST and margin > CLOSEST
    return LatticeClass(
        lattice=nearest if known else UNKNOWN,
        nearest=nearest,
        distance=distances[nearest],
        margin=margin,
        coordination=float(degrees.mean()) if len(degrees) else 0.0,
        rings=shares(found.sizes),
        psi4=float(psi4.mean()) if len(psi4) else 0.0,
        psi6=float(psi6.mean()) if len(psi6) else 0.0,
    )


def numbers(network: Network, found: Rings) -> tuple[dict, dict]:
    """Shares of the bonds inside by the sizes of the rings on both sides, and of the sites inside by their bonds.

    Where all bonds are on the rim, each has its ring on both sides.
    """
    sides = found.sides[(found.sides != OUTSIDE).all(axis=1)]
    if len(sides) == 0:
        sides = np.repeat(found.sides[found.sides[:, 1] != OUTSIDE][:, 1:], 2, axis=1)
    return shares(sides), shares(network.degrees()[~found.rim])


def distance(first: dict, second: dict) -> float:
    """Total variation of two sets of shares, 0 to 1."""
    return sum(abs(first.get(key, 0.0) - second.get(key, 0.0)) for key in first.keys() | second.keys()) / 2


@cache
def references() -> dict[str, tuple[dict, dict]]:
    """The `numbers` of a patch of each lattice of the table."""
    patches = {name: patch(name, (REFERENCE, REFERENCE)) for name in LATTICES}
    return {name: numbers(network, rings(network)) for name, network in patches.items()}


def order_parameter(network: Network, fold: int) -> np.ndarray:
    """(N,) |mean of exp(i fold angle) over the bonds of a site|; 0 for sites without a bond."""
    begin, end = np.concatenate([network.bonds, network.bonds[:, ::-1]]).T
    along = network.sites[end] - network.sites[begin]
    turns = np.exp(1j * fold * np.arctan2(along[:, 1], along[:, 0]))
    number = len(network.sites)
    total = np.bincount(begin, turns.real, number) + 1j * np.bincount(begin, turns.imag, number)
    return np.abs(total) / np.maximum(network.degrees(), 1)
