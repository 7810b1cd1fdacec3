"""What paired differences of a few seeds say: an interval, a test, a verdict in words."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05
LEAST_SEEDS = 6  # 2 / 2^5 = 0.0625: with five no sign-flip test can reach 0.05
_EXACT = 14  # differences whose signs are flipped in all ways; of more, so many random ones:
_FLIPS = 2**15
_RESAMPLES = 10_000
_POWER = 0.8


@dataclass(frozen=True)
class Comparison:
    """Of an arm against another in the same seeds; differences, mean, low, high, smallest in the figure's own unit.

    low, high: 95 % interval of the mean. p: of the sign-flip test, two-sided. smallest: the effect that a study of this
    spread and size finds with a power of 80 %.
    """

    arm: str
    against: str
    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    p: float
    smallest: float


def compare(arm: str, against: str, figures: Sequence[float], others: Sequence[float]) -> Comparison:
    """The figures of an arm against those of another, seed by seed."""
    differences = np.asarray(figures, np.float64) - np.asarray(others, np.float64)
    low, high = bootstrap(differences)
    return Comparison(
        arm, against, tuple(map(float, differences)), float(differences.mean()), low, high,
        sign_flip(differences), smallest_effect(differences),
    )  # fmt: skip


def sign_flip(differences: np.ndarray, seed: int = 0) -> float:
    """The p of a mean as far from 0 as this one where the sign of each difference is chance (Fisher 1935)."""
    n = len(differences)
    if n <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(_FLIPS, n))
        signs[0] = 1
    sums = np.abs(signs @ differences)
    return float((sums >= abs(differences.sum()) - 1e-12 * np.abs(differences).sum()).mean())


def bootstrap(differences: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean: percentiles of resamples, widened for few of them (Hesterberg 2015)."""
    n = len(differences)
    if n < 2:
        return -math.inf, math.inf
    share = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(1 - LEVEL / 2, n - 1))
    rows = np.random.default_rng(seed).integers(n, size=(_RESAMPLES, n))
    low, high = np.quantile(differences[rows].mean(axis=1), [share, 1 - share])
    return float(low), float(high)


def smallest_effect(differences: np.ndarray) -> float:
    """The mean difference that a t-test at this level finds in 80 % of studies with this spread."""
    n = len(differences)
    if n < 2:
        return math.inf
    factor = stats.t.ppf(1 - LEVEL / 2, n - 1) + stats.t.ppf(_POWER, n - 1)
    return float(factor * np.std(differences, ddof=1) / math.sqrt(n))


def holm(ps: Sequence[float]) -> list[float]:
    """p values adjusted for being several (Holm 1979), in their order."""
    order, adjusted, most = np.argsort(ps, kind="stable"), [0.0] * len(ps), 0.0
    for place, row in enumerate(order):
        most = max(most, min(1.0, (len(ps) - place) * ps[row]))
        adjusted[row] = most
    return adjusted


def effect(comparison: Comparison, p: float | None = None) -> str:
    """ "helps", "harms" or "no evidence": claimed where test and interval agree. p: in place of its own."""
    p = comparison.p if p is None else p
    if p <= LEVEL and comparison.low > 0:
        return "helps"
    return "harms" if p <= LEVEL and comparison.high < 0 else "no evidence"


def verdict(comparison: Comparison, figure: str) -> str:
    """The sentence that a study ends with; figures are shares, said in points of 100."""
    n, word = len(comparison.differences), effect(comparison)
    low, high, smallest = (100 * value for value in (comparison.low, comparison.high, comparison.smallest))
    if word == "helps":
        return f"helps: {comparison.arm} is {low:.1f} to {high:.1f} points of {figure} above {comparison.against}"
    if word == "harms":
        return f"harms: {comparison.arm} is {-high:.1f} to {-low:.1f} points of {figure} below {comparison.against}"
    said = f"no evidence at {n} seeds"
    if n < LEAST_SEEDS:
        return (
            f"{said}: with fewer than {LEAST_SEEDS} no sign-flip test can reach {LEVEL:g} (here {2 / 2**n:.4g} at best)"
        )
    return (
        f"{said}: {comparison.arm} differs from {comparison.against} by {low:+.1f} to {high:+.1f} points of {figure}; "
        f"the smallest effect this study could have seen is {smallest:.1f}"
    )


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's; None where there is none (fewer than 3 values, or all equal)."""
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return float(stats.spearmanr(x, y).statistic)


def equivalent_shots(curve: Sequence[tuple[int, float]], value: float) -> tuple[float, str]:
    """How many real pictures a class reach a value on a curve of (shots, figure), straight in the logarithm of shots.

    Returns the number, and "fewer than" or "more than" where it lies outside of what was measured, else "".
    """
    curve = sorted(curve)
    if value <= curve[0][1]:
        return float(curve[0][0]), "" if value == curve[0][1] else "fewer than"
    for (few, lower), (many, upper) in itertools.pairwise(curve):
        if lower < value <= upper:
            return float(few * (many / few) ** ((value - lower) / (upper - lower))), ""
    return float(curve[-1][0]), "more than"
