"""model=stylegan2: networks with styles, path length, mixed styles, truncation."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from torch.nn.functional import binary_cross_entropy_with_logits, conv2d, conv_transpose2d, leaky_relu

import ganforge
from conftest import overrides_for
from ganforge import cli
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.objectives import vanilla
from ganforge.game.path_length import PathLength
from ganforge.game.schedules import ConstantThenLinear
from ganforge.networks import StyleGAN2Discriminator, StyleGAN2Generator
from ganforge.networks.stylegan2 import StyledConv, ToImage, _doubled, _filtered
from ganforge.runs import checkpoint
from ganforge.systems import StyleGAN2

SMALL = {"size": 16, "base_channels": 4, "max_channels": 8}
TINY = [
    "model=stylegan2", "model.latent_dim=8", "model.generator.base_channels=4", "model.discriminator.base_channels=4",
    "model.generator.max_channels=8", "model.discriminator.max_channels=8", "data.batch_size=4", "data.num_workers=0",
    "data.size=16", "data.n_val=4", "data.n_test=4", "trainer.max_epochs=1", "trainer.accelerator=cpu",
]  # fmt: skip


def networks(**more):
    torch.manual_seed(0)
    generator = StyleGAN2Generator(latent_dim=6, out_channels=3, mapping_layers=2, **SMALL, **more)
    return generator, StyleGAN2Discriminator(in_channels=3, **SMALL)


def test_parameters_are_those_of_the_authors_code():
    with torch.device("meta"):
        generator = StyleGAN2Generator(latent_dim=512, out_channels=3, size=1024)
        discriminator = StyleGAN2Discriminator(in_channels=3, size=1024)
    assert sum(p.numel() for p in generator.parameters()) == 30_370_060
    assert sum(p.numel() for p in discriminator.parameters()) == 29_012_513
    assert generator.widths == [512, 512, 512, 512, 512, 256, 128, 64, 32] and generator.n_styles == 18


@pytest.mark.parametrize("up", [False, True])
def test_a_convolution_is_that_with_each_images_own_scaled_weights(up):
    torch.manual_seed(0)
    layer = StyledConv(6, 5, 7, 8, up=up).eval()
    layer.noise_strength.data.fill_(0.5)
    layer.bias.data.normal_()
    x, style = torch.randn(3, 5, 4 if up else 8, 4 if up else 8), torch.randn(3, 6)
    found = layer(x, style)
    for number in range(3):
        scales = style[number] @ layer.affine.weight.T / math.sqrt(6) + 1
        weight = layer.weight / math.sqrt(45) * scales[:, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            one = _filtered(conv_transpose2d(x[number : number + 1], weight.transpose(0, 1), stride=2), 1, gain=4.0)
        else:
            one = conv2d(x[number : number + 1], weight, padding=1)
        expected = leaky_relu(one[0] + 0.5 * layer.noise + layer.bias[:, None, None], 0.2) * math.sqrt(2)
        torch.testing.assert_close(found[number], expected, rtol=1e-4, atol=1e-5)


def test_a_style_that_is_larger_does_not_change_the_outputs_but_that_of_the_last_image_does():
    torch.manual_seed(0)
    x, style = torch.randn(2, 5, 8, 8), torch.randn(2, 6)
    for layer, factor in ((StyledConv(6, 5, 7, 8), 1.0), (ToImage(6, 5, 3), 3.0)):
        layer.affine.bias.data.zero_()
        torch.testing.assert_close(layer(x, 3 * style), factor * layer(x, style), rtol=1e-4, atol=1e-5)


def test_filters_keep_even_surfaces():
    even = torch.full((1, 2, 8, 8), 3.0)
    assert _doubled(even).shape == (1, 2, 16, 16) and (_doubled(even)[..., 1:-1, 1:-1] - 3).abs().max() < 1e-5
    assert (_filtered(even, 0) - 3).abs().max() < 1e-5


def test_noise_is_drawn_anew_while_training_and_the_same_afterwards():
    generator, _ = networks()
    for layer in generator.layers:
        layer.noise_strength.data.fill_(0.3)
    z = torch.randn(2, 6)
    assert not torch.equal(generator(z), generator(z))
    generator.eval()
    assert torch.equal(generator(z), generator(z))


def test_truncated_styles_lie_nearer_to_their_mean():
    generator, _ = networks()
    for _ in range(2000):
        generator.style(torch.randn(16, 6))
    generator.eval()
    z = torch.randn(64, 6)
    styles = generator.style(z)
    assert (generator.mean_style - styles.mean(0)).norm() < 0.3 * (styles - styles.mean(0)).norm(dim=1).mean()
    half = generator.mean_style.lerp(styles, 0.5)
    expected = generator.synthesize(half.unsqueeze(1).expand(-1, generator.n_styles, -1))
    assert torch.equal(generator(z, truncation=0.5), expected)


def test_path_length_is_that_of_the_gradient_and_its_mean_runs():
    torch.manual_seed(0)
    mixing = torch.randn(4, 3, 12)  # a linear generator: 4 styles of 3 numbers to 1 x 3 x 4 pixels
    synthesize = lambda styles: torch.einsum("bld,ldp->bp", styles, mixing).unflatten(1, (1, 3, 4))  # noqa: E731
    term, noise = PathLength(weight=2.0, every=4, decay=0.1), torch.randn(5, 1, 3, 4)
    styles = torch.randn(5, 4, 3, requires_grad=True)
    lengths = torch.einsum("ldp,bp->bld", mixing, noise.flatten(1) / 12**0.5).square().sum(2).mean(1).sqrt()
    for mean in (0.1 * lengths.mean(), 0.19 * lengths.mean()):
        found = term(synthesize, styles, noise)
        torch.testing.assert_close(found, 8 * (lengths - mean).square().mean())
        torch.testing.assert_close(term.mean, mean)


def system(**more) -> StyleGAN2:
    generator, discriminator = networks()
    schedule = ConstantThenLinear(decay_from=None)
    optimizer = partial(torch.optim.SGD, lr=0.1)
    return StyleGAN2(
        generator=generator, discriminator=discriminator, objective=vanilla, latent_dim=6, optimizer_g=optimizer,
        optimizer_d=optimizer, schedule_g=schedule, schedule_d=schedule, path_length=PathLength(), **more,
    )  # fmt: skip


def test_terms_are_those_of_a_plain_loop():
    gan = system()
    last = gan.generator.n_styles
    batch = {
        "image": torch.randn(4, 3, 16, 16),
        "z": torch.randn(4, 6),
        "other": torch.randn(4, 6),
        "begin": torch.tensor([1, 3, last, last]),
    }
    images = gan.generate(batch)
    styles = gan.generator.style(batch["z"])[:, None].repeat(1, last, 1)
    other = gan.generator.style(batch["other"])
    styles[0, 1:], styles[1, 3:] = other[0], other[1]
    torch.testing.assert_close(images["fake"], gan.generator.synthesize(styles))  # the strength of noise begins at 0
    fake = gan.discriminator(images["fake"])
    torch.manual_seed(1)
    terms = gan.g_losses(batch, images)
    torch.testing.assert_close(terms["adv"], binary_cross_entropy_with_logits(fake, torch.ones(4)))
    torch.manual_seed(1)
    for _ in gan.generator.layers:
        torch.randn(2, 1, 16, 16)
    assert set(terms) == {"adv", "path_length"} and terms["path_length"].isfinite()
    terms["path_length"].backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in gan.generator.mapping)
    gan.updates["g"] += 1
    assert set(gan.g_losses(batch, images)) == {"adv"}


@pytest.mark.slow
def test_a_run_draws_truncates_and_resumes_where_it_was(configured, folders, tmp_path, capsys):
    settings = [*overrides_for("image_folder", folders), *TINY]
    run(configured(settings))
    last = checkpoint.load(tmp_path / "run/checkpoints/last.ckpt")
    assert last["state_dict"]["path_length.mean"] > 0
    assert last["state_dict"]["generator.mean_style"].abs().sum() > 0
    model = ganforge.load(tmp_path / "run")
    means = {}
    for truncation in (1.0, 0.5, 0.01):
        pictures = model.sample(8, truncation=truncation).astype(np.float64)
        means[truncation] = np.abs(pictures - pictures.mean(0)).mean()
    assert means[1.0] > means[0.5] > means[0.01]
    asked = ["interpolate", str(tmp_path / "run"), "-o", str(tmp_path / "walk"), "--truncation", "0.5"]
    assert cli.main(asked) == 1
    assert "as ProGAN and StyleGAN do" in capsys.readouterr().err
    assert cli.main(asked[:-2]) == 0


@pytest.mark.slow
def test_mixed_styles_are_as_many_as_asked(configured, folders, monkeypatch):
    seen = []
    styles = StyleGAN2.styles

    def watched(self, z, other, begin):
        seen.extend((begin < self.generator.n_styles).tolist())
        assert begin.min() >= 1 and begin.max() <= self.generator.n_styles and not torch.equal(z, other)
        return styles(self, z, other, begin)

    monkeypatch.setattr(StyleGAN2, "styles", watched)
    run(configured([*overrides_for("image_folder", folders), *TINY, "model.style_mixing=0.5", "trainer.max_epochs=4"]))
    assert len(seen) > 60 and 0.3 < np.mean(seen) < 0.7


def test_other_networks_and_wrong_numbers_are_refused(configured, folders):
    with pytest.raises(InstantiationException, match=r"DCGANGenerator has no styles; use model/generator=stylegan2"):
        plain = [one for one in TINY if "generator." not in one]
        run(configured([*overrides_for("image_folder", folders), *plain, "model/generator=dcgan"]))
    for wrong, said in (
        ({"every": 0}, "path_length.every=0"),
        ({"share": 0}, "share=0"),
        ({"weight": -1}, "weight=-1"),
    ):
        with pytest.raises(UserError, match=said):
            PathLength(**wrong)
