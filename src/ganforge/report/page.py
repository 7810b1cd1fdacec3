"""A run or a sweep as one HTML file, read in a browser without a network: numbers, pictures, curves, settings."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import ganforge
from ganforge.errors import require
from ganforge.files.folders import make_writable, replace
from ganforge.files.untrusted import printable
from ganforge.report import content
from ganforge.runs.folder import STATES, Run, find, is_run, read

TEMPLATE = Path(__file__).parent / "template"


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
    single = is_run(folder)
    found = [read(folder)] if single else find(folder)
    require(bool(found), f"{folder}: no run in it or below it")
    make_writable(path.parent, f"--output {path}" if output is not None else str(folder))
    html = of_run(found[0]) if single else of_sweep(found, folder.resolve().name)
    with replace(path) as file:
        file.write(html.encode("utf-8", errors="replace"))
    return path


def of_run(run: Run) -> str:
    """The page of one run."""
    shown = content.of_run(run)
    return render("run.html", title=run.name, shown=shown, sections=shown["sections"])


def of_sweep(found: Sequence[Run], title: str) -> str:
    """The page of several runs: ranked, compared, then each."""
    return render("sweep.html", title=title, **content.of_sweep(found))


def render(template: str, **shown: Any) -> str:
    """The page. Whatever a template shows is escaped, and written out where it would hide or turn the line around."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value, lines=True),
        loader=FileSystemLoader(TEMPLATE),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"printable": printable, "aligned": content.aligned}
    environment.globals["states"] = STATES
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template(template).render(
        style=Markup((TEMPLATE / "style.css").read_text()),
        script=Markup((TEMPLATE / "script.js").read_text()),
        plotly=Markup(get_plotlyjs()),
        now=datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        version=ganforge.__version__,
        **shown,
    )
