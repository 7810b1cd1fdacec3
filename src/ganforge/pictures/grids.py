"""Grids and films of pictures. torchvision draws the same grids, and takes a second to load."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganforge.files.folders import replace
from ganforge.files.untrusted import printable
from ganforge.pictures import images

GIF_WIDTH = 512  # px, at most
FRAME = 0.6  # grey of frames, in [0, 1]
MOST_CLASSES = 32  # columns of a grid
LONGEST_NAME = 32  # letters
LEAST_NAMED = 32  # px


def rows(columns: list[Tensor], names: Sequence[str] = ()) -> Tensor:
    """Columns of (B, C, H, W) pictures in [-1, 1] side by side, one row a picture: (3, height, width) in [0, 1].

    names: over the columns.
    """
    grid = _grid(torch.stack([column.expand(-1, 3, -1, -1) for column in columns], dim=1), padding=4)
    return _named(grid, names, columns[0].shape[-2:], padding=4) if names else grid


def square(pictures: Tensor) -> Tensor:
    """(B, C, H, W) pictures in [-1, 1] as a grid that is about square: (3, height, width) in [0, 1]."""
    side = max(1, round(len(pictures) ** 0.5))
    missing = -len(pictures) % side
    page = torch.cat([pictures, pictures.new_full((missing, *pictures.shape[1:]), torch.nan)]) if missing else pictures
    return _grid(page.expand(-1, 3, -1, -1).unflatten(0, (-1, min(side, len(page)))), padding=2)


def by_class(pictures: Tensor, labels: Tensor | None, names: Sequence[str]) -> Tensor:
    """(B, C, H, W) pictures in [-1, 1] with a named column for each class that is there: (3, height, width) in [0, 1].

    labels: int64 (B,) of `names`; without them, or with more classes than pictures or than 32, the grid is `square`.
    """
    if labels is None or not 0 < len(names) <= min(len(pictures), MOST_CLASSES):
        return square(pictures)
    groups = {name: pictures[labels == label] for label, name in enumerate(names)}
    groups = {name: group for name, group in groups.items() if len(group)}
    page = pictures.new_full((max(map(len, groups.values())), len(groups), *pictures.shape[1:]), torch.nan)
    for column, group in enumerate(groups.values()):
        page[: len(group), column] = group
    grid = _grid(page.expand(-1, -1, 3, -1, -1), padding=2)
    return _named(grid, list(groups), pictures.shape[-2:], padding=2, known=names)


def reduced(pictures: Tensor, most: int) -> Tensor:
    """(B, C, H, W) with sides of at most about `most` px, by means over squares: for sheets of many."""
    factor = -(-max(pictures.shape[-2:]) // most)
    return torch.nn.functional.avg_pool2d(pictures, factor) if factor > 1 else pictures


def table(pictures: Tensor, columns: Sequence[str], names: Sequence[str]) -> Tensor:
    """Pictures (rows, columns, C, H, W) in [-1, 1], missing ones NaN, with names over the columns and before the rows.

    (3, height, width) in [0, 1]; pictures smaller than 32 px are enlarged, or their names would not fit.
    """
    padding, factor = 4, max(1, -(-LEAST_NAMED // min(pictures.shape[-2:])))
    pictures = pictures.expand(-1, -1, 3, -1, -1).repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    grid = _named(_grid(pictures, padding, single=True), columns, pictures.shape[-2:], padding)
    above = grid.shape[1] - (padding + len(pictures) * (pictures.shape[-2] + padding))
    font = ImageFont.load_default(11)
    texts = [printable(name)[:LONGEST_NAME] for name in names]
    width = max(round(font.getlength(text)) for text in texts) + 8
    strip = Image.new("L", (width, grid.shape[1]), round(255 * FRAME))
    for row, text in enumerate(texts):
        middle = above + padding + row * (pictures.shape[-2] + padding) + pictures.shape[-2] // 2
        ImageDraw.Draw(strip).text((4, middle), text, fill=0, font=font, anchor="lm")
    return torch.cat([torch.from_numpy(np.array(strip)).float().div(255).expand(3, -1, -1), grid], dim=2)


def _named(
    grid: Tensor, names: Sequence[str], size: Sequence[int], padding: int, known: Sequence[str] | None = None
) -> Tensor:
    """A grid of pictures of this size with a name over each column; as high as all the names `known` would be."""
    row, cell = (side + padding for side in size)
    strip = heading([(padding + column * cell, cell, name) for column, name in enumerate(names)], grid.shape[-1])
    height = _heading(known or names, cell, row)
    strip = torch.nn.functional.pad(strip, (0, 0, height - strip.shape[1], 0), value=FRAME)
    return torch.cat([strip, grid], dim=1)


def _heading(names: Sequence[str], cell: int, row: int) -> int:
    """Height of the names over the columns of a grid, of which some may be missing: never that of whole rows."""
    height = heading([(0, cell, name) for name in names], cell).shape[1]
    return height if height % row else height + 1


def heading(columns: Sequence[tuple[int, int, str]], width: int) -> Tensor:
    """A strip of names in black over columns (left, width, name): (3, height, width) in [0, 1].

    Where one is wider than its column all are written upwards; of longer ones than 32 letters the end is cut.
    """
    font = ImageFont.load_default(11)
    texts = [printable(name)[:LONGEST_NAME] for *_, name in columns]
    boxes = [font.getbbox(text) for text in texts]
    upwards = any(box[2] > wide for box, (_, wide, _) in zip(boxes, columns, strict=True))
    line = max((round(box[3]) for box in boxes), default=0) + 2
    strip = Image.new("L", (width, max(round(box[2]) for box in boxes) + 4 if upwards else line), round(255 * FRAME))
    for text, (left, wide, _) in zip(texts, columns, strict=True):
        drawn = Image.new("L", (max(1, round(font.getlength(text))) + 1, line), round(255 * FRAME))
        ImageDraw.Draw(drawn).text((0, 0), text, fill=0, font=font)
        if upwards:
            drawn = drawn.rotate(90, expand=True)
        strip.paste(drawn, (left + max(0, wide - drawn.width) // 2, strip.height - drawn.height))
    return torch.from_numpy(np.array(strip)).float().div(255).expand(3, -1, -1)


def _grid(pictures: Tensor, padding: int, frame: float = FRAME, single: bool = False) -> Tensor:
    """(rows, columns, 3, H, W) in [-1, 1] -> (3, height, width) in [0, 1], with a frame but for a single picture.

    single: with one for that too. Frames are 0.6, and so are missing pictures, whose values are NaN.
    """
    if pictures.shape[:2] == (1, 1) and not single:
        return ((pictures[0, 0] + 1) / 2).clamp(0, 1)
    framed = torch.nn.functional.pad((pictures + 1) / 2, (padding, 0, padding, 0), value=frame)
    page = framed.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return torch.nn.functional.pad(page, (0, padding, 0, padding), value=frame).nan_to_num(frame).clamp(0, 1)


def cells(file: Path, size: int, padding: int, names: Sequence[str] = ()) -> Tensor:
    """The pictures of a PNG of `rows` (padding 4) or `square` (2), row by row: (B, 3, size, size) in [-1, 1].

    names: of the classes of `by_class` (2) or of the columns of `rows`, where it may have them.
    """
    grid = torch.from_numpy(images.to_unit(images.read(file, channels=3)))
    if names and (grid.shape[1] - padding) % (size + padding):
        grid = grid[:, _heading(names, size + padding, size + padding) :]
    if grid.shape[1:] == (size, size):  # a single picture has no frame
        return grid[None]
    framed = grid[:, padding:, padding:].unfold(1, size, size + padding).unfold(2, size, size + padding)
    return framed.permute(1, 2, 0, 3, 4).flatten(0, 1)


def save(picture: Tensor, path: Path) -> None:
    """Write a picture (3, H, W) in [0, 1] as a PNG; `path` is whole at any time."""
    with replace(path) as file:
        Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).cpu().numpy()).save(file, "PNG")


def animate(frames: list[np.ndarray], path: Path, seconds: float = 0.25, last: float = 1.0) -> None:
    """Write a GIF of uint8 pictures (H, W, C) of one size, at most 512 px wide; the last one stays `last` seconds."""
    pictures = [Image.fromarray(np.broadcast_to(frame, (*frame.shape[:2], 3))) for frame in frames]
    width, height = pictures[0].size
    factor = min(1.0, GIF_WIDTH / width)
    size = (round(width * factor), round(height * factor))
    pictures = [picture.resize(size, Image.Resampling.BOX).quantize(64) for picture in pictures]
    durations = [round(1000 * seconds)] * (len(pictures) - 1) + [round(1000 * max(seconds, last))]
    with replace(path) as file:
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
