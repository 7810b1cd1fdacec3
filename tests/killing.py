"""Runs that are stopped at random moments and go on until they end, beside the run that was never stopped."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch

from conftest import ROOT, TINY, overrides_for
from ganforge.runs import checkpoint

# Everything that has a state: moving average, schedules, accumulated windows, dropout, adaptive augmentation, noise.
TRANSLATION = [
    *TINY,
    "model.discriminator.base_channels=4",
    "model/generator=unet",
    "model.accumulate=3",
    "model.ema_half_life=40",
]
SAMPLING = [
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
    "trainer.accelerator=cpu",
]
CYCLES = [  # pools, both sides, moving averages
    "model=cyclegan",
    *(f"model.{network}.base_channels=4" for network in ("a_to_b", "critic_a")),
    "model.a_to_b.depth=1",
    "model.pool_size=4",
    "model.ema_half_life=40",
    "model.accumulate=2",
    "data.batch_size=2",
    "trainer.accelerator=cpu",
]
COMMON = [
    "trainer.max_epochs=9",
    "trainer.log_every_n_steps=3",
    "model.schedule_g.decay_from=0.5",
    "trainer.precision=32",
]
CASES = {
    "lattice": [*TRANSLATION, "data.n_train=22", "data.n_val=6"],
    "pairs": [*TRANSLATION, "model.generator.depth=4", "data.n_train=null", "data.n_val=null", "data.n_test=null"],
    "unpaired": CYCLES,
    "colour": [
        "model=colorize",
        *TRANSLATION,
        "model.generator.depth=4",
        "model.pretrain.images=20",
        *("data.n_train=null", "data.n_val=null", "data.n_test=null"),
    ],
    "image_folder": [*SAMPLING, "data.n_val=8", "data.n_test=8"],
    "mnist": [*SAMPLING, "data.n_train=38", "data.n_val=8", "data.n_test=8"],
}


def overrides(case: str, folders: Path) -> list[str]:
    """What trains this case; folders: as the fixture of that name makes them."""
    return [*CASES[case], *COMMON, *overrides_for(case, folders)]


# A process that has loaded everything; it starts one training after another and stops each after so many seconds.
STOPPER = """
import os, random, runpy, signal, sys, time
sys.argv[0] = sys.argv.pop(1)
import ganforge.experiment, ganforge.systems, ganforge.networks, ganforge.data, ganforge.evaluation, torchvision
chance = random.Random(int(sys.argv.pop(1)))
longest = float(sys.argv.pop(1))
most = 8  # or a busy machine, on which no start comes far, stops a training for ever
stops = []
while True:
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        runpy.run_path(sys.argv[0], run_name="__main__")
        os._exit(0)
    until = begun + chance.uniform(0.2, longest)
    number = chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    whole_group = chance.random() < 0.5  # as a terminal and a scheduler do
    sent = False
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if not sent and len(stops) < most and time.monotonic() > until:
            (os.killpg if whole_group else os.kill)(child, number)
            sent = True
            stops.append(number.name)
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(ended[1])
    if code == 0 or not sent:
        print("stops", *stops, "exit", code, time.monotonic() - begun, flush=True)
        sys.exit(code != 0)
"""


def stopped_until_it_ends(
    folder: Path, overrides: list[str], seed: int = 0, longest: float = 10_000
) -> tuple[Counter, float]:
    """Train in `folder`, stopped up to `longest` seconds after each start, until it ends.

    Half of the signals go to the whole group of processes. Raises AssertionError where a run fails of itself. Returns
    how often each signal was sent, and the seconds of the last start.
    """
    command = [sys.executable, "-c", STOPPER, str(ROOT / "train.py"), str(seed), str(longest)]
    command += [*overrides, f"hydra.run.dir={folder}", "resume=true"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert answer.returncode == 0, answer.stdout[-500:] + answer.stderr[-2000:]
    stops, _, ended = answer.stdout.rpartition("stops")[2].rpartition("exit")
    return Counter(stops.split()), float(ended.split()[1])


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
       "kth_best_model_path", "num_workers")  # fmt: skip


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
        assert a == b or (a != a and b != b), where  # NaN: of a number that does not exist
