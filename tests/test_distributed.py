"""Two processes on this machine train like one, over gloo; and two launches that stand for two machines."""

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import two_processes
from conftest import ROOT, TINY_PIX2PIX, write_digits, write_pictures
from test_band_pairs import write_scenes
from test_domains import write as write_domain
from two_processes import BATCH, CASES, RUNS, STEPS

SCRIPT = Path(two_processes.__file__)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What one process and two found in the same trainings."""
    folder = tmp_path_factory.mktemp("both")
    write_digits(folder / "mnist", np.random.default_rng(0))
    write_scenes(folder / "scenes", 28, holes=range(0, 28, 3))
    for seed, name in enumerate(("dark", "light")):
        write_domain(folder / "kinds" / name, [f"{name}{index}.png" for index in range(12)], seed=seed)
    write_pictures(folder / "colour", 28)
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(folder / "two"), "2"]
    two = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        two_processes.main(folder / "one", 1)
        output, _ = two.communicate(timeout=900)
    finally:
        two.kill()
        HydraConfig.instance().cfg = None
    assert two.returncode == 0, output[-3000:]
    return {count: torch.load(folder / count / "found.pt") for count in ("one", "two")} | {"folder": folder}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_like_one(both, case):
    one, two = both["one"][case], both["two"][case]
    updates = math.ceil(STEPS / 2 / 3) * 2 if "accumulated" in case else STEPS
    expected = [STEPS // 2, STEPS] if "pretrained" in case else [updates] * len(one["updates"])
    assert one["updates"] == two["updates"] == expected
    assert one["images_seen"] == two["images_seen"] == STEPS * BATCH
    assert one["progress"] == two["progress"] == 1
    for name, value in one["state"].items():
        difference = (two["state"][name].double() - value.double()).norm()
        assert difference <= 1e-5 * value.double().norm(), name
    # What is logged is the mean over the processes; how different the images of one batch are is not such a mean.
    for row, other in zip(one["rows"], two["rows"], strict=True):
        for name in row:
            if "batch_d" not in name:
                assert other[name] == pytest.approx(row[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("case", CASES)
def test_an_update_reduces_the_network_that_moves(both, case):
    """Not more than the bytes of each network once in an iteration."""
    found = both["two"][case]
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    weights = {n: v.numel() for n, v in found["state"].items() if "_ema." not in n and not n.endswith(buffers)}
    first, last = found["updates"][0], found["updates"][-1]
    # The discriminator moves later where there is a pre-training.
    updates = {name: first if name.startswith("discriminator.") else last for name in weights}
    assert found["reduced_bytes"] == sum(updates[name] * 4 * count for name, count in weights.items())
    assert both["one"][case]["reduced_bytes"] == 0


def test_the_data_are_shared_out_and_the_noise_differs(both):
    one, two = both["one"]["dcgan"], both["two"]["dcgan"]
    first, second = two["used"]
    assert [first[0], second[0], first[1], second[1]] == one["used"][0][:4]
    assert sorted(first + second) == sorted(one["used"][0]) == list(range(STEPS * BATCH))
    assert two["noise"][0] == one["noise"][0] != two["noise"][1]


@pytest.mark.parametrize("name", RUNS)
def test_metrics_and_the_best_checkpoint_are_those_of_one_process(both, name):
    one, two = (json.loads((both["folder"] / count / name / "results.json").read_text()) for count in ("one", "two"))
    assert both["two"]["scores"][name] == 2 * both["two"]["scores"][name][:1]
    assert both["two"]["scores"][name][0] == pytest.approx(both["one"]["scores"][name][0], rel=1e-4)
    assert Path(one["best_checkpoint"]).name == Path(two["best_checkpoint"]).name
    judged = [key for key, value in one.items() if key.startswith(("val/", "test/", "final/", "baseline/", "best/"))]
    assert len(judged) > 5
    for key in (*judged, "images_seen", "best_checkpoint_images_seen", "data_fingerprint"):
        assert two[key] == (pytest.approx(one[key], rel=1e-4) if isinstance(one[key], float) else one[key]), key
    if name != "digits":
        own, other = (found["evaluation"]["test/worst"] for found in (one, two))
        assert own["measure"] == other["measure"] and len(own["worst"]) > 1
        for group in ("worst", "first"):
            for case, same in zip(own[group], other[group], strict=True):
                for key, value in case.items():
                    assert same[key] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)
                assert (Path(other["folder"]) / same["picture"]).is_file()


def test_the_features_of_two_processes_give_the_numbers_of_one(both):
    for found in both["two"]["fidelity"]:
        for values in found.values():
            assert values == pytest.approx(both["one"]["fidelity"], rel=1e-4, abs=1e-6)
    for rank in range(2):
        assert len(list((both["folder"] / f"two/of_rank_{rank}/cache").glob("*.npz"))) == 2


def test_all_processes_stop_before_an_update_that_is_not_finite(both):
    """The NaN is in a picture of the second process alone."""
    messages = both["two"]["spoiled"]
    assert messages[0] == messages[1] == both["one"]["spoiled"][0]
    assert messages[0].startswith("d/adv is nan at 24 images seen: the training ends before this update")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def machines(folder: Path, *overrides: str) -> list[subprocess.CompletedProcess]:
    """train.py as two machines run it, started by torchrun."""
    tiny = [*TINY_PIX2PIX, "data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]
    command = [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1"]
    command += ["--master-port", str(free_port())]
    script = [str(ROOT / "train.py"), "trainer=multinode", *tiny, "callbacks.progress.refresh_rate=0"]
    begun = [
        subprocess.Popen(
            [*command, "--node-rank", str(number), *overrides[:1], *script, *overrides[1:]],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    ended = [process.communicate(timeout=900) for process in begun]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *said)
        for process, said in zip(begun, ended, strict=True)
    ]


@pytest.mark.slow
def test_two_machines_train_together_in_one_folder(tmp_path):
    for process in machines(tmp_path, "--rdzv-id=both"):
        assert process.returncode == 0, process.stderr[-3000:]
    (folder,) = (tmp_path / "lightning_logs/pix2pix_lattice").iterdir()
    assert folder.name == "both"
    results = json.loads((folder / "results.json").read_text())
    assert results["images_seen"] == 4  # one step: two pictures on each machine
    assert (folder / ".hydra/config.yaml").exists()


@pytest.mark.slow
def test_machines_without_a_common_folder_are_refused(tmp_path):
    first, second = machines(tmp_path, "--max-restarts=0")
    assert first.returncode and second.returncode
    assert "give hydra.run.dir=FOLDER, or --rdzv-id=NAME to torchrun" in first.stderr
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.slow
def test_the_first_command_of_the_project_on_four_devices(tmp_path):
    """Word for word, on processes of this machine, with two batches of everything."""
    command = "python train.py model=pix2pix data=lattice trainer.devices=4 debug=true trainer.accelerator=cpu"
    program, script, *overrides = command.split()
    assert program == "python"
    ended = subprocess.run(
        [sys.executable, str(ROOT / script), *overrides], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=1200, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "4 x CPU" in ended.stdout
    (folder,) = (tmp_path / "lightning_logs/pix2pix_lattice").iterdir()
    config = OmegaConf.load(folder / ".hydra/config.yaml")
    results = json.loads((folder / "results.json").read_text())
    assert results["images_seen"] == 2 * 4 * config.data.batch_size  # of 2 batches on each device
    assert {"test/bond_f1", "shifted/bond_f1"} <= set(results)
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
