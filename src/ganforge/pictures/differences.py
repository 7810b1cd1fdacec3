"""Pictures beside each other with what differs between two of them, under a scale."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganforge.pictures.grids import FRAME, rows

# From no difference to the largest: black, violet, red, orange, light yellow.
_COLOURS = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
_BAR, _MARGIN, _TEXT = 10, 4, 34  # px of the scale: the bar, beside it, its numbers
_LEAST = 24  # px that the bar is high, at least


def absolute(one: Tensor, other: Tensor) -> Tensor:
    """The mean absolute difference over the channels of (B, C, H, W) in [-1, 1]: (B, H, W) in [0, 1]."""
    return (one - other).abs().mean(dim=1) / 2


def coloured(differences: Tensor, largest: float) -> Tensor:
    """(B, H, W) differences from 0 to `largest` in colours: (B, 3, H, W) in [-1, 1]."""
    table = torch.tensor(_COLOURS).float() / 127.5 - 1
    place = (differences / largest).clamp(0, 1) * (len(table) - 1)
    below = place.floor().long().clamp(max=len(table) - 2)
    share = (place - below)[..., None]
    return (table[below] * (1 - share) + table[below + 1] * share).movedim(-1, 1)


def row(pictures: Sequence[Tensor], names: Sequence[str], difference: Tensor | None, largest: float) -> Tensor:
    """Pictures (3, H, W) in [-1, 1] side by side under their names, then their difference (H, W) and its scale.

    Returns (3, height, width) in [0, 1].
    """
    columns, names = [picture[None] for picture in pictures], list(names)
    if difference is None:
        return rows(columns, names)
    page = rows([*columns, coloured(difference[None], largest)], [*names, "difference"])
    return torch.cat([page, _scale(page.shape[1], difference.shape[0], largest)], dim=2)


def _scale(height: int, long: int, largest: float) -> Tensor:
    """The colours from `largest` down to 0 with these numbers, beside the lower `long` px of a page."""
    long = max(_LEAST, min(long, height - 2 * _MARGIN))
    strip = Image.new("RGB", (_BAR + _MARGIN + _TEXT, height), (round(255 * FRAME),) * 3)
    colours = coloured(torch.linspace(largest, 0, long)[None, :, None].expand(1, long, _BAR), largest)[0]
    top = max(0, height - _MARGIN - long)
    strip.paste(Image.fromarray(((colours + 1) * 127.5).round().byte().movedim(0, -1).numpy()), (0, top))
    font, pen = ImageFont.load_default(11), ImageDraw.Draw(strip)
    pen.text((_BAR + _MARGIN, top), f"{largest:.2f}", fill=(0, 0, 0), font=font)
    pen.text((_BAR + _MARGIN, top + long - 13), "0", fill=(0, 0, 0), font=font)
    return torch.from_numpy(np.array(strip)).movedim(-1, 0).float() / 255
