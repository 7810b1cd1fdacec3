"""Pairs of pictures whose values measure something: any bands of any depth, never resized, cut at their own scale."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganforge.data.arcgis import exported_normalization
from ganforge.data.pair_files import Pair
from ganforge.data.pair_sides import SIDES, Reading, Sides, Survey, Values, Window, survey
from ganforge.errors import require
from ganforge.pictures.normalization import Statistics, key, normalization, store, stored
from ganforge.pictures.sides import Side
from ganforge.pictures.views import View

log = logging.getLogger(__name__)

_FAR = 3.0  # standard deviations of the training pictures that the mean of another split may lie from theirs


class BandPairs(Dataset):
    """Pairs as tensors: {"source": float32 (Cs, size, size), "target": (Ct, size, size), "index"}, normalized.

    A sample is a window at the scale of the files: with augment a random one, mirrored at random with flip; without,
    the middle. With `masked` there is also "valid": float32 (1, size, size), 0 where the target has no measurement.
    Values without a measurement are 0. Virtual indices: see `ganforge.data.resized_pairs.Pairs`.

    target: its side, by which metrics speak of its unit. span: what is 0 and 1 on the scale [0, 1] for each band of
    encoded targets, (C, 1, 1).
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        size: int,
        files: Sides,
        shapes: Mapping[Pair, tuple[int, int]],
        sides: Mapping[str, Side],
        span: tuple[Tensor, Tensor],
        masked: bool,
        flip: bool,
        augment: bool,
        seed: int,
        kept: Mapping[Pair, tuple[Values, Values]],
    ):
        self.pairs = tuple(pairs)
        self.size, self.edge = size, size
        self.files, self.shapes, self.sides, self.span, self.masked = files, shapes, sides, span, masked
        self.flip, self.augment, self.seed, self.kept = flip, augment, seed, kept

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        pair = self.pairs[index % len(self)]
        height, width = self.shapes[pair]
        top, left, step = (height - self.size) // 2, (width - self.size) // 2, 1
        if self.augment:
            rng = np.random.default_rng([self.seed, index])
            top, left = (int(rng.integers(0, side - self.size + 1)) for side in (height, width))
            step = -1 if self.flip and rng.random() < 0.5 else 1
        sample, masks = {}, {}
        for side, (values, valid) in zip(SIDES, self._cut(pair, (top, left, self.size, self.size)), strict=True):
            masks[side] = None if valid is None else valid[:, ::step]
            # Errors are measured on the truth as it is, so targets are not clipped.
            encoded = self.sides[side].encode(values[:, ::step], masks[side], clip=side == "source")
            sample[side] = torch.from_numpy(encoded)
        if self.masked:
            valid = masks["target"]
            sample["valid"] = torch.ones(1, self.size, self.size) if valid is None else torch.from_numpy(
                valid[None].astype(np.float32)
            )  # fmt: skip
        return {**sample, "index": index}

    def name_of(self, index: int) -> str:
        return self.files.file(self.pairs[index % len(self)], "source").name

    def _cut(self, pair: Pair, window: Window) -> tuple[Values, Values]:
        whole = self.kept.get(pair)
        if whole is None:
            return tuple(self.files.read(pair, side, self.shapes[pair], window) for side in SIDES)
        top, left, height, width = window
        part = (slice(top, top + height), slice(left, left + width))
        return tuple((values[part], None if valid is None else valid[part]) for values, valid in whole)

    @property
    def target(self) -> Side:
        return self.sides["target"]


@dataclass(kw_only=True)
class BandData:
    """What all data sets of such pairs share: how files are read, what their numbers mean, and what is to be said.

    kinds: of normalization, for each side "auto" or one of KINDS. adopted: the sides of a checkpoint, whose
    normalization is taken in place of one of these files.
    """

    root: Path
    files: Sides
    splits: Mapping[str, Sequence[Pair]]
    size: int
    kinds: Mapping[str, str]
    cache_bytes: int
    cache_dir: Path
    adopted: Mapping[str, Side] | None = None
    kept: dict[Pair, tuple[Values, Values]] = field(default_factory=dict)

    def settled(self, side: str) -> str:
        """The kind of normalization of a side: where it is "auto", bytes keep their range, sources of other types go by
        percentiles and targets by their extremes.
        """
        if self.kinds[side] != "auto":
            return self.kinds[side]
        if self.files.readings[side].dtype == "uint8":
            return "range"
        return "percentiles" if side == "source" else "minmax"

    @cached_property
    def found(self) -> Survey:
        """Every pair decoded; see `survey`."""
        files = list(dict.fromkeys(path for own in self.splits.values() for pair in own for path in (pair.a, pair.b)))
        present = [file for file in files if file.exists()]
        readings = self.files.readings
        read = [[own.channels, own.chosen, own.bands, own.dtype] for own in readings.values()]
        names = {split: [pair.name for pair in own] for split, own in self.splits.items()}
        path = self.cache_dir / f"{key(present, read, names, self.files.direction)}.json"
        names = [(split, side) for split in self.splits for side in SIDES]
        before = stored(path, [len(readings[side].bands) for _, side in names])
        fits = sum(map(self.files.size_of, {pair for own in self.splits.values() for pair in own})) <= self.cache_bytes
        found = survey(
            self.files, self.splits, size=self.size, measure=before is None, kept=self.kept if fits else None
        )
        if before is None:
            store(path, [found.statistics[name] for name in names])
        else:
            found.statistics = dict(zip(names, before, strict=True))
        where = "kept in memory" if fits else f"read anew each time, data.cache_bytes={self.cache_bytes} being too few"
        counts = ", ".join(f"{len(own)} {split}" for split, own in self.splits.items())
        log.info("%s: pairs: %s; %s", self.root, counts, where)
        return found

    @cached_property
    def sides(self) -> dict[str, Side]:
        return {side: self._side(side, self.files.readings[side]) for side in SIDES}

    def _side(self, side: str, reading: Reading) -> Side:
        if self.adopted is not None:
            own = self.adopted[side]
            require(
                len(own.bands) == len(reading.bands),
                f"data.root={self.root}: its {side} pictures have {len(reading.bands)} bands, and the checkpoint was "
                f"trained on {len(own.bands)} ({', '.join(own.bands[:13])}); choose them with data.{side}_bands",
            )
            return own
        if self.kinds[side] == "emd":
            folder = self.files.file(self.splits["train"][0], side).parent.name
            chosen = exported_normalization(self.root, folder, reading.bands)
        else:
            chosen = normalization(self.settled(side), reading.dtype, self.found.statistics["train", side])
        return Side(reading.bands, reading.dtype, reading.nodata, chosen)

    @cached_property
    def views(self) -> dict[str, View]:
        return {side: View.of(self.sides[side], self.found.statistics["train", side]) for side in SIDES}

    @cached_property
    def span(self) -> tuple[Tensor, Tensor]:
        """Of encoded targets, what is 0 and 1 where papers have 8 bits: the range of the normalization, or where it has
        none that holds every training target, their extremes. (C, 1, 1) each.
        """
        own, seen = self.sides["target"].normalization, self.found.statistics["train", "target"]
        low, high = (np.full(len(own), end) for end in (-1.0, 1.0))
        if own.kind in ("percentiles", "deviation"):
            low, high = ((np.array(ends) - own.centre) / own.scale for ends in (seen.minimum, seen.maximum))
            high = np.where(high > low, high, low + 1)
        return tuple(torch.from_numpy(end).float()[:, None, None] for end in (low, high))

    def dataset(self, pairs: Sequence[Pair], **options) -> BandPairs:
        return BandPairs(
            pairs, size=self.size, files=self.files, shapes=self.found.shapes, sides=self.sides, span=self.span,
            masked=self.found.masked, kept=self.kept, **options,
        )  # fmt: skip

    @property
    def notes(self) -> list[str]:
        """What one should know of these files before training on them, as sentences."""
        sentences = [f"{side}: {self._described(side)}" for side in SIDES]
        found = self.found
        if found.empty:
            sentences.append(
                f"{len(found.empty)} of {len(found.shapes)} targets, such as {found.empty[0].name}, have no valid "
                "pixel: nothing is learned from them"
            )
        for side in SIDES:
            train = found.statistics["train", side]
            constant = [self.sides[side].bands[band] for band in train.constant()]
            if constant:
                sentences.append(f"{side}: {', '.join(constant)} has one value in all training pictures")
            for split in self.splits:
                sentences += self._far(side, split, train, found.statistics[split, side])
        return sentences

    def _described(self, side: str) -> str:
        own = self.sides[side]
        means = {
            "range": "the range of the type", "minmax": "the extremes of the training pictures",
            "percentiles": "percentiles 1 and 99 of the training pictures", "deviation": "mean and standard deviation",
        }  # fmt: skip
        named = f" ({', '.join(own.bands[:13])}{', ...' if len(own.bands) > 13 else ''})"
        nodata = "" if own.nodata is None else f", nodata {own.nodata:g}"
        count = f"{len(own.bands)} band{'s' * (len(own.bands) > 1)}"
        return f"{count}{named} of {own.dtype}{nodata}, normalized by {means[own.normalization.kind]}"

    def _far(self, side: str, split: str, train: Statistics, other: Statistics) -> list[str]:
        """Of the bands whose values in a split are far from those of the training."""
        if split == "train":
            return []
        numbers = zip(
            self.sides[side].bands, train.mean, train.deviation, other.mean, other.deviation, strict=True
        )  # fmt: skip
        far = [
            f"{band} ({mean:.4g} ± {deviation:.4g}, in training {before:.4g} ± {spread:.4g})"
            for band, before, spread, mean, deviation in numbers
            if abs(mean - before) > _FAR * spread or deviation > _FAR * spread
        ]
        if not far:
            return []
        return [f"{side}: in {split} the values are far from those of the training: {'; '.join(far[:5])}"]
