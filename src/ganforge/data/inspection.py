"""A data set is looked at before anything is trained: what is wrong in it, and what is worth knowing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.data import edges, looks
from ganforge.data.image_folder import ImageFolderData
from ganforge.data.looks import Look
from ganforge.data.pair_files import Pair, ambiguous
from ganforge.data.pair_sides import SIDES, Sides, Values, find_sides
from ganforge.data.pairs import PairsData
from ganforge.data.threads import in_threads
from ganforge.errors import UserError
from ganforge.pictures import images

_LARGEST = 2048  # px a side; of larger rasters the middle is looked at


@dataclass(frozen=True)
class Item:
    """A picture or a pair in the first split that has it, and how its sides are read."""

    name: str
    split: str
    files: tuple[Path, ...]
    pair: Pair | None = None
    label: str = ""


@dataclass(frozen=True)
class Seen:
    """What was found in an item: a look at each side and, of pairs, how their edges agree; or why it cannot be read."""

    hashes: tuple[bytes, ...] = ()
    modes: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()
    fit: edges.Fit | None = None
    correlation: np.ndarray | None = field(default=None, repr=False)
    fault: str = ""


@dataclass(frozen=True)
class Finding:
    """wrong: training would be wrong; else a note. shown: the items, each with what is to be said of it."""

    what: str
    wrong: bool
    shown: tuple[tuple[Item, str], ...] = ()
    count: int | None = None

    def __len__(self) -> int:
        return len(self.shown) if self.count is None else self.count


class Inspection:
    """Everything that `ganforge check` finds in pairs or in a folder of pictures.

    Pictures are read one at a time in each thread; looks at them (1 KB a side) are kept. `items`, `seen` (in their
    order) and `findings` are what came out, `unsure` what could not be judged, as sentences.
    """

    def __init__(self, data: PairsData | ImageFolderData):
        self.reader = _PairReader(data) if isinstance(data, PairsData) else _FolderReader(data)
        self.items: list[Item] = self.reader.items
        self.seen: list[Seen] = []
        self.unsure: list[str] = []
        total: Counter[int] = Counter()
        sums: dict[int, np.ndarray] = {}
        for own in in_threads(self._look, self.items, "Looking at pictures"):
            if own.correlation is not None:
                reach = len(own.correlation) // 2
                sums[reach] = sums.get(reach, 0) + own.correlation
                total[reach] += 1
                own = Seen(own.hashes, own.modes, own.looks, own.fit)
            self.seen.append(own)
        self.sound = [row for row, own in enumerate(self.seen) if not own.fault]
        together = sums[total.most_common(1)[0][0]] if total else None
        self.findings = [
            *self._faults(),
            *self._alignment(together),
            *self._swapped(),
            *self._duplicates(),
            *self._colours(),
            *self._empty(),
            *self._sizes(data.size),
        ]

    def values(self, item: Item) -> list[tuple[Values, tuple[str, ...]]]:
        """Each side of an item, with the names of its bands. Raises UserError."""
        return self.reader.values(item)

    def _look(self, item: Item) -> Seen:
        try:
            sides = self.values(item)
            fit = correlation = None
            if len(sides) == 2:
                (source, _), (target, _) = sides
                correlation = edges.surface(edges.edges(*source), edges.edges(*target))
                fit = edges.fit(correlation, source[0].shape[:2])
            files = dict.fromkeys(item.files)
            return Seen(
                tuple(images.contents_hash(path) for path in files),
                tuple(self.reader.mode(path) for path in files),
                tuple(looks.look(*values, bands) for values, bands in sides),
                fit,
                correlation,
            )
        except UserError as error:
            return Seen(fault=" ".join(str(error).splitlines()))
        except OSError as error:
            return Seen(fault=f"{error.filename or item.files[0]}: cannot be read ({error.strerror})")

    def _faults(self) -> list[Finding]:
        broken = [(item, own.fault) for item, own in zip(self.items, self.seen, strict=True) if own.fault]
        found = [Finding("cannot be read as training needs it", True, tuple(broken))]
        if self.reader.ambiguous:
            first = self.items[0]
            shown = tuple((Item(fault, "", first.files[:0]), fault) for fault in self.reader.ambiguous)
            found.append(Finding("several partners of one file", True, shown))
        return found

    def _alignment(self, together: np.ndarray | None) -> list[Finding]:
        empty = self._empty_rows()
        rows = [row for row in self.sound if self.seen[row].fit is not None and row not in empty]
        if not rows:
            return []
        fits = [self.seen[row].fit for row in rows]
        usual = edges.fit(edges.standardized(together), self.seen[rows[0]].looks[0].shape)
        if usual.misaligned and len(rows) > 1:
            shown = tuple((self.items[row], _moved(usual)) for row in rows)
            return [Finding(f"all pairs: {_moved(usual)}", True, shown)]
        if edges.weak(fits):
            self.unsure.append(
                "whether the pairs line up cannot be told: their two sides share too few edges; look at the sheet"
            )
            return []
        alone, is_proof = edges.strangers(fits)
        far, moved, strange = [], [], []
        for row, own, is_stranger in zip(rows, fits, alone, strict=True):
            if own.misaligned:
                (far if own.far else moved).append((self.items[row], _moved(own)))
            elif is_stranger:
                strange.append((self.items[row], "edges agree far less than usual"))
        return [
            Finding("pairs that do not line up", True, tuple(far)),
            Finding("pairs that are slightly apart", False, tuple(moved)),
            Finding("pairs that may show different things", is_proof, tuple(strange)),
        ]

    def _swapped(self) -> list[Finding]:
        empty = self._empty_rows()
        rows = [row for row in self.sound if len(self.seen[row].looks) == 2 and row not in empty]
        if not rows or not self.reader.exchangeable:
            return []
        turned = looks.swapped([self.seen[row].looks for row in rows])
        shown = [
            (self.items[row], "looks the other way round") for row, is_one in zip(rows, turned, strict=True) if is_one
        ]
        return [Finding("source and target swapped", True, tuple(shown))]

    def _duplicates(self) -> list[Finding]:
        """Exact copies by the bytes of the files, near ones by their looks: across splits they are leaks."""
        copies: dict[tuple[bytes, ...], list[int]] = {}
        empty = {row for row, name in self._empty_rows().items() if name in ("", " and ".join(SIDES))}
        for row in (row for row in self.sound if row not in empty):
            copies.setdefault(self.seen[row].hashes, []).append(row)
        exact = [(own[0], other) for own in copies.values() for other in own[1:]]
        firsts = [own[0] for own in copies.values()]
        near = [
            (firsts[one], firsts[other])
            for one, other in looks.near_duplicates([self.seen[row].looks for row in firsts])
        ]
        kinds: dict[tuple[str, bool], list[tuple[Item, str]]] = {}
        for alike, pairs in (("the same", exact), ("nearly the same", near)):
            for one, other in pairs:
                first, second = self.items[one], self.items[other]
                splits = {first.split, second.split}
                leak = len(splits) == 2 and "train" in splits
                if alike == "the same" and first.label != second.label:
                    what = "the same picture in two classes", True
                elif leak:
                    what = f"{alike} in training and {max(splits - {'train'})}", True
                else:
                    what = f"{alike} twice", False
                text = f"as {second.name} ({second.split})"
                kinds.setdefault(what, []).extend([(first, text), (second, f"as {first.name} ({first.split})")])
        return [Finding(what, wrong, tuple(shown), len(shown) // 2) for (what, wrong), shown in kinds.items()]

    def _colours(self) -> list[Finding]:
        found = []
        for side, name in enumerate(self._sides()):
            if not self.reader.coloured(side):
                continue
            empty = self._empty_rows()
            grey = [row for row in self.sound if self.seen[row].looks[side].grey and row not in empty]
            share = len(grey) / max(1, len(self.sound) - len(empty))
            if share == 1:
                option = f"data.{name}_channels=1" if name else "data.channels=1"
                self.unsure.append(f"every {name or 'picture'} is grey: {option} would do")
            elif 0 < share < 0.5:
                shown = tuple((self.items[row], f"{name} is grey".strip()) for row in grey)
                found.append(Finding(f"grey among colour{name and f' ({name})'}", False, shown))
            elif 0.5 <= share < 1:
                others = [row for row in self.sound if row not in {*grey, *empty}]
                shown = tuple((self.items[row], f"{name} is coloured".strip()) for row in others)
                found.append(Finding(f"colour among grey{name and f' ({name})'}", False, shown))
        return found

    def _empty_rows(self) -> dict[int, str]:
        """The rows with a nearly empty side, and which."""
        found: dict[int, str] = {}
        for side, name in enumerate(self._sides()):
            flags = looks.empty([self.seen[row].looks[side] for row in self.sound])
            for row, is_empty in zip(self.sound, flags, strict=True):
                if is_empty:
                    found[row] = f"{found[row]} and {name}" if row in found else name
        return found

    def _empty(self) -> list[Finding]:
        shown = tuple((self.items[row], name) for row, name in self._empty_rows().items())
        return [Finding("nearly empty", False, shown)]

    def _sizes(self, size: int) -> list[Finding]:
        if self.reader.kept_at_scale:
            return []
        small = [row for row in self.sound if min(self.seen[row].looks[0].shape) < size]
        if len(small) == len(self.sound) and small:
            self.unsure.append(f"all pictures are smaller than data.size={size} and are enlarged")
            return []
        shown = tuple((self.items[row], "{1}×{0} px".format(*self.seen[row].looks[0].shape)) for row in small)
        return [Finding(f"smaller than data.size={size}", False, shown)]

    def _sides(self) -> Sequence[str]:
        return SIDES if self.sound and len(self.seen[self.sound[0]].looks) == 2 else ("",)


def _moved(fit: edges.Fit) -> str:
    down, right = (round(part) for part in fit.shift)
    ways = [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    ways += [f"{abs(right)} px {'right' if right > 0 else 'left'}"] if right else []
    return f"target lies {', '.join(ways)}"


class _PairReader:
    def __init__(self, data: PairsData):
        self.splits: Mapping[str, Sequence[Any]] = data.pairs
        self.notes = data.splits.notes
        owners = {pair: split for split in reversed(data.pairs) for pair in data.pairs[split]}
        pairs = list(dict.fromkeys(pair for own in data.pairs.values() for pair in own))
        self.items = [Item(pair.name, owners[pair], (pair.a, pair.b), pair) for pair in pairs]
        self.ambiguous = ambiguous(pairs)
        self.sides: Sides = find_sides(pairs, direction=data.direction, channels=data.asked_channels, bands=data.bands)[
            0
        ]
        readings, self.sketch = self.sides.readings, data.sketch
        self.exchangeable = len({(own.channels, own.bands, own.dtype) for own in readings.values()}) == 1
        self.exchangeable &= data.layout != "bands"
        self.kept_at_scale = data.measured is not None

    def coloured(self, side: int) -> bool:
        return self.sides.readings[SIDES[side]].channels == 3 and (side == 1 or self.sketch is None)

    def mode(self, path: Path) -> str:
        header = self.sides.headers.get(path)
        if self.sides.readings["source"].channels is not None:
            return images.said(path)[2]
        return "" if header is None else f"{len(header.bands)}×{header.dtype}"

    def values(self, item: Item) -> list[tuple[Values, tuple[str, ...]]]:
        pair, found, faults = item.pair, [], []
        for side in SIDES:
            path, reading = self.sides.file(pair, side), self.sides.readings[side]
            if not path.exists():
                faults.append(f"{path}: missing")
                continue
            header, window = self.sides.headers.get(path), None
            if reading.channels is None and header is not None and max(header.height, header.width) > _LARGEST:
                height, width = min(header.height, _LARGEST), min(header.width, _LARGEST)
                window = (header.height - height) // 2, (header.width - width) // 2, height, width
            window = None if pair.side_by_side else window
            found.append((reading.read(path, window), reading.bands))
        if faults:
            raise UserError("\n".join(faults))
        if self.sketch is not None:
            (picture, _), _ = found[1]
            found[0] = (self.sketch(picture), None), ("grey",)
        if pair.side_by_side:
            width = found[0][0][0].shape[1]
            if width % 2:
                raise UserError(f"{pair.a}: its width of {width} is odd, so it has no two halves of one size")
            left = self.sides.direction == "AtoB"
            halves = [slice(0, width // 2), slice(width // 2, width)][:: 1 if left else -1]
            found = [
                ((values[:, half], None if valid is None else valid[:, half]), bands)
                for ((values, valid), bands), half in zip(found, halves, strict=True)
            ]
        shapes = [values.shape[1::-1] for (values, _), _ in found]
        if shapes[0] != shapes[1]:
            sizes = " and ".join("{}×{}".format(*shape) for shape in shapes)
            raise UserError(f"{pair.a}, {pair.b}: the sizes differ, {sizes}")
        return found


class _FolderReader:
    ambiguous = notes = ()
    exchangeable = False
    kept_at_scale = False

    def __init__(self, data: ImageFolderData):
        self.fit = data.fit
        self.splits = {split: files for split, (files, _) in data.files.items()}
        self.items, known = [], set()
        for split, (files, labels) in data.files.items():
            for row, path in enumerate(files):
                if path not in known:
                    known.add(path)
                    label = "" if labels is None else data.class_names[labels[row]]
                    name = f"{label}/{path.name}" if label else path.name
                    self.items.append(Item(name, split, (path,), label=label))

    def coloured(self, side: int) -> bool:
        return self.fit.channels == 3

    def mode(self, path: Path) -> str:
        return images.said(path)[2]

    def values(self, item: Item) -> list[tuple[Values, tuple[str, ...]]]:
        values = images.read(item.files[0], self.fit.channels, self.fit.background)
        return [((values, None), ("red", "green", "blue")[: self.fit.channels])]
