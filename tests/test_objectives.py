"""Objectives and schedules against numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ganforge.errors import UserError
from ganforge.game.objectives import hinge, least_squares, logistic, minimax, relativistic, vanilla, wasserstein
from ganforge.game.schedules import ConstantThenLinear
from ganforge.systems.pix2pix import weighted_l1

REAL, FAKE = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.0])


def test_hinge():
    assert hinge.g(torch.tensor([1.0, 3.0])) == -2
    assert hinge.d(REAL, FAKE) == (0 + 0.5) / 2 + (0 + 2) / 2


def test_least_squares():
    assert least_squares.d(REAL, FAKE) == (1 + 0.25) / 2 + (9 + 1) / 2
    assert least_squares.g(FAKE) == (16 + 0) / 2


def test_vanilla_is_binary_cross_entropy_with_logits():
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    d = (
        -(math.log(sigmoid(2)) + math.log(sigmoid(0.5))) / 2
        - (math.log(1 - sigmoid(-3)) + math.log(1 - sigmoid(1))) / 2
    )
    g = -(math.log(sigmoid(-3)) + math.log(sigmoid(1))) / 2
    assert vanilla.d(REAL, FAKE).item() == pytest.approx(d, abs=1e-6)
    assert vanilla.g(FAKE).item() == pytest.approx(g, abs=1e-6)


def test_minimax_differs_in_the_generator_alone():
    assert minimax.d(REAL, FAKE) == vanilla.d(REAL, FAKE)
    # log(1 - sigmoid(x)) = -log(1 + exp(x)): what the discriminator maximises, the generator minimises
    expected = -(math.log(1 + math.exp(-3)) + math.log(1 + math.exp(1))) / 2
    assert minimax.g(FAKE).item() == pytest.approx(expected, abs=1e-6)
    assert logistic == vanilla


def test_wasserstein():
    assert wasserstein.d(REAL, FAKE) == -1.25 + -1
    assert wasserstein.g(FAKE) == 1
    assert wasserstein.boundary is None


def test_relativistic_pairs_every_real_image_with_a_generated_one():
    softplus = lambda x: math.log(1 + math.exp(x))  # noqa: E731
    assert relativistic.d(REAL, FAKE).item() == pytest.approx((softplus(-5) + softplus(0.5)) / 2, abs=1e-6)
    assert relativistic.g(FAKE, REAL).item() == pytest.approx((softplus(5) + softplus(-0.5)) / 2, abs=1e-6)


def test_one_sided_smoothing_is_a_target_below_one():
    target = torch.tensor([0.9, 0.9])
    expected = binary_cross_entropy_with_logits(REAL, target) + binary_cross_entropy_with_logits(FAKE, 0 * FAKE)
    assert vanilla.d(REAL, FAKE, smoothing=0.1).item() == pytest.approx(expected.item(), abs=1e-6)
    # least squares against 0.9, but for the constant 0.9 * 0.1
    shifted = ((REAL - 0.9) ** 2).mean() + 0.09 + (FAKE**2).mean()
    assert least_squares.d(REAL, FAKE, smoothing=0.1).item() == pytest.approx(shifted.item(), abs=1e-6)
    # hinge: 0.9 relu(1 - x) + 0.1 relu(1 + x) = 0.3 at 2 and 0.6 at 0.5
    assert hinge.d(REAL, FAKE, smoothing=0.1).item() == pytest.approx((0.3 + 0.6) / 2 + 1, abs=1e-6)


def test_flipping_exchanges_the_labels_of_a_share_of_the_images():
    real, fake = torch.full((20_000, 1, 2, 2), 2.0), torch.full((20_000, 1, 2, 2), -3.0)
    torch.manual_seed(0)
    # Wasserstein: -2 for a real image, +2 where it is flipped; -3 and +3 for a generated one
    assert wasserstein.d(real, fake, flip=0.25).item() == pytest.approx(0.75 * -5 + 0.25 * 5, abs=0.1)
    single = wasserstein.d(real[:1], fake[:1], flip=0.4999).item()
    assert single in (-5.0, 5.0, -1.0, 1.0)  # an image's patches are flipped together


def test_constant_then_linear():
    schedule = ConstantThenLinear(decay_from=0.5)
    assert [schedule(p) for p in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]
    assert ConstantThenLinear(decay_from=None)(0.9) == 1
    with pytest.raises(UserError, match=r"decay_from=1.5"):
        ConstantThenLinear(decay_from=1.5)


def test_ink_counts_as_often_as_its_weight_says():
    target = torch.tensor([[-1.0, 1.0]])  # a black and a white pixel
    generated = torch.tensor([[0.0, 0.5]])
    assert weighted_l1(generated, target, 1) == (1 + 0.5) / 2
    assert weighted_l1(generated, target, 10) == (10 * 1 + 0.5) / 2


def test_squares_count_beside_the_absolute_differences():
    target, generated = torch.tensor([[-1.0, 1.0]]), torch.tensor([[1.0, 0.5]])
    assert weighted_l1(generated, target, 1, square_weight=3.0) == (2 + 3 * 4 + 0.5 + 3 * 0.25) / 2
    assert weighted_l1(generated, target, 10, square_weight=3.0) == (10 * (2 + 3 * 4) + 0.5 + 3 * 0.25) / 2
