"""Compares networks: found bonds with true ones over the same sites, and found sites with true ones."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import distance_matrix

from ganforge.errors import require
from ganforge.lattice.network import bond_array


@dataclass(frozen=True)
class BondScore:
    """Counts of bonds: tp found and true, fp found only, fn true only."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def f1(self) -> float:
        """Harmonic mean of the shares of found bonds that are true and of true bonds that are found; 0 without any."""
        return 2 * self.tp / max(1, 2 * self.tp + self.fp + self.fn)

    @property
    def exact(self) -> bool:
        """Whether found and true bonds are the same."""
        return self.fp == self.fn == 0


def score_bonds(true: np.ndarray, found: np.ndarray) -> BondScore:
    """Counts for (M, 2) true and (K, 2) found bonds, pairs of indices of the same sites in any order."""
    true, found = ({tuple(pair) for pair in bond_array(bonds).tolist()} for bonds in (true, found))
    return BondScore(len(true & found), len(found - true), len(true - found))


@dataclass(frozen=True, eq=False)
class SiteMatch:
    """Found sites paired one to one with true ones.

    pairs: (K, 2) int64 indices (found, true). recall: share of the true sites with a partner, precision: of the found.
    shift: mean distance of the partners, in the unit of the sites; nan where there are none.
    """

    pairs: np.ndarray
    recall: float
    precision: float
    shift: float


def match_sites(found: np.ndarray, true: np.ndarray, radius: float) -> SiteMatch:
    """Pair (K, 2) found with (N, 2) true sites at most `radius` apart: as many as can be, then as close as can be."""
    require(radius > 0, f"radius={radius}; accepted is above 0.")
    found, true = (np.asarray(sites, dtype=np.float64).reshape(-1, 2) for sites in (found, true))
    distance = distance_matrix(found, true)
    near = distance <= radius
    # One pair too far apart costs more than all near ones together.
    rows, columns = linear_sum_assignment(np.where(near, distance, radius * (min(distance.shape, default=0) + 1)))
    keep = near[rows, columns]
    pairs = np.stack([rows[keep], columns[keep]], axis=1).astype(np.int64)
    return SiteMatch(
        pairs=pairs,
        recall=len(pairs) / len(true) if len(true) else 1.0,
        precision=len(pairs) / len(found) if len(found) else 1.0,
        shift=float(distance[pairs[:, 0], pairs[:, 1]].mean()) if len(pairs) else float("nan"),
    )
