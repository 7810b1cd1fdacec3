"""Mechanical networks as pictures: build them, draw them, and read the bonds back. numpy, scipy and Pillow only."""

from ganforge.lattice.baselines import BASELINES, delaunay, gabriel, relative_neighbourhood
from ganforge.lattice.draw import Drawing, Style, draw
from ganforge.lattice.network import LATTICES, Lattice, Network, bond_array, disorder, patch
from ganforge.lattice.read import find_dots, find_sites, read
from ganforge.lattice.sample import Distribution, sample
from ganforge.lattice.score import BondScore, SiteMatch, match_sites, score_bonds

__all__ = [
    "BASELINES",
    "LATTICES",
    "BondScore",
    "Distribution",
    "Drawing",
    "Lattice",
    "Network",
    "SiteMatch",
    "Style",
    "bond_array",
    "delaunay",
    "disorder",
    "draw",
    "find_dots",
    "find_sites",
    "gabriel",
    "match_sites",
    "patch",
    "read",
    "relative_neighbourhood",
    "sample",
    "score_bonds",
]
