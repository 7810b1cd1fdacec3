"""Rings and classes of networks against ones counted by hand, and unseen disordered patches of the whole table."""

import numpy as np
import pytest

from ganforge.lattice import LATTICES, Distribution, Network, bond_array, delaunay, patch, sample
from ganforge.lattice.classify import UNKNOWN, classify, order_parameter
from ganforge.lattice.rings import rings, shares


def test_rings_of_a_house_with_a_loose_bond():
    """A square with a triangle on top, a bond that hangs outside and one that ends inside the square."""
    sites = [[0, 0], [2, 0], [2, 2], [0, 2], [1, 3], [3, 3], [0.5, 0.5], [9, 9]]
    bonds = bond_array([[0, 1], [1, 2], [2, 3], [0, 3], [2, 4], [3, 4], [2, 5], [0, 6]])
    found = rings(Network(sites, bonds))
    assert sorted(found.sizes) == [3, 6]  # the loose bond counts on both of its sides
    sides = dict(zip(map(tuple, bonds.tolist()), map(tuple, found.sides.tolist()), strict=True))
    assert sides == {
        (0, 1): (0, 6), (0, 3): (0, 6), (0, 6): (6, 6), (1, 2): (0, 6), (2, 3): (3, 6), (2, 4): (0, 3),
        (2, 5): (0, 0), (3, 4): (0, 3),
    }  # fmt: skip
    assert found.rim.tolist() == [True] * 6 + [False, True]


def test_networks_without_rings():
    for network in (
        Network(np.zeros((0, 2)), bond_array([])),
        Network([[0, 0], [1, 0]], bond_array([[0, 1]])),
        Network([[0, 0], [1, 0], [2, 1], [3, 0]], bond_array([[0, 1], [1, 2], [1, 3]])),
    ):
        assert len(rings(network).sizes) == 0 and rings(network).rim.all()
        assert classify(network).lattice == UNKNOWN


@pytest.mark.parametrize("lattice", LATTICES)
def test_euler_counts_the_rings_of_a_patch(lattice):
    network = patch(lattice, (4, 5))
    found = rings(network)
    assert len(network.sites) - len(network.bonds) + len(found.sizes) == 1
    assert found.sizes.sum() + (found.sides == 0).sum() == 2 * len(network.bonds)


@pytest.mark.parametrize(
    ("lattice", "coordination", "sizes", "psi4", "psi6"),
    [
        ("kagome", 4, {3: 2 / 3, 6: 1 / 3}, None, 1),
        ("square", 4, {4: 1}, 1, 0),
        ("triangular", 6, {3: 1}, 0, 1),
        ("honeycomb", 3, {6: 1}, 0, 1),
        ("snub-square", 5, {3: 2 / 3, 4: 1 / 3}, 0.2, 0.2),
        ("elongated-triangular", 5, {3: 2 / 3, 4: 1 / 3}, 0.4, 0.6),
    ],
)
def test_numbers_of_regular_lattices(lattice, coordination, sizes, psi4, psi6):
    """psi of a site whose bonds lie at the angles of its rings, summed by hand."""
    found = classify(patch(lattice, (30, 30)))
    assert (found.lattice, found.coordination) == (lattice, coordination)
    assert found.rings == pytest.approx(sizes, abs=0.03)
    assert found.psi6 == pytest.approx(psi6, abs=1e-6)
    assert psi4 is None or found.psi4 == pytest.approx(psi4, abs=1e-6)


def test_order_parameters_do_not_turn_with_the_network():
    network = patch("snub-square", (4, 4))
    turned = Network(network.sites @ np.array([[0.8, -0.6], [0.6, 0.8]]), network.bonds)
    for fold in (4, 6):
        assert order_parameter(turned, fold) == pytest.approx(order_parameter(network, fold))


def test_unseen_disordered_networks_are_recognized():
    networks = [sample(Distribution(), 256, np.random.default_rng([7, index]))[0] for index in range(120)]
    assert {network.lattice for network in networks} == set(Distribution().lattices)
    assert [classify(network).lattice for network in networks] == [network.lattice for network in networks]


@pytest.mark.parametrize("seed", range(4))
def test_a_random_triangulation_is_unknown(seed):
    rng = np.random.default_rng(seed)
    sites = rng.uniform(size=(80, 2))
    found = classify(Network(sites, delaunay(sites)))
    assert (found.lattice, found.nearest) == (UNKNOWN, "triangular")  # rings of three, but other numbers of bonds


def test_a_lattice_that_is_not_in_the_table_is_unknown():
    """Dice: triangular sites joined to the centres of their triangles; squares' rings, but 6 and 3 bonds a site."""
    corners = patch("triangular", (6, 6))
    first, second = np.array([1.0, 0.0]), np.array([0.5, 3**0.5 / 2])
    up, down = (corners.sites + (first + second) * part for part in (1 / 3, 2 / 3))
    sites = np.concatenate([corners.sites, up, down])
    apart = np.sqrt(((corners.sites[:, None] - sites[None, 36:]) ** 2).sum(axis=2))
    i, j = np.nonzero(apart < 0.6)
    found = classify(Network(sites, bond_array(np.stack([i, j + 36], axis=1))))
    assert found.rings == {4: 1}
    assert (found.lattice, found.nearest) == (UNKNOWN, "square")


def test_a_few_wrong_bonds_do_not_change_the_class():
    rng = np.random.default_rng(0)
    for lattice in LATTICES:
        network = patch(lattice, (7, 7))
        kept = rng.random(len(network.bonds)) > 0.02
        assert classify(Network(network.sites, network.bonds[kept])).lattice == lattice


def test_shares_of_numbers_and_rows():
    assert shares(np.array([3, 4, 3, 3])) == {3: 0.75, 4: 0.25}
    assert shares(np.array([[3, 4], [3, 3]])) == {(3, 3): 0.5, (3, 4): 0.5}
    assert shares(np.array([], dtype=np.int64)) == {}
