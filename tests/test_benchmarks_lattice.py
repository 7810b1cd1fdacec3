"""Benchmarks of networks: bonds that the sites do not tell, the rows of the ablation, learning curves."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ganforge.lattice import Network, disorder, patch

ROOT = Path(__file__).parents[1]


def benchmark(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its data classes look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def undecidable_bonds():
    found = benchmark("undecidable_bonds")
    found.CELLS = 20
    return found


def test_halfway_between_two_lattices_a_diagonal_is_undecidable(undecidable_bonds):
    """A square lattice sheared towards a triangular one: beyond the middle the sites speak for the square."""
    lattices = undecidable_bonds.perfect_lattices(("square", "triangular"), (0.5, 0.5))
    assert len(lattices) == 3  # one square, two triangular under the symmetries of the page
    square, triangular = patch("square", (4, 4)), patch("triangular", (4, 4))
    diagonal = (5, 8)  # in the middle, of triangles alone
    assert list(diagonal) in triangular.bonds.tolist() and list(diagonal) not in square.bonds.tolist()
    verdicts = {}
    for share in (0.2, 0.8):
        sites = (1 - share) * triangular.sites + share * square.sites
        verdicts[share] = undecidable_bonds.undecidable(Network(sites, triangular.bonds), diagonal, lattices)
    assert verdicts == {0.2: [False] * 4, 0.8: [True] * 4}


def test_in_little_disorder_everything_is_decided(undecidable_bonds):
    lattices = undecidable_bonds.perfect_lattices(("square", "triangular"), (0.5, 0.5))
    for name in ("square", "triangular"):
        network = disorder(patch(name, (4, 4)), 0.03, np.random.default_rng(0))
        placed = Network(network.sites * 20 + 7, network.bonds, name)
        for pair in ((5, 6), (5, 8)):
            assert undecidable_bonds.undecidable(placed, pair, lattices) == [False] * 4


def test_the_rows_of_the_ablation_differ_by_what_they_are_called(configured):
    ablation = benchmark("ablation")
    rows = [ablation.settings(step, 4000, 1) for step in range(len(ablation.STEPS))]
    for row, more, (_, added) in zip(rows, rows[1:], ablation.STEPS[1:], strict=False):
        assert set(more) - set(row) == set(added)
    (first, last), main = (configured(rows[index]) for index in (0, -1)), configured([])
    assert (first.model.ink_weight, first.data.fresh, first.model.ema_half_life) == (1, False, None)
    assert (last.model.ink_weight, last.data.fresh, last.model.ema_half_life) == (10, True, 1100)
    assert all((each.data.n_train, each.trainer.max_epochs, each.seed) == (90, 44, 1) for each in (first, last))
    assert first.model.generator._target_.endswith("UNet") and not first.data.symmetries
    for part in ("generator", "discriminator", "optimizer_g", "optimizer_d"):
        assert last.model[part] == main.model[part]
    for key in ("cells", "disorder", "breathing", "dot_radius", "line_width", "margin", "scale", "symmetries", "size"):
        assert last.data[key] == main.data[key]
    assert (last.model.norm_mode, last.data.batch_size) == (main.model.norm_mode, main.data.batch_size)


def test_the_table_of_the_ablation_is_right_by_hand():
    ablation = benchmark("ablation")
    runs = [{"f1": f1, "exact": f1 / 2, "f1/square": f1, "exact/square": 1.0, "precision": 1.0} for f1 in (0.5, 0.7)]
    rows = ablation.table({1: runs, 0: runs[:1]}).splitlines()
    assert rows[0] == "| | all | square |"
    assert rows[2].startswith("| published recipe | 0.5000 (0.5000 to 0.5000), 25 % (25 to 25) |")
    assert rows[3].startswith("| + ink weight 10 | 0.6000 (0.5000 to 0.7000), 30 % (25 to 35) |")


def test_a_learning_curve_has_the_minutes_of_the_run(tmp_path, capsys, monkeypatch):
    for name in ("a/run", "b/run"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        (tmp_path / name / ".hydra/config.yaml").write_text(yaml.safe_dump({"seed": 0}))
        (tmp_path / name / "results.json").write_text(json.dumps({"images_per_second": 10.0, "best/val/bond_f1": 0.9}))
        rows = ["images,step,val/bond_f1,val/network_exact", "600,1,0.8,0.25", "600,1,,", "1200,2,0.9,0.5"]
        (tmp_path / name / "metrics.csv").write_text("\n".join(rows))
    runs = [str(tmp_path / name) for name in ("a/run", "b/run")]
    output = tmp_path / "curve.png"
    monkeypatch.setattr(sys, "argv", ["learning_curve.py", *runs, "--output", str(output)])
    benchmark("learning_curve").main()
    printed = capsys.readouterr().out
    for run in runs:
        assert f"| {run} | 1.0 | 0.8000 | 0.2500 |" in printed and f"| {run} | 2.0 | 0.9000 | 0.5000 |" in printed
    assert Image.open(output).size[1] > 300
    (tmp_path / "a/run/results.json").unlink()
    with pytest.raises(SystemExit, match="give a finished run"):
        benchmark("learning_curve").main()
