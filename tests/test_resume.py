"""`resume=true`: wherever a run is killed, it ends bit for bit as if it had not been."""

import csv
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

import killing
from conftest import ROOT, TINY, composed
from ganforge.callbacks import Evaluation, Interrupted
from ganforge.data.module import DataModule
from ganforge.errors import UserError
from ganforge.experiment import run, start
from ganforge.files import folders, lock
from ganforge.hardware import choice as hardware
from ganforge.runs import checkpoint, status
from ganforge.runs.checkpoint_io import WholeFileCheckpointIO
from ganforge.runs.preflight import check_folder, newest_unfinished
from ganforge.systems import Pix2Pix


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "workers"),
    [("lattice", 0), ("lattice", 1), ("pairs", 2), ("colour", 1), ("image_folder", 1), ("mnist", 2)],
)
def test_a_run_that_is_stopped_again_and_again_ends_where_the_whole_one_does(case, workers, folders, tmp_path):
    """The long form is benchmarks/kill_test.py. The whole run has no workers: what they do does not depend on them."""
    overrides = killing.overrides(case, folders)
    stops, seconds = killing.stopped_until_it_ends(tmp_path / "whole", [*overrides, "data.num_workers=0"])
    assert not stops
    for seed in range(5):
        folder = tmp_path / f"stopped_{seed}"
        settings = [*overrides, f"data.num_workers={workers}"]
        stops += killing.stopped_until_it_ends(folder, settings, seed, longest=0.6 * seconds)[0]
        killing.same(tmp_path / "whole", folder)
        assert status.read(folder)["state"] == "finished"
        if stops.total() >= 4:
            break
    assert stops.total() >= 4


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (1, True), (2, False)])
def test_the_order_of_the_data_goes_on_with_workers(configured, tmp_path, monkeypatch, workers, persistent):
    """From an epoch's end, where workers ask for the next batches before the epoch has begun."""
    load = DataModule._loader
    monkeypatch.setattr(
        DataModule,
        "_loader",
        lambda self, dataset, **options: load(self, dataset, **{**options, "persistent_workers": persistent}),
    )
    settings = [*SMALL, "trainer.max_epochs=3", "data.n_train=8", f"data.num_workers={workers}", "data.shifted=null"]
    settings += ["callbacks.earlier.save_top_k=-1", "trainer.log_every_n_steps=1"]
    run(configured(settings))
    for epoch in (0, 1):
        first = tmp_path / f"run/checkpoints/epoch_{epoch:04d}.ckpt"
        run(configured([*settings, f"ckpt_path={first}"], f"from_{epoch}"))
        killing.same(tmp_path / "run", tmp_path / f"from_{epoch}")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "within", "after"])
def test_a_run_that_is_stopped_around_its_last_validation_ends_the_same(configured, tmp_path, monkeypatch, where):
    """It has no multiple of the interval: 2, 4, 5."""
    settings = [*SMALL, "trainer.max_epochs=5", "trainer.check_val_every_n_epoch=2"]
    run(configured(settings, "whole"))
    compute, train = Evaluation.compute, Pix2Pix.training_step

    def stop_after(method, images):
        def stopping(self, *arguments):
            result = method(self, *arguments)
            if images_seen[0] == images:
                os.kill(os.getpid(), signal.SIGINT)
            return result

        return stopping

    images_seen = [0]
    monkeypatch.setattr(
        Pix2Pix,
        "training_step",
        lambda self, *arguments: (train(self, *arguments), images_seen.__setitem__(0, self.images_seen))[0],
    )
    if where == "within":
        monkeypatch.setattr(Evaluation, "compute", stop_after(compute, 20))
    elif where == "before":
        monkeypatch.setattr(Pix2Pix, "on_train_batch_end", stop_after(Pix2Pix.on_train_batch_end, 18))
    else:
        monkeypatch.setattr(Pix2Pix, "on_train_end", stop_after(Pix2Pix.on_train_end, 20))
    with pytest.raises(Interrupted):
        run(configured(settings))
    monkeypatch.undo()
    run(configured([*settings, "resume=true"]))
    killing.same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(("images", "validations"), [(2, 0), (10, 2)])
def test_the_status_of_a_stopped_run_says_how_far_it_came(configured, tmp_path, monkeypatch, images, validations):
    settings = [*SMALL, "trainer.max_epochs=4"]
    train, compute = Pix2Pix.training_step, Evaluation.compute
    scores = iter([0.25, 0.5, 0.125])

    def step(self, *arguments):
        train(self, *arguments)
        if self.images_seen == images:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Pix2Pix, "training_step", step)
    monkeypatch.setattr(
        Evaluation,
        "compute",
        lambda self, name: compute(self, name) | ({"val/bond_f1": next(scores)} if name == "val" else {}),
    )
    with pytest.raises(SystemExit) as stopped:
        start(configured(settings))
    assert stopped.value.code == 130
    found = status.read(tmp_path / "run")
    assert (found["state"], found["images_seen"]) == ("interrupted", images)
    assert (found["monitor"], found["mode"]) == ("val/bond_f1", "max")
    assert found["score"] == (0.5 if validations else None)


def test_the_status_of_a_run_that_is_stopped_in_its_test_has_its_score(configured, tmp_path, monkeypatch):
    def stop(self, trainer, module):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Evaluation, "on_test_epoch_end", stop)
    with pytest.raises(SystemExit):
        start(configured([*SMALL, "trainer.max_epochs=1"]))
    found = status.read(tmp_path / "run")
    assert (found["state"], found["images_seen"], found["score"]) == ("interrupted", 4, 0.0)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    """A real refusal of the system: no file of this process may grow beyond a size."""
    path = tmp_path / "checkpoints/last.ckpt"
    files = WholeFileCheckpointIO()
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
    files = WholeFileCheckpointIO()
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


@pytest.mark.slow
def test_a_run_lives_as_long_as_its_process_holds_its_folder(tmp_path):
    code = (
        "import sys; from ganforge.files import lock; from ganforge.runs import status;"
        "print(lock.hold(sys.argv[1]), flush=True);"
        "status.write(sys.argv[1], state='running'); print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        assert process.stdout.readline() == "ready\n"
        assert status.read(tmp_path)["state"] == "running"
        assert not lock.hold(tmp_path)
        with pytest.raises(SystemExit, match=f"process {process.pid} on .* is at work in this folder"):
            check_folder(tmp_path, "hydra.run.dir", may_go_on=True)
        process.kill()
    assert status.read(tmp_path)["state"] == "interrupted"
    check_folder(tmp_path, "hydra.run.dir", may_go_on=True)
    try:
        assert status.read(tmp_path)["state"] == "interrupted"  # that process is not this one
        status.write(tmp_path, state="running")
        assert status.read(tmp_path)["state"] == "running"
    finally:
        lock.release(tmp_path)
    assert status.read(tmp_path)["state"] == "interrupted"


def test_a_lock_is_not_inherited(tmp_path):
    assert lock.hold(tmp_path)
    if (child := os.fork()) == 0:
        time.sleep(60)
    try:
        lock.release(tmp_path)
        assert not lock.is_held(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def started_at_once(arguments: list[list[str]], cwd: Path) -> list[tuple[int, str]]:
    """Exit status and what was said by `python train.py` of each of these arguments, begun in one moment."""
    processes = [
        subprocess.Popen(
            [sys.executable, ROOT / "train.py", *own], cwd=cwd, stdout=subprocess.PIPE, stderr=-2, text=True
        )
        for own in arguments
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.mark.slow
def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path):
    settings = [*SMALL, "trainer.max_epochs=1", "callbacks.progress.refresh_rate=0"]
    folders = []
    for _ in range(3):  # until two begin in one second
        answers = started_at_once([settings, settings], tmp_path)
        assert [code for code, _ in answers] == [0, 0], answers
        folders = sorted(path.name for path in (tmp_path / "lightning_logs/pix2pix_lattice").iterdir())
        if any(name.endswith("_2") for name in folders):
            break
    assert any(name.endswith("_2") for name in folders), folders
    for name in folders:
        assert (tmp_path / "lightning_logs/pix2pix_lattice" / name / "results.json").is_file()


@pytest.mark.slow
def test_of_two_processes_one_alone_goes_on_with_a_run(tmp_path):
    settings = [*SMALL, "trainer.max_epochs=3", "callbacks.progress.refresh_rate=0", "hydra.run.dir=run", "resume=true"]
    answers = started_at_once([settings, settings], tmp_path)
    assert sorted(code for code, _ in answers) == [0, 1], answers
    assert "is at work in this folder; wait for it, or stop it first" in max(answers)[1]
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").open()))
    images = [int(row["images"]) for row in rows]
    assert images == sorted(images)
    assert (tmp_path / "run/results.json").is_file()


@pytest.mark.slow
def test_where_and_how_a_run_is_watched_may_change(configured, trained, tmp_path):
    watched = ["data.num_workers=1", "callbacks.grid.samples=4", "trainer.check_val_every_n_epoch=2"]
    run(configured([*SMALL, "trainer.max_epochs=2", f"ckpt_path={trained}", *watched], "other"))
    assert (trained / "metrics.csv").read_text() == (tmp_path / "other/metrics.csv").read_text()


@pytest.mark.slow
def test_a_run_goes_on_at_its_precision_on_other_hardware(configured, tmp_path, monkeypatch):
    auto = [*(setting for setting in SMALL if "precision" not in setting), "model.schedule_g.decay_from=null"]
    monkeypatch.setattr(hardware.torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    run(configured([*auto, "trainer.max_epochs=1"]))
    said = checkpoint.load(tmp_path / "run")["ganforge"]["config"]["trainer"]["precision"]
    assert said == "bf16-mixed"
    monkeypatch.setattr(hardware.torch.cpu, "get_capabilities", dict)
    run(configured([*auto, "trainer.max_epochs=2", f"ckpt_path={tmp_path / 'run'}"], "other"))
    assert json.loads((tmp_path / "other/results.json").read_text())["precision"] == "bf16-mixed"
    settings = [*auto, "trainer.max_epochs=2", "trainer.precision=32", f"ckpt_path={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=r"trainer\.precision=32-true but bf16-mixed in the checkpoint"):
        run(configured(settings, "third"))


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
