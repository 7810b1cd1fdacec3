"""What CONTRIBUTING.md promises: a data set or a metric is one file and one yaml, listed nowhere a second time."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

import conftest
import ganforge.data
import ganforge.evaluation
import test_configs
from conftest import ROOT, overrides_for_model
from ganforge import compatibility
from ganforge.commands.evaluate import evaluate, known_data, known_metrics
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.runs import checkpoint
from ganforge.runs.generators import known_networks

CIRCLES = '''
import numpy as np
from torch.utils.data import Dataset

from ganforge.data.module import DataModule, RealPictures
from ganforge.errors import require


def circle(size, rng):
    """A grey disk on white, uint8 (1, size, size)."""
    x, y, radius = *rng.uniform(0.3, 0.7, 2), rng.uniform(0.1, 0.3)
    across, down = np.meshgrid(*2 * [np.linspace(0, 1, size)])
    return np.where((across - x) ** 2 + (down - y) ** 2 < radius**2, 60, 255).astype(np.uint8)[None]


class Circles(Dataset):
    def __init__(self, n, size, seed):
        self.n, self.size, self.seed = n, size, seed

    def __len__(self):
        return self.n

    def picture(self, index):
        return circle(self.size, np.random.default_rng([self.seed, index]))

    def __getitem__(self, index):
        return {"image": self.picture(index).astype(np.float32) / 127.5 - 1, "index": index}


class CirclesData(DataModule):
    provides = frozenset({"image"})

    def __init__(self, *, n_train, n_val, n_test, size, channels, batch_size, num_workers, seed):
        super().__init__(size=size, batch_size=batch_size, num_workers=num_workers, seed=seed, channels=channels)
        require(channels == 1, f"data.channels={channels}: circles are grey, 1")
        self.counts = {"train": n_train, "val": n_val, "test": n_test}

    def datasets(self):
        return {name: Circles(n, self.size, [self.seed, i]) for i, (name, n) in enumerate(self.counts.items())}

    def fingerprint(self):
        return f"circles {self.size} {self.seed}"

    def real(self, split):
        dataset = self.sets[split]
        return RealPictures(len(dataset), dataset.picture)
'''
YAML = """\
# Disks.
defaults:
  - base/drawn
  - _self_
size: 32
channels: 1
"""
INHERITED = """\
# @package data
_target_: ganforge.data.circles.CirclesData
n_train: 64
n_val: 8
n_test: 8
batch_size: 4
num_workers: 0
seed: ${seed}
"""
METRIC = '''
import torch
from torchmetrics import Metric


class Brightness(Metric):
    """brightness: mean of all pixels."""

    needs = frozenset({"image"})
    stages = ("val", "test")
    monitor = None
    full_state_update = False

    def __init__(self, *, offset):
        super().__init__()
        self.offset = offset
        self.add_state("means", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, batch, generated, dataset):
        self.means += torch.stack([generated.mean(), torch.ones(())]) * len(generated)

    def compute(self):
        total, count = self.means.tolist()
        return {"brightness": total / count + self.offset}
'''


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """A copy of conf/ with data=circles and a metric, and their modules in the rooms' folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    for room, name, text in ((ganforge.data, "circles", CIRCLES), (ganforge.evaluation, "brightness", METRIC)):
        folder = tmp_path / room.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
        monkeypatch.delitem(sys.modules, f"{room.__name__}.{name}", raising=False)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/data/base").mkdir()
    (tmp_path / "conf/data/base/drawn.yaml").write_text(INHERITED)
    (tmp_path / "conf/data/circles.yaml").write_text(YAML)
    with (tmp_path / "conf/evaluation/base/common.yaml").open("a") as file:
        file.write("  brightness:\n    _target_: ganforge.evaluation.brightness.Brightness\n    offset: 100\n")
    monkeypatch.setattr(conftest, "ROOT", tmp_path)
    monkeypatch.setattr(compatibility, "CONF", tmp_path / "conf")
    yield tmp_path
    for name in ("ganforge.data.circles", "ganforge.evaluation.brightness"):
        sys.modules.pop(name, None)


def test_a_data_set_and_a_metric_of_ones_own_train_and_are_judged(configured, extended):
    tiny = overrides_for_model("dcgan")
    run(configured([*tiny, "data=circles", "evaluation=pixels", "data.n_test=6"]))
    at_the_end = json.loads((extended / "run/results.json").read_text())
    again = evaluate(extended / "run")
    assert 99 <= again["test/brightness"] <= 101
    for key in ("test/brightness", "test/swd", "test/diversity"):
        assert again[key] == pytest.approx(at_the_end[key], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dcgan", "r3gan", "cgan", "pix2pix"])
def test_new_data_pass_what_every_yaml_must(configured, extended, model):
    test_configs.test_every_model_trains_on_every_data_that_fits(configured, extended, extended, model, "circles")


@pytest.mark.slow
def test_data_that_inherit_their_class_are_named_where_they_fit(configured, extended):
    with pytest.raises(UserError, match=r"data=circles provides image; use data=colour or data=lattice or data=pairs$"):
        run(configured(["data=circles"]))
    with pytest.raises(UserError, match=r"use data=circles or data=image_folder or data=mnist$"):
        run(configured(["model=dcgan"]))


def test_only_what_a_room_defines_may_be_named(extended):
    assert "ganforge.data.circles.CirclesData" in known_data()
    assert "ganforge.evaluation.brightness.Brightness" in known_metrics()
    rooms = (known_data(), "ganforge.data."), (known_metrics(), "ganforge.evaluation."), (
        known_networks(), "ganforge.networks."
    )  # fmt: skip
    for found, room in rooms:
        assert found and all(path.startswith(room) and kind.__module__.startswith(room) for path, kind in found.items())
    # What modules import, layers, bases and helpers are none of these.
    names = {kind.__name__ for found, _ in rooms for kind in found.values()}
    assert not names & {"Metric", "Module", "DataModule", "Dataset", "Circles", "BondCounts", "Head", "Block", "Tensor"}


@pytest.mark.parametrize(
    "target",
    ["ganforge.data.own.Own", "own.Own", "ganforge.data.circles.DataModule", "ganforge.data.circles.circle",
     "ganforge.data.module.DataModule", "ganforge.evaluation.pixels.PixelMetrics", "os.system", "..own.Own"],
)  # fmt: skip
def test_what_a_checkpoint_names_is_never_imported(configured, extended, monkeypatch, target):
    (extended / "own.py").write_text(f"from pathlib import Path\nPath({str(extended / 'ran')!r}).touch()\n")
    monkeypatch.syspath_prepend(extended)
    run(configured([*overrides_for_model("dcgan"), "data=circles", "evaluation=pixels"]))
    contents = checkpoint.load(extended / "run")
    contents["ganforge"]["config"]["data"]["_target_"] = target
    torch.save(contents, "changed.ckpt")
    with pytest.raises(UserError, match="names data that is not built from a checkpoint"):
        evaluate("changed.ckpt")
    assert not Path("ran").exists()
    assert os.getcwd() == str(extended)
