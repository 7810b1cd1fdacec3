"""What the page of a run or a sweep says, as the values that the templates show."""

import itertools
import re
from dataclasses import replace
from typing import Any

from ganforge.files import untrusted
from ganforge.report import curves, figures, health, measures, opening, pictures, reliability, settings
from ganforge.runs import summary
from ganforge.runs.folder import Run, clock

MOST_NUMBERS = 2000  # of results.json, in tables

BETTER = {"min": "smaller is better", "max": "larger is better"}
TITLES = {
    "pictures": "Pictures over time",
    "real": "Real beside generated",
    "health": "Health of the game",
    "reliability": "How far to trust a bond",
    "worst": "Worst cases",
    "latent": "Latent space",
}


def of_run(run: Run, small: bool = False) -> dict[str, Any]:
    """All of a run; `sections` names what there is of it. small: as one of many."""
    drawn = curves.read(run.folder / "metrics.csv", figures.POINTS_OF_JOB if small else figures.POINTS)
    cases = pictures.of_test(run, small)
    found = {
        "pictures": pictures.of_run(run, small),
        "curves": figures.panels(run, drawn),
        "real": None if small else _real(run, cases["first"]),
        "results": _results(run),
        "health": health.of_run(run, drawn),
        "reliability": [] if small else reliability.of_run(run),
        "worst": cases["worst"],
        "latent": [] if small else pictures.of_latent(run),
        "settings": settings.of_run(run),
        "environment": {name.replace("_", " "): value for name, value in settings.environment(run).items()},
    }
    return {
        **found,
        "run": run,
        "opening": opening.number(run),
        "sentence": opening.sentence(run),
        "best": None if small else pictures.best(run),
        "score": "" if run.score is None else f"{run.monitor} {run.score:.4g}",
        "facts": _facts(run),
        "remarks": _remarks(run),
        "sections": {name: TITLES.get(name, name.capitalize()) for name, content in found.items() if content},
    }


def _real(run: Run, first: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Real pictures beside generated ones: of translations the first of each test set."""
    found = pictures.of_real(run)
    return {"groups": first, "pictures": found["pictures"] if found else []} if first or found else None


def _facts(run: Run) -> list[tuple[str, str, str]]:
    """(name, value, note)"""
    facts = []
    if run.score is not None:
        facts.append((f"best {run.monitor}", f"{run.score:.4g}", BETTER.get(run.mode or "", "")))
    if run.images is not None:
        at = run.results.get("best_checkpoint_images_seen")
        facts.append(("images seen", f"{run.images:,}", f"best after {at:,}" if isinstance(at, int) else ""))
    if run.duration is not None:
        facts.append(("time", clock(run.duration), ""))
    speed = run.results.get("images_per_second")
    if isinstance(speed, int | float):
        facts.append(("images/s", f"{speed:.1f}", "while training"))
    return facts


def _remarks(run: Run) -> list[tuple[str, str]]:
    """How the run ended where it did not finish, and what is missing: (kind, text)."""
    said = []
    if run.state == "failed":
        said.append(("error", f"The run failed: {run.error or 'its status does not say why'}"))
    elif run.error:
        said.append(("error", str(run.error)))
    if run.state == "interrupted":
        again = settings.command(run.overrides, f"hydra.run.dir={run.folder}", "resume=true")
        said.append(("warning", f"The run was interrupted. To go on: {again}"))
    if run.state == "running":
        said.append(("note", "The run goes on; this is what it had written when the report was made."))
    if run.state == "pruned":
        said.append(("note", "The sweep ended this run early, since others were better at the same time."))
    if run.state == "unknown":
        said.append(("warning", "The run has neither a status nor results: it did not finish, or its files are lost."))
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
            most = f"more than {untrusted.MOST_BYTES:,} bytes or {untrusted.MOST_VALUES:,} values"
            said.append(("warning", f"{name} cannot be read: it is broken, empty, or has {most}."))
    return said


def _results(run: Run) -> dict[str, Any] | None:
    """The tables of `ganforge.runs.summary`, or why there are none; None of a run without results."""
    results = dict(itertools.islice(run.results.items(), MOST_NUMBERS))
    names = summary.test_names(results)
    if not names:
        return None
    try:
        tables, notes = summary.of(results, names), summary.notes(results, names)
    except Exception as error:  # whatever stands in a file
        said = untrusted.shortened(repr(error))
        return {"error": f"results.json was changed: its numbers make no table ({said})"}
    other = "All other numbers" if len(tables) > 1 else None
    most = f"The first {MOST_NUMBERS} of {len(run.results):,} numbers."
    return {
        "error": None,
        "more": most if len(run.results) > MOST_NUMBERS else None,
        "tables": [_table(replace(numbers, title=numbers.title or other)) for numbers in tables if numbers.rows],
        "notes": notes,
        "explained": measures.explained(
            key.removeprefix(f"{name}/") for name in names for key in results if key.startswith(f"{name}/")
        ),
    }


def _table(numbers: summary.Numbers) -> dict[str, Any]:
    """A table, and of the number of each row what is better; texts are those of the table."""
    better = [measures.better(row[0].split(" ")[0]) for row in numbers.rows]
    return {**vars(numbers), "better": [word if "better" not in numbers.columns else "" for word in better]}


def aligned(cell: str) -> str:
    """Spaces that fill up a number, as wide as a digit."""
    return re.sub(r"(?<= ) ", "\u2007", cell)
