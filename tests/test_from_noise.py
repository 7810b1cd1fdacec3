"""Pictures from noise, from the command line to results.json; and what is refused before the work."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import ROOT, overrides_for, overrides_for_model
from ganforge.commands.extract import train
from ganforge.commands.sample import sample
from ganforge.errors import UserError
from ganforge.evaluation import ClassifierAccuracy
from ganforge.experiment import run, start


def pictures(folders, *overrides: str, model: str = "dcgan") -> list[str]:
    return [*overrides_for_model(model), *overrides_for("image_folder", folders), *overrides]


def test_a_run_folder_holds_what_was_drawn_and_how_it_was_judged(configured, folders, tmp_path, capsys):
    several = ["trainer.max_epochs=3", "trainer.log_every_n_steps=1", "data.n_val=4", "data.n_test=4"]
    run(configured(pictures(folders, *several)))
    folder = tmp_path / "run"
    results = json.loads((folder / "results.json").read_text())
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["images"] for row in rows if row["val/swd"]] == ["4", "8", "12"]
    for name in ("d/accuracy_real", "d/logit_fake", "d/grad_norm", "g/grad_norm", "g/batch_diversity"):
        assert all(row[f"train/{name}"] for row in rows if row["train/d/adv"]), name

    # The best checkpoint is that of the lowest distance; the final weights are judged too.
    distances = {float(row["images"]): float(row["val/swd"]) for row in rows if row["val/swd"]}
    assert results["best_checkpoint_images_seen"] == min(distances, key=distances.get)
    assert results["final/test/swd"] > 0
    same = results["best_checkpoint_images_seen"] == results["images_seen"]
    assert (results["final/test/swd"] == results["test/swd"]) == same
    assert 0 <= results["test/memorized/pixels"] <= 1
    assert results["warnings"] == []

    # The same latents before the training and after every epoch, and how they came about.
    names = [f"images_{seen:09d}.png" for seen in (0, 4, 8, 12)]
    assert sorted(path.name for path in (folder / "samples").glob("images_*")) == names
    assert 2 <= Image.open(folder / "samples/evolution.gif").n_frames <= 4  # equal frames are one
    assert (folder / "samples/evolution.png").is_file() and (folder / "samples/nearest.png").is_file()
    shown = capsys.readouterr().out
    assert "test, best" in shown and "test, final" in shown and "nearest.png" in shown


def test_the_grids_of_a_conditional_model_have_a_column_a_class(configured, folders, tmp_path, capsys):
    several = ["trainer.max_epochs=2", "data.n_val=9", "callbacks.grid.samples=9", "callbacks.grid.pictures=4"]
    small = [setting for setting in pictures(folders, model="cgan") if not setting.startswith("data.n_val")]
    run(configured([*small, *several]))
    samples = tmp_path / "run/samples"
    width, height = Image.open(sorted(samples.glob("images_*"))[-1]).size
    assert width == 2 * 34 + 2 and 34 < height - (5 * 34 + 2) < 60  # plain, striped, upwards; 5 and 4 pictures
    assert 4 * 36 + 4 < Image.open(samples / "evolution.png").size[1] < 4 * 36 + 4 + 30  # under the images seen
    # What is drawn to be judged is not called the real pictures.
    said = capsys.readouterr().out
    assert "4 training pictures of 32 px, batches of 2; 9 are generated at each validation, 2 for the test\n" in said
    drawn = tmp_path / "drawn"
    sample(tmp_path / "run", 5, drawn)
    assert Image.open(tmp_path / "drawn_grid.png").size == (width, height - 2 * 34)


def test_a_collapse_is_said_and_ends_the_training_where_asked(configured, folders, tmp_path, capsys):
    """A generator that cannot move draws grey: every batch is full of copies."""
    still = ["model.optimizer_g.lr=0.0", "trainer.log_every_n_steps=1", "trainer.max_epochs=5", "data.n_train=8"]
    stop = ["callbacks.health.on_collapse=stop", "callbacks.health.patience=2"]
    score = run(configured(pictures(folders, *still, *stop)))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["images_seen"] < 5 * 8
    assert "The generator has collapsed" in results["warnings"][0]
    assert results["test/swd"] > 0 and score == results["best/val/swd"]
    assert "The generator has collapsed" in capsys.readouterr().out


def test_a_resumed_training_goes_on_with_the_adapted_augmentation(configured, folders, tmp_path):
    adaptive = ["model/augment=ada", "model.augment.p=0.3", "model.augment.speed_images=40", "data.n_train=8"]
    run(configured(pictures(folders, *adaptive), "first"))
    state = torch.load(tmp_path / "first/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert state["augment.p"] != pytest.approx(0.3)
    run(configured(pictures(folders, *adaptive, "trainer.max_epochs=2", f"ckpt_path={tmp_path / 'first'}"), "second"))
    later = torch.load(tmp_path / "second/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert later["augment.observations"] == 2 * state["augment.observations"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.classes=[dotted]"], r"dotted.*plain.*striped"),
        (["data.n_classes=3"], r"data\.n_classes=3, but the data has 2 classes"),
        (["data.batch_size=64", "data.n_train=null"], r"data\.batch_size=64 but there are only \d+ training pictures"),
        (["model=cgan", "data.n_labels=2"], r"model=cgan needs .*label.*data\.n_labels must be null"),
        (["model=sgan", "data.n_labels=3"], r"data\.n_labels=3 is not the same number"),
        (["evaluation=domain"], r"extractor.*image_folder_cnn\.pt.*ganforge extractor"),
        (["evaluation=fidelity", "evaluation.metrics.fidelity.weights=absent.pth"], r"weights=absent\.pth: no"),
        (["callbacks.health.on_collapse=cry"], r"callbacks\.health\.on_collapse=cry"),
        (["model.penalties.r1=-1"], r"model\.penalties\.r1=-1"),
        (["model.input_noise.images=fake"], r"model\.input_noise\.images='fake'"),
    ],
)  # fmt: skip
def test_wrong_use_is_refused_in_words(configured, folders, overrides, message):
    chosen = [setting for setting in pictures(folders) if not setting.startswith("model=")]
    model = [] if overrides[0].startswith("model=") else ["model=dcgan"]
    with pytest.raises(SystemExit) as stopped:
        start(configured([*model, *chosen, *overrides]))
    sentence = str(stopped.value.code)
    assert sentence.startswith("error: ")
    assert re.search(message, sentence), sentence


def test_labels_missing_for_a_conditional_model(configured, folders):
    flat = f"data.root={folders / 'image_folder' / 'plain'}"
    with pytest.raises(UserError, match=r"model=cgan needs .*one folder a class.*use data="):
        run(configured([*pictures(folders, model="cgan"), flat]))


@pytest.mark.slow
def test_an_extractor_of_other_channels_and_too_few_pictures_are_refused(configured, folders, tmp_path):
    grey = ["data=image_folder", f"data.root={folders / 'image_folder'}", "data.size=32", "data.channels=1"]
    train(grey, name="grey_cnn", output=tmp_path / "grey.pt", epochs=1)
    fidelity = "evaluation.metrics.fidelity"
    domain = ["evaluation=domain", f"{fidelity}.extractor={tmp_path / 'grey.pt'}", f"{fidelity}.cache_dir={tmp_path}"]
    with pytest.raises(UserError, match=r"grey_cnn was trained on grey pictures \(1 channels\)"):
        run(configured(pictures(folders, *domain, f"{fidelity}.splits=2", f"{fidelity}.metrics=[is,fid]")))
    with pytest.raises(UserError, match=r"precision .*needs 4 and 4 or more"):
        run(configured(pictures(folders, *domain, "data.channels=1", f"{fidelity}.metrics=[fid,precision]")))


class Dataset:
    pictures = np.zeros((3, 1, 8, 8), dtype=np.uint8)


def test_a_classifiers_accuracy_counts_every_picture_once():
    metric = ClassifierAccuracy()
    metric.update({"index": torch.tensor([0]), "label": torch.tensor([1])}, torch.zeros(1, 1, 8, 8), Dataset())
    assert metric.compute() == {}  # a model that does not classify
    metric.reset()
    batch = {
        "index": torch.tensor([0, 1, 2, 3]),  # of three pictures: the last is the first again
        "label": torch.tensor([1, 0, 1, 1]),
        "predicted_label": torch.tensor([1, 1, 1, 0]),
    }
    metric.update(batch, torch.zeros(4, 1, 8, 8), Dataset())
    assert metric.compute() == {"class_accuracy": pytest.approx(2 / 3), "class_accuracy/images": 3}


def test_the_recipes_say_what_is_asked_of_them(configured):
    """The frozen recipes, value for value."""
    simpsons = configured(["experiment=simpsons", "data.root=x"])
    assert (simpsons.data.size, simpsons.data.batch_size, simpsons.trainer.max_epochs) == (128, 64, 300)
    model = simpsons.model
    assert (model.latent_dim, model.optimizer_d.lr, model.optimizer_g.lr) == (100, 4e-5, 4e-4)
    assert model.optimizer_d.betas[0] == model.optimizer_g.betas[0] == 0.5
    assert (model.input_noise.images, model.label_smoothing > 0, model.input_noise.std > 0) == ("real", True, True)
    steel = configured(["experiment=steel_scratches", "data.root=x"])
    assert (list(steel.data.classes), steel.data.size, steel.data.batch_size) == (["scratches"], 128, 12)
    model = steel.model
    assert (model.generator.base_channels, model.discriminator.base_channels) == (64, 128)
    assert (model.discriminator.spectral_norm, model.discriminator.norm, steel.trainer.max_epochs) == (
        True,
        "batch",
        128,
    )
    assert (model.optimizer_d.lr, model.optimizer_g.lr, list(model.optimizer_g.betas)) == (4e-4, 1e-4, [0.5, 0.999])
    assert configured(["experiment=mnist_sgan"]).data.n_labels == 100
    assert configured(["experiment=celeba64", "data.root=x"]).data.size == 64


@pytest.mark.slow
def test_digits_emerge_from_noise(configured, tmp_path):
    """A minute of DCGAN on real digits: samples that the pixels' distance tells from noise, of many kinds."""
    root = ROOT.parent / "shared" / "data" / "mnist"
    if not root.is_dir():
        pytest.skip(f"MNIST is not in {root}")
    small = ["data.n_train=12800", "data.n_val=500", "data.n_test=500", "trainer.max_epochs=2"]
    recipe = ["experiment=mnist_dcgan", "evaluation=pixels", f"data.root={root}", *small]
    run(configured([*recipe, "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1"]))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test/swd"] < 0.25  # seen 0.09; noise of the same mean is at about 0.5
    assert 0.7 < results["test/diversity"] < 1.3
    assert results["test/duplicates"] < 0.05
    assert results["test/memorized/pixels"] < 0.05
