"""What the page of a run or a sweep says, as the values that the templates show."""

import itertools
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ganforge.errors import UserError
from ganforge.files import untrusted
from ganforge.report import figures, pictures
from ganforge.runs import compare, summary
from ganforge.runs.folder import STATES, Run, clock, flatten, plain

MOST_NUMBERS = 2000  # of results.json, in tables
MOST_COLUMNS = 50  # of settings, in a ranking

BETTER = {"min": "smaller is better", "max": "larger is better"}
TITLES = {"latent": "Latent space"}
# What results.json says of a run elsewhere than under "environment".
ELSEWHERE = {
    "evaluation", "images_seen", "best_checkpoint_images_seen", "images_per_second", "duration_s", "best_checkpoint",
    "last_checkpoint", "grid", "warnings", "run_dir",
}  # fmt: skip


def of_run(run: Run, small: bool = False) -> dict[str, Any]:
    """All of a run; `sections` names what there is of it. small: as one of many."""
    groups = ("experiment", "model", "data")
    found = {
        "results": _results(run),
        "translations": pictures.of_test(run, small),
        "pictures": pictures.of_run(run, small),
        "latent": [] if small else pictures.of_latent(run),
        "curves": figures.panels(run, small),
        "settings": _settings(run),
        "environment": {name.replace("_", " "): value for name, value in environment(run).items()},
    }
    return {
        **found,
        "run": run,
        "chosen": " ".join(f"{name}={choice}" for name, choice in run.choices.items() if name in groups and choice),
        "score": "" if run.score is None else f"{run.monitor} {run.score:.4g}",
        "facts": _facts(run),
        "remarks": _remarks(run),
        "sections": {name: TITLES.get(name, name.capitalize()) for name, content in found.items() if content},
    }


def of_sweep(found: Sequence[Run]) -> dict[str, Any]:
    """Runs ranked, compared, then each."""
    ranked = compare.rank(found)
    keys = compare.differing(ranked)
    more, keys = len(keys) - MOST_COLUMNS, keys[:MOST_COLUMNS]
    states = Counter(run.state for run in ranked)
    said = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    lead = [f"{len(ranked)} runs: {said}." if len(ranked) > 1 else f"1 run: {said}."]
    best = ranked[0]
    if best.score is not None:
        better = BETTER.get(best.mode or "", BETTER["min"])
        lead.append(f"The best: {best.name}, with {best.monitor} {best.score:.4g} ({better}).")
    if more > 0:
        lead.append(f"They differ in {more} more settings: ganforge runs --csv.")
    in_all = set(ranked[0].overrides).intersection(*(run.overrides for run in ranked))
    thumbnails = [(place, run, pictures.thumbnail(run)) for place, run in enumerate(ranked, 1)]
    shown = {
        "ranking": _ranking(ranked, keys),
        "comparison": _comparison(ranked, keys),
        "grids": [thumbnail for thumbnail in thumbnails if thumbnail[2]],
        "jobs": [of_run(run, small=True) for run in ranked],
    }
    titles = {"ranking": "Ranking", "comparison": "Comparison", "grids": "Last grids", "jobs": "Each run"}
    return {
        **shown,
        "lead": " ".join(lead),
        "common": " ".join(override for override in ranked[0].overrides if override in in_all),
        "sections": {"runs" if name == "jobs" else name: title for name, title in titles.items() if shown[name]},
    }


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
    """What went wrong, what the training warned of, and what is missing: (kind, text)."""
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
        "tables": [replace(numbers, title=numbers.title or other) for numbers in tables if numbers.rows],
        "notes": notes,
    }


def aligned(cell: str) -> str:
    """Spaces that fill up a number, as wide as a digit."""
    return re.sub(r"(?<= ) ", "\u2007", cell)


def _settings(run: Run) -> dict[str, Any] | None:
    text = untrusted.read_text(run.folder, ".hydra/config.yaml")
    if not (run.overrides or run.config or run.choices or text):
        return None
    return {
        "overrides": run.overrides,
        "command": _command(run.overrides),
        "config": run.config,
        "choices": {group: choice for group, choice in run.choices.items() if choice is not None},
        "text": text,
    }


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
        value = flatten(run.config).get(key)
        if value is not None and key not in said:
            said[key] = plain(value)
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


def _ranking(ranked: Sequence[Run], keys: Sequence[str]) -> dict[str, Any]:
    """score: the title of its column; settings: (key, all but its last part, its last part); rows: (run, cells).

    cells: (text, what it is sorted by), of the columns after the run's state.
    """
    monitors = {run.monitor for run in ranked if run.score is not None}
    rows = []
    for run in ranked:
        score = "" if run.score is None else f"{run.score:.4g}"
        if score and len(monitors) > 1:
            score = f"{run.monitor} {score}"
        own = run.settings
        cells = [
            (score, run.score),
            ("" if run.images is None else f"{run.images:,}", run.images),
            (clock(run.duration), run.duration),
            *((plain(own.get(key)), figures.sortable(own.get(key))) for key in keys),
        ]
        rows.append((run, cells))
    return {
        "score": monitors.copy().pop() if len(monitors) == 1 else "score",
        "settings": [(key, *key.rpartition(".")[::2]) for key in keys],
        "rows": rows,
        "errors": [f"{place}, {run.name}: {run.error}" for place, run in enumerate(ranked, 1) if run.error],
    }


def _comparison(ranked: Sequence[Run], keys: Sequence[str]) -> dict[str, Any] | None:
    """Figures, each a title and what is drawn: parallel coordinates, and the compared number of each run."""
    monitors = Counter(run.monitor for run in ranked if run.score is not None)
    if not monitors:
        return None
    monitor = monitors.most_common(1)[0][0]
    scored = [run for run in ranked if run.score is not None and run.monitor == monitor]
    parallel, lines = figures.parallel(scored, keys), figures.of_each(scored, monitor)
    found = {
        "note": f"Of the {len(scored)} runs that were compared by {monitor}." if len(monitors) > 1 else None,
        "parallel": parallel and (f"Settings and {monitor}: a line a run, coloured by the latter", parallel),
        "lines": lines and (f"{monitor} of each run", lines),
    }
    return found if any(found.values()) else None
