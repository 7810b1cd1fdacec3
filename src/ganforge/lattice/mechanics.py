"""What a network of springs says of its material: mechanisms, self stresses, softest modes, moduli, vibrations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import splu

from ganforge.errors import require
from ganforge.lattice.network import LATTICES, REGULAR, Network, bond_array, patch
from ganforge.lattice.rigidity import DENSE, EXACT, MOST_WORK, Springs, elimination_work

READ = 0.06  # px, root mean square distance at which sites are read from a clean drawing
SAFE = 2.0  # times that error may lengthen the bonds by chance more than on average
LEAST_READ = 4.0  # px; bonds read from pictures are longer, those in lattice constants shorter
SHORTEST = 1e-9  # of the longest bond; a shorter one has no direction
MODES = 8
BINS = 40  # of the density of states


@dataclass(frozen=True, eq=False)
class Mechanics:
    """Mechanics of a network of unit springs between sites of unit mass.

    zero_modes: motions that lengthen no bond, beyond the rigid motions of the whole. self_stresses: independent
    tensions in equilibrium. They obey zero_modes + rigid_motions - self_stresses = freedoms - bonds (Maxwell 1864,
    Calladine 1978). freedoms: displacements of the sites that are free.
    accuracy: of the sites, in their unit. tolerance: angle in radians to which it gives a bond of mean length, see
    `analyse`. within_accuracy: how many of the zero modes are zero only within it, not to rounding.
    frequencies: (K,), modes: (K, N, 2) of norm 1, the softest beside the rigid motions, ascending.
    """

    sites: int
    bonds: int
    freedoms: int
    rigid_motions: int
    zero_modes: int
    self_stresses: int
    within_accuracy: int
    accuracy: float
    tolerance: float
    frequencies: np.ndarray
    modes: np.ndarray

    @property
    def maxwell(self) -> int:
        """Freedoms less bonds less rigid motions: zero_modes - self_stresses, by counting alone."""
        return self.freedoms - self.bonds - self.rigid_motions


def analyse(
    network: Network,
    *,
    accuracy: float | None = None,
    pinned: ArrayLike = (),
    cell: ArrayLike | None = None,
    modes: int = MODES,
) -> Mechanics:
    """Zero modes, self stresses and softest modes of a network; raises UserError for bonds of length 0.

    A mode is zero where the bonds lengthen by no more than the sites' inaccuracy can feign: with sites at a distance of
    `accuracy` from where they belong (root mean square) a bond of length l is turned by about accuracy / l, and a
    motion without elongation, which moves its ends sideways by d, seems to lengthen it by d * accuracy / l. Twice as
    much is the limit, all bonds together (`Springs.zero`), and for exact sites a frequency of 1e-5.
    accuracy: in the unit of the sites. None is 0.06 for networks in pixels (bonds of 4 px or more, on average), and 0
    for those in lattice constants, whose sites are taken as exact.
    pinned: indices of sites that do not move. cell: (2, 2), rows the vectors by which a periodic network repeats; each
    bond is the shortest between its sites' images. modes: how many of the softest to find.
    """
    springs = springs_of(network, pinned, cell)
    accuracy = accuracy_of(springs, accuracy)
    rigid = springs.rigid.shape[1]
    exact = springs.zero(0.0)
    count = max(exact, springs.zero(SAFE * accuracy)) if accuracy else exact
    frequencies, displacements = springs.softest(modes)
    return Mechanics(
        sites=len(network.sites),
        bonds=len(springs.bonds),
        freedoms=len(springs.free),
        rigid_motions=rigid,
        zero_modes=count - rigid,
        self_stresses=len(springs.bonds) - len(springs.free) + count,
        within_accuracy=count - exact,
        accuracy=accuracy,
        tolerance=SAFE * accuracy / float(springs.lengths.mean()) if len(springs.bonds) else 0.0,
        frequencies=frequencies,
        modes=displacements,
    )


def zero_modes(network: Network) -> int:
    """The zero modes that `analyse` counts by default, and nothing else."""
    springs = springs_of(network)
    return springs.zero(SAFE * accuracy_of(springs)) - springs.rigid.shape[1]


def accuracy_of(springs: Springs, accuracy: float | None = None) -> float:
    """The accuracy that `analyse` takes; None is that of sites read from a picture, or 0 for lattice constants."""
    mean = float(springs.lengths.mean()) if len(springs.bonds) else np.inf
    if accuracy is None:
        return READ if LEAST_READ <= mean < np.inf else 0.0
    require(
        0 <= accuracy < mean,
        f"accuracy={accuracy}; accepted is 0 to below the mean bond, {mean:.4g}, in the unit of the sites.",
    )
    return float(accuracy)


def springs_of(network: Network, pinned: ArrayLike = (), cell: ArrayLike | None = None) -> Springs:
    """The network as springs, as `analyse` takes it."""
    held = np.zeros(len(network.sites), dtype=bool)
    pinned = np.asarray(pinned, dtype=np.int64)
    require(
        bool(((pinned >= 0) & (pinned < len(held))).all()),
        f"pinned names sites beyond 0 to {len(held) - 1}; give indices of sites.",
    )
    held[pinned] = True
    vectors = network.sites[network.bonds[:, 1]] - network.sites[network.bonds[:, 0]]
    if cell is not None:
        cell = cell_of(cell)
        vectors = vectors - np.round(vectors @ np.linalg.inv(cell)) @ cell
        around = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)]) @ cell
        images = vectors[:, None] + around
        nearest = (images**2).sum(axis=2).argmin(axis=1)
        vectors = images[np.arange(len(vectors)), nearest]
    lengths = np.hypot(*vectors.T)
    short = np.flatnonzero(lengths <= SHORTEST * lengths.max(initial=0.0))
    require(
        len(short) == 0,
        f"bond {network.bonds[short[0]].tolist() if len(short) else ''} has length 0; leave it out or move a site.",
    )
    require(
        2 * len(held) <= DENSE or elimination_work(network) <= MOST_WORK,
        f"{len(network.bonds)} bonds join {len(held)} sites too far across the network to be analysed; bonds join "
        "neighbours, so leave out the long ones, or cut it.",
    )
    return Springs(network, vectors, held, cell is not None)


def cell_of(cell: ArrayLike) -> np.ndarray:
    """(2, 2) float64 vectors of a periodic cell; raises UserError for anything else."""
    cell = np.asarray(cell, dtype=np.float64)
    require(
        cell.shape == (2, 2) and bool(np.isfinite(cell).all()) and abs(np.linalg.det(cell)) > 0,
        f"cell={cell.tolist()}; accepted are two vectors [[x, y], [x, y]] that are not parallel.",
    )
    return cell


def rigidity_matrix(network: Network, *, pinned: ArrayLike = (), cell: ArrayLike | None = None) -> sparse.csr_array:
    """(M, F) sparse: displacements (x and y of each free site in turn) to elongations of the bonds; `.toarray()`."""
    return springs_of(network, pinned, cell).matrix


def density_of_states(
    network: Network, *, bins: int = BINS, pinned: ArrayLike = (), cell: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Edges (bins + 1,) of frequencies from 0, and (bins,) how many modes lie between them; all modes are counted."""
    require(1 <= bins <= 1000, f"bins={bins}; accepted is 1 to 1000.")
    springs = springs_of(network, pinned, cell)
    edges = np.linspace(0.0, springs.highest * 1.001, bins + 1)
    below = [springs.below(edge) for edge in edges[1:-1]]
    return edges, np.diff([0, *below, len(springs.free)])


@dataclass(frozen=True)
class Moduli:
    """Linear response of a periodic network of unit springs, in spring constants (two dimensions).

    bulk: energy per area of the dilation e * identity is 2 * bulk * e^2. pure_shear (e, -e) and simple_shear (angle g):
    2 * pure_shear * e^2 and simple_shear * g^2 / 2; equal where the network is isotropic.
    """

    bulk: float
    pure_shear: float
    simple_shear: float


def moduli(network: Network, cell: ArrayLike) -> Moduli:
    """Bulk and shear moduli of a periodic network whose sites, taken as exact, relax; see `analyse` for the cell.

    What the sites cannot relax are the elongations' parts along the states of self stress.
    """
    springs = springs_of(network, (), cell)
    x, y = (springs.vectors / np.sqrt(springs.lengths)[:, None]).T  # l n (x) n is what a strain elongates
    elongations = np.stack([x * x, y * y, x * y], axis=1)
    matrix = springs.matrix
    solve = splu(sparse.csc_array(matrix.T @ matrix + EXACT**2 * sparse.eye_array(matrix.shape[1]))).solve
    held = elongations - matrix @ solve(matrix.T @ elongations)
    stiffness = held.T @ held / abs(np.linalg.det(cell_of(cell)))
    (xx, xy, _), (_, yy, _), (_, _, shear) = stiffness
    return Moduli(float(xx + yy + 2 * xy) / 4, float(xx + yy - 2 * xy) / 4, float(shear))


def periodic_patch(lattice: str, cells: tuple[int, int], breathing: float = REGULAR) -> tuple[Network, np.ndarray]:
    """A patch with the bonds that leave it on one side and come back on the other, and its (2, 2) cell.

    At least 3 cells along each vector, or two bonds would join the same sites. See `patch`.
    """
    require(min(cells) >= 3, f"cells={tuple(cells)}; a periodic patch has at least 3 along each vector.")
    open_patch = patch(lattice, cells, breathing)
    (nx, ny), row = cells, LATTICES[lattice]
    y, x = np.divmod(np.arange(nx * ny), nx)
    pairs = []
    for first, second, (dx, dy) in row.bonds:
        other = (y + dy) % ny * nx + (x + dx) % nx
        pairs.append(np.stack([(y * nx + x) * len(row.basis) + first, other * len(row.basis) + second], axis=1))
    return Network(open_patch.sites, bond_array(np.concatenate(pairs)), lattice), np.array(row.vectors) * [[nx], [ny]]
