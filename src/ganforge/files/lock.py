"""One process at a time in a folder: a lock of the kernel, which is free again when its process is gone, however."""

from pathlib import Path

from filelock import FileLock, Timeout

FILE = ".lock"
PATIENCE = 2  # seconds; whoever only looks has the lock for a moment

_held: dict[Path, FileLock] = {}


def hold(folder: str | Path) -> bool:
    """Take the lock of a folder for as long as this process lives; False where another process has it.

    Children do not inherit it. Raises OSError where no file can be written there.
    """
    folder = Path(folder).resolve()
    if folder not in _held:
        lock = FileLock(folder / FILE)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            return False
        _held[folder] = lock
    return True


def release(folder: str | Path) -> None:
    """Give the lock of a folder back before this process ends."""
    lock = _held.pop(Path(folder).resolve(), None)
    if lock is not None:
        lock.release()


def is_mine(folder: str | Path) -> bool:
    """Whether this process has the lock of a folder."""
    return Path(folder).resolve() in _held


def is_held(folder: str | Path) -> bool:
    """Whether this or another process has the lock of a folder; also where that cannot be seen."""
    folder = Path(folder).resolve()
    if folder in _held:
        return True
    if not (folder / FILE).exists():
        return False
    lock = FileLock(folder / FILE)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError, NotImplementedError):  # another user's folder, or one that cannot be written
        return True
    lock.release()
    return False
