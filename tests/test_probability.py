"""Probabilities of bonds: what pictures say of candidates, the calibration, and what a run keeps of it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY_PIX2PIX
from ganforge.commands import bonds
from ganforge.errors import UserError
from ganforge.evaluation.bonds import BondCounts, band
from ganforge.evaluation.reliability import Reliability, calibration_error, diagram
from ganforge.experiment import run
from ganforge.lattice import Distribution, Network, Style, bond_array, draw, find_sites, patch, read, sample
from ganforge.lattice.draw import dot_ink, grey, line_ink
from ganforge.lattice.probability import (
    Calibration,
    Evidence,
    bond_probabilities,
    candidate_bonds,
    doubtful,
    fitted,
    logistic,
    probable_bonds,
)
from ganforge.networks.symmetry import SymmetryAverage, back, turned
from ganforge.runs import checkpoint

WIDE = Distribution(disorder=(0.0, 0.2), breathing=(0.45, 0.55), dot_radius=(3.0, 3.5))
SQUARES = draw(patch("square", (4, 4)), 128, Style(dot_radius=4, line_width=3))


def with_one_bond(strength, index=7):
    """The squares with one bond drawn with this share of its ink; (drawn, the bond)."""
    network = SQUARES.network
    others = Network(network.sites, np.delete(network.bonds, index, axis=0))
    one = Network(network.sites, network.bonds[index : index + 1])
    lines = np.maximum(line_ink(others, 1.5, 128), strength * line_ink(one, 1.5, 128))
    return grey(np.maximum(dot_ink(network.sites, 2.0, 128), lines)), tuple(network.bonds[index].tolist())


def test_candidates_hold_the_bonds_of_disordered_networks():
    missed = total = 0
    for index in range(60):
        network, _ = sample(WIDE, 256, np.random.default_rng([3, index]))
        pairs = candidate_bonds(network.sites)
        assert np.array_equal(pairs, bond_array(pairs))
        assert len(pairs) < 5 * len(network.bonds)
        missed += len({tuple(b) for b in network.bonds.tolist()} - {tuple(p) for p in pairs.tolist()})
        total += len(network.bonds)
    assert missed <= 2 and total > 5000


@pytest.mark.parametrize("sites", [np.zeros((0, 2)), np.ones((1, 2)), np.array([[0.0, 0], [1, 1], [2, 2], [3, 3.0]])])
def test_few_sites_and_sites_on_a_line_have_candidates(sites):
    assert len(candidate_bonds(sites)) == max(len(sites) - 1, 0)


def test_without_a_calibration_bonds_are_those_that_are_read():
    for index in range(20):
        network, style = sample(WIDE, 256, np.random.default_rng([4, index]))
        drawn = draw(network, 256, style)
        found = probable_bonds(drawn.target, drawn.network.sites)
        assert not found.calibrated
        assert np.array_equal(found.pairs[found.is_bond], read(drawn.target, drawn.network.sites).bonds)


def test_a_fainter_bond_is_less_probable():
    calibration = Calibration(-6.0, (4.0, 8.0, 0.0))
    said = []
    for strength in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        drawn, bond = with_one_bond(strength)
        found = probable_bonds(drawn, SQUARES.network.sites, calibration)
        said.append(float(found.probabilities[(found.pairs == bond).all(axis=1)][0]))
        others = found.probabilities[~(found.pairs == bond).all(axis=1)]
        assert not doubtful(others).any()
    assert said == sorted(said) and said[0] < 0.05 and said[-1] > 0.95
    assert 0.05 < said[2] < 0.95


def test_pairs_are_answered_in_their_order():
    drawn, _ = with_one_bond(0.5)
    sites = SQUARES.network.sites
    found = probable_bonds(drawn, sites)
    turned = found.pairs[::-1, ::-1]
    assert np.array_equal(bond_probabilities(drawn, sites, turned), found.probabilities[::-1])
    assert bond_probabilities(drawn, sites, np.array([[0, 2]])).tolist() == [0]  # past the dot between them
    assert bond_probabilities(drawn, sites, np.zeros((0, 2), dtype=int)).shape == (0,)


def test_a_fuzzy_halo_is_improbable():
    drawn, bond = with_one_bond(0.0)
    middle = SQUARES.network.sites[list(bond)].mean(axis=0)
    y, x = np.mgrid[:128, :128] + 0.5
    halo = 0.9 * np.exp(-(((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / (2 * 9.0**2)))
    ink = 1 - (drawn / 255.0) * (1 - halo)
    found = probable_bonds(grey(ink), SQUARES.network.sites, Calibration(-6.0, (4.0, 8.0, 0.0)))
    assert found.probabilities[(found.pairs == bond).all(axis=1)] < 0.5


def test_the_calibration_of_known_odds_is_found_again():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(0, 1.2, (20_000, 2)), rng.integers(0, 2, (20_000, 1))], axis=1)
    joined = rng.random(20_000) < logistic(-4 + values @ [3.0, 5.0, 1.0])
    found = fitted(values, joined)
    assert np.abs(np.array([found.intercept, *found.weights]) - [-4, 3, 5, 1]).max() < 0.25
    assert fitted(values, np.ones(20_000)) is None and fitted(values[:0], joined[:0]) is None
    certain = fitted(values, values[:, 0] > 0.6)  # no doubt at all: the numbers stay finite
    assert np.isfinite([certain.intercept, *certain.weights]).all()


def test_probabilities_are_right_where_the_odds_are_no_line():
    rng = np.random.default_rng(0)

    def pairs(count):
        ink = rng.uniform(0, 1, count)
        sure = rng.random(count) < 0.9  # nearly all are, and the rest is joined by half as often as its ink says
        ink = np.where(sure, np.round(ink), ink)
        joined = rng.random(count) < np.where(sure, ink, 0.5 * ink)
        return np.stack([ink, ink, ink > 0.5], axis=1), joined

    calibration = fitted(*pairs(40_000))
    line = Calibration(calibration.intercept, calibration.weights)
    values, joined = pairs(40_000)
    errors = []
    for one in (calibration, line):
        found = one.probabilities(Evidence(np.zeros((len(values), 2), dtype=int), values))
        reliability = Reliability()
        reliability.update(found, joined)
        errors.append(reliability.compute()["calibration_error"])
    assert errors[0] < 0.04 < 0.1 < errors[1]
    scores, shares = np.array(calibration.steps).T
    assert (np.diff(scores) >= 0).all() and (np.diff(shares) >= 0).all() and shares[0] < 0.01 and shares[-1] > 0.95
    assert Calibration.from_card(calibration.to_card()) == calibration
    few = [*np.flatnonzero(joined)[:2], *np.flatnonzero(~joined)[:2]]
    assert fitted(values[few], joined[few]).steps == ()  # too few to say


def test_the_few_doubtful_pairs_of_a_model_that_is_nearly_always_sure_stay_doubtful():
    values = np.repeat([[0.0, 0.0, 0.0], [0.5, 0.4, 1.0], [1.0, 1.0, 1.0]], [5000, 10, 5000], axis=0)
    joined = np.repeat([0, 1, 0, 1], [5000, 6, 4, 5000])
    found = fitted(values, joined).probabilities(Evidence(np.zeros((len(values), 2), dtype=int), values))
    assert found[5000:5010] == pytest.approx(6.5 / 11) and doubtful(found).sum() == 10


def test_reliability_is_right_by_hand_and_from_parts():
    whole, first, second = Reliability(), Reliability(), Reliability()
    rng = np.random.default_rng(1)
    probabilities = rng.random(2000)
    joined = rng.random(2000) < probabilities
    whole.update(probabilities, joined)
    first.update(probabilities[::2], joined[::2])
    second.update(probabilities[1::2], joined[1::2])
    first.rows += second.rows
    values = whole.compute()
    assert first.compute() == values
    assert values["doubtful"] == doubtful(probabilities).sum()
    assert values["calibration_error"] < 0.05 and values["calibration_error_by_chance"] < 0.05
    assert calibration_error(np.array([0.2, 0.4]), np.array([0.0, 1.0])) == pytest.approx(0.2)  # |0.3 - 0.5|
    alike = np.full(1000, 0.5)  # not sorted by what is true
    assert calibration_error(alike, np.repeat([0, 1], 500)) == 0
    sure = Reliability()
    sure.update(np.array([0.0, 1.0]), np.array([0, 1]))
    assert np.isnan(sure.compute()["calibration_error"]) and sure.compute()["doubtful"] == 0
    off = Reliability()
    off.update(probabilities, rng.random(2000) < probabilities**3)
    assert off.compute()["calibration_error"] > 0.1


def test_the_diagram_is_a_picture(tmp_path):
    diagram(np.array([[0.2, 0], [0.5, 1], [0.8, 1]]), tmp_path / "new" / "a.png")
    diagram(np.zeros((0, 2)), tmp_path / "b.png")
    assert Image.open(tmp_path / "new" / "a.png").size == Image.open(tmp_path / "b.png").size


def test_bonds_are_counted_by_band_of_disorder():
    counts = BondCounts(prefix="bond_")
    square = patch("square", (3, 3))
    for disorder, found in ((0.05, square.bonds), (0.15, square.bonds[1:]), (None, square.bonds[2:])):
        counts.update(Network(square.sites, square.bonds, "square", disorder), found)
    values = counts.compute()
    assert values["disorder_0.1/bond_f1"] == values["disorder_0.1/bond_f1/square"] == 1
    assert values["disorder_0.2/bond_recall/square"] == pytest.approx(11 / 12)
    assert values["bond_recall"] == pytest.approx(33 / 36)
    assert "disorder_0.3/bond_f1" not in values
    assert [band(value) for value in (0.0, 0.1, 0.10001, 0.2, 0.3)] == [0, 0, 1, 1, 2]


def test_a_run_keeps_its_calibration_and_its_diagram(configured, tmp_path):
    run(configured([*TINY_PIX2PIX, "data.size=64", "data.cells=[2,3]", "data.disorder=[0,0.2]", "data.n_test=6"]))
    card = checkpoint.load(tmp_path / "run")["ganforge"]
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert card["bond_calibration"] == results["evaluation"]["test/networks"]["calibration"]
    assert results["test/doubtful"] >= 0 and "test/probable_f1" in results and "test/disorder_0.1/bond_f1" in results
    for name in ("test", "shifted"):
        assert Image.open(tmp_path / f"run/samples/reliability_{name}.png").size


@pytest.mark.parametrize(
    "value",
    [
        1,
        {},
        {"intercept": 0.0, "weights": [1.0, 2.0]},
        {"intercept": "0", "weights": [1.0, 2.0, 3.0]},
        {"intercept": float("nan"), "weights": [1.0, 2.0, 3.0]},
        {"intercept": 0.0, "weights": [1.0, 2.0, 1e9]},
        {"intercept": 0.0, "weights": [1.0, 2.0, 3.0], "more": 1},
        {"intercept": 0.0, "weights": [1.0, 2.0, 3.0], "steps": [[0.0, 0.5], [1.0, 0.4]]},
        {"intercept": 0.0, "weights": [1.0, 2.0, 3.0], "steps": [[1.0, 0.4], [0.0, 0.5]]},
        {"intercept": 0.0, "weights": [1.0, 2.0, 3.0], "steps": [[1.0, 1.5]]},
        {"intercept": 0.0, "weights": [1.0, 2.0, 3.0], "steps": [[float("nan"), 0.5]]},
        {"intercept": 0.0, "weights": [1.0, 2.0, 3.0], "steps": [[1.0]]},
        {"intercept": 0.0, "weights": [1.0, 2.0, 3.0], "steps": [[0.0, 0.5]] * 2000},
    ],
)
def test_a_calibration_that_is_none_is_refused(value, tmp_path):
    card = {
        "networks": {},
        "outputs": {"translate": {"network": "generator", "fed": "picture", "told": None, "averaged": False}},
        "norm_mode": "running",
        "size": 64,
        "fit_to_size": "pad",
        "provides": [],
        "config": {},
    }
    torch.save({"ganforge": card, "state_dict": {}}, tmp_path / "a.ckpt")
    checkpoint.load(tmp_path / "a.ckpt")
    torch.save({"ganforge": {**card, "bond_calibration": value}, "state_dict": {}}, tmp_path / "b.ckpt")
    with pytest.raises(UserError, match="bond_calibration"):
        checkpoint.load(tmp_path / "b.ckpt")


def test_the_mean_over_symmetries_is_symmetric():
    torch.manual_seed(0)
    network = SymmetryAverage(torch.nn.Conv2d(1, 1, 3, padding=1))
    images = torch.rand(2, 1, 6, 8)
    with torch.no_grad():
        for symmetry in range(8):
            assert torch.equal(back(turned(images, symmetry), symmetry), images)
            there = network(turned(images, symmetry))
            assert torch.allclose(there, turned(network(images), symmetry), atol=1e-6)
    assert len({turned(images[..., :6], symmetry).numpy().tobytes() for symmetry in range(8)}) == 8


def test_bonds_are_written_with_their_probabilities(tmp_path):
    drawn, bond = with_one_bond(0.4)
    source, sites = SQUARES.source[..., None], find_sites(SQUARES.source)
    bond = sorted(np.hypot(*(sites - SQUARES.network.sites[end]).T).argmin() for end in bond)
    network, found = bonds.between(source, drawn[..., None], np.array([2.0, 2.0]), Calibration(-6.0, (4.0, 8.0, 0.0)))
    bonds.write(network, tmp_path / "a.json", tmp_path / "a.graphml", candidates=found)
    said = json.loads((tmp_path / "a.json").read_text())
    assert len(said["probabilities"]) == len(said["bonds"]) == len(network.bonds) and said["calibrated"]
    every = {tuple(pair): p for pair, p in zip(found.pairs.tolist(), found.probabilities.tolist(), strict=True)}
    assert [every[tuple(pair)] for pair in said["bonds"]] == pytest.approx(said["probabilities"], abs=1e-4)
    is_bond = bond in said["bonds"]
    assert is_bond or said["doubtful_other_pairs"] == [bond]
    assert len(said["doubtful_other_pairs"]) == len(said["doubtful_other_probabilities"]) == 1 - is_bond
    assert bonds.said_of([found])[0].startswith("1 bond is" if is_bond else "no bonds are")
    assert len(bonds.said_of([found])) == 1 and len(bonds.said_of([probable_bonds(drawn, sites)])) == 2
    shown = bonds.coloured(drawn[..., None], sites, found, 2.0).astype(int)
    x, y = sites[bond].mean(axis=0).astype(int)
    assert np.ptp(shown[y, x]) > 100  # in colour
    plain = np.ptp(shown, axis=2) == 0
    assert plain.mean() > 0.95 and np.array_equal(shown[plain][:, 0], drawn[plain])
