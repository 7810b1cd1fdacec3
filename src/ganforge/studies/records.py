"""What a study keeps in its folder: pictures, who sees which, what GANs generated, what classifiers scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganforge.errors import UserError, require
from ganforge.files.folders import replace
from ganforge.files.untrusted import read_json
from ganforge.studies.arms import Draw, Labelled

if TYPE_CHECKING:
    from ganforge.studies.split import Pool

SETTINGS = "study.yaml"


class Records:
    """The folder of a study. Each of its files is whole at any time."""

    def __init__(self, folder: Path):
        self.folder = folder

    def gan_data(self, shots: int, seed: int) -> Path:
        """Where the pictures lie that a seed's GAN may see."""
        return self.folder / "data" / _name(shots, seed)

    def classifier(self, shots: int, seed: int, arm: str, strength: str | None = None) -> Path:
        """The folder of a classifier: its settings in the order in which they are handed to the sweep."""
        parts = [f"shots-{shots}", f"seed-{seed}", f"arm-{arm}"]
        return self.folder / "classifiers" / "__".join([*parts, *([f"strength-{strength}"] if strength else [])])

    def write_pool(self, pool: Pool) -> None:
        """Keep the pictures and which of them are the test's."""
        with replace(self.folder / "pictures.npz") as file:
            np.savez_compressed(
                file, images=pool.pictures.images, labels=pool.pictures.labels, test=pool.test,
                class_names=np.array(pool.class_names), files=np.array([str(path) for path in pool.files]),
            )  # fmt: skip

    def pictures(self) -> tuple[Labelled, np.ndarray, tuple[str, ...]]:
        """All pictures, bool (N,) which are the test's, and the names of the classes."""
        stored = _load(self.folder / "pictures.npz")
        return Labelled(stored["images"], stored["labels"]), stored["test"], tuple(map(str, stored["class_names"]))

    def write_draw(self, shots: int, seed: int, draw: Draw) -> None:
        path = self.folder / "draws" / f"{_name(shots, seed)}.json"
        path.parent.mkdir(exist_ok=True)
        with replace(path) as file:
            file.write(json.dumps({"train": draw.train.tolist(), "val": draw.val.tolist()}).encode())

    def draw(self, shots: int, seed: int) -> Draw:
        """The rows of a seed's shots and of its validation pictures."""
        found = read_json(self.folder / "draws", f"{_name(shots, seed)}.json")
        require(isinstance(found, dict), f"{self.folder}: has no draw of {shots} shots and seed {seed}")
        return Draw(np.array(found["train"], np.int64), np.array(found["val"], np.int64))

    def write_generated(self, shots: int, seed: int, generated: Labelled) -> None:
        path = self._generated(shots, seed)
        path.parent.mkdir(exist_ok=True)
        with replace(path) as file:
            np.savez_compressed(file, images=generated.images, labels=generated.labels)

    def generated(self, shots: int, seed: int) -> Labelled:
        """What the GAN of a seed generated, of each class equally many."""
        stored = _load(self._generated(shots, seed))
        return Labelled(stored["images"], stored["labels"])

    def has_generated(self, shots: int, seed: int) -> bool:
        return self._generated(shots, seed).is_file()

    def classifiers(self) -> list[dict[str, Any]]:
        """The results of all classifiers that were trained."""
        folders = sorted((self.folder / "classifiers").glob("*")) if (self.folder / "classifiers").is_dir() else []
        found = [read_json(folder, "results.json") for folder in folders if folder.is_dir()]
        return [one for one in found if isinstance(one, dict) and "test" in one]

    def _generated(self, shots: int, seed: int) -> Path:
        return self.folder / "generated" / f"{_name(shots, seed)}.npz"


def _name(shots: int, seed: int) -> str:
    return f"shots-{shots}_seed-{seed}"


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: is missing or damaged ({error}); begin the study in another folder") from error
