"""R3GAN's networks: shapes, initial values, gradients, classes, sizes that they take."""

import pytest
import torch
from torch import nn

from ganforge.errors import UserError
from ganforge.networks.r3gan import Block, Downsample, R3GANDiscriminator, R3GANGenerator, Upsample

SMALL = {"blocks": 1, "group_width": 4}


def small(size: int = 32, n_classes: int | None = None) -> tuple[R3GANGenerator, R3GANDiscriminator]:
    stages = {14: 2, 28: 3, 32: 4, 64: 5}[size]
    settings = {"size": size, "widths": [8] * (stages - 1) + [4], "n_classes": n_classes, **SMALL}
    return R3GANGenerator(latent_dim=6, out_channels=3, **settings), R3GANDiscriminator(in_channels=3, **settings)


def perturb(*networks: nn.Module) -> None:
    """Away from the initial zeros."""
    torch.manual_seed(1)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_with_the_default_widths(size, channels):
    torch.manual_seed(0)
    generator = R3GANGenerator(latent_dim=64, out_channels=channels, size=size)
    discriminator = R3GANDiscriminator(in_channels=channels, size=size)
    with torch.no_grad():
        images = generator(torch.randn(2, 64))
        assert images.shape == (2, channels, size, size)
        assert discriminator(images).shape == (2,)
        assert discriminator(images[:1]).shape == (1,)
    assert 0.2 < images.std() < 2  # of the size of images
    assert 1e6 < parameters(generator) < 5e6 and 1e6 < parameters(discriminator) < 5e6


def test_parameters_are_as_many_as_the_layers_have():
    # One block of width 8, inside 16 in 4 groups: 8 * 16 + 16, 16 * 4 * 9 + 16, 16 * 8; of width 4, inside 8 in 2
    # groups: 4 * 8 + 8, 8 * 4 * 9 + 8, 8 * 4. From 7 px to 14 px.
    blocks = (8 * 16 + 16) + (16 * 4 * 9 + 16) + 16 * 8 + (4 * 8 + 8) + (8 * 4 * 9 + 8) + 8 * 4
    generator, discriminator = small(14)
    assert parameters(generator) == 8 * 7 * 7 + 6 * 8 + blocks + 8 * 4 + (4 * 3 + 3)
    assert parameters(discriminator) == (3 * 4 + 4) + blocks + 4 * 8 + 8 * 7 * 7 + 8


def test_initial_weights_depend_on_the_seed_alone():
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        states.append([p for network in small() for p in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(states[0], states[1], strict=True))
    assert not torch.equal(states[0][0], states[2][0])


def test_a_block_starts_as_the_identity_with_a_branch_scaled_for_the_depth():
    torch.manual_seed(0)
    block = Block(256, depth=16, expansion=2, group_width=16)
    x = torch.randn(2, 256, 4, 4)
    assert torch.equal(block(x), x)
    # sqrt(2 / 1.04) of He et al. for a slope of 0.2, times 16^(-1/4) = 1/2, over the root of 256 and 16 * 9 inputs.
    assert block.branch[0].weight.std().item() == pytest.approx(1.3868 / 2 / 16, rel=0.02)
    assert block.branch[2].weight.std().item() == pytest.approx(1.3868 / 2 / 12, rel=0.02)
    assert block.branch[2].groups == 512 // 16


def test_downsampling_is_the_filter_of_the_paper():
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.conv2d(
        images, (taps[:, None] * taps).expand(3, 1, 4, 4), stride=2, padding=1, groups=3
    )
    torch.testing.assert_close(Downsample(3, 3)(images), expected)


def test_resampling_keeps_a_plane_and_removes_a_checkerboard():
    plane = torch.full((1, 2, 8, 8), 0.7)
    checkerboard = ((torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1).expand(1, 2, 8, 8)
    torch.testing.assert_close(Downsample(2, 2)(plane)[..., 1:-1, 1:-1], torch.full((1, 2, 2, 2), 0.7))
    torch.testing.assert_close(Upsample(2, 2)(plane), torch.full((1, 2, 16, 16), 0.7))
    # Every second pixel of a checkerboard would be a plane of 1; at the border 2 x 3 pixels do not cancel.
    assert Downsample(2, 2)(checkerboard)[..., 1:-1, 1:-1].abs().max() < 1e-6
    # Bilinear: a quarter of the way and three quarters, inside the border.
    ramp = Upsample(1, 1)(torch.tensor([0.0, 1.0]).expand(1, 1, 2, 2))[0, 0, 0]
    torch.testing.assert_close(ramp, torch.tensor([0.0, 0.25, 0.75, 1.0]))


@pytest.mark.parametrize("n_classes", [None, 3])
def test_gradients_reach_every_parameter(n_classes):
    torch.manual_seed(0)
    generator, discriminator = small(n_classes=n_classes)
    perturb(generator, discriminator)
    label = torch.tensor([0, 1, 2, 0]) if n_classes else None
    discriminator(generator(torch.randn(4, 6), label), label).square().sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_gradient_penalty_reaches_the_discriminators_blocks():
    torch.manual_seed(0)
    discriminator = small()[1]
    perturb(discriminator)
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    (slopes,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    slopes.square().sum().backward()
    for name, parameter in discriminator.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_images_depend_on_their_latent_and_on_nothing_else():
    torch.manual_seed(0)
    generator, discriminator = small()
    perturb(generator, discriminator)
    z = torch.randn(4, 6)
    images = generator(z)
    assert not torch.allclose(images[0], images[1])
    torch.testing.assert_close(generator(z[:1]), images[:1])
    # Neither statistics of the batch nor the neighbours: the same logit alone, among others, and in evaluation.
    logits = discriminator(images)
    torch.testing.assert_close(discriminator(images[:1]), logits[:1])
    torch.testing.assert_close(discriminator(torch.cat([images[:1], 9 * images[1:]]))[:1], logits[:1])
    torch.testing.assert_close(discriminator.eval()(images), logits)
    assert not torch.allclose(logits[0], logits[1])


def test_the_output_is_linear():
    torch.manual_seed(0)
    generator = small()[0]
    with torch.no_grad():
        generator.to_image.weight.mul_(100)
        assert generator(torch.randn(2, 6)).abs().max() > 1


def test_classes_change_images_and_logits():
    torch.manual_seed(0)
    generator, discriminator = small(n_classes=3)
    z = torch.randn(1, 6).expand(3, -1)
    images = generator(z, torch.tensor([0, 1, 1]))
    assert torch.equal(images[1], images[2])
    assert not torch.allclose(images[0], images[1])
    same = images[:1].expand(3, -1, -1, -1)
    logits = discriminator(same, torch.arange(3))
    assert logits.shape == (3,) and len(set(logits.tolist())) == 3
    # An inner product with the embedding: twice the embedding is twice the logit.
    with torch.no_grad():
        discriminator.embedding.weight.mul_(2)
    torch.testing.assert_close(discriminator(same, torch.arange(3)), 2 * logits)


@pytest.mark.parametrize(("size", "near"), [(30, 28), (100, 112), (48, 56), (4, 8), (7, 8), (3, 8)])
def test_a_size_that_is_no_doubling_is_refused_with_a_near_one(size, near):
    with pytest.raises(UserError, match=rf"data\.size={size}: .*data\.size={near}$"):
        R3GANGenerator(latent_dim=4, out_channels=1, size=size)
    with pytest.raises(UserError, match=rf"data\.size={size}"):
        R3GANDiscriminator(in_channels=1, size=size)


@pytest.mark.parametrize("size", [8, 14, 16, 56, 128, 256])
def test_other_doublings_are_accepted(size):
    generator = R3GANGenerator(latent_dim=4, out_channels=1, size=size, blocks=1)
    with torch.no_grad():
        assert generator(torch.randn(1, 4)).shape == (1, 1, size, size)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"widths": [32, 32]}, r"widths=\[32, 32\]: data\.size=32 has 4 stages \(4 to 32 px\); give 4 widths"),
        ({"widths": [32, 32, 32, 12]}, r"12 \* expansion=2 is not a multiple of group_width=16; use multiples of 8"),
        ({"widths": [32, 32, 32, 0]}, r"widths=\[32, 32, 32, 0\]"),
        ({"blocks": 0}, r"blocks=0: 1 or more"),
        ({"expansion": 0}, r"expansion=0: 1 or more"),
        ({"group_width": 0}, r"group_width=0: 1 or more"),
        ({"n_classes": 1}, r"n_classes=1: 2 or more"),
    ],
)
def test_wrong_values_are_refused(wrong, sentence):
    with pytest.raises(UserError, match=r"model\.generator\..*" + sentence):
        R3GANGenerator(latent_dim=4, out_channels=1, **{"size": 32, **wrong})
    with pytest.raises(UserError, match=r"model\.discriminator\..*" + sentence):
        R3GANDiscriminator(in_channels=1, **{"size": 32, **wrong})
