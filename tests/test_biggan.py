"""model=sagan and model=biggan: residual networks with self-attention, against published counts and by hand."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from conftest import Rows, TinyImages
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.files.tensor_files import _Uninitialized
from ganforge.game.objectives import hinge
from ganforge.game.schedules import ConstantThenLinear
from ganforge.networks import BigGANDiscriminator, BigGANGenerator
from ganforge.networks.attention import SelfAttention
from ganforge.networks.biggan import ConditionalNorm
from ganforge.runs import generators
from ganforge.systems import ConditionalGAN, LatentGAN

SMALL = {"size": 16, "base_channels": 4, "multiples": [2, 2, 1]}


def networks(n_classes: int | None = None, **more) -> tuple[BigGANGenerator, BigGANDiscriminator]:
    torch.manual_seed(0)
    generator = BigGANGenerator(latent_dim=6, out_channels=1, n_classes=n_classes, **SMALL, **more)
    return generator, BigGANDiscriminator(in_channels=1, n_classes=n_classes, **SMALL)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("settings", "generator", "discriminator"),
    [
        # BigGAN: google/compare_gan, architectures/resnet_biggan_test.py.
        ({"latent_dim": 120, "base_channels": 96}, 70_433_988, 87_982_370),
        # With gains and biases of each class and the latents in one piece, as SAGAN has them: ajbrock/BigGAN-PyTorch,
        # utils.py, "ch 64, no tricks".
        (
            {"latent_dim": 128, "base_channels": 64, "split_latent": False, "embedding_dim": None},
            42_017_412,
            39_448_258,
        ),
    ],
)
def test_parameters_are_those_of_the_reference(settings, generator, discriminator):
    shared = {"size": 128, "n_classes": 1000, "spectral_norm": False}
    with torch.device("meta"), _Uninitialized():
        assert count(BigGANGenerator(out_channels=3, **shared, **settings)) == generator
        shared["base_channels"] = settings["base_channels"]
        assert count(BigGANDiscriminator(in_channels=3, **shared)) == discriminator


def test_attention_begins_as_the_identity_and_is_the_formula():
    torch.manual_seed(0)
    layer, x = SelfAttention(16).double(), torch.randn(2, 16, 4, 6, dtype=torch.float64)
    assert torch.equal(layer(x), x)
    layer.gamma.data.fill_(0.7)
    expected = x.clone()
    query, key, value = layer.query(x), *(nn.functional.max_pool2d(own(x), 2) for own in (layer.key, layer.value))
    for picture in range(2):
        for row in range(4):
            for column in range(6):
                scores = (query[picture, :, row, column, None] * key[picture].flatten(1)).sum(0).exp()
                seen = (value[picture].flatten(1) * scores / scores.sum()).sum(1)
                expected[picture, :, row, column] += 0.7 * layer.output.weight.flatten(1) @ seen
    torch.testing.assert_close(layer(x), expected)
    layer(x).sum().backward()
    assert layer.gamma.grad.abs() > 0


def test_the_class_gives_gains_and_biases():
    torch.manual_seed(0)
    norm, x, told = ConditionalNorm(5, 3, None).double(), torch.randn(4, 5, 2, 2).double(), torch.randn(4, 3).double()
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    gain, bias = 1 + told @ norm.gain.weight.T, told @ norm.bias.weight.T
    expected = (x - mean) / (var + 1e-5).sqrt() * gain[..., None, None] + bias[..., None, None]
    torch.testing.assert_close(norm(x, told), expected)
    generator, _ = networks(3)
    generator.eval()
    z, classes = torch.randn(1, 6), torch.tensor([0, 2])
    one, other = generator(z.expand(2, -1), classes)
    assert not torch.allclose(one, other)


def test_every_block_is_given_a_piece_of_the_latents():
    generator, _ = networks()
    generator.eval()
    z = torch.randn(1, 6)
    x, seen = generator.project(z[:, :2]).unflatten(1, generator.start), []
    for block in generator.blocks:
        block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    generator(z)
    torch.testing.assert_close(seen[0][0], x)
    assert [inputs[1].tolist() for inputs in seen] == [z[:, 2:4].tolist(), z[:, 4:].tolist()]
    plain, _ = networks(split_latent=False)
    assert plain.project.in_features == 6 and plain(z.expand(2, -1)).shape == (2, 1, 16, 16)


def test_a_picture_is_made_of_residual_blocks():
    """The layers of figure 15, one by one, with the attention that is the identity at first."""
    generator, discriminator = networks(3)
    z, label = torch.randn(4, 6), torch.tensor([0, 1, 2, 0])
    up = partial(nn.functional.interpolate, scale_factor=2)
    x = generator.project(z[:, :2]).view(4, 8, 4, 4)
    generator.eval()
    discriminator.eval()
    x = generator.project(z[:, :2]).view(4, 8, 4, 4)
    for block, piece in zip(generator.blocks, (z[:, 2:4], z[:, 4:]), strict=True):
        told = torch.cat([generator.embedding(label), piece], 1)
        h = block.convolutions[0](up(relu(block.norms[0](x, told))))
        x = block.convolutions[1](relu(block.norms[1](h, told))) + block.skip(up(x))
    images = torch.tanh(generator.to_image(relu(generator.norm(x))))
    torch.testing.assert_close(generator(z, label), images)
    x = images
    down = [layer for layer in discriminator.layers if not isinstance(layer, SelfAttention)]
    assert len(down) == 3 and len(discriminator.layers) == 4
    for number, block in enumerate(down):
        pool = partial(nn.functional.avg_pool2d, kernel_size=2 if number < 2 else 1)
        h = block.convolutions[1](relu(block.convolutions[0](relu(x) if number else x)))
        x = pool(h) + pool(block.skip(x))
    features = relu(x).sum((2, 3))
    logits = features @ discriminator.linear.weight[0] + discriminator.linear.bias
    logits = logits + (features * discriminator.embedding.weight[label]).sum(1)
    torch.testing.assert_close(discriminator(images, label), logits)


@pytest.mark.parametrize("n_classes", [None, 3])
def test_steps_equal_a_plain_pytorch_loop(fit, n_classes):
    generator, discriminator = networks(n_classes)
    optimizer, schedule = torch.optim.SGD, ConstantThenLinear(decay_from=None)
    system = (LatentGAN if n_classes is None else ConditionalGAN)(
        generator=copy.deepcopy(generator), discriminator=copy.deepcopy(discriminator), objective=hinge, latent_dim=6,
        optimizer_g=partial(optimizer, lr=0.1), optimizer_d=partial(optimizer, lr=0.4),
        schedule_g=schedule, schedule_d=schedule,
    )  # fmt: skip
    Rows(system)
    seen, draw = [], system.with_latents

    def drawn(batch):
        seen.append(copy.deepcopy(draw(batch)))
        return seen[-1]

    system.with_latents = drawn
    fit(system, TinyImages(n_train=8, size=16, batch_size=4, classes=n_classes or 0))
    optimizer_g, optimizer_d = optimizer(generator.parameters(), lr=0.1), optimizer(discriminator.parameters(), lr=0.4)
    for batch in seen:
        label = batch.get("label") if n_classes else None
        fake = generator(batch["z"], label)
        real_logits, fake_logits = discriminator(batch["image"], label), discriminator(fake.detach(), label)
        optimizer_d.zero_grad()
        (relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()).backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        (-discriminator(fake, label).mean()).backward()
        optimizer_g.step()
    assert len(seen) == 2
    for plain, own in ((generator, system.generator), (discriminator, system.discriminator)):
        for (name, value), other in zip(plain.state_dict().items(), own.state_dict().values(), strict=True):
            torch.testing.assert_close(value, other, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
def test_pictures_without_classes(configured, folders, tmp_path):
    flat = folders / "image_folder/plain"
    small = ["model=biggan", "data=image_folder", f"data.root={flat}", "data.size=32", "data.batch_size=4"]
    small += ["data.n_val=4", "data.n_test=4", "evaluation=pixels", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    small += ["model.generator.base_channels=2", "model.discriminator.base_channels=2", "trainer.precision=bf16-mixed"]
    with pytest.raises(UserError, match="model=biggan needs image, label data"):
        run(configured(small))
    results = run(configured([*small, "model._target_=ganforge.systems.LatentGAN"]))
    assert results > 0
    drawn = generators.load_generator(tmp_path / "run").network(torch.randn(2, 120))
    assert drawn.shape == (2, 3, 32, 32) and drawn.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"latent_dim": 7}, r"model\.latent_dim=7: 16 px have 2 blocks, so it is split in 3; use model\.latent_dim=6"),
        ({"attention": [5]}, r"model\.generator\.attention=\[5\]: .* of \[8, 16\]"),
        ({"multiples": [1]}, r"model\.generator\.multiples=\[1\]: give 3 numbers"),
        ({"base_channels": 0}, r"model\.generator\.base_channels=0: 1 or more"),
        ({"n_classes": 3, "embedding_dim": None}, r"model\.generator\.split_latent=true: .*embedding_dim=128"),
        ({"n_classes": 1}, r"model\.generator\.n_classes=1: 2 or more"),
    ],
)
def test_settings_that_mean_nothing(settings, said):
    with pytest.raises(UserError, match=said):
        BigGANGenerator(**{"latent_dim": 6, "out_channels": 1, **SMALL, **settings})
