"""`data=pairs`: one's own pairs of pictures, of 8 bits or of any bands; cropped and flipped alike."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganforge.data.band_pairs import BandData, BandPairs
from ganforge.data.module import DataModule, RealPictures
from ganforge.data.pair_files import DIRECTIONS, LAYOUTS, Naming, Pair, check_pairs
from ganforge.data.pair_sides import SIDES, Sides, check_grids, find_sides, largest_power
from ganforge.data.resized_pairs import Pairs
from ganforge.data.splits import SPLITS, Splits, find_splits
from ganforge.errors import require
from ganforge.pictures import images
from ganforge.pictures.normalization import KINDS
from ganforge.pictures.sides import Side
from ganforge.pictures.sketches import XDoG
from ganforge.pictures.tensors import from_unit

log = logging.getLogger(__name__)

_LARGEST_AUTO = 256  # px a side, where no size is given


class PairsData(DataModule):
    """Pairs of pictures from a folder, in the batches of pix2pix: {"source", "target", "index"}.

    source: "files"; or "sketch" for a folder of pictures alone: each is a target, and its source is drawn from it by
    `sketch` (`XDoG` for None). Layout, direction and naming then say nothing.
    See `find_pairs` for layout, `find_splits` for split, val_fraction, test_fraction and split_seed, `Naming` for
    source_dir to target_suffix, `load_pair` for direction, `Pairs` for load_size and flip, `images.resize` for
    source_interpolation and target_interpolation.

    n_train, n_val, n_test: only the first n pairs of each split; None for all.
    cache_bytes: pairs are kept decoded in the memory of each process that trains if all of them fit into this many
    bytes; 0 never keeps any.

    Ordinary pictures of 8 bits are converted to source_channels and target_channels (1 or 3; "auto": 3) and squashed to
    size×size ("auto": 256). Where a file holds anything else, or source_bands, target_bands (names, or numbers from 1),
    another normalization (`KINDS`) or crop=True are asked for, the values of both sides are measurements (`BandData`):
    they are cut at the files' own scale and never resized, and their normalization belongs to the checkpoint too. The
    size is then the largest power of two that fits into each picture, at most 256. cache_dir: where statistics lie.
    """

    provides = frozenset({"paired"})

    def __init__(
        self,
        *,
        root: str | Path,
        source: str = "files",
        sketch: Callable[[np.ndarray], np.ndarray] | None = None,
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
        size: int | str = "auto",
        load_size: int | None = None,
        crop: bool | str | None = "auto",
        flip: bool = True,
        source_interpolation: str = "bicubic",
        target_interpolation: str = "bicubic",
        n_train: int | None = None,
        n_val: int | None = None,
        n_test: int | None = None,
        source_channels: int | str = "auto",
        target_channels: int | str = "auto",
        source_bands: Sequence[str | int] | None = None,
        target_bands: Sequence[str | int] | None = None,
        source_normalization: str | None = "auto",
        target_normalization: str | None = "auto",
        batch_size: int = 1,
        num_workers: int = 2,
        seed: int = 0,
        cache_bytes: int = 2**30,
        cache_dir: str | Path = "~/.cache/ganforge/statistics",
    ):
        given = size
        super().__init__(
            size=_LARGEST_AUTO if size == "auto" else size, batch_size=batch_size, num_workers=num_workers, seed=seed
        )
        self.size = given
        self.asked_channels = {"source": source_channels, "target": target_channels}
        self.bands = {"source": source_bands, "target": target_bands}
        self.kinds = {"source": source_normalization or "auto", "target": target_normalization or "auto"}
        self.interpolations = {
            "source_interpolation": source_interpolation, "target_interpolation": target_interpolation
        }  # fmt: skip
        self.source_interpolation = source_interpolation
        choices = {
            "source": (source, ("files", "sketch")),
            **{name: (value, images.INTERPOLATIONS) for name, value in self.interpolations.items()},
            "layout": (layout, ("auto", *LAYOUTS)),
            "direction": (direction, DIRECTIONS),
            "split": (split, SPLITS),
            "crop": (crop, (True, False, "auto", None)),
            **{f"{side}_normalization": (self.kinds[side], ("auto", *KINDS, "emd")) for side in SIDES},
        }
        for name, (value, accepted) in choices.items():
            require(value in accepted, f"data.{name}={value}: choose one of {', '.join(map(str, accepted))}")
        for side in SIDES:
            count, bands = self.asked_channels[side], self.bands[side]
            require(
                count == "auto" or (type(count) is int and count >= 1),
                f"data.{side}_channels={count}: auto, or of ordinary pictures 1 (grey) or 3 (RGB)",
            )
            are_names = isinstance(bands, list | tuple) and all(type(band) in (int, str) for band in bands)
            require(
                bands is None or (are_names and len(bands) > 0),
                f"data.{side}_bands={bands}: names of bands or their numbers from 1, such as [B4,B3,B2], or null",
            )
        require(
            layout != "bands" or None not in self.bands.values(),
            "data.layout=bands: source and target are bands of one file; give data.source_bands and data.target_bands",
        )
        self.limits = {"train": n_train, "val": n_val, "test": n_test}
        for name, limit in self.limits.items():
            require(limit is None or limit >= 1, f"data.n_{name}={limit}: 1 or more, or null for all pairs")
        require(
            load_size is None or size == "auto" or load_size >= size,
            f"data.load_size={load_size}: at least data.size={size}, or null",
        )
        require(cache_bytes >= 0, f"data.cache_bytes={cache_bytes}: 0 (keep nothing in memory) or more")
        require(
            source_suffix != target_suffix,
            f"data.source_suffix={source_suffix} equals data.target_suffix; they must tell A from B",
        )
        require(source_dir != target_dir, f"data.source_dir={source_dir} equals data.target_dir; they must differ")
        self.root = Path(root).expanduser()
        self.sketch = (sketch or XDoG()) if source == "sketch" else None
        # A picture that is drawn from is one file for both sides, whole, as files of bands are.
        self.layout, self.split, self.direction = "bands" if self.sketch else layout, split, direction
        self.naming = Naming(source_dir, target_dir, source_suffix, target_suffix)
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.load_size, self.flip, self.cache_bytes = load_size, flip, cache_bytes
        self.crop, self.cache_dir = "auto" if crop is None else crop, Path(cache_dir).expanduser()
        self.adopted: Mapping[str, Side] | None = None

    def adopt(self, sides: Mapping[str, Side] | None) -> None:
        """Take the normalization of a checkpoint in place of one of these files. Before the first use of anything."""
        self.adopted = sides

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

    @cached_property
    def pairs(self) -> dict[str, tuple[Pair, ...]]:
        """The pairs of each split that are used."""
        return {name: getattr(self.splits, name)[:limit] for name, limit in self.limits.items()}

    @cached_property
    def _files(self) -> tuple[Sides, bool]:
        every = [pair for own in self.pairs.values() for pair in own]
        return find_sides(every, direction=self.direction, channels=self.asked_channels, bands=self.bands)

    @cached_property
    def measured(self) -> BandData | None:
        """Of pairs whose values are measurements; None where all are ordinary pictures, which are resized."""
        files, are_ordinary = self._files
        if are_ordinary and set(self.kinds.values()) <= {"auto", "range"} and self.crop is not True:
            return None
        require(
            self.sketch is None,
            f"data.source=sketch: draws from pictures of 8 bits, grey or RGB, but those in {self.root} hold other "
            "bands or depths, or data.crop or a normalization treats them so; convert them, or leave these auto",
        )
        require(
            self.crop is not False,
            f"data.crop=false: pictures in {self.root} hold bands or depths whose values would be changed; they are "
            "cut at their own scale, so leave data.crop=auto",
        )
        require(
            self.load_size is None,
            f"data.load_size={self.load_size}: pictures in {self.root} are cut at their own scale and not resized; "
            "leave it null",
        )
        return BandData(
            root=self.root, files=files, splits=self.pairs, size=self.size, kinds=self.kinds, adopted=self.adopted,
            cache_bytes=self.cache_bytes, cache_dir=self.cache_dir,
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Pixels a side of what the networks see."""
        if self._size != "auto":
            return self._size
        files, are_ordinary = self._files
        if are_ordinary and self.crop is not True:
            return _LARGEST_AUTO
        halves = {pair.a for own in self.pairs.values() for pair in own if pair.side_by_side}
        sides = [min(own.height, own.width // (2 if file in halves else 1)) for file, own in files.headers.items()]
        return max(8, min(_LARGEST_AUTO, largest_power(min(sides, default=_LARGEST_AUTO))))

    @size.setter
    def size(self, value: int | str) -> None:
        self._size = value

    @property
    def channels(self) -> dict[str, int]:
        if self.measured is not None:
            return {f"{side}_channels": len(self.measured.files.readings[side].bands) for side in SIDES}
        channels = {side: 3 if count == "auto" else count for side, count in self.asked_channels.items()}
        for side, count in channels.items():
            require(count in (1, 3), f"data.{side}_channels={count}: of these pictures 1 (grey) or 3 (RGB)")
        return {f"{side}_channels": count for side, count in channels.items()}

    @channels.setter
    def channels(self, value: dict[str, int]) -> None:
        """They follow from the files."""

    @property
    def fit_to_size(self) -> str:
        return "squash" if self.measured is None else "crop"

    @property
    def sides(self) -> dict[str, Side] | None:
        """What the numbers of both sides mean; None where they are 8 bits of ordinary pictures."""
        are_ordinary = self._files[1] and set(self.kinds.values()) <= {"auto", "range"}
        return None if self.measured is None or are_ordinary else self.measured.sides

    @property
    def settled(self) -> dict[str, Any]:
        kinds = {
            f"{side}_normalization": "emd" if self.kinds[side] == "emd" else own.normalization.kind
            for side, own in (self.sides or {}).items()
        }
        crop = None if self.measured is None else True
        nothing = dict.fromkeys(f"{side}_normalization" for side in SIDES)
        return {"size": self.size, "crop": crop, **self.channels, **nothing, **kinds}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided on the user's behalf: layout, missing splits, bands; and what is unusual in the values."""
        if self.sketch is not None:
            return (*self.splits.notes, f"every picture is a target, and its source a sketch drawn by {self.sketch}")
        return self.splits.notes if self.measured is None else (*self.splits.notes, *self.measured.notes)

    def view(self, side: str, pictures: Tensor) -> Tensor:
        return pictures if self.measured is None else self.measured.views[side](pictures)

    def datasets(self) -> dict[str, Pairs | BandPairs]:
        if self.measured is not None:
            return {
                name: self.measured.dataset(own, flip=self.flip, augment=name == "train", seed=self.seed)
                for name, own in self.pairs.items()
            }
        check_grids(self._files[0], list(dict.fromkeys(pair for own in self.pairs.values() for pair in own)))
        kept: dict[Pair, tuple[np.ndarray, np.ndarray]] = {}
        sets = {
            name: Pairs(
                own,
                size=self.size,
                load_size=self.load_size,
                **self.channels,
                direction=self.direction,
                flip=self.flip,
                augment=name == "train",
                seed=self.seed,
                sketch=self.sketch,
                **self.interpolations,
                cache=kept,
            )
            for name, own in self.pairs.items()
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
        """The targets, resized to size; of measurements the middle, as they are shown."""
        dataset = self.sets[split]
        if self.measured is not None:
            middle = self.plain(split)
            return RealPictures(
                len(middle), lambda index: from_unit(self.view("target", middle[index]["target"][None]))[0].numpy()
            )
        plain = Pairs(
            dataset.pairs,
            size=self.size,
            **self.channels,
            direction=self.direction,
            augment=False,
            seed=self.seed,
            **self.interpolations,
            # Decoded for training, pictures are larger.
            cache=dataset.cache if dataset.edge == self.size else None,
        )
        return RealPictures(len(plain), plain.target)

    def plain(self, split: str) -> BandPairs:
        """The middles of the measured pairs of a split, without augmentation."""
        return self.measured.dataset(self.pairs[split], flip=False, augment=False, seed=self.seed)

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
