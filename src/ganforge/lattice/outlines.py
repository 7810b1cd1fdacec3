"""Patches of other outlines than a parallelogram of cells, cut from a larger one."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ganforge.errors import require
from ganforge.lattice.network import LATTICES, Network, bond_array, patch

OUTLINES = ("parallelogram", "rectangle", "square", "irregular")
CORNERS = 9  # of an irregular outline
DENTS = (0.6, 1.2)  # radii of its corners, over that of the square of its area
LEAST_BONDS = 2  # at a site; others hang from the patch and are cut off


def cut(lattice: str, cells: tuple[int, int], breathing: float, outline: str, turn: bool, radii: np.ndarray) -> Network:
    """A patch about as large as `cells` cells, of the lattice turned by 90 degrees where `turn`.

    outline: of `OUTLINES`. radii: (CORNERS,), of an irregular one; others ignore them. Sites with fewer than two bonds
    are cut off, and of several pieces the largest is kept; it may be empty.
    """
    require(outline in OUTLINES, f"outline={outline!r} is unknown; choose one of {', '.join(OUTLINES)}.")
    if outline == "parallelogram":
        return patch(lattice, cells, breathing)
    (ax, ay), (bx, by) = LATTICES[lattice].vectors
    along = float(np.hypot(ax, ay))
    width, height = cells[0] * along, cells[1] * abs(ax * by - ay * bx) / along
    around = 2 * max(cells) + 6
    whole = patch(lattice, (around, around), breathing)
    place = whole.sites - whole.sites.mean(axis=0)
    if turn:
        place = place[:, ::-1] * [1, -1]
    side = (width * height) ** 0.5
    if outline == "rectangle":
        inside = (np.abs(place) <= np.array([width, height]) / 2).all(axis=1)
    elif outline == "square":
        inside = (np.abs(place) <= side / 2).all(axis=1)
    else:
        angle = np.arctan2(place[:, 1], place[:, 0]) % (2 * np.pi)
        corner = np.linspace(0, 2 * np.pi, CORNERS + 1)
        inside = np.hypot(*place.T) <= side / np.pi**0.5 * np.interp(angle, corner, np.append(radii, radii[0]))
    return whole_piece(Network(place, whole.bonds, lattice), inside)


def whole_piece(network: Network, inside: np.ndarray) -> Network:
    """The largest connected piece of the (N,) sites inside, without sites that hang from it."""
    keep, bonds = inside, network.bonds
    while True:
        bonds = bonds[keep[bonds].all(axis=1)]
        degree = np.bincount(bonds.ravel(), minlength=len(keep))
        fewer = keep & (degree >= LEAST_BONDS)
        if np.array_equal(fewer, keep):
            break
        keep = fewer
    if keep.any():
        joined = coo_matrix((np.ones(len(bonds)), bonds.T), shape=(len(keep), len(keep)))
        piece = connected_components(joined, directed=False)[1]
        keep = keep & (piece == np.bincount(piece[keep]).argmax())
        bonds = bonds[keep[bonds].all(axis=1)]
    number = np.cumsum(keep) - 1
    return Network(network.sites[keep], bond_array(number[bonds]), network.lattice)
