"""Two kinds of pictures without pairs: what `data=unpaired` and `data=coloured_digits` share."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganforge.data.module import DataModule, RealPictures
from ganforge.data.pictures import Pictures
from ganforge.pictures.tensors import to_unit

Side = Literal["a", "b"]
OTHER: dict[Side, Side] = {"a": "b", "b": "a"}


class Mixed(Dataset):
    """For training: {"a", "b": float32 (C, size, size) in [-1, 1], "index"}, as many as the longer side has.

    Item i is picture i % len(a) of side a, and one of side b drawn at random; both are cut from their pictures at a
    place of their own and, with flip, mirrored by a chance of their own. All of it is a function of (seed, index), and
    the index is virtual (see `EpochBatches`): equal for any number of workers and processes.
    """

    def __init__(self, sides: dict[Side, Pictures], *, size: int, flip: bool, seed: int):
        self.sides, self.size, self.flip, self.seed = sides, size, flip, seed

    def __len__(self) -> int:
        return max(map(len, self.sides.values()))

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        drawn = np.random.default_rng([self.seed, index])
        rows = {"a": index % len(self.sides["a"]), "b": int(drawn.integers(len(self.sides["b"])))}
        return {**{side: self._cut(self.sides[side][row], drawn) for side, row in rows.items()}, "index": index}

    def _cut(self, picture: np.ndarray, drawn: np.random.Generator) -> Tensor:
        top, left = drawn.integers(0, picture.shape[-1] - self.size + 1, size=2)
        step = -1 if drawn.random() < 0.5 and self.flip else 1
        square = picture[:, top : top + self.size, left : left + self.size][:, :, ::step]
        return to_unit(torch.from_numpy(np.ascontiguousarray(square)))


class Sources(Dataset):
    """The pictures of a side, to be translated: {side: float32 (C, size, size) in [-1, 1], "index"}.

    beside: pictures of the other side that are shown with them, in turn. partners: uint8 pictures that the translations
    should be, or None for each, as "target"; where there is none, that is NaN. labels: int64 (N,) as "asked_label".
    names: what the pictures are called.
    """

    def __init__(
        self,
        side: Side,
        pictures: Pictures,
        *,
        beside: Pictures | None = None,
        partners: tuple[Pictures, Sequence[int | None]] | None = None,
        labels: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ):
        self.side, self.pictures, self.beside, self.partners, self.labels = side, pictures, beside, partners, labels
        self.names = names

    def __len__(self) -> int:
        return len(self.pictures)

    def name_of(self, index: int) -> str:
        return f"picture {index}" if self.names is None else self.names[index]

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        item = {self.side: _unit(self.pictures, index), "index": index}
        if self.beside is not None:
            item[OTHER[self.side]] = _unit(self.beside, index % len(self.beside))
        if self.partners is not None:
            others, rows = self.partners
            row = rows[index]
            item["target"] = torch.full_like(_unit(others, 0), torch.nan) if row is None else _unit(others, row)
        if self.labels is not None:
            item["asked_label"] = int(self.labels[index])
        return item


def _unit(pictures: Pictures, row: int) -> Tensor:
    return to_unit(torch.from_numpy(np.array(pictures[row])))


class TwoSides(DataModule):
    """Batches {"a", "b"} for training; the main direction, A to B, as "val" and "test", and the test set "BtoA".

    A subclass gives `pictures(split, side)`, of the size of the networks, and may give larger ones to train on
    (`training`), partners and labels.
    """

    provides = frozenset({"unpaired", "partners"})
    flip = False

    def pictures(self, split: str, side: Side) -> Pictures:
        """The pictures of a side for "train", "val" or "test", uint8 (N, C, size, size)."""
        raise AssertionError(f"{type(self).__name__} must define pictures(split, side)")

    def training(self, side: Side) -> Pictures:
        """What is trained on, from which squares of the networks' size are cut."""
        return self.pictures("train", side)

    def partners(self, side: Side) -> Sequence[int | None] | None:
        """For each test picture of a side the row of its partner among those of the other side; None without any."""
        return None

    def labels(self, split: str, side: Side) -> np.ndarray | None:
        """The class of each picture, int64 (N,)."""
        return None

    def names(self, split: str, side: Side) -> Sequence[str] | None:
        """What the pictures of a side are called."""
        return None

    def datasets(self) -> dict[str, Dataset]:
        return {
            "train": Mixed(
                {side: self.training(side) for side in OTHER}, size=self.size, flip=self.flip, seed=self.seed
            ),
            "val": Sources("a", self.pictures("val", "a"), beside=self.pictures("val", "b")),
            "test": self._tested("a"),
            "BtoA": self._tested("b"),
        }

    def _tested(self, side: Side) -> Sources:
        rows = self.partners(side)
        return Sources(
            side,
            self.pictures("test", side),
            partners=None if rows is None else (self.pictures("test", OTHER[side]), rows),
            labels=self.labels("test", side),
            names=self.names("test", side),
        )

    def real(self, split: str) -> RealPictures:
        """Side b, which A is translated to; side a for the splits "BtoA" and "BtoA-train"."""
        side: Side = "a" if split.startswith("BtoA") else "b"
        pictures = self.pictures({"BtoA": "test", "BtoA-train": "train"}.get(split, split), side)
        return RealPictures(len(pictures), pictures.__getitem__)

    def training_split(self, name: str) -> str:
        return "BtoA-train" if name == "BtoA" else "train"

    def check_identity(self) -> tuple[str, ...]:
        """A note where the sides have different channels."""
        a, b = self.channels.values()
        kinds = {1: "grey", 3: "RGB"}
        return () if a == b else (f"A is {kinds[a]} and B {kinds[b]}: a translator cannot be given pictures of both",)
