"""Pairs for training, validation and test: by folders of these names, a manifest, or a hash of each name."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ganforge.data.arcgis import find_naming
from ganforge.data.manifest import MANIFEST, read_manifest
from ganforge.data.pair_files import Naming, Pair, detect_layout, find_pairs, find_part
from ganforge.errors import require

SPLITS = ("auto", "folder", "fraction", "manifest")

_TRAIN, _VAL, _TEST = ("train",), ("val", "valid", "validation"), ("test",)

Named = TypeVar("Named", Pair, Path)


@dataclass(frozen=True)
class Splits:
    """Pairs for training, validation and test, and in `notes` what was decided on the user's behalf, as sentences."""

    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


def find_splits(
    root: Path,
    layout: str = "auto",
    *,
    naming: Naming | None = None,
    split: str = "auto",
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> Splits:
    """The pairs below root as train, val and test, each in natural order.

    split="folder": from the folders train/, val/ (or valid/, validation/) and test/. Where val/ is missing,
    val_fraction of train/ is taken for it; where test/ is missing, the validation pairs are also the test pairs.
    split="fraction": all pairs are in one place and val_fraction and test_fraction are taken out (test_fraction=0: the
    validation pairs are also the test pairs). split="manifest": as tiles.csv says, which `ganforge tiles` wrote; what
    it does not name is left out. split="auto": "manifest" if there is a tiles.csv, else "folder" if there is a folder
    train/, else "fraction".

    Which pairs are taken depends on split_seed and their names alone: not on the training seed, so that runs with
    several seeds are comparable, and hardly on pairs that are added later.

    Raises UserError when there is nothing to find, when layout="auto" cannot be sure, or when train is left empty.
    """
    naming, notes = naming or Naming(), []
    if layout == "auto" and naming == Naming() and (exported := find_naming(root)):
        naming, layout = exported, "folders"
        notes.append(
            f"data.layout=folders with data.source_dir={naming.source_dir} and data.target_dir={naming.target_dir} was "
            "chosen, for these are the folders of an export of ArcGIS; pictures are paired by name, and tiles that "
            "overlap may lie on both sides of a split that is drawn (ganforge tiles cuts scenes without that)"
        )
    require(split in SPLITS, f"data.split={split}: choose one of {', '.join(SPLITS)}")
    require(root.is_dir(), f"data.root={root} is not a folder; give the folder that holds the pairs or its train/")
    require(
        val_fraction > 0 and test_fraction >= 0 and val_fraction + test_fraction < 1,
        f"data.val_fraction={val_fraction}, data.test_fraction={test_fraction}: the first above 0, the second 0 or "
        "more, and together below 1, so that pairs are left for training",
    )
    train_part = find_part(root, _TRAIN, naming)
    if split == "auto":
        split = "manifest" if (root / MANIFEST).is_file() else "folder" if train_part else "fraction"
    elif split == "folder":
        require(bool(train_part), f"data.split=folder but {root} has no folder train; use data.split=fraction")
    part = train_part if split == "folder" else ""
    if layout == "auto":
        layout, reason = detect_layout(root, part=part, naming=naming)
        notes.append(f"data.layout={layout} was chosen because {reason}")

    train, val, test = find_pairs(root, layout, part=part, naming=naming), None, None
    total = len(train)
    if split == "manifest":
        train, val, test = _by_manifest(train, read_manifest(root / MANIFEST))
        notes.append(f"{root / MANIFEST} says which tiles are for training, validation and test")
    elif split == "folder":
        if val_part := find_part(root, _VAL, naming):
            val = find_pairs(root, layout, part=val_part, naming=naming)
        if test_part := find_part(root, _TEST, naming):
            test = find_pairs(root, layout, part=test_part, naming=naming)
    elif test_fraction > 0:
        train, test = take_out(train, test_fraction * total, f"{split_seed}/test")
    if val is None:
        train, val = take_out(train, val_fraction * total, f"{split_seed}/val")
        if split == "folder":
            notes.append(f"there is no folder val, so {len(val)} pairs of train were taken for validation")
    if test is None:
        test = val
        notes.append("there is no separate test set, so the validation pairs are also the test pairs")
    require(
        min(len(train), len(val)) > 0,
        f"data.root={root} gives too few pairs: {len(train)} for training and {len(val)} for validation are left",
    )
    return Splits(tuple(train), tuple(val), tuple(test), tuple(notes))


def _by_manifest(
    pairs: list[Pair], splits: Mapping[str, str]
) -> tuple[list[Pair], list[Pair] | None, list[Pair] | None]:
    """Pairs for training, validation and test, by name; None for a split of which there are none."""
    train, val, test = (
        [pair for pair in pairs if splits.get(pair.name) == split] for split in ("train", "val", "test")
    )
    return train, val or None, test or None


def take_out(items: list[Named], count: float, salt: str) -> tuple[list[Named], list[Named]]:
    """(rest, taken): count items, rounded but at least one, by the hash of salt and name; both keep their order."""
    ranked = sorted(items, key=lambda item: hashlib.blake2b(f"{salt}/{item.name}".encode()).digest())
    taken = set(ranked[: max(1, round(count))])
    return [item for item in items if item not in taken], [item for item in items if item in taken]
