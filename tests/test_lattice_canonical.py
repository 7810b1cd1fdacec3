"""Sites on pages as a model was trained to see them, and what several pages of one network say together."""

from dataclasses import replace

import numpy as np
import pytest

from ganforge.errors import UserError
from ganforge.lattice import LATTICES, Distribution, Network, Style, disorder, draw, match_sites, patch, read, sample
from ganforge.lattice.canonical import Look, joined, pages, spacing
from ganforge.lattice.draw import draw_at, place, room
from ganforge.lattice.probability import Candidates

SIZE = 128
LOOK = Look(dot_radius=3.75, line_width=3.0, line_grey=0.0, margin=11.0, scale=0.9, spacing=(20.0, 28.0, 50.0))


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize(("std", "within"), [(0.0, 1e-9), (0.1, 0.1), (0.2, 0.15)])
def test_the_spacing_is_about_the_length_of_a_bond_whatever_the_lattice_and_the_disorder(name, std, within):
    rng = np.random.default_rng(1)
    regular = patch(name, (8, 8))
    found = [spacing(disorder(regular, std, rng).sites) / regular.lengths().min() for _ in range(20)]
    assert np.mean(found) == pytest.approx(1, abs=within)


def test_a_small_network_is_one_page_as_the_training_draws_it():
    network = disorder(patch("kagome", (3, 4)), 0.05, np.random.default_rng(0))
    style = Style(dot_radius=3.75, line_width=3.0, margin=11.0, scale=0.9)
    (page,) = pages(1000 * network.sites + 7, LOOK, SIZE)
    drawn = draw(network, SIZE, style)
    assert page.sites == pytest.approx(drawn.network.sites, abs=2e-3)
    assert np.abs(page.picture.astype(int) - drawn.source).max() <= 1
    assert page.index.tolist() == list(range(36)) and page.weight.min() == 1


def test_bonds_are_never_longer_than_in_training():
    (page,) = pages(patch("square", (2, 2)).sites, LOOK, SIZE)
    assert spacing(page.sites) == pytest.approx(25)
    assert page.sites.mean(axis=0) == pytest.approx([64, 64])


@pytest.mark.parametrize("name", ["kagome", "square", "triangular"])
def test_a_large_network_is_cut_so_that_every_bond_is_whole_on_some_page(name):
    network = disorder(patch(name, (24, 20)), 0.1, np.random.default_rng(0))
    cut = pages(network.sites, LOOK, SIZE)
    assert len(cut) > 10
    best = np.zeros(len(network.bonds))
    for page in cut:
        weight = np.zeros(len(network.sites))
        weight[page.index] = page.weight
        best = np.maximum(best, weight[network.bonds].min(axis=1))
        free = room(LOOK.style(), SIZE)
        assert (np.abs(page.sites - SIZE / 2) <= free / 2 + 0.01).all()
        assert len(page.index) < 20 or spacing(page.sites) == pytest.approx(14, rel=0.25)
    assert best.min() > 0.3
    assert best.mean() > 0.85


def test_pages_that_disagree_at_their_cuts_are_outvoted_and_leave_no_seam():
    """Every page draws its own bonds and, near its cuts, wrong ones and none of the right ones."""
    network = disorder(patch("square", (20, 20)), 0.05, np.random.default_rng(0))
    true = {tuple(bond) for bond in network.bonds.tolist()}
    cut = pages(network.sites, LOOK, SIZE)
    found = []
    for page in cut:
        place_of = {site: at for at, site in enumerate(page.index.tolist())}
        right = [(place_of[a], place_of[b]) for a, b in true if a in place_of and b in place_of]
        torn = [pair for pair in right if page.weight[list(pair)].min() < 0.1]
        diagonal = [(place_of[a], place_of[a + 21]) for a in place_of if a + 21 in place_of]
        wrong = [pair for pair in diagonal if page.weight[list(pair)].min() < 0.1]
        pairs = np.array(sorted(tuple(sorted(pair)) for pair in (*right, *wrong)))
        probability = np.array([float(tuple(pair) not in {tuple(sorted(t)) for t in torn}) for pair in pairs.tolist()])
        found.append(Candidates(pairs, probability, True))
    together = joined(cut, found, len(network.sites))
    assert {tuple(bond) for bond in together.pairs[together.is_bond].tolist()} == true
    assert together.calibrated


def test_what_one_page_says_is_kept_as_it_is():
    network = patch("square", (3, 3))
    cut = pages(network.sites, LOOK, SIZE)
    said = Candidates(network.bonds, np.linspace(0, 1, len(network.bonds)), False)
    together = joined(cut, [said], 9)
    assert np.array_equal(together.pairs, said.pairs) and np.array_equal(together.probabilities, said.probabilities)


def test_sites_far_apart_have_pages_for_themselves_alone():
    near = patch("square", (3, 3)).sites
    cut = pages(np.concatenate([near, near + np.array([1e9, 0]), near - np.array([0, 1e9])]), LOOK, SIZE)
    assert len(cut) < 30
    assert {site for page in cut for site in page.index} == set(range(27))


def test_sites_that_crowd_are_refused_and_few_are_no_trouble():
    crowd = np.random.default_rng(0).normal(size=(5000, 2)) * 1e-6
    with pytest.raises(UserError, match="density differs too much"):
        pages(np.concatenate([crowd, 10 * patch("square", (80, 80)).sites]), LOOK, SIZE)
    with pytest.raises(UserError, match="lie on each other"):
        pages(np.zeros((3, 2)), LOOK, SIZE)
    assert pages(np.zeros((0, 2)), LOOK, SIZE) == []
    (page,) = pages(np.array([[5.0, 5.0]]), LOOK, SIZE)
    assert page.sites.tolist() == [[64.0, 64.0]]


def test_the_look_of_a_training_goes_through_its_card():
    distribution = Distribution(lattices=("square",), dot_radius=(3.0, 4.5), line_width=(3.0, 3.0), scale=(0.7, 1.0))
    look = Look.of(distribution, SIZE, 0)
    Look.of.cache_clear()
    assert look == Look.of(distribution, SIZE, 0) and look.line_width == 3.0
    rng = np.random.default_rng(5)
    placed = [place(network, SIZE, style) for network, style in (sample(distribution, SIZE, rng) for _ in range(600))]
    spacings = [2 * spacing(network.sites) for network in placed]  # of 256 px
    assert look.spacing == pytest.approx(np.quantile(spacings, [0.05, 0.5, 0.95]), rel=0.1)
    other = Look.of(distribution, SIZE, 1)
    assert other.spacing == pytest.approx(look.spacing, rel=0.1)
    assert (other.dot_radius, other.margin, other.scale) == pytest.approx(
        (look.dot_radius, look.margin, look.scale), rel=0.05
    )
    card = look.to_card()
    assert Look.is_card(card) and Look.from_card(card) == look
    changes = [("dot_radius", 1e9), ("dot_radius", float("nan")), ("margin", 64.0), ("scale", 0.0), ("scale", "1")]
    changes += [("spacing", [30.0, 20.0, 40.0]), ("spacing", [20.0, 30.0]), ("spacing", [1.0, float("nan"), 9.0])]
    changes += [("spacing", [0.001, 1.0, 2.0]), ("line_width", True), ("line_grey", 1.0), ("spacing", None)]
    for name, value in changes:
        assert not Look.is_card({**card, name: value})
    assert not Look.is_card({**card, "more": 1.0}) and not Look.is_card([card]) and not Look.is_card({})


def test_networks_are_drawn_where_they_are():
    network = replace(patch("square", (3, 4)), sites=20 * patch("square", (3, 4)).sites + 15.3)
    drawn = draw_at(network, (90, 200), 3.0, 1.5)
    assert drawn.shape == (90, 200)
    found = read(drawn)
    match = match_sites(found.sites, network.sites, 1.0)
    assert len(match.pairs) == 12 and match.shift < 0.1 and len(found.bonds) == len(network.bonds)
    assert draw_at(Network(network.sites, network.bonds[:0]), (90, 200), 3.0, 1.5).mean() > drawn.mean()
