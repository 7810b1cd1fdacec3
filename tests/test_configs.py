"""Every yaml under conf/: composed, built and trained for a step, by listing the folder: a new one is tested too."""

import json

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from conftest import ROOT, TINY_PIX2PIX, overrides_for, overrides_for_model
from ganforge.commands.extract import train
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.networks.unet import unet_depth
from test_fidelity import random_inception

CHOICES = {
    group.name: sorted(path.stem for path in group.glob("*.yaml"))
    for group in (ROOT / "conf").iterdir()
    if group.is_dir()
}

SLOW = pytest.mark.slow  # all 189 of them together


def check_run(results: dict, run_dir, images: int = 4) -> None:
    assert results["images_seen"] == images
    assert results["test/l1" if "test/l1" in results else "test/swd"] > 0
    assert (run_dir / "metrics.csv").is_file() or (run_dir / "tensorboard").is_dir() or (run_dir / "wandb").is_dir()
    for name in ("best_checkpoint", "last_checkpoint", "grid"):
        assert (run_dir / results[name]).is_file()


@pytest.mark.parametrize(
    ("model", "data"),
    [
        pytest.param(model, data, marks=[] if model in ("dcgan", "pix2pix") or data in ("pairs", "mnist") else SLOW)
        for model in CHOICES["model"]
        for data in CHOICES["data"]
    ],
)
def test_every_model_trains_on_every_data_that_fits(configured, folders, tmp_path, model, data):
    size = 28 if data == "mnist" else 32
    config = configured([f"model={model}", *overrides_for(data, folders), *overrides_for_model(model, size)])
    needs, provides = (hydra.utils.get_class(node._target_) for node in (config.model, config.data))
    if not needs.needs <= provides.provides:
        with pytest.raises(UserError, match=f"model={model} needs .* but data={data} provides .*; use data="):
            run(config)
        return
    returned = run(config)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    check_run(results, tmp_path / "run")
    own = {"lattice": "bond_f1", "pairs": "l1", "colour": "colourfulness_difference"}
    monitor = f"best/val/{own.get(data, 'swd')}"
    assert returned == pytest.approx(results[monitor])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("pix2pix", "pairs"),
        ("colorize", "colour"),
        ("cyclegan", "unpaired"),
        ("cut", "unpaired"),
        ("stargan", "domains"),
    ],
)
def test_translations_are_tested_at_low_precision_too(configured, folders, tmp_path, model, data):
    """What is made of results, such as round trips, is made where autocast has ended."""
    chosen = [f"model={model}", *overrides_for(data, folders), *overrides_for_model(model)]
    run(configured([*chosen, "trainer.precision=bf16-mixed"]))
    check_run(json.loads((tmp_path / "run" / "results.json").read_text()), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["unet", "resnet"])
def test_every_translator_trains(configured, folders, tmp_path, generator):
    chosen = [f"model/generator={generator}", "data=pairs", f"data.root={folders / 'pairs'}", "data.size=32"]
    run(configured([*chosen, "model.generator.depth=3", *TINY_PIX2PIX]))
    check_run(json.loads((tmp_path / "run" / "results.json").read_text()), tmp_path / "run")


@pytest.mark.parametrize("experiment", CHOICES["experiment"])
def test_every_experiment_starts_and_steps(configured, folders, tmp_path, experiment):
    recipe = OmegaConf.load(ROOT / "conf" / "experiment" / f"{experiment}.yaml")
    if isinstance(recipe.defaults[0], str) and recipe.defaults[0] != "_self_":
        recipe = OmegaConf.load(ROOT / "conf" / "experiment" / f"{recipe.defaults[0]}.yaml")
    chosen = {key: value for entry in recipe.defaults if OmegaConf.is_dict(entry) for key, value in entry.items()}
    model = chosen.get("override /model", "pix2pix")
    data = chosen.get("override /data", "lattice")
    small = [
        *(setting for setting in overrides_for(data, folders) if not setting.startswith("data=")),
        *(setting for setting in overrides_for_model(model, 28 if data == "mnist" else 32) if "model=" not in setting),
        "trainer.check_val_every_n_epoch=1",
        *(["data.n_labels=null"] if model == "sgan" else []),  # there are too few pictures
        *(["data.classes=null"] if data == "image_folder" else []),  # and of other classes
        *([f"data.root={folders / 'bands'}"] if recipe.get("data", {}).get("layout") in ("folders", "bands") else []),
    ]
    if "attributes" in recipe.get("data", {}):
        small += [f"data.root={folders / 'faces'}", f"data.table={folders / 'faces' / 'attributes.txt'}"]
    run(configured([f"experiment={experiment}", *small]))
    check_run(json.loads((tmp_path / "run" / "results.json").read_text()), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [f"{group}={name}" for group in ("trainer", "evaluation", "callbacks", "logger") for name in CHOICES[group]],
)
def test_every_other_choice_composes_and_trains(configured, folders, tmp_path, override, monkeypatch):
    if override in ("trainer=gpu", "trainer=ddp") and not torch.cuda.is_available():
        pytest.skip("no GPU on this machine")
    monkeypatch.setenv("WANDB_MODE", "offline")
    offline = ["logger.wandb.mode=offline"] if override == "logger=wandb" else []
    small = [setting for setting in overrides_for("pairs", folders) if not setting.startswith("evaluation=")]
    # Several processes: tests/test_distributed.py.
    alone = ["trainer.devices=1", "trainer.num_nodes=1"] if override.startswith("trainer=") else []
    chosen = [override, *small, "model.generator.depth=3", *TINY_PIX2PIX, *offline, *alone]
    chosen += for_evaluation(override, folders)
    run(configured(chosen))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    check_run(results, tmp_path / "run")
    if override == "evaluation=fidelity":
        assert results["test/kid"] is not None and results["test/is"] >= 1
    if override == "evaluation=domain":
        assert results["test/fd/pairs_cnn"] is not None


def for_evaluation(override: str, folders) -> list[str]:
    """What evaluation with a network needs: random weights of Inception, or a small extractor; and two images."""
    fidelity = "evaluation.metrics.fidelity"
    enough = ["data.split=fraction", "data.val_fraction=0.2", "data.test_fraction=0.2"]
    if override == "evaluation=fidelity":
        weights = random_inception(folders / "inception.pth")
        return [*enough, f"{fidelity}.weights={weights}", f"{fidelity}.metrics=[kid,is]", f"{fidelity}.splits=2"]
    if override == "evaluation=domain":
        pictures = ["data=image_folder", f"data.root={folders / 'image_folder'}", "data.size=32"]
        train(pictures, name="pairs_cnn", output=folders / "pairs_cnn.pt", epochs=1)
        return [*enough, f"{fidelity}.extractor={folders / 'pairs_cnn.pt'}", f"{fidelity}.metrics=[fid]"]
    return []


def test_the_recipes_say_what_was_published(configured):
    """The frozen recipe, value for value, so that a change of a default cannot change it unseen."""
    config = configured(["experiment=lattice_published"])
    assert (config.data.size, config.data.n_train, config.data.fresh, config.data.batch_size) == (256, 90, False, 3)
    assert list(config.data.lattices) == ["kagome", "square", "triangular"]
    assert config.trainer.max_epochs == 500
    model = config.model
    assert (model.d_weight, model.l1_weight, model.ink_weight, model.norm_mode) == (0.5, 100, 1, "batch")
    assert model.generator._target_ == "ganforge.networks.UNet"
    assert (model.generator.base_channels, model.generator.dropout, model.ema_half_life) == (64, 0.5, None)
    assert unet_depth(model.generator.size, model.generator.depth) == 8
    assert (model.optimizer_g.lr, model.optimizer_d.lr, model.schedule_g.decay_from) == (2e-4, 2e-4, None)
    assert model.schedule_d.decay_from is None
    kagome = configured(["experiment=lattice_kagome_only"])
    assert list(kagome.data.lattices) == ["kagome"]
    assert list(kagome.data.test_lattices) == ["kagome", "square", "triangular"]
    maps = configured(["experiment=maps", "data.root=x"])
    assert (maps.data.load_size, maps.data.size, maps.data.batch_size, maps.trainer.max_epochs) == (286, 256, 1, 200)
    assert (maps.model.generator.base_channels, maps.model.l1_weight, maps.model.ink_weight) == (64, 100, 1)
