"""Networks for images from noise, against published counts and numbers worked out by hand."""

import pytest
import torch

from ganforge.errors import UserError
from ganforge.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from ganforge.networks.conditioning import Head, with_minibatch_std


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_fully_connected_networks_have_the_published_layers():
    generator, discriminator = MLPGenerator(latent_dim=100, out_channels=1, size=28), MLPDiscriminator(
        in_channels=1, size=28
    )  # fmt: skip
    linear = lambda a, b: a * b + b  # noqa: E731
    norms = 2 * (512 + 1024)
    assert count(generator) == linear(100, 256) + linear(256, 512) + linear(512, 1024) + linear(1024, 784) + norms
    assert count(discriminator) == linear(784, 512) + linear(512, 256) + linear(256, 1)
    momenta = [m.momentum for m in generator.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert momenta == pytest.approx([0.2, 0.2])  # the share of the new batch where 0.8 is kept
    assert generator(torch.randn(4, 100)).shape == (4, 1, 28, 28)


def test_dcgan_has_the_published_parameters():
    """PyTorch's DCGAN example at 64 px: 3,576,704 and 2,765,568; ours projects by a linear layer of the same size."""
    assert count(DCGANGenerator(latent_dim=100, out_channels=3, size=64)) == 3_576_704 + 3  # and a last bias
    # The example has no bias anywhere; ours has one in the first convolution (64) and in the last layer (1).
    assert count(DCGANDiscriminator(in_channels=3, size=64)) == 2_765_568 + 64 + 1


@pytest.mark.parametrize("size", [8, 14, 28, 32, 64, 128])
@pytest.mark.parametrize(
    "options", [{}, {"kernel_size": 5, "refine": True}, {"hidden": 16}, {"upsample": "nearest"}, {"upsample": "blur"}]
)
def test_shapes(size, options):
    generator = DCGANGenerator(latent_dim=5, out_channels=3, size=size, base_channels=2, **options)
    shared = {name: value for name, value in options.items() if name not in ("refine", "upsample")}
    discriminator = DCGANDiscriminator(in_channels=3, size=size, base_channels=2, **shared)
    images = generator(torch.randn(3, 5))
    assert images.shape == (3, 3, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (3,)
    assert DCGANDiscriminator(in_channels=3, size=size, base_channels=2, outputs=4)(images).shape == (3, 4)


def test_the_28_px_variant_starts_with_7x7x256():
    generator = DCGANGenerator(latent_dim=100, out_channels=1, size=28, kernel_size=5, refine=True)
    assert generator.start == (256, 7, 7)
    shapes = []
    for layer in generator.layers:
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
            assert layer.kernel_size == (5, 5)
    generator(torch.randn(2, 100))
    assert shapes == [(128, 7, 7), (64, 14, 14), (1, 28, 28)]


def test_an_upsampling_that_is_not_known():
    with pytest.raises(UserError, match=r"model\.generator\.upsample=cubic: choose one of transposed, nearest, blur"):
        DCGANGenerator(latent_dim=5, out_channels=1, size=16, upsample="cubic")


@pytest.mark.parametrize(("size", "near"), [(30, 28), (100, 112), (200, 224)])
def test_sizes_that_are_no_doublings_name_the_nearest(size, near):
    with pytest.raises(UserError, match=rf"data\.size={size}.*use data\.size={near}"):
        DCGANGenerator(latent_dim=5, out_channels=1, size=size)


def test_minibatch_std_by_hand():
    """Four images in a group: the deviations of each feature, averaged, are one more feature of each of them."""
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    seen = with_minibatch_std(features)
    assert torch.equal(seen[:, :2], features)
    assert seen[:, 2].tolist() == pytest.approx([(1 + 2) / 2] * 4, abs=1e-4)
    planes = with_minibatch_std(torch.randn(6, 5, 2, 2))  # groups of 3
    assert planes.shape == (6, 6, 2, 2)
    same = with_minibatch_std(torch.ones(4, 3, 2, 2))[:, 3]
    assert same.abs().max() < 1e-3  # copies give themselves away


def test_the_projection_is_an_inner_product_with_the_class():
    head = Head(features=3, positions=4, minibatch_std=False, n_classes=2)
    features = torch.randn(5, 3, 2, 2)
    label = torch.tensor([0, 1, 1, 0, 1])
    expected = features.flatten(1) @ head.linear.weight[0] + head.linear.bias
    expected = expected + (features.sum((2, 3)) * head.embedding.weight[label]).sum(1) / features.shape[1] ** 0.5
    torch.testing.assert_close(head(features, label), expected)


@pytest.mark.parametrize(
    "network",
    [
        DCGANDiscriminator(in_channels=1, size=16, base_channels=4, spectral_norm=True, n_classes=3),
        MLPDiscriminator(in_channels=1, size=16, widths=[8], spectral_norm=True, n_classes=3),
    ],
    ids=["dcgan", "mlp"],
)
def test_spectral_norm_makes_the_largest_singular_value_one(network):
    images = torch.randn(4, 1, 16, 16)
    for _ in range(50):  # the power iteration takes one step a forward
        network(images, torch.tensor([0, 1, 2, 0]))
    network.eval()
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear | torch.nn.Embedding)]
    assert len(layers) >= 3
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
