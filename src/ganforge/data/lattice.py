"""`data=lattice`: mechanical networks drawn on the fly, sites as source and sites with bonds as target."""

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from omegaconf import ListConfig
from torch.utils.data import Dataset

from ganforge.data.module import DataModule, RealPictures
from ganforge.errors import require
from ganforge.lattice import Distribution, Drawing, Network, draw, sample
from ganforge.lattice.canonical import Look
from ganforge.lattice.sample import FEWEST_CELLS, MOST_DISORDER
from ganforge.pictures.tensors import to_unit

# First words of the seeds: the streams of two splits have nothing in common.
STREAMS = {"train": 0, "val": 1, "test": 2, "shifted": 3, "calibration": 5}
PARALLELOGRAMS = ("parallelogram",)


def drawing(distribution: Distribution, size: int, seed: int, split: str, index: int) -> Drawing:
    """Picture `index` of a split, the same on every machine; the lattices take turns."""
    turn = distribution.lattices[index % len(distribution.lattices)]
    rng = np.random.default_rng([seed, STREAMS[split], index])
    network, style = sample(replace(distribution, lattices=(turn,)), size, rng)
    return draw(network, size, style)


def beyond(distribution: Distribution, share: float) -> Distribution:
    """With more disorder by that share of its upper end, and patches of fewer cells by that of its lower end.

    What lies at the end of a range is seldom drawn, and learned last: patches of few sites, which lie far apart, and
    sites far from their places.
    """
    (least, most), (low, high) = distribution.cells, distribution.disorder
    cells = max(int(least * (1 - share)), min(least, FEWEST_CELLS)), most
    return replace(distribution, cells=cells, disorder=(low, min(high * (1 + share), MOST_DISORDER)))


class LatticePairs(Dataset):
    """Pairs of one split: {"source", "target"} float32 (1, size, size) in [-1, 1], "index", and the lattice's "label".

    fresh: every virtual index is a network of its own; else there are n pictures, and index % n is shown, turned and
    mirrored by one of the eight symmetries of the square where `augment`.
    class_names: the lattices in the order of their labels.
    """

    def __init__(
        self,
        distribution: Distribution,
        *,
        size: int,
        n: int,
        seed: int,
        split: str,
        fresh: bool,
        augment: bool,
        class_names: tuple[str, ...],
    ):
        self.distribution, self.size, self.n, self.seed = distribution, size, n, seed
        self.split, self.fresh, self.augment, self.class_names = split, fresh, augment, class_names

    def __len__(self) -> int:
        return self.n

    def drawing(self, index: int) -> Drawing:
        return drawing(self.distribution, self.size, self.seed, self.split, index if self.fresh else index % self.n)

    def target(self, index: int) -> np.ndarray:
        """The target, uint8 (1, size, size), before augmentation."""
        return self.drawing(index).target[None]

    def network(self, index: int) -> Network:
        """The true network of a picture, in pixels."""
        return self.drawing(index).network

    def name_of(self, index: int) -> str:
        return f"{self.network(index).lattice}, number {index}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        drawn = self.drawing(index)
        pair = np.stack([drawn.source, drawn.target])
        if self.augment:
            turn = int(np.random.default_rng([self.seed, 4, index]).integers(8))
            pair = np.rot90(pair, turn % 4, axes=(1, 2))
            pair = pair[:, :, ::-1] if turn >= 4 else pair
        pair = to_unit(torch.from_numpy(np.ascontiguousarray(pair)))
        label = self.class_names.index(drawn.network.lattice)
        return {"source": pair[:1], "target": pair[1:], "index": index, "label": label}


class LatticeData(DataModule):
    """Networks to learn from and to be tested on; `provides` the true networks beside the pictures.

    lattices: names to train on, in turn, so that a name that stands twice is trained on twice as often; test_lattices:
    names to test on, None for each of these once. The ranges (lo, hi) are those of `ganforge.lattice.Distribution`.
    shifted: ranges that differ in a second test set, off the training distribution. training_beyond: see `beyond`, of
    what is trained on.
    outlines: of the patches, see `ganforge.lattice.outlines`; None for parallelograms.
    n_train: training pictures an epoch; fresh: new networks for every sample of every epoch, else n_train fixed ones.
    n_val, n_test: fixed pictures; their networks come from random streams of their own, so none is ever trained on.
    n_calibration: likewise, networks from which probabilities of bonds are learned before the test; None: 6 n_test, 0:
    there are none.
    """

    provides = frozenset({"paired", "networks"})
    fit_to_size = "pad"

    def __init__(
        self,
        *,
        lattices: list[str],
        test_lattices: list[str] | None,
        cells: tuple[int, int],
        disorder: tuple[float, float],
        breathing: tuple[float, float],
        dot_radius: tuple[float, float],
        line_width: tuple[float, float],
        line_grey: tuple[float, float],
        margin: tuple[float, float],
        scale: tuple[float, float],
        symmetries: bool,
        shifted: dict[str, Any] | None,
        size: int,
        n_train: int,
        n_val: int,
        n_test: int,
        fresh: bool,
        source_channels: int,
        target_channels: int,
        batch_size: int,
        num_workers: int,
        seed: int,
        n_calibration: int | None = None,
        training_beyond: float = 0.0,
        outlines: list[str] | None = None,
    ):
        channels = {"source_channels": source_channels, "target_channels": target_channels}
        super().__init__(size=size, batch_size=batch_size, num_workers=num_workers, seed=seed, **channels)
        for name, count in channels.items():
            require(count == 1, f"data.{name}={count}: drawings of networks are grey, 1 channel")
        for name, n in (("n_train", n_train), ("n_val", n_val), ("n_test", n_test)):
            require(isinstance(n, int) and n >= 1, f"data.{name}={n}: 1 or more pictures")
        require(
            n_calibration is None or (isinstance(n_calibration, int) and n_calibration >= 0),
            f"data.n_calibration={n_calibration}: 0 or more networks, or null for six times n_test",
        )
        self.n_calibration = 6 * n_test if n_calibration is None else n_calibration
        ranges = {
            "cells": cells,
            "disorder": disorder,
            "breathing": breathing,
            "dot_radius": dot_radius,
            "line_width": line_width,
            "line_grey": line_grey,
            "margin": margin,
            "scale": scale,
        }
        self.distribution = Distribution(lattices=_names(lattices), symmetries=symmetries, **_tuples(ranges))
        if outlines is not None:
            self.distribution = replace(self.distribution, outlines=_names(outlines))
        require(
            self.distribution.disorder[1] > 0,
            f"data.disorder={list(disorder)}: without disorder all patches of a size are one network, and those tested "
            "on would be those trained on; use an upper end above 0",
        )
        once = tuple(dict.fromkeys(self.distribution.lattices))
        self.val_distribution = replace(self.distribution, lattices=once)
        self.test_distribution = replace(self.distribution, lattices=_names(test_lattices or once))
        require(
            isinstance(training_beyond, int | float) and 0 <= training_beyond <= 1,
            f"data.training_beyond={training_beyond}: a share of the ranges, 0 to 1",
        )
        self.distribution = beyond(self.distribution, training_beyond)
        unknown = set(shifted or {}) - set(ranges)
        require(not unknown, f"data.shifted has {sorted(unknown)}; choose from {', '.join(ranges)}")
        moved = _tuples(shifted or {})
        self.shifted_distribution = replace(self.test_distribution, **moved) if moved else None
        self.class_names = tuple(dict.fromkeys((*self.distribution.lattices, *self.test_distribution.lattices)))
        self.counts = {"train": n_train, "val": n_val, "test": n_test, "shifted": n_test}
        self.fresh = fresh

    def datasets(self) -> dict[str, LatticePairs]:
        distributions = {"train": self.distribution, "val": self.val_distribution, "test": self.test_distribution}
        if self.shifted_distribution is not None:
            distributions["shifted"] = self.shifted_distribution
        sets = {}
        for split, distribution in distributions.items():
            fresh = self.fresh and split == "train"
            augment = distribution.symmetries and not self.fresh and split == "train"
            sets[split] = self._pairs(split, distribution, self.counts[split], fresh=fresh, augment=augment)
            # One picture for each lattice: ranges that cannot be drawn at this size say so now.
            for index in range(len(distribution.lattices)):
                sets[split].drawing(index)
        return sets

    def _pairs(self, split: str, distribution: Distribution, n: int, *, fresh: bool, augment: bool) -> LatticePairs:
        return LatticePairs(
            distribution, size=self.size, n=n, seed=self.seed, split=split, fresh=fresh, augment=augment,
            class_names=self.class_names,
        )  # fmt: skip

    def calibration_set(self) -> LatticePairs | None:
        """Networks like those of the test, from a stream of their own."""
        if self.n_calibration == 0:
            return None
        return self._pairs("calibration", self.test_distribution, self.n_calibration, fresh=False, augment=False)

    def real(self, split: str) -> RealPictures:
        """The targets; of fresh training networks, those of the first epoch."""
        return RealPictures(len(self.sets[split]), self.sets[split].target)

    def real_labels(self, split: str) -> np.ndarray:
        """Which lattice, of `class_names`, each picture of `real(split)` shows."""
        dataset = self.sets[split]
        of_turn = [self.class_names.index(name) for name in dataset.distribution.lattices]
        return np.resize(np.array(of_turn, dtype=np.int64), len(dataset))

    def drawing(self) -> dict[str, Any]:
        return Look.of(self.distribution, self.size, self.seed).to_card()

    def fingerprint(self) -> str:
        parts = [self.distribution, self.test_distribution, self.shifted_distribution]
        described = [part and asdict(part) for part in parts]
        for part in filter(None, described):
            if part["outlines"] == PARALLELOGRAMS:  # as before there were others
                del part["outlines"]
        text = json.dumps([described, self.counts, self.fresh, self.size, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _names(names: list[str] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _tuples(ranges: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    for name, value in ranges.items():
        require(
            isinstance(value, list | tuple | ListConfig) and len(value) == 2,
            f"data.{name}={value}: a range, two numbers [low, high]",
        )
    return {name: tuple(value) for name, value in ranges.items()}
