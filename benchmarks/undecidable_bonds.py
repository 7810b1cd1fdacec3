"""Which of a model's wrong bonds nobody could tell from the sites alone: python benchmarks/undecidable_bonds.py RUN

The sites are those of a perfect lattice, scaled, turned by right angles, mirrored and moved, each with a Gaussian
error. For a pair of sites whose bond is wrong, perfect lattices of all kinds that the model was trained on are laid
over the sites within 1.5, 2.5 and 3.5 bonds of its middle, and over the whole network: every site has a place of its
own, and no place amid the sites stays empty. The likelihood of such a lattice, at its most likely scale, shift and
error, falls with the sum of squares that is left. Where the best lattice in which the pair is as the model says
leaves no more than the best one in which it is as it truly is, the pair is undecidable from so many sites: the best
reader of them, without a preference for some lattice or scale, does no better. The same is asked of pairs that the
model has right. Where no lattice is found that fits with the pair as it is, nothing is said; the search is none of
all lattices, and with much disorder it may miss the one that the sites are from, so shares are rather too high.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import Delaunay, cKDTree

from ganforge.commands.evaluate import rebuild_data
from ganforge.commands.translator import Translator
from ganforge.data.lattice import drawing
from ganforge.lattice import LATTICES, Network, patch, read
from ganforge.lattice.network import REGULAR
from ganforge.lattice.probability import candidate_bonds
from ganforge.runs.generators import load_generator

RADII = (1.5, 2.0, 2.5, 3.5, 5.0, 7.0, np.inf)  # bonds around the middle of a pair
SHOWN = (1.5, 2.5, 3.5, np.inf)  # of these
AFRESH = (
    3.5  # bonds, largest window to which lattices are fitted from first guesses too, not from smaller windows alone
)
CELLS = 48  # of a perfect lattice, a side: more than a network has on both sides of a pair
SCALES = (0.8, 0.87, 0.93, 1.0, 1.07, 1.15, 1.25)  # first guesses, over the one with as many sites an area
SHIFTS = 4  # first guesses along each vector of the cell
TURNS = {"square": 1, "triangular": 2}  # different ones under the symmetries of the page; of others 4
STEPS = 4  # of assigning the sites and fitting scale and shift again
NEAR = 7  # places that a site may have
TRIES = 15  # lattices of a kind in which two sites are nearest to one place, that are fitted one to one
WORST = 0.45  # bonds, root mean square distance of sites from their places; of more a lattice does not fit
KEPT = 40  # lattices of a kind that are followed to larger windows, with the pair joined and not
EMPTY = 0.5  # bonds around the pair, less than the window: places this far inside may not be empty
HOLLOW = 2.5  # bonds, longest side of a triangle of neighbouring sites: beyond is no inside


@dataclass(frozen=True, eq=False)
class Perfect:
    """A perfect lattice about the origin, in lattice constants. keys: of its bonds; area: of a site."""

    sites: np.ndarray
    keys: np.ndarray
    tree: cKDTree
    cell: np.ndarray
    area: float

    @classmethod
    def of(cls, name: str, breathing: float, turn: int) -> "Perfect":
        whole, row = patch(name, (CELLS, CELLS), breathing), LATTICES[name]
        order, signs = [1, 0] if turn & 1 else [0, 1], [1, -1 if turn & 2 else 1]
        sites = ((whole.sites - whole.sites.mean(axis=0)) * signs)[:, order]
        cell = (np.array(row.vectors) * signs)[:, order]
        keys = whole.bonds @ [len(sites), 1]
        return cls(sites, keys, cKDTree(sites), cell, abs(np.linalg.det(cell)) / len(row.basis))

    def fit(self, sites: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, ...]:
        """scale (S,), shift (S, 2), the nearest place of each site (S, N), and the sum of squares left (S,)."""
        for _ in range(STEPS):
            place = self.tree.query((sites - shift[:, None]) / scale[:, None, None])[1]
            scale, shift, left = self.refit(sites, place, scale)
        return scale, shift, place, left

    def refit(self, sites: np.ndarray, place: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, ...]:
        around, middle = sites - sites.mean(axis=0), self.sites[place].mean(axis=1)
        ideal = self.sites[place] - middle[:, None]
        spread = (ideal**2).sum(axis=(1, 2))
        scale = np.where(spread > 0, (around * ideal).sum(axis=(1, 2)) / np.maximum(spread, 1e-9), scale)
        scale = np.maximum(scale, 1e-3)
        left = ((around - scale[:, None, None] * ideal) ** 2).sum(axis=(1, 2))
        return scale, sites.mean(axis=0) - scale[:, None] * middle, left

    def one_to_one(self, sites: np.ndarray, scale: float, shift: np.ndarray) -> np.ndarray:
        """(1, N) places, none of them twice, near the sites."""
        away, near = self.tree.query((sites - shift) / scale, k=NEAR)
        places, column = np.unique(near, return_inverse=True)
        cost = np.full((len(sites), len(places)), 1e3)
        cost[np.arange(len(sites))[:, None], column.reshape(near.shape)] = away**2
        return places[linear_sum_assignment(cost)[1]][None]


def perfect_lattices(names: tuple[str, ...], breathing: tuple[float, float]) -> list[Perfect]:
    return [
        Perfect.of(name, value, turn)
        for name in names
        for value in (np.linspace(*breathing, 3) if LATTICES[name].breathes else [REGULAR])
        for turn in range(TURNS.get(name, 4))
    ]


class Inside:
    """Where places of a lattice may not stay empty: between sites that are neighbours."""

    def __init__(self, network: Network):
        self.mesh, self.bond = Delaunay(network.sites), float(np.median(network.lengths()))
        corners = network.sites[self.mesh.simplices]
        longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
        self.solid = longest <= HOLLOW * self.bond
        areas = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 2
        self.area_of_site = 2 * float(areas[self.solid].mean())  # amid many sites there are two triangles a site

    def has_empty(self, lattice: Perfect, scale: float, shift: np.ndarray, place: np.ndarray, middle, reach) -> bool:
        near = lattice.tree.query_ball_point((middle - shift) / scale, reach / scale)
        inside = np.setdiff1d(near, place).astype(np.int64)  # of nothing it would be of floats
        found = self.mesh.find_simplex(lattice.sites[inside] * scale + shift)
        return bool((self.solid[found] & (found >= 0)).any())


def undecidable(network: Network, pair: tuple[int, int], lattices: list[Perfect]) -> list[bool | None]:
    """For each of SHOWN; None where no lattice was found that fits with the pair as it truly is."""
    inside, pair = Inside(network), sorted(pair)
    joined = int((network.bonds == pair).all(axis=1).any())
    middle = network.sites[pair].mean(axis=0)
    away = np.linalg.norm(network.sites - middle, axis=1)
    least = np.full((len(RADII), 2), np.inf)  # sum of squares of each window with the pair apart, and joined
    for lattice in lattices:
        guess = np.repeat((inside.area_of_site / lattice.area) ** 0.5 * np.array(SCALES), SHIFTS**2)
        parts = np.stack(np.meshgrid(*[np.arange(SHIFTS) / SHIFTS] * 2), axis=-1).reshape(-1, 2)
        guesses = guess, middle - guess[:, None] * np.tile(parts @ lattice.cell, (len(SCALES), 1))
        scale, shift = (one[:0] for one in guesses)
        for window, radius in enumerate(RADII):
            if radius <= AFRESH:
                scale, shift = (np.concatenate(both) for both in zip((scale, shift), guesses, strict=True))
            radius = min(radius * inside.bond, away.max())
            own = np.flatnonzero(away <= max(radius, away[pair].max()))
            if len(scale) == 0:
                break
            scale, shift, place, left = lattice.fit(network.sites[own], scale, shift)
            alike = np.round(np.stack([scale / inside.bond, left / inside.bond**2], axis=1), 4)
            kept, number, tried = [], [0, 0], 0
            for index in sorted(np.unique(alike, axis=0, return_index=True)[1], key=left.__getitem__):
                if left[index] > len(own) * (WORST * inside.bond) ** 2:
                    break
                at = slice(index, index + 1)
                if len(np.unique(place[index])) < len(own):
                    if tried == TRIES:
                        continue
                    tried += 1
                    place[at] = lattice.one_to_one(network.sites[own], scale[index], shift[index])
                    scale[at], shift[at], left[at] = lattice.refit(network.sites[own], place[at], scale[at])
                ends = np.sort(place[index, np.searchsorted(own, pair)])
                state = int(np.isin(ends @ [len(lattice.sites), 1], lattice.keys))
                fits = scale[index], shift[index], place[index], middle, radius - EMPTY * inside.bond
                if number[state] < KEPT and not inside.has_empty(lattice, *fits):
                    kept.append(index)
                    number[state] += 1
                    least[window, state] = min(least[window, state], left[index])
            scale, shift = scale[kept], shift[kept]
    true, other = least[:, joined], least[:, 1 - joined]
    verdicts = [bool(b <= a * (1 + 1e-9)) if np.isfinite(a) else None for a, b in zip(true, other, strict=True)]
    return [verdict for radius, verdict in zip(RADII, verdicts, strict=True) if radius in SHOWN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run with data=lattice, or its checkpoint")
    parser.add_argument("-n", type=int, default=150, help="networks of each band of disorder (default %(default)s)")
    parser.add_argument("--most", type=int, default=200, help="pairs of each kind and band (default %(default)s)")
    options = parser.parse_args()
    generator = load_generator(options.run)
    data, translator, rng = rebuild_data(generator), Translator(generator), np.random.default_rng(0)
    lattices = perfect_lattices(data.distribution.lattices, data.distribution.breathing)
    windows = " | ".join("whole network" if np.isinf(r) else f"{r} bonds" for r in SHOWN)
    print(f"| disorder | lattice | pairs that are | of | judged | undecidable within {windows} |")
    print("|---|---|---|---|---|" + "---|" * len(SHOWN))
    for band in ((0.0, 0.1), (0.1, 0.2)):
        distribution = replace(data.distribution, disorder=band)
        pairs = defaultdict(list)  # lattice, wrong or right: network and pair
        for index in range(options.n):
            drawn = drawing(distribution, data.size, data.seed, "shifted", index)
            network = drawn.network
            (generated,) = translator.pictures([drawn.source[..., None]])
            true, found = (set(map(tuple, n.bonds.tolist())) for n in (network, read(generated[..., 0], network.sites)))
            right = set(map(tuple, candidate_bonds(network.sites).tolist())) - (true ^ found)
            pairs[network.lattice, "wrong"] += [(network, pair) for pair in sorted(true ^ found)]
            pairs[network.lattice, "right"] += [(network, pair) for pair in sorted(right)]
        for (lattice, kind), every in sorted(pairs.items()):
            chosen = rng.permutation(len(every))[: options.most if kind == "wrong" else options.most // 4]
            said = [undecidable(*every[index], lattices) for index in chosen]
            known = [[one for one in column if one is not None] for column in zip(*said, strict=True)]
            shares = [f"{sum(column)} of {len(column)}" if column else "-" for column in known] or ["-"] * len(SHOWN)
            cells = [f"{band[0]} to {band[1]}", lattice, kind, len(every), len(chosen), *shares]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
