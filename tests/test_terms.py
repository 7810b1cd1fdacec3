"""What pix2pix can be given beside its two terms: several scales, feature matching, a perceptual term."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import killing
from conftest import ROOT, TINY_PIX2PIX, TinyPairs
from ganforge.errors import UserError
from ganforge.evaluation import PerceptualMetrics
from ganforge.experiment import run
from ganforge.game.objectives import hinge, relativistic, vanilla
from ganforge.game.terms import FeatureMatching, Perceptual
from ganforge.networks import MultiScalePatchGAN, PatchGAN
from ganforge.networks.perceptual import read_distance, read_heads
from ganforge.networks.squeezenet import WIDTHS, SqueezeNet
from ganforge.runs import checkpoint
from test_adversarial import pix2pix

WEIGHTS = ROOT.parent / "shared/data/weights"
SQUEEZENET = WEIGHTS / "squeezenet1_1_imagenet_bgr255_fp16.pth"
HEADS = WEIGHTS / "small/lpips_v0.1/squeeze.npz"
needs_weights = pytest.mark.skipif(
    not SQUEEZENET.is_file(), reason=f"{SQUEEZENET.name} is not at ../shared/data/weights"
)


@pytest.fixture
def weights(tmp_path):
    """A file of random weights of SqueezeNet, as torchvision's: for RGB."""
    torch.manual_seed(0)
    path = tmp_path / "squeezenet.pth"
    torch.save(SqueezeNet(bgr=False).state_dict(), path)
    return path


@pytest.fixture
def heads(tmp_path):
    """A file of LPIPS's form with random weights."""
    rng, path = np.random.default_rng(0), tmp_path / "heads.npz"
    np.savez_compressed(path, **{name: head for name, head in random_heads(rng).items()})
    return path


def random_heads(rng) -> dict[str, np.ndarray]:
    return {f"lin{i}.model.1.weight": rng.random((1, w, 1, 1), dtype=np.float32) for i, w in enumerate(WIDTHS)}


def pair(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(shape, generator=generator) * 2 - 1 for _ in range(2))


def test_each_scale_sees_the_half_of_the_one_before():
    critic = MultiScalePatchGAN(in_channels=2, scales=3, base_channels=4, layers=2, norm="none").double()
    images = torch.randn(2, 2, 64, 48, dtype=torch.float64)
    weights = torch.full((2, 1, 3, 3), 1.0, dtype=torch.float64)
    for critic_of_scale, logits, found in zip(critic.critics, critic(images), critic.activations(images), strict=True):
        chain, x = list(critic_of_scale.layers), images
        expected = []
        for layer in chain:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                expected.append(x)
        assert torch.allclose(logits, x, atol=1e-12) and torch.equal(found[-1], logits)
        assert len(found) == 4 and all(torch.equal(a, b) for a, b in zip(found, expected, strict=False))
        # The mean over the pixels of each 3 x 3 that are in the picture.
        inside = F.conv2d(torch.ones_like(images), weights, stride=2, padding=1, groups=2)
        images = F.conv2d(images, weights, stride=2, padding=1, groups=2) / inside
    assert [tuple(own.shape[2:]) for own in critic(torch.zeros(1, 2, 64, 64).double())] == [(14, 14), (6, 6), (2, 2)]


def test_a_discriminator_of_one_scale_is_the_patchgan():
    torch.manual_seed(0)
    several = MultiScalePatchGAN(in_channels=3, scales=1, base_channels=4)
    torch.manual_seed(0)
    one = PatchGAN(in_channels=3, base_channels=4, norm="instance")
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(several(images)[0], one(images))
    assert [len(scale) for scale in one.activations(images)] == [5]


def loop_of_features(critics, source, generated, target) -> float:
    """Wang et al. 2018, eq. 5, as a loop over the layers' own convolutions; with the mean over the scales."""
    total = 0.0
    a, b = (torch.cat([source, picture], dim=1) for picture in (generated, target))
    for critic in critics:
        x, y = a, b
        for layer in critic.layers:
            x, y = layer(x), layer(y)
            if isinstance(layer, nn.LeakyReLU):
                total += float((x - y).detach().abs().sum() / x.numel()) / len(critics)
        a, b = (F.avg_pool2d(picture, 3, 2, 1, count_include_pad=False) for picture in (a, b))
    return 10 * total


@pytest.mark.parametrize("scales", [1, 2])
def test_feature_matching_is_the_formula(scales):
    critic = MultiScalePatchGAN(in_channels=2, scales=scales, base_channels=4).double()
    source, target = (image.double() for image in pair(2, 1, 64, 64))
    generated = -source
    seen = [critic.activations(torch.cat([source, picture], dim=1)) for picture in (generated, target)]
    found = FeatureMatching()(*seen)
    expected = loop_of_features(critic.critics, source, generated, target)
    assert float(found) == pytest.approx(expected, rel=1e-6) and expected > 0.1


def plain_distance(network: SqueezeNet, heads, one, other) -> torch.Tensor:
    """Zhang et al. 2018, eq. 1, layer by layer in float64, with torchvision's normalization of RGB."""
    network = network.double()
    mean, std = (torch.tensor(v).double()[:, None, None] for v in ((123.0, 117.0, 104.0), (58.395, 57.12, 57.375)))
    found = []
    for picture in (one, other):
        x = ((picture.double() + 1) * 127.5).expand(-1, 3, -1, -1)
        x, taken = (x - mean) / std, []
        for name, layer in network.features.named_children():
            x = layer(x)
            if name in ("1", "4", "7", "9", "10", "11", "12"):
                taken.append(x / x.square().sum(dim=1, keepdim=True).sqrt())
        found.append(taken)
    return sum(
        ((a - b) ** 2 * torch.as_tensor(head).double()[:, None, None]).sum(dim=1).mean(dim=(1, 2))
        for a, b, head in zip(*found, heads, strict=True)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_perceptual_distance_is_the_formula(weights, heads, channels):
    distance = read_distance(weights, heads, "x")
    one, other = pair(3, channels, 80, 96)
    found = distance(one, other)
    own = [head.reshape(-1) for head in np.load(heads).values()]
    expected = plain_distance(read_distance(weights, None, "x").network, own, one, other)
    assert found.dtype == torch.float32 and torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert (distance(one, one) == 0).all() and (found > 1e-4).all()
    assert torch.allclose(distance(other, one), found)
    unweighted = read_distance(weights, None, "x")
    assert torch.allclose(
        unweighted(one, other).double(),
        plain_distance(read_distance(weights, None, "x").network, [np.full(w, 1 / 15) for w in WIDTHS], one, other),
        rtol=1e-5,
        atol=1e-6,
    )
    term = Perceptual(weights=weights, heads=heads, weight=3)(one, other)
    assert float(term) == pytest.approx(3 * float(expected.mean()), rel=1e-5)


def test_the_perceptual_term_moves_pictures_and_not_its_network(weights):
    term = Perceptual(weights=weights)
    before = {name: value.clone() for name, value in term.distance.state_dict().items()}
    generated, target = (image.requires_grad_() for image in pair(2, 3, 64, 64))
    term(generated, target.detach()).backward()
    assert generated.grad.isfinite().all() and generated.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in term.distance.parameters())
    assert all(torch.equal(value, before[name]) for name, value in term.distance.state_dict().items())


def test_a_white_page_has_finite_gradients(weights):
    """Where a place has no features at all, their length is 0."""
    distance = read_distance(weights, None, "x")
    distance.network.features[0].bias.fill_(-1e6)
    page = torch.ones(1, 3, 64, 64, requires_grad=True)
    distance(page, torch.zeros(1, 3, 64, 64)).sum().backward()
    assert page.grad.isfinite().all()


@needs_weights
def test_real_features_rank_distortions():
    """A blurred or moved photograph is nearer than another one, and less blur nearer than more."""
    from ganforge.pictures import images

    distance = read_distance(SQUEEZENET, HEADS, "x")
    files = images.list_images(ROOT.parent / "shared/data/color_flowers17")[::60]
    for path, other in itertools.pairwise(files):
        one, another = (
            torch.from_numpy(images.to_unit(images.resize(images.read(p, 3), (128, 128))))[None] for p in (path, other)
        )
        less, more = (F.avg_pool2d(F.pad(one, [k] * 4, mode="reflect"), 2 * k + 1, 1) for k in (1, 3))
        found = [float(distance(one, x)) for x in (less, more, another)]
        assert 0 < found[0] < found[1] < found[2] < 2


def spoilt(tmp_path, **changes):
    path = tmp_path / "spoilt.npz"
    np.savez(path, **{**random_heads(np.random.default_rng(0)), **changes})
    return path


@pytest.mark.parametrize(
    "head",
    [
        np.zeros((1, 65, 1, 1), np.float32),
        np.zeros((1, 64, 1, 1)),
        np.full((1, 64, 1, 1), np.nan, np.float32),
        np.full((1, 64, 1, 1), -1, np.float32),
        np.array([None] * 64, dtype=object),
    ],
)
def test_heads_of_another_form_are_refused(tmp_path, head):
    with pytest.raises(UserError, match=r"heads=x: cannot be read \(lin0"):
        read_heads(spoilt(tmp_path, **{"lin0.model.1.weight": head}), "heads=x")


def test_files_that_are_something_else_are_refused(tmp_path, weights):
    (tmp_path / "text.npz").write_text("no")
    for path in (tmp_path / "text.npz", tmp_path / "missing.npz"):
        with pytest.raises(UserError, match="heads=x: cannot be read"):
            read_heads(path, "heads=x")
    with pytest.raises(UserError, match=r"model\.terms\.perceptual\.weights=\S+missing\.pth: no such file"):
        Perceptual(weights=tmp_path / "missing.pth")
    with pytest.raises(UserError, match=r"model\.terms\.perceptual\.weights: is not given"):
        Perceptual(weights=None)
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="holds no weights of SqueezeNet"):
        Perceptual(weights=tmp_path / "other.pth")
    state = torch.load(weights)
    state["features.3.squeeze.weight"] = state["features.3.squeeze.weight"][:8]
    torch.save(state, tmp_path / "narrow.pth")
    with pytest.raises(UserError, match="weights do not fit"):
        Perceptual(weights=tmp_path / "narrow.pth")


def with_terms(weights, fit=None, **options):
    torch.manual_seed(0)
    critic = MultiScalePatchGAN(in_channels=2, scales=2, base_channels=4, layers=2, norm="none")
    terms = {"feature_matching": FeatureMatching(), "perceptual": Perceptual(weights=weights)}
    return pix2pix("none", discriminator=critic, terms=terms, **options)


@pytest.mark.parametrize("objective", [vanilla, hinge, relativistic])
def test_a_step_has_the_terms_of_a_plain_loop(weights, fit, objective):
    """All terms of both players, on the weights before their moves, as one would write them with torch alone."""
    system = with_terms(weights, objective=objective)
    noted = {}

    def watch(name):
        losses = getattr(system, name)

        def watched(batch, images):
            terms = losses(batch, images)
            source, target, fake = batch["source"], batch["target"], images["fake"].detach()
            logits = {}
            for kind, picture in (("real", target), ("fake", fake)):
                both, logits[kind] = torch.cat([source, picture], dim=1), []
                for critic in system.discriminator.critics:
                    logits[kind].append(critic(both))
                    both = F.avg_pool2d(both, 3, 2, 1, count_include_pad=False)
            plain = {}
            rows = list(zip(logits["real"], logits["fake"], strict=True))
            if name == "d_losses":
                plain["adv"] = 0.5 * sum(objective.d(real, made) for real, made in rows)
            else:
                plain["adv"] = sum(objective.g(made, real) for real, made in rows)
                plain["l1"] = 100 * (fake - target).abs().mean()
                plain["feature_matching"] = 4 / 3 * loop_of_features(system.discriminator.critics, source, fake, target)
                distance = read_distance(weights, None, "x").network
                larger = (F.interpolate(picture, 64, mode="bilinear") for picture in (fake, target))
                expected = plain_distance(distance, [np.full(w, 1 / 15) for w in WIDTHS], *larger)
                plain["perceptual"] = 10 * expected.mean()
            assert terms.keys() == plain.keys()
            noted[name] = {key: (float(terms[key]), float(plain[key])) for key in plain}
            return terms

        setattr(system, name, watched)

    watch("d_losses"), watch("g_losses")
    before = [p.detach().clone() for p in system.generator.parameters()]
    fit(system, TinyPairs(n_train=2, batch_size=2))
    assert any((a != b).any() for a, b in zip(before, system.generator.parameters(), strict=True))
    for terms in noted.values():
        for key, (found, expected) in terms.items():
            assert found == pytest.approx(expected, rel=1e-4 if key == "perceptual" else 2e-6), key


def test_the_frozen_network_is_in_no_checkpoint_and_in_no_optimizer(weights, fit):
    system = with_terms(weights)
    assert not any("distance" in name or "features." in name for name in system.state_dict())
    plain = pix2pix("none")
    assert {name.split(".")[0] for name in system.state_dict()} == {name.split(".")[0] for name in plain.state_dict()}
    assert len(system.parameters_of(system.players[1])) == len(plain.parameters_of(plain.players[1]))


CHOSEN = [
    *("model/discriminator=multiscale", "model.discriminator.scales=2", "model.discriminator.layers=1"),
    "model/terms=[feature_matching,perceptual]",
]


@pytest.fixture
def chosen(folders, weights):
    """An override list: pairs of 32 px, with everything that is in conf/model/terms."""
    small = ["data=pairs", f"data.root={folders / 'pairs'}", "data.size=32", "model.generator.depth=3", *TINY_PIX2PIX]
    return [*CHOSEN, f"model.terms.perceptual.weights={weights}", *small]


def test_every_term_is_in_this_test():
    names = {path.stem for path in (ROOT / "conf/model/terms").glob("*.yaml")}
    assert CHOSEN[-1] == f"model/terms=[{','.join(sorted(names))}]"


@pytest.mark.slow
def test_terms_are_chosen_and_a_training_with_them_is_restored(configured, chosen, tmp_path):
    settings = [*chosen, "trainer.max_epochs=3", "trainer.log_every_n_steps=1", "callbacks.earlier.save_top_k=-1"]
    run(configured(settings, "whole"))
    rows = (tmp_path / "whole/metrics.csv").read_text().splitlines()
    assert {"train/g/feature_matching", "train/g/perceptual", "train/g/l1"} <= set(rows[0].split(","))
    first = tmp_path / "whole/checkpoints/epoch_0000.ckpt"
    run(configured([*settings, f"ckpt_path={first}"], "restored"))
    killing.same(tmp_path / "whole", tmp_path / "restored")
    card = checkpoint.load(first)["ganforge"]
    assert card["networks"].keys() == {"generator"}
    assert json.loads((tmp_path / "whole/results.json").read_text())["test/l1"] > 0


def test_colour_has_the_same_terms(configured, tmp_path, weights):
    rng, folder = np.random.default_rng(0), tmp_path / "colours"
    folder.mkdir()
    from ganforge.pictures import images

    for number in range(10):
        images.write(folder / f"{number}.png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    small = ["model=colorize", "data=colour", f"data.root={folder}", "data.size=32", "model.generator.depth=3"]
    run(
        configured(
            [*small, *CHOSEN, f"model.terms.perceptual.weights={weights}", *TINY_PIX2PIX, "trainer.log_every_n_steps=1"]
        )
    )
    row = (tmp_path / "run/metrics.csv").read_text()
    assert "train/g/perceptual" in row and "train/g/feature_matching" in row


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model/terms=[feature_matching]", "model/discriminator=dcgan"], "model/discriminator=dcgan does not fit"),
        (["model/terms=[perceptual]"], r"model\.terms\.perceptual\.weights: is not given"),
        (["model/discriminator=multiscale"], "or fewer layers or scales, may help"),
        (["model/discriminator=multiscale", "model.discriminator.scales=0"], r"scales=0: 1 to 6"),
    ],
)
def test_what_does_not_fit_is_said_before_the_training(configured, folders, overrides, said):
    small = ["data=pairs", f"data.root={folders / 'pairs'}", "data.size=32", "model.generator.depth=3", *TINY_PIX2PIX]
    with pytest.raises(Exception, match=said):
        run(configured([*overrides, *small]))


def test_a_discriminator_without_activations_is_named(weights):
    class Plain(nn.Module):
        pass

    with pytest.raises(UserError, match="Plain has no method activations"):
        FeatureMatching().check(Plain(), None)


class Targets(torch.utils.data.Dataset):
    """What a metric is told of the data: here nothing."""


def test_the_metric_is_the_mean_distance_of_all_batches(weights, heads):
    metric = PerceptualMetrics(weights=weights, heads=heads)
    metric.prepare(SimpleNamespace(sides=None, compared_channels=(1, 1)))
    one, other = pair(5, 1, 64, 64)
    for part in (slice(0, 3), slice(3, 5)):
        metric.update({"target": other[part]}, one[part], Targets())
    distance = read_distance(weights, heads, "x")
    assert metric.compute() == {"perceptual/squeezenet": pytest.approx(float(distance(one, other).mean()), rel=1e-6)}
    metric.reset()
    there = torch.tensor([True, False, True])  # hidden partners
    target = other[:3].where(there[:, None, None, None], torch.nan)
    metric.update({"target": target}, one[:3], Targets())
    metric.update({}, one[:3], Targets())
    expected = float(distance(one[[0, 2]], other[[0, 2]]).mean())
    assert metric.compute()["perceptual/squeezenet"] == pytest.approx(expected, rel=1e-6)
    metric.reset()
    assert metric.compute() == {}
    assert metric.describe()["channel_order"] == "RGB"


def test_the_metric_stands_beside_its_floor(configured, folders, weights, heads, tmp_path):
    given = [f"evaluation.metrics.perceptual.{name}={path}" for name, path in (("weights", weights), ("heads", heads))]
    small = ["data=pairs", f"data.root={folders / 'pairs'}", "data.size=32", "model.generator.depth=3", *TINY_PIX2PIX]
    run(configured([*small, "evaluation=perceptual", *given]))
    results = json.loads((tmp_path / "run/results.json").read_text())
    for name in ("val", "test", "floor"):
        assert results[f"{name}/perceptual/squeezenet"] > 0
    assert "LPIPS" in results["evaluation"]["test/perceptual"]["formula"]


def test_without_its_files_the_metric_is_left_out_and_says_so(configured, folders, weights, tmp_path, capsys):
    small = ["data=pairs", f"data.root={folders / 'pairs'}", "data.size=32", "model.generator.depth=3", *TINY_PIX2PIX]
    run(configured([*small, "evaluation=perceptual", f"evaluation.metrics.perceptual.weights={weights}"]))
    assert (
        "perceptual/squeezenet is left out: evaluation.metrics.perceptual.heads is not given" in capsys.readouterr().out
    )
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert not any("perceptual" in name for name in results)
    assert results["evaluation"]["test/perceptual"]["left_out"].endswith("heads is not given")
    missing = f"evaluation.metrics.perceptual.weights={tmp_path / 'none.pth'}"
    with pytest.raises(UserError, match=r"perceptual\.weights=\S+none\.pth: no such file"):
        run(configured([*small, "evaluation=perceptual", missing, "evaluation.metrics.perceptual.heads=x"], "other"))
