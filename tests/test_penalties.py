"""Gradient penalties against values worked out by hand, and their derivatives against finite differences."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call

from conftest import overrides_for, overrides_for_model
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game import penalties
from ganforge.game.penalties import Penalties, dragan, known, wgan_gp, zero_centred
from ganforge.game.schedules import Cosine

EVERY = "trainer.log_every_n_steps=1"
REAL = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).reshape(2, 1, 1, 2)
FAKE = torch.tensor([[0.0, 1.0], [1.0, 1.0]]).reshape(2, 1, 1, 2)


def linear(images: torch.Tensor) -> torch.Tensor:
    """<w, x> with w = (3, 4), whose norm is 5."""
    return (images * torch.tensor([3.0, 4.0])).sum((1, 2, 3))


def square(images: torch.Tensor) -> torch.Tensor:
    """|x|^2 / 2: the gradient is the image."""
    return images.square().sum((1, 2, 3)) / 2


def test_a_linear_critic_has_the_same_gradient_everywhere():
    assert zero_centred(linear, REAL) == 25
    assert wgan_gp(linear, REAL, FAKE).item() == pytest.approx((5 - 1) ** 2)
    assert dragan(linear, REAL, FAKE).item() == pytest.approx((5 - 1) ** 2)


def test_a_quadratic_critic():
    # Norms of the images: sqrt(5) and 3. Twice the critic has gradients twice as long.
    assert zero_centred(square, REAL) == (5 + 9) / 2
    assert zero_centred(lambda images: 2 * square(images), REAL) == 4 * (5 + 9) / 2
    # Between an image and itself there is only the image.
    expected = ((math.sqrt(5) - 1) ** 2 + (3 - 1) ** 2) / 2
    assert wgan_gp(square, REAL, REAL).item() == pytest.approx(expected)


def test_all_logits_of_an_image_count():
    # Two logits, <w, x> and 2 <w, x>: the gradient of their sum is 3 w.
    patches = lambda images: torch.stack([linear(images), 2 * linear(images)], dim=1)[:, None]  # noqa: E731
    assert zero_centred(patches, REAL) == 9 * 25


def test_wgan_gp_mixes_every_image_uniformly():
    # Between 0 and four pixels of 1, at share a, the gradient has the norm 2 a; E[(2 a - 1)^2] = 4/3 - 2 + 1 = 1/3.
    # Pixels with shares of their own would give 4/3 - 2 * 1.12 + 1 = 0.09.
    torch.manual_seed(0)
    real = torch.zeros(20_000, 1, 2, 2)
    assert wgan_gp(square, real, real + 1).item() == pytest.approx(1 / 3, abs=0.01)


def test_dragan_looks_half_a_standard_deviation_ahead():
    # Pixels of +1 and -1, standard deviation 1: the gradient's norm is 1 + a u / 2 or 1 - a u / 2, and
    # E[(a u / 2)^2] = 1/4 * 1/3 * 1/3 = 1/36. Twice as large pixels and a critic of |x|^2 / 4 keep the norms.
    torch.manual_seed(0)
    real = torch.tensor([1.0, -1.0]).repeat(20_000).reshape(-1, 1, 1, 1)
    assert dragan(square, real, real).item() == pytest.approx(1 / 36, abs=1e-3)
    assert dragan(lambda images: square(images) / 2, 2 * real, real).item() == pytest.approx(1 / 36, abs=1e-3)


def test_dragan_takes_the_standard_deviation_of_the_whole_batch(monkeypatch):
    # 1 and -1 have the standard deviation 1; at the far end the norms are 1 + 1/2 and 1 - 1/2.
    monkeypatch.setattr(torch, "rand", torch.ones)
    monkeypatch.setattr(torch, "rand_like", torch.ones_like)
    assert dragan(square, torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1), FAKE).item() == pytest.approx(1 / 4)


class Critic(nn.Module):
    """Smooth, in float64, with two logits an image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 3, 2), nn.Softplus(), nn.Conv2d(3, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(2, 2)]
        self.layers = nn.Sequential(*layers).double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


@pytest.mark.parametrize("kind", known())
def test_derivatives_by_the_critics_parameters_are_those_of_finite_differences(kind):
    critic = Critic()
    names, weights = zip(*critic.named_parameters(), strict=True)
    real, fake = torch.randn(2, 2, 2, 3, 3, dtype=torch.float64)
    penalty = Penalties(**{kind: 0.7})

    def value(*weights: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return penalty(partial(functional_call, critic, dict(zip(names, weights, strict=True))), real, fake, 0)[kind]

    assert value(*weights).dtype == torch.float64
    weights = [weight.detach().requires_grad_() for weight in weights]
    assert torch.autograd.gradcheck(value, weights)
    assert torch.autograd.gradgradcheck(value, weights)


@pytest.mark.parametrize("kind", known())
def test_only_the_critic_moves(kind):
    critic = Critic().float()
    real = torch.randn(2, 2, 3, 3, requires_grad=True)
    fake = torch.randn(2, 2, 3, 3, requires_grad=True)
    Penalties(**{kind: 1.0})(critic, real, fake, 0)[kind].backward()
    assert real.grad is None and fake.grad is None
    # The bias of the last layer shifts logits, and no gradient depends on it.
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in list(critic.parameters())[:-1])


@pytest.mark.parametrize("kind", known())
def test_autocast_and_half_images_are_computed_in_float32(kind):
    seen = []

    def critic(images: torch.Tensor) -> torch.Tensor:
        logits = nn.functional.linear(images.flatten(1), torch.full((1, 2), 0.3))
        seen.extend([images.dtype, logits.dtype])
        return logits

    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = Penalties(**{kind: 1.0})(critic, REAL.bfloat16(), FAKE.bfloat16(), 0)[kind]
    assert {*seen, value.dtype} == {torch.float32}


@pytest.mark.parametrize("kind", known())
def test_a_critic_without_any_gradient_has_finite_derivatives(kind):
    weight = torch.zeros(1, requires_grad=True)
    value = Penalties(**{kind: 1.0})(lambda images: (weight * images).sum((1, 2, 3)), REAL, FAKE, 0)[kind]
    assert value.item() == pytest.approx(0 if kind in ("r1", "r2", "drift") else 1, abs=1e-5)
    value.backward()
    assert weight.grad.isfinite().all()


def test_kinds_look_at_the_images_that_they_name():
    # Mean squared norms: real images 7, generated ones (1 + 2) / 2.
    assert Penalties(r1=10, r2=10)(square, REAL, FAKE, 0) == {"r1": 70, "r2": 15}
    torch.manual_seed(0)
    same = wgan_gp(square, REAL, FAKE), dragan(square, REAL, FAKE)
    torch.manual_seed(0)
    assert Penalties(wgan_gp=2)(square, REAL, FAKE, 0) == {"wgan_gp": 2 * same[0]}
    assert Penalties(dragan=2)(square, REAL, FAKE, 0) == {"dragan": 2 * same[1]}


def test_a_lazy_penalty_keeps_its_mean_over_the_updates():
    eager, lazy = Penalties(r1=0.5), Penalties(r1=0.5, every=4)
    terms = [lazy(linear, REAL, FAKE, update) for update in range(8)]
    assert [sorted(term) for term in terms] == [["r1"], [], [], []] * 2
    assert sum(term["r1"] for term in terms if term) / 8 == eager(linear, REAL, FAKE, 5)["r1"] == 12.5


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"r3": 1.0}, r"model\.penalties\.r3: no such penalty; choose from r1, r2, wgan_gp, dragan"),
        ({"zero_centred": 1.0}, r"model\.penalties\.zero_centred: no such penalty"),
        ({"r1": -1}, r"model\.penalties\.r1=-1: 0 or more"),
        ({"every": 0}, r"model\.penalties\.every=0: 1 or more"),
        ({"every": 1.5}, r"model\.penalties\.every=1.5"),
    ],
)
def test_wrong_values_are_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        Penalties(**{"r1": 1.0, **wrong})


def test_a_new_penalty_is_one_function_and_one_line_of_yaml(configured, folders, tmp_path, monkeypatch):
    def quiet(critic, real, fake):
        return critic(real).square().mean()

    monkeypatch.setattr(penalties, "quiet", quiet, raising=False)
    assert Penalties(quiet=3, r1=0)(linear, REAL, FAKE, 0)["quiet"] == 3 * linear(REAL).square().mean()
    row = "+model.penalties.quiet=2"  # a line of conf/model/base/latent.yaml
    run(configured([row, *overrides_for_model("dcgan"), *overrides_for("image_folder", folders), EVERY]))
    assert "train/d/quiet" in (tmp_path / "run/metrics.csv").read_text().splitlines()[0]


def test_the_settings_name_every_penalty(configured):
    weights = configured(["model=dcgan", "data=mnist"]).model.penalties
    assert {name for name in weights if not name.startswith("_")} == {*known(), "every"}


def test_a_weight_may_follow_the_images_seen():
    half = Cosine(first=2.0, last=0.0, images=100)
    assert [half(seen) for seen in (0, 50, 100, 1000)] == pytest.approx([2, 1, 0, 0])
    values = [Penalties(r1=half)(square, REAL, FAKE, 0, seen)["r1"].item() for seen in (0, 50, 100)]
    assert values == pytest.approx([14, 7, 0])
    with pytest.raises(UserError, match=r"model\.penalties\.r1=Cosine\(first=1, last=-1, images=5\): 0 or more"):
        Penalties(r1=Cosine(first=1, last=-1, images=5))
