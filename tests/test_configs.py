"""Every yaml under conf/: composed, built and trained for a step, by listing the folder: a new one is tested too."""

import json

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from conftest import ROOT, TINY_PIX2PIX
from ganforge.experiment import run
from ganforge.networks import GENERATORS
from ganforge.networks.unet import unet_depth

CHOICES = {
    group.name: sorted(path.stem for path in group.glob("*.yaml"))
    for group in (ROOT / "conf").iterdir()
    if group.is_dir()
}


@pytest.fixture
def pairs_folder(tmp_path):
    """Ten side-by-side pairs, 64 x 32 px."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        Image.fromarray(rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def check_run(results: dict, run_dir) -> None:
    assert results["images_seen"] == 4
    assert results["test/l1"] > 0
    assert (run_dir / "metrics.csv").is_file() or (run_dir / "tensorboard").is_dir() or (run_dir / "wandb").is_dir()
    for name in ("best_checkpoint", "last_checkpoint", "grid"):
        assert (run_dir / results[name]).is_file()


def overrides_for(data: str, pairs_folder) -> list[str]:
    small = ["data.size=32", "model.generator.depth=3"]
    if data == "lattice":
        return ["data=lattice", "data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]
    return [f"data={data}", f"data.root={pairs_folder}", *small]


@pytest.mark.parametrize("data", CHOICES["data"])
@pytest.mark.parametrize("model", CHOICES["model"])
def test_every_model_trains_on_every_data_that_fits(configured, pairs_folder, tmp_path, model, data):
    returned = run(configured([f"model={model}", *overrides_for(data, pairs_folder), *TINY_PIX2PIX]))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    check_run(results, tmp_path / "run")
    monitor = "best/val/bond_f1" if data == "lattice" else "best/val/l1"
    assert returned == pytest.approx(results[monitor])


@pytest.mark.parametrize("generator", sorted(GENERATORS))
def test_every_generator_trains(configured, pairs_folder, tmp_path, generator):
    chosen = [f"model.generator._target_={generator}", "data=pairs", f"data.root={pairs_folder}", "data.size=32"]
    run(configured([*chosen, *TINY_PIX2PIX]))
    check_run(json.loads((tmp_path / "run" / "results.json").read_text()), tmp_path / "run")


@pytest.mark.parametrize("experiment", CHOICES["experiment"])
def test_every_experiment_starts_and_steps(configured, pairs_folder, tmp_path, experiment):
    data = OmegaConf.load(ROOT / "conf" / "experiment" / f"{experiment}.yaml").get("name", "")
    lattice = data.startswith("lattice")
    small = [
        *(overrides_for("lattice", None)[1:] if lattice else overrides_for("pairs", pairs_folder)[1:]),
        *TINY_PIX2PIX,
        "trainer.check_val_every_n_epoch=1",
    ]
    run(configured([f"experiment={experiment}", *small]))
    check_run(json.loads((tmp_path / "run" / "results.json").read_text()), tmp_path / "run")


@pytest.mark.parametrize(
    "override",
    [f"{group}={name}" for group in ("trainer", "evaluation", "callbacks", "logger") for name in CHOICES[group]],
)
def test_every_other_choice_composes_and_trains(configured, pairs_folder, tmp_path, override, monkeypatch):
    if override == "trainer=gpu":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no GPU on this machine")
    monkeypatch.setenv("WANDB_MODE", "offline")
    offline = ["logger.wandb.mode=offline"] if override == "logger=wandb" else []
    run(configured([override, *overrides_for("pairs", pairs_folder), *TINY_PIX2PIX, *offline]))
    check_run(json.loads((tmp_path / "run" / "results.json").read_text()), tmp_path / "run")


def test_the_recipes_say_what_was_published(configured):
    """The frozen recipe, value for value, so that a change of a default cannot change it unseen."""
    config = configured(["experiment=lattice_published"])
    assert (config.data.size, config.data.n_train, config.data.fresh, config.data.batch_size) == (256, 90, False, 3)
    assert list(config.data.lattices) == ["kagome", "square", "triangular"]
    assert config.trainer.max_epochs == 500
    model = config.model
    assert (model.d_weight, model.l1_weight, model.ink_weight, model.norm_mode) == (0.5, 100, 1, "batch")
    assert model.generator._target_ == "ganforge.networks.UNet"
    assert (model.generator.base_channels, model.generator.dropout, model.ema_decay) == (64, 0.5, None)
    assert unet_depth(model.generator.size, model.generator.depth) == 8
    assert (model.optimizer_g.lr, model.optimizer_d.lr, model.schedule_g.decay_from) == (2e-4, 2e-4, None)
    assert model.schedule_d.decay_from is None
    kagome = configured(["experiment=lattice_kagome_only"])
    assert list(kagome.data.lattices) == ["kagome"]
    assert list(kagome.data.test_lattices) == ["kagome", "square", "triangular"]
    maps = configured(["experiment=maps", "data.root=x"])
    assert (maps.data.load_size, maps.data.size, maps.data.batch_size, maps.trainer.max_epochs) == (286, 256, 1, 200)
    assert (maps.model.generator.base_channels, maps.model.l1_weight, maps.model.ink_weight) == (64, 100, 1)
