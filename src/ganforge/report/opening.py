"""What the page of a run begins with: the number that counts, what lies beside it, and what was run."""

import math
from typing import Any

from ganforge.files.untrusted import shortened
from ganforge.report import measures, pictures
from ganforge.runs import bounds
from ganforge.runs.folder import Run, clock, is_number

_NO_INTERVAL = "The run wrote no interval for it"


def number(run: Run) -> dict[str, Any] | None:
    """The number that decided which weights are best, of unseen pictures where the run got as far; None without one.

    value, interval (or why there is none): texts; title, better: see `measures`; meaning: a sentence; of: on what it
    was measured; beside: (what, value) of what it lies between.
    """
    key = (run.monitor or "").removeprefix("val/")
    tested = run.results.get(f"test/{key}")
    if is_number(tested):
        value, of = float(tested), f"{_counted(run, key)}, best weights"
    elif run.score is not None:
        value, of = run.score, "pictures of the validation, which chose the weights; there was no test"
    else:
        return None
    ends = bounds.of(run.results, f"test/{key}") if is_number(tested) else None
    known = measures.of(key)
    better = {"min": "lower", "max": "higher"}.get(run.mode or "", measures.better(key))
    return {
        "key": key,
        "title": shortened(measures.title(key)),
        "value": said(value),
        "interval": between(*ends) if ends else None,
        "without": None
        if ends
        else _NO_INTERVAL
        if is_number(tested)
        else "A number of the validation has no interval",
        "better": f"{better} is better" if better else "",
        "meaning": f"{known.title}: {known.meaning}." if known else "",
        "of": of,
        "beside": _beside(run, key),
    }


def said(value: float) -> str:
    """A number in four digits; those near 1, such as 0.99987, not as 1."""
    text = f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.4g}"
    if "e" in text and 1e3 <= abs(value) < 1e6:
        text = f"{value:,.0f}"
    return f"{value:.6f}".rstrip("0") if text == "1" and value != 1 else text


def between(low: float, high: float) -> str:
    """An interval with as many decimals at either end as tell its width in two digits."""
    if not (high - low > 1e-6 and max(abs(low), abs(high)) < 1e6):
        return f"{said(low)} to {said(high)}"
    decimals = max(0, 1 - math.floor(math.log10(high - low)))
    return f"{low:,.{decimals}f} to {high:,.{decimals}f}"


def descriptions(run: Run, start: str) -> list[dict[str, Any]]:
    """What the metrics of a run said of themselves, of those whose names begin so."""
    evaluation = run.results.get("evaluation")
    found = evaluation.items() if isinstance(evaluation, dict) else ()
    return [own for name, own in found if name.startswith(start) and isinstance(own, dict)]


def _counted(run: Run, key: str) -> str:
    """On what a number of the test was measured."""
    networks = run.results.get("test/networks")
    if is_number(networks) and measures.of(key) and run.results.get("test/bond_f1") is not None:
        return f"{networks:,.0f} unseen networks"
    for own in descriptions(run, "test/"):
        if is_number(own.get("images")) and is_number(own.get("reference_images")):
            return f"{own['images']:,.0f} generated pictures against {own['reference_images']:,.0f} real ones"
    kind = "unseen" if pictures.translates(run) else "generated"
    for name in ("generated_images", "partners"):
        if is_number(count := run.results.get(f"test/{name}")):
            return f"{count:,.0f} {kind} pictures"
    data = run.config.get("data")
    count = data.get("n_test") if isinstance(data, dict) else None
    return f"{count:,} {kind} pictures" if isinstance(count, int) else f"{kind} pictures"


def _beside(run: Run, key: str) -> list[tuple[str, str]]:
    """What a number lies between: the sources as they are, methods without a network, what is possible."""
    found = {"the sources as they are": f"floor/{key}", "real pictures": f"ceiling/{key}"}
    shown = [(title, run.results.get(name)) for title, name in found.items()]
    exact = run.results.get("test/network_exact")
    if key == "bond_f1" and is_number(exact):
        ends = bounds.of(run.results, "test/network_exact")
        text = f"{exact:.1%}" + (f" ({ends[0]:.1%} to {ends[1]:.1%})" if ends else "")
        exactly = [("networks without a wrong bond", text)]
    else:
        exactly = []
    bonds = key.removeprefix("bond_")
    for name, value in run.results.items():
        if name.startswith("baseline/") and name.endswith(f"_{bonds}") and bonds != key:
            method = name.removeprefix("baseline/").removesuffix(f"_{bonds}").replace("_", " ")
            shown.append((f"{shortened(method, 40)}, geometry alone", value))
        elif name.startswith("baseline/") and name.endswith(f"/{key}"):
            shown.append((f"{shortened(name.split('/')[1], 40)}, without a network", value))
    return [*exactly, *((title, said(float(value))) for title, value in shown if is_number(value))][:6]


def sentence(run: Run) -> str:
    """What was run, in a sentence."""
    model, data = (run.choices.get(name) for name in ("model", "data"))
    recipe = run.choices.get("experiment")
    parts = [f"{shortened(model, 60)} on {shortened(data, 60)}" if model and data else shortened(run.name)]
    if recipe:
        parts[0] += f" by the recipe {shortened(recipe, 60)}"
    config = run.config.get("data") if isinstance(run.config.get("data"), dict) else {}
    if isinstance(config.get("size"), int):
        parts.append(f"pictures of {config['size']} px")
    if isinstance(config.get("n_train"), int):
        parts.append(f"{config['n_train']:,} to train on")
    seed = run.results.get("seed", run.config.get("seed"))
    if isinstance(seed, int):
        parts.append(f"seed {seed}")
    text = ", ".join(parts)
    if run.images is not None:
        text += f". It saw {run.images:,} images"
        text += f" in {clock(run.duration)}" if run.duration is not None else ""
        device, precision = run.results.get("device"), run.results.get("precision")
        text += f" on {shortened(device, 80)}" if isinstance(device, str) else ""
        text += f" ({shortened(precision, 40)})" if isinstance(precision, str) else ""
    return f"{text}."
