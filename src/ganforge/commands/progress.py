"""How far a command is, wherever that is shown, and what it leaves."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

# With how many steps there are; within it, done() or done(n) after one or some of them.
Begin = Callable[[int], AbstractContextManager[Callable[..., None]]]


@dataclass(frozen=True)
class Written:
    """files: all of them, in the order of the pictures. notes: sentences about these. pictures: how many there were."""

    files: list[Path]
    notes: list[str]
    pictures: int


@contextmanager
def in_terminal(steps: int) -> Iterator[Callable[..., None]]:
    """A bar."""
    from rich.progress import Progress

    with Progress() as progress:
        task = progress.add_task("translating", total=steps)
        yield lambda count=1: progress.advance(task, count)
