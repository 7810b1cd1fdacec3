"""What happens to a run from outside: removed callbacks, deleted folders, a full disk, lost permissions, signals."""

import itertools
import json
import os
import resource
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object

from conftest import TINY_PIX2PIX, composed
from ganforge.callbacks import Evaluation, Interrupted
from ganforge.errors import Stopped
from ganforge.experiment import run, start
from ganforge.files import folders
from ganforge.hardware import choice as hardware
from ganforge.runs import checkpoint, status
from ganforge.runs.loggers import RunCSV
from killing import same


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A process that is forked has no other threads, and would wait for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SMALL = [*TINY_PIX2PIX, "data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]
SMALL += ["trainer.max_epochs=3", "trainer.log_every_n_steps=1"]
CALLBACKS = ("earlier", "grid", "dashboard", "health", "progress")


def at_validation(monkeypatch, number: int, act) -> None:
    """Have act() be done at the end of the validation of this number; the check before training is 0."""
    before, count = Evaluation.on_validation_epoch_end, itertools.count()

    def end(self, trainer, module):
        before(self, trainer, module)
        if next(count) == number:
            act()

    monkeypatch.setattr(Evaluation, "on_validation_epoch_end", end)


def images(run_dir: Path) -> list[str]:
    """The images seen at each row of metrics.csv."""
    header, *rows = (run_dir / "metrics.csv").read_text().splitlines()
    return [row.split(",")[header.split(",").index("images")] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    "removed",
    [
        *([f"~callbacks.{name}"] for name in CALLBACKS),
        *([f"callbacks.{name}=null"] for name in CALLBACKS),
        ["~callbacks.grid", "~callbacks.dashboard"],
        ["~callbacks.progress", "~callbacks.health"],
        ["~callbacks"],
        ["logger=[]"],
    ],
    ids="_".join,
)
def test_every_callback_can_be_removed(configured, tmp_path, removed):
    score = run(configured([*SMALL, *removed]))
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["best/val/bond_f1"] == score
    assert results["images_per_second"] > 0
    assert Path(results["best_checkpoint"]).is_file() and Path(results["last_checkpoint"]).is_file()
    assert status.read(tmp_path / "run")["state"] == "finished"


@pytest.mark.slow
def test_a_run_resumes_without_the_callbacks_that_it_began_with(configured, tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.experiment.judge", lambda *rest: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        run(configured(SMALL))
    monkeypatch.undo()
    run(configured([*SMALL, "resume=true", "~callbacks.grid", "~callbacks.health"]))
    assert json.loads((tmp_path / "run/results.json").read_text())["grid"] is None


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "act"), [(1, delete), (3, rename)], ids=["early", "late"])
@pytest.mark.parametrize("what", ["samples", "checkpoints", "checkpoints/best.ckpt", "metrics.csv", "status.json", "."])
def test_what_is_deleted_or_renamed_in_mid_run_is_made_again(configured, tmp_path, monkeypatch, what, act, number):
    run_dir = tmp_path / "run"
    # The best.ckpt of the first validation: it is never beaten, were it not deleted.
    at_validation(monkeypatch, number, lambda: act((run_dir / what).resolve()) if (run_dir / what).exists() else None)
    run(configured(SMALL))
    results = json.loads((run_dir / "results.json").read_text())
    for name in ("best_checkpoint", "last_checkpoint", "grid"):
        assert Path(results[name]).is_file()
    assert "test/l1" in results and "final/test/l1" in results
    assert status.read(run_dir)["state"] == "finished"
    assert images(run_dir) == ["2", "4", "4", "6", "8", "8", "10", "12", "12"][: len(images(run_dir))]
    assert len(images(run_dir)) in (9, 10)  # a further validation, where there was no best.ckpt any more
    assert (run_dir / "checkpoints/last.ckpt").is_file()


@pytest.mark.slow
def test_a_damaged_best_checkpoint_costs_no_results(configured, tmp_path, monkeypatch, capsys):
    best = tmp_path / "run/checkpoints/best.ckpt"
    at_validation(monkeypatch, 3, lambda: best.write_bytes(best.read_bytes()[:-100]))
    run(configured(SMALL))
    assert "the final weights are judged instead" in capsys.readouterr().out
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["best_checkpoint"].endswith("last.ckpt") and results["best_checkpoint_images_seen"] == 12


WRITTEN = ("status.json", "metrics.csv", "images_000000004.png", "best.ckpt", "last.ckpt", "results.json")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WRITTEN, "evolution.png"])
def test_a_disk_that_is_full_at_any_file_is_one_sentence(configured, tmp_path, monkeypatch, name, capsys):
    """Its replacing is refused from the first byte on, as by the system; the run goes on once there is room."""
    real = folders.replace

    def refused(path):
        if Path(path).name == name and (name != "status.json" or (tmp_path / "run/results.json").exists()):
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
            try:
                with real(path) as file:
                    yield file
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        else:
            with real(path) as file:
                yield file

    for module in ("files.folders", "runs.loggers.rows", "runs.summary", "runs.status", "pictures.grids"):
        monkeypatch.setattr(f"ganforge.{module}.replace", contextmanager(refused))
    if name == "evolution.png":  # the numbers are worth more than the film
        run(configured(SMALL))
        assert "evolution.png and evolution.gif could not be made" in capsys.readouterr().out
        assert (tmp_path / "run/results.json").is_file()
        return
    with pytest.raises(SystemExit) as stopped:
        start(configured(SMALL))
    said = stopped.value.code
    assert said.startswith("error: ") and "\n" not in said
    assert name in said and "File too large" in said and "make room, then go on with resume=true" in said
    shown = capsys.readouterr().out
    if name in ("results.json", "status.json"):
        assert "Unseen networks" in shown and "images/s while training" in shown
    if name != "status.json":
        assert status.read(tmp_path / "run")["state"] == "interrupted"
    assert not list((tmp_path / "run").rglob("*.tmp"))
    monkeypatch.undo()
    start(configured([*SMALL, "resume=true"]))
    assert status.read(tmp_path / "run")["state"] == "finished"
    assert images(tmp_path / "run") == ["2", "4", "4", "6", "8", "8", "10", "12", "12"]
    assert (tmp_path / "run/samples/evolution.gif").is_file()


def test_rows_that_the_disk_does_not_take_are_one_sentence(tmp_path):
    logger = RunCSV(folder=str(tmp_path))
    logger.log_metrics({"images": 1, "x": 1.0}, step=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "metrics.csv").stat().st_size + 3, limits[1]))
    try:
        with pytest.raises(Stopped, match=r"metrics\.csv: File too large; make room"), hardware.refusals():
            logger.log_metrics({"images": 2, "x": 2.0}, step=2)
        logger.finalize("failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    again = RunCSV(folder=str(tmp_path))
    again.rewind(1)
    again.log_metrics({"images": 2, "x": 2.0}, step=2)
    assert (tmp_path / "metrics.csv").read_text().split() == ["images,step,x", "1,1,1.0", "2,2,2.0"]


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("what", ["checkpoints", "samples", "."])
def test_permissions_that_are_lost_in_mid_run_are_one_sentence(configured, tmp_path, monkeypatch, what):
    """As an ordinary user, in a process of its own: root may write anywhere."""
    run_dir = tmp_path / "run"
    config = configured(SMALL)
    for folder in (run_dir, *run_dir.resolve().parents):
        if folder.stat().st_mode & 0o001 == 0:
            monkeypatch.setattr(os, "umask", os.umask)
            folder.chmod(folder.stat().st_mode | 0o055)
    os.chown(run_dir, 65534, 65534)
    at_validation(monkeypatch, 2, lambda: (run_dir / what).chmod(0o555))
    if (child := os.fork()) == 0:
        code = 3
        try:
            os.setgid(65534)
            os.setuid(65534)
            start(config)
        except SystemExit as stopped:
            (tmp_path / "said").write_text(str(stopped.code)) if os.access(tmp_path, os.W_OK) else print(stopped.code)
            said = str(stopped.code)
            fine = said.startswith("error: ") and "Permission denied" in said and "\n" not in said
            code = 0 if fine and "resume=true" in said else 4
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (run_dir / what).chmod(0o755)
    reached = 12 if what == "." else 4  # files that are there can be written
    assert checkpoint.load(run_dir / "checkpoints/last.ckpt")["ganforge"]["images_seen"] == reached
    monkeypatch.undo()
    run(configured([*SMALL, "resume=true"]))
    assert images(run_dir) == ["2", "4", "4", "6", "8", "8", "10", "12", "12"]


@pytest.mark.slow
def test_what_a_killed_writer_left_is_removed(configured, tmp_path):
    for name in ("checkpoints/last.ckpt.4711.tmp", "metrics.csv.4711.tmp", "samples/images_000000004.png.4711.tmp"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(b"half of")
    (tmp_path / "run/my.tmp").write_text("a user's")
    run(configured(SMALL))
    assert [file.name for file in (tmp_path / "run").rglob("*.tmp")] == ["my.tmp"]


def test_an_abandoned_file_goes_at_the_next_write_of_its_name(tmp_path):
    for name in ("a.csv.4711.tmp", "a.csv.4712.tmp", "b.csv.4711.tmp"):
        (tmp_path / name).write_bytes(b"half of")
    for name in ("a.csv.4711.tmp", "b.csv.4711.tmp"):
        os.utime(tmp_path / name, (0, 0))
    with folders.replace(tmp_path / "a.csv") as file:
        file.write(b"whole")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", "a.csv.4712.tmp", "b.csv.4711.tmp"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, one_thread):
    folder = tmp_path_factory.mktemp("whole")
    run(composed(SMALL, folder / "run"))
    HydraConfig.instance().cfg = None
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("point", ["fit", "evolution", "judge", "test", "record", "results"])
def test_a_kill_after_the_last_epoch_costs_nothing(configured, tmp_path, monkeypatch, whole, point):
    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    target = {
        "fit": "pytorch_lightning.Trainer._teardown",
        "evolution": "ganforge.callbacks.grids.animate",
        "judge": "ganforge.experiment.judge",
        "test": "ganforge.callbacks.Evaluation.on_test_epoch_end",
        "record": "ganforge.experiment.record",
        "results": "ganforge.callbacks.Dashboard.conclude",
    }[point]
    config = configured(SMALL)
    if (child := os.fork()) == 0:
        monkeypatch.setattr(target, kill)
        run(config)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert status.read(tmp_path / "run")["state"] == "interrupted"
    run(configured([*SMALL, "resume=true"]))
    same(whole, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.tmp"))
    files = [
        sorted(str(file.relative_to(folder)) for file in folder.rglob("*")) for folder in (whole, tmp_path / "run")
    ]
    assert files[0] == files[1]
    assert status.read(tmp_path / "run")["state"] == "finished"


MOMENTS = {
    "data": "ganforge.assembly.check_match",
    "sanity": "ganforge.callbacks.Evaluation.on_validation_batch_end",
    "validation": "ganforge.callbacks.Evaluation.on_validation_epoch_end",
    "checkpoint": "ganforge.runs.checkpoint_io.WholeFileCheckpointIO.save_checkpoint",
    "film": "ganforge.callbacks.grids.animate",
    "test": "ganforge.callbacks.Evaluation.on_test_batch_end",
    "record": "ganforge.runs.summary.closing",
}


@pytest.mark.slow
@pytest.mark.parametrize(("times", "number"), [(1, signal.SIGTERM), (2, signal.SIGINT)])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_ends_well(configured, tmp_path, monkeypatch, whole, capsys, moment, times, number):
    before, count = get_object(MOMENTS[moment]), itertools.count()

    def signalled(*arguments, **options):
        if next(count) == {"checkpoint": 2, "validation": 1}.get(moment, 0):
            for _ in range(times):
                os.kill(os.getpid(), number)
        return before(*arguments, **options)

    monkeypatch.setattr(MOMENTS[moment], signalled)
    with pytest.raises(SystemExit) as stopped:
        start(configured(SMALL))
    assert stopped.value.code == 130
    shown = capsys.readouterr().out
    assert "interrupted" in shown and "resume=true" in shown
    found = status.read(tmp_path / "run")
    assert found["state"] == "interrupted"
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a process that ends hears no more of them
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.undo()
    start(configured([*SMALL, "resume=true"]))
    same(whole, tmp_path / "run")


def test_memory_that_runs_out_is_one_sentence():
    for error in (
        MemoryError("Unable to allocate 9.31 GiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines"),
    ):
        with pytest.raises(Stopped, match=r"^out of memory \(.*lower data\.batch_size") as said, hardware.refusals():
            raise error
        assert "\n" not in str(said.value)
    with pytest.raises(RuntimeError, match="a fault of ours"), hardware.refusals():
        raise RuntimeError("a fault of ours")
