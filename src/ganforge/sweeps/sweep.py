"""Sweeps: what `python train.py -m` runs, each job in a process and a folder of its own.

The process that sweeps trains nothing. So a job that crashes, is killed or runs out of memory leaves the others alone,
a logger's run ends with its job, and `trainer.devices=2` starts its processes from a command line that sweeps nothing.
"""

import hashlib
import itertools
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, read_write

from ganforge.errors import UserError, require
from ganforge.files.untrusted import printable, shortened
from ganforge.runs import status
from ganforge.runs.compare import rank
from ganforge.runs.folder import Run, find
from ganforge.runs.table import print_table
from ganforge.sweeps.jobs import INTERRUPTED, OWN, PATIENCE, has_ended, quoted
from ganforge.words import command

LONGEST_NAME = 120  # of 255 bytes that a file system takes


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the name of its folder, and its overrides."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its state as in status.json, and the number that a sweep optimizes."""

    job: Job
    state: str
    score: float | None = None
    mode: str | None = None
    error: str | None = None


class Sweep:
    """A folder of jobs and the launcher that runs them."""

    def __init__(
        self,
        *,
        config: DictConfig,
        config_loader: ConfigLoader,
        launcher: Launcher,
        overrides: Sequence[str],
        max_batch_size: int | None = None,
    ):
        self.config = config
        self.config_loader = config_loader
        self.launcher = launcher
        self.max_batch_size = max_batch_size
        self.folder = Path(config.hydra.sweep.dir)
        self.overrides = self.parse([override for override in overrides if not OWN.match(override)])
        # Without it hydra.launcher.NAME=VALUE would be of a launcher that has no such setting.
        self.chosen_launcher = [override for override in overrides if override.startswith("launcher=")]
        self.launched = 0

    def parse(self, overrides: Sequence[str]) -> list[Override]:
        """Each key once, as it was given last."""
        parsed = OverridesParser.create(config_loader=self.config_loader).parse_overrides(list(overrides))
        return list({override.get_key_element().lstrip("+"): override for override in parsed}.values())

    def run(self, strategy: Callable[["Sweep"], None]) -> None:
        """Run all jobs; print their ranking; exit with one sentence where jobs failed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, self.folder / "multirun.yaml")
        self._wait_for_running_jobs()
        try:
            strategy(self)
        except KeyboardInterrupt:
            self.summarize()
            print(f"\ninterrupted\nto go on: {self._again()}", flush=True)
            sys.exit(INTERRUPTED)
        except UserError as error:
            self.summarize()
            sys.exit(f"error: {printable(error, lines=True)}")
        found = self.summarize()
        bad = [run for run in found if run.state not in ("finished", "pruned")]
        if bad:
            name, reason = printable(bad[0].name), shortened(bad[0].error or bad[0].state)
            sys.exit(
                f"error: {len(bad)} of {len(found)} jobs did not finish, the first is {name} ({reason}); "
                f"the others are complete; to repeat: {self._again()}"
            )

    def launch(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run the jobs that have not ended, and say what became of all of them."""
        waiting = [job for job in jobs if not has_ended(self.folder / job.name)]
        for job in waiting:
            self._check(job)
        crashed = None
        if waiting:
            overrides = [self._with_folder(job) for job in waiting]
            try:
                self.launcher.launch(overrides, initial_job_idx=self.launched)
            except UserError:
                raise
            except Exception as error:  # a worker of the launcher died
                crashed = f"{type(error).__name__}: {error}"
                print(f"warning: the launcher stopped ({crashed})", file=sys.stderr)
            self.launched += len(waiting)
        return [self._outcome(job, crashed) for job in jobs]

    def summarize(self) -> list[Run]:
        """Print the ranked table of the sweep's folder."""
        found = rank(find(self.folder))
        if found:
            from rich.console import Console

            console = Console()
            console.print(f"\n{printable(self.folder)}", soft_wrap=True, markup=False, highlight=False)
            print_table(found, console)
        return found

    def _check(self, job: Job) -> None:
        """Compose its config, so that a wrong name or value is an error before the first job starts."""
        folder = self.folder / job.name
        require(
            folder.resolve() == self.folder.resolve() / job.name,
            f"{folder}: a job's folder lies in its sweep, and this one is a link to {folder.resolve()}; remove it",
        )
        self.config_loader.load_sweep_config(self.config, list(self._with_folder(job)))

    def _with_folder(self, job: Job) -> list[str]:
        # Settled here: in a job's own config, ${name} may be another name.
        return [
            *self.chosen_launcher,
            *job.overrides,
            f"hydra.sweep.dir={quoted(self.folder)}",
            f"hydra.sweep.subdir={quoted(job.name)}",
        ]

    def _outcome(self, job: Job, crashed: str | None) -> Outcome:
        found = status.read(self.folder / job.name)
        if found is None:
            return Outcome(job, "failed", error=crashed or "it was not started")
        return Outcome(job, found["state"], found.get("score"), found.get("mode"), found.get("error"))

    def _wait_for_running_jobs(self) -> None:
        """A sweep that was killed ends its jobs; wait until they have written where they are."""
        deadline = time.monotonic() + PATIENCE
        while running := [run for run in find(self.folder) if run.state == "running"]:
            if self.config.get("resume") == "force":
                return
            one = running[0]
            require(
                time.monotonic() < deadline,
                f"{one.folder}: this job is running (process {one.status.get('pid')} on {one.status.get('host')}); "
                "wait or stop it; or resume=force where that process is gone",
            )
            time.sleep(0.5)

    def _again(self) -> str:
        """The command that goes on with this sweep."""
        given = [part for part in sys.argv[1:] if not re.match(r"resume=|hydra\.sweep\.dir=", part)]
        given += [f"hydra.sweep.dir={_plain_or_quoted(str(self.folder))}", "resume=true"]
        return f"{command()} {' '.join(shlex.quote(part) for part in given)}"


def grid(sweep: Sweep) -> None:
    """Every combination of the values given."""
    values, varied = [], []
    for override in sweep.overrides:
        require(
            not override.is_interval_sweep(),
            f"{override.input_line}: values of an interval are searched for; add sweep=optuna, or list the values",
        )
        key = override.get_key_element()
        if override.is_sweep_override():
            varied.append(key)
            values.append([(key, value) for value in dict.fromkeys(override.sweep_string_iterator())])
        else:
            values.append([(key, override.get_value_element_as_str())])
    jobs = []
    for chosen in itertools.product(*values):
        name = label((key, value) for key, value in chosen if key in varied) or "job"
        jobs.append(Job(name, tuple(key if key.startswith("~") else f"{key}={value}" for key, value in chosen)))
    for batch in _batches(jobs, sweep.max_batch_size):
        sweep.launch(batch)


def label(settings: Iterable[tuple[str, str]]) -> str:
    """A folder's name that shows settings: `seed-1__model.ink_weight-10`.

    It has no character that Hydra or a shell would read as anything else, is at most LONGEST_NAME long, and always the
    same for the same settings. Where it cannot show all, it ends with eight digits that differ for others.
    """
    parts, whole = [], ""
    for key, value in settings:
        parts.append(f"{key.lstrip('+~').replace('/', '.')}-{value}")
        whole += f"{key}={value}\n"
    written = "__".join(parts)
    plain = re.sub(r"[^\w.+-]+", "_", written, flags=re.ASCII).strip("_.")
    if plain == written and len(plain) <= LONGEST_NAME:
        return plain
    digits = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9]}_{digits}"


def settled(config: DictConfig) -> DictConfig:
    """The config with the sweep's folder as an absolute path; its name is made of choices and the time."""
    HydraConfig.instance().set_config(config)
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).absolute())
    return config


def _plain_or_quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./+-]+", text) else quoted(text)


def _batches(jobs: Sequence[Job], size: int | None) -> Iterator[Sequence[Job]]:
    size = len(jobs) if size is None or size < 1 else size
    for start in range(0, len(jobs), max(1, size)):
        yield jobs[start : start + size]
