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
WIDTH_OF_FRAME = 800  # px; grids over time
MOST_FRAMES = 24
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


def of_run(run: Run, small: bool) -> dict[str, Any] | None:
    """The grids over time as `frames` of a slider, and what else was drawn; small: only what fits among many runs."""
    shown = frames(run, WIDTH_OF_JOB if small else WIDTH_OF_FRAME, 2 if small else MOST_FRAMES)
    kept = [("samples/evolution.png", "from the first validation to the last, after so many images", 1280)]
    others = [] if small else [_framed(run, *one, small) for one in kept if os.path.lexists(run.folder / one[0])]
    said = "the same validation pictures" if translates(run) else "drawn from the same noise each time"
    return {"frames": shown, "said": said, "others": others} if shown or others else None


def translates(run: Run) -> bool:
    data = run.config.get("data")
    return isinstance(data, dict) and "source_channels" in data


def frames(run: Run, width: int, most: int) -> list[dict[str, Any]]:
    """At most `most` of the grids of a run, from the first to the last, with the images that were seen at each."""
    found = _grids(run)
    if len(found) > most:
        kept = {round(place * (len(found) - 1) / max(1, most - 1)) for place in range(most)} if most > 1 else {0}
        best = next((place for place, name in enumerate(found) if seen(name) == _best(run)), None)
        found = [found[place] for place in sorted(kept | ({best} if best is not None else set()))]
    shown = []
    for name in found:
        after = seen(name)
        caption = (f"after {after:,} images" if after is not None else name) + ", the best" * (after == _best(run))
        shown.append({**_framed(run, name, caption, width, False, reduce=width), "name": ""})
    return shown


def best(run: Run) -> dict[str, Any] | None:
    """The grid of the weights that were best, or the newest; None where there is none that can be read."""
    found = _grids(run)
    name = next((name for name in found if seen(name) == _best(run)), found[-1] if found else None)
    if name is None:
        return None
    when = f"after {seen(name):,} images" if seen(name) is not None else "the newest grid"
    said = "validation pictures" if translates(run) else "generated pictures"
    shown = _framed(run, name, f"{said}, {when}" + ", the best" * (seen(name) == _best(run)), 520, False, reduce=1040)
    return None if shown["error"] else {**shown, "name": ""}


def _best(run: Run) -> int | None:
    found = run.results.get("best_checkpoint_images_seen")
    return found if isinstance(found, int) else -1


def seen(name: str) -> int | None:
    """How many images had been seen at the grid images_000012000.png."""
    found = re.search(r"images_(\d{1,15})\.png$", name, re.ASCII)
    return int(found[1]) if found else None


def _grids(run: Run) -> list[str]:
    return sorted(f"samples/{path.name}" for path in (run.folder / "samples").glob("images_*.png"))


def of_real(run: Run) -> dict[str, Any] | None:
    """Real pictures beside generated ones: pictures, each with what it is, and a note."""
    kept = [
        ("samples/real.png", "real pictures", 640),
        (last_grid(run), "generated pictures", 640),
        ("samples/nearest.png", "generated pictures that are nearest to a training picture (left), and these", 640),
    ]
    names = [name for name, *_ in kept if name and os.path.lexists(run.folder / name)]
    if not {"samples/real.png", "samples/nearest.png"} & set(names):
        return None
    return {"pictures": [_framed(run, *one, False, reduce=1400) for one in kept if one[0] in names]}


def of_latent(run: Run) -> list[dict[str, Any]]:
    """The sheets and films that ganforge interpolate, arithmetic, directions and project left in the run's folder."""
    below = itertools.islice((run.folder / LATENT).glob("*/"), MOST_FOLDERS)
    folders = [LATENT, *sorted(f"{LATENT}/{folder.name}" for folder in below)]
    names = [(f"{folder}/{sheet}", caption) for folder in folders for sheet, caption in SHEETS.items()]
    found = [named for named in names if os.path.lexists(run.folder / named[0])][:MOST_CASES]
    return [_framed(run, *named, 640, False, None if named[0].endswith(".gif") else 1400) for named in found]


def of_test(run: Run, small: bool) -> dict[str, list[dict[str, Any]]]:
    """Translations of each test set: "worst", and "first", as they come; groups of title, note, pictures.

    What results.json says of them is someone else's: names are shown, and never lead out of the run's own folder.
    """
    groups: dict[str, list[dict[str, Any]]] = {"worst": [], "first": []}
    for name, said in tests(run):
        for kind, group in _groups(run, name, said, small):
            groups[kind].append(group)
    return groups


def tests(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """What results.json says of the pictures of each test set."""
    evaluation = run.results.get("evaluation")
    found = evaluation.items() if isinstance(evaluation, dict) else ()
    sets = [(name, said) for name, said in found if name.endswith("/worst") and isinstance(said, dict)][:MOST_SETS]
    return [(name.removesuffix("/worst"), said) for name, said in sets]


def cases_of(said: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = said.get(kind)
    return [case for case in found if isinstance(case, dict)] if isinstance(found, list) else []


def _groups(run: Run, name: str, said: dict[str, Any], small: bool) -> list[tuple[str, dict[str, Any]]]:
    if "none" in said:
        return [("worst", {"title": name, "note": shortened(said["none"]), "pictures": []})]
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
        cases = cases_of(said, kind)
        shown = cases[: (FEW_CASES if kind == "worst" else 0) if small else MOST_CASES]
        left_out = ""
        if kind == "worst":
            perfect = {"max": 1.0, "min": 0.0}.get(str(said.get("better")))
            shown = [case for case in shown if case.get(measure) != perfect]
            none = len(shown) == 0 and len(cases) > 0
            left_out = (
                f"no picture of the test has a worse {measure} than {perfect:g}, the best there is" if none else ""
            )
            if not none and len(shown) < len(cases) and not small:
                left_out = f"all others have a {measure} of {perfect:g}, the best there is"
        if shown or left_out:
            pictures = [_case(run, case, place, small) for place, case in enumerate(shown, 1)]
            pictures += [_detail(run, case, place) for place, case in enumerate(shown, 1) if _has_detail(case, small)]
            said_of = [text for text in (note if shown else "", left_out) if text]
            groups.append((kind, {"title": title, "note": "; ".join(said_of), "pictures": pictures}))
    return groups


def _case(run: Run, case: dict[str, Any], place: int, small: bool) -> dict[str, Any]:
    """A translation, under what it is called and what it scores."""
    numbers = [f"{shortened(name)} {value:.4g}" for name, value in case.items() if is_number(value) and name != "index"]
    caption = f"{shortened(case.get('name'))}: {', '.join(numbers[:MOST_SETS])}"
    return _framed_case(run, case.get("picture"), caption, f"{place}.", small)


def _has_detail(case: dict[str, Any], small: bool) -> bool:
    return "detail_picture" in case and not small


def _detail(run: Run, case: dict[str, Any], place: int) -> dict[str, Any]:
    """The picture of a translation's detail, such as its bonds and mechanics."""
    caption = f"{shortened(case.get('name'))}: {shortened(case.get('detail'), LONGEST_DETAIL)}"
    return {**_framed_case(run, case.get("detail_picture"), caption, f"{place}.", False), "is_detail": True}


def _framed_case(run: Run, file: Any, caption: str, name: str, small: bool) -> dict[str, Any]:
    if not is_test_picture(file):
        return {"error": f"{caption}: {shortened(file)} is no picture of the test"}
    framed = _framed(run, f"{TEST_PICTURES}/{file}", caption, 900, small, reduce=1400)
    return framed if framed["error"] else {**framed, "name": name}


def is_test_picture(file: Any) -> bool:
    """Whether it is a plain name as those of the test's pictures are."""
    return isinstance(file, str) and re.fullmatch(r"[\w-]{1,100}\.png", file, re.ASCII) is not None


def shown(picture: Image.Image, caption: str, width: int) -> dict[str, Any]:
    """A picture that is no file of a run, `width` px wide; small ones as PNG, pixel by pixel."""
    written = io.BytesIO()
    small = picture.width <= width
    if not small:
        size = (width * 2, max(1, round(picture.height * width * 2 / picture.width)))
        picture = picture.resize(size, Image.Resampling.LANCZOS) if picture.width > size[0] else picture
    picture.save(written, "PNG") if small else picture.convert("RGB").save(written, "WEBP", quality=88)
    sides = {"width": width, "height": max(1, round(picture.height * width / picture.width)), "enlarged": small}
    content = base64.b64encode(written.getvalue()).decode()
    return {"kind": KINDS["PNG" if small else "WEBP"], "content": content, "caption": caption, **sides}


def thumbnail(run: Run) -> dict[str, Any] | None:
    """The newest grid, as small as a card; None where there is none that can be read, as the run's own section says."""
    name = last_grid(run)
    try:
        return read(run, name, run.name, WIDTH_OF_THUMBNAIL, WIDTH_OF_THUMBNAIL) if name else None
    except Exception:  # whatever stands in a file
        return None


def last_grid(run: Run) -> str | None:
    """The newest of the pictures that a run wrote at its validations, from its folder."""
    return next(reversed(_grids(run)), None)


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
