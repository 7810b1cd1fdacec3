"""How fast `data=pairs` reads from files beside a bare loop over the same library: training must not wait for it.

    python benchmarks/reading.py [--rounds 5] [--pairs 64] [--size 256] [--kinds png jpeg tiff cog]

Both make the same batches of random crops as float tensors in [-1, 1], with zero, one and two workers, in turns within
one process: ours through the data module that a training uses (nothing kept in memory), the bare loop as one would
write it with Pillow (PNG, JPEG), tifffile (4 bands of uint16) or rasterio (windows of COG scenes). Printed are pairs/s,
the median of the rounds, and the median of the rounds' ratios.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import pytorch_lightning as pl
import rasterio
import rasterio.shutil
import tifffile
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from rasterio.windows import Window
from torch.utils.data import DataLoader, Dataset

from ganforge import CONF
from ganforge.settings import quiet

BATCH = 8
BANDS = 4
SCENE = 4  # times the size, the side of a COG scene
LARGER = 286 / 256  # as pix2pix resizes before it crops


def texture(side: int, bands: int, dtype: str, seed: int) -> np.ndarray:
    """Something between noise and a flat page, so that it compresses as photographs do; (side, side, bands)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (side // 8 + 1, side // 8 + 1, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
    values = smooth[..., np.arange(bands) % 3] + rng.normal(0, 4, (side, side, bands))
    return (values.clip(0, 255) * (np.iinfo(dtype).max // 255)).astype(dtype)


def write(kind: str, folder: Path, pairs: int, size: int) -> None:
    """Pairs in a/ and b/."""
    for number, side in ((number, side) for number in range(pairs) for side in "ab"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        path, seed = folder / side / str(number), 2 * number + (side == "b")
        if kind in ("png", "jpeg"):
            Image.fromarray(texture(size, 3, "uint8", seed)).save(path.with_suffix(f".{kind}"), quality=90)
        elif kind == "tiff":
            tifffile.imwrite(
                path.with_suffix(".tif"),
                texture(round(size * LARGER), BANDS, "uint16", seed),
                photometric="minisblack",
                planarconfig="contig",
                compression="zlib",
                predictor=True,
            )
        else:
            values = texture(SCENE * size, BANDS, "uint16", seed)
            options = {"dtype": "uint16", "count": BANDS, "height": len(values), "width": len(values)}
            place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
            with rasterio.open(folder / "scene", "w", driver="GTiff", **options, **place) as file:
                file.write(values.transpose(2, 0, 1))
            cog = {"driver": "COG", "compress": "deflate", "predictor": 2, "blocksize": 256}
            rasterio.shutil.copy(folder / "scene", path.with_suffix(".tif"), **cog)
            (folder / "scene").unlink()


class Bare(Dataset):
    """Pairs of random crops, as one would write it without ganforge."""

    def __init__(self, kind: str, folder: Path, size: int):
        self.read = {"tiff": self.tiff, "cog": self.cog}.get(kind, self.picture)
        self.size = size
        self.pairs = list(zip(sorted(folder.glob("a/*")), sorted(folder.glob("b/*")), strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        draw, flip = torch.rand(2).tolist(), torch.rand(()) < 0.5
        pair = (self.read(path, draw) for path in self.pairs[index])
        source, target = (torch.from_numpy(np.ascontiguousarray(p[:, :, ::-1] if flip else p)) for p in pair)
        return {"source": source, "target": target}

    def crop(self, side: int, draw: list[float]) -> tuple[int, int]:
        return tuple(int(part * (side - self.size + 1)) for part in draw)

    def picture(self, path: Path, draw: list[float]) -> np.ndarray:
        side = round(self.size * LARGER)
        values = np.asarray(Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
        top, left = self.crop(side, draw)
        return values[top : top + self.size, left : left + self.size].transpose(2, 0, 1).astype(np.float32) / 127.5 - 1

    def tiff(self, path: Path, draw: list[float]) -> np.ndarray:
        values = tifffile.imread(path)
        top, left = self.crop(values.shape[0], draw)
        values = values[top : top + self.size, left : left + self.size].transpose(2, 0, 1)
        return values.astype(np.float32) / 32767.5 - 1

    def cog(self, path: Path, draw: list[float]) -> np.ndarray:
        with rasterio.open(path) as file:
            top, left = self.crop(file.height, draw)
            return file.read(window=Window(left, top, self.size, self.size)).astype(np.float32) / 32767.5 - 1


def ours(folder: Path, size: int, workers: int, cache: Path) -> DataLoader:
    """The batches of a training."""
    overrides = [
        "name=benchmark",
        "run_dir=.",
        "data=pairs",
        f"data.root={folder}",
        "data.layout=folders",
        f"data.size={size}",
        f"data.batch_size={BATCH}",
        f"data.num_workers={workers}",
        f"data.cache_dir={cache}",
        "data.cache_bytes=0",
        "data.split=fraction",
        "data.test_fraction=0",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=overrides)
    data = hydra.utils.instantiate(config.data)
    data.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    return data.train_dataloader()


def rate(loader: DataLoader, pairs: int) -> float:
    """Pairs a second, over whole epochs of at least `pairs` pairs."""
    read, begun = 0, time.perf_counter()
    while read < pairs:
        read += sum(len(batch["source"]) for batch in loader)
    return read / (time.perf_counter() - begun)


def compare(said: str, ours: DataLoader, bare: DataLoader, rounds: int, pairs: int) -> None:
    sides: list[tuple[str, Callable[[], float]]] = [
        ("ours", lambda: rate(ours, pairs)),
        ("bare", lambda: rate(bare, pairs)),
    ]
    found: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(-1, rounds):  # the first starts the workers and fills the disk's cache
        for name, measure in sides[:: 1 if number % 2 else -1]:
            found[name].append(measure())
    own, other = found["ours"][1:], found["bare"][1:]
    ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
    print(f"{said:24s} {statistics.median(own):8.1f} {statistics.median(other):8.1f} {ratio:8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=64, help="pairs a round and side")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    kinds = ["png", "jpeg", "tiff", "cog"]
    parser.add_argument("--kinds", nargs="+", default=kinds, choices=kinds)
    options = parser.parse_args()
    quiet()
    warnings.filterwarnings("ignore", message=".*(isn't allocated|GPU available).*")
    print(f"{'pairs/s':24s} {'ours':>8s} {'bare':>8s} {'ratio':>8s}")
    with tempfile.TemporaryDirectory() as temporary:
        for kind in options.kinds:
            folder = Path(temporary) / kind
            write(kind, folder, max(2 * BATCH, options.pairs // (4 if kind == "cog" else 1)), options.size)
            for workers in options.workers:
                bare = DataLoader(
                    Bare(kind, folder, options.size),
                    batch_size=BATCH,
                    shuffle=True,
                    drop_last=True,
                    num_workers=workers,
                    persistent_workers=workers > 0,
                )
                own = ours(folder, options.size, workers, Path(temporary) / "cache")
                compare(f"{kind}, {workers} workers", own, bare, options.rounds, options.pairs)


if __name__ == "__main__":
    main()
