"""Packages of one's own whose configs and classes stand beside ganforge's. Imports nothing heavy.

They are named by the user alone, never by a checkpoint: on the command line (`ganforge --package NAME COMMAND ...`), in
the file ganforge.yaml of the folder where one stands, or by an entry point of an installed package. A package brings
what is in its folder `conf`, and lets checkpoints name the classes that are defined in its modules.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from ganforge import CONF
from ganforge.errors import UserError, require
from ganforge.files import untrusted

FILE = "ganforge.yaml"  # packages: [NAME, ...]
VARIABLE = "GANFORGE_PACKAGES"  # those of the command line, with commas between them, for the processes of a run too
ENTRY_POINTS = "ganforge.packages"

_OF_A_RUN = (".hydra", "checkpoints", "status.json")


def name_on_command_line(name: str) -> None:
    """Add a package to those that this process and the ones that it starts know."""
    named = [other for other in os.environ.get(VARIABLE, "").split(",") if other]
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*named, name]))


def packages() -> dict[str, str]:
    """The names of the packages, and where each was named. Raises UserError for a file that names none."""
    found = dict(_installed())
    if Path(FILE).is_file():
        contents = untrusted.read_yaml(Path(), FILE)
        names = contents.get("packages") if isinstance(contents, dict) else None
        require(
            isinstance(names, list) and all(isinstance(name, str) for name in names),
            f"{Path(FILE).resolve()}: names the packages of this project, as in: packages: [my_package]",
        )
        require(
            not any(Path(mark).exists() for mark in _OF_A_RUN),
            f"{Path(FILE).resolve()}: lies in the folder of a run, which may come from someone else; call ganforge in "
            "the folder of your project",
        )
        found |= dict.fromkeys(names, FILE)
    found |= dict.fromkeys(filter(None, os.environ.get(VARIABLE, "").split(",")), "--package")
    for name, where in found.items():
        require(all(map(str.isidentifier, name.split("."))), f"{where}: {name!r} is no name of a package")
    return found


def folders() -> list[Path]:
    """The folder `conf` of each package that has one; the packages themselves are not loaded for it.

    Raises UserError for a package that is not there, and for a choice that ganforge has itself.
    """
    found = []
    for name, where in packages().items():
        _make_importable(where)
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            spec = None
        require(
            spec is not None and spec.submodule_search_locations is not None,
            f"{where}: there is no package {name}; call ganforge in the folder that holds it, or install it",
        )
        for place in spec.submodule_search_locations:
            conf = Path(place) / "conf"
            if conf.is_dir():
                _require_new(conf)
                found.append(conf)
    return found


def modules() -> list[ModuleType]:
    """All modules of all packages, loaded. Raises UserError for one that cannot be imported."""
    found = []
    for name, where in packages().items():
        _make_importable(where)
        try:
            package = importlib.import_module(name)
            below = pkgutil.walk_packages(getattr(package, "__path__", ()), f"{name}.")
            found += [package, *(importlib.import_module(entry.name) for entry in below)]
        except ImportError as error:
            raise UserError(f"{where}: the package {name} cannot be imported ({error})") from error
    return found


@cache
def _installed() -> dict[str, str]:
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {point.value: f"the entry point {point.name}" for point in points}


def _make_importable(where: str) -> None:
    """What is not installed is looked for where one stands, after everything else."""
    here = str(Path.cwd())
    if where in (FILE, "--package") and here not in sys.path:
        sys.path.append(here)


def _require_new(conf: Path) -> None:
    for file in conf.rglob("*.yaml"):
        choice = file.relative_to(conf)
        require(
            not (CONF / choice).exists(),
            f"{file}: ganforge has {choice.parent.as_posix()}={choice.stem} itself; give yours another name",
        )
