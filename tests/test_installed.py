"""ganforge as a wheel installs it, used from a folder that is no clone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, write_folders

SMALL = [
    "model.generator.base_channels=4", "model.discriminator.base_channels=4", "data.size=16", "trainer.accelerator=cpu",
    "data.batch_size=2", "data.num_workers=0", "trainer.max_epochs=1", "trainer.log_every_n_steps=1", "data.n_val=4",
    "data.n_test=4", "evaluation=pixels",
]  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.fixture
def ganforge(installed, tmp_path):
    """ganforge("train", ...) runs the installed command in an empty folder; returns the finished process."""

    def call(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
        code = "import sys; from ganforge.cli import main; sys.exit(main())"
        environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", **variables}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip

    return call


@pytest.mark.slow
def test_a_wheel_trains_resumes_sweeps_samples_and_reports(ganforge, installed, tmp_path):
    write_folders(tmp_path, np.random.default_rng(0))
    pictures = [
        "model=dcgan",
        "data=image_folder",
        f"data.root={tmp_path / 'image_folder'}",
    ]
    where = ganforge("train", "--info", "searchpath").stdout
    assert str(installed / "ganforge/conf") in where and str(ROOT) not in where

    first = ganforge("train", *pictures, *SMALL, "hydra.run.dir=run", "trainer.devices=2")
    assert first.returncode == 0, first.stderr
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["git_commit"] == "unknown"  # of the folder where one stands, which is no repository
    again = ganforge("train", *pictures, *SMALL, "hydra.run.dir=run", "trainer.devices=2", "resume=true")
    assert again.returncode == 0, again.stderr

    sweep = ganforge("train", "-m", *pictures, *SMALL, "seed=0,1", "hydra.sweep.dir=sweep")
    assert sweep.returncode == 0, sweep.stderr
    assert len(list((tmp_path / "sweep").glob("*/results.json"))) == 2

    for arguments in (["sample", "run", "-n", "2", "-o", "drawn"], ["report", "sweep"], ["runs", "sweep"]):
        done = ganforge(*arguments)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 2

    begun = ganforge("new", "my_rings")  # whose templates travel in the wheel
    assert begun.returncode == 0, begun.stderr
    assert (tmp_path / "my_rings/my_rings/conf/model/generator/tiny.yaml").is_file()


def test_tab_completes_after_ganforge_train(tmp_path):
    line = "ganforge train model=r3"
    shown = subprocess.run(
        [Path(sys.executable).parent / "ganforge", "-sc", "query=bash"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))}, timeout=60, check=True,
    )  # fmt: skip
    assert shown.stdout.split() == ["model=r3gan"]


def test_help_that_is_cut_off_says_nothing_more(tmp_path):
    command = f"{sys.executable} {ROOT / 'train.py'} --help | head -n 1"
    shown = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert shown.stderr == "" and shown.stdout.count("\n") == 1
