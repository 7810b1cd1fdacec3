"""A study as one HTML file: the verdict, the arms beside each other, curves over the shots, what the GANs drew."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge.files.folders import replace
from ganforge.report import figures, page, pictures

_LEFT, _WIDTH, _ROW = 240, 460, 26  # px of the forest plot: its labels, its axis, a line


def write(folder: Path, numbers: Mapping[str, Any], said: Mapping[str, str]) -> Path:
    """Write report.html of a study (numbers: its study.json) and return its path. said: of each arm, in words."""
    shown = {
        "verdict": numbers["verdict"],
        "primary": numbers["primary"],
        "forest": forest(numbers),
        "curves": curves(numbers),
        "rows": numbers["table"],
        "gans": _gans(numbers),
        "equivalent": {shots: value for shots, value in numbers["equivalent_real_pictures"].items() if value},
        "said": said,
        "seeds": numbers["seeds"],
        "examples": _examples(folder),
    }
    titles = {"arms": "Arms", "curves": "More real pictures", "gans": "The generators", "examples": "Pictures"}
    has = {"arms": True, "curves": bool(shown["curves"]), "gans": bool(shown["gans"]), "examples": shown["examples"]}
    sections = {name: title for name, title in titles.items() if has[name]}
    path = folder / "report.html"
    title = f"Study of augmentation: {folder.resolve().name}"
    html = page.render("study.html", title=title, sections=sections, **shown)
    with replace(path) as file:
        file.write(html.encode("utf-8", errors="replace"))
    return path


def forest(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Each comparison as a line on an axis of points, the primary one first: places in px."""
    primary = numbers["primary"]
    rows = [{**primary, "p_holm": primary["p"], "is_primary": True}, *numbers["comparisons"]]
    ends = [100 * value for row in rows for value in (row["mean"], *row["interval"]) if value is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    step = 10 ** math.floor(math.log10(max(high - low, 0.1)))
    step = step / 2 if (high - low) / step < 3 else step
    low, high = math.floor(low / step) * step, max(math.ceil(high / step), math.floor(low / step) + 1) * step

    def place(points: float) -> float:
        return round(_LEFT + _WIDTH * (points - low) / (high - low), 1)

    lines = [
        {
            "label": f"{row['arm']}, {row['shots']} shots",
            "y": _ROW * (number + 1),
            "middle": place(100 * row["mean"]),
            "ends": [place(100 * end) for end in row["interval"]] if None not in row["interval"] else None,
            "text": f"{100 * row['mean']:+.1f}, p {row['p_holm']:.3f}",
            "is_primary": row.get("is_primary", False),
        }
        for number, row in enumerate(rows)
    ]
    ticks = [low + step * number for number in range(round((high - low) / step) + 1)]
    return {
        "lines": lines, "ticks": [(place(tick), f"{tick:+.3g}" if tick else "0") for tick in ticks], "zero": place(0.0),
        "height": _ROW * (len(rows) + 2), "width": _LEFT + _WIDTH + 140, "against": primary["against"],
        "figure": primary["figure"].replace("macro_f1", "macro-F1"), "text_at": _LEFT + _WIDTH + 14,
    }  # fmt: skip


def curves(numbers: Mapping[str, Any]) -> dict[str, Any] | None:
    """The mean figure of each arm over the number of real pictures a class; None for one number alone."""
    figure = numbers["primary"]["figure"]
    points: dict[str, list[tuple[int, float]]] = {}
    for row in numbers["table"]:
        points.setdefault(row["arm"], []).append((row["shots"], row[figure]["mean"]))
    shots = sorted({row["shots"] for row in numbers["table"]})
    if len(shots) < 2:
        return None
    lines = [
        {"name": arm, "x": [x for x, _ in sorted(own)], "y": [round(y, 6) for _, y in sorted(own)]}
        for arm, own in points.items()
    ]
    return figures.framed(lines, "real pictures a class")


def _gans(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    correlations = numbers["rank_correlation_with_gain"]
    names = {
        "memorized": "share of samples that are near copies of training pictures",
        "fd": "Fréchet distance on the features of the classifier (smaller is better)",
        "gan_test": "share of samples whose class a classifier of real pictures tells",
        "minutes": "minutes of training",
    }
    return [
        {"name": names.get(name, name), "values": values, "correlation": correlations.get(name)}
        for name, values in numbers["gan"].items()
    ]


def _examples(folder: Path) -> dict[str, Any] | None:
    if not (folder / "examples.png").is_file():
        return None
    return pictures.read_file(folder, "examples.png", "real and generated pictures, a row a class", 1280)
