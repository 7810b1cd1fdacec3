"""`data=domains`: pictures of many kinds, by one folder a kind or by a table of attributes."""

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganforge.data.attributes import Table
from ganforge.data.decoded import Fit, decode
from ganforge.data.image_folder import class_folders, find_classes
from ganforge.data.module import DataModule, RealPictures
from ganforge.data.pictures import Augmentation, Pictures, Rows, turns
from ganforge.data.split_folders import check_fractions, split_folders
from ganforge.data.splits import take_out
from ganforge.errors import UserError, require
from ganforge.game.domains import Domains
from ganforge.pictures import images
from ganforge.pictures.tensors import to_unit

SPLITS = ("train", "val", "test")


class Labelled(Dataset):
    """For training: {"source": float32 (C, size, size) in [-1, 1], "labels": float32 (D,), "index"}, whole batches."""

    def __init__(self, pictures: Pictures, labels: np.ndarray, *, seed: int, augment: Augmentation):
        self.pictures, self.labels, self.seed, self.augment = pictures, labels, seed, augment

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        """The batch of these virtual indices."""
        index = np.asarray(indices, dtype=np.int64)
        rows = index % len(self)
        pictures = to_unit(torch.from_numpy(np.asarray(self.pictures[rows])))
        return {
            "source": self.augment(pictures, index, self.seed),
            "labels": torch.from_numpy(self.labels[rows]),
            "index": torch.from_numpy(index),
        }


class Translations(Dataset):
    """For validation and test: every picture once for each domain that it can be translated to.

    {"source", "labels": those of the source, "target_labels": those asked for, "asked": int64, the domain that makes
    the difference, "index"}. The first items show different pictures, each asked for another domain in turn.
    """

    def __init__(self, pictures: Pictures, labels: np.ndarray, domains: Domains, names: Sequence[str] = ()):
        own = torch.from_numpy(labels)
        asked = torch.stack([domains.asked(own, index) for index in range(len(domains.names))], dim=1)
        rows = torch.arange(len(own))
        turned = [(rows, (rows + turn) % len(domains.names)) for turn in range(len(domains.names))]
        row, domain = (torch.cat(parts) for parts in zip(*turned, strict=True))
        differs = (asked[row, domain] != own[row]).any(dim=1)
        self.pictures, self.labels, self.targets = pictures, own, asked
        self.names, self.domains = names, domains
        self.rows, self.asked = row[differs], domain[differs]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def name_of(self, index: int) -> str:
        """The picture's file, and what it is asked for."""
        return f"{self.names[self.rows[index]]} to {self.domains.names[self.asked[index]]}"

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        """The batch of these items."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        rows, asked = self.rows[index], self.asked[index]
        return {
            "source": to_unit(torch.from_numpy(np.asarray(self.pictures[rows.numpy()]))),
            "labels": self.labels[rows],
            "target_labels": self.targets[rows, asked],
            "asked": asked,
            "index": index,
        }


class DomainsData(DataModule):
    """Pictures of any size with the labels of what they are, as squares.

    root: holds one folder a domain, or train/ (and val/, test/) with these. domains: only these folders; None for all.
    table: instead, a table of attributes (see `Table`) of the pictures in root, or in its train/ (and val/, test/);
    attributes: these of its columns, None for all; exclusive: groups of them of which a picture has one at most, such
    as colours of hair; skip_unmatched: pictures without a row, and rows without a picture, are left out.

    Where there is no folder val or test, val_fraction or test_fraction of the pictures (of each domain) is taken out,
    by split_seed and name (test_fraction=0: the validation pictures are also the test's). n_train, n_val, n_test: only
    the first n, the domains in turn; each of the last two is translated to every other domain. n_domains: counted.
    crop, background: see `Fit`; flip: training pictures are mirrored at random. cache_bytes, cache_dir: see `decode`.
    """

    provides = frozenset({"domains"})

    def __init__(
        self,
        *,
        root: str | Path,
        domains: Sequence[str] | None = None,
        table: str | Path | None = None,
        attributes: Sequence[str] | None = None,
        exclusive: Sequence[Sequence[str]] = (),
        skip_unmatched: bool = False,
        n_domains: int | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        size: int = 128,
        channels: int = 3,
        crop: bool = True,
        background: str = "white",
        flip: bool = True,
        n_train: int | None = None,
        n_val: int | None = None,
        n_test: int | None = None,
        cache_bytes: int = 2**30,
        cache_dir: str | Path = "~/.cache/ganforge/pictures",
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__(size=size, batch_size=batch_size, num_workers=num_workers, seed=seed, channels=channels)
        check_fractions(val_fraction, test_fraction)
        self.limits = {"train": n_train, "val": n_val, "test": n_test}
        for name, limit in self.limits.items():
            require(limit is None or limit >= 1, f"data.n_{name}={limit}: 1 or more, or null for all")
        for name, value in (("crop", crop), ("flip", flip), ("skip_unmatched", skip_unmatched)):
            require(isinstance(value, bool), f"data.{name}={value}: true or false")
        require(cache_bytes >= 0, f"data.cache_bytes={cache_bytes}: 0 (keep nothing in memory) or more")
        require(
            table is not None or (attributes is None and not exclusive),
            "data.attributes and data.exclusive are of a table of attributes; give data.table=FILE too",
        )
        require(
            table is None or domains is None,
            f"data.domains={domains}: are folders, and data.table={table} says what the pictures are; give one of them",
        )
        try:
            images.opaque(background)
        except UserError as error:
            raise UserError(f"data.{error}") from error
        self.root, self.attributes, self.skip_unmatched = Path(root).expanduser(), attributes, skip_unmatched
        require(self.root.is_dir(), f"data.root={root} is not a folder; give the folder that holds the pictures")
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.table = None if table is None else Table.read(Path(table).expanduser())
        self.domains = self._domains(domains, exclusive)
        self.class_names = self.domains.names
        require(
            n_domains in (None, len(self.class_names)),
            f"data.n_domains={n_domains}, but there are {len(self.class_names)} ({', '.join(self.class_names)}); use "
            "data.n_domains=null to have them counted",
        )
        self.fit = Fit(size=size, channels=channels, crop=crop, background=background)
        self.augment = Augmentation(flip=flip)
        self.cache_bytes, self.cache_dir = cache_bytes, Path(cache_dir).expanduser()

    def _domains(self, folders: Sequence[str] | None, exclusive: Sequence[Sequence[str]]) -> Domains:
        if self.table is not None:
            return self.table.domains(self.attributes, exclusive)
        names = find_classes(self.root, None if folders is None else list(folders), setting="data.domains")
        require(
            len(names) >= 2,
            f"data.root={self.root} has {len(names) or 'no'} folders of pictures; two or more, one a domain, are needed"
            ", or data.table=FILE, which says what each picture is",
        )
        return Domains(names, one_of_many=True)

    @property
    def compared_channels(self) -> tuple[int, ...]:
        return self.channels["channels"], self.channels["channels"]

    @property
    def settled(self) -> dict[str, Any]:
        return {"n_domains": len(self.class_names)}

    @cached_property
    def _found(self) -> tuple[dict[str, list[Path]], dict[Path, np.ndarray], tuple[str, ...]]:
        """The files of each split, their labels, and notes."""
        there = split_folders(self.root, "data.root")
        groups: dict[str, list[list[Path]]] = {}
        labels: dict[Path, np.ndarray] = {}
        notes = []
        if self.table is not None:
            files = {split: images.list_images(folder) for split, folder in there.items()}
            matched, note = self.table.match([file for own in files.values() for file in own], self.skip_unmatched)
            notes += [note] if note else []
            found = self.table.labels(self.domains, matched.values(), self.attributes)
            labels = dict(zip(matched, found, strict=True))
            for split, own in files.items():
                known = [file for file in own if file in labels]
                own_domain = [int(labels[file].argmax()) if self.domains.one_of_many else 0 for file in known]
                groups[split] = [
                    [file for file, domain in zip(known, own_domain, strict=True) if domain == index]
                    for index in range(max(own_domain, default=0) + 1)
                ]
        else:
            one_hot = np.eye(len(self.class_names), dtype=np.float32)
            for split, folder in there.items():
                own = class_folders(folder)
                groups[split] = [images.list_images(own[name]) if name in own else [] for name in self.class_names]
                labels |= {file: one_hot[index] for index, files in enumerate(groups[split]) for file in files}
        counts = [len(group) for group in groups["train"]]
        for split, fraction in (("test", self.test_fraction), ("val", self.val_fraction)):
            if split not in groups and fraction:
                parts = [
                    take_out(group, fraction * count, f"{self.split_seed}/{split}") if len(group) > 1 else (group, [])
                    for group, count in zip(groups["train"], counts, strict=True)
                ]
                groups["train"], groups[split] = ([part[side] for part in parts] for side in (0, 1))
                notes.append(f"there is no folder {split}, so {sum(map(len, groups[split])):,} pictures were taken out")
        if "test" not in groups:
            groups["test"] = groups["val"]
            notes.append("there is no test set of its own, so the validation pictures are also those of the test")
        listed = {}
        for split in SPLITS:
            files = [file for group in groups[split] for file in group]
            require(len(files) > 0, f"data.root={self.root} leaves no pictures for {split}; it needs more of them")
            if self.domains.one_of_many:
                files = [files[row] for row in turns(np.array([labels[file].argmax() for file in files]))]
            listed[split] = files[: self.limits[split]]
        return listed, labels, tuple(notes)

    @cached_property
    def _decoded(self) -> tuple[dict[Path, int], Pictures, str]:
        """The row of each file, the decoded pictures, and where they are."""
        files = list(dict.fromkeys(file for own in self._found[0].values() for file in own))
        pictures, kept = decode(files, self.fit, cache_bytes=self.cache_bytes, cache_dir=self.cache_dir)
        return {file: row for row, file in enumerate(files)}, pictures, kept

    def pictures(self, split: str) -> Pictures:
        """uint8 (N, channels, size, size) of "train", "val" or "test"."""
        rows, pictures, _ = self._decoded
        return Rows(pictures, np.array([rows[file] for file in self._found[0][split]]))

    def labels(self, split: str) -> np.ndarray:
        """Their labels, float32 (N, D)."""
        files, labels, _ = self._found
        return np.stack([labels[file] for file in files[split]])

    def datasets(self) -> dict[str, Dataset]:
        train = Labelled(self.pictures("train"), self.labels("train"), seed=self.seed, augment=self.augment)
        present = train.labels.sum(axis=0)
        for name, count in zip(self.class_names, present, strict=True):
            require(
                count > 0 and (self.domains.one_of_many or count < len(train)),
                f"of {len(train):,} training pictures {'none' if count == 0 else 'all'} are {name}: what it looks like "
                "to be so, or not, cannot be learned; add pictures, or leave it out",
            )
        judged = {}
        for split in SPLITS[1:]:
            names = [file.name for file in self._found[0][split]]
            judged[split] = Translations(self.pictures(split), self.labels(split), self.domains, names)
        return {"train": train, **judged}

    def real(self, split: str) -> RealPictures:
        pictures = self.pictures(split)
        return RealPictures(len(pictures), pictures.__getitem__)

    def real_labels(self, split: str) -> np.ndarray | None:
        """Their domain, int64 (N,); None where pictures have attributes."""
        return self.labels(split).argmax(axis=1) if self.domains.one_of_many else None

    def labelled(self, split: str) -> tuple[Dataset, np.ndarray]:
        """Pictures, and their domain, or which attributes they have, (N, D)."""
        return self.real(split), self.labels(split) if self.real_labels(split) is None else self.real_labels(split)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found, and what was decided on the user's behalf."""
        files, _, notes = self._found
        counts = ", ".join(f"{len(files[split]):,} {split}" for split in SPLITS)
        kind = "domains" if self.domains.one_of_many else "attributes"
        shares = self.labels("train").mean(axis=0)
        named = ", ".join(f"{name} {share:.0%}" for name, share in zip(self.class_names, shares, strict=True))
        return (f"pictures: {counts}; {kind}: {named}; kept {self._decoded[2]}", *notes)

    def fingerprint(self) -> str:
        """Hash of the splits, the labels, the file names and the contents (of files above 1 MiB, of their ends)."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        contents_hash = cache(images.contents_hash)  # the test pictures may be those of the validation
        digest = hashlib.blake2b(repr(self.domains).encode(), digest_size=8)
        files, labels, _ = self._found
        for split, own in files.items():
            for file in own:
                digest.update(f"{split}/{file.name}/{file.stat().st_size}/{labels[file].tolist()}\n".encode())
                digest.update(contents_hash(file))
        return digest.hexdigest()
