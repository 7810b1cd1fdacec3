"""The pictures of a run, as parts of a page."""

import base64
import io
import math
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image

from ganforge.errors import require
from ganforge.files import untrusted
from ganforge.runs.folder import Run

WIDTH_OF_JOB = 720  # px; pictures of one of many runs are made this small
WIDTH_OF_THUMBNAIL = 240  # px
MOST_BYTES = 64_000_000  # of a picture
MOST_PIXELS = 64_000_000
KINDS = {"PNG": "image/png", "GIF": "image/gif", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def of_run(run: Run, small: bool) -> list[dict[str, Any]]:
    """The newest grid and what was drawn at the end; small: only what fits among many runs."""
    last = last_grid(run)
    data = run.config.get("data")
    paired = isinstance(data, dict) and "source_channels" in data
    both_ways = isinstance(run.config.get("model"), dict) and "b_to_a" in run.config["model"]
    kept = []  # name, caption, px that it may be wide
    if last is not None:
        seen = re.search(r"\d+", last)
        said = "source, generated, target" if paired else "drawn from the same noise each time"
        said = "A, A to B, A to B to A, B, B to A, B to A to B" if both_ways else said
        kept.append((last, f"after {int(seen[0]):,} images: {said}" if seen else said, 640))
    if not small:
        kept.append(("samples/evolution.gif", "at each validation, from the first to the last", 512))
    said = "from the first validation to the last"
    translated = f"source, then generated {said}{'' if both_ways else ', then target'}"
    kept.append(("samples/evolution.png", translated if paired else said, 1280))
    if not small:
        said = "samples that are nearest to a training picture (left), and these training pictures"
        kept.append(("samples/nearest.png", said, 640))
    return [_framed(run, *picture, small) for picture in kept if os.path.lexists(run.folder / picture[0])]


def thumbnail(run: Run) -> dict[str, Any] | None:
    """The newest grid, as small as a card; None where there is none that can be read, as the run's own section says."""
    name = last_grid(run)
    try:
        return read(run, name, run.name, WIDTH_OF_THUMBNAIL, WIDTH_OF_THUMBNAIL) if name else None
    except Exception:  # whatever stands in a file
        return None


def last_grid(run: Run) -> str | None:
    """The newest of the pictures that a run wrote at its validations, from its folder."""
    found = sorted(path.name for path in (run.folder / "samples").glob("images_*.png"))
    return f"samples/{found[-1]}" if found else None


def _framed(run: Run, name: str, caption: str, width: int, small: bool) -> dict[str, Any]:
    """A picture that a click shows in full where it is larger, or the `error` of one that cannot be read."""
    try:
        picture = read(run, name, caption, width, WIDTH_OF_JOB if small else None)
        return {"error": None, "name": name.removeprefix("samples/"), **picture}
    except Exception as error:  # whatever stands in a file
        return {"error": f"{name} cannot be read ({error})"}


def read(run: Run, name: str, caption: str, width: int, reduce: int | None = None) -> dict[str, Any]:
    """`read_file` of a run's folder."""
    return read_file(run.folder, name, caption, width, reduce)


def read_file(folder: Path, name: str, caption: str, width: int, reduce: int | None = None) -> dict[str, Any]:
    """An <img> with the file in it, as many times its size as fits `width` px.

    It is made smaller where it is wider than `reduce` px or has more than 100 kB.
    """
    content = untrusted.read_bytes(folder, name, MOST_BYTES)
    with Image.open(io.BytesIO(content), formats=tuple(KINDS)) as picture:
        size, kind = picture.size, KINDS[str(picture.format)]
        require(math.prod(size) <= MOST_PIXELS, f"it has {size[0]} × {size[1]} pixels")
        picture.load()
        if reduce is not None and (size[0] > reduce or len(content) > 100_000):
            factor = min(1.0, reduce / size[0])
            reduced = picture.convert("RGB").resize(
                (max(1, round(side * factor)) for side in size), Image.Resampling.LANCZOS
            )
            written = io.BytesIO()
            reduced.save(written, "WEBP", quality=85)
            kind, content, size = "image/webp", written.getvalue(), reduced.size
    times = max(1, min(4, width // size[0], 900 // size[1]))
    sides = {"width": size[0] * times, "height": size[1] * times, "enlarged": times > 1}
    return {"kind": kind, "content": base64.b64encode(content).decode(), "caption": caption, **sides}
