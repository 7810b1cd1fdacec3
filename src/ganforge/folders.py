"""Folders that are written to."""

from pathlib import Path

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
