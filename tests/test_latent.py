"""GANs from noise: one step beside a plain PyTorch loop, and every stabilizer with every one of them."""

import copy
from functools import partial

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from conftest import ROOT, Rows, TinyImages
from ganforge.errors import UserError
from ganforge.game.latents import latents, slerp
from ganforge.game.objectives import Objective, vanilla, wasserstein
from ganforge.game.penalties import Penalties
from ganforge.game.schedules import ConstantThenLinear
from ganforge.game.stabilizers import InputNoise
from ganforge.networks import DCGANDiscriminator, DCGANGenerator
from ganforge.systems import ConditionalGAN, LatentGAN, SemiSupervisedGAN

SIZE = 16
TRANSLATORS = ("pix2pix", "colorize", "cyclegan", "cut", "fastcut", "stargan")
FROM_NOISE = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml") if path.stem not in TRANSLATORS)


def latent_gan(kind=LatentGAN, generator=None, discriminator=None, **options) -> LatentGAN:
    torch.manual_seed(0)
    optimizer = options.pop("optimizer", partial(torch.optim.Adam, lr=2e-3, betas=(0.5, 0.999)))
    arguments = {
        "generator": DCGANGenerator(latent_dim=4, out_channels=1, size=SIZE, base_channels=4, **(generator or {})),
        "discriminator": DCGANDiscriminator(in_channels=1, size=SIZE, base_channels=4, **(discriminator or {})),
        "objective": vanilla,
        "latent_dim": 4,
        "optimizer_g": optimizer,
        "optimizer_d": optimizer,
        "schedule_g": ConstantThenLinear(decay_from=None),
        "schedule_d": ConstantThenLinear(decay_from=None),
    }
    return kind(**{**arguments, **options})


def images(n: int = 8, **options) -> TinyImages:
    return TinyImages(n_train=n, size=SIZE, batch_size=4, **options)


def test_steps_equal_a_plain_pytorch_loop(fit):
    """DCGAN as one would write it without Lightning: the same terms in each of four steps, the same weights."""
    system = latent_gan()
    generator, discriminator = copy.deepcopy(system.generator), copy.deepcopy(system.discriminator)
    logged, seen, draw = Rows(system), [], system.with_latents

    def drawn(batch):
        seen.append(copy.deepcopy(draw(batch)))
        return seen[-1]

    system.with_latents = drawn
    fit(system, images(), max_epochs=2)

    optimizer_g, optimizer_d = (
        torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.5, 0.999)) for network in (generator, discriminator)
    )
    bce = binary_cross_entropy_with_logits
    for batch, row in zip(seen, logged.rows, strict=True):
        fake = generator(batch["z"])
        real_logits, fake_logits = discriminator(batch["image"]), discriminator(fake.detach())
        d_loss = bce(real_logits, torch.ones(4)) + bce(fake_logits, torch.zeros(4))
        optimizer_d.zero_grad()
        d_loss.backward()
        optimizer_d.step()
        g_loss = bce(discriminator(fake), torch.ones(4))
        optimizer_g.zero_grad()
        g_loss.backward()
        optimizer_g.step()
        assert row["train/d/adv"] == pytest.approx(d_loss.item(), rel=1e-5)
        assert row["train/g/adv"] == pytest.approx(g_loss.item(), rel=1e-5)
        assert row["train/d/logit_real"] == pytest.approx(real_logits.mean().item(), abs=1e-5)
        assert row["train/d/accuracy_fake"] == pytest.approx((fake_logits < 0).float().mean().item())
    assert len(seen) == 4
    for ours, plain in ((system.generator, generator), (system.discriminator, discriminator)):
        for a, b in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


# One option each, as on the command line.
STABILIZERS = {
    "label_smoothing": {"label_smoothing": 0.1},
    "label_flip": {"label_flip": 0.1},
    "input_noise": {"input_noise": {"std": 0.1}},
    "spectral_norm": {"discriminator": {"spectral_norm": True}},
    "dropout": {"discriminator": {"dropout": 0.3}},
    "two_learning_rates": {"optimizer_d": {"lr": 4e-4}},
    "d_steps": {"d_steps": 2},
    "minibatch_std": {"discriminator": {"minibatch_std": True}},
    "diff_augment": "diff",
    "adaptive_augment": "ada",
    "ema": {"ema_half_life": 20},
    "unroll": {"unroll_steps": 2},
    "lazy_penalties": {"penalties": {"r1": 1.0, "r2": 1.0, "wgan_gp": 1.0, "dragan": 1.0, "every": 2}},
}
SMALL = {"generator": {"base_channels": 4}, "discriminator": {"base_channels": 4}}
THIN = {network: {"base_channels": 4, "multiples": [1, 1, 1]} for network in SMALL}
SMALLEST = {
    "biggan": {"latent_dim": 6, **THIN},
    "sagan": THIN,
    "gan": {"generator": {"widths": [8, 8]}, "discriminator": {"widths": [8]}},
    "r3gan": {"generator": {"widths": [16] * 3, "blocks": 1}, "discriminator": {"widths": [16] * 3, "blocks": 1}},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", FROM_NOISE)
def test_every_stabilizer_works_with_every_gan(configured, fit, model):
    data = {"channels": 1, "size": SIZE, "n_classes": 3}
    base = OmegaConf.merge(configured([f"model={model}", "data=mnist"]).model, SMALLEST.get(model, SMALL))
    for name, option in STABILIZERS.items():
        if isinstance(option, str):
            option = {"augment": configured([f"model={model}", "data=mnist", f"model/augment={option}"]).model.augment}
            OmegaConf.set_struct(base, False)
        if not option.get("discriminator", {}).keys() <= base.discriminator.keys():
            continue  # its networks have no such settings
        merged = OmegaConf.create({"model": OmegaConf.merge(base, option), "data": data}).model
        if model in ("sgan", "acgan") and name == "unroll":
            with pytest.raises(Exception, match=r"model\.unroll_steps=2"):
                hydra.utils.instantiate(merged, _convert_="all")
            continue
        system = hydra.utils.instantiate(merged, _convert_="all")
        before = [copy.deepcopy(network.state_dict()) for network in (system.generator, system.discriminator)]
        n = 4 * max(2, *(player.every for player in system.players))
        fit(system, images(n, classes=3))
        for old, network in zip(before, (system.generator, system.discriminator), strict=True):
            assert all(torch.isfinite(value).all() for value in network.state_dict().values()), name
            assert any(not torch.equal(old[key], value) for key, value in network.named_parameters()), name
        assert system.latest, name


def test_noise_is_new_in_every_batch_and_follows_the_seed(fit):
    noise = []
    for seed in (1, 1, 2):
        system = latent_gan()
        torch.manual_seed(seed)
        generate = system.generate
        system.generate = lambda batch, generate=generate: noise.append(batch["z"]) or generate(batch)
        fit(system, images(100))
    first, again, other = torch.cat(noise).split(100)
    assert torch.equal(first, again)
    assert len(torch.cat([first, other]).unique(dim=0)) == 200
    assert first.mean().abs() < 0.15 and abs(first.std() - 1) < 0.1
    assert torch.corrcoef(first.reshape(25, 16)).fill_diagonal_(0).abs().mean() < 0.25  # of numbers of 16 draws: 0.2


def test_clipped_weights_stay_in_their_range(fit):
    system = latent_gan(objective=wasserstein, clip_weights=0.01)
    fit(system, images())
    largest = max(weight.detach().abs().max().item() for weight in system.discriminator.parameters())
    assert largest == pytest.approx(0.01)


def test_a_lazy_penalty_is_a_term_at_its_turn(fit):
    system = latent_gan(penalties=Penalties(r1=1.0, every=2))
    logged = Rows(system)
    fit(system, images(16))
    assert ["train/d/r1" in row for row in logged.rows] == [True, False, True, False]


def test_accuracy_is_only_that_of_a_classifier(fit):
    system = latent_gan(objective=wasserstein)
    fit(system, images())
    assert "train/d/accuracy_real" not in system.latest
    assert {"train/d/logit_real", "train/d/grad_norm", "train/g/grad_norm"} <= system.latest.keys()
    assert 0 <= system.latest["train/g/batch_duplicates"] <= 1
    assert system.latest["train/g/batch_diversity"] > 0


def test_input_noise_fades_out():
    torch.manual_seed(0)
    noise = InputNoise(std=0.5, fade=0.5, images="real")
    black = torch.zeros(8, 1, 32, 32)
    assert noise(black, 0.0, real=True).std().item() == pytest.approx(0.5, rel=0.05)
    assert noise(black, 0.25, real=True).std().item() == pytest.approx(0.25, rel=0.05)
    assert noise(black, 0.5, real=True) is black
    assert noise(black, 0.0, real=False) is black


class Scale(torch.nn.Module):
    """A critic and a generator with one weight: w * x."""

    def __init__(self, weight: float):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, images, label=None):
        return self.weight * images.flatten(1).mean(1)


def test_unrolling_by_hand():
    """Critic D(x) = w x, real x = 1, generated x = t, Wasserstein: d loss = w (t - 1), so one step of rate r gives
    w' = w - r (t - 1), the generator's loss -w' t has the gradient -(w - r (t - 1)) + r t = -w + r (2 t - 1)."""
    w, t, rate = 0.3, 0.5, 0.1
    system = latent_gan(objective=wasserstein, unroll_steps=1, unroll_rate=rate)
    system.discriminator = Scale(w)
    fake = torch.full((1, 1, 1, 1), t, requires_grad=True)
    loss = system.g_losses({"image": torch.ones(1, 1, 1, 1)}, {"fake": fake})["adv"]
    (slope,) = torch.autograd.grad(loss, fake)
    assert loss.item() == pytest.approx(-(w - rate * (t - 1)) * t)
    assert slope.item() == pytest.approx(-w + rate * (2 * t - 1))
    assert system.discriminator.weight.item() == pytest.approx(w)  # nothing has moved


def test_a_conditional_gan_tells_both_networks_the_class(fit):
    system = latent_gan(ConditionalGAN, {"n_classes": 3}, {"n_classes": 3})
    fit(system, images(classes=3))
    index = torch.tensor([5, 5])
    drawn = system.infer({"index": index, "label": torch.tensor([0, 2])})
    assert not torch.equal(drawn[0], drawn[1])
    same = torch.zeros(2, 1, SIZE, SIZE)
    logits = system.discriminator.eval()(same, torch.tensor([0, 2]))
    assert logits[0] != logits[1]


def test_semi_supervised_losses_by_hand():
    """Logits of K classes against the K + 1 classes of the paper, of which the generated one has logit 0."""
    system = latent_gan(SemiSupervisedGAN, None, {"outputs": 3, "norm": "none"}, feature_matching=2.0)
    torch.manual_seed(1)
    real, fake, labelled = (torch.rand(4, 1, SIZE, SIZE) * 2 - 1 for _ in range(3))
    labels = torch.tensor([0, 1, 2, 1])
    batch = {"image": real, "labelled_image": labelled, "labelled_label": labels}
    terms = system.d_losses(batch, {"fake": fake})
    with_generated = lambda x: torch.cat([system.discriminator(x), torch.zeros(4, 1)], 1).log_softmax(1)  # noqa: E731
    p_real = 1 - with_generated(real).exp()[:, 3]
    assert terms["adv"].item() == pytest.approx((-p_real.log() - with_generated(fake)[:, 3]).mean().item(), rel=1e-5)
    assert terms["class"].item() == pytest.approx(cross_entropy(system.discriminator(labelled), labels).item())
    means = [system.discriminator.features(x).flatten(1).mean(0) for x in (real, fake)]
    expected = 2 * (means[0] - means[1]).square().mean()
    assert system.g_losses(batch, {"fake": fake})["features"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(system.classify(real), system.discriminator(real).argmax(1))


def test_images_at_inference_depend_on_the_index_alone(fit):
    system = latent_gan(ema_half_life=10)
    fit(system, images())
    one = system.infer({"index": torch.tensor([3, 7])})
    other = system.infer({"index": torch.tensor([7])})
    torch.testing.assert_close(one[1], other[0], rtol=0, atol=1e-6)
    assert system.generator_ema is system.inference_network("generator")


def test_latents():
    z = latents(range(2000), 4, seed=1)
    assert torch.equal(z[5], latents([5], 4, seed=1)[0])
    assert not torch.equal(z[5], latents([5], 4, seed=2)[0])
    assert z.mean().abs() < 0.05 and abs(z.std() - 1) < 0.05
    truncated = latents(range(500), 4, seed=1, truncation=0.7)
    torch.testing.assert_close(truncated, 0.7 * z[:500])  # each is the same image, nearer to the mean


def test_slerp_keeps_to_the_sphere():
    start, end = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert slerp(start, end, 0.5).tolist() == pytest.approx([0.5**0.5, 0.5**0.5])
    assert slerp(start, end, 1 / 3).tolist() == pytest.approx([0.75**0.5, 0.5])
    assert slerp(start, start, 0.3).tolist() == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 0.5}, r"model\.label_smoothing=0\.5"),
        ({"label_flip": -0.1}, r"model\.label_flip=-0\.1"),
        ({"clip_weights": 0}, r"model\.clip_weights=0"),
        ({"unroll_steps": -1}, r"model\.unroll_steps=-1"),
        ({"unroll_steps": 1, "unroll_rate": 0}, r"model\.unroll_rate=0"),
        ({"generator": {"kernel_size": 3}}, r"model\.generator\.kernel_size=3"),
        ({"discriminator": {"dropout": 1.0}}, r"model\.discriminator\.dropout=1"),
    ],
)
def test_absurd_numbers_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        latent_gan(**options)


def test_objectives_are_plain_functions():
    assert isinstance(vanilla, Objective)
