"""Trained models and runs to choose from: those that were given, or all in a folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ganforge.errors import require
from ganforge.files.untrusted import shortened
from ganforge.runs import hub_folder
from ganforge.runs.folder import Run, find

MODELS = (".ckpt", ".onnx")
DEFAULT = "lightning_logs"


@dataclass(frozen=True, eq=False)
class Entry:
    """path: what `ganforge.runs.opened.open_generator` takes. run: None of a model that lies alone."""

    name: str
    path: Path
    run: Run | None = None

    @property
    def title(self) -> str:
        """For people: its name, model and best number."""
        run = self.run
        more = [] if run is None else [run.choices.get("model"), "" if run.score is None else score_of(run)]
        return shortened(" · ".join([self.name, *(part for part in more if part)]), 120)


def score_of(run: Run) -> str:
    return f"{(run.monitor or '').removeprefix('val/')} {run.score:.4g}"


def entries(given: Sequence[str | Path]) -> list[Entry]:
    """What lies at these paths: runs, folders of runs, checkpoints, and what `ganforge export` wrote.

    Raises UserError for a path where none of them is.
    """
    found = [entry for path in map(Path, given) for entry in _at(path)]
    return told_apart(found)


def told_apart(found: Sequence[Entry]) -> list[Entry]:
    """Each once; those of one name are called by as few of the last parts of their paths as tell them apart."""
    known: dict[Path, Entry] = {}
    for entry in found:
        known.setdefault(entry.path.resolve(), entry)
    names = Counter(entry.name for entry in known.values())
    ends = {path: [path.parts[-count:] for count in range(1, len(path.parts) + 1)] for path in known}
    taken = Counter(end for path in known for end in ends[path])
    return [
        entry
        if names[entry.name] == 1
        else replace(entry, name="/".join(next(end for end in ends[path] if taken[end] == 1 and len(end) > 1)))
        for path, entry in known.items()
    ]


def _at(path: Path) -> list[Entry]:
    require(path.exists(), f"{path}: no such run, folder or checkpoint")
    if not path.is_dir():
        require(
            path.suffix.lower() in MODELS,
            f"{path}: is no model; give a run, a folder of runs or of ganforge export, or a file ({', '.join(MODELS)})",
        )
        return [Entry(path.name, path)]
    if hub_folder.is_hub_folder(path):
        return [Entry(path.resolve().name, path)]
    runs = find(path)
    require(bool(runs), f"{path}: holds no run; give a run, a folder of runs, or a checkpoint")
    return [Entry(run.name, run.folder, run) for run in runs]
