"""`ganforge report`."""

from collections.abc import Sequence
from pathlib import Path

from ganforge.commands import side_by_side
from ganforge.files.untrusted import printable
from ganforge.report.page import write


def report(
    folder: str | Path | Sequence[str | Path], *, output: str | Path | None = None, overwrite: bool = False
) -> Path:
    """Write a run, or all runs below folders, as one HTML page, and say where; see `ganforge.report.page.write`."""
    folders = [folder] if isinstance(folder, str | Path) else list(folder)
    path = write(*folders, output=output, overwrite=overwrite, draw=side_by_side.draw)
    print(f"report: {printable(path)} ({path.stat().st_size / 1e6:.1f} MB)")
    return path
