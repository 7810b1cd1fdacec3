"""A job of a sweep as a process: started by a launcher, waited for, and stopped when its time or its sweep is over."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig

from ganforge.errors import require
from ganforge.hardware.processes import SWEEP
from ganforge.runs import status

INTERRUPTED = 130
# How a sweep is run, not what its jobs are.
OWN = re.compile(r"[+~]*(resume|launcher)(\.|=|$)")
OWN_OF_HYDRA = re.compile(r"[+~]*hydra[./](sweep|sweeper|launcher|run|mode)\b")
PATIENCE = 30  # seconds that a job has for its last checkpoint when its sweep was killed or its time is over
QUIET = 1800  # seconds without a line of metrics.csv after which a sweep says for what it waits
STOPPED = 10  # seconds after which it says so of a process that was stopped

WATCH = "ends with the sweep"  # a thread
RUNNING: list[subprocess.Popen] = []  # jobs of this process


class JobProcess:
    """What a launcher calls for a job, wherever it runs: a training in a process of its own.

    resume: "true" or "force", for a job that was interrupted; timeout: minutes that a job may take.

    Returns the score. Raises JobFailed with one sentence, and KeyboardInterrupt where the job was interrupted.
    """

    def __init__(self, *, resume: str = "true", timeout: float | None = None):
        self.script = str(Path(sys.argv[0]).absolute())
        self.resume = resume
        self.timeout = timeout
        self.sweeper = os.getpid()

    def __call__(self, config: DictConfig) -> float:
        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        if os.getppid() == self.sweeper:
            self._end_with_sweeper()
        first = os.environ.get("SLURM_PROCID", "0") == "0"  # of the processes that share this job
        found = status.read(folder) or {}
        if has_ended(folder):
            return found["score"]
        if found.get("state") == "failed" and first:
            empty(folder)
        # Also "running": a scheduler that starts a job again elsewhere has ended it before.
        resume = [f"resume={self.resume}"] if found.get("state") in ("interrupted", "running") else []
        command = [sys.executable, self.script, *_config_arguments(hydra)]
        command += [override for override in hydra.overrides.task if not OWN.match(override)]
        command += [override for override in hydra.overrides.hydra if not OWN_OF_HYDRA.match(override)]
        command += [f"hydra.run.dir={quoted(folder)}", *resume]
        print(f"\n{'going on with' if resume else 'job'} {folder.name}", flush=True)
        environment = {**os.environ, SWEEP: str(folder.parent)}
        process = subprocess.Popen(command, cwd=hydra.runtime.cwd, env=environment)
        RUNNING.append(process)
        code, late = _wait(process, folder, None if self.timeout is None else 60 * self.timeout)
        RUNNING.remove(process)
        found = status.read(folder) or {}
        if late and not has_ended(folder):
            reason = f"it took more than {self.timeout:g} minutes (hydra.sweeper.job_timeout)"
            if first and found.get("state") != "failed":
                status.write(folder, state="interrupted", error=reason)
            raise JobFailed(f"{folder.name}: {reason}")
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code == 0 and found.get("score") is not None:
            return found["score"]
        if not first:
            return float("nan")
        reason = found.get("error") or ended_by(code)
        said = found.get("ended") and found.get("state") in ("failed", "interrupted")
        if code >= 0 and not said:
            status.write(folder, state="failed", error=reason)
        elif not found:
            status.write(folder, state="interrupted", error=reason)
        raise JobFailed(f"{folder.name}: {reason}")

    def _end_with_sweeper(self) -> None:
        """The workers of joblib outlive the process that started them where that is killed."""
        if not any(thread.name == WATCH for thread in threading.enumerate()):
            threading.Thread(target=_end_with, args=(self.sweeper,), name=WATCH, daemon=True).start()


class JobFailed(Exception):
    """A job ended without a score. The others go on."""


def check_timeout(minutes: Any) -> None:
    """Raise UserError for a limit that is none."""
    number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
    require(
        minutes is None or (number and 0 < minutes < math.inf),
        f"hydra.sweeper.job_timeout={minutes}: minutes that a job may take, above 0, or null",
    )


def ended_by(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"ended with exit status {code}" + (" and no score" if code == 0 else "")
    return f"killed by {signal.Signals(-code).name}" + (", for lack of memory?" if code == -signal.SIGKILL else "")


def empty(folder: Path) -> None:
    """Delete what a failed run left in its folder."""
    require(not folder.is_symlink(), f"{folder}: is a link, and what it leads to is not deleted; remove it")
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def quoted(value: Any) -> str:
    """A string as a value in an override."""
    return QuotedString(text=str(value), quote=Quote.single).with_quotes()


def _wait(process: subprocess.Popen, folder: Path, seconds: float | None) -> tuple[int, bool]:
    """The exit status of a job, and whether it took more than `seconds` and was stopped for that.

    What asks this process to stop reaches the job too. Says once for which job it waits, where that writes nothing.
    """
    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    began = time.monotonic()
    deadline = math.inf if seconds is None else began + seconds
    late = said = False
    seen, changed = None, began
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=max(0.01, min(1.0, deadline - time.monotonic()))), late
            now = time.monotonic()
            if now >= deadline and late:
                process.kill()
                return process.wait(), late
            if now >= deadline:
                late, deadline = True, now + PATIENCE
                process.terminate()
                if hasattr(signal, "SIGCONT"):  # a process that was stopped would not hear of it
                    process.send_signal(signal.SIGCONT)
            if said:
                continue
            stopped = _is_stopped(process.pid)
            if (newest := _newest(folder)) != seen:
                seen, changed = newest, now
            if said := now - changed > (STOPPED if stopped else QUIET):
                does = f"is stopped; kill -CONT {process.pid} lets it go on" if stopped else "writes nothing"
                line = f"waiting for {folder.name}: its process {process.pid} {does} ({now - changed:.0f} s)"
                print(line, file=sys.stderr, flush=True)
    except KeyboardInterrupt:  # a terminal sends it to both
        process.wait()
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _is_stopped(pid: int) -> bool:
    """By SIGSTOP or Ctrl-Z. Known to Linux alone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False


def _newest(folder: Path) -> float:
    """When a job last wrote a row or its status."""
    times = [0.0]
    for name in ("metrics.csv", status.FILE):
        with suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    return max(times)


def _end_with(parent: int) -> None:
    """Of a worker of a launcher: end it and its job when the process that sweeps is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    for process in RUNNING:
        with suppress(OSError):
            process.terminate()
    os._exit(1)


def _config_arguments(hydra: DictConfig) -> Iterator[str]:
    """--config-name and --config-dir, where this sweep was given others."""
    yield from ("--config-name", hydra.job.config_name)
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            yield from ("--config-dir", source.path)


def has_ended(folder: Path) -> bool:
    found = status.read(folder)
    return found is not None and found["state"] in ("finished", "pruned") and found.get("score") is not None
