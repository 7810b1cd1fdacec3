"""Patches of other outlines than a parallelogram."""

import numpy as np
import pytest

from ganforge.errors import UserError
from ganforge.lattice import Distribution, draw, patch, read, sample
from ganforge.lattice.network import LATTICES
from ganforge.lattice.outlines import CORNERS, OUTLINES, cut, whole_piece
from ganforge.lattice.rings import rings

EVEN = np.ones(CORNERS)
SIZE, FIRST = (147, 267), [0.0017852121088965365, -0.026273740901474194]


def test_a_parallelogram_is_the_patch():
    assert np.array_equal(
        cut("kagome", (4, 3), 0.45, "parallelogram", True, EVEN).sites, patch("kagome", (4, 3), 0.45).sites
    )


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("outline", [name for name in OUTLINES if name != "parallelogram"])
def test_an_outline_is_one_piece_of_the_lattice_of_about_its_size(lattice, outline):
    expected = len(patch(lattice, (6, 5)).sites)
    for turn in (False, True):
        network = cut(lattice, (6, 5), 0.5, outline, turn, EVEN)
        assert network.lattice == lattice
        assert 0.6 * expected < len(network.sites) < 1.5 * expected
        assert network.degrees().min() >= 2
        assert np.allclose(network.lengths(), patch(lattice, (2, 2)).lengths()[0])
        assert set(rings(network).sizes) == set(rings(patch(lattice, (6, 6))).sizes)  # no ring that is none of its own


def test_rectangles_are_cut_along_either_direction():
    wide, high = (cut("triangular", (8, 4), 0.5, "rectangle", turn, EVEN) for turn in (False, True))
    for network, x, y in ((wide, 0, 1), (high, 0, 1)):
        assert np.ptp(network.sites[:, x]) > 1.5 * np.ptp(network.sites[:, y])
    rows = [len(np.unique(network.sites[:, 1].round(6))) for network in (wide, high)]
    assert rows[0] != rows[1]  # along the rows of sites, and across them


def test_sites_that_hang_and_smaller_pieces_are_cut_off():
    network = patch("square", (7, 3))
    x = network.sites[:, 0]
    found = whole_piece(network, (x <= 1) | ((x >= 3) & (x <= 5)) | ((x == 6) & (network.sites[:, 1] == 1)))
    assert sorted(found.sites[:, 0].tolist()) == [3.0] * 3 + [4.0] * 3 + [5.0] * 3
    assert len(found.bonds) == 12
    assert len(whole_piece(network, np.zeros(21, bool)).sites) == 0


def test_networks_of_all_outlines_are_read_and_repeat():
    distribution = Distribution(
        lattices=("kagome", "square", "triangular"), disorder=(0.0, 0.2), outlines=OUTLINES, breathing=(0.45, 0.55)
    )
    shapes = set()
    for index in range(40):
        network, style = sample(distribution, 256, np.random.default_rng([5, index]))
        again, _ = sample(distribution, 256, np.random.default_rng([5, index]))
        assert np.array_equal(network.sites, again.sites)
        drawn = draw(network, 256, style)
        assert np.array_equal(read(drawn.target, drawn.network.sites).bonds, network.bonds)
        shapes.add(len(network.sites))
    assert len(shapes) > 15


def test_outlines_leave_the_networks_of_parallelograms_as_they_were():
    """Drawn with the version before there were outlines."""
    network, _ = sample(Distribution(lattices=("kagome",)), 256, np.random.default_rng(3))
    assert (len(network.sites), len(network.bonds)) == SIZE
    assert network.sites[0].tolist() == pytest.approx(FIRST, abs=1e-12)


def test_an_unknown_outline_is_refused():
    for outlines in (("star",), (), "square"):
        with pytest.raises(UserError, match="outlines="):
            Distribution(outlines=outlines)
    with pytest.raises(UserError, match="outline="):
        cut("square", (3, 3), 0.5, "star", False, EVEN)
