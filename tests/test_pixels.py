"""The pixel metrics against scipy, against closed forms, and on collections that are wrong in a known way."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from ganforge.errors import UserError
from ganforge.evaluation import pixels
from ganforge.evaluation.pixels import PixelMetrics, pairwise_rms, reduce, sliced_wasserstein, standard_error
from test_memorization import Data, noise, unit


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25), (12, 36), (1, 7)])
def test_sliced_wasserstein_is_scipys_along_each_direction(n, m):
    a, b = torch.randn(n, 6, generator=seeded(1)), torch.randn(m, 6, generator=seeded(2)) * 2 + 1
    directions = torch.randn(6, 9, generator=seeded(3)).numpy()
    directions /= np.linalg.norm(directions, axis=0)
    expected = np.mean([wasserstein_distance(a.numpy() @ d, b.numpy() @ d) for d in directions.T])
    assert sliced_wasserstein(a, b, 9, seeded(3)) == pytest.approx(expected, rel=1e-5)


def test_sliced_wasserstein_of_a_shift_is_known_and_does_not_depend_on_the_size():
    for dimension in (100, 3000):
        a = torch.rand(8, dimension, generator=seeded(1))
        found = sliced_wasserstein(a, a + 0.5, 20_000, seeded(2))
        assert found == pytest.approx(0.5 * math.sqrt(2 / math.pi), rel=0.02)
    assert sliced_wasserstein(a, a.flip(0), 20, seeded(2)) == 0


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_standard_error_of_swd_is_the_spread_of_many_independent_samples(shift):
    generator = seeded(0)
    real = torch.randn(400, 12, generator=generator)
    draws = [torch.randn(200, 12, generator=generator) * 1.3 + shift for _ in range(60)]
    found = [sliced_wasserstein(draw, real, 40, seeded(1)) for draw in draws]
    estimated = np.mean([standard_error(draw, real, 40, seeded(1)) for draw in draws])
    assert 0.75 < estimated / np.std(found, ddof=1) < 1.35
    assert math.isnan(standard_error(draws[0][:1], real, 40, seeded(1)))


def test_swd_has_an_interval_in_the_test_alone(prepared):
    for stage, said in (("val", False), ("test", True)):
        running = copy.deepcopy(prepared)
        running.stage = stage
        running.update({"index": torch.arange(50)}, unit(noise(50, 1)), None)
        swd = running.compute()["swd"]
        assert ("intervals" in running.describe()) is said
    low, high = running.describe()["intervals"]["swd"]
    assert 0 <= low < swd < high < 1.2 * swd


def test_pairwise_rms_is_what_a_loop_finds():
    vectors = torch.randint(0, 256, (300, 30), generator=seeded(1), dtype=torch.uint8)
    values = vectors.double().numpy()
    pairs = [np.sqrt(np.mean((values[i] - values[j]) ** 2)) for i in range(300) for j in range(i)]
    assert pairwise_rms(vectors) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert pairwise_rms(vectors[:1].expand(10, -1)) == 0
    assert math.isnan(pairwise_rms(vectors[:1]))


def test_large_images_are_averaged_down():
    stripes = torch.zeros(2, 3, 256, 128, dtype=torch.uint8)
    stripes[..., ::4] = 200  # finer than the result: without antialiasing these lines would be missed
    reduced = reduce(stripes).view(2, 3, 64, 32)
    assert (reduced[..., 1:-1] == 50).all()
    small = noise(4, 0, (3, 64, 64))
    assert torch.equal(reduce(small), small.flatten(1))


def judged(metric: PixelMetrics, generated: torch.Tensor) -> dict[str, float]:
    running = copy.deepcopy(metric)
    for index in torch.arange(len(generated)).split(9)[::-1]:
        running.update({"index": index}, unit(generated[index]), None)
    return running.compute()


@pytest.fixture(scope="module")
def prepared() -> PixelMetrics:
    metric = PixelMetrics(projections=64)
    metric.prepare(Data(noise(400, 0)))
    return metric


def test_new_images_of_the_same_kind(prepared):
    values = judged(prepared, noise(300, 1))
    assert values["swd"] < 0.08  # of samples this small; their values are 0.58 from their mean
    assert values["diversity"] == pytest.approx(1, abs=0.01)
    assert values["duplicates"] == 0


def test_the_scale_of_swd_is_that_of_images(prepared):
    """All images black against uniform noise: along each direction a shift, of 1 on [-1, 1] a pixel."""
    values = judged(prepared, torch.zeros(300, 1, 12, 12, dtype=torch.uint8))
    directions = torch.randn(144, 64, generator=seeded(0))
    directions /= directions.norm(dim=0)
    real = prepared.reference.vectors.double().numpy() / 127.5 - 1
    expected = np.mean([wasserstein_distance(-np.ones(144) @ d[:, None], real @ d) for d in directions.numpy().T])
    assert values["swd"] == pytest.approx(expected, rel=1e-4)
    assert values["diversity"] == 0
    assert values["duplicates"] == 1


def test_repeated_images_are_counted(prepared):
    generated = noise(100, 1)
    generated[[10, 50, 99]] = generated[0].clone()
    generated[70] = (generated[71].int() + torch.where(generated[71] < 128, 20, -20)).to(torch.uint8)  # near it
    assert prepared.reference.close > 20
    assert judged(prepared, generated)["duplicates"] == pytest.approx(6 / 100)


def test_half_of_the_contrast_is_half_of_the_diversity(prepared):
    values = judged(prepared, (noise(300, 1).float() / 2 + 64).to(torch.uint8))
    assert values["diversity"] == pytest.approx(0.5, abs=0.01)


def test_order_and_copies_do_not_change_the_numbers(prepared, monkeypatch):
    monkeypatch.setattr(pixels, "PAIRED", 10)
    generated = noise(30, 1)
    generated[20:] = generated[20].clone()  # beyond what is compared with each other
    once = judged(prepared, generated)
    other = copy.deepcopy(prepared)
    other.update({"index": torch.arange(30)}, unit(generated), None)
    assert other.compute() == once
    assert once["duplicates"] == 0
    assert other.reference is prepared.reference
    other.reset()
    other.update({"index": torch.arange(1)}, unit(generated[:1]), None)
    assert set(other.compute()) == {"swd"}


def test_equal_real_images(prepared):
    """No two of them differ: diversity is no number, and only copies are duplicates."""
    metric = PixelMetrics(projections=8)
    metric.prepare(Data(noise(1, 0).expand(20, -1, -1, -1)))
    generated = noise(10, 1)
    generated[3] = generated[4]
    values = judged(metric, generated)
    assert math.isnan(values["diversity"])
    assert values["duplicates"] == pytest.approx(2 / 10)


def test_what_is_refused():
    with pytest.raises(UserError, match="projections=0"):
        PixelMetrics(projections=0)
    with pytest.raises(UserError, match="there is 1; use 2 or more"):
        PixelMetrics().prepare(Data(noise(1, 0)))
