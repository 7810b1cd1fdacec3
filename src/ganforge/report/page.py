"""A run or a sweep as one HTML file, read in a browser without a network: numbers, pictures, curves, settings."""

import gzip
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import ganforge
from ganforge.errors import require
from ganforge.files.folders import make_writable, replace
from ganforge.files.untrusted import printable
from ganforge.report import content, side, sweep, words
from ganforge.runs.folder import STATES, Run, find, is_run, read

TEMPLATE = Path(__file__).parent / "template"
LIBRARY = Path(__file__).parent / "library"


def write(
    folder: str | Path,
    *more: str | Path,
    output: str | Path | None = None,
    overwrite: bool = False,
    draw: side.Draw | None = None,
) -> Path:
    """Write the report of the run in `folder`, or of all runs below it and below `more` folders, and return its path.

    output: an HTML file, by default report.html in the folder, of several folders where one is. draw: what draws the
    same latents or pictures with several runs, None to show what they kept alone. Raises UserError for folders without
    runs and for a file that is there without `overwrite`.
    """
    folders = list(dict.fromkeys(Path(given) for given in (folder, *more)))
    for given in folders:
        require(
            given.is_dir(), f"{given}: no such folder; give that of a run or a sweep, such as one in lightning_logs"
        )
    several = len(folders) > 1
    path = Path("report.html") if several else folders[0] / "report.html"
    path = path if output is None else Path(output)
    require(not path.is_dir(), f"--output {path}: is a folder; give a file, such as {path / 'report.html'}")
    require(overwrite or not path.exists(), f"{path}: is already there; use --overwrite, or --output for another file")
    of_each = [_runs(given, several) for given in folders]
    for given, own in zip(folders, of_each, strict=True):
        require(bool(own), f"{given}: no run in it or below it")
    found = list({run.folder.resolve(): run for own in of_each for run in own}.values())
    single = not several and is_run(folders[0])
    make_writable(path.parent, f"--output {path}" if output is not None or several else str(folders[0]))
    if single:
        html = of_run(found[0])
    else:
        title = f"{len(found)} runs" if several else folders[0].resolve().name
        html = of_sweep(found, title, draw)
    with replace(path) as file:
        file.write(html.encode("utf-8", errors="replace"))
    return path


def _runs(folder: Path, several: bool) -> list[Run]:
    """The run in a folder or those below it; of several folders with that of the sweep before their names."""
    if is_run(folder):
        return [read(folder)]
    found = find(folder)
    for run in found if several else ():
        run.name = f"{folder.resolve().name}/{run.name}"
    return found


def of_run(run: Run) -> str:
    """The page of one run."""
    shown = content.of_run(run)
    return render("run.html", title=run.name, shown=shown, sections=shown["sections"])


def of_sweep(found: Sequence[Run], title: str, draw: side.Draw | None = None) -> str:
    """The page of several runs: ranked, compared, then each."""
    return render("sweep.html", title=title, **sweep.of_sweep(found, draw))


def render(template: str, **shown: Any) -> str:
    """The page. Whatever a template shows is escaped, and written out where it would hide or turn the line around."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value, lines=True),
        loader=FileSystemLoader(TEMPLATE),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"printable": printable, "aligned": content.aligned, "whole": words.whole}
    environment.globals["states"] = STATES
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template(template).render(
        style=Markup((TEMPLATE / "style.css").read_text()),
        script=Markup((TEMPLATE / "script.js").read_text()),
        plotly=Markup(library()),
        now=datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        version=ganforge.__version__,
        **shown,
    )


def library() -> str:
    """Plotly's basic bundle 4.1.1 (MIT, see library/LICENSE), of the npm package plotly.js-basic-dist-min."""
    return gzip.decompress((LIBRARY / "plotly-basic.min.js.gz").read_bytes()).decode()
