"""What changes during a training: pure functions without a state, so that a resumed training continues where it was.

Learning rates are functions of the share of the training that is done: a longer one is stretched. Strengths and
averages are numbers, or functions of the images seen: the same on any number of devices.
"""

import math
from collections.abc import Callable

from ganforge.errors import require

Schedule = Callable[[float], float]


class ConstantThenLinear:
    """1 until `decay_from` (a share of the training), then linear to 0 (pix2pix: 0.5); None: 1 throughout."""

    def __init__(self, *, decay_from: float | None = 0.5):
        require(
            decay_from is None or 0 <= decay_from < 1,
            f"model.schedule_g.decay_from={decay_from}: a share in [0, 1), or null for a constant rate",
        )
        self.decay_from = decay_from

    def __call__(self, progress: float) -> float:
        if self.decay_from is None:
            return 1.0
        return min(1.0, max(0.0, (1 - progress) / (1 - self.decay_from)))


class Cosine:
    """From `first` to `last` over so many images, along half a cosine, and `last` from there (R3GAN)."""

    def __init__(self, *, first: float, last: float, images: int):
        require(images >= 1, f"a schedule of images={images}: 1 or more, over all devices")
        self.first, self.last, self.images = first, last, images

    def __call__(self, images_seen: int) -> float:
        share = min(1.0, images_seen / self.images)
        return self.last + (self.first - self.last) * (1 + math.cos(math.pi * share)) / 2

    def __repr__(self) -> str:
        return f"Cosine(first={self.first}, last={self.last}, images={self.images})"


Strength = float | Callable[[int], float]


def at(strength: Strength, images_seen: int) -> float:
    """A number, or what a schedule says at so many images seen."""
    return strength(images_seen) if callable(strength) else strength


def extremes(strength: Strength) -> tuple[float, float]:
    """The least and the largest value of a number or of a `Cosine`."""
    values = (strength.first, strength.last) if isinstance(strength, Cosine) else (strength, strength)
    return min(values), max(values)
