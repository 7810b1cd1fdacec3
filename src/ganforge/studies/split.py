"""Who sees which pictures in a study: the test set once, and for each seed its shots and its validation pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganforge.data import looks
from ganforge.data.decoded import decode
from ganforge.data.image_folder import ImageFolderData
from ganforge.data.splits import take_out
from ganforge.errors import require
from ganforge.studies.arms import Draw, Labelled


@dataclass(frozen=True)
class Pool:
    """All pictures of a study. test: bool (N,). alike: pairs of rows that show nearly the same picture."""

    pictures: Labelled
    files: tuple[Path, ...]
    class_names: tuple[str, ...]
    test: np.ndarray
    alike: tuple[tuple[int, int], ...]

    def draw(self, shots: int, seed: int, val_shots: int) -> Draw:
        """k shots a class (fewer where a class has fewer) and the validation pictures of a seed.

        The order of the pool is drawn by the seed alone, validation first: the shots of 5 are among those of 20.
        """
        train, val = [], []
        for label in range(len(self.class_names)):
            own = np.flatnonzero((self.pictures.labels == label) & ~self.test)
            order = np.random.default_rng([seed, label]).permutation(own)
            val.append(order[:val_shots])
            train.append(order[val_shots : val_shots + shots])
        return Draw(np.concatenate(train), np.concatenate(val))

    def leaks(self, draw: Draw) -> list[tuple[int, int]]:
        """(row to train on, row of validation or test) that show nearly the same picture."""
        train, judged = set(draw.train.tolist()), set(draw.val.tolist()) | set(np.flatnonzero(self.test).tolist())
        pairs = [*self.alike, *((other, one) for one, other in self.alike)]
        return sorted({(one, other) for one, other in pairs if one in train and other in judged})

    def check(self, shots: Sequence[int], val_shots: int) -> None:
        """Raise UserError where a class has too few pictures for the most shots."""
        most = max(shots)
        for label, name in enumerate(self.class_names):
            own = self.pictures.labels == label
            pool, held = int((own & ~self.test).sum()), int((own & self.test).sum())
            require(held > 0, f"the test set has no picture of {name}; add some, or leave out the class (data.classes)")
            require(
                pool >= most + val_shots,
                f"shots={most}: {name} has {pool} pictures to draw from beside the {held} of the test, and {most} to "
                f"train on and {val_shots} to validate with (val_shots) are more; choose fewer",
            )


def pool(data: ImageFolderData, test_fraction: float, split_seed: int = 0) -> Pool:
    """All pictures of a folder of classes; the test set is its folder test, or a fraction of each class by name."""
    require(len(data.class_names) >= 2, f"data.root={data.root}: a study needs two or more classes, a folder each")
    has_test = not data.test_is_val
    files: list[Path] = []
    labels: list[int] = []
    test: list[bool] = []
    for split in ("train", "val", "test"):
        if split == "test" and not has_test:
            continue
        own, own_labels = data.files[split]
        files, labels = [*files, *own], [*labels, *own_labels.tolist()]
        test += [split == "test"] * len(own)
    rows = {path: row for row, path in reversed(list(enumerate(files)))}
    kept = sorted(rows.values())  # a picture that is in two splits of the data is taken once
    files, labels, test = ([values[row] for row in kept] for values in (files, labels, test))
    if not has_test:
        held: set[Path] = set()
        for label in range(len(data.class_names)):
            own = [path for path, one in zip(files, labels, strict=True) if one == label]
            held |= set(take_out(own, test_fraction * len(own), f"{split_seed}/study")[1])
        test = [path in held for path in files]
    images, _ = decode(files, data.fit, cache_bytes=2**62, cache_dir=data.cache_dir)
    seen = [(looks.look(image.transpose(1, 2, 0), None, _bands(len(image))),) for image in images]
    pictures = Labelled(images, np.array(labels, np.int64))
    return Pool(pictures, tuple(files), data.class_names, np.array(test), tuple(looks.near_duplicates(seen)))


def _bands(channels: int) -> tuple[str, ...]:
    return ("red", "green", "blue") if channels == 3 else ("grey",)
