"""How often the reader of networks is right about damaged drawings, on networks of no test.

    python benchmarks/reader_damage.py [--networks 100] [--seed 1000]

Each drawing has one bond that is damaged, or a pair without a bond where something is drawn. Printed are, of each
damage, the share of drawings in which the reader is right about that pair, and how many other bonds it lost or made up
in a hundred drawings. The sites are given.
"""

import argparse
import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from ganforge.lattice import Distribution, Network, bond_array, draw, read, sample
from ganforge.lattice.draw import dot_ink, grey, line_ink, strokes
from ganforge.lattice.sample import legible

LATTICES = ("kagome", "square", "triangular", "honeycomb", "snub-square", "elongated-triangular")
FREE = 6.0  # px, least length of the stretch that is damaged


class Case:
    """A random network and one of its longer bonds, drawn with ink 0 to 1."""

    def __init__(self, seed: int, index: int):
        self.rng = np.random.default_rng([seed, index])
        self.size = (128, 256)[index % 2]
        wide = {"dot_radius": (3.0, 6.0), "line_width": (0.8, 3.6), "cells": (2, 6)} if index % 4 > 1 else {}
        network, style = sample(Distribution(lattices=LATTICES, disorder=(0.0, 0.12), **wide), self.size, self.rng)
        self.network = draw(network, self.size, style).network
        self.radius, self.width = strokes(style, self.size)
        self.black = 1 - style.line_grey
        lengths = self.network.lengths()
        self.bond = int(self.rng.choice(np.flatnonzero(lengths >= min(2 * self.radius + FREE, lengths.max()))))
        self.others = np.delete(self.network.bonds, self.bond, axis=0)
        self.ends = self.network.sites[self.network.bonds[self.bond]]
        y, x = np.mgrid[: self.size, : self.size] + 0.5
        along = self.ends[1] - self.ends[0]
        self.length = float(np.hypot(*along))
        unit = along / self.length
        dx, dy = x - self.ends[0, 0], y - self.ends[0, 1]
        self.forth, self.aside = (dx * unit[0] + dy * unit[1]) / self.length, dy * unit[0] - dx * unit[1]

    def lines(self, bonds: np.ndarray) -> np.ndarray:
        return self.black * line_ink(Network(self.network.sites, bond_array(bonds)), self.width, self.size)

    @property
    def own(self) -> np.ndarray:
        """The ink of the bond that is damaged."""
        return self.lines(self.network.bonds[self.bond : self.bond + 1])

    def picture(self, ink: np.ndarray, over: np.ndarray | float = 0.0) -> np.ndarray:
        """Dots and lines, and what is smeared over them."""
        drawn = np.maximum(dot_ink(self.network.sites, self.radius, self.size), ink)
        return grey(1 - (1 - drawn) * (1 - over))

    def within(self, low: float, high: float) -> np.ndarray:
        return (self.forth >= low) & (self.forth <= high)


Damage = Callable[[Case], tuple[np.ndarray, np.ndarray]]  # the picture, and the bonds that it shows


def whole(case: Case) -> tuple[np.ndarray, np.ndarray]:
    return case.picture(case.lines(case.network.bonds)), case.network.bonds


def erased(low: float, high: float) -> Damage:
    def damage(case: Case) -> tuple[np.ndarray, np.ndarray]:
        kept = case.own * ~case.within(low, high)
        return case.picture(np.maximum(case.lines(case.others), kept)), case.others

    return damage


def fading(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """From full ink at one end to none at the other."""
    kept = case.own * np.clip(1 - 1.2 * case.forth, 0, 1)
    return case.picture(np.maximum(case.lines(case.others), kept)), case.others


def halo(spread: float, ink: float) -> Damage:
    """A fuzzy band without a line: a Gaussian so many px across, from dot to dot."""

    def damage(case: Case) -> tuple[np.ndarray, np.ndarray]:
        band = np.exp(-((case.aside / spread) ** 2) / 2) * np.clip(1 - np.abs(case.forth - 0.5) * 1.2, 0, 1)
        return case.picture(case.lines(case.others), ink * case.black * band), case.others

    return damage


def blob(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A round fuzzy cloud over the middle."""
    away = ((case.forth - 0.5) * case.length) ** 2 + case.aside**2
    reach = max(case.length / 3, 4.0)
    return case.picture(case.lines(case.others), 0.7 * case.black * np.exp(-away / reach**2 / 2)), case.others


def smear(half: float) -> Damage:
    """A patch with sharp edges, so many px to either side of the straight line between the dots."""

    def damage(case: Case) -> tuple[np.ndarray, np.ndarray]:
        band = (np.abs(case.aside) <= half) & case.within(-0.1, 1.1)
        return case.picture(case.lines(case.others), 0.6 * case.black * band), case.others

    return damage


def extra(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A bond too many, where it is legible: it has to be read."""
    sites, have = case.network.sites, {tuple(bond) for bond in case.network.bonds.tolist()}
    away = np.sqrt(((sites[:, None] - sites) ** 2).sum(axis=2))
    near = np.argwhere(np.triu(away < 2.2 * case.network.lengths().min(), 1)).tolist()
    case.rng.shuffle(near)
    for pair in near:
        bonds = bond_array([*case.network.bonds.tolist(), pair])
        if tuple(pair) not in have and legible(Network(sites, bonds), case.radius, case.width):
            return case.picture(case.lines(bonds)), bonds
    return whole(case)


def faint(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A bond at 0.6 of the ink of the others: it is one."""
    return case.picture(np.maximum(case.lines(case.others), 0.6 * case.own)), case.network.bonds


def after(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Damage:
    """A sound drawing without one bond, changed as a whole."""

    def damage(case: Case) -> tuple[np.ndarray, np.ndarray]:
        return change(case.picture(case.lines(case.others)), case.rng).astype(np.uint8), case.others

    return damage


def jpeg(quality: int) -> Damage:
    def change(drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(drawn).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return after(change)


DAMAGES: dict[str, Damage] = {
    "none": whole,
    "half erased": erased(0.5, 1.0),
    "a third erased in the middle": erased(0.33, 0.67),
    "fading along its length": fading,
    "fuzzy halo, 2 px": halo(2.0, 0.8),
    "fuzzy halo, 3 px": halo(3.0, 0.8),
    "fuzzy halo, 5 px": halo(5.0, 0.8),
    "fuzzy cloud": blob,
    "sharp smear, 6 px wide": smear(3.0),
    "sharp smear, 10 px wide": smear(5.0),
    "bond too many": extra,
    "bond at 0.6 of the ink": faint,
    "JPEG 50": jpeg(50),
    "JPEG 30": jpeg(30),
    "noise 10 of 255": after(lambda drawn, rng: np.clip(drawn + rng.normal(size=drawn.shape) * 10, 0, 255)),
    "blur 0.7 px": after(lambda drawn, rng: gaussian_filter(drawn.astype(float), 0.7)),
    "blur 1.0 px": after(lambda drawn, rng: gaussian_filter(drawn.astype(float), 1.0)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1000, help="of the networks, above those of the tests")
    options = parser.parse_args()
    print(f"{'damage':32s} {'right':>7s} {'lost':>6s} {'made up':>8s}   of others, in 100 drawings")
    for name, damage in DAMAGES.items():
        right = lost = made_up = 0
        for index in range(options.networks):
            case = Case(options.seed, index)
            drawn, expected = damage(case)
            true = {tuple(bond) for bond in expected.tolist()}
            found = {tuple(bond) for bond in read(drawn, case.network.sites).bonds.tolist()}
            changed = true ^ {tuple(bond) for bond in case.network.bonds.tolist()}
            changed = changed or {tuple(case.network.bonds[case.bond].tolist())}
            right += not ((found ^ true) & changed)
            lost += len(true - found - changed)
            made_up += len(found - true - changed)
        scale = 100 / options.networks
        print(f"{name:32s} {scale * right:6.1f} % {scale * lost:6.1f} {scale * made_up:8.1f}", flush=True)


if __name__ == "__main__":
    main()
