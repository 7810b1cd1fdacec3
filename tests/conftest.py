"""Shared by the tests: configs composed in this process, a tiny paired data set in memory."""

import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from ganforge.data.module import DataModule

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


@pytest.fixture
def configured(tmp_path):
    """configured(overrides) -> the config that `python train.py OVERRIDES` would run, in a fresh folder."""

    def configure(overrides: list[str], folder: str = "run") -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("train", overrides=overrides, return_hydra_config=True)
        run_dir = tmp_path / folder
        run_dir.mkdir(exist_ok=True)
        with open_dict(config):
            config.hydra.runtime.output_dir = str(run_dir)
            config.hydra.mode = "RUN"
            config.hydra.overrides.task = overrides
        HydraConfig.instance().set_config(config)
        # What Hydra hands to a job: without its own settings, but with interpolations to them.
        with open_dict(config):
            config.name = config.name
            config.run_dir = config.run_dir
            del config["hydra"]
        return config

    yield configure
    HydraConfig.instance().cfg = None


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


class TinyImages(TinyPairs):
    """Pictures without partners."""

    provides = frozenset({"image"})


@pytest.fixture
def fit():
    """fit(system, data, max_epochs) trains on the CPU without logger, checkpoints or bar; returns the trainer."""

    def run(system: pl.LightningModule, data: DataModule, max_epochs: int = 1, **options) -> pl.Trainer:
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=max_epochs,
            logger=options.pop("logger", False),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=1,
            **options,
        )
        trainer.fit(system, datamodule=data)
        return trainer

    return run


sys.path.insert(0, str(Path(__file__).parent))
