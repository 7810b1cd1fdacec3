"""How likely it is that two sites are joined, by the ink that a generator drew between them.

A generator that is sure draws a line or paper; one that is not draws something between. What its hesitation is worth is
learned from networks whose bonds are known: `fitted`.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.spatial import Delaunay, QhullError, cKDTree

from ganforge.lattice.baselines import triangulation
from ganforge.lattice.bonds import (
    OFFSETS,
    PAPER,
    WIGGLE,
    flanked,
    lines_between,
    quantile_per_bond,
    ridges_along,
    third_sites,
)
from ganforge.lattice.ink import Page, page_of
from ganforge.lattice.network import bond_array
from ganforge.lattice.sites import anchored

DOUBTFUL = (0.05, 0.95)  # a probability between these is no answer
FARTHEST = 4.0  # median distances to the nearest site, longest candidate; disorder and breathing stretch one to about 3
STATIONS = 9  # at which the ink along a candidate is sampled
ASIDE = (-0.5, 0.0, 0.5)  # px from the straight line between two sites, at which its ink is sampled too
FEWEST = 3  # bonds that tell how dark a picture's lines are
MOST_INK = 1.5  # of a candidate, over that of the picture's lines
STANDS_OUT = 0.5  # of a line's own ink, by which it exceeds that of its sides; in small triangles they are blurred
LEAST_ALIKE = 5  # pairs that are given one probability; of a model that is nearly always sure few are doubtful
LARGEST = 1e3  # of a number of a calibration
PRIOR = 0.02  # of the squared numbers of a calibration, in its loss: where all is certain it stays finite


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a picture says of candidate bonds.

    pairs: (K, 2) indices of sites, as `bond_array`. values: (K, 3): mean ink along the segment between the dots, its
    weakest third, both over that of the picture's own lines, 0 to 1.5; and 1 where `read` sees a bond, else 0.
    """

    pairs: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Probability of a bond as a function, never falling, of its score = intercept + weights . evidence.

    weights: of the three numbers of `Evidence`. steps: (score, probability), both ascending, and straight lines between
    them; without any the probability is 1 / (1 + exp(-score)).
    """

    intercept: float
    weights: tuple[float, float, float]
    steps: tuple[tuple[float, float], ...] = ()

    def probabilities(self, evidence: Evidence) -> np.ndarray:
        """(K,) of its pairs."""
        score = self.intercept + evidence.values @ np.array(self.weights)
        return np.interp(score, *np.array(self.steps).T) if self.steps else logistic(score)

    def to_card(self) -> dict[str, Any]:
        return {"intercept": self.intercept, "weights": list(self.weights), "steps": [list(one) for one in self.steps]}

    @classmethod
    def from_card(cls, value: dict[str, Any]) -> "Calibration":
        """The calibration that `to_card` gave."""
        steps = tuple((score, probability) for score, probability in value.get("steps", []))
        return cls(value["intercept"], tuple(value["weights"]), steps)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of sites that could be joined, and how likely they are.

    pairs: (K, 2) as `bond_array`. probabilities: (K,) 0 to 1; calibrated: else they are ink, see `probable_bonds`.
    """

    pairs: np.ndarray
    probabilities: np.ndarray
    calibrated: bool

    @property
    def is_bond(self) -> np.ndarray:
        """(K,) whether a pair is more likely joined than not."""
        return self.probabilities >= 0.5

    @property
    def is_doubtful(self) -> np.ndarray:
        return doubtful(self.probabilities)


def probable_bonds(drawn: np.ndarray, sites: np.ndarray, calibration: Calibration | None = None) -> Candidates:
    """The probability of every bond that could be between the sites, from the picture that a generator drew.

    drawn: (H, W) uint8, dark dots and lines on light paper. sites: (N, 2) in px of it. Without a calibration what
    `read` takes for bonds has 0.5 to 1 and the rest less, by its ink.
    """
    page, sites = page_of(drawn), np.asarray(sites, dtype=np.float64).reshape(-1, 2)
    evidence = evidence_in(page, sites, candidate_bonds(sites))
    return Candidates(evidence.pairs, probabilities_of(evidence, calibration), calibration is not None)


def bond_probabilities(
    drawn: np.ndarray, sites: np.ndarray, pairs: np.ndarray, calibration: Calibration | None = None
) -> np.ndarray:
    """(K,) the same for (K, 2) pairs of the sites, in any order; 0 for those that pass a third dot."""
    evidence = evidence_in(page_of(drawn), np.asarray(sites, dtype=np.float64).reshape(-1, 2), bond_array(pairs))
    known = dict(zip(map(tuple, evidence.pairs.tolist()), probabilities_of(evidence, calibration), strict=True))
    return np.array([known.get((min(pair), max(pair)), 0.0) for pair in np.asarray(pairs).reshape(-1, 2).tolist()])


def probabilities_of(evidence: Evidence, calibration: Calibration | None) -> np.ndarray:
    if calibration is not None:
        return calibration.probabilities(evidence)
    ink, is_read = evidence.values[:, 0].clip(0, 1), evidence.values[:, 2] > 0
    return np.where(is_read, 0.5 + 0.5 * ink, 0.499 * ink)


def doubtful(probabilities: np.ndarray) -> np.ndarray:
    low, high = DOUBTFUL
    return (low < probabilities) & (probabilities < high)


def candidate_bonds(sites: np.ndarray) -> np.ndarray:
    """(K, 2) pairs of sites that could be bonded: edges of the Delaunay triangulation, and those that one flip makes.

    At most FARTHEST median distances of neighbours apart.
    """
    if len(sites) < 2:
        return bond_array([])
    edges = triangulation(sites)
    pairs = [edges]
    if len(sites) >= 4:
        try:
            mesh = Delaunay(sites)
        except QhullError:  # all on one line
            mesh = None
        if mesh is not None:
            triangle, opposite = np.nonzero(mesh.neighbors >= 0)
            other = mesh.neighbors[triangle, opposite]
            # The corner of the neighbour that is none of the edge they share.
            back = (mesh.neighbors[other] == triangle[:, None]).argmax(axis=1)
            pairs.append(np.stack([mesh.simplices[triangle, opposite], mesh.simplices[other, back]], axis=1))
    pairs = bond_array(np.concatenate(pairs))
    spacing = float(np.median(cKDTree(sites).query(sites, k=2)[0][:, 1]))
    length = np.sqrt(((sites[pairs[:, 0]] - sites[pairs[:, 1]]) ** 2).sum(axis=1))
    return pairs[(length > 0) & (length <= FARTHEST * spacing)]


def evidence_in(page: Page, sites: np.ndarray, pairs: np.ndarray) -> Evidence:
    """What a picture says of (K, 2) candidates between the sites, and of whatever else `read` takes for a bond.

    Of those that pass a third dot it says nothing: they are left out.
    """
    centres, radius = anchored(page, sites)
    lines = lines_between(page, centres, radius)
    pairs = bond_array(np.concatenate([pairs, lines.bonds]))
    if len(pairs):
        pairs = pairs[np.minimum(*third_sites(centres, pairs)) > radius + lines.width / 2 + 0.6]
    if len(pairs) == 0:
        return Evidence(pairs, np.zeros((0, 3)))
    is_read = np.isin(pairs @ [len(sites), 1], lines.bonds @ [len(sites), 1])
    ink = ink_along(page, centres, pairs, radius)
    mean, weakest = ink.mean(axis=1), np.sort(ink, axis=1)[:, : STATIONS // 3].mean(axis=1)
    line = float(np.median(mean[is_read])) if is_read.sum() >= FEWEST else 1.0
    standing = distinctness(page, centres, pairs, radius, lines.width)
    values = (np.stack([mean, weakest], axis=1) * standing[:, None] / line).clip(0, MOST_INK)
    return Evidence(pairs, np.concatenate([values, is_read[:, None]], axis=1))


def ink_along(page: Page, sites: np.ndarray, pairs: np.ndarray, radius: float) -> np.ndarray:
    """(K, STATIONS) ink along the stretch between the dots of each pair, the darkest across it."""
    start = sites[pairs[:, 0]]
    along = sites[pairs[:, 1]] - start
    length = np.sqrt((along**2).sum(axis=1, keepdims=True))
    unit = along / length
    begin = np.minimum(radius + 1.0, 0.4 * length)
    forth = begin + np.linspace(0, 1, STATIONS) * (length - 2 * begin)
    x, y = start[:, :1] + forth * unit[:, :1], start[:, 1:] + forth * unit[:, 1:]
    across = [page.at(page.soft, x - off * unit[:, 1:], y + off * unit[:, :1]) for off in ASIDE]
    return np.maximum.reduce(across)


def distinctness(page: Page, sites: np.ndarray, pairs: np.ndarray, radius: float, width: float) -> np.ndarray:
    """(K,) 0 to 1: how far a stretch stands out from its sides, by half its own ink at least; a fuzzy halo does not."""
    ridges = ridges_along(page, sites, pairs, radius)
    allowed = np.broadcast_to(np.abs(OFFSETS) <= WIGGLE, ridges.ink.shape)
    peak = np.where(allowed, ridges.ink, 0.0).max(axis=1)
    contrast = flanked(ridges.ink, allowed, width / 2 + 1.0, width / 2 + 2.25)
    share = quantile_per_bond(contrast / np.maximum(peak, 1e-3), ridges, 1 - PAPER)
    return np.clip(share / STANDS_OUT, 0.0, 1.0)


def logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -50, 50)))


def fitted(values: np.ndarray, joined: np.ndarray) -> Calibration | None:
    """The calibration under which (K, 3) values of `Evidence` say best which pairs are (K,) joined, or None.

    Scores by logistic regression with a weak prior, probabilities by isotonic regression of what is joined on them:
    nearly all pairs are certain, and the curve that fits these is wrong for the doubtful ones. None where all are
    joined, or none is.
    """
    values, joined = np.asarray(values, dtype=np.float64), np.asarray(joined, dtype=np.float64)
    if len(joined) == 0 or joined.min() == joined.max():
        return None
    with_one = np.concatenate([np.ones((len(values), 1)), values], axis=1)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = with_one @ weights
        value = np.logaddexp(0, score).sum() - (joined * score).sum() + PRIOR * (weights**2).sum()
        return value, with_one.T @ (logistic(score) - joined) + 2 * PRIOR * weights

    found = minimize(loss, np.zeros(4), jac=True, method="L-BFGS-B").x
    intercept, *weights = (float(number) for number in np.clip(found, -LARGEST, LARGEST))
    return Calibration(intercept, tuple(weights), steps(intercept + values @ np.array(weights), joined))


def steps(scores: np.ndarray, joined: np.ndarray) -> tuple[tuple[float, float], ...]:
    """The steps of the calibration of (K,) scores of pairs of which (K,) are joined, 0 or 1; none of few pairs."""
    scores, place = np.unique(scores, return_inverse=True)
    pairs, bonds = np.bincount(place), np.bincount(place, weights=joined)
    until = np.concatenate([[0], pairs.cumsum()])
    edges = [0]
    for edge in isotonic_regression(bonds / pairs, weights=pairs).blocks[1:].tolist():
        if until[edge] - until[edges[-1]] >= LEAST_ALIKE:
            edges.append(edge)
    if len(edges) < 2:
        return ()
    edges[-1] = len(scores)  # what is left over at the end belongs to the last
    found = []
    for begin, end in pairwise(edges):
        # As if half a pair more were joined, and half a pair not: none is certain.
        share = (bonds[begin:end].sum() + 0.5) / (until[end] - until[begin] + 1)
        found += [(scores[begin], share), (scores[end - 1], share)]
    ascending = np.maximum.accumulate([share for _, share in found])
    return tuple((float(score), float(share)) for (score, _), share in zip(found, ascending, strict=True))
