"""What script.js draws, as numbers: the curves of a run, and runs beside each other."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ganforge.report import curves, measures
from ganforge.runs.folder import Run, plain

POINTS = 2000  # of a curve, at most
POINTS_OF_JOB = 250  # of a curve of one of many runs

# Curves by the first pattern that their name begins with, in the order of the page.
PANELS = (
    ("train/d/(class_)?accuracy", "train/d: share told right"),
    ("train/d/logit", "train/d: mean logits"),
    ("train/[dg]/grad_norm", "train: gradient norms"),
    ("train/g/batch_", "train/g: diversity within a batch"),
    ("train/d/", "train/d: loss terms"),
    ("train/g/", "train/g: loss terms"),
    ("train/", "train: other"),
    ("lr/", "learning rates"),
)
ORDER = ["train/g: loss terms", "train/d: loss terms"]
COUNTS = ("/images", "generated_images", "/networks")


BAND = re.compile(r"val/disorder_([\d.]+)/(\w+)", re.ASCII)  # the same numbers of a band of disorder


def panel(name: str) -> str:
    """The title of the panel that a curve belongs to."""
    band = BAND.fullmatch(name)
    if band:
        return f"val/{band[2]} by disorder"
    for pattern, title in PANELS:
        if re.match(pattern, name):
            return title
    return "/".join(name.split("/")[:2])


def panels(run: Run, drawn_of: curves.Curves) -> dict[str, Any] | None:
    """The curves of a run in `panels`, each a title and its lines; left_out: what of metrics.csv was too much."""
    axis, found, left_out = drawn_of
    names_of: dict[str, list[str]] = {}
    bands = {band[1] for name in found if (band := BAND.fullmatch(name))}
    for name in found:
        of_band = name.startswith("val/disorder_")  # of one band alone they are the numbers of all
        if not name.endswith(COUNTS) and not (of_band and (len(bands) < 2 or not BAND.fullmatch(name))):
            names_of.setdefault(panel(name), []).append(name)
    validated = (title for title in names_of if title.startswith("val/"))
    order = [panel(run.monitor or ""), *ORDER, *validated, *(title for _, title in PANELS), *names_of]
    end = _end(found.values())
    best = run.results.get("best_checkpoint_images_seen")
    drawn = []
    for title in dict.fromkeys(title for title in order if title in names_of):
        names = names_of[title]
        lines = [_line(_short(name, title, len(names)), found[name]) for name in names]
        mark = best if title.startswith("val/") and isinstance(best, int) and axis == "images" else None
        drawn.append((_with_direction(title), framed(lines, axis, end=end, best=mark)))
    return {"panels": drawn, "left_out": left_out} if drawn else None


def _short(name: str, title: str, n: int) -> str:
    """A curve's name in its panel, without what the title says."""
    band = BAND.fullmatch(name)
    if band:
        return f"up to {band[1]}"
    if n == 1:
        return name
    short = name.removeprefix(f"{title.split(':')[0]}/")
    return short.removeprefix("lr/") if short != title else "all"


def _with_direction(title: str) -> str:
    """The title of a panel; of one of a measure with what is better."""
    better = measures.better(title.removeprefix("val/")) if title.startswith("val/") else ""
    return f"{title} ({better} is better)" if better else title


def _end(curves_: Iterable[Sequence[tuple[float, float]]]) -> float:
    return max((x for points in curves_ for x, _ in points), default=0)


def framed(
    lines: Sequence[dict[str, Any]], axis: str, *, end: float | None = None, best: float | None = None
) -> dict[str, Any]:
    """Lines (name, x, y) as script.js draws them, with the reach of both axes. best: where a mark stands.

    end: the largest x of all panels, so that their axes agree; None: of these lines.
    """
    end = max((x for line in lines for x in line["x"]), default=0) if end is None else end
    values = [y for line in lines for y in line["y"]]
    return {
        "kind": "lines", "axis": axis, "lines": lines, "best": best,
        "x_range": [_digits(-0.02 * end), _digits(1.02 * end)] if end > 0 else [-1, 1],
        "y_range": reach(min(values), max(values)) if values else [0, 1],
    }  # fmt: skip


def reach(low: float, high: float) -> list[float]:
    """From where to where an axis goes that shows values from `low` to `high`.

    A constant value is drawn between 0 and a little beyond it. Values of one sign of which the smallest is less than a
    third of the largest begin at 0; others have a twentieth of their spread on both sides.
    """
    size, spread = max(abs(low), abs(high)), high - low
    if size == 0:
        return [-0.05, 1]
    if spread <= 1e-6 * size:
        return [_digits(min(0.0, 1.2 * low)), _digits(max(0.0, 1.2 * high))]
    bottom, top = low - 0.05 * spread, high + 0.05 * spread
    if 0 <= low < high / 3:
        bottom = -0.02 * high  # a line at 0 is seen whole
    if low / 3 < high <= 0:
        top = -0.02 * low
    return [_digits(bottom), _digits(top)]


def _line(name: str, points: list[tuple[float, float]], **more: Any) -> dict[str, Any]:
    return {"name": name, "x": [_digits(x) for x, _ in points], "y": [_digits(y) for _, y in points], **more}


def _digits(value: float) -> float | int:
    """Six digits, which no screen shows more of; counts in full."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(f"{value:.6g}")


def of_each(scored: Sequence[Run], monitor: str) -> dict[str, Any] | None:
    """The compared number of each run over its training, the best run first."""
    lines, axis = [], "images"
    for rank, run in enumerate(scored):
        axis, found, _ = curves.read(run.folder / "metrics.csv", POINTS_OF_JOB)
        if monitor in found:
            lines.append(_line(run.name, found[monitor], rank=1 - rank / max(1, len(scored) - 1)))
    return framed(lines, axis) if lines else None


def cost(scored: Sequence[Run], monitor: str) -> dict[str, Any] | None:
    """The compared number of each run over the minutes it took, the best run first; None where one point is all."""
    points = [(run.name, run.duration / 60, run.score) for run in scored if run.duration and run.score is not None]
    if len(points) < 2:
        return None
    lines = [
        {"name": name, "x": [_digits(minutes)], "y": [_digits(score)], "rank": 1 - rank / (len(points) - 1)}
        for rank, (name, minutes, score) in enumerate(points)
    ]
    return {**framed(lines, "minutes of training"), "monitor": monitor}


def parallel(scored: Sequence[Run], keys: Sequence[str]) -> dict[str, Any] | None:
    """An axis for each setting that differs, and one for the score; None for a single run and where nothing differs."""
    settings = [run.settings for run in scored]
    axes = [axis(key, [values.get(key) for values in settings]) for key in keys]
    axes = [one for one in axes if len(set(one["places"])) > 1]
    if len(scored) < 2 or not axes:
        return None
    scores = axis(str(scored[0].monitor), [run.score for run in scored])
    if scored[0].mode == "min":  # the best is above
        scores["places"] = [1 - place for place in scores["places"]]
        scores["ticks"] = [(1 - place, text) for place, text in scores["ticks"]]
    return {"kind": "parallel", "axes": [*axes, scores], "names": [run.name for run in scored]}


def axis(label: str, values: Sequence[Any]) -> dict[str, Any]:
    """Where values stand from 0 to 1: names by the alphabet, numbers by size, or its logarithm where they span 30.

    places: of each value; texts: the values; ticks: (place, text).
    """
    texts = ["none" if value is None else plain(value) for value in values]
    if not all(sortable(value) is not None for value in values):
        names = sorted(set(texts))
        places = [names.index(text) / max(1, len(names) - 1) for text in texts]
        ticks = [(index / max(1, len(names) - 1), name) for index, name in enumerate(_shortened(names))]
        return {"label": label, "places": places, "texts": texts, "ticks": ticks}
    numbers = [float(value) for value in values]
    low, high = min(numbers), max(numbers)
    logarithmic = low > 0 and high / low >= 30

    def place(number: float) -> float:
        if low == high:
            return 0.5
        if logarithmic:
            return math.log(number / low) / math.log(high / low)
        return (number - low) / (high - low)

    shown = sorted(set(numbers))
    if len(shown) > 8:
        parts = [i / 5 for i in range(6)]
        shown = [low * (high / low) ** part if logarithmic else low + part * (high - low) for part in parts]
    ticks = []
    for number in shown:
        if not ticks or place(number) - ticks[-1][0] >= 0.06:
            ticks.append((_digits(place(number)), f"{number:.4g}" if len(shown) < 6 else f"{number:.3g}"))
    return {"label": label, "places": [_digits(place(number)) for number in numbers], "texts": texts, "ticks": ticks}


def sortable(value: Any) -> float | None:
    """Not NaN, nor so large that differences and ratios are no numbers."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and (value == 0 or 1e-100 < abs(value) < 1e100) else None


def _shortened(names: Sequence[str], most: int = 18) -> list[str]:
    """Names that fit beside an axis: of dotted ones the last parts, where these differ; else the ends."""
    if any(len(name) > most for name in names):
        parts = [name.rpartition(".")[2] for name in names]
        names = parts if len(set(parts)) == len(names) else names
    return [name if len(name) <= most else f"…{name[1 - most :]}" for name in names]
