"""The pictures of a run, as parts of a page."""

import base64
import io
import itertools
import math
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image

from ganforge.errors import require
from ganforge.files import untrusted
from ganforge.files.untrusted import shortened
from ganforge.runs.folder import LATENT, Run, is_number

WIDTH_OF_JOB = 720  # px; pictures of one of many runs are made this small
WIDTH_OF_THUMBNAIL = 240  # px
MOST_BYTES = 64_000_000  # of a picture
MOST_PIXELS = 64_000_000
TEST_PICTURES = "samples/test"  # where a run writes those of its test
MOST_SETS, MOST_CASES = 8, 64  # test sets, and pictures of each that are shown
FEW_CASES = 3  # of one of many runs
LONGEST_DETAIL = 400  # letters
# By ganforge interpolate, arithmetic, directions and project.
SHEETS = {
    "walk.png": "from picture to picture, by spherical interpolation of their latents",
    "walk.gif": "the same as a film, and back to the first",
    "arithmetic.png": "groups of pictures, their means, and the sum of these",
    "directions.png": "one picture along the directions of largest change: a row each, with its share of the variance",
    "directions.gif": "the same as a film",
    "projection.png": "real pictures, what the model draws that is nearest, and how far they differ",
}
MOST_FOLDERS = 64  # with such sheets
KINDS = {"PNG": "image/png", "GIF": "image/gif", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def of_run(run: Run, small: bool) -> list[dict[str, Any]]:
    """The newest grid and what was drawn at the end; small: only what fits among many runs."""
    last = last_grid(run)
    data = run.config.get("data")
    translates = isinstance(data, dict) and "source_channels" in data
    kept = []  # name, caption, px that it may be wide
    if last is not None:
        seen = re.search(r"\d+", last)
        said = "the same validation pictures" if translates else "drawn from the same noise each time"
        kept.append((last, f"after {int(seen[0]):,} images: {said}" if seen else said, 640))
    if not small:
        kept.append(("samples/evolution.gif", "at each validation, from the first to the last", 512))
    kept.append(("samples/evolution.png", "from the first validation to the last, after so many images", 1280))
    if not small:
        said = "samples that are nearest to a training picture (left), and these training pictures"
        kept.append(("samples/nearest.png", said, 640))
    return [_framed(run, *picture, small) for picture in kept if os.path.lexists(run.folder / picture[0])]


def of_latent(run: Run) -> list[dict[str, Any]]:
    """The sheets and films that ganforge interpolate, arithmetic, directions and project left in the run's folder."""
    below = itertools.islice((run.folder / LATENT).glob("*/"), MOST_FOLDERS)
    folders = [LATENT, *sorted(f"{LATENT}/{folder.name}" for folder in below)]
    names = [(f"{folder}/{sheet}", caption) for folder in folders for sheet, caption in SHEETS.items()]
    found = [named for named in names if os.path.lexists(run.folder / named[0])][:MOST_CASES]
    return [_framed(run, *named, 640, False, None if named[0].endswith(".gif") else 1400) for named in found]


def of_test(run: Run, small: bool) -> list[dict[str, Any]]:
    """Translations of each test set, the worst and then the first, as groups: title, note, pictures.

    What results.json says of them is someone else's: names are shown, and never lead out of the run's own folder.
    """
    evaluation = run.results.get("evaluation")
    found = evaluation.items() if isinstance(evaluation, dict) else ()
    sets = [(name, said) for name, said in found if name.endswith("/worst") and isinstance(said, dict)][:MOST_SETS]
    return [group for name, said in sets for group in _groups(run, name.removesuffix("/worst"), said, small)]


def _groups(run: Run, name: str, said: dict[str, Any], small: bool) -> list[dict[str, Any]]:
    if "none" in said:
        return [{"title": f"{name}: the worst", "note": shortened(said["none"]), "pictures": []}]
    measure, largest = shortened(said.get("measure")), said.get("largest_difference")
    better = {"min": ", lower is better", "max": ", higher is better"}.get(str(said.get("better")), "")
    columns = said.get("columns")
    note = " | ".join(shortened(column) for column in columns[:MOST_SETS]) if isinstance(columns, list) else ""
    if is_number(largest):
        compared = shortened(said.get("difference"))
        note += f" | absolute difference of {compared}, from 0 (black) to {largest:.3g} (light) of the range of values"
    titles = {"worst": f"{name}: the worst by {measure}{better}", "first": f"{name}: the first, as they come"}
    groups = []
    for kind, title in titles.items():
        cases = said.get(kind)
        cases = [case for case in cases if isinstance(case, dict)] if isinstance(cases, list) else []
        shown = cases[: (FEW_CASES if kind == "worst" else 0) if small else MOST_CASES]
        if shown:
            pictures = [picture for place, case in enumerate(shown, 1) for picture in _case(run, case, place, small)]
            groups.append({"title": title, "note": note, "pictures": pictures})
    return groups


def _case(run: Run, case: dict[str, Any], place: int, small: bool) -> list[dict[str, Any]]:
    """A translation, under what it is called and what it scores, and where there is one the picture of its detail."""
    numbers = [f"{shortened(name)} {value:.4g}" for name, value in case.items() if is_number(value) and name != "index"]
    captions = {"picture": f"{shortened(case.get('name'))}: {', '.join(numbers[:MOST_SETS])}"}
    if "detail_picture" in case and not small:
        captions["detail_picture"] = f"{shortened(case.get('name'))}: {shortened(case.get('detail'), LONGEST_DETAIL)}"
    return [_framed_case(run, case.get(key), caption, f"{place}.", small) for key, caption in captions.items()]


def _framed_case(run: Run, file: Any, caption: str, name: str, small: bool) -> dict[str, Any]:
    if not isinstance(file, str) or not re.fullmatch(r"[\w-]{1,100}\.png", file, re.ASCII):
        return {"error": f"{caption}: {shortened(file)} is no picture of the test"}
    framed = _framed(run, f"{TEST_PICTURES}/{file}", caption, 900, small, reduce=1400)
    return framed if framed["error"] else {**framed, "name": name}


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


def _framed(run: Run, name: str, caption: str, width: int, small: bool, reduce: int | None = None) -> dict[str, Any]:
    """A picture that a click shows in full where it is larger, or the `error` of one that cannot be read."""
    try:
        picture = read(run, name, caption, width, WIDTH_OF_JOB if small else reduce)
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
