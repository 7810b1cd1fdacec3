"""What a classifier is trained on in each arm of a study of augmentation."""

import re
from dataclasses import dataclass

import numpy as np

from ganforge.errors import UserError, require

_KINDS = {
    "real": "real pictures",
    "balanced": "real pictures, classes equally often",
    "classic": "real pictures with classic augmentation",
    "generated": "real and generated pictures",
    "classic_generated": "real and generated pictures with classic augmentation",
    "generated_only": "generated pictures alone",
    "duplicates": "real pictures and copies of them",
    "filtered": "real and generated pictures that a classifier of real ones is sure of",
    "classic_filtered": "the same with classic augmentation",
}
_WITH_RATIO = ("generated", "classic_generated", "duplicates", "filtered", "classic_filtered")
KEPT = 0.5  # of the generated pictures, those that a classifier is surest of, by class


@dataclass(frozen=True)
class Labelled:
    """images: uint8 (N, C, H, W); labels: int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Labelled":
        return Labelled(self.images[rows], self.labels[rows])

    def __add__(self, other: "Labelled") -> "Labelled":
        return Labelled(np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels]))


@dataclass(frozen=True)
class Draw:
    """The rows of the pool that a seed trains on and validates with."""

    train: np.ndarray
    val: np.ndarray


@dataclass(frozen=True)
class Arm:
    """name: KIND, or KIND_RATIO: so many pictures are added a real one of each class."""

    name: str
    kind: str
    ratio: float = 0.0

    @property
    def augmented(self) -> bool:
        """Whether its pictures are changed by classic augmentation."""
        return self.kind.startswith("classic")

    @property
    def generates(self) -> bool:
        """Whether it needs a GAN."""
        return "generated" in self.kind or "filtered" in self.kind

    @property
    def filters(self) -> bool:
        return self.kind.endswith("filtered")

    @property
    def said(self) -> str:
        """What it is trained on, in words."""
        return _KINDS[self.kind] + (f", {self.ratio:g} a real one" if self.ratio else "")


def parse(name: str) -> Arm:
    """The arm of this name, such as classic or generated_0.5. Raises UserError with the names that there are."""
    found = re.fullmatch(r"([a-z_]+?)(?:_(\d+(?:\.\d+)?))?", name) if isinstance(name, str) else None
    kind, ratio = found.groups() if found else (None, None)
    if kind not in _KINDS or (ratio is not None) != (kind in _WITH_RATIO) or (ratio and not 0 < float(ratio) <= 100):
        names = ", ".join(f"{one}_RATIO" if one in _WITH_RATIO else one for one in _KINDS)
        raise UserError(f"arms: there is no arm {name}; choose of {names}, such as classic_generated_1")
    return Arm(name, kind, float(ratio or 0))


def training_set(arm: Arm, real: Labelled, generated: Labelled | None, seed: int) -> Labelled:
    """The pictures of an arm. generated: of each class as many as the arm needs, or more; the first are taken.

    generated_only has as many of each class as there are real ones; where there are more, all: it stands for the
    generator, not for a number of pictures.
    """
    if arm.kind == "generated_only":
        return generated
    added = []
    for label in np.unique(real.labels):
        own = np.flatnonzero(real.labels == label)
        count = round(arm.ratio * len(own))
        if arm.kind == "duplicates":
            turns = np.random.default_rng([seed, int(label)]).permutation(own)
            added.append(real.take(np.resize(turns, count)))
        elif arm.generates:
            rows = np.flatnonzero(generated.labels == label)
            require(len(rows) >= count, f"{arm.name}: needs {count} generated pictures a class; there are {len(rows)}")
            added.append(generated.take(rows[:count]))
    for part in added:
        real = real + part
    return real


def surest(generated: Labelled, probabilities: np.ndarray) -> Labelled:
    """The KEPT share of each class of which a classifier is surest; probabilities: (N, K)."""
    rows = []
    for label in np.unique(generated.labels):
        own = np.flatnonzero(generated.labels == label)
        order = np.argsort(-probabilities[own, label], kind="stable")
        rows.append(own[order[: max(1, round(KEPT * len(own)))]])
    return generated.take(np.concatenate(rows))


def needed(arm: Arm, shots: int) -> int:
    """How many generated pictures a class an arm asks for."""
    count = max(1, round(arm.ratio * shots)) if arm.ratio else shots
    return int(np.ceil(count / KEPT)) if arm.filters else count
