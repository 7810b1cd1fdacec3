"""What can be chosen inside a model, what wins, and what does not fit."""

import re

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from conftest import ROOT, TINY_PIX2PIX, overrides_for, overrides_for_model
from ganforge.errors import UserError
from ganforge.experiment import run, start
from ganforge.networks.squeezenet import SqueezeNet
from ganforge.words import check_arguments, choices
from test_settings import train

# Terms are lists of choices: test_terms.py.
PARTS = [group for group in choices() if re.match("model/(?!base|terms)", group)]


@pytest.mark.parametrize(
    ("overrides", "generator"),
    [
        ([], "ResNetGenerator"),  # tuned/pix2pix_lattice.yaml
        (["model/generator=unet"], "UNet"),
        (["tuned=none"], "UNet"),
        (["data=pairs", "data.root=x"], "UNet"),
        (["data=pairs", "data.root=x", "model/generator=resnet"], "ResNetGenerator"),
        (["experiment=lattice_published"], "UNet"),
        (["experiment=lattice_kagome_only", "model/generator=resnet"], "ResNetGenerator"),
        (["model=cgan", "data=mnist", "model/generator=mlp"], "MLPGenerator"),
    ],
)
def test_what_is_typed_wins_over_what_suits_the_data(configured, overrides, generator):
    assert configured(overrides).model.generator._target_ == f"ganforge.networks.{generator}"


def test_an_optimizer_and_a_schedule_are_of_both_players_and_their_rates_apart(configured):
    model = configured(["model=wgan", "data=mnist", "model/optimizer=adamw", "model.optimizer_d.lr=7"]).model
    assert model.optimizer_g._target_ == model.optimizer_d._target_ == "torch.optim.AdamW"
    assert (model.optimizer_g.lr, model.optimizer_d.lr) == (2e-4, 7)
    model = configured(["model=wgan", "data=mnist", "model/schedule=linear", "model.schedule_g.decay_from=0.3"]).model
    assert model.schedule_d.decay_from == 0.3


@pytest.mark.slow
@pytest.mark.parametrize("experiment", choices()["experiment"])
def test_nothing_composes_over_a_recipe(configured, experiment):
    """No file in tuned/, now or later, changes it unasked: it says itself which one does, or that there is none."""
    assert "tuned" not in configured([f"experiment={experiment}"])
    recipe, defaults = experiment, []
    while not any(OmegaConf.is_dict(entry) for entry in defaults):  # one recipe may begin with another
        defaults = OmegaConf.load(ROOT / f"conf/experiment/{recipe}.yaml").defaults
        recipe = defaults[0]
    (tuned,) = [entry["override /tuned"] for entry in defaults if "override /tuned" in entry]
    assert tuned in choices()["tuned"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["model=cgan", "model/discriminator=patchgan"],
            "model/discriminator=patchgan does not fit model=cgan with data=image_folder: PatchGAN has no "
            "n_classes; use model/discriminator=biggan or model/discriminator=dcgan or model/discriminator=mlp or "
            "model/discriminator=projected or model/discriminator=r3gan",
        ),
        (
            ["model=dcgan", "model/discriminator=patchgan"],
            "PatchGAN needs in_channels=${add:${data.source_channels},${data.target_channels}}, which is not there; "
            "use model/discriminator=biggan or model/discriminator=dcgan or model/discriminator=mlp or "
            "model/discriminator=progan or model/discriminator=projected or model/discriminator=r3gan",
        ),
        (
            ["model=dcgan", "model/generator=unet"],
            "model/generator=unet does not fit model=dcgan with data=image_folder: UNet needs in_channels=",
        ),
        (["model=sgan", "model/generator=resnet"], "use model/generator=biggan or model/generator=dcgan or"),
        (["model=sgan", "model/discriminator=r3gan"], "R3GANDiscriminator has no outputs and no norm; use model/d"),
        (
            ["model=r3gan", "model/optimizer=rmsprop"],
            "RMSprop has no betas; use model/optimizer=adam or model/optimizer=",
        ),
        (["model=wgan_gp", "model/discriminator=mlp"], "MLPDiscriminator has no norm; use model/discriminator=dcgan"),
    ],
)
def test_a_part_that_does_not_fit_is_one_sentence_with_those_that_do(
    configured, folders, tmp_path, overrides, sentence
):
    with pytest.raises(SystemExit) as stopped:
        start(configured([*overrides, *overrides_for("image_folder", folders)]))
    assert sentence in stopped.value.code and "\n" not in stopped.value.code
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model/generator=dcgan", "DCGANGenerator needs latent_dim=${..latent_dim}, which is not there; use "
                                  "model/generator=resnet or model/generator=resnet_dilated or model/generator=unet"),
        ("model/discriminator=mlp", "use model/discriminator=multiscale or model/discriminator=patchgan"),
        ("model.generator._target_=torch.nn.Identity", "names 'torch.nn.Identity'; only"),
        ("+model.generator.base_chanels=3", "UNet has no such setting; did you mean base_channels?"),
    ],
)  # fmt: skip
def test_what_cannot_translate_is_one_sentence(configured, folders, override, sentence):
    with pytest.raises(SystemExit) as stopped:
        start(configured([override, *overrides_for("pairs", folders)]))
    assert sentence in stopped.value.code and "\n" not in stopped.value.code


@pytest.mark.slow
def test_train_py_says_what_fits_also_of_ones_own_folder(folders, tmp_path):
    """Within Hydra's main(), which composes with the folders that were added to it."""
    own = tmp_path / "own"
    (own / "data").mkdir(parents=True)
    (own / "data/mine.yaml").write_text("defaults: [lattice, _self_]\nsize: 64\n")
    pictures = overrides_for("image_folder", folders)
    shown = train("--config-dir", str(own), "model=cgan", "model/discriminator=patchgan", *pictures, cwd=tmp_path)
    assert shown.stderr.startswith("error: model/discriminator=patchgan does not fit model=cgan")
    assert shown.stderr.endswith("model/discriminator=projected or model/discriminator=r3gan\n")
    shown = train("--config-dir", str(own), *pictures, cwd=tmp_path)
    assert shown.stderr.endswith("use data=colour or data=lattice or data=mine or data=pairs\n")


class Deaf(nn.Module):
    """A discriminator that is told no class."""

    def __init__(self, *, in_channels: int, size: int):
        super().__init__()
        self.linear = nn.Linear(in_channels * size * size, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1)).squeeze(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model=sgan", "model.discriminator.outputs=1"], "DCGANDiscriminator returns 1 for each picture, and Semi"),
        (["model=sgan", "model.discriminator.outputs=3"], "returns 3 for each picture, and SemiSupervisedGAN takes 2"),
        (["model=wgan", "model.discriminator.outputs=2"], "returns 2 for each picture, and LatentGAN takes 1 for each"),
        (["model=dcgan", "model.discriminator.size=64"], "model.discriminator: DCGANDiscriminator takes no such pict"),
        (["model=dcgan", "model.discriminator._target_=test_choices.Deaf"], "test_choices.Deaf has no such setting"),
    ],
)
def test_a_discriminator_that_returns_something_else_is_one_sentence(
    configured, folders, tmp_path, overrides, sentence
):
    with pytest.raises(SystemExit) as stopped:
        start(configured([*overrides_for("image_folder", folders), "data.batch_size=2", *overrides]))
    assert sentence in stopped.value.code and "\n" not in stopped.value.code
    assert not (tmp_path / "run/checkpoints").exists()


def test_a_discriminator_that_is_told_no_class_is_one_sentence(configured, folders):
    config = configured([*overrides_for("image_folder", folders), "data.batch_size=2", "model=cgan"])
    config.model.discriminator = {"_target_": "test_choices.Deaf", "in_channels": 3, "size": 32}
    with pytest.raises(
        UserError, match=r"^model\.discriminator: Deaf takes no such pictures or classes \(.*positional"
    ):
        run(config)


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("model.objective.path=ganforge.objectives.hinge", "model/objective=hinge"),
        ("model.objective.path=ganforge.game.objectives.hing", "model/objective=hinge"),
        ("model.objective.path=ganforge.objectives.vanilla,ganforge.objectives.hinge", "model/objective=vanilla,hinge"),
        ("model.generator._target_=ganforge.networks.ResNetGenerator", "model/generator=resnet"),
        ("model.discriminator._target_=ganforge.networks.mlp.MLPDiscriminator", "model/discriminator=mlp"),
        ("+model.augment._target_=ganforge.game.augment.DiffAugment", "model/augment=diff"),
        ("tuned=null", "tuned=none"),
        ("experiment=null", "~experiment"),
    ],
)
def test_the_path_of_a_choice_is_answered_with_its_name(typed, written):
    with pytest.raises(UserError, match=f"^{re.escape(typed)}: .* is written {re.escape(written)}$"):
        check_arguments([typed])


def test_paths_of_others_stay_possible():
    check_arguments(["model.objective.path=mine.hinge", "model.generator._target_=mine.UNet", "model.penalties.r1=5"])


@pytest.mark.slow
@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in PARTS for choice in choices()[group]])
def test_every_choice_of_a_part_trains(configured, folders, tmp_path, group, choice):
    chosen = configured([f"{group}={choice}", "model=dcgan"] if group != "model/augment" else ["model=dcgan"])
    translates = "source_channels" in str(OmegaConf.to_container(chosen.model, resolve=False))
    if translates:
        small = [s for s in [*TINY_PIX2PIX, *overrides_for("pairs", folders)] if "base_channels" not in s]
    elif choice == "stargan":
        small = [*overrides_for_model("stargan"), *overrides_for("domains", folders)]
    else:
        small = [s for s in [*overrides_for_model("dcgan"), *overrides_for("image_folder", folders)]
                 if "base_channels" not in s]  # fmt: skip
    if choice == "projected":
        torch.save(SqueezeNet(bgr=False).state_dict(), tmp_path / "squeezenet.pth")
        small.append(f"model.discriminator.weights={tmp_path / 'squeezenet.pth'}")
    if choice == "multiscale":
        small.append("model.discriminator.layers=1")  # of 16 px too
    run(configured([*small, f"{group}={choice}"]))
    assert (tmp_path / "run/results.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("objective", choices()["model/objective"])
def test_a_translation_trains_with_every_objective(configured, folders, tmp_path, objective):
    run(configured([f"model/objective={objective}", *TINY_PIX2PIX, *overrides_for("pairs", folders)]))
    assert (tmp_path / "run/results.json").is_file()


@pytest.mark.slow
def test_pictures_too_small_for_the_discriminator_of_pairs_are_refused(configured, tmp_path):
    tiny = ["data=lattice", "data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.discriminator.layers=6"]
    with pytest.raises(UserError, match=r"PatchGAN takes no such pictures .* 64×64 px; a larger data.size"):
        run(configured([*tiny, "trainer.accelerator=cpu"]))
