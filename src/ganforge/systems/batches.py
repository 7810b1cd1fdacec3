"""What goes through a game by name: batches, images, loss terms."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_DRAWN = 1  # tells the noise of a training from other numbers that are drawn with the same seed

Batch = dict[str, Tensor]
Images = dict[str, Tensor]
Terms = dict[str, Tensor]


def length(batch: Batch) -> int:
    """The pictures of a batch."""
    return len(next(iter(batch.values())))


def channels_last(batch: Batch) -> Batch:
    """The same numbers in the memory format in which convolutions run faster: on a CPU in bf16 about twice."""
    return {
        name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for name, value in batch.items()
    }


def detached(images: Images) -> Images:
    """The images as data, through which no gradient passes."""
    return {name: image.detach() for name, image in images.items()}


def normal_rows(seed: Sequence[int], *shape: int) -> np.ndarray:
    """float32 of N(0, 1), a function of the seed alone."""
    return np.random.default_rng([*seed, _DRAWN]).standard_normal(shape, dtype=np.float32)
