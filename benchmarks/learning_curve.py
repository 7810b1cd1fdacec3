"""Validation over training minutes: python benchmarks/learning_curve.py RUN... [--output curve.png]

Prints a Markdown table of val/bond_f1 and val/network_exact of each run, and draws both. metrics.csv counts pictures; a
minute is as many as the run saw in one on average (images_per_second of results.json: while training, without
validation and test). Other columns: --columns val/l1.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ganforge.errors import UserError
from ganforge.report import curves
from ganforge.runs.folder import Run, read

WIDE, HIGH, EDGE = 640, 360, 56  # px of a panel, and of its border for the labels
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
MOST = 2000  # points of a curve

Curve = list[tuple[float, float]]


def over_minutes(run: Run, column: str) -> Curve:
    """(minutes of training, value) of each validation."""
    axis, points, _ = curves.read(run.folder / "metrics.csv", MOST)
    speed = run.results.get("images_per_second")
    if axis != "images" or column not in points or not speed:
        raise SystemExit(f"{run.folder}: has no {column} over images and a speed in results.json; give a finished run")
    return [(images / speed / 60, value) for images, value in points[column]]


def table(found: dict[str, dict[str, Curve]]) -> str:
    """found: run, column -> curve. A row a validation, the runs below each other."""
    columns = list(next(iter(found.values())))
    lines = [f"| run | minutes | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for name, of_run in found.items():
        for row in zip(*of_run.values(), strict=True):
            values = " | ".join(f"{value:.4f}" for _, value in row)
            lines.append(f"| {name} | {row[0][0]:.1f} | {values} |")
    return "\n".join(lines)


def panel(title: str, lines: dict[str, Curve]) -> Image.Image:
    """Curves over minutes, from the lowest value to the highest one."""
    page = Image.new("RGB", (WIDE + 2 * EDGE, HIGH + 2 * EDGE), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    end = max(x for line in lines.values() for x, _ in line) or 1.0
    seen = [y for line in lines.values() for _, y in line]
    low, high = min(seen), max(seen)
    room = 0.05 * (high - low or 1)
    low, high = low - room, high + room

    def at(x: float, y: float) -> tuple[float, float]:
        return EDGE + WIDE * x / end, EDGE + HIGH * (high - y) / (high - low)

    for tick in range(6):
        y, x = low + (high - low) * tick / 5, end * tick / 5
        pen.line([at(0, y), at(end, y)], fill="#dddddd")
        pen.text((EDGE - 6, at(0, y)[1]), f"{y:.3g}" if high - low > 0.05 else f"{y:.4f}", "black", font, anchor="rm")
        pen.text((at(x, low)[0], EDGE + HIGH + 6), f"{x:.1f}", "black", font, anchor="ma")
    pen.text((EDGE + WIDE / 2, HIGH + 2 * EDGE - 4), "minutes of training", "black", font, anchor="mb")
    pen.text((EDGE, EDGE - 10), title, "black", font, anchor="ls")
    for place, (name, line) in enumerate(lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        pen.line([at(x, y) for x, y in line], fill=colour, width=2)
        pen.text((EDGE + WIDE, EDGE - 10 - 18 * place), name, colour, font, anchor="rs")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--columns", default="val/bond_f1,val/network_exact", help="(default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("learning_curve.png"), help="(default %(default)s)")
    options = parser.parse_args()
    try:
        runs = [read(folder) for folder in options.runs]
    except UserError as error:
        raise SystemExit(str(error)) from error
    columns = options.columns.split(",")
    named = [run.name for run in runs]
    names = [name if named.count(name) == 1 else str(run.folder) for name, run in zip(named, runs, strict=True)]
    found = {
        name: {column: over_minutes(run, column) for column in columns} for name, run in zip(names, runs, strict=True)
    }
    print(table(found))
    panels = [panel(column, {name: of_run[column] for name, of_run in found.items()}) for column in columns]
    page = Image.new("RGB", (sum(one.width for one in panels), panels[0].height), "white")
    for place, one in enumerate(panels):
        page.paste(one, (place * one.width, 0))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    page.save(options.output)
    print(options.output)


if __name__ == "__main__":
    main()
