"""The classes that a checkpoint may name: those of a room of ganforge, or of a package that the user named."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType

from ganforge import extensions

NOT_THERE = "; those of a package of one's own, where ganforge --package NAME, ganforge.yaml or an entry point names it"


def classes(room: ModuleType, fits: Callable[[type], bool]) -> dict[str, type]:
    """Path -> class, of the public classes that fit and are defined in a room, or in a package that the user named.

    A class that the room itself exports is there under both paths, the shorter one first. A name that a checkpoint
    gives is looked up in what is returned, and never imported.
    """
    own = [importlib.import_module(f"{room.__name__}.{entry.name}") for entry in pkgutil.iter_modules(room.__path__)]
    found = {}
    for module in [*own, *extensions.modules()]:
        for name, kind in vars(module).items():
            if not inspect.isclass(kind) or kind.__module__ != module.__name__ or name.startswith("_"):
                continue
            if fits(kind):
                exported = {f"{room.__name__}.{name}": kind} if getattr(room, name, None) is kind else {}
                found |= exported | {f"{module.__name__}.{name}": kind}
    return found


def named(found: dict[str, type]) -> str:
    """The names of what `classes` found, for a sentence."""
    return ", ".join(sorted({kind.__name__ for kind in found.values()}))
