"""Metrics against numbers known from outside: drawings that are right, and drawings made wrong in a known way."""

import json

import numpy as np
import pytest
import torch

from conftest import TINY_PIX2PIX
from ganforge.evaluation import GeometricBaselines, NetworkMetrics, PairedMetrics
from ganforge.evaluation.picture_mean import PictureMean
from ganforge.experiment import run
from ganforge.lattice import Network, Style, bond_array, draw, gabriel, patch


class Drawn:
    """A data set of two drawn networks."""

    def __init__(self):
        style = Style(dot_radius=3.5, line_width=2.5, scale=0.9)
        self.drawings = [draw(patch("kagome", (3, 3)), 128, style), draw(patch("square", (4, 4)), 128, style)]

    def network(self, index: int) -> Network:
        return self.drawings[index].network

    def batch(self) -> dict:
        return {"index": torch.tensor([0, 1])}


def unit(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures))[:, None].float() / 127.5 - 1


def test_true_drawings_are_perfect():
    drawn = Drawn()
    metric = NetworkMetrics()
    metric.update(drawn.batch(), unit([d.target for d in drawn.drawings]), drawn)
    values = metric.compute()
    for name in ("bond_f1", "bond_precision", "bond_recall", "network_exact", "site_recall", "zero_modes_exact"):
        assert values[name] == 1
    assert values["bond_f1/kagome"] == values["bond_f1/square"] == 1
    assert "bond_f1/triangular" not in values
    assert values["site_shift_px"] < 0.3
    assert values["networks"] == 2


def test_missing_and_invented_bonds_are_counted():
    """One kagome network without 4 of its 43 bonds, one square network of 24 bonds with a diagonal too many."""
    drawn = Drawn()
    style = Style(dot_radius=3.5, line_width=2.5, scale=0.9)
    kagome, square = patch("kagome", (3, 3)), patch("square", (4, 4))
    fewer = draw(Network(kagome.sites, kagome.bonds[4:], "kagome"), 128, style)
    more = draw(Network(square.sites, bond_array([*square.bonds.tolist(), [0, 5]]), "square"), 128, style)
    metric = NetworkMetrics()
    metric.update(drawn.batch(), unit([fewer.target, more.target]), drawn)
    values = metric.compute()
    assert (len(kagome.bonds), len(square.bonds)) == (43, 24)
    assert values["bond_recall/kagome"] == pytest.approx(39 / 43)
    assert values["bond_precision/kagome"] == 1
    assert values["bond_precision/square"] == pytest.approx(24 / 25)
    assert values["bond_f1"] == pytest.approx(2 * 63 / (2 * 63 + 1 + 4))
    assert values["network_exact"] == 0
    assert values["site_recall"] == 1


def test_networks_whose_wrong_bonds_change_the_mechanics_are_counted():
    """A diagonal takes one of five mechanisms of 4 x 4 squares; a bond less inside a triangular patch gives none."""
    drawn = Drawn()
    style = Style(dot_radius=3.5, line_width=2.5, scale=0.9)
    triangular = draw(patch("triangular", (4, 4)), 128, style)
    drawn.drawings.append(triangular)
    square = patch("square", (4, 4))
    braced = draw(Network(square.sites, bond_array([*square.bonds.tolist(), [0, 5]]), "square"), 128, style)
    inside = triangular.network.bonds.tolist().index([5, 6])
    fewer = Network(triangular.network.sites, np.delete(triangular.network.bonds, inside, axis=0))
    metric = NetworkMetrics()
    pictures = [drawn.drawings[0].target, braced.target, draw(fewer, 128, style).target]
    metric.update({"index": torch.tensor([0, 1, 2])}, unit(pictures), drawn)
    values = metric.compute()
    assert values["network_exact"] == pytest.approx(1 / 3)
    assert values["zero_modes_exact"] == pytest.approx(2 / 3)
    assert values["zero_modes_exact/kagome"] == values["zero_modes_exact/triangular"] == 1
    assert values["zero_modes_exact/square"] == 0


def test_lost_and_moved_dots_are_counted():
    drawn = Drawn()
    kagome, square = (d.target for d in drawn.drawings)
    metric = NetworkMetrics()
    metric.update(drawn.batch(), unit([np.full_like(kagome, 255), np.roll(square, 1, axis=1)]), drawn)
    values = metric.compute()
    assert values["site_recall"] == pytest.approx(16 / (27 + 16))
    assert values["site_shift_px"] == pytest.approx(1.0, abs=0.1)
    assert values["bond_recall/kagome"] == 0
    metric.reset()
    metric.update({"index": torch.tensor([1])}, unit([square]), drawn)
    assert metric.compute()["networks"] == 1


def test_baselines_judge_the_same_networks():
    drawn = Drawn()
    metric = GeometricBaselines()
    metric.update(drawn.batch(), torch.zeros(2, 1, 128, 128), drawn)
    values = metric.compute()
    true = {tuple(bond) for bond in drawn.network(0).bonds.tolist()}
    found = {tuple(bond) for bond in gabriel(drawn.network(0).sites).tolist()}
    right = len(true & found)
    assert values["baseline/gabriel_f1/kagome"] == pytest.approx(2 * right / (len(true) + len(found)))
    assert {"baseline/delaunay_f1", "baseline/relative_neighbourhood_f1", "baseline/gabriel_exact"} <= set(values)


def test_paired_metrics_are_on_the_scale_from_0_to_1():
    metric = PairedMetrics()
    target = torch.rand(2, 3, 32, 32) * 2 - 1
    generated = (target + 0.2).clamp(-1, 1)
    metric.update({"target": target}, generated, None)
    values = metric.compute()
    difference = (generated - target).abs() / 2
    assert values["l1"] == pytest.approx(difference.mean().item(), rel=1e-5)
    metric.reset()
    metric.update({"target": target}, target, None)
    assert metric.compute()["ssim"] == pytest.approx(1)


def test_psnr_is_that_of_each_image_averaged():
    """Errors of 0.1 and 0.01 on [0, 1] are 20 and 40 dB; of all pixels together it would be 22.97 dB."""
    metric = PairedMetrics()
    target = torch.zeros(3, 1, 16, 16)
    generated = target + torch.tensor([0.2, 0.02, 0]).view(3, 1, 1, 1)
    metric.update({"target": target[:1]}, generated[:1], None)
    metric.update({"target": target[1:2]}, generated[1:2], None)
    assert metric.compute()["psnr"] == pytest.approx(30, abs=1e-3)
    metric.update({"target": target[2:]}, generated[2:], None)  # without a difference: no infinity
    assert metric.compute()["psnr"] == pytest.approx((20 + 40 + 100) / 3, abs=1e-3)
    assert "mean over the images" in metric.describe()["psnr"]


@pytest.mark.slow
def test_a_metric_that_was_set_to_null_is_left_out(configured, tmp_path):
    small = ["data.size=32", "data.cells=[2,2]", "data.shifted=null", "model.generator.depth=3"]
    run(configured([*TINY_PIX2PIX, *small, "evaluation.metrics.paired=null"]))
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert "test/bond_f1" in results and "test/psnr" not in results


def test_a_mean_over_pictures_and_its_standard_error_are_numpys_however_they_come():
    values = np.random.default_rng(0).normal(0.99, 1e-3, 50)  # alike: sums of squares would lose them in float32
    ranks = [PictureMean(), PictureMean(), PictureMean()]
    for rank, (begin, end) in zip((0, 0, 1, 1), ((0, 7), (7, 30), (30, 30), (30, 50)), strict=True):
        ranks[rank].update(torch.from_numpy(values[begin:end]))
    whole = PictureMean()
    whole.moments = whole._reductions["moments"](torch.stack([rank.moments for rank in ranks]))  # one without pictures
    whole.update(torch.empty(0))
    n, mean, error = whole.compute().tolist()
    assert (n, mean) == (50, pytest.approx(values.mean(), rel=1e-6))
    assert error == pytest.approx(values.std(ddof=1) / 50**0.5, rel=1e-3)
    assert ranks[2].moments.tolist() == [0, 0, 0] and np.isnan(ranks[2].mean())
