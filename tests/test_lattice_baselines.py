import numpy as np
import pytest

from ganforge.errors import UserError
from ganforge.lattice import BASELINES, delaunay, gabriel, patch, relative_neighbourhood


def pairs(sites):
    return [(i, j) for i in range(len(sites)) for j in range(i + 1, len(sites))]


def distance(a, b):
    return float(np.hypot(*(a - b)))


@pytest.mark.parametrize("seed", range(5))
def test_gabriel_is_the_graph_of_empty_disks(seed):
    sites = np.random.default_rng(seed).uniform(size=(40, 2))
    brute = [
        (i, j)
        for i, j in pairs(sites)
        if all(
            distance(sites[k], (sites[i] + sites[j]) / 2) >= distance(sites[i], sites[j]) / 2
            for k in range(len(sites))
            if k not in (i, j)
        )
    ]
    assert gabriel(sites).tolist() == [list(pair) for pair in brute]


@pytest.mark.parametrize("seed", range(5))
def test_relative_neighbourhood_is_the_graph_of_empty_lunes(seed):
    sites = np.random.default_rng(seed).uniform(size=(40, 2))
    brute = [
        (i, j)
        for i, j in pairs(sites)
        if all(
            max(distance(sites[k], sites[i]), distance(sites[k], sites[j])) >= distance(sites[i], sites[j])
            for k in range(len(sites))
            if k not in (i, j)
        )
    ]
    assert relative_neighbourhood(sites).tolist() == [list(pair) for pair in brute]


@pytest.mark.parametrize("seed", range(3))
def test_delaunay_is_the_graph_of_empty_circles(seed):
    sites = np.random.default_rng(seed).uniform(size=(12, 2))
    brute = set()
    for i, j in pairs(sites):
        for k in range(j + 1, len(sites)):
            system = 2 * (sites[[j, k]] - sites[i])
            centre = np.linalg.solve(system, (sites[[j, k]] ** 2).sum(axis=1) - (sites[i] ** 2).sum())
            radius = distance(centre, sites[i])
            if all(distance(centre, sites[m]) > radius for m in range(len(sites)) if m not in (i, j, k)):
                brute |= {(i, j), (i, k), (j, k)}
    assert {tuple(bond) for bond in delaunay(sites, np.inf).tolist()} == brute


def test_delaunay_drops_edges_longer_than_the_pruning():
    sites = patch("triangular", (4, 4)).sites
    sites = np.concatenate([sites, [[10.0, 10.0]]])
    kept = delaunay(sites, 1.5)
    lengths = np.hypot(*(sites[kept[:, 0]] - sites[kept[:, 1]]).T)
    assert lengths.max() <= 1.5 and len(delaunay(sites, np.inf)) > len(kept)
    with pytest.raises(UserError, match="prune=0"):
        delaunay(sites, 0)


def test_a_triangular_patch_is_recovered_by_delaunay():
    network = patch("triangular", (5, 6))
    jitter = 0.01 * np.random.default_rng(0).normal(size=network.sites.shape)
    assert delaunay(network.sites + jitter, 1.5).tolist() == network.bonds.tolist()


@pytest.mark.parametrize("name", BASELINES)
def test_few_sites_and_sites_on_a_line_give_a_chain(name):
    line = np.array([[2.0, 4.0], [0.0, 0.0], [1.0, 2.0], [3.0, 6.0]])
    assert BASELINES[name](line).tolist() == [[0, 2], [0, 3], [1, 2]]
    assert BASELINES[name](line[:2]).tolist() == [[0, 1]]
    assert BASELINES[name](line[:1]).shape == (0, 2)
    assert BASELINES[name](np.zeros((0, 2))).shape == (0, 2)
    triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.8]])
    assert len(BASELINES[name](triangle)) >= 2
    with pytest.raises(UserError, match="sites has shape"):
        BASELINES[name](np.zeros((4, 3)))
