"""The sweeps of a study: each a process, with its lines in a file, and a bar of the jobs that have ended."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import ganforge
from ganforge.errors import UserError
from ganforge.sweeps.jobs import has_ended, quoted
from ganforge.sweeps.sweep import label

_TRAIN = Path(ganforge.__file__).parent / "commands" / "train.py"
_EVERY = 1.0  # seconds between looks at the jobs


def sweep(
    overrides: Sequence[str],
    varied: Mapping[str, Sequence[Any]],
    *,
    folder: Path,
    said: str,
    config_name: str | None = None,
) -> list[Path]:
    """Run a sweep in `folder`, or go on with it, and show how many of its jobs have ended; returns their folders.

    varied: the values of each setting, of which every combination is a job. Raises UserError with the sweep's own last
    sentence where jobs failed; the others are complete.
    """
    combinations = itertools.product(*([(key, str(value)) for value in values] for key, values in varied.items()))
    jobs = [folder / label(settings) for settings in combinations]
    if all(map(has_ended, jobs)):
        return jobs
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    command = [sys.executable, str(_TRAIN), "-m", *(["--config-name", config_name] if config_name else [])]
    # choice(): of a single value too the job is named after it.
    command += [*overrides, *(f"{key}=choice({','.join(map(_word, values))})" for key, values in varied.items())]
    command += [f"hydra.sweep.dir='{folder.absolute()}'", "resume=true"]
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    with log.open("ab") as lines, Progress(*columns) as progress:
        task = progress.add_task(said, total=len(jobs))
        begin = lines.tell()
        process = subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT, env={**os.environ})
        try:
            while process.poll() is None:
                progress.update(task, completed=sum(map(has_ended, jobs)))
                time.sleep(_EVERY)
        except KeyboardInterrupt:
            process.wait()  # a terminal has told it too
            raise
        progress.update(task, completed=sum(map(has_ended, jobs)))
    if process.returncode:
        with log.open("rb") as lines:
            lines.seek(begin)
            said_last = [line for line in lines.read().decode(errors="replace").splitlines() if "error: " in line]
        reason = said_last[-1].strip().removeprefix("error: ") if said_last else f"exit status {process.returncode}"
        raise UserError(f"{reason}; all its lines: {log}")
    return jobs


def _word(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else str(value)
