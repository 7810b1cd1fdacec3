"""model=progan: networks that grow by images seen."""

import copy
import os
import signal

import pytest
import torch
from hydra.errors import InstantiationException

import killing
from conftest import overrides_for
from ganforge.callbacks import Interrupted
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.growth import Growth
from ganforge.networks import ProGANDiscriminator, ProGANGenerator
from ganforge.networks.progan import EqualizedConv, EqualizedLinear, pixel_norm
from ganforge.runs import checkpoint
from ganforge.systems import ProgressiveGAN

SMALL = [
    "model=progan", "model.latent_dim=8", "model.generator.base_channels=4", "model.discriminator.base_channels=4",
    "model.generator.max_channels=8", "model.discriminator.max_channels=8", "data.batch_size=4", "data.num_workers=0",
    "data.size=16", "data.n_val=4", "data.n_test=4", "model.growth.fade=8", "model.growth.stable=4",
    "trainer.check_val_every_n_epoch=1",
]  # fmt: skip


def networks(size: int = 32, **more):
    torch.manual_seed(0)
    settings = {"size": size, "base_channels": 6, "max_channels": 20, **more}
    generator = ProGANGenerator(latent_dim=8, out_channels=3, **settings)
    return generator, ProGANDiscriminator(in_channels=3, **settings)


def test_parameters_are_those_of_the_paper():
    generator = ProGANGenerator(latent_dim=512, out_channels=3, size=1024)
    discriminator = ProGANDiscriminator(in_channels=3, size=1024)
    for network in (
        generator,
        discriminator,
    ):  # 23.1 M each in table 2, with the to-RGB layer of the finest level alone
        used = [p for name, p in network.named_parameters() if "images." not in name or "images.8." in name]
        assert round(sum(p.numel() for p in used) / 1e6, 1) == 23.1
    assert generator.widths == [512, 512, 512, 512, 256, 128, 64, 32, 16]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_level_that_is_not_faded_in_yet_is_the_one_before(level):
    generator, discriminator = networks()
    z, images = torch.randn(4, 8), torch.randn(4, 3, 32, 32)
    found = []
    for phase in ((level - 1, 1.0), (level, 0.0)):
        generator.grow(*phase)
        discriminator.grow(*phase)
        found.append((generator(z), discriminator(images)))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_that_is_whole_is_a_network_of_its_size(level):
    generator, discriminator = networks()
    size = 4 * 2**level
    small = networks(size, base_channels=generator.widths[level])
    for network, whole in zip(small, (generator, discriminator), strict=True):
        own = {name: value for name, value in whole.state_dict().items() if name in network.state_dict()}
        network.load_state_dict(own | {"phase": torch.tensor([level, 1.0])})
    generator.grow(level, 1.0)
    discriminator.grow(level, 1.0)
    z, images = torch.randn(4, 8), torch.randn(4, 3, size, size)
    torch.testing.assert_close(
        generator(z), small[0](z).repeat_interleave(32 // size, 2).repeat_interleave(32 // size, 3)
    )
    enlarged = images.repeat_interleave(32 // size, 2).repeat_interleave(32 // size, 3)
    torch.testing.assert_close(discriminator(enlarged), small[1](images))


def test_half_faded_in_is_the_mean_of_both_images():
    generator, _ = networks()
    z = torch.randn(4, 8)
    found = {}
    for alpha in (0.0, 0.5, 1.0):
        generator.grow(2, alpha)
        found[alpha] = generator(z)
    torch.testing.assert_close(found[0.5], (found[0.0] + found[1.0]) / 2)


def test_levels_that_are_not_used_take_no_gradient():
    generator, discriminator = networks()
    generator.grow(1, 0.5)
    discriminator.grow(1, 0.5)
    discriminator(generator(torch.randn(4, 8))).sum().backward()
    moved = {name.split(".")[1] for name, p in generator.named_parameters() if p.grad is not None and "blocks" in name}
    assert moved == {"0", "1"}
    moved = {
        name.split(".")[1] for name, p in discriminator.named_parameters() if p.grad is not None and "from" in name
    }
    assert moved == {"0", "1"}


@torch.no_grad()
def test_equalized_layers_keep_the_variance():
    torch.manual_seed(0)
    for layer, shape in ((EqualizedConv(64, 64), (8, 64, 16, 16)), (EqualizedLinear(256, 64), (512, 256))):
        assert layer.weight.std() == pytest.approx(1, abs=0.03)
        inside = layer(torch.randn(shape))[..., 1:-1, 1:-1] if len(shape) == 4 else layer(torch.randn(shape))
        assert inside.std() == pytest.approx(2**0.5, rel=0.05)
    assert pixel_norm(torch.randn(2, 16, 3, 3)).square().mean(dim=1).sub(1).abs().max() < 1e-5


def test_phase_is_a_function_of_images_seen():
    growth = Growth(fade=10, stable=20)
    found = [growth.at(images, 3) for images in (0, 19, 20, 25, 30, 49, 50, 55, 60, 10_000)]
    assert [level for level, _ in found] == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert [alpha for _, alpha in found] == [1, 1, 0, 0.5, 1, 1, 0, 0.5, 1, 1]
    assert growth.full_from(3) == 60
    with pytest.raises(UserError, match=r"model.growth.fade=0: images, 1 or more"):
        Growth(fade=0)


def test_a_loaded_network_is_in_the_phase_that_was_saved():
    generator, _ = networks()
    other = copy.deepcopy(generator)
    generator.grow(1, 0.25)
    other.load_state_dict(generator.state_dict())
    assert other.now() == (1, 0.25) and torch.equal(other(torch.ones(1, 8)), generator(torch.ones(1, 8)))
    other.load_state_dict({**generator.state_dict(), "phase": torch.tensor([99.0, 7.0])})
    assert other.now() == (3, 1.0)  # of someone else's file


@pytest.mark.slow
@pytest.mark.parametrize("images", [12, 16, 24])  # as a level begins, half faded in, when the last one begins
def test_a_run_that_is_stopped_while_it_grows_ends_the_same(configured, folders, tmp_path, monkeypatch, images):
    settings = [*overrides_for("image_folder", folders), *SMALL, "trainer.max_epochs=4", "trainer.accelerator=cpu"]
    run(configured(settings, "whole"))
    train = ProgressiveGAN.training_step

    def step(self, *arguments):
        train(self, *arguments)
        if self.images_seen == images:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ProgressiveGAN, "training_step", step)
    with pytest.raises(Interrupted):
        run(configured(settings))
    monkeypatch.undo()
    run(configured([*settings, "resume=true"]))
    killing.same(tmp_path / "whole", tmp_path / "run")
    last = checkpoint.load(tmp_path / "whole/checkpoints/last.ckpt")
    assert last["state_dict"]["generator.phase"].tolist() == [2.0, 1.0]


def test_optimizers_begin_anew_at_each_level(configured, folders, tmp_path):
    run(configured([*overrides_for("image_folder", folders), *SMALL, "trainer.max_epochs=4", "model.d_steps=2"]))
    last = checkpoint.load(tmp_path / "run/checkpoints/last.ckpt")
    assert last["ganforge"]["images_seen"] == 64
    for optimizer, every in zip(last["optimizer_states"], (1, 2), strict=True):
        steps = {state["step"].item() for state in optimizer["state"].values()}
        assert max(steps) == (64 - 16) / 4 / every  # the last level begins at 16 images


def test_a_training_too_short_to_be_whole_says_so(configured, folders, capsys):
    run(configured([*overrides_for("image_folder", folders), *SMALL, "trainer.max_epochs=1"]))
    said = capsys.readouterr().out
    assert "grows from 4 px to 16 px, whole from image 24 on" in said
    assert "warning: this training sees" in said


def test_networks_that_do_not_grow_are_refused(configured, folders):
    settings = [one for one in SMALL if "generator." not in one]
    with pytest.raises(
        InstantiationException, match=r"model.generator: DCGANGenerator does not grow; use model/generator=progan"
    ):
        run(configured([*overrides_for("image_folder", folders), *settings, "model/generator=dcgan"]))
