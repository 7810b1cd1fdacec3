"""Which of the processes of a run this one is, by what started them, and when it ends. Imports nothing heavy."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

SWEEP = "GANFORGE_SWEEP"  # set for every job of a sweep: its folder
ANSWER = "GANFORGE_ANSWER"  # set for a training that a Python program called: the file for `answer`


class Launch(NamedTuple):
    """Processes that were started from outside: by torchrun, or by srun in a SLURM job.

    name: the same for all processes of this launch and for no other one; None where the launcher gives none.
    processes: of all machines; per_machine: of this one. rank: of this process among all.
    """

    by: str
    name: str | None
    processes: int
    per_machine: int
    rank: int


def launch() -> Launch | None:
    """What started the processes of this run, if it was not this program itself."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        name = environment["TORCHELASTIC_RUN_ID"]
        counts = (int(environment[key]) for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK"))
        return Launch("torchrun", None if name == "none" else name, *counts)
    interactive = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_NTASKS" in environment and "SLURM_PROCID" in environment and not interactive:
        name = f"slurm_{environment.get('SLURM_JOB_ID')}_{environment.get('SLURM_STEP_ID', 'batch')}"
        processes = int(environment["SLURM_NTASKS"])
        per_machine = int(environment.get("SLURM_NTASKS_PER_NODE", 1))
        return Launch("srun", name, processes, per_machine, int(environment["SLURM_PROCID"]))
    return None


def rank() -> int:
    """0 for the first process of a run, which alone writes its folder; otherwise above."""
    started = launch()
    if started is not None:
        return started.rank
    # Lightning starts the further processes of a machine with LOCAL_RANK set.
    return int(os.environ.get("LOCAL_RANK", 0)) or int(os.environ.get("NODE_RANK", 0))


def answer(**said: str) -> None:
    """Tell the Python program that called this training its folder, or the error that ended it."""
    path = os.environ.get(ANSWER)
    if path is None or rank():
        return
    before = json.loads(Path(path).read_text()) if Path(path).is_file() else {}
    Path(path).write_text(json.dumps({**before, **said}))


def stop_with_parent() -> None:
    """Of a job: be stopped, with a checkpoint, when the process that sweeps or called it is gone; of a further process
    of a run that Lightning started: end with the first one, which alone writes. Known to Linux alone.
    """
    further = "LOCAL_RANK" in os.environ
    if sys.platform != "linux" or (launch() is not None if further else {SWEEP, ANSWER}.isdisjoint(os.environ)):
        return
    import ctypes

    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL if further else signal.SIGTERM)
