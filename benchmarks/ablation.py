"""What the main job adds to the published recipe, step by step: a Markdown table, mean and range over seeds.

    python benchmarks/ablation.py --images 4000 --seeds 3 [--output DIR] [--jobs 2]

Each row is the one above with what its name says, trained on as many pictures. All are judged on the test set of the
main job (`python train.py`, the same networks for all seeds), whose patches are turned and mirrored; what is trained on
is not, until the row of that name. A training that was interrupted goes on, and what is done is not done again.
"""

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np

from ganforge.commands.evaluate import rebuild_data
from ganforge.commands.translator import Translator
from ganforge.data.lattice import drawing
from ganforge.evaluation.bonds import BondCounts
from ganforge.files.folders import replace as replace_file
from ganforge.lattice import read
from ganforge.runs.generators import load_generator

ROOT = Path(__file__).resolve().parents[1]
# 90 fixed pairs of 128 px, the U-Net of the paper; dots and lines as the main job draws them.
BASE = [
    "experiment=lattice_published_small", "data.dot_radius=[3.0,4.5]", "data.line_width=[3.0,3.0]",
    "data.n_test=3", "evaluation.worst=0", "callbacks.progress.refresh_rate=0", "~callbacks.grid",
]  # fmt: skip
# Name, overrides beside those of all rows above.
STEPS = [
    ("published recipe", []),
    ("+ ink weight 10", ["model.ink_weight=10"]),
    ("+ fresh networks", ["data.fresh=true"]),
    ("+ moving average", ["model.ema_half_life=1100"]),
    (
        "+ narrow residual blocks, without dropout, at a learning rate of 0.001 that decays, with running statistics",
        [
            "model/generator=resnet", "model.generator.base_channels=16", "model.generator.dropout=0",
            "model.discriminator.base_channels=16", "model.optimizer_g.lr=0.001", "model/schedule=linear",
            "model.norm_mode=running", "data.batch_size=8",
        ],
    ),
    ("+ turned and mirrored patches", ["data.symmetries=true"]),
    ("+ squared differences", ["model.square_weight=12"]),
    (
        "+ farther sight, and training beyond the ranges tested, more often on what is hard",
        [
            "model.generator.dilations=[1,2,4]", "data.training_beyond=0.3",
            "data.lattices=[kagome,square,triangular,square,triangular]",
        ],
    ),
]  # fmt: skip
EPOCH = 90  # pictures, of fixed and of fresh ones
VALIDATIONS = 4  # of a training; the best weights by them are judged
SCORED = Lock()  # one network at a time on the machine's cores


def settings(step: int, images: int, seed: int, own: Sequence[str] = ()) -> list[str]:
    """Overrides of a row, as on the command line; own: for all rows."""
    added = [*(setting for _, more in STEPS[: step + 1] for setting in more), *own]
    last = {setting.partition("=")[0]: setting for setting in [*BASE, *added]}
    epoch = min(EPOCH, images)
    epochs = max(1, round(images / epoch))
    length = [f"data.n_train={epoch}", f"trainer.max_epochs={epochs}"]
    every = max(1, epochs // VALIDATIONS)
    return [*last.values(), *length, f"trainer.check_val_every_n_epoch={every}", f"seed={seed}"]


def done(folder: Path, chosen: list[str], networks: int) -> dict[str, float]:
    """The numbers of one training, which is run, gone on with, or only read again."""
    digest = hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:8]  # other settings, another training
    folder = folder.with_name(f"{folder.name}_{digest}")
    file = folder / f"of_{networks}_networks.json"
    if file.is_file():
        return json.loads(file.read_text())
    if not (folder / "results.json").is_file():
        command = [sys.executable, str(ROOT / "train.py"), *chosen, f"hydra.run.dir={folder}"]
        goes_on = ["resume=true"] if (folder / "checkpoints/last.ckpt").is_file() else []
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "output.txt").open("a") as output:
            subprocess.run([*command, *goes_on], check=True, stdout=output, stderr=subprocess.STDOUT, env=os.environ)
    with SCORED:
        values = judged(folder, networks)
    with replace_file(file) as written:
        written.write(json.dumps(values).encode())
    return values


def judged(folder: Path, networks: int) -> dict[str, float]:
    """Bond numbers on the first networks of the main job's test set."""
    generator = load_generator(folder)
    data, translator, counts = rebuild_data(generator), Translator(generator), BondCounts()
    distribution = replace(data.test_distribution, symmetries=True)
    for index in range(networks):
        drawn = drawing(distribution, data.size, 0, "test", index)
        (generated,) = translator.pictures([drawn.source[..., None]])
        counts.update(drawn.network, read(generated[..., 0], drawn.network.sites).bonds)
    return counts.compute()


def table(found: dict[int, list[dict[str, float]]]) -> str:
    """Rows of STEPS; in each cell F1 and the share of networks without a wrong bond, mean and range over the seeds."""
    keys = {key for runs in found.values() for run in runs for key in run}
    kinds = ["", *sorted(key.removeprefix("f1") for key in keys if key.startswith("f1/"))]
    lines = [f"| | {' | '.join(kind.lstrip('/') or 'all' for kind in kinds)} |", "|---|" + "---|" * len(kinds)]
    for step, runs in sorted(found.items()):
        cells = []
        for kind in kinds:
            f1, exact = (np.array([run[f"{name}{kind}"] for run in runs]) for name in ("f1", "exact"))
            ranges = f"{f1.min():.4f} to {f1.max():.4f}", f"{100 * exact.min():.0f} to {100 * exact.max():.0f}"
            cells.append(f"{f1.mean():.4f} ({ranges[0]}), {100 * exact.mean():.0f} % ({ranges[1]})")
        lines.append(f"| {STEPS[step][0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000, help="that each training sees (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each row (default %(default)s)")
    parser.add_argument("--networks", type=int, default=150, help="to judge by (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("lightning_logs/ablation"))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time (default %(default)s)")
    parser.add_argument("overrides", nargs="*", help="of all trainings, such as trainer=gpu")
    options = parser.parse_args()
    places = list(itertools.product(range(options.seeds), range(len(STEPS))))  # a whole table after the first seed

    def one(place: tuple[int, int]) -> dict[str, float]:
        seed, step = place
        folder = options.output.absolute() / f"images_{options.images}" / f"step_{step}_seed_{seed}"
        values = done(folder, settings(step, options.images, seed, options.overrides), options.networks)
        print(f"seed {seed}, {STEPS[step][0]}: F1 {values['f1']:.4f}, exact {values['exact']:.0%}", flush=True)
        return values

    found: dict[int, list[dict[str, float]]] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for (_, step), values in zip(places, pool.map(one, places), strict=True):
            found.setdefault(step, []).append(values)
    text = table(found)
    (options.output / f"images_{options.images}.md").write_text(text + "\n")
    print(
        f"\nBond F1 and share of {options.networks} networks without a wrong bond, after {options.images} pictures; "
        f"mean and range of {options.seeds} seeds\n\n{text}"
    )


if __name__ == "__main__":
    main()
