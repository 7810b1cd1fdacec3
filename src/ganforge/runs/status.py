"""What became of a run: `status.json` in its folder, whole at any time."""

import json
import math
import os
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ganforge.files import lock, untrusted
from ganforge.files.folders import replace

FILE = "status.json"
STATES = ("running", "finished", "failed", "interrupted", "pruned")
NUMBERS = ("score", "images_seen", "pid")
TEXTS = ("monitor", "error", "began", "since", "ended", "host")

_begun: set[Path] = set()  # the folders of runs that this process has called running


def write(run_dir: str | Path, **changes: Any) -> None:
    """Change fields of a run's status: state, score, monitor, mode, error, images_seen.

    Each state says when the run `began`, and when it `ended` unless it is running. Other fields keep their values.
    """
    run_dir = Path(run_dir)
    # JSON has no NaN: a score that does not exist is null.
    changes = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in changes.items()}
    status = _load(run_dir) or {}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    blank = {"state": "running", "score": None, "monitor": None, "mode": None, "error": None, "images_seen": None}
    status = {**blank, "began": now, **status, **changes, "pid": os.getpid(), "host": socket.gethostname()}
    if changes.get("state") == "running":
        status["since"] = now  # of this process; a run that goes on began earlier
        _begun.add(run_dir.resolve())
    status["ended"] = None if status["state"] == "running" else now
    with replace(run_dir / FILE) as file:
        file.write((json.dumps(status, indent=2) + "\n").encode())


def read(run_dir: str | Path) -> dict[str, Any] | None:
    """The status of the run in a folder; None where there is none. A run that was killed is "interrupted"."""
    run_dir = Path(run_dir)
    status = _load(run_dir)
    # The locks of other machines cannot be relied on to be seen here.
    here = status is not None and status["state"] == "running" and status.get("host") == socket.gethostname()
    if here and not _lives(run_dir):
        status["state"] = "interrupted"
    return status


def _load(run_dir: Path) -> dict[str, Any] | None:
    """The fields of the file; those of another type than `write` gives them are None."""
    status = untrusted.read_json(run_dir, FILE)
    if not isinstance(status, dict) or status.get("state") not in STATES:
        return None
    for names, kinds in ((NUMBERS, int | float), (TEXTS, str)):
        status |= {name: None for name in names if name in status and not isinstance(status[name], kinds)}
    status |= {name: None for name in NUMBERS if isinstance(status.get(name), bool)}
    if status.get("mode") not in ("min", "max"):
        status["mode"] = None
    return status


def _lives(run_dir: Path) -> bool:
    """Whether the process that a status calls running is there: it has the lock of the folder."""
    if lock.is_mine(run_dir):  # and what another process wrote before is of one that was killed
        return run_dir.resolve() in _begun
    return lock.is_held(run_dir)
