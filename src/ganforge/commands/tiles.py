"""Cuts scenes into pairs of tiles with a manifest, split by blocks of the ground."""

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from ganforge.data.blocks import block_side, grounds, split_by_blocks
from ganforge.data.manifest import MANIFEST, Tile, write_manifest
from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable, plain_name
from ganforge.files.untrusted import printable
from ganforge.pictures import images, rasters
from ganforge.pictures.rasters import Header, Raster
from ganforge.pictures.tiling import Tiling, Window

_SAME = 0.01  # px by which two scenes may be shifted
_SIDES = ("a", "b")
_THREADS = 4


@dataclass(frozen=True)
class _Scene:
    """Files that show the same, pixel by pixel: source and target, or one whose bands are both."""

    name: str
    files: tuple[Path, ...]
    headers: tuple[Header, ...]

    @property
    def size(self) -> tuple[int, int]:
        return self.headers[0].height, self.headers[0].width


def tiles(
    scenes: Sequence[str | Path],
    output: str | Path,
    *,
    targets: Sequence[str | Path] = (),
    size: int = 256,
    overlap: float = 0.5,
    least_valid: float = 0.5,
    block: int | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> Path:
    """Write the tiles of scenes to output/a and output/b, and output/tiles.csv, which is returned.

    scenes: files or folders of the source, and targets those of the target, paired by name; two scenes without targets
    are one pair (or two folders of pairs), and one alone is cut into output itself, for data.layout=bands. size,
    overlap: of the tiles, in pixels and as a share. least_valid: tiles of which less is valid on both sides are left
    out. block: side of the blocks of a split, in pixels; None for what gives ten of them or more. Raises UserError,
    before anything is written, where scenes do not fit.
    """
    require(size >= 8, f"--size {size}: 8 pixels or more")
    require(0 < least_valid <= 1, f"--valid {least_valid}: a share above 0, at most 1")
    require(block is None or block >= size, f"--block {block}: at least --size {size}")
    found = _scenes(scenes, targets)
    output = Path(output)
    require(not output.exists() or output.is_dir(), f"--output {output}: is a file; give a folder")
    require(
        not output.is_dir() or not any(output.iterdir()),
        f"--output {output}: is not empty, and tiles of several runs would be mixed; choose another folder",
    )
    cut = [(scene, window) for scene in found for window in Tiling(*scene.size, size, overlap)]
    ground = grounds({scene.name: scene.headers[0].place for scene in found})
    side = block or block_side((scene.size for scene in found), size)
    splits = split_by_blocks(
        [(ground[scene.name], window) for scene, window in cut],
        side,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=split_seed,
    )
    folders = [output / name for name in _SIDES] if len(found[0].files) == 2 else [output]
    for folder in folders:
        make_writable(folder, f"--output {output}")

    rows = defaultdict(list)  # of one scene, which are read at once
    for (scene, window), split in zip(cut, splits, strict=True):
        if split is not None:
            rows[scene.name, window.top].append((window, split))
    named = {scene.name: scene for scene in found}

    def write(place: tuple[str, int]) -> list[Tile]:
        return list(_write_row(named[place[0]], rows[place], folders, least_valid))

    with ThreadPoolExecutor(_THREADS) as pool:
        written = list(track(pool.map(write, rows), description="cutting", total=len(rows)))
    manifest = [tile for row in written for tile in row]
    counts = Counter(tile.split for tile in manifest)
    require(
        counts["train"] > 0 and counts["val"] > 0,
        f"--valid {least_valid}: leaves {counts['train']} tiles to train on and {counts['val']} to validate, too few",
    )
    write_manifest(output / MANIFEST, manifest)
    said = ", ".join(f"{counts[split]} {split}" for split in ("train", "val", "test"))
    print(printable(f"{len(manifest)} tiles of {len(found)} scenes: {said}; in {output}"))
    crossing = splits.count(None)
    empty = len(cut) - crossing - len(manifest)
    if crossing:
        print(f"left out {crossing} tiles that lie across blocks ({side} px) of different splits")
    if empty:
        print(f"left out {empty} tiles of which less than {least_valid:g} is valid")
    layout = "data.layout=bands" if len(folders) == 1 else "data.layout=folders"
    print(printable(f"train on them: python train.py model=pix2pix data=pairs data.root={output} {layout}"))
    return output / MANIFEST


def _write_row(
    scene: _Scene, windows: Sequence[tuple[Window, str]], folders: Sequence[Path], least_valid: float
) -> Iterator[Tile]:
    """Write the tiles of a row of windows that are valid enough."""
    top, height = windows[0][0].top, windows[0][0].height
    strips = [rasters.read(file, window=(top, 0, height, scene.size[1])) for file in scene.files]
    for strip, file in zip(strips, scene.files, strict=True):
        require(
            strip.valid is None or strip.nodata is not None or strip.values.dtype == "float32",
            f"{file}: has a mask and no nodata value, which its tiles need; give it one, such as by "
            "gdal_translate -a_nodata 0",
        )
    for window, split in windows:
        parts = [_part(strip, window) for strip in strips]
        if _valid(parts) < least_valid:
            continue
        name = plain_name(f"{scene.name}_{window.top}_{window.left}")
        for folder, part in zip(folders, parts, strict=True):
            ordinary = part.values.dtype == "uint8" and part.values.shape[2] in (1, 3)
            plain = ordinary and part.place is None and part.nodata is None
            rasters.write(folder / f"{name}{'.png' if plain else '.tif'}", part)
        yield Tile(name, scene.name, window.top, window.left, window.height, window.width, split)


def _part(strip: Raster, window: Window) -> Raster:
    valid = None if strip.valid is None else window.of(strip.valid, window.top)
    return Raster(
        np.ascontiguousarray(window.of(strip.values, window.top)),
        strip.bands,
        strip.nodata,
        None if valid is None or valid.all() else valid,
        None if strip.place is None else strip.place.moved(0, window.left),
    )


def _scenes(given: Sequence[str | Path], targets: Sequence[str | Path]) -> list[_Scene]:
    """The scenes by name, checked. Raises UserError with a line for each that does not fit."""
    sides = [[Path(path) for path in given]] + ([[Path(path) for path in targets]] if targets else [])
    if not targets and len(given) > 1:
        require(
            len(given) == 2,
            f"{len(given)} scenes: give a source and a target (two files, or two folders of files of the same names), "
            "or the sources, and the targets after --target",
        )
        sides = [[path] for path in sides[0]]
    files = [_files(side) for side in sides]
    if len(files) == 2 and all(len(side) == 1 for side in files):
        (name, a), (b,) = next(iter(files[0].items())), files[1].values()
        matched = {name: (a, b)}
    else:
        alone = sorted(set(files[0]).symmetric_difference(files[-1]))
        named = ", ".join(str(files[0].get(name) or files[-1][name]) for name in alone[:5])
        require(not alone, f"{len(alone)} scenes have no partner of the same name: {named}")
        matched = {name: tuple(side[name] for side in files) for name in files[0]}
    found = [_Scene(name, paths, tuple(map(rasters.header, paths))) for name, paths in matched.items()]
    faults = [fault for scene in found if len(scene.files) == 2 for fault in _faults(scene)]
    if faults:
        raise UserError("\n".join(faults))
    return found


def _files(paths: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        require(path.exists(), f"{path}: no such scene or folder")
        for file in images.list_images(path) if path.is_dir() else [path]:
            require(file.stem not in found, f"{found.get(file.stem)} and {file}: two scenes of one name")
            found[file.stem] = file
    return found


def _faults(scene: _Scene) -> Iterator[str]:
    """In what the two files of a scene do not lie on each other, with the command that warps one to the other."""
    (a, b), (first, second) = scene.files, scene.headers
    warped = b.with_name(f"{b.stem}_warped.tif")
    command = shlex.join(["rio", "warp", str(b), str(warped), "--like", str(a), "--resampling", "bilinear"])
    remedy = f"warp it to the other: {command}"
    if first.place is None or second.place is None:
        if (first.place is None) != (second.place is None):
            without = a if first.place is None else b
            yield f"{a}, {b}: {without} has no georeference, so nobody knows whether they show the same; add it"
        elif scene.size != (second.height, second.width):
            sizes = f"{first.width}×{first.height} and {second.width}×{second.height}"
            yield f"{a}, {b}: the sizes differ, {sizes}; both must show the same, pixel by pixel"
        return
    if first.place.crs != second.place.crs:
        yield f"{a}, {b}: the coordinate systems differ, {first.place.crs} and {second.place.crs}; {remedy}"
    elif not _lie_alike(first, second):
        yield f"{a}, {b}: the transforms differ, {first.place.transform} and {second.place.transform}; {remedy}"
    elif scene.size != (second.height, second.width):
        sizes = f"{first.width}×{first.height} and {second.width}×{second.height}"
        yield f"{a}, {b}: the sizes differ, {sizes}; {remedy}"


def _lie_alike(first: Header, second: Header) -> bool:
    """Whether the corners of two scenes lie within a hundredth of a pixel."""
    a, b, _, d, e, _ = first.place.transform
    pixel = math.sqrt(abs(a * e - b * d))
    for column, row in ((0, 0), (first.width, 0), (0, first.height)):
        there = [
            (t[0] * column + t[1] * row + t[2], t[3] * column + t[4] * row + t[5])
            for t in (first.place.transform, second.place.transform)
        ]
        if math.dist(*there) > _SAME * pixel:
            return False
    return True


def _valid(parts: Sequence[Raster]) -> float:
    """The share of pixels that are valid on all sides."""
    masks = [part.valid for part in parts if part.valid is not None]
    both = masks[0] if masks else None
    for mask in masks[1:]:
        both = both & mask
    return 1.0 if both is None else float(both.mean())
