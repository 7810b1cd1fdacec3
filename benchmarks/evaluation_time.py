"""How long our evaluation takes beside torch-fidelity's command line, and how much memory.

    python benchmarks/evaluation_time.py [--images 10000] [--rounds 2] [--weights FILE] [--gpu]

FID, KID, Inception Score, precision and recall of the same random pictures against the same others, with the same
weights of Inception (random ones of its layout unless --weights names a file): ours from tensors, torch-fidelity from
PNG files. Each run is a process of its own, timed from its start to its end, and the sides take turns. Printed are
seconds, peak memory of the largest process of each run, the median ratio, and how far the numbers are apart.
"""

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

KEYS = {
    "fid": "frechet_inception_distance",
    "kid": "kernel_inception_distance_mean",
    "is": "inception_score_mean",
    "precision": "precision",
    "recall": "recall",
}


def random_weights(path: Path) -> None:
    """Weights in the layout of torch-fidelity's Inception, of a size that keeps the pictures' differences alive."""
    import torch
    from torch_fidelity import FeatureExtractorInceptionV3

    class Layout(FeatureExtractorInceptionV3):
        def load_state_dict(self, *arguments, **options):
            pass

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    network = Layout("layout", ["2048"], feature_extractor_weights_path=nothing)
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        if weight.dim() > 1:
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=generator)
    torch.save(network.state_dict(), path)


def pictures(folder: Path, count: int, size: int) -> None:
    """Coloured clouds: FOLDER.npy uint8 (count, 3, size, size), and the same as PNG files in FOLDER."""
    from PIL import Image

    rng = np.random.default_rng(len(folder.name))
    folder.mkdir()
    kept = np.empty((count, 3, size, size), dtype=np.uint8)
    for number in range(count):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:06d}.png")
        kept[number] = np.asarray(picture).transpose(2, 0, 1)
    np.save(folder.with_suffix(".npy"), kept)


def ours(options: argparse.Namespace, folder: Path) -> None:
    """Run in a process of its own; prints the numbers as JSON."""
    import torch

    from ganforge.evaluation.fidelity import compare

    sets = [torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("generated", "real")]
    values, _ = compare(
        *sets,
        weights=options.weights,
        batch_size=options.batch_size,
        kid_subset_size=min(1000, options.images),
        with_intervals=options.intervals,
        device="cuda" if options.gpu else "cpu",
        progress=False,
    )
    print(json.dumps({name: values[name] for name in KEYS}))


def theirs(options: argparse.Namespace, folder: Path) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "torch_fidelity.fidelity",
        "--isc",
        "--fid",
        "--kid",
        "--prc",
        "--json",
        "--silent",
    ]
    command += ["--feature-extractor", "inception-v3-compat", "--feature-extractor-weights-path", str(options.weights)]
    command += ["--kid-subset-size", str(min(1000, options.images)), "--batch-size", str(options.batch_size)]
    command += ["--gpu", os.environ.get("CUDA_VISIBLE_DEVICES", "0")] if options.gpu else ["--cpu"]
    return [*command, "--no-cache", "--input1", str(folder / "generated"), "--input2", str(folder / "real")]


def run(command: list[str], output: Path) -> tuple[float, float, dict[str, float]]:
    """Seconds, MiB at the peak of the largest process, and what the command printed."""
    begun = time.perf_counter()
    with output.open("w") as file:
        process = os.posix_spawn(
            command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), sys.stdout.fileno())]
        )
        _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - begun
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: failed")
    return seconds, usage.ru_maxrss / 1024, json.loads(output.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="generated and real pictures, each")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--weights", type=Path, help="of Inception; random ones if not given")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--intervals", action=argparse.BooleanOptionalAction, default=True, help="in our numbers")
    parser.add_argument("--ours-in", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours_in:
        return ours(options, options.ours_in)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.weights is None:
            options.weights = folder / "weights.pth"
            random_weights(options.weights)
        for side in ("generated", "real"):
            pictures(folder / side, options.images, options.size)
        again = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--weights", str(options.weights)]
        commands = {"ours": [*again, "--ours-in", str(folder)], "torch-fidelity": theirs(options, folder)}
        found = {side: [] for side in commands}
        for number in range(options.rounds):
            # Which side goes first alternates, so that a machine that slows down favours neither.
            for side in list(commands)[:: -1 if number % 2 else 1]:
                seconds, memory, values = run(commands[side], folder / "output.json")
                found[side].append((seconds, memory, values))
                print(f"round {number + 1}: {side:14s} {seconds:7.1f} s, {memory:6.0f} MiB", flush=True)
    pairs = list(zip(*found.values(), strict=True))
    print(f"median ratio of seconds, ours / torch-fidelity: {statistics.median(a[0] / b[0] for a, b in pairs):.3f}")
    print(f"median ratio of memory: {statistics.median(a[1] / b[1] for a, b in pairs):.3f}")
    for name, key in KEYS.items():
        mine, other = pairs[0][0][2][name], pairs[0][1][2][key]
        print(f"{name}: {mine:.7g}, torch-fidelity {other:.7g}, relative difference {abs(mine / other - 1):.1e}")


if __name__ == "__main__":
    main()
