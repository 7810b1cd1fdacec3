"""What git says of the code that computes a run. Imports nothing heavy."""

import subprocess
from pathlib import Path

from ganforge import CONF
from ganforge.words import is_installed_command

UNKNOWN = "unknown"
DIRTY = "-dirty"  # after a commit: there were changes that nobody committed


def project() -> Path:
    """The folder whose git state belongs to a run: where `ganforge train` was typed, or the clone of ganforge."""
    return Path.cwd() if is_installed_command() else CONF.resolve().parent


def commit() -> str:
    """The commit of the project, with DIRTY behind it where files differ from it; UNKNOWN where it is no checkout."""
    return answer("describe", "--always", f"--dirty={DIRTY}", "--abbrev=12").strip() or UNKNOWN


def answer(*arguments: str) -> str:
    """What git says of the project; nothing where it is no checkout."""
    try:
        said = subprocess.run(
            ["git", "-C", str(project()), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return said.stdout if said.returncode == 0 else ""
