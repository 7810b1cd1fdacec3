"""Bonds guessed from the sites alone: what a trained model has to beat."""

from collections.abc import Callable

import numpy as np
from scipy.spatial import Delaunay, QhullError, distance_matrix

from ganforge.errors import require
from ganforge.lattice.network import bond_array


def delaunay(sites: np.ndarray, prune: float = 1.5) -> np.ndarray:
    """(N, 2) sites -> (M, 2) edges of their Delaunay triangulation no longer than `prune` times the median edge.

    prune: above 0; np.inf keeps all. Sites on one line are joined each to the next.
    """
    require(prune > 0, f"prune={prune}; accepted is above 0.")
    sites = site_array(sites)
    edges = triangulation(sites)
    lengths = np.sqrt(((sites[edges[:, 0]] - sites[edges[:, 1]]) ** 2).sum(axis=1))
    return edges[lengths <= prune * np.median(lengths)] if len(edges) else edges


def gabriel(sites: np.ndarray) -> np.ndarray:
    """(N, 2) sites -> (M, 2): two are joined where the disk between them holds no third (Gabriel and Sokal 1969)."""
    sites = site_array(sites)
    squared = distance_matrix(sites, sites) ** 2
    edges = triangulation(sites)
    first, second = edges.T
    third = squared[first] + squared[second]
    third[np.arange(len(edges))[:, None], edges] = np.inf
    return edges[(third >= squared[first, second][:, None]).all(axis=1)]


def relative_neighbourhood(sites: np.ndarray) -> np.ndarray:
    """(N, 2) sites -> (M, 2): two are joined where no third is closer to both than they are (Toussaint 1980)."""
    sites = site_array(sites)
    distance = distance_matrix(sites, sites)
    edges = triangulation(sites)
    first, second = edges.T
    third = np.maximum(distance[first], distance[second])
    third[np.arange(len(edges))[:, None], edges] = np.inf
    return edges[(third >= distance[first, second][:, None]).all(axis=1)]


BASELINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "delaunay": delaunay,
    "gabriel": gabriel,
    "relative_neighbourhood": relative_neighbourhood,
}


def site_array(sites: np.ndarray) -> np.ndarray:
    sites = np.asarray(sites, dtype=np.float64)
    require(sites.ndim == 2 and sites.shape[1] == 2, f"sites has shape {sites.shape}; accepted is (N, 2).")
    return sites


def triangulation(sites: np.ndarray) -> np.ndarray:
    """(M, 2) edges of the Delaunay triangulation; a chain where the sites lie on one line or are fewer than three."""
    if len(sites) >= 3:
        try:
            corners = Delaunay(sites).simplices
            return bond_array(corners[:, [0, 1, 1, 2, 2, 0]])
        except QhullError:  # all on one line
            pass
    order = np.lexsort(sites.T)
    return bond_array(np.stack([order[:-1], order[1:]], axis=1))
