"""A run or a sweep as one HTML file, read in a browser without a network: numbers, pictures, curves, settings."""

import base64
import io
import itertools
import json
import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

import ganforge
from ganforge.errors import UserError, require
from ganforge.files import untrusted
from ganforge.files.folders import make_writable, replace
from ganforge.files.untrusted import printable
from ganforge.report import curves
from ganforge.runs import summary
from ganforge.runs import table as runs
from ganforge.runs.table import Run

HERE = Path(__file__).parent
# The page may run what is inside it and load nothing from outside, whatever the files of a run contain.
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; worker-src blob:"
)
POINTS = 2000  # of a curve, at most
POINTS_OF_JOB = 250  # of a curve of one of many runs
WIDTH_OF_JOB = 720  # px; pictures of one of many runs are made this small
WIDTH_OF_THUMBNAIL = 240  # px
MOST_NUMBERS = 2000  # of results.json, in tables
MOST_COLUMNS = 50  # of settings, in a ranking
MOST_BYTES = 64_000_000  # of a picture
MOST_PIXELS = 64_000_000

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
# What results.json says of a run elsewhere than under "environment".
ELSEWHERE = {
    "evaluation", "images_seen", "best_checkpoint_images_seen", "images_per_second", "duration_s", "best_checkpoint",
    "last_checkpoint", "grid", "warnings", "run_dir",
}  # fmt: skip
KINDS = {"PNG": "image/png", "GIF": "image/gif", "JPEG": "image/jpeg", "WEBP": "image/webp"}


class Html(str):
    """Text that is HTML already; any other text is escaped where it becomes part of a page."""


def element(name: str, *children: Any, **attributes: Any) -> Html:
    """<name attribute="...">children</name>; `class_` is class, `data_x` is data-x, and None is no attribute."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}>{join(children)}</{name}>")


def join(children: Iterable[Any]) -> Html:
    return Html(
        "".join(child if isinstance(child, Html) else escape(printable(child, lines=True)) for child in children)
    )


def write(folder: str | Path, *, output: str | Path | None = None, overwrite: bool = False) -> Path:
    """Write the report of the run in `folder`, or of all runs below it, and return its path.

    output: an HTML file, by default report.html in the folder. Raises UserError for folders without runs and for a file
    that is there without `overwrite`.
    """
    folder = Path(folder)
    require(folder.is_dir(), f"{folder}: no such folder; give that of a run or a sweep, such as one in lightning_logs")
    path = folder / "report.html" if output is None else Path(output)
    require(not path.is_dir(), f"--output {path}: is a folder; give a file, such as {path / 'report.html'}")
    require(overwrite or not path.exists(), f"{path}: is already there; use --overwrite, or --output for another file")
    single = runs.is_run(folder)
    found = [runs.read(folder)] if single else runs.find(folder)
    require(bool(found), f"{folder}: no run in it or below it")
    make_writable(path.parent, f"--output {path}" if output is not None else str(folder))
    html = of_run(found[0]) if single else of_sweep(found, folder.resolve().name)
    with replace(path) as file:
        file.write(html.encode("utf-8", errors="replace"))
    return path


def of_run(run: Run) -> str:
    """The page of one run."""
    head = element("header", element("h1", run.name), _subtitle(run), _facts(run), *_remarks(run))
    sections = _sections(run, "h3")
    links = [element("a", title, href=f"#{name}") for name, title, _ in sections]
    blocks = [
        element("section", element("h2", title), content, id=name, class_=f"of-{name}")
        for name, title, content in sections
    ]
    return _page(run.name, head, element("nav", *links), *blocks)


def of_sweep(found: Sequence[Run], title: str) -> str:
    """The page of several runs: ranked, compared, then each."""
    ranked = runs.rank(found)
    keys = runs.differing(ranked)
    more, keys = len(keys) - MOST_COLUMNS, keys[:MOST_COLUMNS]
    states = Counter(run.state for run in ranked)
    said = ", ".join(f"{states[state]} {state}" for state in runs.STATES if states[state])
    lead = [f"{len(ranked)} runs: {said}." if len(ranked) > 1 else f"1 run: {said}."]
    best = ranked[0]
    if best.score is not None:
        better = {"min": "smaller", "max": "larger"}[best.mode or "min"]
        lead.append(f"The best: {best.name}, with {best.monitor} {best.score:.4g} ({better} is better).")
    if more > 0:
        lead.append(f"They differ in {more} more settings: ganforge runs --csv.")
    in_all = set(ranked[0].overrides).intersection(*(run.overrides for run in ranked))
    common = [override for override in ranked[0].overrides if override in in_all]
    head = element(
        "header",
        element("h1", title),
        element("p", " ".join(lead), class_="lead"),
        *([element("p", "Equal in all: ", element("code", " ".join(common)))] if common else []),
    )
    sections = [("ranking", "Ranking", _ranking(ranked, keys))]
    compared = _compared(ranked, keys)
    if compared:
        sections.append(("comparison", "Comparison", compared))
    cards = _cards(ranked)
    if cards:
        sections.append(("grids", "Last grids", cards))
    sections.append(("runs", "Each run", join(_job(run, place) for place, run in enumerate(ranked, 1))))
    links = [element("a", text, href=f"#{name}") for name, text, _ in sections]
    blocks = [
        element("section", element("h2", text), content, id=name, class_=f"of-{name}")
        for name, text, content in sections
    ]
    return _page(title, head, element("nav", *links), *blocks)


def _page(title: str, *body: Html) -> str:
    from plotly.offline import get_plotlyjs

    style, script = ((HERE / f"page.{ending}").read_text() for ending in ("css", "js"))
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")
    foot = element("footer", f"Written {now} by ganforge {ganforge.__version__}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY, quote=False)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"{element('title', title)}\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join((*body, foot))
        + f"\n<script>{get_plotlyjs()}</script>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _job(run: Run, place: int) -> Html:
    """A run of a sweep, folded away."""
    score = "" if run.score is None else f"{run.monitor} {run.score:.4g}"
    head = element(
        "summary",
        element("span", place, class_="place"),
        element("span", run.name, class_="name"),
        _badge(run.state),
        element("span", score, class_="score"),
    )
    parts = [element("div", element("h3", title), content) for _, title, content in _sections(run, "h4", small=True)]
    return element(
        "details", head, _subtitle(run), _facts(run), *_remarks(run), *parts, id=f"job-{place}", class_="job"
    )


def _sections(run: Run, heading: str, small: bool = False) -> list[tuple[str, str, Html]]:
    """(id, title, content) of what there is of a run."""
    found = [
        ("results", "Results", _results(run, heading)),
        ("pictures", "Pictures", _pictures(run, small)),
        ("curves", "Curves", _curves(run, POINTS_OF_JOB if small else POINTS)),
        ("settings", "Settings", _settings(run)),
        ("environment", "Environment", _environment(run)),
    ]
    return [(name, title, content) for name, title, content in found if content]


def _subtitle(run: Run) -> Html:
    chosen = " ".join(
        f"{group}={choice}"
        for group, choice in run.choices.items()
        if group in ("experiment", "model", "data") and choice
    )
    return element(
        "p", *([element("code", chosen), " in "] if chosen else []), element("code", run.folder), class_="lead"
    )


def _facts(run: Run) -> Html:
    better = {"min": "smaller is better", "max": "larger is better"}.get(run.mode or "", "")
    facts = [("state", _badge(run.state), "")]
    if run.score is not None:
        facts.append((f"best {run.monitor}", f"{run.score:.4g}", better))
    if run.images is not None:
        at = run.results.get("best_checkpoint_images_seen")
        facts.append(("images seen", f"{run.images:,}", f"best after {at:,}" if isinstance(at, int) else ""))
    if run.duration is not None:
        facts.append(("time", runs.clock(run.duration), ""))
    speed = run.results.get("images_per_second")
    if isinstance(speed, int | float):
        facts.append(("images/s", f"{speed:.1f}", "while training"))
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", value), element("dd", note, class_="note"))
            for name, value, note in facts
        ),
        class_="facts",
    )


def _badge(state: str) -> Html:
    return element("span", state, class_=f"badge {state if state in runs.STATES else ''}")


def _remarks(run: Run) -> list[Html]:
    """What went wrong, what the training warned of, and what is missing."""
    said = []
    if run.state == "failed":
        said.append(("error", f"The run failed: {run.error or 'its status does not say why'}"))
    elif run.error:
        said.append(("error", str(run.error)))
    if run.state == "interrupted":
        again = _command(run.overrides, f"hydra.run.dir={run.folder}", "resume=true")
        said.append(("warning", f"The run was interrupted. To go on: {again}"))
    if run.state == "running":
        said.append(("note", "The run goes on; this is what it had written when the report was made."))
    if run.state == "pruned":
        said.append(("note", "The sweep ended this run early, since others were better at the same time."))
    if run.state == "unknown":
        said.append(("warning", "The run has neither a status nor results: it did not finish, or its files are lost."))
    warned = run.results.get("warnings")
    said += [("warning", str(text)) for text in warned] if isinstance(warned, list) else []
    missing = [
        name
        for name in (".hydra/config.yaml", "metrics.csv", "results.json")
        if not untrusted.is_file(run.folder, name)
    ]
    if run.state != "finished" and "results.json" in missing:
        missing.remove("results.json")  # a run writes it when it finishes
    if missing:
        said.append(("warning", f"Missing in the run's folder: {', '.join(missing)}"))
    for name, content in ((".hydra/config.yaml", run.config), ("results.json", run.results)):
        if untrusted.is_file(run.folder, name) and not content:
            said.append(("warning", f"{name} cannot be read."))
    return [element("p", text, class_=f"remark {kind}") for kind, text in said]


def _results(run: Run, heading: str) -> Html:
    """The tables of `ganforge.runs.summary`."""
    results = dict(itertools.islice(run.results.items(), MOST_NUMBERS))
    names = summary.test_names(results)
    if not names:
        return Html("")
    try:
        tables, notes = summary.of(results, names), summary.notes(results, names)
    except Exception as error:  # whatever stands in a file
        said = untrusted.shortened(repr(error))
        return element("p", f"results.json was changed: its numbers make no table ({said})", class_="remark warning")
    blocks = []
    if len(run.results) > MOST_NUMBERS:
        blocks.append(element("p", f"The first {MOST_NUMBERS} of {len(run.results):,} numbers.", class_="note"))
    for numbers in tables:
        if not numbers.rows:
            continue
        title = numbers.title or ("All other numbers" if len(tables) > 1 else None)
        title = [element(heading, title)] if title else []
        caption = [element("p", numbers.caption, class_="note")] if numbers.caption else []
        rows = [
            element(
                "tr",
                element("th", row[0], scope="row"),
                *(element("td", _aligned(cell)) for cell in row[1:]),
                class_="strong" if index == numbers.strong else None,
            )
            for index, row in enumerate(numbers.rows)
        ]
        head = element("tr", element("td"), *(element("th", column, scope="col") for column in numbers.columns))
        table = element("table", element("thead", head), element("tbody", *rows))
        blocks.append(element("div", *title, *caption, _scroll(table)))
    return join((element("div", *blocks, class_="tables"), *(element("p", note, class_="note") for note in notes)))


def _aligned(cell: str) -> str:
    """Spaces that fill up a number, as wide as a digit."""
    return re.sub(r"(?<= ) ", "\u2007", cell)


def _scroll(*children: Any) -> Html:
    """A box that scrolls where the window is narrower than what is inside."""
    return element("div", *children, class_="scroll", tabindex="0")


def _pictures(run: Run, small: bool) -> Html:
    last = last_grid(run)
    data = run.config.get("data")
    paired = isinstance(data, dict) and "source_channels" in data
    said = "source, generated, target" if paired else "drawn from the same noise each time"
    kept = []
    if last is not None:
        seen = re.search(r"\d+", last)
        kept.append((last, f"after {int(seen[0]):,} images: {said}" if seen else said, 640))
    if not small:
        kept.append(("samples/evolution.gif", "at each validation, from the first to the last", 512))
    said = (
        "source, then generated from the first validation to the last, then target"
        if paired
        else "from the first validation to the last"
    )
    kept.append(("samples/evolution.png", said, 1280))
    if not small:
        said = "samples that are nearest to a training picture (left), and these training pictures"
        kept.append(("samples/nearest.png", said, 640))
    figures = [
        _figure(run, name, said, width, small) for name, said, width in kept if os.path.lexists(run.folder / name)
    ]
    return element("div", *figures, class_="pictures") if figures else Html("")


def last_grid(run: Run) -> str | None:
    """The newest of the pictures that a run wrote at its validations, from its folder."""
    found = sorted(path.name for path in (run.folder / "samples").glob("images_*.png"))
    return f"samples/{found[-1]}" if found else None


def _figure(run: Run, name: str, caption: str, width: int, small: bool) -> Html:
    """A picture, as many times its size as fits `width` px, that a click shows in full where it is larger."""
    try:
        picture, shown = _picture(run, name, caption, width, WIDTH_OF_JOB if small else None)
    except Exception as error:  # whatever stands in a file
        return element("p", f"{name} cannot be read ({error})", class_="remark warning")
    return element(
        "figure",
        element("button", picture, type="button", class_="zoom", title="in full size"),
        element("figcaption", element("b", f"{name.removeprefix('samples/')} "), caption),
        style=f"width: {max(shown, 240)}px",
    )


def _picture(run: Run, name: str, alternative: str, width: int, reduce: int | None = None) -> tuple[Html, int]:
    """<img> with the file in it, made smaller where it is wider than `reduce` px or more than 100 kB; and its width."""
    content = untrusted.read_bytes(run.folder, name, MOST_BYTES)
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
    image = Html(
        f'<img src="data:{kind};base64,{base64.b64encode(content).decode()}" alt="{escape(printable(alternative))}" '
        f'width="{size[0] * times}" height="{size[1] * times}"{" class=pixels" if times > 1 else ""}>'
    )
    return image, size[0] * times


def panel(name: str) -> str:
    """The title of the panel that a curve belongs to."""
    for pattern, title in PANELS:
        if re.match(pattern, name):
            return title
    return "/".join(name.split("/")[:2])


def _curves(run: Run, most: int) -> Html:
    axis, found, left_out = curves.read(run.folder / "metrics.csv", most)
    panels: dict[str, list[str]] = {}
    for name in found:
        if not name.endswith(COUNTS):
            panels.setdefault(panel(name), []).append(name)
    validated = (title for title in panels if title.startswith("val/"))
    order = [panel(run.monitor or ""), *ORDER, *validated, *(title for _, title in PANELS), *panels]
    end = max((x for points in found.values() for x, _ in points), default=0)
    best = run.results.get("best_checkpoint_images_seen")
    figures = []
    for title in dict.fromkeys(title for title in order if title in panels):
        names = panels[title]
        lines = [_line(_short(name, title, len(names)), found[name]) for name in names]
        mark = best if title.startswith("val/") and isinstance(best, int) and axis == "images" else None
        figures.append(_plot(title, {"kind": "lines", "axis": axis, "lines": lines, "end": end, "best": mark}))
    if not figures:
        return Html("")
    note = [element("p", f"Of metrics.csv {left_out} are left out.", class_="remark warning")] if left_out else []
    return join((*note, _switch(), element("div", *figures, class_="panels")))


def _short(name: str, title: str, n: int) -> str:
    """A curve's name in its panel, without what the title says."""
    if n == 1:
        return name
    short = name.removeprefix(f"{title.split(':')[0]}/")
    return short.removeprefix("lr/") if short != title else "all"


def _line(name: str, points: list[tuple[float, float]], **more: Any) -> dict[str, Any]:
    return {"name": name, "x": [_digits(x) for x, _ in points], "y": [_digits(y) for _, y in points], **more}


def _digits(value: float) -> float | int:
    """Six digits, which no screen shows more of; counts in full."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(f"{value:.6g}")


def _switch() -> Html:
    return Html(
        '<p class="switch"><label><input type="checkbox" class="log"> logarithmic, where all is above 0</label></p>'
    )


def _plot(title: str, content: dict[str, Any], class_: str = "panel") -> Html:
    """A figure with its numbers; page.js draws it when it comes into view."""
    # A script ends at the first </script>, wherever it stands.
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return element(
        "figure",
        element("figcaption", title),
        element("div", element("div", class_="plot"), class_="canvas"),
        Html(f'<script type="application/json">{data}</script>'),
        class_=class_,
    )


def _settings(run: Run) -> Html:
    blocks = []
    if run.overrides:
        items = (element("li", element("code", override)) for override in run.overrides)
        blocks += [element("p", "Given on the command line:"), element("ul", *items, class_="overrides")]
        blocks.append(_details("As a command", element("pre", _command(run.overrides))))
    elif run.config:
        blocks.append(element("p", "Nothing was given on the command line: these are the defaults."))
    if run.choices:
        rows = [(group, choice) for group, choice in run.choices.items() if choice is not None]
        blocks.append(_details("Choices", _pairs(rows)))
    text = untrusted.read_text(run.folder, ".hydra/config.yaml")
    if text:
        blocks.append(_details("All settings", element("pre", text)))
    return join(blocks)


def _command(overrides: Sequence[str], *own: str) -> str:
    """To be typed; nothing that would run other code than this project's, should the overrides be someone else's."""
    odd = next((override for override in overrides if not _is_safe(override)), None)
    if odd is not None:
        return f"(no command: read first what this one does: {untrusted.shortened(odd)})"
    return " ".join(("python train.py", *(shlex.quote(override) for override in (*overrides, *own))))


def _is_safe(override: str) -> bool:
    """Whether it is no option, names no class from outside and changes no folder that configs come from."""
    named = re.fullmatch(r"[\w.+~/@]*\._target_=ganforge\.[\w.]+", override)
    foreign = "_target_" in override or "${" in override or re.match(r"[-+~]*(-|hydra)", override)
    return override.isprintable() and (named is not None or not foreign)


def _details(title: str, content: Html) -> Html:
    return element("details", element("summary", title), content)


def _pairs(rows: Iterable[tuple[str, Any]]) -> Html:
    cells = (element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows)
    return _scroll(element("table", element("tbody", *cells), class_="pairs"))


def _environment(run: Run) -> Html:
    rows = environment(run)
    return _pairs((name.replace("_", " "), value) for name, value in rows.items()) if rows else Html("")


def environment(run: Run) -> dict[str, str]:
    """What computed a run, of its results; of one that did not finish, of its last checkpoint and its settings."""
    said = {
        key: value
        for key, value in run.results.items()
        if "/" not in key and key not in ELSEWHERE and isinstance(value, str | int | float)
    }
    if not said:
        said = _card(run)
    for key in ("seed", "trainer.precision", "trainer.accelerator", "trainer.devices", "trainer.num_nodes"):
        value = runs.flatten(run.config).get(key)
        if value is not None and key not in said:
            said[key] = runs.plain(value)
    said |= {key: run.status[key] for key in ("host", "began", "ended") if run.status.get(key)}
    return {key: str(value) for key, value in said.items()}


def _card(run: Run) -> dict[str, Any]:
    """What the last checkpoint of a run says of versions and data; nothing where there is none."""
    if not untrusted.is_file(run.folder, "checkpoints/last.ckpt"):
        return {}
    from ganforge.runs import checkpoint

    try:
        card = checkpoint.load(run.folder / "checkpoints/last.ckpt")["ganforge"]
        versions = card.get("versions")
    except (UserError, AttributeError):
        return {}
    said = {"data_fingerprint": card.get("data_fingerprint"), **(versions if isinstance(versions, dict) else {})}
    return {key: value for key, value in said.items() if value is not None}


def _ranking(ranked: Sequence[Run], keys: Sequence[str]) -> Html:
    monitors = {run.monitor for run in ranked if run.score is not None}
    names = ["", "run", "state", monitors.copy().pop() if len(monitors) == 1 else "score", "images", "time"]
    head = [element("th", name, scope="col") for name in names]
    for key in keys:
        above, _, name = key.rpartition(".")
        head.append(element("th", element("small", above), name, scope="col", title=key))
    rows = []
    for place, run in enumerate(ranked, 1):
        score = "" if run.score is None else f"{run.score:.4g}"
        if score and len(monitors) > 1:
            score = f"{run.monitor} {score}"
        settings = run.settings
        cells = [
            element("td", place, data_value=place),
            element("td", element("a", run.name, href=f"#job-{place}")),
            element("td", _badge(run.state)),
            element("td", score, data_value=run.score),
            element("td", "" if run.images is None else f"{run.images:,}", data_value=run.images),
            element("td", runs.clock(run.duration), data_value=run.duration),
            *(element("td", runs.plain(settings.get(key)), data_value=_sortable(settings.get(key))) for key in keys),
        ]
        rows.append(element("tr", *cells, class_=run.state if run.state in runs.STATES else None))
    table = element("table", element("thead", element("tr", *head)), element("tbody", *rows), class_="ranking")
    failed = [(place, run) for place, run in enumerate(ranked, 1) if run.error]
    errors = [element("p", f"{place}, {run.name}: {run.error}", class_="remark error") for place, run in failed]
    return join((_scroll(table), *errors))


def _sortable(value: Any) -> float | None:
    """Not NaN, nor so large that differences and ratios are no numbers."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and (value == 0 or 1e-100 < abs(value) < 1e100) else None


def _cards(ranked: Sequence[Run]) -> Html:
    cards = []
    for place, run in enumerate(ranked, 1):
        name = last_grid(run)
        try:
            picture = _picture(run, name, run.name, WIDTH_OF_THUMBNAIL, WIDTH_OF_THUMBNAIL)[0] if name else None
        except Exception:  # the run's own section says so
            continue
        if picture:
            score = "" if run.score is None else f" · {run.score:.4g}"
            caption = element("span", element("b", f"{place}. "), f"{run.name}{score}")
            cards.append(element("a", picture, caption, href=f"#job-{place}", class_="card"))
    return element("div", *cards, class_="cards") if cards else Html("")


def _compared(ranked: Sequence[Run], keys: Sequence[str]) -> Html:
    """Parallel coordinates, and the compared number of each run over its training."""
    monitors = Counter(run.monitor for run in ranked if run.score is not None)
    if not monitors:
        return Html("")
    monitor = monitors.most_common(1)[0][0]
    scored = [run for run in ranked if run.score is not None and run.monitor == monitor]
    blocks = []
    if len(monitors) > 1:
        blocks.append(element("p", f"Of the {len(scored)} runs that were compared by {monitor}.", class_="note"))
    shown = parallel(scored, keys)
    if shown:
        title = f"Settings and {monitor}: a line a run, coloured by the latter"
        blocks.append(_plot(title, shown, class_="panel wide"))
    lines, axis = [], "images"
    for rank, run in enumerate(scored):
        axis, found, _ = curves.read(run.folder / "metrics.csv", POINTS_OF_JOB)
        if monitor in found:
            lines.append(_line(run.name, found[monitor], rank=1 - rank / max(1, len(scored) - 1)))
    if lines:
        end = max(line["x"][-1] for line in lines)
        shown = {"kind": "lines", "axis": axis, "lines": lines, "end": end, "best": None}
        blocks += [_switch(), _plot(f"{monitor} of each run", shown, class_="panel wide")]
    return join(blocks)


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
    texts = ["none" if value is None else runs.plain(value) for value in values]
    if not all(_sortable(value) is not None for value in values):
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


def _shortened(names: Sequence[str], most: int = 18) -> list[str]:
    """Names that fit beside an axis: of dotted ones the last parts, where these differ; else the ends."""
    if any(len(name) > most for name in names):
        parts = [name.rpartition(".")[2] for name in names]
        names = parts if len(set(parts)) == len(names) else names
    return [name if len(name) <= most else f"…{name[1 - most :]}" for name in names]
