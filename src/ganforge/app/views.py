"""Pictures of any depth as a page shows them; what is downloaded is the file itself."""

import base64
import io
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from ganforge.pictures import images, rasters

LONGEST = 1200  # px, of a picture on the page
SMALLEST = 384  # px; smaller ones are shown enlarged, pixel by pixel


def seen(path: Path, band: str | None = None, *, grey: bool = False) -> np.ndarray:
    """A picture file, uint8 (H, W, 3), LONGEST px or shorter; of many bands three as colours, or the one of this name.

    Bands of other types than bytes are stretched between their 2nd and 98th percentile. grey: without its colours, as
    a model sees it that gives pictures new ones.
    """
    if rasters.header(path).is_ordinary:
        return reduced(np.repeat(images.read(path, 1), 3, axis=2) if grey else images.read(path, 3))
    from ganforge.data.looks import shown  # with SciPy

    raster = rasters.read(path, bands=None if band is None else [band])
    return reduced(shown(raster.values, raster.valid, raster.bands))


def reduced(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, C), LONGEST px or shorter, in proportion."""
    height, width = picture.shape[:2]
    factor = LONGEST / max(height, width)
    if factor >= 1:
        return picture
    return images.resize(picture, (max(1, round(height * factor)), max(1, round(width * factor))))


def address(picture: np.ndarray) -> str:
    """uint8 (H, W, 3) as an address that holds it: JPEG for large ones in colour, else PNG."""
    grey = bool((picture[..., :1] == picture).all())
    image = Image.fromarray(picture[..., 0] if grey else picture)
    content = io.BytesIO()
    kind = "png" if grey or picture.size < 3 * 512**2 else "jpeg"
    image.save(content, kind.upper(), **({"quality": 92} if kind == "jpeg" else {"compress_level": 1}))
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def beside(before: np.ndarray, after: np.ndarray) -> None:
    """Two pictures over each other, with a slider between them."""
    height, width = after.shape[:2]
    shown = max(width, round(SMALLEST * width / max(height, width)))
    page = files("ganforge.app").joinpath("before_after.html").read_text()
    values = {
        "BEFORE": address(before), "AFTER": address(after), "WIDTH": str(shown), "RATIO": f"{width} / {height}",
        "RENDERING": "pixelated" if shown > width else "auto",
    }  # fmt: skip
    for name, value in values.items():
        page = page.replace(f"@{name}@", value)
    st.iframe(page, height="content")


def gallery(pictures: Sequence[np.ndarray], captions: list[str]) -> None:
    """Small pictures side by side, uint8 (H, W, C)."""
    width = 128 if max(pictures[0].shape[:2]) <= 128 else 256
    st.image([with_size(picture, width) for picture in pictures], captions, width=width)


def with_size(picture: np.ndarray, side: int) -> np.ndarray:
    """uint8 (H, W, C) -> (h, w, 3), enlarged by whole pixels where it is smaller than this."""
    picture = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    times = max(1, side // max(picture.shape[:2]))
    return np.kron(picture, np.ones((times, times, 1), np.uint8)) if times > 1 else picture
