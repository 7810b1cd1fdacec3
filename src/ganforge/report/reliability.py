"""The reliability diagram of the bonds' probabilities, as places in an SVG: what was said, and what came true."""

from typing import Any

from ganforge.files.untrusted import shortened
from ganforge.report import opening, pictures
from ganforge.runs.folder import Run, is_number

SIDE, LEFT, TOP = 300, 56, 14  # px, as in parts.html
MOST_BINS, MOST_SETS = 50, 8


def of_run(run: Run) -> list[dict[str, Any]]:
    """A diagram for each test set whose probabilities were judged; of older runs the picture that they drew."""
    evaluation = run.results.get("evaluation")
    found = evaluation.items() if isinstance(evaluation, dict) else ()
    shown = []
    for name, said in found:
        if not name.endswith("/networks") or not isinstance(said, dict) or name.startswith(("final/", "val/")):
            continue
        test = name.removesuffix("/networks")
        points = [_point(row) for row in said["reliability"][:MOST_BINS]] if _is_list(said.get("reliability")) else []
        points = [point for point in points if point]
        picture = None if points else _picture(run, said.get("reliability/picture"))
        if points or picture:
            drawn = {"points": points, "ticks": [(at, *_place(at, at)) for at in (0, 0.25, 0.5, 0.75, 1)]}
            shown.append({"title": shortened(test), **drawn, "picture": picture, "verdict": _verdict(run, test)})
    return shown[:MOST_SETS]


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _place(x: float, y: float) -> tuple[float, float]:
    return round(LEFT + SIDE * x, 1), round(TOP + SIDE * (1 - y), 1)


def _point(row: Any) -> dict[str, Any] | None:
    """A bin: mean probability, share that are bonds, its interval, number of pairs; None for what is none."""
    if not (_is_list(row) and len(row) == 5 and all(is_number(value) for value in row)):
        return None
    said, share, low, high, count = row
    if not all(0 <= value <= 1 for value in row[:4]) or not 0 < count < 2**53:
        return None
    (x, y), (_, bottom), (_, top) = _place(said, share), _place(said, low), _place(said, high)
    text = f"said {said:.0%}, true {share:.0%} of {count:,.0f} pairs (95 %: {low:.0%} to {high:.0%})"
    return {"x": x, "y": y, "top": top, "bottom": bottom, "text": text}


def _picture(run: Run, path: Any) -> dict[str, Any] | None:
    """The diagram that a run drew itself, from its own folder, whatever path it says."""
    name = path.replace("\\", "/").rpartition("/")[2] if isinstance(path, str) else ""
    if not name.startswith("reliability_") or not name.endswith(".png"):
        return None
    try:
        return pictures.read(run, f"samples/{name}", "reliability diagram", 400)
    except Exception:  # whatever stands in a file
        return None


def _verdict(run: Run, test: str) -> str:
    error, chance, count = (
        run.results.get(f"{test}/{name}") for name in ("calibration_error", "calibration_error_by_chance", "doubtful")
    )
    if not is_number(count):
        return ""
    if not is_number(error) or not is_number(chance):
        return "No pair of sites was doubtful." if count == 0 else ""
    text = f"Off by {opening.said(error)} on average, where chance alone would give {opening.said(chance)}"
    judged = "no more than chance explains" if error <= 1.5 * chance else "more than chance explains"
    few = "; so few pairs say little" if count < 50 else ""
    return f"{text}: {judged}, from {count:,.0f} doubtful pairs of sites{few}."
