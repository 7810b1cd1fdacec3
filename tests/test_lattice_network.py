import numpy as np
import pytest

from ganforge.errors import UserError
from ganforge.lattice import (
    LATTICES,
    BondScore,
    Distribution,
    Network,
    bond_array,
    disorder,
    match_sites,
    patch,
    score_bonds,
)

COORDINATION = {
    "kagome": 4,
    "square": 4,
    "triangular": 6,
    "honeycomb": 3,
    "snub-square": 5,
    "elongated-triangular": 5,
    "truncated-square": 3,
    "truncated-hexagonal": 3,
    "rhombitrihexagonal": 4,
    "truncated-trihexagonal": 3,
    "snub-trihexagonal": 5,
}
# The polygons around a site, in their order: the eleven Archimedean tilings (Grünbaum and Shephard 1987, section 2.1).
CONFIGURATION = {
    "kagome": (3, 6, 3, 6),
    "square": (4, 4, 4, 4),
    "triangular": (3, 3, 3, 3, 3, 3),
    "honeycomb": (6, 6, 6),
    "snub-square": (3, 3, 4, 3, 4),
    "elongated-triangular": (3, 3, 3, 4, 4),
    "truncated-square": (4, 8, 8),
    "truncated-hexagonal": (3, 12, 12),
    "rhombitrihexagonal": (3, 4, 6, 4),
    "truncated-trihexagonal": (4, 6, 12),
    "snub-trihexagonal": (3, 3, 3, 3, 6),
}


def test_every_lattice_has_a_known_coordination():
    assert set(COORDINATION) == set(LATTICES)


def polygons_around(network, site):
    """Numbers of sides of the polygons around a site, in order; walks each with the next bond clockwise."""
    neighbours = [[] for _ in network.sites]
    for first, second in network.bonds.tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    for own, others in enumerate(neighbours):
        others.sort(key=lambda other: np.arctan2(*(network.sites[other] - network.sites[own])[::-1]))
    sides = []
    for first in neighbours[site]:
        before, now, length = site, first, 1
        while now != site and length < 20:
            others = neighbours[now]
            before, now = now, others[(others.index(before) - 1) % len(others)]
            length += 1
        sides.append(length)
    return sides


@pytest.mark.parametrize("lattice", LATTICES)
def test_the_polygons_around_every_site_of_a_cell_are_those_of_the_tiling(lattice):
    network = patch(lattice, (7, 7))
    basis = len(LATTICES[lattice].basis)
    expected = CONFIGURATION[lattice]
    shifted = [expected[k:] + expected[:k] for k in range(len(expected))]
    for site in range(basis * 24, basis * 25):  # the cell in the middle
        assert tuple(polygons_around(network, site)) in [*shifted, *(order[::-1] for order in shifted)]


@pytest.mark.parametrize("lattice", LATTICES)
def test_bonds_of_a_lattice_are_equally_long(lattice):
    assert np.ptp(patch(lattice, (4, 4)).lengths()) < 1e-9


@pytest.mark.parametrize("lattice", LATTICES)
def test_interior_sites_have_the_coordination_of_the_lattice(lattice):
    network = patch(lattice, (8, 8))
    shortest = network.lengths().min()
    away = np.sqrt(((network.sites[:, None] - network.sites) ** 2).sum(axis=2))
    # A site is inside where the patch extended by a ring of cells adds no site at the distance of a bond.
    wide = patch(lattice, (10, 10)).sites - np.sum(LATTICES[lattice].vectors, axis=0)
    around = np.sqrt(((network.sites[:, None] - wide) ** 2).sum(axis=2)) < shortest * 1.01
    inside = around.sum(axis=1) == (away < shortest * 1.01).sum(axis=1)
    assert inside.sum() > len(inside) / 2
    assert (network.degrees()[inside] == COORDINATION[lattice]).all()


@pytest.mark.parametrize("lattice", LATTICES)
def test_bonds_are_all_pairs_of_nearest_sites(lattice):
    network = patch(lattice, (4, 3))
    away = np.sqrt(((network.sites[:, None] - network.sites) ** 2).sum(axis=2))
    shortest = away[away > 0].min()
    nearest = np.argwhere(np.triu(away < shortest * 1.01, 1))
    assert (network.bonds == nearest).all()
    assert np.allclose(network.lengths(), shortest)


@pytest.mark.parametrize(
    "lattice, cells, sites, bonds",
    [("kagome", (3, 3), 27, 43), ("square", (6, 6), 36, 60), ("triangular", (5, 6), 30, 69)],
)
def test_patches_have_the_known_numbers_of_sites_and_bonds(lattice, cells, sites, bonds):
    network = patch(lattice, cells)
    assert (len(network.sites), len(network.bonds), network.lattice) == (sites, bonds, lattice)


@pytest.mark.parametrize("breathing", [0.3, 0.38, 0.62])
def test_breathing_sets_the_two_sides_of_kagome_triangles(breathing):
    lengths = patch("kagome", (4, 4), breathing).lengths()
    sides = np.array([breathing, 1 - breathing])
    assert (np.abs(lengths[:, None] - sides).min(axis=1) < 1e-12).all()
    assert (np.abs(lengths - breathing) < 1e-12).sum() == 4 * 4 * 3


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("kagom", (3, 3)), "kagom.*snub-square"),
        (("square", (3, 3), 0.6), "breathing=0.6.*square.*kagome"),
        (("kagome", (3, 3), 0.8), "breathing=0.8.*0.3 to 0.7"),
        (("square", (0, 3)), "cells"),
        (("square", (3,)), "cells"),
    ],
)
def test_patch_says_what_it_accepts(arguments, said):
    with pytest.raises(UserError, match=said):
        patch(*arguments)


@pytest.mark.parametrize(
    "sites, bonds, said",
    [
        (np.zeros((3, 3)), np.zeros((0, 2), int), "sites has shape"),
        (np.full((2, 2), np.nan), np.array([[0, 1]]), "finite"),
        (np.eye(2), np.array([0, 1]), "bonds has shape"),
        (np.eye(2), np.array([[0.0, 1.0]]), "integers"),
        (np.eye(2), np.array([[0, 2]]), "0 to 1"),
        (np.eye(2), np.array([[1, 0]]), "i < j"),
        (np.eye(2), np.array([[0, 1], [0, 1]]), "each once"),
    ],
)
def test_network_refuses_other_arrays(sites, bonds, said):
    with pytest.raises(UserError, match=said):
        Network(sites, bonds)


def test_bond_array_puts_pairs_in_order():
    assert bond_array([(3, 1), (1, 3), (2, 2), (0, 1)]).tolist() == [[0, 1], [1, 3]]
    assert bond_array([]).shape == (0, 2)


def test_disorder_moves_sites_by_the_share_of_the_shortest_bond_and_keeps_bonds():
    network = patch("kagome", (20, 20), 0.4)
    moved = disorder(network, 0.1, np.random.default_rng(0))
    assert (moved.bonds == network.bonds).all()
    # The spread of 2400 draws is known to 1.5 %.
    assert np.std(moved.sites - network.sites, axis=0) == pytest.approx([0.04, 0.04], rel=0.06)
    assert (disorder(network, 0.0, np.random.default_rng(0)).sites == network.sites).all()
    with pytest.raises(UserError, match="std=-1"):
        disorder(network, -1, np.random.default_rng(0))


@pytest.mark.parametrize(
    "setting, said",
    [
        ({"lattices": ["kagome", "penrose"]}, "penrose.*kagome, square"),
        ({"lattices": []}, "lattices"),
        ({"lattices": "kagome"}, "not a list"),
        ({"cells": (5, 3)}, r"cells=\(5, 3\)"),
        ({"cells": (1, 3)}, "cells"),
        ({"cells": (2.5, 3)}, "whole"),
        ({"disorder": (-0.1, 0.1)}, "disorder"),
        ({"disorder": 0.1}, "disorder=0.1 is not a range"),
        ({"breathing": (0.2, 0.5)}, "breathing"),
        ({"line_grey": (0, 1)}, "line_grey"),
        ({"scale": (0.7, 1.2)}, "scale"),
        ({"dot_radius": (1, 1.2), "line_width": (2, 3)}, "dot_radius.*line_width"),
    ],
)
def test_distribution_says_what_it_accepts(setting, said):
    with pytest.raises(UserError, match=said):
        Distribution(**setting)


def test_score_counts_by_hand():
    score = score_bonds([[0, 1], [1, 2], [2, 3]], [[1, 0], [2, 3], [0, 3]])
    assert score == BondScore(tp=2, fp=1, fn=1)
    assert not score.exact and not BondScore(fn=1).exact
    assert BondScore(tp=2).exact and BondScore().exact


def test_sites_are_matched_one_to_one():
    true = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]])
    # The first two found sites are both nearest to the first true one; only one may have it.
    found = np.array([[0.5, 0.0], [1.0, 0.0], [10.0, 1.0], [50.0, 0.0]])
    match = match_sites(found, true, radius=3.0)
    assert match.pairs.tolist() == [[0, 0], [2, 1]]
    assert (match.recall, match.precision, match.shift) == (2 / 3, 0.5, 0.75)
    # As many pairs as can be, even where a nearer partner has to be given up.
    crowd = match_sites(np.array([[1.4, 0.0], [-2.0, 0.0]]), np.array([[0.0, 0.0], [3.0, 0.0]]), radius=2.5)
    assert crowd.pairs.tolist() == [[0, 1], [1, 0]]
    nothing = match_sites(np.zeros((0, 2)), true, radius=3.0)
    assert nothing.recall == 0.0 and np.isnan(nothing.shift)
