"""metrics.csv that goes on, and what W&B and TensorBoard are told, read back with their own readers."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from PIL import Image

from conftest import ROOT, TINY_PIX2PIX, overrides_for
from ganforge import experiment
from ganforge.errors import UserError
from ganforge.runs import git
from ganforge.runs.loggers import RunCSV, RunTensorBoard, RunWandB, ending


def log(logger, since: int = 0, until: int = 20) -> None:
    """What a run of 20 images writes: losses every 2 images, a validation with further columns every 10."""
    for images in range(since + 2, until + 1, 2):
        logger.log_metrics({"train/d/adv": images / 3, "lr/g": 1e-4, "images": images}, step=images)
        if images % 10 == 0:
            logger.log_metrics({"val/l1": images / 7, "a/new": 1.0, "images": images}, step=images)


def test_rows_are_lines_and_new_columns_keep_the_earlier_rows(tmp_path):
    logger = RunCSV(folder=str(tmp_path))
    log(logger)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open(newline="")))
    assert list(rows[0]) == ["a/new", "images", "lr/g", "step", "train/d/adv", "val/l1"]
    assert [int(row["images"]) for row in rows] == [2, 4, 6, 8, 10, 10, 12, 14, 16, 18, 20, 20]
    assert [float(row["val/l1"]) for row in rows if row["val/l1"]] == [10 / 7, 20 / 7]
    assert [row["train/d/adv"] for row in rows][:2] == [repr(2 / 3), repr(4 / 3)]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("seen", [-1, 0, 4, 10, 14, 20])
@pytest.mark.parametrize("lost", [0, 1, 7, 60, 10_000])
def test_a_resumed_file_is_byte_for_byte_that_of_an_uninterrupted_run(tmp_path, seen, lost):
    """Killed after its last row, with `lost` bytes of what came after the checkpoint at `seen` images not written."""
    for folder, until in (("whole", 20), ("known", seen), ("killed", 20)):
        log(RunCSV(folder=str(tmp_path / folder)), until=until)
    whole, known, killed = (tmp_path / folder / "metrics.csv" for folder in ("whole", "known", "killed"))
    lines = killed.read_bytes().splitlines(keepends=True)
    kept = sum(len(line) for line in lines if line.startswith(b"a") or int(line.split(b",")[1]) <= seen)
    text = b"".join(lines)
    killed.write_bytes(text[: max(len(text) - lost, kept)])

    resumed = RunCSV(folder=str(killed.parent))
    resumed.rewind(seen)
    assert killed.exists() == known.exists() == (seen > 0)
    if seen > 0:
        assert killed.read_bytes() == known.read_bytes()
    log(resumed, since=max(seen, 0))
    assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("end", [b"1.0,12", b"1.0,12,0.1,\r\n", b"\0" * 100, b"\0\0\r\n", b",nonsense,,,,\r\n"])
def test_what_a_power_cut_left_of_the_last_lines_is_dropped(tmp_path, end):
    file = tmp_path / "metrics.csv"
    log(RunCSV(folder=str(tmp_path)), until=10)
    before = file.read_bytes()
    file.write_bytes(before + end)
    RunCSV(folder=str(tmp_path)).rewind(14)
    assert file.read_bytes() == before


def test_a_file_that_is_there_is_not_lost(tmp_path):
    log(RunCSV(folder=str(tmp_path)), until=10)
    before = (tmp_path / "metrics.csv").read_bytes()
    RunCSV(folder=str(tmp_path)).log_metrics({"images": 12}, step=12)
    assert (tmp_path / "metrics.csv").read_bytes() == before + b",12,,12,,\r\n"


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No account, no trace of one, and nothing of W&B outside tmp_path."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb_home"))


def records(file: Path) -> dict[str, list[dict]]:
    """What W&B's own reader finds in an offline run's file: records by their type."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL, timeout=60)
    found: dict[str, list[dict]] = {}
    for line in answer.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record.get(record["type"], {}))
    return found


def wandb_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"))


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0, "histograms": 0}
    )
    accumulator.Reload()
    return accumulator


@pytest.mark.slow
def test_a_run_is_on_all_dashboards_over_images_seen(configured, folders, tmp_path, offline, monkeypatch):
    """All of it: config, git, losses, metrics, grids, histograms, tables, the best checkpoint, as a job of a sweep."""
    monkeypatch.setenv("GANFORGE_SWEEP", str(tmp_path / "my_sweep"))
    monkeypatch.setattr(git, "answer", lambda *arguments: f"git {arguments[0]}")
    options = ["callbacks.dashboard.histograms=2", "logger.wandb.best_checkpoint=true", "trainer.max_epochs=2"]
    small = [*overrides_for("pairs", folders), *TINY_PIX2PIX, "model.generator.depth=3", "trainer.log_every_n_steps=1"]
    chosen = ["logger=[csv,wandb,tensorboard]", *small, *options]
    experiment.start(configured(chosen))

    folder = tmp_path / "run"
    results = json.loads((folder / "results.json").read_text())
    rows = list(csv.DictReader((folder / "metrics.csv").open(newline="")))
    trained, judged = ([row for row in rows if row[name]] for name in ("train/g/l1", "val/l1"))
    images = [int(row["images"]) for row in trained]
    pictures = sorted((folder / "samples").glob("images_*.png"))

    [file] = wandb_files(folder)
    found = records(file)
    [run] = found["run"]
    assert run["run_id"] == (folder / "wandb_id").read_text().strip()
    assert (run["project"], run["run_group"]) == ("ganforge", "my_sweep")
    assert run["display_name"] == "pix2pix_pairs run"  # the job's folder is called so
    assert run["tags"] == ["pix2pix", "pairs"]
    assert len(run["git"]["commit"]) == 40 or not (ROOT / ".git").exists()
    config = {key: value for update in found["config"] for key, value in update["update"].items()}
    assert config["model"]["l1_weight"] == 100 and config["data"]["size"] == 32 and config["seed"] == 0
    assert config["versions"]["git_commit"] == "git describe" and config["versions"]["torch"]
    assert config["data_fingerprint"] == results["data_fingerprint"]
    assert (file.parent / "files" / "git_difference.patch").read_text() == "git diff"
    assert {"images", "*"} == {metric.get("name") or metric["glob_name"] for metric in found["metric"]}
    assert [metric["step_metric"] for metric in found["metric"] if "step_metric" in metric] == ["images"]

    history = [record["item"] for record in found["history"]]
    assert all(item["_step"] == item["images"] for item in history)
    for name, wanted in (("train/g/l1", trained), ("lr/d", trained), ("val/l1", judged), ("val/psnr", judged)):
        assert [item[name] for item in history if name in item] == [float(row[name]) for row in wanted]
    shown = [item for item in history if "samples.path" in item]
    assert [item["images"] for item in shown] == [int(picture.stem[7:]) for picture in pictures]
    for item, picture in zip(shown, pictures, strict=True):
        assert item["samples.caption"] == f"{item['images']} images seen: source | result | target"
        assert (file.parent / "files" / item["samples.path"]).read_bytes() == picture.read_bytes()
    histograms = [item["gradients/g.values"] for item in history if "gradients/g.values" in item]
    assert len(histograms) == len(trained) // 2
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    trainable = [name for name in state if name.startswith("generator.") and name.endswith((".weight", ".bias"))]
    assert sum(histograms[0]) == len(trainable)  # a norm each

    last = history[-1]
    assert last["best/val/l1"] == results["best/val/l1"]
    table = json.loads((file.parent / "files" / last["evaluation.path"]).read_text())
    assert table["columns"] == ["weights", "set", "number", "value", "low", "high"]
    assert ["best", "test", "l1", results["test/l1"], None, None] in table["data"]
    assert ["final", "test", "l1", results["final/test/l1"], None, None] in table["data"]
    assert (file.parent / "files" / last["evolution.path"]).is_file()
    summary = {key: value for update in found["summary"] for key, value in update["update"].items()}
    for name in ("test/l1", "floor/l1", "floor/psnr", "best/val/l1", "images_seen", "images_per_second"):
        assert summary[name] == results[name]
    worst = results["evaluation"]["test/worst"]["worst"]
    assert last["worst/test.captions"] == [f"{c['name']}: l1 {c['l1']:.4g}, psnr {c['psnr']:.4g}" for c in worst]
    for shown, case in zip(last["worst/test.filenames"], worst, strict=True):
        kept = (folder / "samples/test" / case["picture"]).read_bytes()
        assert (file.parent / "files" / shown).read_bytes() == kept
    [artifact] = [artifact for artifact in found["artifact"] if artifact["type"] == "model"]
    assert "best" in artifact["aliases"]
    assert int(artifact["manifest"]["contents"][0]["size"]) == (folder / "checkpoints/best.ckpt").stat().st_size
    assert [record["exit_code"] for record in found["exit"]] == [0]

    board = events(folder)
    assert [(event.step, event.value) for event in board.Scalars("train/g/l1")] == [
        (seen, pytest.approx(float(row["train/g/l1"]))) for seen, row in zip(images, trained, strict=True)
    ]
    assert [event.step for event in board.Images("samples")] == [int(picture.stem[7:]) for picture in pictures]
    assert board.Images("worst/test/1")[0].step == images[-1]
    assert (board.Images("samples")[0].width, board.Images("samples")[0].height) == Image.open(pictures[0]).size
    assert len(board.Histograms("gradients/d")) == len(trained) // 2
    assert board.Scalars("results/test/l1")[0].value == pytest.approx(results["test/l1"])
    assert "l1_weight: 100" in board.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()


@pytest.mark.slow
def test_a_run_ends_before_the_next_begins_and_goes_on_under_its_name(tmp_path, offline):
    """In one process: a run that fails, one that is interrupted, and that one again."""
    sessions = (("failed", ValueError, 0), ("stopped", KeyboardInterrupt, 0), ("stopped", None, 20))
    identities = []
    for folder, error, since in sessions:
        (tmp_path / folder).mkdir(exist_ok=True)
        try:
            with ending(KeyboardInterrupt):
                logger = RunWandB(folder=str(tmp_path / folder), mode="offline", name=folder)
                log(logger, since, since + 20)
                identities.append(logger.version)
                if error:
                    raise error
        except (ValueError, KeyboardInterrupt):
            pass
    assert identities[0] != identities[1] == identities[2]
    for folder, codes in (("failed", [1]), ("stopped", [255, 0])):
        found = [records(file) for file in wandb_files(tmp_path / folder)]
        assert [record["exit"][0].get("exit_code", 0) for record in found] == codes
        assert {record["run"][0]["run_id"] for record in found} == {
            (tmp_path / folder / "wandb_id").read_text().strip()
        }
        steps = [row["item"]["images"] for record in found for row in record["history"]]
        assert steps == list(range(2, 20 * len(codes) + 1, 2))


def test_a_resumed_run_is_sent_what_wandb_lacks(tmp_path, monkeypatch):
    """W&B, which is not asked here, has steps 0 to 13; the checkpoint is of 16 images; the run goes on from there."""
    import wandb

    class Known:
        id, resumed, starting_step = "abc", True, 14

        def __init__(self):
            self.rows = []

        def define_metric(self, *args, **options):
            pass

        def log(self, values, step):
            self.rows.append((step, values))

    known = Known()
    monkeypatch.setattr(wandb, "init", lambda **options: known)
    saved = RunCSV(folder=str(tmp_path))
    log(saved)
    saved.rewind(16)
    log(RunWandB(folder=str(tmp_path), mode="offline"), since=10)
    # Those of the file, then those of 12 to 20 but for 12.
    assert [step for step, _ in known.rows] == [14, 16, 14, 16, 18, 20, 20]
    assert known.rows[0] == known.rows[2] == (14, {"train/d/adv": 14 / 3, "lr/g": 1e-4, "images": 14})


@pytest.mark.slow
def test_without_an_account_there_is_one_sentence_and_no_question(tmp_path):
    """At a terminal, where W&B would ask."""
    import pty

    program = (
        "from ganforge.errors import UserError\nfrom ganforge.runs.loggers import RunWandB\n"
        "try:\n    RunWandB(folder='.', mode='online')\nexcept UserError as error:\n    print(f'<{error}>')"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "NETRC"))}
    ours, its = pty.openpty()
    answer = subprocess.run(
        [sys.executable, "-c", program],
        stdin=its,
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, "HOME": str(tmp_path)},
        cwd=tmp_path,
        check=False,
    )
    os.close(ours)
    os.close(its)
    assert answer.stdout.startswith("<logger.wandb.mode=online: no W&B account is known here"), answer
    assert "wandb login" in answer.stdout and "logger.wandb.mode=offline" in answer.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name == "wandb_id"] == []


def test_a_wrong_mode_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"logger.wandb.mode=ofline: online, offline, disabled"):
        RunWandB(folder=str(tmp_path), mode="ofline")


def test_tensorboard_forgets_what_comes_again(tmp_path):
    first = RunTensorBoard(folder=str(tmp_path))
    log(first)
    first.picture("samples", picture_file(tmp_path), "", 20)
    first.finalize("failed")
    resumed = RunTensorBoard(folder=str(tmp_path))
    resumed.rewind(10)
    log(resumed, since=10)
    resumed.picture("samples", picture_file(tmp_path), "", 20)
    resumed.finalize("success")
    found = events(tmp_path)
    assert [event.step for event in found.Scalars("train/d/adv")] == list(range(2, 21, 2))
    assert [event.step for event in found.Scalars("val/l1")] == [10, 20]
    assert [event.step for event in found.Images("samples")] == [20]


def picture_file(folder: Path) -> Path:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "picture.png")
    return folder / "picture.png"


def test_wandb_sweep_gives_train_py_what_hydra_reads(configured, tmp_path, monkeypatch):
    """With the functions that W&B's agent calls to make its command line."""
    from wandb.sdk.launch.sweeps import utils

    sweep = utils.load_sweep_config(str(ROOT / "docs/wandb_sweep.yaml"))
    assert (ROOT / sweep["program"]).is_file()
    values = {
        name: {"value": parameter["values"][-1] if "values" in parameter else parameter["min"]}
        for name, parameter in sweep["parameters"].items()
    }
    made = utils.create_sweep_command_args({"args": values})
    line = [made[part[2:-1]] if part.startswith("${") else [part] for part in sweep["command"][3:]]
    overrides = [override for part in line for override in part]
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_RUN_ID", "r")
    config = configured(overrides)
    for name, value in values.items():
        choice = HydraConfig.get().runtime.choices.get(name)
        assert (choice or OmegaConf.select(config, name)) == value["value"]
    assert list(config.logger) == ["csv", "wandb"]
    assert sweep["metric"]["name"] == "best/val/bond_f1"


def test_a_long_file_is_read_a_line_at_a_time(tmp_path):
    import tracemalloc

    logger = RunCSV(folder=str(tmp_path))
    logger.path.write_text("images,step,train/d/adv\n" + "".join(f"{row},{row},0.5\n" for row in range(100_000)))
    with logger.path.open("a") as file:
        file.truncate(2**26)  # zeros, as a power cut leaves them
    tracemalloc.start()
    logger.rewind(49_999)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
    lines = logger.path.read_text().splitlines()
    assert len(lines) == 50_001 and lines[-1] == "49999,49999,0.5"
