"""Shared by the tests: configs composed in this process, a tiny paired data set in memory."""

import gzip
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

# Before torch is loaded: of tests side by side each has its share of the cores, and so have the processes they start.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from PIL import Image

from ganforge.data.module import DataModule
from ganforge.pictures import rasters
from ganforge.pictures.raster_data import Raster

ROOT = Path(__file__).resolve().parents[1]

# A training of seconds: the smallest networks and sets that still go through everything.
TINY = [
    "model.generator.base_channels=4",
    "data.num_workers=0",
    "data.batch_size=2",
    "data.n_train=4",
    "data.n_val=2",
    "data.n_test=2",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32",
]
TINY_PIX2PIX = [*TINY, "model.discriminator.base_channels=4"]


@pytest.fixture(autouse=True)
def signals():
    """What a test leaves of the handling of signals (a run that ends is deaf to them) is not that of the next one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def configured(tmp_path):
    """configured(overrides) -> the config that `python train.py OVERRIDES` would run, in a fresh folder."""

    yield lambda overrides, folder="run": composed(overrides, tmp_path / folder)
    HydraConfig.instance().cfg = None


def composed(overrides: list[str], run_dir: Path) -> DictConfig:
    """The config that Hydra hands to the job `python train.py OVERRIDES hydra.run.dir=RUN_DIR`."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=overrides, return_hydra_config=True)
    run_dir.mkdir(exist_ok=True)
    with open_dict(config):
        config.hydra.runtime.output_dir = str(run_dir)
        config.hydra.mode = "RUN"
        config.hydra.overrides.task = overrides
    HydraConfig.instance().set_config(config)
    # Without Hydra's own settings, but with interpolations to them.
    with open_dict(config):
        config.name = config.name
        config.run_dir = config.run_dir
        del config["hydra"]
    return config


# The smallest networks of those models that have no base_channels.
WIDTHS = {
    "gan": ["model.generator.widths=[8,8]", "model.discriminator.widths=[8]"],
    "r3gan": ["model.generator.widths={0}", "model.discriminator.widths={0}"],
}


@pytest.fixture
def folders(tmp_path):
    """A folder for every data set that reads files: pairs side by side and of bands, digits, two classes."""
    write_folders(tmp_path, np.random.default_rng(0))
    return tmp_path


def write_folders(root: Path, rng: np.random.Generator) -> None:
    for name, shape, where in (
        ("pairs", (32, 64, 3), [""]),
        ("image_folder", (40, 36, 3), ["plain", "striped"]),
        ("domains", (40, 36, 3), ["plain", "striped"]),
        ("faces", (40, 36, 3), [""]),
        ("unpaired", (40, 36, 3), ["trainA", "trainB", "testA", "testB"]),
        ("colour", (40, 36, 3), [""]),
    ):
        for below in where:
            (root / name / below).mkdir(parents=True)
            for index in range(10):
                picture = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
                picture.save(root / name / below / f"{index}.png")
    write_digits(root / "mnist", rng)
    write_bands(root / "bands", rng)
    write_attributes(root / "faces" / "attributes.txt", ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young"))


def write_attributes(file: Path, names: tuple[str, ...], n: int = 10) -> None:
    """A table in the layout of CelebA for 0.png, 1.png, ...: picture i has attribute j where i + j is even."""
    rows = [" ".join([f"{i}.png", *(" 1" if (i + j) % 2 == 0 else "-1" for j in range(len(names)))]) for i in range(n)]
    file.write_text("\n".join([str(n), " ".join(names), *rows, ""]))


def write_pictures(folder: Path, n: int) -> None:
    """n colour pictures of noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(n):
        Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(folder / f"{index}.png")


def write_bands(root: Path, rng: np.random.Generator) -> None:
    """What the recipes of geodata read: radar and optical, heights, and many bands in one file."""
    optical = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    for below, bands, dtype in (
        ("s1", ("VV", "VH"), "float32"),
        ("s2", optical, "int16"),
        ("dsm", ("dsm",), "float32"),
        ("dtm", ("dtm",), "float32"),
        ("", optical, "int16"),
    ):
        (root / below).mkdir(parents=True, exist_ok=True)
        for index in range(10):
            values = rng.normal(1000, 200, (32, 32, len(bands))).astype(dtype)
            rasters.write(root / below / f"{index}.tif", Raster(values, bands))


def write_digits(folder, rng, train: int = 60, test: int = 20) -> None:
    """The four files of MNIST with random pictures, the labels in turn."""
    folder.mkdir()
    for part, n in (("train", train), ("t10k", test)):
        pictures = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        header = np.array([0x803, n, 28, 28], dtype=">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + pictures.tobytes()))
        labels = (np.arange(n) % 10).astype(np.uint8)
        header = np.array([0x801, n], dtype=">i4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels.tobytes()))


def overrides_for(data: str, folders) -> list[str]:
    """The overrides that make a data set tiny and find its files."""
    if data == "lattice":
        return ["data=lattice", "data.size=64", "data.cells=[2,3]", "data.shifted=null", "data.n_calibration=4"]
    if data in ("mnist", "coloured_digits"):
        return [f"data={data}", f"data.root={folders / 'mnist'}", "data.n_heldout=20", "evaluation=pixels"]
    settings = OmegaConf.to_container(OmegaConf.load(ROOT / f"conf/data/{data}.yaml"))
    root = [f"data.root={folders / data}"] if "root" in settings else []
    small = [f"data={data}", *root, "data.size=32"]
    return small if data in ("pairs", "colour") else [*small, "evaluation=pixels"]


def overrides_for_model(model: str, size: int = 32) -> list[str]:
    if model in ("pix2pix", "colorize"):
        return [f"model={model}", "model.generator.depth=3", *TINY_PIX2PIX]
    widths = [width.format([16] * 4 if size == 32 else [16] * 3) for width in WIDTHS.get(model, [])]
    networks = ("a_to_b", "critic_a") if model == "cyclegan" else ("generator", "discriminator")
    base = [f"model.{network}.base_channels=4" for network in networks]
    return [f"model={model}", *(widths or base), *(setting for setting in TINY if "base_channels" not in setting)]


def trainer_in(epoch: int) -> SimpleNamespace:
    """What a data module asks of a Trainer that begins this epoch."""
    epochs = SimpleNamespace(current=SimpleNamespace(ready=epoch + 1, processed=epoch))
    batches = SimpleNamespace(current=SimpleNamespace(processed=0), is_last_batch=False)
    fit_loop = SimpleNamespace(epoch_progress=epochs, epoch_loop=SimpleNamespace(batch_progress=batches))
    return SimpleNamespace(global_rank=0, world_size=1, current_epoch=epoch, fit_loop=fit_loop)


class Pairs(torch.utils.data.Dataset):
    """n random pairs of grey pictures: the target is the negative of the source."""

    def __init__(self, n: int, size: int):
        self.source = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(n)) * 2 - 1

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict:
        source = self.source[index % len(self)]
        return {"source": source, "target": -source, "index": index}


class TinyPairs(DataModule):
    """Paired data in memory: n_train pictures for training, one batch for validation and test."""

    provides = frozenset({"paired"})

    def __init__(self, *, n_train: int = 8, size: int = 32, batch_size: int = 4):
        super().__init__(size=size, batch_size=batch_size, num_workers=0, seed=0)
        self.n_train = n_train

    def datasets(self) -> dict:
        return {name: Pairs(self.n_train if name == "train" else 2, self.size) for name in ("train", "val", "test")}

    def fingerprint(self) -> str:
        return f"negatives of {self.n_train}"


class Pictures(Pairs):
    """n random grey pictures, with labels in turn where there are classes."""

    def __init__(self, n: int, size: int, classes: int = 0):
        super().__init__(n, size)
        self.classes = classes

    def __getitem__(self, index: int) -> dict:
        label = {"label": index % self.classes} if self.classes else {}
        return {"image": self.source[index % len(self)], "index": index, **label}


class TinyImages(TinyPairs):
    """Pictures without partners; with classes where asked."""

    provides = frozenset({"image"})

    def __init__(self, *, classes: int = 0, **options):
        super().__init__(**options)
        self.classes = classes

    def datasets(self) -> dict:
        counts = {"train": self.n_train, "val": 2, "test": 2}
        return {name: Pictures(n, self.size, self.classes) for name, n in counts.items()}


@pytest.fixture
def opened(monkeypatch) -> Counter:
    """How often each file was opened by its path since the test began."""
    counts, path_open = Counter(), Path.open

    def counting(path, *arguments, **options):
        counts[path.name] += 1
        return path_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", counting)
    return counts


class Rows:
    """Rows that a system logs."""

    def __init__(self, system):
        self.rows = []
        system.log_row = lambda values: self.rows.append({name: float(value) for name, value in values.items()})


@pytest.fixture
def fit():
    """fit(system, data, max_epochs) trains on the CPU without logger, checkpoints or bar; returns the trainer."""

    def run(
        system: pl.LightningModule,
        data: DataModule,
        max_epochs: int = 1,
        every: int = 1,
        ckpt_path: Path | None = None,
        **options,
    ) -> pl.Trainer:
        trainer = pl.Trainer(
            accelerator=options.pop("accelerator", "cpu"),
            max_epochs=max_epochs,
            logger=options.pop("logger", False),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=every,
            **options,
        )
        trainer.fit(system, datamodule=data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
        return trainer

    return run


sys.path.insert(0, str(Path(__file__).parent))
