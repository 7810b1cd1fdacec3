"""Folders that are written to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ganforge.errors import UserError


def make_writable(folder: Path, name: str) -> None:
    """Make `folder` where it is missing; raise UserError, naming the argument, where no file can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{name}: this folder cannot be written ({error.strerror}); choose another") from error


@contextmanager
def replace(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when it is complete and on the disk.

    Whatever happens before that (an exception, a full disk, a kill, a power cut), `path` is what it was.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
