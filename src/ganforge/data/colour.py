"""`data=colour`: any folder of colour pictures, as lightness to be given colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganforge.data.decoded import Fit, OnDemand, decode
from ganforge.data.module import DataModule, RealPictures
from ganforge.data.pictures import Pictures
from ganforge.data.resized_pairs import default_load_size
from ganforge.data.split_folders import SPLITS, check_fractions, fingerprint, found_note, split_files, split_folders
from ganforge.errors import UserError, require
from ganforge.pictures import colour, images
from ganforge.pictures.tensors import to_unit

GREY = ("refuse", "keep")
_LEVELS = 4  # between the channels of a picture that is called grey, at most, but for 1 % of its pixels: as JPEG leaves
_CHANNELS = {"source_channels": 1, "target_channels": 2}


def is_grey(picture: np.ndarray) -> bool:
    """Whether an RGB picture, uint8 (3, H, W), holds no colour."""
    spread = picture.max(axis=0).astype(np.int16) - picture.min(axis=0)
    return bool(np.quantile(spread, 0.99) <= _LEVELS)


@dataclass(frozen=True)
class ColourFit(Fit):
    """As `Fit`; grey: what is done with a picture without colour, one of GREY."""

    grey: str = "refuse"

    def __call__(self, path: Path) -> np.ndarray:
        picture = super().__call__(path)
        require(
            self.grey == "keep" or not is_grey(picture),
            f"{path}: is grey, and would teach that things have no colour; remove it, or data.grey=keep",
        )
        return picture


class Coloured(Dataset):
    """{"source": lightness, float32 (1, size, size), "target": colour, (2, size, size), "index"}.

    See `ganforge.pictures.colour.encode`. pictures: uint8 RGB, of which with augment squares of size are cut at random
    and, with flip, half of them mirrored. The index is virtual (see `EpochBatches`), and all randomness is a function
    of (seed, index). Whole batches are taken at once. files: of the pictures.
    """

    def __init__(self, pictures: Pictures, files: Sequence[Path], *, size: int, flip: bool, augment: bool, seed: int):
        self.pictures, self.files = pictures, files
        self.size, self.flip, self.augment, self.seed = size, flip, augment, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        squares = np.stack([self._square(index) for index in indices])
        source, target = colour.encode(to_unit(torch.from_numpy(squares)))
        return {"source": source, "target": target, "index": torch.tensor(indices)}

    def name_of(self, index: int) -> str:
        return self.files[index % len(self)].name

    def _square(self, index: int) -> np.ndarray:
        picture = self.pictures[index % len(self)]
        if not self.augment:
            return picture
        drawn = np.random.default_rng([self.seed, index])
        top, left = drawn.integers(0, picture.shape[-1] - self.size + 1, size=2)
        step = -1 if self.flip and drawn.random() < 0.5 else 1
        return picture[:, top : top + self.size, left : left + self.size][:, :, ::step]


class ColourData(DataModule):
    """Colour pictures of any size from a folder, as squares: {"source", "target", "index"}, see `Coloured`.

    root: holds the pictures, or train/ (and val/, test/) which hold them; what is missing is taken out of the training
    pictures: see `split_files`. Pictures are squashed to a square of load_size (default: 286/256 of size) for training,
    from which size×size is cut at random, and with flip mirrored at random; for all else to size. Transparent ones are
    laid on the background, CMYK and palettes become RGB, and 16 bits a channel are refused; for grey ones see GREY.
    n_train, n_val, n_test: only the first n. cache_bytes, cache_dir: see `decode`. source_channels, target_channels:
    for the networks; they are 1 and 2.
    """

    provides = frozenset({"paired", "colour"})
    colour_space = colour.SPACE

    def __init__(
        self,
        *,
        root: str | Path,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        size: int = 256,
        load_size: int | None = None,
        flip: bool = True,
        grey: str = "refuse",
        background: str = "white",
        n_train: int | None = None,
        n_val: int | None = None,
        n_test: int | None = None,
        source_channels: int = 1,
        target_channels: int = 2,
        cache_bytes: int = 2**30,
        cache_dir: str | Path = "~/.cache/ganforge/pictures",
        batch_size: int = 1,
        num_workers: int = 2,
        seed: int = 0,
    ):
        super().__init__(size=size, batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.channels = {"source_channels": source_channels, "target_channels": target_channels}
        require(
            self.channels == _CHANNELS,
            f"data.source_channels={source_channels}, data.target_channels={target_channels}: of colour these are 1, "
            "lightness, and 2, what is added to it; data=pairs has others",
        )
        load_size = default_load_size(size) if load_size is None else load_size
        require(load_size >= size, f"data.load_size={load_size} is smaller than data.size={size}; nothing to crop from")
        check_fractions(val_fraction, test_fraction)
        require(grey in GREY, f"data.grey={grey}: choose one of {', '.join(GREY)}")
        self.limits = {"train": n_train, "val": n_val, "test": n_test}
        for name, limit in self.limits.items():
            require(limit is None or limit >= 1, f"data.n_{name}={limit}: 1 or more, or null for all")
        require(cache_bytes >= 0, f"data.cache_bytes={cache_bytes}: 0 (keep nothing in memory) or more")
        try:
            images.opaque(background)
        except UserError as error:
            raise UserError(f"data.{error}") from error
        self.root, self.load_size, self.flip, self.grey, self.background = (
            Path(root).expanduser(), load_size, flip, grey, background
        )  # fmt: skip
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.cache_bytes, self.cache_dir = cache_bytes, Path(cache_dir).expanduser()
        self.folders = split_folders(self.root, "data.root")
        self._decoded: dict[tuple[str, int], Pictures] = {}

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """The files of each split, in natural order."""
        found = split_files(
            self.folders,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
            split_seed=self.split_seed,
        )
        return {split: found[split][:limit] for split, limit in self.limits.items()}

    def datasets(self) -> dict[str, Dataset]:
        pictures, faults = {}, {}
        for split in SPLITS:
            try:
                pictures[split] = self._pictures(split, self.load_size if split == "train" else self.size)
            except UserError as error:
                faults[str(error)] = split
        require(not faults, "\n".join(faults))
        return {
            split: Coloured(
                pictures[split],
                self.files[split],
                size=self.size,
                flip=self.flip,
                augment=split == "train",
                seed=self.seed,
            )
            for split in SPLITS
        }

    def _pictures(self, split: str, edge: int) -> Pictures:
        fit = ColourFit(size=edge, channels=3, crop=False, background=self.background, grey=self.grey)
        if split == "train" and edge != self.load_size:
            return OnDemand(self.files[split], fit)  # each seldom more than once
        if (split, edge) not in self._decoded:
            taken = sum(own.nbytes for own in self._decoded.values() if isinstance(own, np.ndarray))
            room = max(0, self.cache_bytes - taken)
            self._decoded[split, edge], _ = decode(self.files[split], fit, cache_bytes=room, cache_dir=self.cache_dir)
        return self._decoded[split, edge]

    def compared(self, batch: dict[str, Tensor], generated: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Source, target and what was generated as RGB; the source is the grey picture."""
        source, target = batch["source"], batch["target"]
        grey = colour.decode(source, torch.zeros_like(target))
        return {**batch, "source": grey, "target": colour.decode(source, target)}, colour.decode(source, generated)

    @property
    def compared_channels(self) -> tuple[int, ...]:
        return (3, 3)

    def real(self, split: str) -> RealPictures:
        """The colour pictures, resized to size."""
        pictures = self._pictures(split, self.size)
        return RealPictures(len(pictures), pictures.__getitem__)

    @property
    def notes(self) -> tuple[str, ...]:
        return (found_note(self.folders, self.files, self.test_fraction),)

    def fingerprint(self) -> str:
        """Hash of the splits, the file names and the contents (of files above 1 MiB, of their ends). Taken once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.files)
