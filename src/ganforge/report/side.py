"""The same latents or the same pictures through several runs, a row a run."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ganforge.files import untrusted
from ganforge.files.untrusted import shortened
from ganforge.report import pictures
from ganforge.runs.folder import Run

MOST_RUNS, MOST_PICTURES = 8, 8
WIDTH = 132  # px of a picture
_PADDING, _SCALE, _HEADING = 4, 48, (8, 90)  # px of the rows of pictures that a test leaves, see `WorstCases`
_LARGEST = 256  # px that pictures are shown at in these, at most

# (runs, pictures to translate or None for the same latents) -> of each run its pictures, or why there are none.
Draw = Callable[[Sequence[Run], Sequence[np.ndarray] | None], list[list[np.ndarray] | str]]
Row = dict[str, Any]


def of_runs(ranked: Sequence[Run], draw: Draw | None) -> dict[str, Any] | None:
    """note; columns: what is drawn; rows: name, cells (pictures), error. None where nothing can be compared."""
    runs = [run for run in ranked if run.results or run.score is not None][:MOST_RUNS]
    if len(runs) < 2:
        return None
    translating = {pictures.translates(run) for run in runs}
    if len(translating) > 1:
        return None
    shown = _translations(runs, draw) if translating == {True} else _latents(runs, draw)
    if shown and len(ranked) > len(runs):
        shown["note"] += f" {len(runs)} of {len(ranked)} runs, the best ones that have a number."
    return shown


def _latents(runs: Sequence[Run], draw: Draw | None) -> dict[str, Any] | None:
    if draw is None:
        return None
    rows = _rows(runs, draw(runs, None))
    if not any(row["cells"] for row in rows):
        return None
    note = "Drawn for this page by the best weights of each run, from the same latents: a column is one latent."
    return {"note": note, "columns": [f"latent {number}" for number in range(MOST_PICTURES)], "rows": rows}


def _translations(runs: Sequence[Run], draw: Draw | None) -> dict[str, Any] | None:
    cases = _cases(runs[0])
    if not cases:
        return None
    names = [shortened(case["name"], 40) for case in cases]
    prints = {run.results.get("data_fingerprint") for run in runs}
    sources = [case["pictures"][0] for case in cases]
    if len(prints) == 1 and None not in prints:
        note = "The first pictures of the test, which is the same for all of these runs: a column is one picture."
        of_each: list[list[np.ndarray] | str] = []
        for run in runs:
            own = {case["index"]: case["pictures"][1] for case in _cases(run)}
            found = [own.get(case["index"]) for case in cases]
            of_each.append("it kept none of these" if any(one is None for one in found) else found)
    elif draw is not None:
        note = (
            "The data of these runs differ, so the first pictures of the best run's test were translated for this page "
            "by the best weights of each: a column is one picture."
        )
        sources = [_own_size(runs[0], source) for source in sources]
        if any(source is None for source in sources):
            return None
        of_each = draw(runs, sources)
    else:
        return None
    targets = [case["pictures"][2] for case in cases if len(case["pictures"]) > 2]
    rows = _rows(runs, of_each)
    if not any(row["cells"] for row in rows):
        return None
    rows = [_row("source", sources), *rows]
    rows += [_row("target", targets)] if len(targets) == len(cases) else []
    return {"note": note, "columns": names, "rows": rows}


def _rows(runs: Sequence[Run], of_each: Sequence[list[np.ndarray] | str]) -> list[Row]:
    rows = []
    for run, found in zip(runs, of_each, strict=True):
        score = "" if run.score is None else f"{run.score:.4g}"
        if isinstance(found, str):
            rows.append({"name": run.name, "score": score, "cells": [], "error": shortened(found)})
        else:
            rows.append({**_row(run.name, found), "score": score})
    return rows


def _row(name: str, found: Sequence[np.ndarray]) -> Row:
    cells = [pictures.shown(Image.fromarray(_plain(picture)), name, WIDTH) for picture in found[:MOST_PICTURES]]
    return {"name": name, "score": "", "cells": cells, "error": None}


def _plain(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) of (H, W, C), whatever its type and number of bands."""
    if picture.dtype != np.uint8:
        low, high = float(np.nanmin(picture)), float(np.nanmax(picture))
        picture = np.nan_to_num((picture - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    if picture.ndim == 2:
        return picture
    return picture[..., 0] if picture.shape[2] < 3 else np.ascontiguousarray(picture[..., :3])


def _cases(run: Run) -> list[dict[str, Any]]:
    """The first pictures of a test: index, name, and source, result and, where there is one, target."""
    said = next((said for name, said in pictures.tests(run) if name == "test"), {})
    columns = said.get("columns")
    if not isinstance(columns, list) or not 2 <= len(columns) <= 16:
        return []
    wanted = [0, 1, *([columns.index("target")] if "target" in columns else [])]
    many = len(columns) + (said.get("difference") is not None)
    found = []
    for case in pictures.cases_of(said, "first")[:MOST_PICTURES]:
        cut = _cut(run, case.get("picture"), many, wanted, said.get("difference") is not None)
        if cut is not None:
            found.append({"index": case.get("index"), "name": case.get("name"), "pictures": cut})
    return found


def _cut(run: Run, file: Any, many: int, wanted: Sequence[int], has_scale: bool) -> list[np.ndarray] | None:
    """Some of the square pictures that stand in a row under a heading; None where the picture is none of these."""
    if not pictures.is_test_picture(file):
        return None
    try:
        content = untrusted.read_bytes(run.folder, f"{pictures.TEST_PICTURES}/{file}", 4_000_000)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            width, height = opened.size
            side, rest = divmod(width - _PADDING - _SCALE * has_scale, many)
            side -= _PADDING
            if rest or not 0 < side <= 2 * _LARGEST or not _HEADING[0] <= height - side - 2 * _PADDING <= _HEADING[1]:
                return None
            page = np.asarray(opened.convert("RGB"))
    except Exception:  # whatever stands in a file
        return None
    top = height - side - _PADDING
    lefts = [_PADDING + place * (side + _PADDING) for place in wanted]
    return [page[top : top + side, left : left + side] for left in lefts]


def _own_size(run: Run, picture: np.ndarray) -> np.ndarray | None:
    """A picture as large as the data had it, where it was enlarged for the page; None where it was reduced."""
    data = run.config.get("data")
    size = data.get("size") if isinstance(data, dict) else None
    if not isinstance(size, int) or size < 1 or len(picture) % size or len(picture) < size:
        return None
    times = len(picture) // size
    return np.ascontiguousarray(picture[::times, ::times])
