"""The pictures of a folder for training, validation and test: by folders of these names, or a hash of each name."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ganforge.data.splits import take_out
from ganforge.errors import require
from ganforge.pictures import images

SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise UserError for shares that cannot be taken out."""
    require(
        val_fraction > 0 and test_fraction >= 0 and val_fraction + test_fraction < 1,
        f"data.val_fraction={val_fraction}, data.test_fraction={test_fraction}: the first above 0, the second 0 or "
        "more, and together below 1, so that pictures are left for training",
    )


def folders_below(folder: Path, argument: str) -> dict[str, Path]:
    """The folders in it by their names in lower case; raises UserError where it is none, naming the argument."""
    require(folder.is_dir(), f"{argument}={folder} is not a folder; give the folder that holds the pictures")
    return {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."}


def split_folders(folder: Path, argument: str) -> dict[str, Path]:
    """The folders of the splits: those below of such names, or the folder itself to train on."""
    below = folders_below(folder, argument)
    named = {split: next((below[name] for name in names if name in below), None) for split, names in SPLITS.items()}
    found = {split: path for split, path in named.items() if path is not None}
    return found if "train" in found else {"train": folder}


def split_files(
    folders: Mapping[str, Path], *, val_fraction: float, test_fraction: float, split_seed: int
) -> dict[str, list[Path]]:
    """The pictures of "train", "val" and "test" in these folders, of which "train" is there.

    Where there is no folder for it, val_fraction and test_fraction of the training pictures are taken out by split_seed
    and name (test_fraction=0: the validation pictures are also the test's). Raises UserError where none is left.
    """
    train = images.list_images(folders["train"])
    count = len(train)
    own = {split: images.list_images(folders[split]) for split in ("val", "test") if split in folders}
    if "test" not in own and test_fraction > 0:
        train, own["test"] = take_out(train, test_fraction * count, f"{split_seed}/test")
    if "val" not in own:
        train, own["val"] = take_out(train, val_fraction * count, f"{split_seed}/val")
    require(
        len(train) > 0,
        f"{folders['train']}: its {count} pictures are too few to train on, validate and test; it needs 3 or "
        "more, or folders for the others",
    )
    return {"train": train, "test": own["val"], **own}


def found_note(folders: Mapping[str, Path], files: Mapping[str, list[Path]], test_fraction: float) -> str:
    """What was found, and what was decided on the user's behalf, as a sentence."""
    counts = ", ".join(f"{len(files[split])} {split}" for split in SPLITS)
    missing = [split for split in ("val", "test") if split not in folders]
    held = f"; no folder for {' and '.join(missing)}, so these are taken from train" if missing else ""
    if "test" in missing and test_fraction == 0:
        held = "; the validation pictures are also those of the test"
    return f"{folders['train']}: {counts}{held}"


def fingerprint(files: Mapping[str, Sequence[Path]]) -> str:
    """Hash of the splits, the file names and the contents (of files above 1 MiB: size, first and last 512 KiB)."""
    contents_hash = cache(images.contents_hash)  # the test pictures may be those of the validation
    digest = hashlib.blake2b(digest_size=8)
    for split, own in files.items():
        for path in own:
            digest.update(f"{split}/{path.name}/{path.stat().st_size}\n".encode())
            digest.update(contents_hash(path))
    return digest.hexdigest()
