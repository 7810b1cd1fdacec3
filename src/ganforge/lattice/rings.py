"""Rings of a network: the faces that its bonds, drawn as straight lines, divide the plane into."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ganforge.lattice.network import Network

OUTSIDE = 0  # ring size of what lies around a network


@dataclass(frozen=True, eq=False)
class Rings:
    """sizes: (F,) bonds around each inner face. sides: (M, 2) sizes of the rings on both sides of each bond, ascending,
    OUTSIDE where there is none. rim: (N,) bool, sites beside the outside or without a bond.
    """

    sizes: np.ndarray
    sides: np.ndarray
    rim: np.ndarray


def rings(network: Network) -> Rings:
    """The rings of a network, by going along bonds and turning left as sharply as can be at each site.

    A bond that ends inside a ring counts twice in it. Crossing bonds give walks that are no faces of the drawing.
    """
    number = len(network.bonds)
    if number == 0:
        return Rings(np.zeros(0, np.int64), np.zeros((0, 2), np.int64), np.ones(len(network.sites), bool))
    begin, end = np.concatenate([network.bonds, network.bonds[:, ::-1]]).T  # half h goes back along half h + number
    along = network.sites[end] - network.sites[begin]
    order = np.lexsort((np.arctan2(along[:, 1], along[:, 0]), begin))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    first = np.searchsorted(begin[order], begin)
    degree = np.bincount(begin)[begin]
    back = (np.arange(2 * number) + number) % (2 * number)
    before = order[first + (place - first - 1) % degree]  # the next bond clockwise at the same site
    following = before[back]
    chain = sparse.coo_array((np.ones(2 * number), (np.arange(2 * number), following)), shape=(2 * number,) * 2)
    faces, face = connected_components(chain, directed=True, connection="weak")
    (x, y), (u, v) = network.sites[begin].T, network.sites[end].T
    area = np.bincount(face, x * v - u * y, faces)
    inner = area > 1e-9 * np.bincount(face, (along**2).sum(axis=1), faces)  # a lone bond is a walk without area
    size = np.where(inner, np.bincount(face, minlength=faces), OUTSIDE)
    half = size[face]
    rim = np.ones(len(network.sites), dtype=bool)
    rim[begin] = False
    rim[begin[half == OUTSIDE]] = True
    return Rings(size[inner], np.sort(np.stack([half[:number], half[number:]], axis=1), axis=1), rim)


def shares(values: np.ndarray) -> dict:
    """Each value (or row, as a tuple) with its share of all, ascending."""
    found, number = np.unique(values, axis=0, return_counts=True)
    keys = map(tuple, found.tolist()) if found.ndim == 2 else found.tolist()
    return dict(zip(keys, (number / max(number.sum(), 1)).tolist(), strict=True))
