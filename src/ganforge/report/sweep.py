"""What the page of several runs says: a sweep, or a family of runs that someone put beside each other."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ganforge.files.untrusted import shortened
from ganforge.report import content, figures, measures, opening, pictures, seeds, side
from ganforge.runs import compare
from ganforge.runs.folder import STATES, Run, clock, is_number, plain

LONGEST_ERROR = 300  # characters, below a ranking
MOST_COLUMNS = 50  # of settings, in a ranking
TITLES = {
    "seeds": "Over the seeds",
    "side": "Side by side",
    "comparison": "Comparison",
    "ranking": "Ranking",
    "grids": "Last grids",
    "runs": "Each run",
}


def of_sweep(found: Sequence[Run], draw: side.Draw | None = None) -> dict[str, Any]:
    """Runs ranked, compared, then each. draw: of the same latents or pictures, what each of some runs draws."""
    ranked = compare.rank(found)
    keys = compare.differing(ranked)
    more, keys = len(keys) - MOST_COLUMNS, keys[:MOST_COLUMNS]
    states = Counter(run.state for run in ranked)
    said = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    lead = [f"{len(ranked)} runs: {said}." if len(ranked) > 1 else f"1 run: {said}."]
    best = ranked[0]
    if best.score is not None:
        better = content.BETTER.get(best.mode or "", content.BETTER["min"])
        lead.append(f"The best: {best.name}, with {best.monitor} {opening.said(best.score)} ({better}).")
    if more > 0:
        lead.append(f"They differ in {more} more settings: ganforge runs --csv.")
    spent = [run.duration for run in ranked if run.duration is not None]
    if spent:
        lead.append(f"Together they took {clock(sum(spent))}.")
    in_all = set(ranked[0].overrides).intersection(*(run.overrides for run in ranked))
    thumbnails = [(place, run, pictures.thumbnail(run)) for place, run in enumerate(ranked, 1)]
    seen = seeds.of_runs(ranked, keys)
    shown = {
        "seeds": seen if seen and seen["repeated"] else None,
        "side": side.of_runs(ranked, draw),
        "comparison": _comparison(ranked, keys),
        "ranking": _ranking(ranked, keys),
        "grids": [thumbnail for thumbnail in thumbnails if thumbnail[2]],
        "runs": [content.of_run(run, small=True) for run in ranked],
    }
    return {
        **shown,
        "opening": _opening(best, seen),
        "best": pictures.best(best),
        "lead": " ".join(lead),
        "common": [override for override in ranked[0].overrides if override in in_all],
        "sections": {name: title for name, title in TITLES.items() if shown[name]},
    }


def _opening(best: Run, seen: dict[str, Any] | None) -> dict[str, Any] | None:
    """The number of the best settings over their seeds where these were repeated, else that of the best run."""
    number = opening.number(best)
    group = next((group for group in seen["rows"] if best.name in group["runs"]), None) if seen else None
    if number is None or group is None or len(group["runs"]) < 2 or group["cells"][0]["mean"] is None:
        return number and {**number, "of": f"{best.name}: {number['of']}"}
    first = group["cells"][0]
    settings = f" of {group['label']}" if group["label"] else ""
    return {
        **number, "title": f"{seen['columns'][0]['title']}, the mean{settings}",
        "beside": [(f"best: {best.name}", number["value"])],
        "value": first["mean"], "interval": None if first["interval"] == "all equal" else first["interval"],
        "without": "No interval: the numbers of all seeds are equal",
        "of": f"{first['count']} seeds{': the settings whose best run leads' if len(seen['rows']) > 1 else ''}",
    }  # fmt: skip


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
            _speed(run),
            *((plain(own.get(key)), figures.sortable(own.get(key))) for key in keys),
        ]
        rows.append((run, cells))
    return {
        "score": monitors.copy().pop() if len(monitors) == 1 else "score",
        "settings": [(key, *key.rpartition(".")[::2]) for key in keys],
        "rows": rows,
        "errors": _errors(ranked),
    }


def _errors(ranked: Sequence[Run]) -> list[str]:
    """How each error begins, and which runs ended with it; the whole of it stands on the page of each run."""
    places: dict[str, list[str]] = {}
    for place, run in enumerate(ranked, 1):
        if run.error:
            places.setdefault(shortened(run.error, LONGEST_ERROR), []).append(f"{place}, {run.name}")
    return [f"{runs[0]}{_others(len(runs) - 1)}: {said}" for said, runs in places.items()]


def _others(count: int) -> str:
    return f" and {count} other{'s' if count > 1 else ''}" if count else ""


def _comparison(ranked: Sequence[Run], keys: Sequence[str]) -> dict[str, Any] | None:
    """Figures, each a title and what is drawn: parallel coordinates, and the compared number of each run."""
    monitors = Counter(run.monitor for run in ranked if run.score is not None)
    if not monitors:
        return None
    monitor = monitors.most_common(1)[0][0]
    scored = [run for run in ranked if run.score is not None and run.monitor == monitor]
    parallel, lines = figures.parallel(scored, keys), figures.of_each(scored, monitor)
    cost = figures.cost(scored, monitor)
    better = measures.better(monitor.removeprefix("val/"))
    said = f"{monitor} ({better} is better)" if better else monitor
    found = {
        "note": f"Of the {len(scored)} runs that were compared by {monitor}." if len(monitors) > 1 else None,
        "parallel": parallel and (f"Settings and {monitor}: a line a run, coloured by the latter", parallel),
        "lines": lines and (f"{monitor} of each run", lines),
        "cost": cost and (f"Cost: {said} over the time of each run", cost),
    }
    return found if any(found.values()) else None


def _speed(run: Run) -> tuple[str, Any]:
    """Images a second while training, as a cell."""
    found = run.results.get("images_per_second")
    return (f"{found:.1f}", found) if is_number(found) else ("", None)
