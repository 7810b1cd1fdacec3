"""`data=image_folder`: one's own pictures, in one folder or in one folder a class."""

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from ganforge.data.decoded import Fit, decode
from ganforge.data.pictures import Pictures, PicturesData, Rows, turns
from ganforge.data.splits import take_out
from ganforge.errors import UserError, require
from ganforge.files.folders import natural_key
from ganforge.pictures import images

_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_CLASSES_SHOWN = 20


class ImageFolderData(PicturesData):
    """Pictures of any size and kind from a folder, or from one folder a class, as squares.

    root: holds the pictures or class folders, or train/ (and val/, test/) which hold them. Where val/ is missing,
    val_fraction of the training pictures of each class is taken out, by split_seed and name (0: none are, and the
    training pictures are used); where test/ is missing, the validation pictures serve. classes: only these folders;
    None for all. Labels are in the order of the folders' names.
    crop, background: see `Fit`; cache_bytes, cache_dir: see `decode`. Else see `PicturesData`.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        classes: list[str] | None = None,
        n_classes: int | None = None,
        val_fraction: float = 0.1,
        size: int = 64,
        channels: int = 3,
        crop: bool = True,
        background: str = "white",
        n_train: int | None = None,
        n_val: int = 1000,
        n_test: int = 5000,
        n_labels: int | None = None,
        split_seed: int = 0,
        flip: bool = False,
        vertical_flip: bool = False,
        rotate: float = 0.0,
        cache_bytes: int = 2**30,
        cache_dir: str | Path = "~/.cache/ganforge/pictures",
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ):
        root = Path(root).expanduser()
        class_names = find_classes(root, [classes] if isinstance(classes, str) else classes)
        super().__init__(
            class_names=class_names,
            n_classes=n_classes,
            size=size,
            channels=channels,
            n_train=n_train,
            n_val=n_val,
            n_test=n_test,
            n_labels=n_labels,
            split_seed=split_seed,
            flip=flip,
            vertical_flip=vertical_flip,
            rotate=rotate,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        require(
            isinstance(val_fraction, int | float) and 0 <= val_fraction < 1,
            f"data.val_fraction={val_fraction}: from 0 (none are held out) to below 1",
        )
        require(isinstance(crop, bool), f"data.crop={crop}: true (the middle square) or false (squashed to a square)")
        require(cache_bytes >= 0, f"data.cache_bytes={cache_bytes}: 0 (keep nothing in memory) or more")
        try:
            images.opaque(background)
        except UserError as error:
            raise UserError(f"data.{error}") from error
        self.root, self.all_classes, self.val_fraction = root, classes is None, val_fraction
        self.fit = Fit(size=size, channels=channels, crop=crop, background=background)
        self.cache_bytes, self.cache_dir = cache_bytes, Path(cache_dir).expanduser()

    @cached_property
    def files(self) -> dict[str, tuple[Sequence[Path], np.ndarray | None]]:
        """The files of each split and their labels, int64 (N,) or None; of those to train on n_train at most."""
        found = {
            split: self._by_class(folder)
            for split in _SPLITS
            if (folder := _split_folder(self.root, split)) is not None
        }
        if "val" not in found:
            found["val"] = found["train"]
            if self.val_fraction > 0:
                parts = [self._hold_out(files) for files in found["train"]]
                found["train"], found["val"] = ([part[side] for part in parts] for side in (0, 1))
        found.setdefault("test", found["val"])
        listed = {}
        for split, by_class in found.items():
            files = [path for own in by_class for path in own]
            labels = np.repeat(np.arange(len(by_class)), [len(own) for own in by_class]).astype(np.int64)
            require(len(files) > 0, f"data.root={self.root} leaves no pictures for {split}; it needs more of them")
            if split == "train" and self.n_train is not None:
                rows = turns(labels)[: self.n_train]
                files, labels = [files[row] for row in rows], labels[rows]
            listed[split] = files, (labels if self.class_names else None)
        return listed

    def _by_class(self, folder: Path) -> list[list[Path]]:
        """The files of each class below the folder of a split; without classes, one list."""
        if not self.class_names:
            return [images.list_images(folder)]
        own = class_folders(folder)
        if self.all_classes:
            unknown = sorted(own.keys() - set(self.class_names))
            require(
                not unknown,
                f"{folder} has the classes {_shown(unknown)}, which are not trained on; remove them or name the "
                "classes in data.classes",
            )
        require(bool(own.keys() & set(self.class_names)), f"{folder} has no folder {' or '.join(self.class_names)}")
        return [images.list_images(own[name]) if name in own else [] for name in self.class_names]

    def _hold_out(self, files: list[Path]) -> tuple[list[Path], list[Path]]:
        if len(files) < 2:
            return files, []  # what there is is trained on
        return take_out(files, self.val_fraction * len(files), f"{self.split_seed}/val")

    @cached_property
    def _decoded(self) -> tuple[dict[Path, int], Pictures, str]:
        """The row of each file, the decoded pictures, and where they are."""
        rows = {path: None for files, _ in self.files.values() for path in files}
        rows = {path: row for row, path in enumerate(rows)}
        pictures, kept = decode(list(rows), self.fit, cache_bytes=self.cache_bytes, cache_dir=self.cache_dir)
        return rows, pictures, kept

    def arrays(self, split: str) -> tuple[Pictures, np.ndarray | None]:
        files, labels = self.files[split]
        rows, pictures, _ = self._decoded
        return Rows(pictures, np.array([rows[path] for path in files])), labels

    @property
    def kept(self) -> str:
        return self._decoded[2]

    @property
    def test_is_val(self) -> bool:
        """Whether the test compares with the validation pictures, because there are no others."""
        return _split_folder(self.root, "test") is None

    @property
    def notes(self) -> tuple[str, ...]:
        notes = [*super().notes]
        if _split_folder(self.root, "val") is None:
            if self.val_fraction == 0:
                notes.append(
                    "data.val_fraction=0: generated pictures are compared with the training pictures themselves"
                )
            else:
                n = len(self.files["val"][0])
                notes.append(f"there is no folder val, so {n:,} pictures were held out for validation")
        if self.test_is_val:
            notes.append("there is no folder test, so the test compares with the validation pictures")
        return tuple(notes)

    def fingerprint(self) -> str:
        """Hash of the splits, the classes, the file names and the contents (of files above 1 MiB, of their ends).

        Taken once: a picture that is changed or removed during a training was trained on all the same.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        contents_hash = cache(images.contents_hash)  # the test pictures may be those of the validation
        digest = hashlib.blake2b(repr(self.class_names).encode(), digest_size=8)
        for split, (files, labels) in self.files.items():
            for path, label in zip(files, [0] * len(files) if labels is None else labels, strict=True):
                digest.update(f"{split}/{label}/{path.name}/{path.stat().st_size}\n".encode())
                digest.update(contents_hash(path))
        return digest.hexdigest()


def find_classes(root: Path, chosen: list[str] | None, setting: str = "data.classes") -> tuple[str, ...]:
    """The class folders that are used, in natural order; () where the pictures lie in one folder.

    setting: that chooses them, for what is said of wrong ones.
    """
    require(root.is_dir(), f"data.root={root} is not a folder; give the folder that holds the pictures")
    folder = _split_folder(root, "train")
    names = list(class_folders(folder))
    loose = _has_pictures(folder)
    if chosen is None:
        apart = {name for split in ("val", "test") for name in _SPLITS[split]} & {name.casefold() for name in names}
        require(
            not apart,
            f"data.root={root} has a folder {' and '.join(sorted(apart))}, but no folder train; name the one to train "
            "on train, or give its path as data.root",
        )
        require(
            not (names and loose),
            f"{folder} holds pictures and also folders of pictures ({_shown(names)}); put all of them into folders, or "
            f"name the classes in {setting}",
        )
        if not names:
            images.list_images(folder)  # says what is wrong where there are none
        return tuple(names)
    require(bool(names), f"{setting}={list(chosen)}, but {folder} has no folders of pictures; use {setting}=null")
    wanted = [str(name) for name in chosen]
    unknown = [name for name in wanted if name not in names]
    require(
        bool(wanted) and not unknown,
        f"{setting}={list(chosen)}: "
        + (f"{folder} has no class {_shown(unknown)}; " if unknown else "")
        + f"choose one or more of {_shown(names)}, or null for all",
    )
    return tuple(name for name in names if name in wanted)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_CLASSES_SHOWN]) + ", ..." * (len(names) > _CLASSES_SHOWN)


def _split_folder(root: Path, split: str) -> Path | None:
    """The folder of a split below root, in any case. Without train/, all of root is to train on, and the rest None."""
    below = {path.name.casefold(): path for path in root.iterdir() if path.is_dir()}
    if "train" not in below:
        return root if split == "train" else None
    return next((below[name] for name in _SPLITS[split] if name in below), None)


def class_folders(folder: Path) -> dict[str, Path]:
    """The folders below that hold pictures, in natural order of their names."""
    below = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: natural_key(path.name))
    return {path.name: path for path in below if not path.name.startswith(".") and _has_pictures(path)}


def _has_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in images.SUFFIXES and path.name[0] != "." for path in folder.iterdir())
