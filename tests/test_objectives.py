"""Objectives and schedules against numbers worked out by hand."""

import math

import pytest
import torch

from ganforge.errors import UserError
from ganforge.objectives import hinge, least_squares, vanilla
from ganforge.schedules import ConstantThenLinear
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
