"""What a run left: its numbers, curves and pictures over time, and what went wrong."""

import base64
import math
import re
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ganforge.app import shared
from ganforge.files import untrusted
from ganforge.files.folders import natural_key
from ganforge.report import curves, figures, pictures
from ganforge.report import health as report_health
from ganforge.runs import folder, summary
from ganforge.runs.folder import Run

POINTS = 2000  # of a curve
_NUMBERS, _CURVES, _OVER_TIME, _TESTED, _SETTINGS = "Numbers", "Curves", "Over time", "Test pictures", "Settings"
_LATENT = "Latent space"
# Of lines, on light and on dark paper (Okabe and Ito 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_TESTED_AS = re.compile(r"([\w-]+)_(worst|first)_(\d+)(?:_detail)?\.png")
_MOST_PICTURES = 100
_WIDEST = 700  # px, of a picture that is not as wide as the page
_MOST_FOLDED = 30  # settings given; more are in the config


def show(run: Run) -> None:
    run = read(run)
    st.header(shared.escaped(run.name))
    facts(run)
    health(run)
    parts = {
        _NUMBERS: tables, _CURVES: draw_curves, _OVER_TIME: over_time, _TESTED: tested, _SETTINGS: settings
    }  # fmt: skip
    if (run.folder / folder.LATENT).is_dir():
        parts[_LATENT] = latent
    part = st.segmented_control("Show", list(parts), default=_NUMBERS, required=True, key="part")
    with shared.errors_said():
        parts[part](run)


def read(run: Run) -> Run:
    """As its folder is now; a training may go on."""
    now = folder.read(run.folder)
    now.name = run.name
    return now


def facts(run: Run) -> None:
    for column, (name, value) in zip(st.columns(4), _facts(run).items(), strict=False):
        column.metric(shared.escaped(name), value)
    st.caption(shared.escaped(_choices(run)))


def facts_in_a_line(run: Run) -> None:
    st.caption(shared.escaped(", ".join(f"{name} {value}" for name, value in _facts(run).items())))
    st.caption(shared.escaped(_choices(run)))


def _facts(run: Run) -> dict[str, str]:
    best = {} if run.score is None else {f"Best {run.monitor}": f"{run.score:.4g}"}
    seen = "–" if run.images is None else f"{run.images:,}"
    return {"State": run.state, **best, "Images seen": seen, "Time": folder.clock(run.duration) or "–"}


def _choices(run: Run) -> str:
    choices = {name: run.choices.get(name) for name in ("experiment", "model", "data")}
    return " ".join(f"{name}={choice}" for name, choice in choices.items() if choice)


def health(run: Run) -> None:
    """What went wrong, and the health of the game in the report's words."""
    if run.error:
        st.error(shared.sentence(run.error))
    if run.state == "interrupted":
        st.warning("The run was interrupted; the same command with resume=true goes on.")
    show = {"good": st.success, "warning": st.warning, "note": st.info}
    for kind, text in report_health.of_run(run, curves.read(run.folder / "metrics.csv", POINTS)):
        show[kind](shared.sentence(text))


def tables(run: Run) -> None:
    names = summary.test_names(run.results)
    if not names:
        st.info("There are no numbers of a test yet.")
        return
    try:
        found, notes = summary.of(run.results, names), summary.notes(run.results, names)
    except Exception:  # whatever stands in a file
        st.error("The numbers in results.json make no table; it was changed.")
        return
    for numbers in found:
        if numbers.rows:
            st.markdown(f"**{shared.escaped(numbers.title or 'Numbers')}**")
            cells = {title or " ": list(values) for title, values in
                     zip(["", *numbers.columns], zip(*numbers.rows, strict=False), strict=False)}  # fmt: skip
            wide_enough = {" ": st.column_config.Column(width="medium")}  # for names of numbers
            st.dataframe(cells, hide_index=True, width="content", column_config=wide_enough)
            if numbers.caption:
                st.caption(shared.escaped(numbers.caption))
    for note in notes:
        if not note.startswith("worst of "):  # with a folder of the server; they are under the test pictures
            st.caption(shared.sentence(note))


def draw_curves(run: Run) -> None:
    compared([run])


def compared(runs: Sequence[Run]) -> None:
    """Curves of one panel, of all these runs."""
    read_of = {run.name: curves.read(run.folder / "metrics.csv", POINTS) for run in runs}
    panels: dict[str, list[str]] = {}
    for found in read_of.values():
        for name in (name for name in found.points if not name.endswith(figures.COUNTS)):
            own = panels.setdefault(figures.panel(name), [])
            if name not in own:
                own.append(name)
    if not panels:
        st.info("There are no curves yet.")
        return
    own = figures.panel(runs[0].monitor or "")
    left, middle, right = st.columns(3)
    title = left.selectbox("Curves", list(panels), index=list(panels).index(own) if own in panels else 0, key="panel")
    names = panels[title]
    start = [runs[0].monitor] if runs[0].monitor in names else names[:4]
    chosen = middle.multiselect("Which", names, default=start, key=f"lines of {title}") if len(names) > 1 else names
    smooth = right.slider("Smoothing", 0.0, 0.99, 0.0, key="smoothing")
    lines = []
    for run, found in read_of.items():
        for name in chosen:
            if name in found.points:
                label = name if len(runs) == 1 else f"{run}: {name}"
                lines.append((label, found.points[name]))
    if not lines:
        st.info("Choose at least one curve.")
        return
    axis = {found.axis for found in read_of.values() if found.points}.pop()
    _plot(lines, axis, smooth)
    left_out = [found.left_out for found in read_of.values() if found.left_out]
    if left_out:
        st.caption(shared.escaped(f"Left out of metrics.csv: {'; '.join(left_out)}."))


def _plot(lines: Sequence[tuple[str, Sequence[tuple[float, float]]]], axis: str, smooth: float) -> None:
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (label, points) in enumerate(lines):
        x, y = zip(*points, strict=True)
        mode = "lines" if len(points) > 1 else "markers"
        colour = _COLOURS[number % len(_COLOURS)]
        figure.add_scatter(
            x=x, y=smoothed(y, smooth), name=untrusted.shortened(label, 80), mode=mode, line_color=colour
        )
    values = [y for _, points in lines for _, y in points if math.isfinite(y)]
    if values and min(values) == max(values):  # Plotly would draw a small constant at 0
        figure.update_yaxes(range=sorted([0, 2 * values[0]]) if values[0] else [-0.5, 1])
    titles = {"images": "images seen"}
    figure.update_layout(
        xaxis={"title": titles.get(axis, axis), "rangemode": "tozero"}, height=420, margin={"t": 20, "r": 10},
        showlegend=True, legend={"orientation": "h", "y": -0.25},
    )  # fmt: skip
    st.plotly_chart(figure, width="stretch", config={"displaylogo": False})


def smoothed(values: Sequence[float], share: float) -> list[float]:
    """Each value mixed with this share of the smoothed one before, without a bias at the start (as in Adam)."""
    mean, weight, found = 0.0, 0.0, []
    for value in values:
        mean, weight = share * mean + (1 - share) * value, share * weight + (1 - share)
        found.append(mean / weight)
    return found


def grids(run: Run) -> dict[int, str]:
    """The grids of its validations: images seen -> file in its folder."""
    names = (path.name for path in (run.folder / "samples").glob("images_*.png"))
    found = {int(match[1]): f"samples/{name}" for name in names if (match := re.fullmatch(r"images_(\d+)\.png", name))}
    return dict(sorted(found.items()))


def over_time(run: Run, key: str = "grid") -> None:
    found = grids(run)
    if not found:
        st.info("There are no pictures yet.")
        return
    seen = list(found)
    at = seen[-1]
    if len(seen) > 1:
        key_of = f"{key} of {run.folder}"
        at = st.select_slider("After so many images", seen, seen[-1], format_func="{:,}".format, key=key_of)
    shown(_read(run, found[at], f"after {at:,} images", 1200))
    if untrusted.is_file(run.folder, "samples/evolution.gif") and key == "grid":
        with st.expander("As a film"):
            shown(_read(run, "samples/evolution.gif", "from the first to the last validation", 512))


def tested(run: Run) -> None:
    """The worst and the first pictures of its test sets, as it wrote them."""
    names = sorted((path.name for path in (run.folder / pictures.TEST_PICTURES).glob("*.png")), key=natural_key)
    found = {name: match for name in names[:_MOST_PICTURES] if (match := _TESTED_AS.fullmatch(name))}
    if not found:
        st.info("The run kept no pictures of its test.")
    titles = {"worst": "the worst", "first": "the first, as they come"}
    captions = _captions(run)
    for title in sorted(
        {(match[1], match[2]) for match in found.values()}, key=lambda one: (one[0], one[1] != "worst")
    ):
        st.markdown(f"**{shared.escaped(title[0])}: {titles[title[1]]}**")
        for name, match in found.items():
            if (match[1], match[2]) == title:
                shown(_read(run, f"{pictures.TEST_PICTURES}/{name}", captions.get(name, f"number {match[3]}"), 900))


def _captions(run: Run) -> dict[str, str]:
    """What results.json says of the pictures of a test: file -> the name and the numbers of its case."""
    evaluation = run.results.get("evaluation")
    said = [part for part in evaluation.values() if isinstance(part, dict)] if isinstance(evaluation, dict) else []
    lists = [part[kind] for part in said for kind in ("worst", "first") if isinstance(part.get(kind), list)]
    captions = {}
    for case in (case for cases in lists for case in cases if isinstance(case, dict)):
        numbers = [f"{key} {value:.4g}" for key, value in case.items() if folder.is_number(value) and key != "index"]
        detail = f"{case.get('name')}: {case.get('detail')}"
        captions[str(case.get("detail_picture"))] = untrusted.shortened(detail, 400)
        captions[str(case.get("picture"))] = untrusted.shortened(f"{case.get('name')}: {', '.join(numbers)}")
    return captions


def _read(run: Run, name: str, caption: str, width: int) -> dict[str, Any]:
    """A picture in the run's folder, or the error of one that cannot be read."""
    try:
        return pictures.read(run, name, caption, width)
    except Exception as error:  # whatever stands in a file
        return {"error": f"{name} cannot be read ({type(error).__name__})."}


def latent(run: Run) -> None:
    """The sheets of ganforge interpolate, arithmetic, directions and project."""
    for picture in pictures.of_latent(run):
        shown(picture)


def shown(picture: dict[str, Any]) -> None:
    """A picture as `ganforge.report.pictures` gives it."""
    if picture.get("error"):
        st.warning(shared.sentence(picture["error"]))
        return
    width = picture["width"] if picture["width"] <= _WIDEST else "stretch"
    st.image(base64.b64decode(picture["content"]), width=width, caption=shared.escaped(picture["caption"]))


def settings(run: Run) -> None:
    if run.overrides:
        st.markdown("**Given on the command line**")
        st.code(" ".join(run.overrides[:_MOST_FOLDED]), language=None, wrap_lines=True)
    st.markdown("**All settings**")
    rows = {key: folder.plain(value) for key, value in run.settings.items()}
    st.dataframe({"setting": list(rows), "value": list(rows.values())}, hide_index=True, width="content")
