"""`data=unpaired`: two folders of pictures that have nothing to do with each other."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ganforge.data.decoded import Fit, OnDemand, decode
from ganforge.data.pictures import Pictures
from ganforge.data.resized_pairs import default_load_size
from ganforge.data.split_folders import (
    SPLITS,
    check_fractions,
    fingerprint,
    folders_below,
    found_note,
    split_files,
    split_folders,
)
from ganforge.data.two_sides import OTHER, Side, TwoSides
from ganforge.errors import UserError, require
from ganforge.pictures import images


class UnpairedData(TwoSides):
    """Pictures of any size from two folders, as squares.

    root: holds trainA, trainB and, where there are, valA, valB, testA, testB; or a/ and b/ (in any case) with pictures
    or with train/, val/ and test/; or train/ and so on with a/ and b/. root_a, root_b: the two folders instead, with
    pictures or with train/, val/ and test/. Of each side, val_fraction and test_fraction of the pictures are taken out
    by split_seed and name where it has no such folder (test_fraction=0: the validation pictures are also the test's).

    Pictures are squashed to a square of load_size (default: 286/256 of size) for training, from which size×size is cut
    at random, and with flip mirrored at random; for all else to size. background: behind transparent pictures.
    source_channels, target_channels: of A and of B. n_train, n_val, n_test: only the first n of each side.
    partners: pictures of equal names in the test folders of A and B are what their translations are scored against;
    training never knows.
    cache_bytes, cache_dir: see `decode`.
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        root_a: str | Path | None = None,
        root_b: str | Path | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        partners: bool = True,
        size: int = 256,
        load_size: int | None = None,
        flip: bool = True,
        background: str = "white",
        n_train: int | None = None,
        n_val: int | None = None,
        n_test: int | None = None,
        source_channels: int = 3,
        target_channels: int = 3,
        cache_bytes: int = 2**30,
        cache_dir: str | Path = "~/.cache/ganforge/pictures",
        batch_size: int = 1,
        num_workers: int = 2,
        seed: int = 0,
    ):
        super().__init__(
            size=size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            source_channels=source_channels,
            target_channels=target_channels,
        )
        load_size = default_load_size(size) if load_size is None else load_size
        require(load_size >= size, f"data.load_size={load_size} is smaller than data.size={size}; nothing to crop from")
        check_fractions(val_fraction, test_fraction)
        self.limits = {"train": n_train, "val": n_val, "test": n_test}
        for name, limit in self.limits.items():
            require(limit is None or limit >= 1, f"data.n_{name}={limit}: 1 or more, or null for all")
        require(cache_bytes >= 0, f"data.cache_bytes={cache_bytes}: 0 (keep nothing in memory) or more")
        try:
            images.opaque(background)
        except UserError as error:
            raise UserError(f"data.{error}") from error
        self.folders = _folders(root, root_a, root_b)
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.by_name, self.load_size, self.flip, self.background = partners, load_size, flip, background
        self.cache_bytes, self.cache_dir = cache_bytes, Path(cache_dir).expanduser()
        self._decoded: dict[tuple[str, Side, int], Pictures] = {}

    @cached_property
    def files(self) -> dict[tuple[str, Side], list[Path]]:
        """The files of each split and side, in natural order."""
        found = {}
        for side, folders in self.folders.items():
            own = split_files(
                folders,
                val_fraction=self.val_fraction,
                test_fraction=self.test_fraction,
                split_seed=self.split_seed,
            )
            found |= {(split, side): files[: self.limits[split]] for split, files in own.items()}
        return found

    def _fit(self, side: Side, edge: int) -> Fit:
        channels = self.channels["source_channels" if side == "a" else "target_channels"]
        return Fit(size=edge, channels=channels, crop=False, background=self.background)

    def pictures(self, split: str, side: Side) -> Pictures:
        if split == "train" and self.load_size != self.size:
            return OnDemand(self.files["train", side], self._fit(side, self.size))  # each seldom more than once
        return self._kept(split, side, self.size)

    def training(self, side: Side) -> Pictures:
        return self._kept("train", side, self.load_size)

    def names(self, split: str, side: Side) -> list[str]:
        return [file.name for file in self.files[split, side]]

    def _kept(self, split: str, side: Side, edge: int) -> Pictures:
        files, key = self.files[split, side], (split, side, edge)
        if key not in self._decoded:
            taken = sum(own.nbytes for own in self._decoded.values() if isinstance(own, np.ndarray))
            room = max(0, self.cache_bytes - taken)
            self._decoded[key], _ = decode(files, self._fit(side, edge), cache_bytes=room, cache_dir=self.cache_dir)
        return self._decoded[key]

    def partners(self, side: Side) -> Sequence[int | None] | None:
        rows = {path.stem: row for row, path in enumerate(self.files["test", OTHER[side]])}
        found = [rows.get(path.stem) for path in self.files["test", side]]
        in_folders = all("test" in folders for folders in self.folders.values())
        return found if self.by_name and in_folders and any(row is not None for row in found) else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found, and what was decided on the user's behalf."""
        notes = []
        for side, folders in self.folders.items():
            files = {split: self.files[split, side] for split in SPLITS}
            notes.append(f"{side.upper()}: {found_note(folders, files, self.test_fraction)}")
        partners = self.partners("a")
        if partners is not None:
            count = sum(row is not None for row in partners)
            notes.append(
                f"{count} of {len(partners)} test pictures of A have one of the same name in B: their translations are "
                "scored against these, which training never sees (data.partners=false: they have nothing in common)"
            )
        return (*notes, *self.check_identity())

    def fingerprint(self) -> str:
        """Hash of the splits, the file names and the contents (of files above 1 MiB, of their ends). Taken once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint({f"{split}/{side}": files for (split, side), files in self.files.items()})


def _folders(root: str | Path | None, root_a: str | Path | None, root_b: str | Path | None) -> dict[Side, dict]:
    """The folder of each split of each side; "train" of both is there."""
    accepted = (
        "give data.root=FOLDER with trainA and trainB (and testA, testB), or with a and b, or data.root_a=FOLDER "
        "data.root_b=FOLDER"
    )
    require(
        (root is None) == (root_a is not None) == (root_b is not None),
        f"data.root={root}, data.root_a={root_a}, data.root_b={root_b}: one place for both sides or one for each; "
        f"{accepted}",
    )
    if root is None:
        a, b = Path(root_a).expanduser(), Path(root_b).expanduser()
        require(a.resolve() != b.resolve(), f"data.root_a={root_a} is the same folder as data.root_b; give two")
        return {"a": split_folders(a, "data.root_a"), "b": split_folders(b, "data.root_b")}
    below = folders_below(Path(root).expanduser(), "data.root")
    found: dict[Side, dict] = {}
    for side in OTHER:
        own = split_folders(below[side], "data.root") if side in below else {}
        for split, names in SPLITS.items():
            for name in names:
                if name in below and side in (inside := folders_below(below[name], "data.root")):
                    own[split] = inside[side]
                for joined in (f"{name}{side}", f"{name}_{side}"):
                    if joined in below:
                        own[split] = below[joined]
        require(
            "train" in own,
            f"data.root={root} has no folder train{side.upper()} or {side} (it has: "
            f"{', '.join(path.name for path in below.values()) or 'none'}); {accepted}",
        )
        found[side] = own
    return found
