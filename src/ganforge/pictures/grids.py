"""Grids and films of pictures. torchvision draws the same grids, and takes a second to load."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganforge.files.folders import replace
from ganforge.pictures import images

GIF_WIDTH = 512  # px, at most


def rows(columns: list[Tensor]) -> Tensor:
    """Columns of (B, C, H, W) pictures in [-1, 1] side by side, one row a picture: (3, height, width) in [0, 1]."""
    return _grid(torch.stack([column.expand(-1, 3, -1, -1) for column in columns], dim=1), padding=4)


def square(pictures: Tensor) -> Tensor:
    """(B, C, H, W) pictures in [-1, 1] as a grid that is about square: (3, height, width) in [0, 1]."""
    side = max(1, round(len(pictures) ** 0.5))
    missing = -len(pictures) % side
    page = torch.cat([pictures, pictures.new_full((missing, *pictures.shape[1:]), torch.nan)]) if missing else pictures
    return _grid(page.expand(-1, 3, -1, -1).unflatten(0, (-1, min(side, len(page)))), padding=2)


def _grid(pictures: Tensor, padding: int, frame: float = 0.6) -> Tensor:
    """(rows, columns, 3, H, W) in [-1, 1] -> (3, height, width) in [0, 1], with a frame but for a single picture.

    Frames are 0.6, and so are missing pictures, whose values are NaN.
    """
    if pictures.shape[:2] == (1, 1):
        return ((pictures[0, 0] + 1) / 2).clamp(0, 1)
    framed = torch.nn.functional.pad((pictures + 1) / 2, (padding, 0, padding, 0), value=frame)
    page = framed.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return torch.nn.functional.pad(page, (0, padding, 0, padding), value=frame).nan_to_num(frame).clamp(0, 1)


def cells(file: Path, size: int, padding: int) -> Tensor:
    """The pictures of a PNG of `rows` (padding 4) or `square` (2), row by row: (B, 3, size, size) in [-1, 1]."""
    grid = torch.from_numpy(images.to_unit(images.read(file, channels=3)))
    if grid.shape[1:] == (size, size):  # a single picture has no frame
        return grid[None]
    framed = grid[:, padding:, padding:].unfold(1, size, size + padding).unfold(2, size, size + padding)
    return framed.permute(1, 2, 0, 3, 4).flatten(0, 1)


def save(picture: Tensor, path: Path) -> None:
    """Write a picture (3, H, W) in [0, 1] as a PNG; `path` is whole at any time."""
    with replace(path) as file:
        Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).cpu().numpy()).save(file, "PNG")


def animate(frames: list[np.ndarray], path: Path, seconds: float = 0.25) -> None:
    """Write a GIF of uint8 pictures (H, W, C) of one size, at most 512 px wide; the last one stays longer."""
    pictures = [Image.fromarray(np.broadcast_to(frame, (*frame.shape[:2], 3))) for frame in frames]
    width, height = pictures[0].size
    factor = min(1.0, GIF_WIDTH / width)
    size = (round(width * factor), round(height * factor))
    pictures = [picture.resize(size, Image.Resampling.BOX).quantize(64) for picture in pictures]
    durations = [round(1000 * seconds)] * (len(pictures) - 1) + [max(1000, round(1000 * seconds))]
    with replace(path) as file:
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
