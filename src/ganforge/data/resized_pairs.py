"""Pairs of ordinary pictures, resized to a square, cropped and flipped alike."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from ganforge.data.pair_files import DIRECTIONS, Pair, load_pair
from ganforge.errors import require
from ganforge.pictures import images


class Pairs(Dataset):
    """Pairs as tensors: {"source": float32 (Cs, size, size), "target": (Ct, size, size), both in [-1, 1], "index"}.

    Pictures of any size and aspect are squashed to a square, as pix2pix does (Isola et al. 2017, section 6.2). With
    augment, both are resized to load_size (default: 286/256 of size), then the same random crop to size and, with flip,
    the same random mirroring are applied to both; without, they are resized to size.

    The index is virtual: its file is index % len(self), its randomness np.random.default_rng([seed, index]), so a
    sample depends on neither workers nor order. "index" is returned as it was given.

    cache: pairs decoded and resized by `fit`; whatever it lacks is read from its files.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        size: int,
        load_size: int | None = None,
        source_channels: int,
        target_channels: int,
        direction: str = "AtoB",
        flip: bool = True,
        augment: bool,
        seed: int,
        cache: Mapping[Pair, tuple[np.ndarray, np.ndarray]] | None = None,
    ):
        load_size = default_load_size(size) if load_size is None else load_size
        require(load_size >= size, f"data.load_size={load_size} is smaller than data.size={size}; nothing to crop from")
        require(direction in DIRECTIONS, f"data.direction={direction}: choose one of {', '.join(DIRECTIONS)}")
        self.pairs = tuple(pairs)
        self.size = size
        self.edge = load_size if augment else size
        self.channels = {"source_channels": source_channels, "target_channels": target_channels}
        self.direction, self.flip, self.augment, self.seed = direction, flip, augment, seed
        self.cache = {} if cache is None else cache

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | int]:
        pictures = self.pictures(index)
        if self.augment:
            rng = np.random.default_rng([self.seed, index])
            top, left = rng.integers(0, self.edge - self.size + 1, size=2)
            step = -1 if self.flip and rng.random() < 0.5 else 1
            pictures = [p[top : top + self.size, left : left + self.size][:, ::step] for p in pictures]
        source, target = (torch.from_numpy(images.to_unit(picture)) for picture in pictures)
        return {"source": source, "target": target, "index": index}

    def name_of(self, index: int) -> str:
        pair = self.pairs[index % len(self)]
        return (pair.a if self.direction == "AtoB" else pair.b).name

    def pictures(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target, uint8 (edge, edge, C), before augmentation."""
        pair = self.pairs[index % len(self)]
        return self.cache.get(pair) or self.fit(*load_pair(pair, **self.channels, direction=self.direction))

    def target(self, index: int) -> np.ndarray:
        """The target, uint8 (C, edge, edge), before augmentation."""
        return self.pictures(index)[1].transpose(2, 0, 1)

    def fit(self, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Resize uint8 (H, W, C) pictures to the square from which samples are cut."""
        square = (self.edge, self.edge)
        return images.resize(source, square), images.resize(target, square)


def default_load_size(size: int) -> int:
    """The size before the random crop: pix2pix's 286 for 256, and in proportion."""
    return round(size * 286 / 256)
