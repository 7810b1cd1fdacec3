"""Folders that are written to, and names and files of somebody else."""

import errno
import glob
import hashlib
import os
import re
import secrets
import stat
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ganforge.errors import UserError

ABANDONED = 3600  # seconds without a byte, after which another process's unfinished file is taken for left behind

PROBE = 2**16  # bytes that a folder must have room for: settings and the like, which are written before any check

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_LONGEST = 255  # bytes of a file name, on all common file systems
_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, surrogates, ends of lines and paragraphs


def plain_name(name: str, suffix: str = "") -> str:
    """A name that comes from a file, and a suffix of ours, as the name of one file or folder.

    A name that is one already stays as it is. In others separators, control characters and names of dots alone become
    "_", and what is too long is cut; then a hash of the name is added, so that different names stay different.
    """
    plain = "".join("_" if c in "/\\" or unicodedata.category(c) in _NO_TEXT else c for c in name)
    plain = plain if plain.strip(".") else "_" * len(plain)
    if plain and plain == name and len(f"{plain}{suffix}".encode()) <= _LONGEST:
        return f"{plain}{suffix}"
    suffix = f"-{hashlib.blake2b(name.encode(errors='surrogatepass'), digest_size=4).hexdigest()}{suffix}"
    return plain.encode()[: _LONGEST - len(suffix.encode())].decode(errors="ignore") + suffix


def natural_key(name: str) -> tuple:
    """Sort key of a name: numbers by value (2 before 10), letters without case; a full order, so sorting is stable."""
    parts = re.split(r"(\d{1,300})", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def open_file(path: str | Path) -> BinaryIO:
    """A file to read; raises OSError for what is none: to open a pipe is to wait, and a device has no end."""
    file = open(  # noqa: SIM115  handed out
        path, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    )
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is a pipe, a device or a socket and no file", str(path))
    return file


def make_writable(folder: Path, name: str) -> None:
    """Make `folder` where it is missing; raise UserError, naming the argument, where no file can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        try:
            probe.write_bytes(bytes(PROBE))  # an empty file fits on a full disk
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{name}: this folder cannot be written ({error.strerror}); choose another") from error


@contextmanager
def replace(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when it is complete and on the disk; its folder is made if missing.

    Whatever happens before that (an exception, a full disk, a kill, a power cut), `path` is what it was. An OSError
    names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{secrets.randbelow(10**7)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent, glob.escape(path.name))
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of `replace` in a folder that belongs to this process alone."""
    for file in (*folder.glob("*.tmp"), *folder.glob("*/*.tmp")):
        if _is_unfinished(file):
            _remove(file)


def remedy(error: OSError) -> str:
    """What to do where the system does not let a file be written."""
    if error.errno in _NO_ROOM:
        return "make room"
    return "allow this user to write it" if error.errno in _NO_PERMISSION else "mend that"


def remove_abandoned(folder: Path, names: str) -> None:
    """Remove what killed processes left an hour ago of `replace` for files whose names fit a pattern such as *.npy."""
    for file in folder.glob(f"{names}.*.tmp"):
        if _is_unfinished(file) and time.time() - file.stat().st_mtime > ABANDONED:
            _remove(file)


def _is_unfinished(file: Path) -> bool:
    return re.fullmatch(r".+\.\d+\.tmp", file.name) is not None and file.is_file()


def _remove(file: Path) -> None:
    with suppress(OSError):  # its folder is no longer to be written: what failed before is to be told
        file.unlink(missing_ok=True)


def files_key(files: Iterable[Path], settings: str) -> str:
    """Equal for the same files, by path, size and date, and equal settings: the name of what is kept of them.

    Raises UserError for a file that cannot be read.
    """
    digest = hashlib.blake2b(settings.encode(), digest_size=12)
    for path in files:
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path}: is gone or cannot be read ({error.strerror}); start again") from error
        digest.update(f"{path.resolve()}/{status.st_size}/{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
