"""Spatial splits: blocks of the ground go whole to training, validation or test, so that nothing is seen on two sides.

Tiles overlap, and what lies side by side is alike: tiles that are split at random are judged by what was trained on
(Roberts et al. 2017, Ecography 40(8), "Cross-validation strategies for data with ... spatial ... structure").
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ganforge.errors import require
from ganforge.pictures.rasters import Georeference
from ganforge.pictures.tiling import Window

LEAST_BLOCKS = 10  # in all, where there is room for as many
_LARGEST = 4  # tiles a side of a block

Block = tuple[str, int, int]  # the ground that it belongs to, row and column


@dataclass(frozen=True)
class Ground:
    """Where the pixels of a scene lie: scenes of one `name` are on one grid, this one from (top, left) on."""

    name: str
    top: int = 0
    left: int = 0


def grounds(places: Mapping[str, Georeference | None]) -> dict[str, Ground]:
    """The ground of each scene: one grid for those of one coordinate system and pixel size, so that a place that two of
    them show (two dates, a strip in common) is one. Scenes without a georeference have grounds of their own.
    """
    first: dict[tuple, Georeference] = {}
    found = {}
    for scene, place in places.items():
        if place is None:
            found[scene] = Ground(scene)
            continue
        a, b, _, d, e, _ = place.transform
        grid = (place.crs, place.keys if not place.crs else None, *(round(number, 9) for number in (a, b, d, e)))
        origin = first.setdefault(grid, place).transform
        east, north = place.transform[2] - origin[2], place.transform[5] - origin[5]
        determinant = a * e - b * d
        left, top = (e * east - b * north) / determinant, (a * north - d * east) / determinant
        found[scene] = Ground(f"grid {list(first).index(grid)}", round(top), round(left))
    return found


def block_side(scenes: Iterable[tuple[int, int]], tile: int) -> int:
    """The side of blocks in pixels: 4 tiles, or fewer, so that scenes of these (height, width) have LEAST_BLOCKS."""
    sizes = list(scenes)
    for tiles in range(_LARGEST, 1, -1):
        side = tiles * tile
        if sum((height // side) * (width // side) for height, width in sizes) >= LEAST_BLOCKS:
            return side
    return tile


def split_by_blocks(
    tiles: Sequence[tuple[Ground, Window]], side: int, *, val_fraction: float, test_fraction: float, seed: int = 0
) -> list[str | None]:
    """ "train", "val" or "test" for each tile, or None for one that lies across blocks of several splits.

    Blocks are taken by a hash of the seed and their place until they hold these shares of the tiles; of every share
    above 0 one at least. Raises UserError where the blocks are too few.
    """
    require(
        val_fraction > 0 and test_fraction >= 0 and val_fraction + test_fraction < 1,
        f"--val-fraction {val_fraction}, --test-fraction {test_fraction}: the first above 0, the second 0 or more, and "
        "together below 1, so that tiles are left for training",
    )
    touched = [_touched(ground, window, side) for ground, window in tiles]
    held = Counter(
        blocks[0] for blocks in touched if len(blocks) == 1
    )  # a block of which no tile is whole is of no use
    ranked = sorted(held, key=lambda block: hashlib.blake2b(f"{seed}/{block}".encode()).digest())
    wanted = {"test": test_fraction, "val": val_fraction}
    split_of: dict[Block, str] = {}
    for split, fraction in wanted.items():
        taken = 0
        while fraction > 0 and ranked and (taken == 0 or taken + held[ranked[0]] / 2 < fraction * held.total()):
            taken += held[ranked[0]]
            split_of[ranked.pop(0)] = split
    needed = 1 + sum(fraction > 0 for fraction in wanted.values())
    require(
        len(held) >= needed and bool(ranked),
        f"the scenes have {len(held)} blocks of {side} px, too few for {needed} splits: give larger scenes, or smaller "
        "tiles (--size) or blocks (--block)",
    )
    splits = [{split_of.get(block, "train") for block in blocks} for blocks in touched]
    return [next(iter(found)) if len(found) == 1 else None for found in splits]


def _touched(ground: Ground, window: Window, side: int) -> list[Block]:
    top, left = ground.top + window.top, ground.left + window.left
    rows = range(top // side, (top + window.height - 1) // side + 1)
    columns = range(left // side, (left + window.width - 1) // side + 1)
    return [(ground.name, row, column) for row in rows for column in columns]
