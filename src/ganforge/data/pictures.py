"""Data sets of single pictures, with or without classes: what `data=mnist` and `data=image_folder` share."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torch.utils.data import Dataset

from ganforge.data.module import DataModule, RealPictures
from ganforge.errors import require
from ganforge.pictures.tensors import to_unit

# Streams of random numbers of one (seed, index).
_FLIP, _VERTICAL_FLIP, _ROTATE, _LABELLED, _LABELLED_AUGMENTATION = 0, 1, 2, 3, 10


class Pictures(Protocol):
    """uint8 pictures by row: pictures[i] is (C, H, W), pictures[array of k rows] is (k, C, H, W)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> np.ndarray: ...


class Rows:
    """Some rows of `pictures`, in the order of `rows`, without a copy."""

    def __init__(self, pictures: Pictures, rows: np.ndarray):
        self.pictures, self.rows = pictures, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        return self.pictures[self.rows[rows]]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of square pictures, each a function of (seed, index, stream) alone.

    flip: mirror half of the pictures left to right; vertical_flip: half of them top to bottom; rotate: turn by up to
    this many degrees either way, bilinear, the picture reflected at its edges.
    """

    flip: bool = False
    vertical_flip: bool = False
    rotate: float = 0.0

    def __call__(self, images: Tensor, indices: np.ndarray, seed: int, stream: int = 0) -> Tensor:
        """images: float (B, C, S, S); indices: int (B,)."""
        for mirrored, own_stream, axis in ((self.flip, _FLIP, 3), (self.vertical_flip, _VERTICAL_FLIP, 2)):
            if mirrored:
                half = torch.from_numpy(uniform(seed, indices, stream + own_stream) < 0.5)
                images = torch.where(half[:, None, None, None], images.flip(axis), images)
        if self.rotate:
            images = rotate(images, self.rotate * (2 * uniform(seed, indices, stream + _ROTATE) - 1))
        return images


class PictureSet(Dataset):
    """Pictures as tensors: {"image": float32 (C, H, W) in [-1, 1], "index", "label" where there are labels}.

    pictures: uint8 (N, C, H, W); labels: int64 (N,) or None. n: the length, N unless given: with more or fewer, item i
    is picture i % N, so that n can be the number of pictures that are asked of a generator. The index is virtual, and
    all randomness comes from (seed, index). Whole batches are taken at once by `__getitems__`.

    labelled: the rows of the few pictures whose labels may be seen (semi-supervised training). "label" is then left
    out, and with each picture comes "labelled_image", "labelled_label": one of those, drawn by (seed, index).
    """

    def __init__(
        self,
        *,
        pictures: Pictures,
        labels: np.ndarray | None = None,
        n: int | None = None,
        seed: int = 0,
        augment: Augmentation | None = None,
        labelled: np.ndarray | None = None,
    ):
        self.pictures, self.seed, self.augment, self.labelled = pictures, seed, augment, labelled
        self.labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        self.n = len(pictures) if n is None else n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        """The batch of these virtual indices: "image" (B, C, H, W), "index" int64 (B,) and so on."""
        index = np.asarray(indices, dtype=np.int64)
        rows = index % len(self.pictures)
        batch = {"image": self._images(rows, index, 0), "index": torch.from_numpy(index)}
        if self.labelled is not None:
            drawn = (uniform(self.seed, index, _LABELLED) * len(self.labelled)).astype(np.int64)
            rows = self.labelled[drawn]
            batch["labelled_image"] = self._images(rows, index, _LABELLED_AUGMENTATION)
            batch["labelled_label"] = torch.from_numpy(self.labels[rows])
        elif self.labels is not None:
            batch["label"] = torch.from_numpy(self.labels[rows])
        return batch

    def _images(self, rows: np.ndarray, index: np.ndarray, stream: int) -> Tensor:
        images = to_unit(torch.from_numpy(np.asarray(self.pictures[rows])))
        return images if self.augment is None else self.augment(images, index, self.seed, stream)


class PicturesData(DataModule):
    """Pictures of one size for GANs from noise: {"image", "index"}, with "label" where there are classes.

    A subclass finds the class names and returns the pictures of each split from `arrays`.

    class_names: the name of each label; () without classes. n_classes: None, or how many there must be.
    n_train: only the first n training pictures, the classes taking turns; None for all.
    n_val, n_test: how many pictures are generated at each validation and for the test; the held-out pictures, which
    they are compared with, come as often as that takes, the classes in turn.
    n_labels: None: all labels are known in training; else so many, as many of each class, chosen by split_seed: batches
    then have no "label" but "labelled_image" and "labelled_label" (see `PictureSet`).
    flip, vertical_flip, rotate: see `Augmentation`; for training alone.
    """

    # The most that pictures can provide; an instance says what its own do.
    provides = frozenset({"image", "label", "some_labels"})

    def __init__(
        self,
        *,
        class_names: tuple[str, ...],
        n_classes: int | None,
        size: int,
        channels: int,
        n_train: int | None,
        n_val: int,
        n_test: int,
        n_labels: int | None,
        split_seed: int,
        flip: bool,
        vertical_flip: bool,
        rotate: float,
        batch_size: int,
        num_workers: int,
        seed: int,
    ):
        super().__init__(size=size, batch_size=batch_size, num_workers=num_workers, seed=seed, channels=channels)
        found = len(class_names)
        require(
            n_classes is None or n_classes == found,
            f"data.n_classes={n_classes}, but the data has {found or 'no'} classes"
            + (f" ({', '.join(class_names)})" if found else "")
            + "; use data.n_classes=null to have them counted",
        )
        require(
            n_train is None or (isinstance(n_train, int) and n_train >= 1),
            f"data.n_train={n_train}: 1 or more pictures, or null for all",
        )
        for name, n in (("n_val", n_val), ("n_test", n_test)):
            require(isinstance(n, int) and n >= 1, f"data.{name}={n}: 1 or more generated pictures")
        for name, value in (("flip", flip), ("vertical_flip", vertical_flip)):
            require(isinstance(value, bool), f"data.{name}={value}: true or false")
        require(
            isinstance(rotate, int | float) and 0 <= rotate <= 180,
            f"data.rotate={rotate}: degrees from 0 (never turned) to 180",
        )
        if n_labels is not None:
            require(found > 0, f"data.n_labels={n_labels}, but these pictures have no classes; use data.n_labels=null")
            require(isinstance(n_labels, int), f"data.n_labels={n_labels}: a whole number, or null for all labels")
            below, above = n_labels // found * found, (n_labels // found + 1) * found
            require(
                n_labels >= found and n_labels == below,
                f"data.n_labels={n_labels} is not the same number of labels, 1 or more, for each of the {found} "
                f"classes; use data.n_labels={f'{below} or {above}' if below > 0 else found}",
            )
        self.class_names, self.n_classes = tuple(class_names), found
        self.n_train, self.n_labels, self.split_seed = n_train, n_labels, split_seed
        self.counts = {"val": n_val, "test": n_test}
        self.augment = Augmentation(flip, vertical_flip, float(rotate))
        known = {"label", "some_labels"} if n_labels is None else {"some_labels"}
        self.provides = frozenset({"image"} | (known if found else set()))
        self._splits: dict[str, tuple[Pictures, np.ndarray | None]] = {}

    def arrays(self, split: str) -> tuple[Pictures, np.ndarray | None]:
        """The pictures of "train", "val" or "test", uint8 (N, channels, size, size), and their labels (N,) or None."""
        raise AssertionError(f"{type(self).__name__} must define arrays(split)")

    @property
    def kept(self) -> str:
        """Where the decoded pictures are, for the notes."""
        return "in memory"

    def split(self, split: str) -> tuple[Pictures, np.ndarray | None]:
        """`arrays`, read once, after n_train, with the classes in turn."""
        if split not in self._splits:
            pictures, labels = self.arrays(split)
            n = self.n_train if split == "train" and self.n_train is not None else len(pictures)
            require(
                n <= len(pictures),
                f"data.n_train={n}, but there are {len(pictures)} training pictures; use that many or less, or null",
            )
            if labels is not None:
                rows = turns(labels)[:n]
                pictures, labels = Rows(pictures, rows), labels[rows]
            elif n < len(pictures):
                pictures = Rows(pictures, np.arange(n))
            self._splits[split] = pictures, labels
        return self._splits[split]

    def datasets(self) -> dict[str, PictureSet]:
        pictures, labels = self.split("train")
        labelled = None if self.n_labels is None else self._labelled(labels)
        augment = None if self.augment == Augmentation() else self.augment
        sets = {
            "train": PictureSet(pictures=pictures, labels=labels, seed=self.seed, augment=augment, labelled=labelled)
        }
        for split, n in self.counts.items():
            pictures, labels = self.split(split)
            sets[split] = PictureSet(pictures=pictures, labels=labels, n=n, seed=self.seed)
        return sets

    def _labelled(self, labels: np.ndarray) -> np.ndarray:
        """The rows of the training pictures whose labels may be seen: n_labels, as many of each class."""
        each = self.n_labels // self.n_classes
        counts = np.bincount(labels, minlength=self.n_classes)
        scarce = int(counts.argmin())
        require(
            counts[scarce] >= each,
            f"data.n_labels={self.n_labels} asks for {each} labelled pictures of each class, but "
            f"{self.class_names[scarce]} has {counts[scarce]} training pictures; use "
            f"data.n_labels={counts[scarce] * self.n_classes} or less, or null",
        )
        chosen = []
        for label in range(self.n_classes):
            own = np.flatnonzero(labels == label)
            chosen.append(np.random.default_rng([self.split_seed, label]).permutation(own)[:each])
        return np.concatenate(chosen)

    def real(self, split: str) -> RealPictures:
        pictures, _ = self.split(split)
        return RealPictures(len(pictures), pictures.__getitem__)

    def real_labels(self, split: str) -> np.ndarray | None:
        return self.split(split)[1]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found and where it is kept."""
        n = {split: f"{len(self.split(split)[0]):,}" for split in ("train", "val", "test")}
        if self.class_names:
            names = ", ".join(self.class_names[:10]) + ", ..." * (len(self.class_names) > 10)
            classes = f"{self.n_classes} class{'es' * (self.n_classes != 1)} ({names})"
        else:
            classes = "no classes"
        counted = f"{n['train']} training pictures, {n['val']} for validation, {n['test']} for the test; {classes}"
        hidden = () if self.n_labels is None else (f"the labels of {self.n_labels:,} training pictures are known",)
        return (f"{counted}; kept {self.kept}", *hidden)


def turns(labels: np.ndarray) -> np.ndarray:
    """The order of pictures in which the classes take turns, each in its own order, as long as they last."""
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        own = labels == label
        turn[own] = np.arange(own.sum())
    return np.lexsort((labels, turn))


def uniform(seed: int, indices: np.ndarray, stream: int) -> np.ndarray:
    """float64 (B,) in [0, 1): a pure function of seed, index and stream, for many indices at once.

    SplitMix64 (Steele, Lea and Flood 2014) from a start that seed and stream decide.
    """
    state = _start(seed, stream) + np.asarray(indices).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (_mix(state) >> np.uint64(11)) * 2.0**-53


@cache
def _start(seed: int, stream: int) -> np.ndarray:
    return _mix(_mix(np.array([seed % 2**64], dtype=np.uint64)) + np.uint64(stream))


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def rotate(images: Tensor, degrees: np.ndarray) -> Tensor:
    """Turn float (B, C, S, S) by degrees (B,), counter-clockwise, bilinear, reflected at the edges."""
    side = images.shape[-1]
    # Not by torch's matrix product, whose last bit depends on the batch: a sample is the same in every batch.
    centres = (2 * np.arange(side) + 1) / side - 1
    x, y = centres[None, None, :], centres[None, :, None]
    angle = np.deg2rad(degrees)[:, None, None]
    grid = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=-1)
    grid = torch.from_numpy(grid.astype(np.float32))
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
