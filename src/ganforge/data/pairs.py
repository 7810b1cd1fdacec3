"""`data=pairs`: one's own pairs of pictures, resized, cropped and flipped alike."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from ganforge.data.module import DataModule, RealPictures
from ganforge.data.pair_files import DIRECTIONS, LAYOUTS, Naming, Pair, check_pairs, load_pair
from ganforge.data.splits import SPLITS, Splits, find_splits
from ganforge.errors import require
from ganforge.pictures import images

log = logging.getLogger(__name__)


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


class PairsData(DataModule):
    """Pairs of pictures from a folder, in the batches of pix2pix: {"source", "target", "index"}.

    See `find_pairs` for layout, `find_splits` for split, val_fraction, test_fraction and split_seed, `Naming` for
    source_dir to target_suffix, `load_pair` for direction and `Pairs` for load_size and flip.

    n_train, n_val, n_test: only the first n pairs of each split; None for all.
    cache_bytes: pairs are kept decoded in the memory of each process that trains if all of them fit into this many
    bytes; 0 never keeps any.
    """

    provides = frozenset({"paired"})

    def __init__(
        self,
        *,
        root: str | Path,
        layout: str = "auto",
        direction: str = "AtoB",
        split: str = "auto",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        source_dir: str = "a",
        target_dir: str = "b",
        source_suffix: str = "wo",
        target_suffix: str = "wb",
        size: int = 256,
        load_size: int | None = None,
        flip: bool = True,
        n_train: int | None = None,
        n_val: int | None = None,
        n_test: int | None = None,
        source_channels: int = 3,
        target_channels: int = 3,
        batch_size: int = 1,
        num_workers: int = 2,
        seed: int = 0,
        cache_bytes: int = 2**30,
    ):
        super().__init__(
            size=size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            source_channels=source_channels,
            target_channels=target_channels,
        )
        choices = {
            "layout": (layout, ("auto", *LAYOUTS)),
            "direction": (direction, DIRECTIONS),
            "split": (split, SPLITS),
        }
        for name, (value, accepted) in choices.items():
            require(value in accepted, f"data.{name}={value}: choose one of {', '.join(accepted)}")
        self.limits = {"train": n_train, "val": n_val, "test": n_test}
        for name, limit in self.limits.items():
            require(limit is None or limit >= 1, f"data.n_{name}={limit}: 1 or more, or null for all pairs")
        require(
            load_size is None or load_size >= size, f"data.load_size={load_size}: at least data.size={size}, or null"
        )
        require(cache_bytes >= 0, f"data.cache_bytes={cache_bytes}: 0 (keep nothing in memory) or more")
        require(
            source_suffix != target_suffix,
            f"data.source_suffix={source_suffix} equals data.target_suffix; they must tell A from B",
        )
        require(source_dir != target_dir, f"data.source_dir={source_dir} equals data.target_dir; they must differ")
        self.root = Path(root).expanduser()
        self.layout, self.split, self.direction = layout, split, direction
        self.naming = Naming(source_dir, target_dir, source_suffix, target_suffix)
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.load_size, self.flip, self.cache_bytes = load_size, flip, cache_bytes

    @cached_property
    def splits(self) -> Splits:
        """What `find_splits` finds, before n_train, n_val and n_test."""
        return find_splits(
            self.root,
            self.layout,
            naming=self.naming,
            split=self.split,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
            split_seed=self.split_seed,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided on the user's behalf: layout, missing splits."""
        return self.splits.notes

    def datasets(self) -> dict[str, Pairs]:
        kept: dict[Pair, tuple[np.ndarray, np.ndarray]] = {}
        sets = {
            name: Pairs(
                getattr(self.splits, name)[:limit],
                size=self.size,
                load_size=self.load_size,
                **self.channels,
                direction=self.direction,
                flip=self.flip,
                augment=name == "train",
                seed=self.seed,
                cache=kept,
            )
            for name, limit in self.limits.items()
        }
        owner = {pair: dataset for dataset in sets.values() for pair in dataset.pairs}
        needed = sum(dataset.edge**2 for dataset in owner.values()) * sum(self.channels.values())
        fits = needed <= self.cache_bytes

        def keep(pair: Pair, source: np.ndarray, target: np.ndarray) -> None:
            kept[pair] = owner[pair].fit(source, target)

        check_pairs(owner, **self.channels, direction=self.direction, visit=keep if fits else None)
        counts = ", ".join(f"{len(dataset)} {name}" for name, dataset in sets.items())
        where = "kept in memory" if fits else f"read anew each time, data.cache_bytes={self.cache_bytes} being too few"
        log.info("%s: pairs: %s; %.0f MiB decoded, %s", self.root, counts, needed / 2**20, where)
        return sets

    def real(self, split: str) -> RealPictures:
        """The targets, resized to size."""
        dataset = self.sets[split]
        plain = Pairs(
            dataset.pairs,
            size=self.size,
            **self.channels,
            direction=self.direction,
            augment=False,
            seed=self.seed,
            # Decoded for training, pictures are larger.
            cache=dataset.cache if dataset.edge == self.size else None,
        )
        return RealPictures(len(plain), plain.target)

    def fingerprint(self) -> str:
        """Hash of the splits, the file names and the contents (of files above 1 MiB: size, first and last 512 KiB).

        Taken once: a picture that is changed or removed during a training was trained on all the same.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        contents_hash = cache(images.contents_hash)  # the test pairs may be those of the validation
        digest = hashlib.blake2b(digest_size=8)
        for name, dataset in self.sets.items():
            for pair in dataset.pairs:
                for path in dict.fromkeys((pair.a, pair.b)):
                    digest.update(f"{name}/{path.name}/{path.stat().st_size}\n".encode())
                    digest.update(contents_hash(path))
        return digest.hexdigest()


def default_load_size(size: int) -> int:
    """The size before the random crop: pix2pix's 286 for 256, and in proportion."""
    return round(size * 286 / 256)
