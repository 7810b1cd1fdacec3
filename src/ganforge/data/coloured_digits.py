"""`data=coloured_digits`: white digits on black, and other digits in blue on sand; a translation that can be scored."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from torch.utils.data import ConcatDataset, Dataset

from ganforge.data.mnist import MnistData
from ganforge.data.module import RealPictures
from ganforge.data.pictures import Pictures, Rows
from ganforge.data.two_sides import OTHER, Side, TwoSides
from ganforge.errors import require

# RGB. Darker where the digits of A are lighter: no shift of grey levels that keeps their order makes one of the other.
INK = (25, 40, 120)
GROUND_TOP, GROUND_BOTTOM = (250, 225, 160), (225, 175, 110)


def coloured(digits: np.ndarray) -> np.ndarray:
    """uint8 (..., 1, H, W) white on black -> uint8 (..., 3, H, W) blue on sand, which grows darker downwards."""
    share = (np.arange(digits.shape[-2]) / (digits.shape[-2] - 1))[:, None]
    top, bottom, ink = (np.array(colour, dtype=float)[:, None, None] for colour in (GROUND_TOP, GROUND_BOTTOM, INK))
    ground, covered = top + (bottom - top) * share, digits / 255
    return (ground + (ink - ground) * covered).round().astype(np.uint8)


class _Digits:
    """uint8 RGB pictures of grey ones: of side a as they are, of side b coloured."""

    def __init__(self, grey: Pictures, side: Side):
        self.grey, self.side = grey, side

    def __len__(self) -> int:
        return len(self.grey)

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        grey = self.grey[rows]
        return np.repeat(grey, 3, axis=-3) if self.side == "a" else coloured(grey)


class ColouredDigitsData(TwoSides):
    """A: MNIST digits as RGB; B: other ones, coloured by `coloured`. Padded in black to size×size before.

    Of the training and the validation pictures of MNIST the even ones are A's and the odd ones B's. The test pictures
    of B are those of A, coloured: hidden partners, by which translations are scored. n_train, n_val, n_test: of each
    side. root, download, n_heldout: see `MnistData`.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        download: bool = True,
        n_heldout: int = 5000,
        size: int = 32,
        n_train: int = 5000,
        n_val: int = 500,
        n_test: int = 1000,
        source_channels: int = 3,
        target_channels: int = 3,
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__(
            size=size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            source_channels=source_channels,
            target_channels=target_channels,
        )
        for name, count in self.channels.items():
            require(count == 3, f"data.{name}={count}: both sides of these digits are RGB, 3")
        for name, count in (("n_train", n_train), ("n_val", n_val), ("n_test", n_test)):
            require(isinstance(count, int) and count >= 1, f"data.{name}={count}: 1 or more pictures")
        self.mnist = MnistData(root=root, download=download, n_heldout=n_heldout, size=size)
        self.class_names = self.mnist.class_names
        self.counts = {"train": n_train, "val": n_val, "test": n_test}

    @cached_property
    def _grey(self) -> dict[tuple[str, Side], tuple[Pictures, np.ndarray]]:
        """The grey pictures of each split and side, and their labels."""
        found = {}
        for split, most in self.counts.items():
            pictures, labels = self.mnist.arrays(split)
            for first, side in enumerate(OTHER):
                rows = np.arange(len(pictures)) if split == "test" else np.arange(first, len(pictures), 2)
                found[split, side] = Rows(pictures, rows[:most]), labels[rows[:most]]
        return found

    def pictures(self, split: str, side: Side) -> Pictures:
        return _Digits(self._grey[split, side][0], side)

    def partners(self, side: Side) -> Sequence[int | None]:
        return range(len(self._grey["test", side][0]))

    def labels(self, split: str, side: Side) -> np.ndarray:
        return self._grey[split, side][1]

    def names(self, split: str, side: Side) -> list[str]:
        return [f"a {label}, number {row}" for row, label in enumerate(self.labels(split, side))]

    def real_labels(self, split: str) -> np.ndarray:
        return self.labels({"BtoA": "test", "BtoA-train": "train"}.get(split, split), "a" if "BtoA" in split else "b")

    def labelled(self, split: str) -> tuple[Dataset, np.ndarray]:
        """Of both sides: a classifier is to judge translations either way."""
        sides = [self.pictures(split, side) for side in OTHER]
        pictures = ConcatDataset([RealPictures(len(own), own.__getitem__) for own in sides])
        return pictures, np.concatenate([self.labels(split, side) for side in OTHER])

    @property
    def notes(self) -> tuple[str, ...]:
        """How many pictures there are."""
        count = len(self._grey["test", "a"][0])
        return (
            f"A: white digits on black, B: other digits, blue on sand; {count} of the test have a hidden partner, "
            "which training never sees",
        )

    def fingerprint(self) -> str:
        """Hash of the digits, the colours and the numbers of pictures."""
        said = (self.mnist.fingerprint(), INK, GROUND_TOP, GROUND_BOTTOM, self.counts, self.size)
        return hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()
