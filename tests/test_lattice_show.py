"""Networks drawn for people: doubtful pairs in their colours, arrows, what is said, and networks of few bonds."""

import numpy as np
import pytest

from ganforge.evaluation.read_networks import ReadNetwork, of_pairs
from ganforge.lattice import Network, patch
from ganforge.lattice.mechanics import analyse, springs_of
from ganforge.lattice.show import ARROW, BOND, DOUBTFUL_BOND, DOUBTFUL_PAIR, picture

SQUARES = Network(patch("square", (3, 3)).sites * 40.0 + 10, patch("square", (3, 3)).bonds, "square")


def number_of(image, colour) -> int:
    rgb = tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5)) if isinstance(colour, str) else colour
    return int((np.asarray(image) == rgb).all(axis=2).sum())


def with_doubts() -> ReadNetwork:
    """One bond of the square lattice is doubtful, one is missing, and one diagonal may be a bond."""
    diagonal = [[0, 4]]
    pairs = np.unique(np.concatenate([SQUARES.bonds, diagonal]), axis=0)
    probabilities = np.full(len(pairs), 0.999)
    probabilities[(pairs == [0, 4]).all(axis=1)] = 0.3
    probabilities[(pairs == [4, 5]).all(axis=1)] = 0.6
    probabilities[(pairs == [7, 8]).all(axis=1)] = 0.01
    return of_pairs(SQUARES, pairs, probabilities)


def test_doubtful_pairs_have_their_colours_where_they_are():
    read = with_doubts()
    plain = picture(springs_of(read.found), side=400)
    assert number_of(plain, BOND) > 500
    assert [number_of(plain, colour) for colour in (DOUBTFUL_BOND, DOUBTFUL_PAIR, ARROW)] == [0, 0, 0]
    shown = picture(springs_of(read.found), None, read.candidates, side=400, window=(0, 0, 100, 100))
    assert shown.size == (400, 400)
    for colour, (first, second) in ((DOUBTFUL_BOND, (4, 5)), (DOUBTFUL_PAIR, (0, 4))):
        row, column = np.nonzero((np.asarray(shown) == colour).all(axis=2))
        middle = 4 * SQUARES.sites[[first, second]].mean(axis=0)
        assert len(row) > 50 and np.hypot(column.mean() - middle[0], row.mean() - middle[1]) < 10
    mode = analyse(read.found, modes=1).modes[0]
    assert number_of(picture(springs_of(read.found), mode, side=400), ARROW) > 300


def test_what_was_read_is_drawn_and_said():
    drawn, says = with_doubts().draw()
    assert max(drawn.size) == 640 and number_of(drawn, ARROW) > 300
    for said in (
        "11 bonds read, 1 missing, 0 false", "1 doubtful (orange), 1 further pairs that may be bonds (blue)",
        "rigid motions: 4 (truly 3)", "arrows: the softest, of frequency",
    ):  # fmt: skip
        assert said in says


@pytest.mark.parametrize("bonds", [0, 1])
def test_a_network_that_was_hardly_read_is_drawn_too(bonds):
    found = Network(SQUARES.sites, SQUARES.bonds[:bonds])
    drawn, says = ReadNetwork(SQUARES, found, None).draw()
    assert max(drawn.size) == 640 and f"{bonds} bonds read" in says and "doubtful" not in says
    assert f"rigid motions: {18 - 3 - bonds} (truly 3)" in says
