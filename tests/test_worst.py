"""The worst test pictures: that they are the worst, what is drawn of them, and that they stay few."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY_PIX2PIX, overrides_for, overrides_for_model
from ganforge.errors import UserError
from ganforge.evaluation import NetworkMetrics, PairedMetrics, PartnerMetrics, RoundTrip
from ganforge.evaluation.running import RunningMetrics
from ganforge.evaluation.worst import WorstCases
from ganforge.experiment import run
from ganforge.pictures import differences


class Named:
    """A data set whose pictures have names."""

    def name_of(self, index: int) -> str:
        return f"{index}.png"


def fed(cases: WorstCases, n: int, size: int = 8, batch: int = 4, shuffle: int = 0, target: bool = True) -> dict:
    """What the cases say of n results that differ from their targets by known amounts; these."""
    amounts = np.random.default_rng(3).permutation(n) / n
    order = np.random.default_rng(shuffle).permutation(n) if shuffle else np.arange(n)
    metric = PairedMetrics()
    for begin in range(0, n, batch):
        index = torch.from_numpy(order[begin : begin + batch])
        targets = torch.zeros(len(index), 3, size, size)
        result = targets + torch.from_numpy(amounts)[index].float()[:, None, None, None]
        given = {"source": -torch.ones_like(result), "target": targets, "index": index}
        metric.update(given, result, Named())
        shown = {"source": given["source"], "result": result, **({"target": targets} if target else {})}
        cases.update(
            given, result, Named(), [metric], lambda rows, shown=shown: {name: v[rows] for name, v in shown.items()}
        )
    return {"said": cases.finish(), "amounts": amounts}


def test_the_worst_are_the_worst_whatever_the_order_and_the_batches(tmp_path):
    found = fed(WorstCases(k=5, folder=tmp_path / "a", name="test"), 23)
    said, amounts = found["said"], found["amounts"]
    assert [case["index"] for case in said["worst"]] == np.argsort(-amounts)[:5].tolist()
    assert [case["index"] for case in said["first"]] == [0, 1, 2, 3]
    worst = said["worst"][0]
    assert worst["name"] == f"{np.argmax(amounts)}.png"
    assert worst["l1"] == pytest.approx(amounts.max() / 2, rel=1e-5)
    assert worst["psnr"] == pytest.approx(-20 * np.log10(amounts.max() / 2), rel=1e-4)
    assert (said["measure"], said["better"], said["columns"]) == ("l1", "min", ["source", "result", "target"])
    assert said["largest_difference"] == pytest.approx(amounts.max() / 2, abs=1 / 255)
    for options in ({"shuffle": 4}, {"batch": 7}, {"batch": 1, "shuffle": 1}, {"target": False}):
        other = fed(WorstCases(k=5, folder=tmp_path / "b", name="test"), 23, **options)["said"]
        assert {**other, "folder": ""} == {**said, "folder": ""}
        for case in (*said["worst"], *said["first"]):
            assert (tmp_path / "a" / case["picture"]).read_bytes() == (tmp_path / "b" / case["picture"]).read_bytes()


def test_ties_are_broken_by_the_index_and_what_has_no_number_is_none_of_them(tmp_path):
    cases = WorstCases(k=3, folder=tmp_path, name="test")
    metric = PairedMetrics()
    metric.of_each = {"l1": torch.tensor([0.5, torch.nan, 0.5, 0.1, 0.5, torch.inf])}
    pictures = torch.zeros(6, 1, 8, 8)
    batch = {"index": torch.tensor([9, 8, 7, 6, 5, 4])}
    cases.update(batch, pictures, object(), [object(), metric], lambda rows: {"A": pictures[rows], "B": pictures[rows]})
    said = cases.finish()
    assert [(case["index"], case["name"]) for case in said["worst"]] == [(i, f"picture {i}") for i in (5, 7, 9)]
    assert said["difference"] is None and said["largest_difference"] is None
    assert "none" in WorstCases(k=3, folder=tmp_path, name="test").finish()


@pytest.mark.slow
def test_of_a_large_test_set_of_large_pictures_few_small_ones_are_kept(tmp_path):
    cases = WorstCases(k=2, folder=tmp_path, name="test")
    fed(cases, 40, size=600)
    assert all(case.pictures.shape == (3, 3, 256, 256) for case in (*cases.worst, *cases.first))
    fed(WorstCases(k=9, folder=tmp_path, name="other"), 40)
    (tmp_path / "test_notes.png").write_bytes(b"mine")
    fed(WorstCases(k=1, folder=tmp_path, name="test"), 40)  # of the run that goes on
    names = sorted(path.name for path in tmp_path.glob("test_*"))
    assert names == [*(f"test_first_{n}.png" for n in (1, 2, 3, 4)), "test_notes.png", "test_worst_1.png"]
    assert len(list(tmp_path.glob("other_worst_*"))) == 9
    assert max(Image.open(path).width for path in tmp_path.glob("test_*_1.png")) < 5 * 100 + 80  # 8 px, 12 times


@pytest.mark.parametrize("k", [-1, 65, 1.5, "8"])
def test_a_wrong_number_of_cases_is_refused(k):
    with pytest.raises(UserError, match=r"evaluation\.worst=.*0 \(none\) to 64"):
        RunningMetrics(metrics={}, worst=k)


def test_differences_are_drawn_from_none_to_the_largest():
    levels = torch.tensor([[[0.0, 0.25], [0.5, 9.0]]])
    drawn = (differences.coloured(levels, 0.5)[0].permute(1, 2, 0) + 1) * 127.5
    assert drawn[0, 0].tolist() == pytest.approx([0, 0, 4], abs=1e-3)
    assert drawn[0, 1].tolist() == pytest.approx([183, 55, 121], abs=1e-3)
    assert drawn[1, 0].tolist() == drawn[1, 1].tolist() == pytest.approx([252, 253, 191], abs=1e-3)
    a, b = torch.rand(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(differences.absolute(a, b), ((a + 1) / 2 - (b + 1) / 2).abs().mean(1))
    with_scale = differences.row([a[0], b[0]], ["source", "result"], levels[0].repeat(2, 2), 0.5)
    without = differences.row([a[0], b[0]], ["source", "result"], None, 0.5)
    assert with_scale.shape[1] >= without.shape[1] and with_scale.shape[2] > without.shape[2] + 40


def test_scores_of_single_pictures_average_to_the_number():
    rng = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 6, 3, 16, 16, generator=rng) * 2 - 1
    whole = PairedMetrics()
    whole.update({"target": b}, a, None)
    assert whole.compute()["l1"] == pytest.approx(float(whole.of_each["l1"].mean()), rel=1e-5)
    valid = torch.ones(6, 1, 16, 16)
    valid[2] = 0
    valid[3, :, :8] = 0
    masked = PairedMetrics()
    masked.update({"target": b, "valid": valid}, a, None)
    assert masked.of_each["l1"][2].isnan() and masked.of_each["psnr"][2].isnan()
    assert float(masked.of_each["l1"][3]) == pytest.approx(float((a - b)[3, :, 8:].abs().mean() / 2), rel=1e-5)
    partners = PartnerMetrics()
    b[4] = torch.nan
    partners.update({"target": b}, a, None)
    assert partners.of_each["l1"].isnan().tolist() == [False] * 4 + [True, False]
    assert torch.equal(partners.of_each["l1"][:4], whole.of_each["l1"][:4])
    partners.update({}, a, None)
    assert partners.of_each is None
    trip = RoundTrip()
    trip.update({"a": a}, a, None)
    assert trip.of_each is None and trip.compute() == {}
    trip.update({"a": a, "back": a.flip(0)}, a, None)
    assert trip.compute()["cycle_l1"] == pytest.approx(float((a - a.flip(0)).abs().mean() / 2), rel=1e-5)
    assert NetworkMetrics.each == {"bond_f1": "max"}


def said_of(folder, name: str = "test") -> dict:
    return json.loads((folder / "results.json").read_text())["evaluation"][f"{name}/worst"]


@pytest.mark.parametrize("data", ["lattice", "pairs"])
def test_a_run_shows_its_worst_pictures(configured, folders, tmp_path, capsys, data):
    small = [*overrides_for(data, folders), *TINY_PIX2PIX, "model.generator.depth=3"]
    run(configured([*small, *(["data.test_fraction=0.3", "data.val_fraction=0.3"] if data == "pairs" else [])]))
    said, folder = said_of(tmp_path / "run"), tmp_path / "run/samples/test"
    assert said["folder"] == str(folder) and said["columns"] == ["source", "result", "target"]
    measure, better = {"lattice": ("bond_f1", "max"), "pairs": ("l1", "min")}[data]
    assert (said["measure"], said["better"]) == (measure, better)
    values = [case[measure] for case in said["worst"]]
    assert values == sorted(values, reverse=better == "min") and len(values) == 2
    assert {case["name"] for case in said["worst"]} == {case["name"] for case in said["first"]}
    for case in said["worst"]:
        assert case["name"].endswith(".png" if data == "pairs" else f"number {case['index']}")
    results = json.loads((tmp_path / "run/results.json").read_text())
    if data == "pairs":
        assert np.mean(values) == pytest.approx(results["test/l1"], rel=1e-4)
    shown = {case["picture"] for case in (*said["worst"], *said["first"])}
    details = [said[group][0] for group in ("worst", "first")] if data == "lattice" else []
    assert {path.name for path in folder.iterdir()} == shown | {case["detail_picture"] for case in details}
    assert all("bonds read" in case["detail"] and "zero modes" in case["detail"] for case in details)
    assert not any("detail" in case for group in ("worst", "first") for case in said[group][len(details) > 0 :])
    printed = capsys.readouterr().out
    assert f"worst of test by {measure}: {said['worst'][0]['name']}" in printed
    end = "highest" if better == "max" else "lowest"
    assert f"best checkpoint: the one with the {end} val/{measure}, of 2" in printed


@pytest.mark.slow
def test_unpaired_pictures_are_the_worst_by_their_round_trip_and_none_are_kept_where_none_are_asked_for(
    configured, folders, tmp_path
):
    small = [*overrides_for("unpaired", folders), *overrides_for_model("cyclegan")]
    for index in range(10):  # no hidden partners
        (folders / f"unpaired/testA/{index}.png").rename(folders / f"unpaired/testA/a{index}.png")
    run(configured(small))
    for name, columns in (("test", ["A", "A to B", "A to B to A"]), ("BtoA", ["B", "B to A", "B to A to B"])):
        said = said_of(tmp_path / "run", name)
        assert said["measure"] == "cycle_l1" and said["columns"] == columns
        assert said["difference"] == "source and round trip"
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert {case["name"] for case in said_of(tmp_path / "run")["worst"]} == {"a0.png", "a1.png"}
    values = [case["cycle_l1"] for case in said_of(tmp_path / "run")["worst"]]
    assert np.mean(values) == pytest.approx(results["test/cycle_l1"], rel=1e-4)
    run(configured([*small, "evaluation.worst=0"], folder="other"))
    results = json.loads((tmp_path / "other/results.json").read_text())
    assert not any(name.endswith("/worst") for name in results["evaluation"])
    assert not (tmp_path / "other/samples/test").exists() and results["test/cycle_l1"] > 0
