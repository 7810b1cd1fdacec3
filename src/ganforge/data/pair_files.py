"""Files to pairs of pictures (A, B): side by side in one file, in two folders, told apart by the end of a name, or
bands of one file.

Functions of files that know nothing of training: find the pairs, read them, check them all.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ganforge.data.threads import in_threads, listed
from ganforge.errors import UserError, require
from ganforge.pictures import images, rasters

LAYOUTS = ("side_by_side", "folders", "suffixes", "bands")
DIRECTIONS = ("AtoB", "BtoA")

LEAST_UNPAIRED = 10  # pictures; of fewer, missing partners are named one by one
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """The files of one pair; `a` and `b` are the same file when the pictures are its left and right half, or bands of
    it (`whole`).
    """

    name: str
    a: Path
    b: Path
    whole: bool = False

    @property
    def side_by_side(self) -> bool:
        return self.a == self.b and not self.whole


@dataclass(frozen=True)
class Naming:
    """What tells A from B: the folders (layout `folders`) or the ends of the names (layout `suffixes`).

    A is the side of `source_dir` and `source_suffix`. A folder is found whatever its case, so "a" also finds "A".
    """

    source_dir: str = "a"
    target_dir: str = "b"
    source_suffix: str = "wo"
    target_suffix: str = "wb"


def find_pairs(root: Path, layout: str, *, part: str = "", naming: Naming | None = None) -> list[Pair]:
    """The pairs below root, in natural order of their names.

    layout: "side_by_side": one file, A its left and B its right half; "folders": the same names in two folders, the
    suffix may differ (a/1.jpg, b/1.png); "suffixes": one folder, `12wo.jpg` and `12wb.jpg`; "bands": one file, whose
    bands are A and B.
    part: the folder of a split, such as "train"; "" for none. For "folders", root/part/a is looked for before
    root/a/part.

    A file without a partner gives a pair whose other file does not exist, and one with several partners gives several
    pairs: `check_pairs` reports both. Raises UserError when a folder is missing or holds no pictures.
    """
    require(layout in LAYOUTS, f"data.layout={layout}: choose one of {', '.join(LAYOUTS)}")
    naming = naming or Naming()
    if layout == "folders":
        a, b = _side_folders(root, part, naming)
        a_files, b_files = _by_stem(images.list_images(a)), _by_stem(images.list_images(b))
        _require_pairs(a, b, a_files, b_files)
        return _match(a, b, a_files, b_files, ("", ""))
    folder = _child(root, part)
    files = images.list_images(folder)
    if layout in ("side_by_side", "bands"):
        return [Pair(path.stem, path, path, whole=layout == "bands") for path in files]
    suffixes = naming.source_suffix, naming.target_suffix
    a_files, b_files, others = _by_suffix(files, *suffixes)
    looked_for = f"*{suffixes[0]}.* and *{suffixes[1]}.* (data.source_suffix, data.target_suffix)"
    require(bool(a_files or b_files), f"{folder} holds no pictures named {looked_for}, but such as {files[0].name}")
    if others:
        log.warning(
            "%s: %d pictures, such as %s, are left out: not %s", folder, len(others), others[0].name, looked_for
        )
    return _match(folder, folder, a_files, b_files, suffixes)


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
    unpaired = [_child(root, name) for name in ("trainA", "trainB")]
    if all(path.is_dir() for path in unpaired):
        _require_pairs(*unpaired, *(_by_stem(images.list_images(path)) for path in unpaired))
        raise UserError(
            f"data.layout=auto: {unpaired[0]} and {unpaired[1]} are named as unpaired pictures are; where those of one "
            "name belong together, give data.source_dir=trainA data.target_dir=trainB"
        )
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
    faults = ambiguous(pairs)

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

    for found in in_threads(check, pairs, "Checking pairs"):
        faults += found
    require_sound(faults, pairs)


def ambiguous(pairs: Sequence[Pair]) -> list[str]:
    """A sentence for each file of several pairs."""
    uses = Counter(path for pair in pairs for path in {pair.a, pair.b})
    return [f"{path}: {count} files could be its partner" for path, count in uses.items() if count > 1]


def require_sound(faults: Sequence[str], pairs: Sequence[Pair]) -> None:
    """Raise one UserError with all faults, a line each, where there are any."""
    said = f"{len(faults)} faults in {len(pairs)} pairs; mend or remove these files"
    require(not faults, f"{said}:{listed(faults)}")


def find_part(root: Path, names: Iterable[str], naming: Naming) -> str:
    """The first of names that is a folder of root or of root's source folder; "" if none is."""
    places = (root, _child(root, naming.source_dir))
    return next((name for name in names if any(_child(place, name).is_dir() for place in places)), "")


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


def _require_pairs(a: Path, b: Path, a_files: dict[str, list[Path]], b_files: dict[str, list[Path]]) -> None:
    """Raise UserError for two folders of pictures that do not belong together."""
    both, fewer = len(a_files.keys() & b_files.keys()), min(len(a_files), len(b_files))
    require(
        fewer < LEAST_UNPAIRED or both > fewer / 10,
        f"{a} and {b} look unpaired: of {len(a_files)} and {len(b_files)} pictures {both} have a partner of the same "
        "name; data=pairs needs for each picture the one that it is to become, under the same name in the other folder",
    )


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


def _shape(path: Path) -> tuple[int, int] | None:
    """(height, width), or None for a file that does not decode."""
    try:
        return images.read(path, 1).shape[:2]
    except UserError:
        pass  # of other bands or depths, or broken
    try:
        header = rasters.header(path)
    except (UserError, OSError):
        return None
    return header.height, header.width
