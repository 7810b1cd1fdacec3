"""How long ganforge predict takes for many pictures, beside a loop over them one by one.

    python benchmarks/predict.py [--pictures 500] [--size 256] [--base-channels 16] [--rounds 2] [--format png]

A pix2pix of random weights (U-Net) translates the same pictures from and to the same disk. The loop reads, translates
and writes one after the other, after it has read each to see that it decodes, as ganforge predict did at first. Both
begin with a loaded checkpoint, in a process of their own, and take turns. Printed are seconds, pictures/s, the median
ratio, and how far the results are apart.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def pictures(folder: Path, count: int, size: int, suffix: str) -> None:
    """Coloured clouds with some grain, so that they are as long to encode as photographs."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-8, 9, (size, size, 3))
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.{suffix}")


def checkpoint(root: Path, base_channels: int, size: int) -> Path:
    """A run of one step."""
    run, pairs = root / "run", root / "pairs"
    pairs.mkdir()
    for number in range(10):
        Image.fromarray(np.full((size, 2 * size, 3), 20 * number, dtype=np.uint8)).save(pairs / f"{number}.png")
    settings = [
        "model=pix2pix",
        "data=pairs",
        f"data.root={pairs}",
        f"data.size={size}",
        "data.n_train=1",
        "data.n_val=1",
        "data.n_test=1",
        "data.num_workers=0",
        f"model.generator.base_channels={base_channels}",
        "model.discriminator.base_channels=4",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        f"hydra.run.dir={run}",
    ]
    subprocess.run([sys.executable, "-m", "ganforge.cli", "train", *settings], check=True, capture_output=True)
    return run


def one_by_one(run: Path, folder: Path, output: Path) -> float:
    import torch

    from ganforge.networks.layers import infer
    from ganforge.pictures import images
    from ganforge.runs.generators import load_generator

    generator, output = load_generator(run), Path(output)
    size = generator.card["size"]
    begun = time.perf_counter()
    files = images.list_images(folder)
    for file in files:
        images.read(file, 3)
    output.mkdir()
    for file in files:
        picture = images.read(file, 3)
        source = torch.from_numpy(images.to_unit(images.resize(picture, (size, size))))[None]
        generated = images.from_unit(infer(generator.network, source, "running")[0].numpy())
        images.write(output / file.name, images.resize(generated, picture.shape[:2]))
    return time.perf_counter() - begun


def at_once(run: Path, folder: Path, output: Path) -> float:
    from ganforge.commands import predict

    loaded = predict.load_generator(run)
    predict.load_generator = lambda *_: loaded  # as the loop: without the time that this takes
    begun = time.perf_counter()
    predict.predict(run, [folder], output)
    return time.perf_counter() - begun


SIDES = {"one by one": one_by_one, "ganforge predict": at_once}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--base-channels", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--format", default="png")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        name = options.side.replace(" ", "_")
        print(SIDES[options.side](options.folder / "run", options.folder / "pictures", options.folder / name))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root, taken = Path(temporary), {name: [] for name in SIDES}
        pictures(root / "pictures", options.pictures, options.size, options.format)
        checkpoint(root, options.base_channels, options.size)
        for turn in range(options.rounds):
            for name in list(SIDES)[:: 1 if turn % 2 == 0 else -1]:
                output = root / name.replace(" ", "_")
                for file in output.glob("*"):
                    file.unlink()
                if output.is_dir():
                    output.rmdir()
                command = [sys.executable, __file__, "--side", name, "--folder", str(root)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                taken[name].append(float(said.split()[-1]))
                print(
                    f"{name:17s} {taken[name][-1]:6.1f} s {options.pictures / taken[name][-1]:6.1f} pictures/s",
                    flush=True,
                )
        ratios = [slow / fast for slow, fast in zip(*taken.values(), strict=True)]
        print(f"median ratio {statistics.median(ratios):.2f}")
        apart, most = 0, 0
        for file in sorted((root / "one_by_one").iterdir()):
            both = [
                np.asarray(Image.open(root / name / file.name), dtype=np.int16)
                for name in ("one_by_one", "ganforge_predict")
            ]
            difference = np.abs(both[0] - both[1])
            apart, most = apart + int((difference > 0).sum()), max(most, int(difference.max()))
        share = apart / (options.pictures * options.size**2 * 3)
        print(f"results: {share:.2e} of the values differ, by {most} of 255 at most")


if __name__ == "__main__":
    main()
