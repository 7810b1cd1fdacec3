"""`ganforge report`."""

from pathlib import Path

from ganforge.files.untrusted import printable
from ganforge.report.page import write


def report(folder: str | Path, *, output: str | Path | None = None, overwrite: bool = False) -> Path:
    """Write a run, or all runs below a folder, as one HTML page, and say where; see `ganforge.report.page.write`."""
    path = write(folder, output=output, overwrite=overwrite)
    print(f"report: {printable(path)} ({path.stat().st_size / 1e6:.1f} MB)")
    return path
