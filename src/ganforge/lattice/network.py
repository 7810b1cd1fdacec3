"""Mechanical networks: sites joined by bonds, cut as open patches from periodic lattices."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ganforge.errors import require

BREATHING = (0.3, 0.7)  # beyond these the small triangles of a kagome patch are too small to draw
REGULAR = 0.5  # breathing of the regular kagome lattice


@dataclass(frozen=True, eq=False)
class Network:
    """Sites and the bonds between them.

    sites: (N, 2) float64, in lattice constants, or in pixels (x right, y down) once placed on a page.
    bonds: (M, 2) int64 indices of sites, each row i < j, rows unique and in ascending order (see `bond_array`).
    lattice: name of the lattice the patch was cut from, "" where there is none. disorder: standard deviation by which
    the sites were moved, in shortest bonds; None where it is not known.
    Raises UserError where the arrays are anything else.
    """

    sites: np.ndarray
    bonds: np.ndarray
    lattice: str = ""
    disorder: float | None = None

    def __post_init__(self) -> None:
        sites = np.asarray(self.sites, dtype=np.float64)
        bonds = np.asarray(self.bonds)
        require(sites.ndim == 2 and sites.shape[1] == 2, f"sites has shape {sites.shape}; accepted is (N, 2).")
        require(bool(np.isfinite(sites).all()), "sites holds a value that is not finite; accepted are finite numbers.")
        require(
            bonds.ndim == 2 and bonds.shape[1] == 2 and (bonds.dtype.kind in "iu" or bonds.size == 0),
            f"bonds has shape {bonds.shape} and type {bonds.dtype}; accepted is (M, 2) of integers.",
        )
        bonds = bonds.astype(np.int64)
        if len(bonds):
            require(
                bonds.min() >= 0 and bonds.max() < len(sites),
                f"bonds name sites {bonds.min()} to {bonds.max()}; accepted is 0 to {len(sites) - 1}.",
            )
            require(
                bool((bonds[:, 0] < bonds[:, 1]).all()),
                "bonds has a row (i, j) with i >= j; accepted is i < j in each.",
            )
            keys = bonds[:, 0] * len(sites) + bonds[:, 1]
            require(bool((np.diff(keys) > 0).all()), "bonds are not in ascending order, each once; use bond_array.")
        object.__setattr__(self, "sites", sites)
        object.__setattr__(self, "bonds", bonds)

    def lengths(self) -> np.ndarray:
        """(M,) lengths of the bonds, in the unit of the sites."""
        return np.sqrt(((self.sites[self.bonds[:, 1]] - self.sites[self.bonds[:, 0]]) ** 2).sum(axis=1))

    def degrees(self) -> np.ndarray:
        """(N,) number of bonds at each site, its coordination."""
        return np.bincount(self.bonds.ravel(), minlength=len(self.sites))


def bond_array(pairs: ArrayLike) -> np.ndarray:
    """Pairs of site indices in any order, with repeats, as (M, 2) int64: i < j, unique, ascending.

    Pairs of a site with itself are left out.
    """
    pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """A periodic lattice, one row of `LATTICES`.

    vectors: the two primitive vectors, in lattice constants.
    basis: the sites of one cell, likewise.
    bonds: (site, site of the other cell, (cells along the first vector, cells along the second)), each bond once.
    breathes: the basis may shrink or grow about its first site (the small triangles of kagome).
    """

    vectors: tuple[tuple[float, float], tuple[float, float]]
    basis: tuple[tuple[float, float], ...]
    bonds: tuple[tuple[int, int, tuple[int, int]], ...]
    breathes: bool = False


ROOT3 = 3**0.5
HEXAGONAL = ((1.0, 0.0), (0.5, ROOT3 / 2))
SNUB = (ROOT3 - 1) / 4  # p4g, Wyckoff position 4c: all five bonds of a site are equally long at this x
ELONGATED = 1 + ROOT3 / 2  # a row of squares and a row of triangles

LATTICES: dict[str, Lattice] = {
    "kagome": Lattice(
        vectors=HEXAGONAL,
        basis=((0.0, 0.0), (0.5, 0.0), (0.25, ROOT3 / 4)),
        bonds=((0, 1, (0, 0)), (0, 2, (0, 0)), (1, 2, (0, 0)), (1, 0, (1, 0)), (2, 0, (0, 1)), (1, 2, (1, -1))),
        breathes=True,
    ),
    "square": Lattice(
        vectors=((1.0, 0.0), (0.0, 1.0)),
        basis=((0.0, 0.0),),
        bonds=((0, 0, (1, 0)), (0, 0, (0, 1))),
    ),
    "triangular": Lattice(
        vectors=HEXAGONAL,
        basis=((0.0, 0.0),),
        bonds=((0, 0, (1, 0)), (0, 0, (0, 1)), (0, 0, (1, -1))),
    ),
    "honeycomb": Lattice(
        vectors=HEXAGONAL,
        basis=((0.0, 0.0), (0.5, ROOT3 / 6)),
        bonds=((0, 1, (0, 0)), (1, 0, (1, 0)), (1, 0, (0, 1))),
    ),
    "snub-square": Lattice(
        vectors=((1.0, 0.0), (0.0, 1.0)),
        basis=((SNUB, SNUB + 0.5), (1 - SNUB, 0.5 - SNUB), (0.5 - SNUB, SNUB), (0.5 + SNUB, 1 - SNUB)),
        bonds=(
            (0, 1, (-1, 0)),
            (0, 2, (0, 0)),
            (0, 2, (0, 1)),
            (0, 3, (-1, 0)),
            (0, 3, (0, 0)),
            (1, 2, (0, 0)),
            (1, 2, (1, 0)),
            (1, 3, (0, -1)),
            (1, 3, (0, 0)),
            (2, 3, (0, -1)),
        ),
    ),
    "elongated-triangular": Lattice(
        vectors=((1.0, 0.0), (0.5, ELONGATED)),
        basis=((0.0, 0.0), (0.0, 1.0)),
        bonds=((0, 0, (1, 0)), (1, 1, (1, 0)), (0, 1, (0, 0)), (1, 0, (0, 1)), (1, 0, (-1, 1))),
    ),
}


def patch(lattice: str, cells: tuple[int, int], breathing: float = REGULAR) -> Network:
    """An open parallelogram patch of `cells` = (along the first vector, along the second) cells, in lattice constants.

    Bonds that would leave the patch are left out. breathing: kagome only, side of the small triangles over the
    lattice constant, 0.5 the regular lattice, 0.3 to 0.7. Raises UserError for any other lattice, cells or breathing.
    """
    require(lattice in LATTICES, f"lattice={lattice!r} is unknown; choose one of {', '.join(LATTICES)}.")
    row = LATTICES[lattice]
    cells = tuple(cells)
    require(
        len(cells) == 2 and all(int(n) == n and n >= 1 for n in cells),
        f"cells={cells} is not a patch; accepted are two whole numbers of at least 1.",
    )
    low, high = BREATHING
    require(low <= breathing <= high, f"breathing={breathing} is out of range; accepted is {low} to {high}.")
    require(
        row.breathes or breathing == REGULAR,
        f"breathing={breathing} does not apply to lattice={lattice}; leave it at {REGULAR} or use kagome.",
    )
    nx, ny = (int(n) for n in cells)
    basis = np.array(row.basis) * (breathing / REGULAR)
    y, x = np.divmod(np.arange(nx * ny), nx)
    (ax, ay), (bx, by) = row.vectors
    corners = np.stack([x * ax + y * bx, x * ay + y * by], axis=1)
    sites = (corners[:, None] + basis[None]).reshape(-1, 2)
    pairs = []
    for first, second, (dx, dy) in row.bonds:
        inside = (x + dx >= 0) & (x + dx < nx) & (y + dy >= 0) & (y + dy < ny)
        cell = np.flatnonzero(inside)
        pairs.append(np.stack([cell * len(basis) + first, (cell + dy * nx + dx) * len(basis) + second], axis=1))
    return Network(sites, bond_array(np.concatenate(pairs)), lattice)


def disorder(network: Network, std: float, rng: np.random.Generator) -> Network:
    """The network with every site moved by an isotropic Gaussian; the bonds stay.

    std: standard deviation along each axis, in units of the shortest bond. Raises UserError where std is negative.
    """
    require(std >= 0, f"std={std} is negative; accepted is 0 or more, in units of the shortest bond.")
    unit = float(network.lengths().min()) if len(network.bonds) else 1.0
    return replace(network, sites=network.sites + rng.normal(size=network.sites.shape) * (std * unit), disorder=std)
