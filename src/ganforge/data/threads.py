"""Every file of a data set is read before the training, several at once."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

_FAULTS_SHOWN = 20
_SECONDS_WITHOUT_BAR = 2.0

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], text: str) -> Iterator[Result]:
    """function(item) of each, in order, computed in threads; on a terminal, with a progress bar after some seconds."""
    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(text, total=len(items))
    begin, shown = time.monotonic(), False
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for result in pool.map(function, items):
                if not shown and progress.console.is_terminal and time.monotonic() - begin > _SECONDS_WITHOUT_BAR:
                    progress.start()
                    shown = True
                progress.advance(task)
                yield result
        finally:
            if shown:
                progress.stop()


def listed(faults: Sequence[str]) -> str:
    """The first faults, a line each, and how many there are besides."""
    more = f"\n  ... and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
    return "".join(f"\n  {fault}" for fault in faults[:_FAULTS_SHOWN]) + more
