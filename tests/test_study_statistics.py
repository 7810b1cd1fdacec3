"""What a study may claim: tests, intervals and verdicts of paired differences."""

import re

import numpy as np
import pytest
from scipy import stats

from ganforge.studies import statistics


def test_signs_are_flipped_in_all_ways():
    assert statistics.sign_flip(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == 2 / 32
    assert statistics.sign_flip(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])) == 2 / 64
    assert statistics.sign_flip(np.array([1.0, -1.0])) == 1
    assert statistics.sign_flip(np.zeros(7)) == 1


def test_many_differences_are_flipped_at_random_and_agree_with_scipy():
    differences = np.random.default_rng(0).normal(0.3, 1, 40)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=20_000)
    assert statistics.sign_flip(differences) == pytest.approx(expected.pvalue, abs=0.01)


def test_interval_of_few_differences_covers_as_often_as_it_says():
    drawn = np.random.default_rng(1).normal(0.5, 1, (400, 8))
    inside = [low <= 0.5 <= high for low, high in map(statistics.bootstrap, drawn)]
    assert 0.90 <= np.mean(inside) <= 0.98  # percentiles as they are: 0.89


def test_holm_is_the_published_step_down():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]


def test_smallest_effect_is_found_in_four_of_five_studies():
    drawn = np.random.default_rng(2).normal(0, 1, 10)
    smallest = statistics.smallest_effect(drawn)
    studies = np.random.default_rng(3).normal(smallest, drawn.std(ddof=1), (4000, 10))
    assert np.mean(stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(
    ("differences", "says"),
    [
        ([0.02, 0.03, 0.025, 0.04, 0.01, 0.03], r"helps: a is 1\.\d to 3\.\d points of accuracy above b$"),
        ([-0.02, -0.03, -0.025, -0.04, -0.01, -0.03], r"harms: a is 1\.\d to 3\.\d points of accuracy below b$"),
        (
            [0.02, -0.03, 0.025, -0.04, 0.01, 0.03],
            r"no evidence at 6 seeds: a differs from b by -\d\.\d to \+\d\.\d points of .* 4\.3$",
        ),
        ([0.02, 0.03, 0.025, 0.04, 0.01], "no evidence at 5 seeds: with fewer than 6 no sign-flip test can reach 0.05"),
        ([0.02], "no evidence at 1 seeds"),
        ([0.0] * 8, "no evidence at 8 seeds"),
    ],
)
def test_verdict_in_words(differences, says):
    comparison = statistics.compare("a", "b", np.array(differences) + 0.5, [0.5] * len(differences))
    assert re.match(says, statistics.verdict(comparison, "accuracy"))


def test_real_pictures_that_do_the_same():
    curve = [(20, 0.8), (5, 0.5)]
    assert statistics.equivalent_shots(curve, 0.65) == (pytest.approx(10), "")
    assert statistics.equivalent_shots(curve, 0.4) == (5, "fewer than")
    assert statistics.equivalent_shots(curve, 0.9) == (20, "more than")
    assert statistics.equivalent_shots(curve, 0.8) == (pytest.approx(20), "")


def test_rank_correlation_needs_values_that_differ():
    assert statistics.rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert statistics.rank_correlation([1, 1, 1], [3, 2, 1]) is None
    assert statistics.rank_correlation([1, 2], [3, 2]) is None
