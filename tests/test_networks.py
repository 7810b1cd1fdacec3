"""Networks: published sizes, receptive fields, sizes they take, inference with a norm mode."""

import pytest
import torch
from torch import nn

from ganforge.errors import UserError
from ganforge.networks import PatchGAN, ResNetGenerator, UNet
from ganforge.networks.layers import infer, receptive_field


def millions(network: nn.Module) -> float:
    return round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 3)


def test_parameters_are_those_that_the_authors_code_prints():
    # junyanz/pytorch-CycleGAN-and-pix2pix prints these (batch norm; for resnet_9blocks instance norm).
    assert millions(UNet(in_channels=3, out_channels=3, size=256)) == 54.414
    assert millions(PatchGAN(in_channels=6)) == 2.769
    assert millions(ResNetGenerator(in_channels=3, out_channels=3, size=128, norm="instance")) == 7.838  # 6 blocks
    assert millions(ResNetGenerator(in_channels=3, out_channels=3, size=256, norm="instance")) == 11.378


def test_patchgan_sees_70_pixels():
    network = PatchGAN(in_channels=1, base_channels=4, norm="none")
    assert receptive_field(network) == 70
    picture = torch.randn(1, 1, 256, 256, requires_grad=True)
    logits = network(picture)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    rows = picture.grad[0, 0].abs().sum(dim=1).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 70


@pytest.mark.parametrize(("size", "depth"), [(256, 8), (128, 7), (64, 6), (512, 8), (1024, 8)])
def test_unet_depth_follows_the_size(size, depth):
    assert UNet(in_channels=1, out_channels=1, size=size, base_channels=1).depth == depth


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("size", [(64, 64), (50, 37), (7, 90)])
def test_generators_keep_any_size_and_range(norm, size):
    for network in (
        UNet(in_channels=1, out_channels=3, size=64, base_channels=2, depth=5, norm=norm),
        ResNetGenerator(in_channels=1, out_channels=3, size=64, base_channels=2, depth=1, norm=norm),
    ):
        images = network(torch.rand(2, 1, *size) * 2 - 1)
        assert images.shape == (2, 3, *size)
        assert images.abs().max() <= 1


def test_dilated_blocks_see_farther():
    reach = {}
    for dilations in ((1,), (1, 2)):
        network = ResNetGenerator(
            in_channels=1, out_channels=1, size=256, base_channels=2, depth=2, norm="none", dropout=0.0,
            dilations=dilations,
        )  # fmt: skip
        with torch.no_grad():
            for parameter in network.parameters():  # positive ones: nothing cancels, and no unit is silent
                parameter.abs_()
        source = torch.ones(1, 1, 256, 256, requires_grad=True)
        network(source)[0, 0, 128, 128].backward()
        rows = source.grad[0, 0].sum(dim=1).nonzero().flatten()
        reach[dilations] = (rows.max() - rows.min() + 1).item()
    # Both convolutions of the second block: a pixel more on both sides, of the quarter as many that there are.
    assert reach[1, 2] == reach[1,] + 2 * 2 * 4


@pytest.mark.parametrize("dilations", [(), (0,), (1, 2.5), (64,)])
def test_dilations_are_whole_numbers_that_fit(dilations):
    with pytest.raises(UserError, match=r"model\.generator\.dilations="):
        ResNetGenerator(in_channels=1, out_channels=1, size=256, base_channels=2, dilations=dilations)


def test_skips_carry_detail_past_the_bottleneck():
    network = UNet(in_channels=1, out_channels=1, size=32, base_channels=4, norm="none", dropout=0.0)
    nn.init.zeros_(network.up[0][1].weight)  # nothing comes out of the innermost level
    one, other = torch.rand(2, 1, 1, 32, 32)
    assert not torch.allclose(network(one), network(other))


def test_a_size_that_the_unet_cannot_take_is_refused_with_a_remedy():
    with pytest.raises(UserError, match=r"data\.size=200 is not a multiple of 128.*use 256 or model.generator.depth=3"):
        UNet(in_channels=1, out_channels=1, size=200)
    with pytest.raises(UserError, match="norm='group'"):
        UNet(in_channels=1, out_channels=1, size=32, norm="group")
    with pytest.raises(UserError, match=r"base_channels=0"):
        PatchGAN(in_channels=1, base_channels=0)


def noisy_unet() -> UNet:
    torch.manual_seed(0)
    network = UNet(in_channels=1, out_channels=1, size=64, base_channels=2)
    for _ in range(3):
        network(torch.randn(4, 1, 64, 64))
    return network


def test_norm_mode_running_is_evaluation_mode():
    network = noisy_unet()
    pictures = torch.randn(3, 1, 64, 64)
    images = infer(network, pictures, "running")
    assert network.training
    assert torch.equal(images, network.eval()(pictures))


def test_norm_mode_batch_uses_each_pictures_own_statistics_and_noise():
    network = noisy_unet()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pictures = torch.randn(3, 1, 64, 64)
    images = infer(network, pictures, "batch")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(images[1:2], infer(network, pictures[1:2], "batch"))  # no picture depends on its neighbours
    torch.manual_seed(0)
    assert torch.equal(images[:1], network.train()(pictures[:1]))  # statistics and dropout as in training
    assert not torch.allclose(images, infer(network, pictures, "running"))
    with pytest.raises(UserError, match="norm_mode='train'"):
        infer(network, pictures, "train")


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_single_picture_has_the_gradient_that_it_has_among_others(memory_format):
    """torch's own instance norm gives another one for a single picture in channels_last."""
    torch.manual_seed(0)
    network = ResNetGenerator(in_channels=3, out_channels=3, size=16, base_channels=4, depth=1, norm="instance")
    network = network.double().eval().to(memory_format=memory_format)
    picture = torch.randn(1, 3, 16, 16, dtype=torch.double).contiguous(memory_format=memory_format)
    weights = torch.randn_like(picture)
    found = []
    for pictures in (picture, picture.repeat(2, 1, 1, 1).contiguous(memory_format=memory_format)):
        network.zero_grad()
        (network(pictures) * weights).sum().div(len(pictures)).backward()
        found.append([parameter.grad.clone() for parameter in network.parameters()])
    for alone, among in zip(*found, strict=True):
        torch.testing.assert_close(alone, among, rtol=1e-8, atol=1e-8)
