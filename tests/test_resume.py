"""`resume=true`: wherever a run is killed, it ends bit for bit as if it had not been."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from conftest import ROOT, TINY, composed, overrides_for
from ganforge import checkpoint, folders, status
from ganforge.errors import UserError
from ganforge.experiment import run, start
from ganforge.preflight import check_alone, newest_unfinished

# Everything that has a state: moving average, schedules, accumulated windows, dropout, adaptive augmentation, noise.
SETTINGS = {
    "pix2pix": [
        *TINY,
        "model.discriminator.base_channels=4",
        "model.generator._target_=ganforge.networks.UNet",
        "data.size=64",
        "data.cells=[2,3]",
        "data.shifted=null",
        "data.n_train=22",
        "data.n_val=6",
        "model.accumulate=3",
        "model.ema_decay=0.9",
    ],
    "dcgan": [
        "model=dcgan",
        "model/augment=ada",
        "model.augment.p=0.3",
        "model.input_noise.std=0.2",
        "model.discriminator.dropout=0.2",
        "model.label_flip=0.1",
        "model.d_steps=2",
        "model.generator.base_channels=4",
        "model.discriminator.base_channels=4",
        "data.batch_size=4",
        "data.n_train=38",
        "trainer.accelerator=cpu",
    ],
}
COMMON = [
    "trainer.max_epochs=9",
    "trainer.log_every_n_steps=3",
    "model.schedule_g.decay_from=0.5",
    "trainer.precision=32",
]


def same(whole: Path, resumed: Path) -> None:
    """Assert that two run folders hold the same result: weights, optimizers, counters, generators, rows, numbers."""
    for name in ("last", "best"):
        _same_values(*(checkpoint.load(folder / f"checkpoints/{name}.ckpt") for folder in (whole, resumed)), name)
    assert (whole / "metrics.csv").read_bytes() == (resumed / "metrics.csv").read_bytes()
    numbers = [json.loads((folder / "results.json").read_text()) for folder in (whole, resumed)]
    for name, value in numbers[0].items():
        if isinstance(value, float) and name not in ("duration_s", "images_per_second"):
            assert value == numbers[1][name], name
    for picture in ("evolution.png", "evolution.gif"):
        assert (whole / "samples" / picture).read_bytes() == (resumed / "samples" / picture).read_bytes()


# What differs between two runs of the same thing.
OWN = ("git_difference", "git_commit", "run_dir", "ckpt_path", "resume", "folder", "dirpath", "path", "save_dir",
       "default_root_dir", "training_seconds", "seconds", "best_model_path", "last_model_path", "best_k_models",
       "kth_best_model_path")  # fmt: skip


def _same_values(a, b, where: str) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            if key not in OWN:
                _same_values(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b, strict=True)):
            _same_values(*pair, f"{where}[{index}]")
    else:
        assert a == b, where


# A process that has loaded everything; it starts one training after another and kills each after so many seconds.
KILLER = """
import os, random, runpy, signal, sys, time
sys.argv[0] = sys.argv.pop(1)
import ganforge.experiment, ganforge.systems, ganforge.networks, ganforge.data, ganforge.evaluation, torchvision
deadlines = random.Random(int(sys.argv.pop(1)))
longest = float(sys.argv.pop(1))
kills = 0
while True:
    child = os.fork()
    if child == 0:
        runpy.run_path(sys.argv[0], run_name="__main__")
        os._exit(0)
    until = time.monotonic() + deadlines.uniform(0.2, longest)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            break
        time.sleep(0.005)
    else:
        print("kills", kills, "exit", os.waitstatus_to_exitcode(ended[1]), flush=True)
        sys.exit(0)
"""


def killed_until_it_ends(folder: Path, overrides: list[str], seed: int, longest: float) -> int:
    """Train, killed at random moments up to `longest` seconds after each start; returns how often it was killed."""
    command = [sys.executable, "-c", KILLER, str(ROOT / "train.py"), str(seed), str(longest)]
    command += [*overrides, f"hydra.run.dir={folder}", "resume=true"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    kills, ended = answer.stdout.split("kills")[-1].split("exit")
    assert int(ended) == 0, answer.stderr[-2000:]
    return int(kills)


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(SETTINGS))
def test_a_run_that_is_killed_again_and_again_ends_where_the_whole_one_does(model, folders, tmp_path):
    overrides = [*SETTINGS[model], *COMMON]
    if model == "dcgan":
        overrides += overrides_for("mnist", folders)
    begun = time.monotonic()
    assert killed_until_it_ends(tmp_path / "whole", overrides, seed=0, longest=10_000) == 0
    whole = time.monotonic() - begun
    kills, runs = 0, 0
    while kills < 10:
        folder = tmp_path / f"killed_{runs}"
        kills += killed_until_it_ends(folder, overrides, seed=runs, longest=0.6 * whole)
        same(tmp_path / "whole", folder)
        assert status.read(folder)["state"] == "finished"
        runs += 1


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    """A real refusal of the system: no file of this process may grow beyond a size."""
    path = tmp_path / "checkpoints/last.ckpt"
    files = checkpoint.CheckpointFiles()
    files.save_checkpoint({"weight": torch.zeros(10)}, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, limits[1]))
    try:
        with pytest.raises(
            UserError, match=r"last.ckpt: the checkpoint could not be written .* is still the one before"
        ):
            files.save_checkpoint({"weight": torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    files.save_checkpoint({"weight": torch.ones(100_000)}, path)
    assert torch.load(path, weights_only=True)["weight"].sum() == 100_000


def test_a_kill_in_the_middle_of_writing_keeps_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    files = checkpoint.CheckpointFiles()
    files.save_checkpoint({"weight": torch.zeros(10)}, path)
    before = path.read_bytes()
    if (child := os.fork()) == 0:
        with folders.replace(path) as file:
            file.write(b"half of")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert path.read_bytes() == before


@pytest.fixture
def trained(configured, tmp_path) -> Path:
    run(configured([*SMALL, "trainer.max_epochs=2"]))
    return tmp_path / "run"


SMALL = [*TINY, "model.discriminator.base_channels=4", "data.size=64", "data.cells=[2,3]", "data.shifted=null"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.l1_weight=3", r"model\.l1_weight=3 but \d+.* in the checkpoint"),
        ("seed=7", r"seed=7 but 0 in the checkpoint"),
        ("data.batch_size=1", r"the global batch=1 but 2 in the checkpoint"),
        ("data.n_train=6", r"data\.n_train=6 but 4 in the checkpoint"),
    ],
)
def test_another_experiment_is_not_resumed_unless_forced(configured, trained, tmp_path, change, message):
    settings = [*SMALL, "trainer.max_epochs=2", f"ckpt_path={trained}", change]
    with pytest.raises(UserError, match=message):
        run(configured(settings, "other"))
    if change.startswith("model"):
        run(configured([*settings, "resume=force"], "other"))
        assert (tmp_path / "other/results.json").is_file()


def test_settings_that_are_refused_leave_a_run_as_it_was(trained, capsys):
    (trained / ".hydra/next").mkdir(parents=True)
    for name, seed in ((".hydra", 0), (".hydra/next", 7)):
        (trained / name / "config.yaml").write_text(f"seed: {seed}\n")
    before = (trained / "checkpoints/last.ckpt").read_bytes()
    for state in ("interrupted", "finished"):
        status.write(trained, state=state)
        (trained / ".hydra/next").mkdir(exist_ok=True)
        config = composed([*SMALL, "trainer.max_epochs=2", "seed=7", "resume=true"], trained)
        if state == "interrupted":
            with pytest.raises(SystemExit, match="seed=7 but 0 in the checkpoint"):
                start(config)
        else:
            start(config)
            assert "nothing is left to do" in capsys.readouterr().out
        assert status.read(trained)["state"] == state
        assert (trained / ".hydra/config.yaml").read_text() == "seed: 0\n"
        assert not (trained / ".hydra/next").exists()
    assert (trained / "checkpoints/last.ckpt").read_bytes() == before


def test_a_run_that_is_running_is_not_run_twice(tmp_path):
    status.write(tmp_path, state="running")
    found = status.read(tmp_path)
    check_alone(tmp_path)  # this process itself
    (tmp_path / status.FILE).write_text(json.dumps({**found, "pid": os.getppid()}))
    with pytest.raises(SystemExit, match=f"process {os.getppid()} trains in this folder"):
        check_alone(tmp_path)
    (tmp_path / status.FILE).write_text(json.dumps({**found, "pid": 2**22 + 1}))
    check_alone(tmp_path)  # it was killed


def test_where_and_how_a_run_is_watched_may_change(configured, trained, tmp_path):
    watched = ["data.num_workers=1", "callbacks.grid.samples=4", "trainer.check_val_every_n_epoch=2"]
    run(configured([*SMALL, "trainer.max_epochs=2", f"ckpt_path={trained}", *watched], "other"))
    assert (trained / "metrics.csv").read_text() == (tmp_path / "other/metrics.csv").read_text()


def test_a_finished_run_is_not_run_again(configured, trained, tmp_path, capsys):
    before = (trained / "results.json").read_bytes()
    score = run(configured([*SMALL, "trainer.max_epochs=2", "resume=true"]))
    assert "nothing is left to do" in capsys.readouterr().out
    assert score == status.read(trained)["score"] == json.loads(before)["best/val/bond_f1"]
    assert (trained / "results.json").read_bytes() == before


def test_the_newest_unfinished_run_of_the_same_settings_is_found(tmp_path):
    for name, seed, state in (
        ("a", 0, "interrupted"),
        ("b", 0, "interrupted"),
        ("c", 1, "interrupted"),
        ("d", 0, "finished"),
    ):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        (tmp_path / name / ".hydra/config.yaml").write_text(f"seed: {seed}\nresume: false\nname: x\n")
        status.write(tmp_path / name, state=state)
    wanted = OmegaConf.create({"seed": 0, "resume": True, "name": "x", "hydra": {"verbose": False}})
    assert newest_unfinished(tmp_path, wanted) == tmp_path / "b"
    wanted.seed = 1
    assert newest_unfinished(tmp_path, wanted) == tmp_path / "c"
    wanted.seed = 2
    assert newest_unfinished(tmp_path, wanted) is None
    (tmp_path / "e/.hydra").mkdir(parents=True)
    (tmp_path / "e/.hydra/config.yaml").write_text("broken: [")
    (tmp_path / "c/status.json").write_text("{")
    wanted.seed = 1
    assert newest_unfinished(tmp_path, wanted) == tmp_path / "c"


def test_a_checkpoint_says_where_it_comes_from(trained):
    card = checkpoint.load(trained)["ganforge"]
    assert card["config"]["seed"] == 0
    assert card["data_fingerprint"]
    assert isinstance(card["git_difference"], str)
    assert {"torch", "git_commit", "python"} <= card["versions"].keys()
