"""On what a run was computed: processor, cores, accelerator. Imports nothing heavy."""

import os
import platform
import socket
from contextlib import suppress
from pathlib import Path

from ganforge.files.untrusted import printable
from ganforge.runs.folder import Run


def processor() -> dict[str, str | int]:
    """The name of this machine's processor, and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    allowed = getattr(os, "sched_getaffinity", None)
    return {"cpu": name, "cores": len(allowed(0)) if allowed else os.cpu_count() or 1}


def here() -> str:
    """This machine, in words."""
    known = processor()
    return printable(f"{known['cores']} cores, {known['cpu']}")


def of_run(run: Run) -> str | None:
    """In words; None where neither the run says it nor this machine is the one that trained it."""
    known = {key: run.results[key] for key in ("cpu", "cores") if key in run.results}
    if len(known) < 2:
        if run.status.get("host") != socket.gethostname():
            return None
        known = processor()
    device, cpu = str(run.results.get("device", "")), str(known["cpu"])
    on_gpu = device not in ("", cpu, platform.processor(), platform.machine())
    return printable(f"{device + ', ' if on_gpu else ''}{known['cores']} cores, {cpu}")
