"""What became of a run: `status.json` in its folder, whole at any time."""

import json
import math
import os
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ganforge.folders import replace

FILE = "status.json"
STATES = ("running", "finished", "failed", "interrupted", "pruned")


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
    status["ended"] = None if status["state"] == "running" else now
    with replace(run_dir / FILE) as file:
        file.write((json.dumps(status, indent=2) + "\n").encode())


def read(run_dir: str | Path) -> dict[str, Any] | None:
    """The status of the run in a folder; None where there is none. A run that was killed is "interrupted"."""
    status = _load(Path(run_dir))
    here = status is not None and status["state"] == "running" and status.get("host") == socket.gethostname()
    if here and not _lives(status.get("pid"), status.get("since")):
        status["state"] = "interrupted"
    return status


def _load(run_dir: Path) -> dict[str, Any] | None:
    try:
        status = json.loads((run_dir / FILE).read_text())
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) and status.get("state") in STATES else None


def _lives(pid: Any, since: Any) -> bool:
    try:
        os.kill(pid, 0)
        started = Path(f"/proc/{pid}").stat().st_mtime
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":  # ended, and no one asked how
            return False
        return started <= datetime.fromisoformat(since).timestamp() + 2  # else the number was given to another process
    except ProcessLookupError:
        return False
    except (TypeError, ValueError, OverflowError):  # a status that was changed
        return False
    except OSError:  # another user's process, or a system without /proc
        return True
