"""A scene larger than memory, translated by ganforge predict: how long, how much memory, and whether the file is right.

    python benchmarks/large_scene.py [--side 20000] [--tile 256] [--overlap 0.5] [--folder DIR]

Makes a uint16 scene of five bands with nodata; trains a pix2pix of 4 channels on a few windows of it, from three of the
bands to all five; and calls ganforge predict on it in a process of its own. Printed are seconds, megapixels/s, and the
peak memory of that process beside one that only imports torch. Then the file is compared with the source by rasterio:
coordinate system, transform, size, nodata, names of bands, where it is valid, and what `rio info` says of both. Needs
ganforge[geo], and on the disk up to twice the bytes of the scene (4 GB of 20,000 px, less what compression saves).
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

BANDS = 5
BLOCK = 512
PROFILE = {
    "driver": "GTiff",
    "dtype": "uint16",
    "count": BANDS,
    "crs": "EPSG:32631",
    "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    "nodata": 0,
    "tiled": True,
    "blockxsize": BLOCK,
    "blockysize": BLOCK,
    "compress": "deflate",
    "zlevel": 1,
    "BIGTIFF": "IF_SAFER",
}


def make_scene(path: Path, side: int) -> None:
    """Waves of several lengths, differently mixed in each band, coarse enough to be compressed; a corner is nodata."""
    x = np.arange(side)
    waves = [np.sin(x / length) for length in (37, 311, 2003)]
    with rasterio.open(path, "w", height=side, width=side, **PROFILE) as file:
        file.descriptions = [f"B{band + 2}" for band in range(BANDS)]
        for top in range(0, side, BLOCK):
            rows = slice(top, min(top + BLOCK, side))
            for band in range(BANDS):
                mixed = sum((1 + (band + i) % 3) * wave[rows, None] * wave for i, wave in enumerate(waves))
                values = (3000 + 300 * mixed).astype(np.uint16) // 16 * 16
                values[x[rows, None] + x < side // 4] = 0
                file.write(values, band + 1, window=Window(0, top, side, len(values)))


def make_run(scene: Path, folder: Path) -> None:
    """A run of one step on windows of the scene: three of the bands in, five out."""
    pairs = folder / "pairs"
    with rasterio.open(scene) as file:
        for name, bands in (("a", [1, 2, 3]), ("b", [1, 2, 3, 4, 5])):
            (pairs / name).mkdir(parents=True, exist_ok=True)
            for number in range(6):
                at = Window(file.width // 2 + 64 * number, file.height // 2, 64, 64)
                profile = PROFILE | {"height": 64, "width": 64, "count": len(bands), "tiled": False}
                profile |= {"transform": file.window_transform(at)}
                with rasterio.open(pairs / name / f"{number}.tif", "w", **profile) as part:
                    part.descriptions = [file.descriptions[band - 1] for band in bands]
                    part.write(file.read(bands, window=at))
    settings = [
        "model=pix2pix",
        "data=pairs",
        f"data.root={pairs}",
        "data.layout=folders",
        "data.num_workers=0",
        f"data.cache_dir={folder / 'cache'}",
        "model.generator.base_channels=4",
        "model.generator.depth=4",
        "model.discriminator.base_channels=4",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        f"hydra.run.dir={folder / 'run'}",
    ]
    subprocess.run([sys.executable, "-m", "ganforge.cli", "train", *settings], check=True, capture_output=True)


def make(scene: Path, folder: Path, side: int) -> None:
    make_scene(scene, side)
    make_run(scene, folder)


def peak(code: str, *arguments: str) -> tuple[float, str]:
    """The peak memory in MB of a process that runs this, and the last line that it printed."""
    code += "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.split()[-1]), done.stdout.strip().splitlines()[-2] if "\n" in done.stdout.strip() else ""


def compare(scene: Path, result: Path) -> list[str]:
    """In what the files differ that they should not."""
    faults = []
    with rasterio.open(scene) as before, rasterio.open(result) as after:
        for name in ("crs", "transform", "width", "height", "nodata", "descriptions"):
            a, b = getattr(before, name), getattr(after, name)
            print(f"  {name}: {str(b)!r}")
            faults += [] if a == b else [f"{name}: {a} and {b}"]
        for top in range(0, before.height, 4 * BLOCK):
            window = Window(0, top, before.width, min(4 * BLOCK, before.height - top))
            a, b = (file.read(1, window=window) != 0 for file in (before, after))
            # Of the result all bands are nothing where any of the three that are read is.
            if not np.array_equal(a, b):
                faults.append(f"valid pixels in rows from {top}: {int((a != b).sum())} differ")
    said = [json.loads(subprocess.check_output(["rio", "info", str(path)])) for path in (scene, result)]
    for name in ("crs", "transform", "shape", "bounds", "nodata", "descriptions", "dtype", "count"):
        faults += [] if said[0][name] == said[1][name] else [f"rio info, {name}: {said[0][name]} and {said[1][name]}"]
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000, metavar="PX")
    parser.add_argument("--tile", type=int, default=256, metavar="PX")
    parser.add_argument("--overlap", type=float, default=0.5, metavar="F")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the files go; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        scene = folder / "scene.tif"
        # In a process of its own: on Linux a child begins with the peak memory of its parent.
        making = multiprocessing.get_context("spawn").Process(target=make, args=(scene, folder, options.side))
        making.start()
        making.join()
        run = folder / "run"
        empty, _ = peak("import torch")
        command = ["predict", str(run), str(scene), "-o", str(folder / "out"), "--tile", str(options.tile)]
        command += ["--overlap", str(options.overlap)]
        begun = time.perf_counter()
        used, said = peak("import sys; from ganforge.cli import main; assert main(sys.argv[1:]) == 0", *command)
        seconds = time.perf_counter() - begun
        print(said)
        speed = options.side**2 / 1e6 / seconds
        print(f"{options.side}×{options.side} px, {BANDS} bands: {seconds:.0f} s, {speed:.1f} Mpx/s")
        print(f"peak memory {used:.0f} MB, of a process that imports torch {empty:.0f} MB: {used - empty:.0f} MB more")
        faults = compare(scene, folder / "out/scene.tif")
        sizes = [file.stat().st_size / 1e6 for file in (scene, folder / "out/scene.tif")]
        print(f"  on the disk: {sizes[0]:.0f} MB, and {sizes[1]:.0f} MB of it translated")
        print("\n".join(faults) if faults else "the files agree")
        raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
