"""model/discriminator=projected: critics on features of a network that is not trained."""

import copy
import shutil
from functools import partial

import pytest
import torch
from hydra.errors import InstantiationException
from torch.nn import functional
from torch.nn.functional import relu

from conftest import Rows, TinyImages, overrides_for
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.augment import DiffAugment
from ganforge.game.objectives import hinge
from ganforge.game.schedules import ConstantThenLinear
from ganforge.networks import DCGANGenerator, ProjectedDiscriminator
from ganforge.networks.squeezenet import SqueezeNet
from ganforge.runs import checkpoint
from ganforge.systems import LatentGAN

SIZE = 16


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of SqueezeNet."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(SqueezeNet(bgr=False).state_dict(), path)
    return path


def projected(weights, seed: int = 0, **more) -> ProjectedDiscriminator:
    torch.manual_seed(seed)
    return ProjectedDiscriminator(**{"in_channels": 1, "size": SIZE, "weights": weights, "base_channels": 4, **more})


def test_features_are_mixed_over_channels_and_from_coarse_to_fine(weights):
    critic, images = projected(weights), torch.rand(2, 1, SIZE, SIZE) * 2 - 1
    network = critic._frozen[0]
    maps = [network.maps((images + 1) * 127.5)[place] for place in (0, 1, 2, 6)]
    assert [tuple(x.shape[1:]) for x in maps] == [(64, 31, 31), (128, 15, 15), (256, 7, 7), (512, 3, 3)]
    mixed = [
        torch.einsum("bchw,dc->bdhw", x / scale, getattr(critic, f"mix_{depth}")[:, :, 0, 0])
        for depth, (x, scale) in enumerate(zip(maps, (50, 110, 90, 10), strict=True))
    ]
    assert [x.shape[1] for x in mixed] == [4, 8, 16, 32]
    expected, before = [], None
    for depth in (3, 2, 1, 0):
        x = mixed[depth]
        if before is not None:
            x = (x + functional.interpolate(before, x.shape[2:], mode="bilinear", align_corners=False)) / 2**0.5
        before = torch.einsum("bchw,dc->bdhw", x, getattr(critic, f"blend_{depth}")[:, :, 0, 0])
        expected.insert(0, before)
    for found, wanted in zip(critic.project(images), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    # What enlarging does with a 1 x 1 convolution behind it, it does with one before it.
    fine = functional.interpolate(mixed[3], (7, 7), mode="bilinear", align_corners=False)
    torch.testing.assert_close(
        functional.conv2d(fine, critic.blend_3),
        functional.interpolate(expected[3], (7, 7), mode="bilinear", align_corners=False), rtol=1e-4, atol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("resolution", [None, 100])
def test_every_place_is_judged(weights, resolution):
    critic = projected(weights, resolution=resolution, in_channels=3, n_classes=3)
    images, label = torch.rand(4, 3, SIZE, SIZE), torch.tensor([0, 1, 2, 0])
    logits = critic(images, label)
    assert logits.shape == (4, critic.places)
    assert [x.shape[-1] for x in critic.project(images)] == ([31, 15, 7, 3] if resolution is None else [49, 24, 12, 6])
    critic.eval()
    assert not torch.allclose(critic(images[:1], label[:1]), critic(images[:1], label[1:2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(images, label).isfinite().all()


def test_the_seed_decides_the_mixture_which_is_saved(weights):
    one, again, other = projected(weights), projected(weights), projected(weights, seed=1)
    assert torch.equal(one.mix_0, again.mix_0) and not torch.equal(one.mix_0, other.mix_0)
    other.load_state_dict(one.state_dict())
    images = torch.rand(2, 1, SIZE, SIZE)
    assert torch.equal(other.eval()(images), one.eval()(images))


def test_steps_equal_a_plain_pytorch_loop(fit, weights):
    """And what is frozen stays: gradients pass through the features to the generator, no weight of them moves."""
    torch.manual_seed(0)
    generator = DCGANGenerator(latent_dim=4, out_channels=1, size=SIZE, base_channels=4)
    critic, schedule = projected(weights), ConstantThenLinear(decay_from=None)
    features = copy.deepcopy(critic._frozen[0].state_dict())
    system = LatentGAN(
        generator=copy.deepcopy(generator), discriminator=copy.deepcopy(critic), objective=hinge, latent_dim=4,
        optimizer_g=partial(torch.optim.SGD, lr=0.1), optimizer_d=partial(torch.optim.SGD, lr=0.1),
        schedule_g=schedule, schedule_d=schedule,
    )  # fmt: skip
    assert not any(parameter.shape[:2] == (64, 3) for parameter in system.parameters())
    assert not any("features" in name for name in system.state_dict())
    Rows(system)
    seen, draw = [], system.with_latents

    def drawn(batch):
        seen.append(copy.deepcopy(draw(batch)))
        return seen[-1]

    system.with_latents = drawn
    fit(system, TinyImages(n_train=8, size=SIZE, batch_size=4))
    optimizer_g, optimizer_d = (torch.optim.SGD(own.parameters(), lr=0.1) for own in (generator, critic))
    for batch in seen:
        fake = generator(batch["z"])
        real_logits, fake_logits = critic(batch["image"]), critic(fake.detach())
        optimizer_d.zero_grad()
        (relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()).backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        (-critic(fake).mean()).backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in generator.parameters())
        optimizer_g.step()
    assert len(seen) == 2
    for plain, own in ((generator, system.generator), (critic, system.discriminator)):
        for (name, value), other in zip(plain.state_dict().items(), own.state_dict().values(), strict=True):
            torch.testing.assert_close(
                value, other, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
            )
    network = system.discriminator._frozen[0]
    assert all(torch.equal(features[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def small(folders, weights, *more) -> list[str]:
    return [
        "model=hinge", "model/discriminator=projected", f"model.discriminator.weights={weights}",
        "model/augment=diff", "model.discriminator.base_channels=4", "model.generator.base_channels=4",
        "data.batch_size=4", "data.n_train=8", "data.n_val=4", "data.n_test=4", "trainer.max_epochs=1",
        "trainer.accelerator=cpu", *overrides_for("image_folder", folders), *more,
    ]  # fmt: skip


@pytest.mark.slow
def test_a_training_goes_on_with_the_same_file_alone(configured, folders, tmp_path, weights):
    run(configured(small(folders, weights)))
    last = tmp_path / "run/checkpoints/last.ckpt"
    state = checkpoint.load(last)["state_dict"]
    assert sum(value.numel() for name, value in state.items() if name.startswith("discriminator.")) < 60_000
    moved = shutil.copy(weights, tmp_path / "moved.pth")
    run(configured(small(folders, moved, f"ckpt_path={last}", "trainer.max_epochs=2"), "more"))
    torch.manual_seed(1)
    other = tmp_path / "other.pth"
    torch.save(SqueezeNet(bgr=False).state_dict(), other)
    again = small(folders, other, f"ckpt_path={last}", "trainer.max_epochs=3")
    with pytest.raises(UserError, match=r"other.pth: is not the file that this discriminator was trained with"):
        run(configured(again, "again"))


def test_a_wrong_file_is_refused_by_name(configured, folders, tmp_path, weights):
    noise, network = tmp_path / "noise.pth", tmp_path / "network.pth"
    noise.write_bytes(b"no weights")
    torch.save(torch.nn.Linear(2, 2).state_dict(), network)
    for file, said in (
        ("null", "is not given; the projected discriminator sees by a network that is read from a file"),
        (tmp_path / "missing.pth", "missing.pth: no such file; give a file of SqueezeNet 1.1's weights"),
        (noise, "noise.pth: "),
        (network, "network.pth: holds no weights of SqueezeNet 1.1"),
    ):
        with pytest.raises(InstantiationException, match=rf"model\.discriminator\.weights.*{said}"):
            run(configured(small(folders, file), f"run_{said[:5].strip()}"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"in_channels": 4}, r"model/discriminator=projected: .* have 4 channels; use model/discriminator=dcgan"),
        ({"resolution": 32}, r"model\.discriminator\.resolution=32: px a side, from 64 to 512"),
        ({"base_channels": 0}, r"model\.discriminator\.base_channels=0: 1 or more"),
        ({"n_classes": 1}, r"model\.discriminator\.n_classes=1: 2 or more"),
    ],
)
def test_settings_that_mean_nothing(weights, settings, said):
    with pytest.raises(UserError, match=said):
        projected(weights, **settings)


def test_augmentations_and_classifiers(configured, folders, weights):
    """Gradients go through DiffAugment; what wants logits of classes says that it does not get them."""
    critic = projected(weights)
    images = (torch.rand(2, 1, SIZE, SIZE) * 2 - 1).requires_grad_()
    critic(DiffAugment()(images)).mean().backward()
    assert images.grad.abs().max() > 0
    with pytest.raises(UserError, match="returns 49 for each picture, and AuxiliaryClassifierGAN takes 3 for each"):
        run(configured([*small(folders, weights), "model._target_=ganforge.systems.AuxiliaryClassifierGAN"]))
