"""Runs that differ in their seeds alone, as groups: means of their numbers with intervals over the seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from ganforge.files.untrusted import shortened
from ganforge.report import measures, opening
from ganforge.runs.folder import Run, clock, is_number, plain

MOST_MEASURES = 6


def of_runs(ranked: Sequence[Run], keys: Sequence[str]) -> dict[str, Any] | None:
    """columns: key, title, better; rows: label, runs (names), cells, time, speed; repeated: whether any has two runs.

    keys: the settings in which the runs differ. Numbers are of the test, or of the validation where there was none.
    None without numbers.
    """
    scored = [run for run in ranked if run.score is not None]
    if not scored:
        return None
    first = scored[0]
    scored = [run for run in scored if run.monitor == first.monitor]
    others = [key for key in keys if key.rpartition(".")[2] != "seed"]
    groups: dict[str, list[Run]] = {}
    for run in scored:
        own = run.settings
        label = ", ".join(f"{key.rpartition('.')[2]} {plain(own.get(key)) or 'none'}" for key in others)
        groups.setdefault(shortened(label), []).append(run)
    columns = _columns(scored, str(first.monitor))
    rows = []
    for label, own in groups.items():
        cells = [
            _cell(
                [run.score if key is None else run.results.get(key) for run in own],
                measures.limits((key or str(first.monitor)).partition("/")[2]),
            )
            for key, *_ in columns
        ]
        times = [run.duration for run in own if run.duration is not None]
        speeds = [float(speed) for run in own if is_number(speed := run.results.get("images_per_second"))]
        rows.append({
            "label": label, "runs": [run.name for run in own], "cells": cells,
            "time": clock(statistics.fmean(times)) if times else "",
            "speed": f"{statistics.fmean(speeds):.1f}" if speeds else "",
        })  # fmt: skip
    return {
        "columns": [{"key": key, "title": title, "better": better} for key, title, better in columns],
        "rows": rows,
        "repeated": any(len(own) > 1 for own in groups.values()),
    }


def _columns(runs: Sequence[Run], monitor: str) -> list[tuple[str | None, str, str]]:
    """(key of results.json or None for the score, title, what is better), the compared number first."""
    number = monitor.removeprefix("val/")
    better = {"min": "lower", "max": "higher"}.get(runs[0].mode or "", "")
    tested = all(is_number(run.results.get(f"test/{number}")) for run in runs)
    title = f"{measures.title(number)}, {'test' if tested else 'best of the validation'}"
    columns: list[tuple[str | None, str, str]] = [(f"test/{number}" if tested else None, shortened(title), better)]
    for key in runs[0].results:
        name = key.removeprefix("test/")
        known = measures.of(name)
        if key == name or name == number or known is None or not known.better or name.count("/") > 1:
            continue
        plain_name = "/" not in name or measures.of(name.rpartition("/")[0]) is not known
        is_new = shortened(known.title) not in [title for _, title, _ in columns]
        if (
            plain_name
            and is_new
            and all(is_number(run.results.get(key)) for run in runs)
            and len(columns) <= MOST_MEASURES
        ):
            columns.append((key, shortened(known.title), known.better))
    return columns


def _cell(values: Sequence[Any], limits: tuple[float, float]) -> dict[str, Any]:
    """mean, interval (None of fewer than two values; within what is possible) as texts, and of how many."""
    numbers = [float(value) for value in values if is_number(value)]
    ends = interval(numbers)
    ends = ends and (max(ends[0], limits[0]), min(ends[1], limits[1]))
    equal = len(numbers) > 1 and min(numbers) == max(numbers)  # which says little of other seeds
    between = opening.between(*ends) if ends else None
    return {
        "mean": opening.said(statistics.fmean(numbers)) if numbers else None,
        "interval": "all equal" if equal else between,
        "count": len(numbers),
    }


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of values that are normally distributed: mean ± t quantile × standard error."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 0.975)) * error
    return (mean - half, mean + half) if math.isfinite(half) else None
