"""The rigidity matrix of a network of springs, and how many of its vibrations lie below a frequency.

Springs have unit stiffness and sites unit mass, so that squared frequencies are the eigenvalues of R^T R, where R takes
the displacements of the sites to the elongations of the bonds (Lubensky et al. 2015, Rep. Prog. Phys. 78, 073901).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, splu

from ganforge.errors import require
from ganforge.lattice.network import Network

DENSE = 600  # displacements up to which dense decompositions are the faster path
EXACT = 1e-5  # frequency up to which a mode is zero if sites are exact: 1e-10 in R^T R, where rounding is 1e-15
BACKWARD = 1e-2  # of a shift: most that rounding may move the eigenvalues that are counted against it
SMOOTH = 1e-8  # of R^T R, weight of the displacements' differences: of equally soft modes the smoothest comes first
MOST_WORK = 1e10  # of `elimination_work`: 100,000 sites of a lattice need that, 10,000 joined at random 6e10
TURN = (0.8, 0.6)  # cosine and sine; sites are turned, as bonds along the axes make pivots that are rounding alone


@dataclass(frozen=True, eq=False)
class Springs:
    """A network as springs.

    vectors: (M, 2) from the first to the second site of each bond. pinned: (N,) bool, sites that cannot move; bonds
    between two of them are no springs. periodic: whether the network repeats, so that it cannot turn as a whole.
    """

    network: Network
    vectors: np.ndarray
    pinned: np.ndarray
    periodic: bool

    @cached_property
    def bonds(self) -> np.ndarray:
        """Indices of the bonds that are springs."""
        return np.flatnonzero(~self.pinned[self.network.bonds].all(axis=1))

    @cached_property
    def free(self) -> np.ndarray:
        """(F,) indices 2 site + axis of the displacements that are free."""
        return np.flatnonzero(np.repeat(~self.pinned, 2))

    @cached_property
    def lengths(self) -> np.ndarray:
        """(M',) lengths of the springs, in the unit of the sites."""
        return np.sqrt((self.vectors[self.bonds] ** 2).sum(axis=1))

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """(M', F) sparse rigidity matrix: a row a spring, a column a free displacement."""
        return self.rows(self.vectors[self.bonds] / self.lengths[:, None])

    @cached_property
    def turning(self) -> sparse.csr_array:
        """(M', F) sparse: displacements to the angles by which they turn the springs."""
        across = self.vectors[self.bonds][:, ::-1] * [-1, 1]
        return self.rows(across / self.lengths[:, None] ** 2)

    def rows(self, direction: np.ndarray) -> sparse.csr_array:
        """(M', F) sparse: displacements to the components along (M', 2) of the springs' ends' differences."""
        sites = self.network.bonds[self.bonds]
        column = 2 * sites[:, [0, 0, 1, 1]] + [0, 1, 0, 1]
        row = np.repeat(np.arange(len(sites)), 4)
        values = np.concatenate([-direction, direction], axis=1)
        shape = (len(sites), 2 * len(self.pinned))
        return sparse.csr_array((values.ravel(), (row, column.ravel())), shape=shape)[:, self.free]

    @cached_property
    def rigid(self) -> np.ndarray:
        """(F, K) orthonormal rigid motions: 3, without turning 2, with pinned sites what these leave."""
        if len(self.free) == 0:
            return np.zeros((0, 0))
        fixed = self.network.sites[self.pinned]
        x, y = (self.network.sites - (fixed if len(fixed) else self.network.sites).mean(axis=0)).T
        zero, one = np.zeros_like(x), np.ones_like(x)
        motions = [] if len(fixed) else [np.stack([one, zero], axis=1), np.stack([zero, one], axis=1)]
        turn = np.stack([-y, x], axis=1)
        if not self.periodic and np.allclose(turn[self.pinned], 0) and not np.allclose(turn, 0):
            motions.append(turn)
        stacked = np.stack([motion.ravel()[self.free] for motion in motions], axis=1) if motions else None
        return np.zeros((len(self.free), 0)) if stacked is None else np.linalg.qr(stacked)[0]

    @cached_property
    def turn(self) -> sparse.csr_array:
        """(F, F) orthogonal, to axes in which `TURN` has turned each site's displacement."""
        cosine, sine = TURN
        return sparse.kron(
            sparse.eye_array(len(self.free) // 2), np.array([[cosine, -sine], [sine, cosine]]), format="csr"
        )

    @cached_property
    def stiffness(self) -> sparse.csc_array:
        """(F, F) R^T R in turned axes."""
        turned = self.matrix @ self.turn
        return sparse.csc_array(turned.T @ turned)

    @property
    def highest(self) -> float:
        """A frequency that no mode exceeds: twice the largest number of springs at a site bounds R^T R."""
        return float(np.sqrt(2 * max(self.network.degrees().max(initial=0), 1)))

    @cached_property
    def frequencies(self) -> np.ndarray:
        """(F,) all frequencies, ascending: the singular values of R and zeros. Dense: for small networks."""
        values = np.zeros(len(self.free))
        if min(self.matrix.shape):
            found = np.linalg.svd(self.matrix.toarray(), compute_uv=False)
            values[len(values) - len(found) :] = found[::-1]
        return values

    def below(self, frequency: float) -> int:
        """How many modes lie below a frequency above 0, rigid motions among them."""
        if len(self.free) <= DENSE:
            return int(np.searchsorted(self.frequencies, frequency))
        return eigenvalues_below(self.stiffness, frequency**2)

    def zero(self, accuracy: float) -> int:
        """How many modes, rigid motions among them, have no frequency that sites of that accuracy would show.

        They lengthen the springs by no more (root of the sum of squares) than they would if each spring were turned by
        accuracy / length from where it is. accuracy: 0 or more, in the unit of the sites.
        """
        if accuracy == 0:
            return self.below(EXACT)
        turned = accuracy * self.turning @ self.turn
        matrix = sparse.csc_array(self.stiffness - turned.T @ turned)
        if len(self.free) <= DENSE:
            return int((linalg.eigvalsh(matrix.toarray()) < EXACT**2).sum())
        return eigenvalues_below(matrix, EXACT**2)

    def softest(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies (K,) and displacements (K, N, 2), each of norm 1, of the softest modes beside rigid motions.

        K is `number`, or as many as there are, or as Lanczos' iteration finds.
        """
        number = min(number, len(self.free) - self.rigid.shape[1])
        if number <= 0:
            return np.zeros(0), np.zeros((0, len(self.pinned), 2))
        smooth = self.matrix.T @ self.matrix + SMOOTH * self.differences()
        rigid = self.rigid
        if len(self.free) <= DENSE or number > len(self.free) // 4:
            away = smooth.toarray() + 4 * self.highest**2 * rigid @ rigid.T
            modes = linalg.eigh(away, subset_by_index=(0, number - 1))[1]
        else:
            solve = splu(sparse.csc_array(smooth + EXACT**2 * sparse.eye_array(len(self.free)))).solve

            def inverse(vector: np.ndarray) -> np.ndarray:
                moved = solve(vector - rigid @ (rigid.T @ vector))
                return moved - rigid @ (rigid.T @ moved)

            start = np.random.default_rng(0).normal(size=len(self.free))
            operator = LinearOperator(smooth.shape, matvec=inverse, dtype=np.float64)
            try:
                modes = eigsh(operator, number, which="LA", v0=start - rigid @ (rigid.T @ start))[1][:, ::-1]
            except ArpackNoConvergence as error:
                modes = error.eigenvectors[:, ::-1]  # those that did converge
            number = modes.shape[1]
        modes = modes * np.sign(modes[np.abs(modes).argmax(axis=0), np.arange(number)])  # either sign is a mode
        frequencies = np.sqrt(((self.matrix @ modes) ** 2).sum(axis=0))
        order = np.argsort(np.maximum(frequencies, EXACT), kind="stable")
        displacements = np.zeros((number, 2 * len(self.pinned)))
        displacements[:, self.free] = modes.T[order]
        return frequencies[order], displacements.reshape(number, -1, 2)

    def differences(self) -> sparse.csr_array:
        """(F, F) form that sums the squared differences of the displacements at the ends of each spring."""
        sites = self.network.bonds[self.bonds]
        row = np.repeat(np.arange(len(sites)), 2)
        values = np.tile([-1.0, 1.0], len(sites))
        graph = sparse.csr_array((values, (row, sites.ravel())), shape=(len(sites), len(self.pinned)))
        both = sparse.kron(graph, sparse.eye_array(2), format="csr")[:, self.free]
        return both.T @ both


def elimination_work(network: Network) -> float:
    """Sum of the squared widths of the band that the bonds fill when sites are in order of reverse Cuthill-McKee.

    It bounds what a factorization takes, which is little in a plane, and more than any machine has where thousands of
    sites are joined at random.
    """
    sites, (first, second) = len(network.sites), network.bonds.T
    graph = sparse.coo_array((np.ones(len(first)), (first, second)), shape=(sites, sites)).tocsr()
    order = reverse_cuthill_mckee(sparse.csr_matrix(graph + graph.T), symmetric_mode=True)
    place = np.empty(sites, dtype=np.int64)
    place[order] = np.arange(sites)
    low, high = np.sort(place[network.bonds], axis=1).T
    width = np.zeros(sites)
    np.maximum.at(width, high, high - low)
    return float((width**2).sum())


def eigenvalues_below(matrix: sparse.csc_array, shift: float) -> int:
    """How many eigenvalues of a sparse symmetric matrix lie below `shift` > 0.

    By Sylvester's law of inertia: as many as the factor U of matrix - shift = L U has negative numbers on its diagonal,
    where rows are interchanged as columns are. Pivots are not chosen for their size, so what the factors make of a
    random vector is compared, and a factorization that is too inexact is repeated with a shift close by.
    """
    random = np.random.default_rng(0)
    size = matrix.shape[0]
    scale = float(abs(matrix).sum(axis=0).max()) + shift
    for attempt in range(8):
        near = shift * (1 + attempt * 1e-3)
        shifted = sparse.csc_array(matrix - near * sparse.eye_array(size))
        try:
            factors = splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        except RuntimeError:  # exactly singular: the shift is an eigenvalue
            continue
        if (factors.perm_r == factors.perm_c).all():
            vector = random.normal(size=size)
            solved = factors.solve(vector)
            miss = np.linalg.norm(shifted @ solved - vector) / np.linalg.norm(solved)
            if miss <= max(BACKWARD * shift, 4 * np.finfo(float).eps * scale):
                return int((factors.U.diagonal() < 0).sum())
    require(size <= 20_000, f"the {size} displacements of this network cannot be counted below {shift}; cut it.")
    return int((linalg.eigvalsh(matrix.toarray()) < shift).sum())
