"""train.py as a user meets it: what it writes, how it stops, and how it refuses what cannot work."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from conftest import ROOT, TINY_PIX2PIX
from ganforge.callbacks import Evaluation, Health
from ganforge.experiment import run, start
from ganforge.runs import checkpoint, status
from ganforge.words import choices

LATTICE = ["data.size=64", "data.cells=[2,3]", "model.generator.depth=3"]


def train(*overrides: str, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "train.py"), *overrides, f"hydra.run.dir={folder}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def refused(configured, capsys, *overrides: str) -> str:
    """The sentence with which a run is refused."""
    with pytest.raises(SystemExit) as stopped:
        start(configured([*TINY_PIX2PIX, *overrides]))  # tiny: should it not be refused, it fails soon
    message = str(stopped.value.code)
    assert message.startswith("error: ")
    return message


def test_a_run_folder_holds_everything_about_the_run(configured, tmp_path, capsys):
    returned = run(configured([*TINY_PIX2PIX, *LATTICE, "trainer.max_epochs=2", "trainer.log_every_n_steps=1"]))
    folder = tmp_path / "run"
    results = json.loads((folder / "results.json").read_text())
    for name in ("bond_f1", "bond_f1/kagome", "network_exact", "site_recall", "l1", "psnr", "ssim", "networks"):
        assert f"test/{name}" in results
        assert f"shifted/{name}" in results
    for name in ("delaunay", "gabriel", "relative_neighbourhood"):
        assert 0 < results[f"baseline/{name}_f1"] <= 1
        assert 0 < results[f"shifted/baseline/{name}_f1"] <= 1
    assert returned == results["best/val/bond_f1"]
    assert results["images_seen"] == 8
    assert results["images_per_second"] > 0
    assert results["duration_s"] > 0
    for name in ("best_checkpoint", "last_checkpoint", "grid"):
        assert Path(results[name]).is_file()
    assert (results["seed"], results["precision"]) == (0, "32-true")
    assert len(results["data_fingerprint"]) == 16
    assert results["cores"] >= 1 and results["cpu"]  # what `ganforge record` says of the machine

    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    trained = [row for row in rows if row["train/g/l1"]]
    assert [int(float(row["images"])) for row in trained] == [2, 4, 6, 8]
    assert all(float(row["train/d/adv"]) > 0 and float(row["lr/g"]) >= 0 for row in trained)
    assert [int(float(row["images"])) for row in rows if row["val/l1"]] == [4, 8]
    assert results["val/l1"] == pytest.approx(float(rows[-1]["val/l1"]))

    # 2 validation pictures, three named columns of 64 px, frames of 4 px; the evolution has the start and two stages.
    for name, columns in (("images_000000004", 3), ("evolution", 5)):
        width, height = Image.open(folder / f"samples/{name}.png").size
        assert width == columns * 68 + 4 and 2 * 68 + 4 < height < 2 * 68 + 4 + 30
    shown = capsys.readouterr().out
    assert "generator" in shown and "gabriel" in shown and str(folder / "results.json") in shown


@pytest.mark.parametrize(
    ("settings", "validated"),
    [
        (["trainer.max_epochs=5", "trainer.check_val_every_n_epoch=2"], [8, 16, 20]),
        (["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"], [4]),
        (["trainer.max_epochs=9", "trainer.check_val_every_n_epoch=2"], [8, 10]),  # ended within its third epoch
    ],
)
def test_the_last_weights_are_compared_whatever_the_interval(configured, tmp_path, monkeypatch, settings, validated):
    numbers = iter(range(1, 9))  # each validation is better than the one before
    compute = Evaluation.compute
    monkeypatch.setattr(
        Evaluation,
        "compute",
        lambda self, name: compute(self, name) | ({"val/bond_f1": float(next(numbers))} if name == "val" else {}),
    )
    monkeypatch.setattr(Health, "on_train_batch_end", ends_at_10)
    score = run(configured([*TINY_PIX2PIX, *LATTICE, *settings, "trainer.log_every_n_steps=1"]))
    folder = tmp_path / "run"
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [int(float(row["images"])) for row in rows if row["val/l1"]] == validated
    assert score == len(validated)
    for name in ("best", "last"):
        assert checkpoint.load(folder / f"checkpoints/{name}.ckpt")["ganforge"]["images_seen"] == validated[-1]
    grids = [int(file.stem.removeprefix("images_")) for file in sorted((folder / "samples").glob("images_*.png"))]
    assert grids == [0, *validated]
    results = json.loads((folder / "results.json").read_text())
    assert results["best_checkpoint_images_seen"] == results["images_seen"] == validated[-1]


def ends_at_10(health, trainer, module, *_):
    if module.images_seen == 10 and trainer.max_epochs == 9:
        trainer.should_stop = True


def test_what_was_decided_for_the_user_is_said(configured, tmp_path, capsys):
    for index in range(4):
        for split in ("train", "val"):
            (tmp_path / "pairs" / split).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 32)).save(tmp_path / "pairs" / split / f"{index}.png")
    pairs = ["data=pairs", f"data.root={tmp_path / 'pairs'}", "data.size=32", *TINY_PIX2PIX]
    run(configured(pairs))
    shown = capsys.readouterr().out
    assert "side_by_side" in shown  # the layout that was found
    assert re.search("val.* test", shown)  # there is no test/


@pytest.mark.slow
def test_equal_seeds_give_equal_weights(configured, tmp_path):
    states = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(configured([*TINY_PIX2PIX, *LATTICE, f"seed={seed}"], folder))
        states.append(torch.load(tmp_path / folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.size=102"], r"data.size=102 is not a multiple of 4 .*use 104"),
        (
            ["data.size=100", "model/generator=unet"],
            r"data.size=100 is not a multiple of 64 .*use 128",
        ),
        (["model.l1_weight=-1"], r"model.l1_weight=-1"),
        (["trainer.max_epochs=0"], r"trainer.max_epochs=0"),
        (["trainer.max_epochs=many"], r"trainer.max_epochs=many"),
        (["trainer.check_val_every_n_epoch=9"], r"trainer.check_val_every_n_epoch=9: 1 to trainer.max_epochs"),
        (["data.batch_size=0"], r"data.batch_size=0"),
        (["data.n_test=-5"], r"data.n_test=-5"),
        (["trainer.accelerator=gpu", "trainer.devices=4"], r"trainer.devices=4 .*but this machine has"),
        (["trainer.devices=0"], r"trainer.devices=0"),
        (["data=pairs", "data.root=absent"], r"absent"),
        (["ckpt_path=absent.ckpt"], r"absent.ckpt: no such file"),
        (["model.norm_mode=eval"], r"model.norm_mode='eval'"),
        (["model.generator.norm=group"], r"norm='group'"),
        (["seed=-1"], r"seed=-1"),
        (["model.optimizer_d.lr=-1"], r"model.optimizer_d: Invalid learning rate: -1"),
    ],
)
def test_mistakes_are_one_sentence_before_the_work(configured, capsys, tmp_path, overrides, message):
    if overrides[0] == "trainer.accelerator=gpu" and torch.cuda.device_count() >= 4:
        pytest.skip("this machine has four GPUs")
    sentence = refused(configured, capsys, *overrides)
    assert re.search(message, sentence)
    assert "\n" not in sentence
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_data_without_pairs_is_refused_for_pix2pix(configured):
    config = configured([])
    config.data = OmegaConf.create({"_target_": "conftest.TinyImages"})
    with pytest.raises(SystemExit) as stopped:
        start(config)
    message = "error: model=pix2pix needs paired data, but data=lattice provides image; "
    message += "use data=colour or data=lattice or data=pairs"
    assert stopped.value.code == message


def test_broken_and_empty_folders_are_named(configured, capsys, tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    assert "pairs" in refused(configured, capsys, "data=pairs", f"data.root={folder}")
    for index in range(12):
        Image.new("RGB", (64, 32)).save(folder / f"{index}.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:50])
    assert "2.png" in refused(configured, capsys, "data=pairs", f"data.root={folder}", "data.layout=side_by_side")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=pix2pixx", "pix2pix"),
        ("data=latice", "lattice"),
        ("model.l1_wieght=3", "l1_wieght"),
        ("experiment=mapz", "lattice_published"),
    ],
)
def test_unknown_names_list_the_choices(tmp_path, override, message):
    result = train(override, folder=tmp_path / "run")
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_folders_that_cannot_take_a_run_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    result = train(folder=tmp_path / "file" / "run")
    assert result.returncode == 1
    assert result.stderr.startswith("error: hydra.run.dir=") and "cannot be written" in result.stderr
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "metrics.csv").write_text("kept")
    result = train(folder=tmp_path / "used")
    assert result.returncode == 1
    assert "already holds a run" in result.stderr
    assert (tmp_path / "used" / "metrics.csv").read_text() == "kept"


def test_a_default_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "lightning_logs").write_text("a file where the folder should be")
    command = [sys.executable, str(ROOT / "train.py")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert result.returncode == 1
    folder = re.escape(str(Path("lightning_logs/pix2pix_lattice")))
    assert re.fullmatch(f"error: hydra.run.dir={folder}/.*cannot be written.*\n", result.stderr)


def test_help_explains_groups_and_choices(tmp_path):
    result = train("--help", folder=tmp_path / "run")
    assert result.returncode == 0
    for words in (
        *(f"{group}: {', '.join(choices(ROOT / 'conf')[group][:3])}" for group in ("data", "model", "experiment")),
        "model/augment: ada, diff, none",
        "model/generator: biggan, dcgan, mlp",
        "model/objective: hinge, least_squares, minimax",
        "model/optimizer: adam, adamw, rmsprop",
        "ckpt_path",
    ):
        assert words in result.stdout


@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path):
    overrides = [*TINY_PIX2PIX, *LATTICE, "data.n_train=40", "trainer.max_epochs=1000", "trainer.log_every_n_steps=1"]
    folder = tmp_path / "run"
    command = [sys.executable, str(ROOT / "train.py"), *overrides, f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None and not (folder / "metrics.csv").exists():
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    last = folder / "checkpoints" / "last.ckpt"
    assert f"hydra.run.dir={folder} resume=true" in output
    assert status.read(folder)["state"] == "interrupted"
    stopped_at = torch.load(last, weights_only=True)["ganforge"]["images_seen"]
    assert stopped_at > 0

    epochs = stopped_at // 40 + 2
    settings = [o for o in overrides if "max_epochs" not in o]
    shorter = [*settings, f"trainer.max_epochs={epochs}"]
    result = train(*shorter, "resume=true", folder=folder)
    assert result.returncode == 1
    assert f"trainer.max_epochs={epochs} but 1000 in the checkpoint" in result.stderr
    result = train(*shorter, "resume=force", folder=folder)
    assert result.returncode == 0, result.stderr
    assert json.loads((folder / "results.json").read_text())["images_seen"] > stopped_at
    assert status.read(folder)["state"] == "finished"
