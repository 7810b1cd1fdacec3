"""Files to pairs of pictures (A, B): side by side in one file, in two folders, or told apart by the end of a name.

Functions of files that know nothing of training: find the pairs, split them, read them, check them all.
"""

import hashlib
import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ganforge.errors import UserError, require
from ganforge.pictures import images

LAYOUTS = ("side_by_side", "folders", "suffixes")
DIRECTIONS = ("AtoB", "BtoA")
SPLITS = ("auto", "folder", "fraction")

_TRAIN, _VAL, _TEST = ("train",), ("val", "valid", "validation"), ("test",)
_FAULTS_SHOWN = 20
_SECONDS_WITHOUT_BAR = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """The files of one pair; `a` and `b` are the same file when the pictures are its left and right half."""

    name: str
    a: Path
    b: Path

    @property
    def side_by_side(self) -> bool:
        return self.a == self.b


@dataclass(frozen=True)
class Naming:
    """What tells A from B: the folders (layout `folders`) or the ends of the names (layout `suffixes`).

    A is the side of `source_dir` and `source_suffix`. A folder is found whatever its case, so "a" also finds "A".
    """

    source_dir: str = "a"
    target_dir: str = "b"
    source_suffix: str = "wo"
    target_suffix: str = "wb"


@dataclass(frozen=True)
class Splits:
    """Pairs for training, validation and test, and in `notes` what was decided on the user's behalf, as sentences."""

    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]
    notes: tuple[str, ...] = ()

    @property
    def test_is_val(self) -> bool:
        return self.test == self.val


def find_pairs(root: Path, layout: str, *, part: str = "", naming: Naming | None = None) -> list[Pair]:
    """The pairs below root, in natural order of their names.

    layout: "side_by_side": one file, A its left and B its right half; "folders": the same names in two folders, the
    suffix may differ (a/1.jpg, b/1.png); "suffixes": one folder, `12wo.jpg` and `12wb.jpg`.
    part: the folder of a split, such as "train"; "" for none. For "folders", root/part/a is looked for before
    root/a/part.

    A file without a partner gives a pair whose other file does not exist, and one with several partners gives several
    pairs: `check_pairs` reports both. Raises UserError when a folder is missing or holds no pictures.
    """
    require(layout in LAYOUTS, f"data.layout={layout}: choose one of {', '.join(LAYOUTS)}")
    naming = naming or Naming()
    if layout == "folders":
        a, b = _side_folders(root, part, naming)
        return _match(a, b, _by_stem(images.list_images(a)), _by_stem(images.list_images(b)), ("", ""))
    folder = _child(root, part)
    files = images.list_images(folder)
    if layout == "side_by_side":
        return [Pair(path.stem, path, path) for path in files]
    suffixes = naming.source_suffix, naming.target_suffix
    a_files, b_files, others = _by_suffix(files, *suffixes)
    looked_for = f"*{suffixes[0]}.* and *{suffixes[1]}.* (data.source_suffix, data.target_suffix)"
    require(bool(a_files or b_files), f"{folder} holds no pictures named {looked_for}, but such as {files[0].name}")
    if others:
        log.warning(
            "%s: %d pictures, such as %s, are left out: not %s", folder, len(others), others[0].name, looked_for
        )
    return _match(folder, folder, a_files, b_files, suffixes)


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
    validation pairs are also the test pairs). split="auto": "folder" if there is a folder train/, else "fraction".

    Which pairs are taken depends on split_seed and their names alone: not on the training seed, so that runs with
    several seeds are comparable, and hardly on pairs that are added later.

    Raises UserError when there is nothing to find, when layout="auto" cannot be sure, or when train is left empty.
    """
    naming = naming or Naming()
    require(split in SPLITS, f"data.split={split}: choose one of {', '.join(SPLITS)}")
    require(root.is_dir(), f"data.root={root} is not a folder; give the folder that holds the pairs or its train/")
    require(
        val_fraction > 0 and test_fraction >= 0 and val_fraction + test_fraction < 1,
        f"data.val_fraction={val_fraction}, data.test_fraction={test_fraction}: the first above 0, the second 0 or "
        "more, and together below 1, so that pairs are left for training",
    )
    train_part = _part(root, _TRAIN, naming)
    if split == "auto":
        split = "folder" if train_part else "fraction"
    elif split == "folder":
        require(bool(train_part), f"data.split=folder but {root} has no folder train; use data.split=fraction")
    part = train_part if split == "folder" else ""
    notes = []
    if layout == "auto":
        layout, reason = detect_layout(root, part=part, naming=naming)
        notes.append(f"data.layout={layout} was chosen because {reason}")

    train, val, test = find_pairs(root, layout, part=part, naming=naming), None, None
    total = len(train)
    if split == "folder":
        if val_part := _part(root, _VAL, naming):
            val = find_pairs(root, layout, part=val_part, naming=naming)
        if test_part := _part(root, _TEST, naming):
            test = find_pairs(root, layout, part=test_part, naming=naming)
    elif test_fraction > 0:
        train, test = _take_out(train, test_fraction * total, f"{split_seed}/test")
    if val is None:
        train, val = _take_out(train, val_fraction * total, f"{split_seed}/val")
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


def detect_layout(root: Path, *, part: str = "", naming: Naming | None = None) -> tuple[str, str]:
    """The layout below root and why; raises UserError where it is not certain.

    `folders` if both folders exist; else `suffixes` if most of the pictures have a partner by the end of their names;
    else `side_by_side` if pictures spread over the whole list are all exactly twice as wide as high.
    """
    naming = naming or Naming()
    for a, b in _side_candidates(root, part, naming):
        if a.is_dir() and b.is_dir():
            return "folders", f"{a} and {b} exist"
    folder = _child(root, part)
    try:
        files = images.list_images(folder)
    except UserError:
        files = []
    a_files, b_files, _ = _by_suffix(files, naming.source_suffix, naming.target_suffix)
    partners = 2 * len(a_files.keys() & b_files.keys())
    if partners > len(files) / 2:
        reason = (
            f"{partners} of {len(files)} pictures are named *{naming.source_suffix}.* and *{naming.target_suffix}.*"
        )
        return "suffixes", reason
    shapes = [shape for path in files[:: max(1, len(files) // 8)] if (shape := _shape(path))]
    if shapes and all(width == 2 * height for height, width in shapes):
        return "side_by_side", f"{len(shapes)} of {len(shapes)} pictures looked at are twice as wide as high"
    raise UserError(
        f"data.layout=auto cannot tell how the pairs lie in {folder}: it has no folders {naming.source_dir} and "
        f"{naming.target_dir} (data.layout=folders, data.source_dir, data.target_dir), no pictures named "
        f"*{naming.source_suffix}.* and *{naming.target_suffix}.* (data.layout=suffixes, data.source_suffix, "
        "data.target_suffix), and no pictures exactly twice as wide as high (data.layout=side_by_side); "
        "give data.layout and its names"
    )


def load_pair(
    pair: Pair, *, source_channels: int, target_channels: int, direction: str = "AtoB"
) -> tuple[np.ndarray, np.ndarray]:
    """Decode one pair: (source, target), uint8 (H, W, source_channels) and (H, W, target_channels) of one size.

    direction: "AtoB" makes A the source, "BtoA" makes B the source. Raises UserError with a line for each fault: a file
    is missing or does not decode, the sizes are unequal, the width of a side-by-side file is odd.
    """
    require(direction in DIRECTIONS, f"data.direction={direction}: choose one of {', '.join(DIRECTIONS)}")
    forward = direction == "AtoB"
    read = cache(images.read)  # the two halves of one file are decoded once
    channels = (source_channels, target_channels) if forward else (target_channels, source_channels)
    pictures, faults = [], []
    for path, partner, count in ((pair.a, pair.b, channels[0]), (pair.b, pair.a, channels[1])):
        if not path.exists():
            faults.append(f"{path}: missing, the partner of {partner}")
            continue
        try:
            pictures.append(read(path, count))
        except UserError as error:
            faults.append(str(error))
    if not faults:
        (height, width), other = pictures[0].shape[:2], pictures[1].shape[:2]
        if pair.side_by_side:
            pictures = [pictures[0][:, : width // 2], pictures[1][:, width // 2 :]]
            if width % 2:
                faults.append(f"{pair.a}: its width of {width} is odd, so it has no two halves of one size")
        elif other != (height, width):
            sizes = f"{width}×{height} and {other[1]}×{other[0]}"
            faults.append(f"{pair.a}, {pair.b}: the sizes differ, {sizes}; both must show the same, pixel by pixel")
    if faults:
        raise UserError("\n".join(dict.fromkeys(faults)))
    return (pictures[0], pictures[1]) if forward else (pictures[1], pictures[0])


def check_pairs(
    pairs: Iterable[Pair],
    *,
    source_channels: int = 3,
    target_channels: int = 3,
    direction: str = "AtoB",
    visit: Callable[[Pair, np.ndarray, np.ndarray], None] | None = None,
) -> None:
    """Decode every pair in full, in threads; raises one UserError that lists every fault of every file by name.

    visit(pair, source, target) is called with each sound pair, from the threads and in no certain order, so that a
    cache can be filled without decoding twice. Shows a progress bar when it takes more than two seconds.
    """
    pairs = list(dict.fromkeys(pairs))
    uses = Counter(path for pair in pairs for path in {pair.a, pair.b})
    faults = [f"{path}: {count} files could be its partner" for path, count in uses.items() if count > 1]

    def check(pair: Pair) -> list[str]:
        try:
            source, target = load_pair(
                pair, source_channels=source_channels, target_channels=target_channels, direction=direction
            )
        except UserError as error:
            return str(error).splitlines()
        if visit is not None:
            visit(pair, source, target)
        return []

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for found in _with_bar(pool.map(check, pairs), len(pairs), "Checking pairs"):
            faults += found
    if faults:
        more = f"\n  ... and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        listed = "".join(f"\n  {fault}" for fault in faults[:_FAULTS_SHOWN])
        raise UserError(f"{len(faults)} faults in {len(pairs)} pairs; mend or remove these files:{listed}{more}")


def _child(folder: Path, name: str) -> Path:
    """folder/name, or the folder in it that differs from name only in case; folder itself for ""."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    alike = sorted(e for e in folder.iterdir() if e.is_dir() and e.name.casefold() == name.casefold())
    return alike[0] if alike else exact


def _side_candidates(root: Path, part: str, naming: Naming) -> list[tuple[Path, Path]]:
    """Where the two folders of a part may be, in the order in which they are looked for."""
    inside = _child(root, part)
    found = [(_child(inside, naming.source_dir), _child(inside, naming.target_dir))]
    if part:
        found.append(tuple(_child(_child(root, name), part) for name in (naming.source_dir, naming.target_dir)))
    return found


def _side_folders(root: Path, part: str, naming: Naming) -> tuple[Path, Path]:
    candidates = _side_candidates(root, part, naming)
    for a, b in candidates:
        if a.is_dir() and b.is_dir():
            return a, b
    looked_for = " or ".join(f"{a} with {b}" for a, b in candidates)
    raise UserError(
        f"data.layout=folders needs the folders {looked_for}; name them with data.source_dir (now {naming.source_dir}) "
        f"and data.target_dir (now {naming.target_dir})"
    )


def _part(root: Path, names: Iterable[str], naming: Naming) -> str:
    """The first of names that is a folder of root or of root's source folder; "" if none is."""
    places = (root, _child(root, naming.source_dir))
    return next((name for name in names if any(_child(place, name).is_dir() for place in places)), "")


def _by_stem(files: Iterable[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(path.stem, []).append(path)
    return groups


def _by_suffix(
    files: Iterable[Path], source_suffix: str, target_suffix: str
) -> tuple[dict[str, list[Path]], dict[str, list[Path]], list[Path]]:
    """Files by what is left of their names: those of A, those of B; and a list of those that are neither.

    Where both suffixes fit, the longer one counts, so that one of them may be empty.
    """
    groups: dict[str, dict[str, list[Path]]] = {source_suffix: {}, target_suffix: {}}
    others = []
    for path in files:
        fitting = [suffix for suffix in groups if path.stem.endswith(suffix)]
        if fitting:
            suffix = max(fitting, key=len)
            groups[suffix].setdefault(path.stem[: len(path.stem) - len(suffix)], []).append(path)
        else:
            others.append(path)
    return groups[source_suffix], groups[target_suffix], others


def _match(
    a_folder: Path,
    b_folder: Path,
    a_files: dict[str, list[Path]],
    b_files: dict[str, list[Path]],
    suffixes: tuple[str, str],
) -> list[Pair]:
    """Every A with every B of the same key; a missing partner is given the path where it was expected."""
    pairs = []
    for key in dict.fromkeys((*a_files, *b_files)):
        a = a_files.get(key) or [a_folder / f"{key}{suffixes[0]}{path.suffix}" for path in b_files[key]]
        b = b_files.get(key) or [b_folder / f"{key}{suffixes[1]}{path.suffix}" for path in a_files[key]]
        pairs += [Pair(key, *both) for both in itertools.product(a, b)]
    return pairs


def _take_out(pairs: list[Pair], count: float, salt: str) -> tuple[list[Pair], list[Pair]]:
    """(rest, taken): count pairs, rounded but at least one, by the hash of salt and name; both keep their order."""
    ranked = sorted(pairs, key=lambda pair: hashlib.blake2b(f"{salt}/{pair.name}".encode()).digest())
    taken = set(ranked[: max(1, round(count))])
    return [pair for pair in pairs if pair not in taken], [pair for pair in pairs if pair in taken]


def _shape(path: Path) -> tuple[int, int] | None:
    """(height, width), or None for a file that does not decode."""
    try:
        return images.read(path, 1).shape[:2]
    except UserError:
        return None


def _with_bar(results: Iterator[list[str]], total: int, text: str) -> Iterator[list[str]]:
    """Pass results on; on a terminal, with a progress bar once it has taken some seconds."""
    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(text, total=total)
    begin, shown = time.monotonic(), False
    try:
        for result in results:
            if not shown and progress.console.is_terminal and time.monotonic() - begin > _SECONDS_WITHOUT_BAR:
                progress.start()
                shown = True
            progress.advance(task)
            yield result
    finally:
        if shown:
            progress.stop()
