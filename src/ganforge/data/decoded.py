"""Files to equal squares of bytes, decoded once: in memory, in a file that the next run finds again, or each time."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.data.pictures import Pictures
from ganforge.data.threads import in_threads, listed
from ganforge.errors import UserError, require
from ganforge.files.folders import files_key, open_file, remove_abandoned, replace
from ganforge.pictures import images

_LONGEST = 4  # times the shorter side, of what is resized
_ROOM_LEFT = 2**28  # bytes of the disk that are not taken
_FORMAT = 2  # of the cached files; another number where the same settings give other pixels


@dataclass(frozen=True)
class Fit:
    """How a file becomes a picture of size×size.

    crop: the shorter side is resized to size and the middle square cut out; else the picture is squashed to a square.
    Of a picture more than 4 times as long as wide the middle is taken first: the work is bounded by the result.
    background: the colour behind transparent pictures. channels: 1 (grey) or 3 (RGB).
    """

    size: int
    channels: int
    crop: bool = True
    background: str = "white"

    def __call__(self, path: Path) -> np.ndarray:
        """uint8 (channels, size, size); raises UserError for a file that does not decode."""
        return self.fitted(images.read(path, self.channels, self.background))

    def fitted(self, picture: np.ndarray) -> np.ndarray:
        """The same of a picture, uint8 (H, W, channels)."""
        sides = [self.size, self.size]
        if self.crop:
            shorter = min(picture.shape[:2])
            picture = picture[tuple(_middle(side, _LONGEST * shorter) for side in picture.shape[:2])]
            sides = [max(self.size, round(side * self.size / shorter)) for side in picture.shape[:2]]
        top, left = ((side - self.size) // 2 for side in sides)
        square = images.resize(picture, tuple(sides))[top : top + self.size, left : left + self.size]
        return np.ascontiguousarray(square.transpose(2, 0, 1))


def _middle(side: int, most: int) -> slice:
    """The middle of a side: at most `most` pixels, or one more where that keeps the centre."""
    before = max(0, (side - most) // 2)
    return slice(before, side - before)


def decode(files: Sequence[Path], fit: Fit, *, cache_bytes: int, cache_dir: Path) -> tuple[Pictures, str]:
    """The pictures of the files, uint8 (N, C, size, size), in their order, and in words where they are kept.

    In memory if they fit into cache_bytes; else in a file in cache_dir, found again as long as names, sizes and dates
    of the files and `fit` are the same; else, where that cannot be written, decoded each time. Raises one UserError
    that names every file that does not decode.
    """
    shape = (len(files), fit.channels, fit.size, fit.size)
    needed = int(np.prod(shape))
    if needed <= cache_bytes:
        pictures = np.empty(shape, dtype=np.uint8)
        for row, picture in enumerate(_decoded(files, fit)):
            pictures[row] = picture
        return pictures, f"in memory, {_size(needed)}"
    path = cache_dir / f"{_key(files, fit)}.npy"
    try:
        stored = _stored(path, shape)
        if stored is None:
            _write(path, shape, files, fit)
            stored = Stored(path, shape)
        return stored, f"decoded in {path}, {_size(needed)}, being more than data.cache_bytes={cache_bytes}"
    except OSError as error:
        for _ in _decoded(files, fit):
            pass  # every file is tried before training
        return OnDemand(files, fit), (
            f"nowhere but decoded each time, which is slow: {_size(needed)} are more than "
            f"data.cache_bytes={cache_bytes}, and data.cache_dir={cache_dir} cannot take them ({error})"
        )


class Stored:
    """Pictures of a .npy file, read as they are asked for; every process opens the file itself."""

    def __init__(self, path: Path, shape: tuple[int, ...]):
        """Raises OSError or ValueError where the file is not one that was written for pictures of this shape."""
        self.path, self.shape = path, shape
        self.file = open_file(path)
        version = np.lib.format.read_magic(self.file)
        found = np.lib.format.read_array_header_1_0(self.file)
        self.begin = self.file.tell()
        whole = os.fstat(self.file.fileno()).st_size == self.begin + int(np.prod(shape))
        if (version, found, whole) != ((1, 0), (shape, False, np.dtype(np.uint8)), True):
            raise ValueError(f"{path} holds something else")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        pictures = np.empty((*np.shape(rows), *self.shape[1:]), dtype=np.uint8)
        size = int(np.prod(self.shape[1:]))
        for row, picture in zip(np.ravel(rows), pictures.reshape(-1, size), strict=True):
            data = os.pread(self.file.fileno(), size, self.begin + int(row) * size)
            require(len(data) == size, f"{self.path}: was cut off while it was read; remove it, then start again")
            picture[:] = np.frombuffer(data, dtype=np.uint8)
        return pictures

    def __reduce__(self) -> tuple[Any, ...]:
        return Stored, (self.path, self.shape)


class OnDemand:
    """Pictures that are decoded each time."""

    def __init__(self, files: Sequence[Path], fit: Fit):
        self.files, self.fit = files, fit

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        if np.ndim(rows) == 0:
            return self.fit(self.files[int(rows)])
        return np.stack([self.fit(self.files[row]) for row in rows])


def _decoded(files: Sequence[Path], fit: Fit) -> Iterator[np.ndarray]:
    """The pictures in order, decoded in threads; files that cannot be used are named at the end, all together."""
    faults: list[str] = []

    def attempt(path: Path) -> np.ndarray | UserError:
        try:
            return fit(path)
        except UserError as error:
            return error

    for picture in in_threads(attempt, files, "Decoding pictures"):
        if isinstance(picture, UserError):
            faults.append(str(picture))
        elif not faults:
            yield picture
    if faults:
        raise UserError(f"{len(faults)} of {len(files)} pictures cannot be used; mend or remove them:{listed(faults)}")


def _stored(path: Path, shape: tuple[int, ...]) -> Stored | None:
    """What an earlier run wrote; None where there is nothing, or something else."""
    try:
        return Stored(path, shape)
    except Exception:  # readers of damaged files raise nearly anything
        return None


def _write(path: Path, shape: tuple[int, ...], files: Sequence[Path], fit: Fit) -> None:
    """Write the pictures as .npy, whole or not at all. Raises OSError where it cannot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, "*.npy")
    needed, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
    if needed + _ROOM_LEFT > free:
        raise OSError(f"{_size(free)} are free there")
    with replace(path) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for picture in _decoded(files, fit):
            file.write(picture.tobytes())


def _key(files: Sequence[Path], fit: Fit) -> str:
    """Equal for the same files, by path, size and date, brought to the same form."""
    return files_key(files, json.dumps([_FORMAT, asdict(fit)], sort_keys=True))


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:,.1f} MiB"
