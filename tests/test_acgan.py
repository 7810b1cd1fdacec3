"""model=acgan: a discriminator that names the class too."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from conftest import overrides_for
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.objectives import vanilla
from ganforge.game.schedules import ConstantThenLinear
from ganforge.networks import DCGANDiscriminator, DCGANGenerator
from ganforge.systems import AuxiliaryClassifierGAN

CLASSES = 3


def system(**more) -> AuxiliaryClassifierGAN:
    torch.manual_seed(0)
    schedule = ConstantThenLinear(decay_from=None)
    return AuxiliaryClassifierGAN(
        generator=DCGANGenerator(latent_dim=6, out_channels=1, size=8, base_channels=4, n_classes=CLASSES),
        discriminator=DCGANDiscriminator(in_channels=1, size=8, base_channels=4, norm="none", outputs=1 + CLASSES),
        objective=vanilla, latent_dim=6, optimizer_g=partial(torch.optim.SGD, lr=0.1),
        optimizer_d=partial(torch.optim.SGD, lr=0.1), schedule_g=schedule, schedule_d=schedule, **more,
    )  # fmt: skip


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_terms_are_those_of_a_plain_loop(weight):
    gan = system(class_weight=weight)
    gan.log_mean = lambda name, value: None
    batch = {"image": torch.randn(6, 1, 8, 8), "label": torch.tensor([0, 1, 2, 0, 1, 2]), "z": torch.randn(6, 6)}
    images = gan.generate(batch)
    real, fake = gan.discriminator(batch["image"]), gan.discriminator(images["fake"])
    ones, zeros = torch.ones(6), torch.zeros(6)
    says = binary_cross_entropy_with_logits
    found = gan.d_losses(batch, images)
    expected = says(real[:, 0], ones) + says(fake[:, 0], zeros)
    torch.testing.assert_close(found["adv"], expected, rtol=1e-6, atol=1e-6)
    named = (cross_entropy(real[:, 1:], batch["label"]) + cross_entropy(fake[:, 1:], batch["label"])) / 2
    torch.testing.assert_close(found["class"], weight * named, rtol=1e-6, atol=1e-6)
    found = gan.g_losses(batch, images)
    torch.testing.assert_close(found["adv"], says(fake[:, 0], ones), rtol=1e-6, atol=1e-6)
    asked = weight * cross_entropy(fake[:, 1:], batch["label"])
    torch.testing.assert_close(found["class"], asked, rtol=1e-6, atol=1e-6)


def test_the_class_moves_the_generator():
    gan = system()
    gan.log_mean = lambda name, value: None
    batch = {"image": torch.randn(3, 1, 8, 8), "label": torch.arange(3), "z": torch.randn(3, 6)}
    gan.g_losses(batch, gan.generate(batch))["class"].backward()
    assert all(p.grad is not None for p in gan.generator.parameters())
    assert any(isinstance(module, nn.Embedding) for module in gan.generator.modules())


def test_a_discriminator_of_another_number_of_outputs_is_refused(configured, folders):
    small = ["model=acgan", "model.generator.base_channels=4", "model.discriminator.base_channels=4"]
    small += ["data.batch_size=4", "data.num_workers=0", "model.discriminator.outputs=2"]
    with pytest.raises(UserError, match=r"returns 2 for each picture, and AuxiliaryClassifierGAN takes 3 for each"):
        run(configured([*overrides_for("image_folder", folders), *small]))


@pytest.mark.parametrize(("name", "value"), [("class_weight", -1), ("unroll_steps", 2)])
def test_settings_that_mean_nothing(name, value):
    with pytest.raises(UserError, match=f"model.{name}={value}"):
        system(**{name: value})
