"""`data=mnist`: the 70,000 handwritten digits of LeCun et al. (1998), from their four original files."""

import gzip
import hashlib
import math
import zlib
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path

import numpy as np

from ganforge.data.pictures import Pictures, PicturesData, Rows
from ganforge.errors import UserError, require
from ganforge.files.folders import open_file

_SIDE = 28
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MOST_VALUES = 2**30  # of a file, unpacked; the largest of the four has 47 million
_UNSIGNED_BYTES = 0x08  # the type of the values, third byte of the magic number


class MnistData(PicturesData):
    """Handwritten digits, grey, 28×28 or padded in black to size×size.

    root: holds the four idx files, gzipped or not, directly or in MNIST/raw. download: have torchvision fetch them into
    root where they are missing. classes: only these digits; None for all. n_heldout: so many of the 60,000 training
    pictures, from the end, are the validation set; the test set is the 10,000 test pictures. Else see `PicturesData`.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        download: bool = True,
        classes: list[int] | None = None,
        n_classes: int | None = None,
        n_heldout: int = 5000,
        size: int = _SIDE,
        channels: int = 1,
        n_train: int | None = None,
        n_val: int = 2000,
        n_test: int = 10000,
        n_labels: int | None = None,
        split_seed: int = 0,
        flip: bool = False,
        vertical_flip: bool = False,
        rotate: float = 0.0,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ):
        given = list(range(10)) if classes is None else [classes] if isinstance(classes, int) else list(classes)
        digits = sorted(set(given))
        require(
            0 < len(digits) == len(given) and all(digit in range(10) for digit in digits),
            f"data.classes={classes}: different digits from 0 to 9, such as [3,7], or null for all",
        )
        super().__init__(
            class_names=tuple(str(digit) for digit in digits),
            n_classes=n_classes,
            size=size,
            channels=channels,
            n_train=n_train,
            n_val=n_val,
            n_test=n_test,
            n_labels=n_labels,
            split_seed=split_seed,
            flip=flip,
            vertical_flip=vertical_flip,
            rotate=rotate,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        require(
            size >= _SIDE, f"data.size={size}: digits are {_SIDE}×{_SIDE}; use {_SIDE}, or more to pad them in black"
        )
        require(channels == 1, f"data.channels={channels}: digits are grey, 1 channel")
        require(isinstance(n_heldout, int) and n_heldout >= 1, f"data.n_heldout={n_heldout}: 1 or more pictures")
        self.root, self.download = Path(root).expanduser(), download
        self.digits, self.n_heldout = digits, n_heldout

    @cached_property
    def files(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What the files hold: "train" and "test" -> uint8 pictures (N, 28, 28), uint8 digits (N,)."""
        paths = {name: self._find(name) for names in _FILES.values() for name in names}
        if None in paths.values() and self.download:
            self._download()
            paths = {name: self._find(name) for name in paths}
        missing = [name for name, path in paths.items() if path is None]
        require(
            not missing,
            f"data.root={self.root} lacks {', '.join(missing)}: put the four files of MNIST there, as they are or .gz, "
            "or use data.download=true",
        )
        return {split: read_pair(paths[images], paths[labels]) for split, (images, labels) in _FILES.items()}

    def _find(self, name: str) -> Path | None:
        candidates = [
            folder / f"{name}{suffix}" for folder in (self.root, self.root / "MNIST" / "raw") for suffix in ("", ".gz")
        ]
        return next((path for path in candidates if path.is_file()), None)

    def _download(self) -> None:
        from torchvision import datasets  # takes a second to import, and is not needed again

        try:
            datasets.MNIST(str(self.root), download=True)
        except (OSError, RuntimeError) as error:
            names = ", ".join(f"{name}.gz" for names in _FILES.values() for name in names)
            raise UserError(
                f"MNIST could not be downloaded ({error}); put the four files {names} into data.root={self.root}, or "
                "give the folder that holds them as data.root"
            ) from error

    def arrays(self, split: str) -> tuple[Pictures, np.ndarray]:
        pictures, digits = self.files["test" if split == "test" else "train"]
        if split != "test":
            require(
                self.n_heldout < len(pictures),
                f"data.n_heldout={self.n_heldout}: less than the {len(pictures)} training pictures, some of which must "
                "be left to train on",
            )
            part = slice(-self.n_heldout) if split == "train" else slice(-self.n_heldout, None)
            pictures, digits = pictures[part], digits[part]
        rows = np.flatnonzero(np.isin(digits, self.digits))
        require(
            len(rows) > 0, f"data.classes={self.digits}: no such digit is among the {len(digits)} pictures of {split}"
        )
        labels = np.searchsorted(self.digits, digits[rows]).astype(np.int64)
        return Rows(Padded(pictures[:, None], self.size), rows), labels

    def fingerprint(self) -> str:
        """Hash of the pictures of each split, as the files hold them, and their digits. Taken once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(repr((self.digits, self.n_train, self.n_heldout)).encode(), digest_size=8)
        for pictures, digits in self.files.values():
            digest.update(pictures)
            digest.update(digits)
        return digest.hexdigest()


class Padded:
    """uint8 pictures (N, C, H, W) with black all around, size×size, padded as they are asked for."""

    def __init__(self, pictures: np.ndarray, size: int):
        self.pictures, self.size = pictures, size
        before = (size - pictures.shape[2]) // 2
        self.middle = (..., *(slice(before, before + side) for side in pictures.shape[2:]))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        inside = self.pictures[rows]
        if inside.shape[-1] == self.size:
            return inside
        padded = np.zeros((*inside.shape[:-2], self.size, self.size), dtype=np.uint8)
        padded[self.middle] = inside
        return padded


def read_pair(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (N, 28, 28) and digits uint8 (N,) from two idx files that must fit each other."""
    pictures, digits = read_idx(images), read_idx(labels)
    require(
        pictures.ndim == 3 and pictures.shape[1:] == (_SIDE, _SIDE),
        f"{images}: holds an array of shape {pictures.shape}, not {_SIDE}×{_SIDE} pictures; replace it by the original",
    )
    require(
        digits.ndim == 1 and len(digits) > 0 and digits.max() <= 9,
        f"{labels}: holds no digits from 0 to 9; replace it by the original",
    )
    require(
        len(pictures) == len(digits),
        f"{images} holds {len(pictures)} pictures, but {labels} {len(digits)} labels; they belong to different sets",
    )
    return pictures, digits


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an idx file, gzipped or not; the format is that of yann.lecun.com/exdb/mnist.

    Raises UserError, naming the file, where it is cut off, is no idx file, is longer than it says, or says that it
    holds more than 1 GiB.
    """
    try:
        with open_file(path) as packed:
            zipped = packed.read(2) == b"\x1f\x8b"
            packed.seek(0)
            with gzip.GzipFile(fileobj=packed) if zipped else nullcontext(packed) as file:
                head = file.read(16)
                shape = _shape(path, head)
                count = math.prod(shape)
                require(
                    count <= _MOST_VALUES,
                    f"{path}: says it has {' × '.join(map(str, shape))} values, more than {_MOST_VALUES:,}; fetch it "
                    "again",
                )
                data = bytearray(head[4 + 4 * len(shape) :])
                while len(data) <= count and (part := file.read(2**20)):
                    data += part
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again") from error
    require(
        len(data) == count,
        f"{path}: holds {f'{len(data)} values' if len(data) < count else 'more values'}, but says it has "
        f"{' × '.join(map(str, shape))}; fetch it again",
    )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _shape(path: Path, head: bytes) -> tuple[int, ...]:
    """The shape that the first 16 bytes of an idx file say."""
    n_dims = head[3] if len(head) >= 4 else 0
    require(
        head[:3] == bytes([0, 0, _UNSIGNED_BYTES]) and 1 <= n_dims <= 3 and len(head) >= 4 + 4 * n_dims,
        f"{path}: is no idx file of bytes, its first four bytes being {head[:4].hex(' ')}; fetch it again",
    )
    return tuple(int(n) for n in np.frombuffer(head, dtype=">u4", count=n_dims, offset=4))
