"""The pictures that a command is given: files, and what lies in folders."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ganforge.data.threads import in_threads
from ganforge.errors import UserError, require
from ganforge.files.folders import natural_key
from ganforge.pictures import images

_NAMED = 3  # of several files, in a message

Looked = TypeVar("Looked")


@dataclass(frozen=True)
class Source:
    """A picture file, and the folder below the output that its translation belongs to."""

    file: Path
    below: Path = Path()


def find(
    given: Sequence[str | Path], recursive: bool = False, also: Sequence[str] = ()
) -> tuple[list[Source], list[str]]:
    """The pictures among files and folders, in natural order, and what of the folders was left out, a sentence each.

    recursive: those in folders of the folders too; hidden ones and links are not followed. also: suffixes of files that
    are taken of folders without any picture. Raises UserError where a
    path is missing, or a folder holds no picture.
    """
    sources, notes = [], []
    for path in map(Path, given):
        require(path.exists(), f"{path}: no such picture or folder")
        if not path.is_dir():
            sources.append(Source(path))
            continue
        if not recursive:
            others = _of_kinds(path, also)
            if others:
                sources += map(Source, others)
                continue
            sources += map(Source, images.list_images(path))
            notes += _left_out(path, subfolders=True)
            continue
        before = len(sources)
        for here, below, _ in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            folder = Path(here)
            pictures = [file for file in folder.iterdir() if is_picture(file)]
            sources += [
                Source(file, folder.relative_to(path))
                for file in sorted(pictures, key=lambda entry: natural_key(entry.name))
            ]
            notes += _left_out(folder, subfolders=False)
        require(len(sources) > before, f"{path} holds no pictures ({images.accepted()}), nor does a folder in it")
    return sources, notes


def check(sources: Sequence[Source], look: Callable[[Source], Looked]) -> tuple[dict[Source, Looked], list[str]]:
    """What `look` finds of each picture, in threads, and what is wrong where it raises UserError, a sentence each."""

    def found(source: Source) -> Looked | UserError:
        try:
            return look(source)
        except UserError as error:
            return error

    found_of = dict(zip(sources, in_threads(found, sources, "checking"), strict=True))
    broken = [str(error) for error in found_of.values() if isinstance(error, UserError)]
    return {source: seen for source, seen in found_of.items() if not isinstance(seen, UserError)}, broken


def _entries(folder: Path) -> list[Path]:
    """What is directly in a folder and not hidden, in natural order."""
    shown = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(shown, key=lambda entry: natural_key(entry.name))


def _of_kinds(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files with these suffixes in a folder without a picture; of one name the first kind."""
    entries = [entry for entry in _entries(folder) if entry.is_file()]
    if any(map(is_picture, entries)):
        return []
    found = sorted((e for e in entries if e.suffix.lower() in suffixes), key=lambda e: suffixes.index(e.suffix.lower()))
    first = {}
    for entry in found:
        first.setdefault(entry.stem, entry)
    return sorted(first.values(), key=lambda entry: natural_key(entry.name))


def is_picture(file: Path) -> bool:
    """Whether a file is one by its name: not hidden, with a suffix that is read."""
    return not file.name.startswith(".") and file.suffix.lower() in images.SUFFIXES and file.is_file()


def _left_out(folder: Path, subfolders: bool) -> list[str]:
    entries = _entries(folder)
    others = [entry.name for entry in entries if entry.is_file() and not is_picture(entry)]
    folders = [entry.name for entry in entries if subfolders and entry.is_dir()]
    said = [f"{len(others)} files of other kinds ({_listed(others)})"] if others else []
    said += [f"{len(folders)} folders ({_listed(folders)}), which --recursive would take"] if folders else []
    return [f"{folder}: left out {' and '.join(said)}"] if said else []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def check_targets(output: Path, written: list[Path], overwrite: bool) -> None:
    """Raise UserError where files to be written in a folder would overwrite each other, or what is there already."""
    require(
        not output.exists() or output.is_dir(), f"--output {output}: is a file; give a folder, it is made if missing"
    )
    repeated = sorted({str(file.relative_to(output)) for file in written if written.count(file) > 1})
    require(not repeated, f"pictures of one name would overwrite each other: {', '.join(repeated)}")
    existing = [str(file.relative_to(output)) for file in written if file.exists()]
    require(
        overwrite or not existing,
        f"--output {output}: already holds {', '.join(existing[:5])}{' ...' if len(existing) > 5 else ''}; choose "
        "another folder, or --overwrite",
    )
