"""The README.md of an exported model: what it is, on what it was trained, how good it is, its limits."""

import json
from pathlib import Path
from typing import Any

import yaml

from ganforge.files import untrusted
from ganforge.files.untrusted import printable
from ganforge.pictures import images
from ganforge.runs import bounds, exported, summary
from ganforge.runs.generators import Generator
from ganforge.runs.hub_folder import LIBRARY
from ganforge.runs.summary import Numbers

_PICTURES = 4
_LARGEST_PICTURE = 2**20  # bytes
_SIDE = 1024  # px of a picture in the card, at most


def text(generator: Generator, card: dict[str, Any], folder: Path) -> str:
    """The card in Markdown; its pictures are written to `folder`, small."""
    run = generator.path.absolute().parents[1]
    results = untrusted.read_json(run, "results.json") if (run / "status.json").is_file() else None
    results = results if isinstance(results, dict) else {}
    section, is_sampler = card[exported.SECTION], generator.output.fed == "latent"
    head = {
        "library_name": LIBRARY,
        "license": section["license"],
        "pipeline_tag": "unconditional-image-generation" if is_sampler else "image-to-image",
        "tags": ["gan", "pytorch", LIBRARY],
    }
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {_plain(section['model'])}",
        _what(card, is_sampler),
        "## Use\n\n" + _use(is_sampler),
        "## Training data\n\n" + _data(card, results),
        "## Results\n\n" + _results(results),
        "## Limits\n\n" + _limits(card, results),
    ]
    shown = _pictures(run, folder) if results else []
    if shown:
        parts.append("## Pictures\n\n" + "\n\n".join(f"![{name}]({name})" for name in shown))
    versions = ", ".join(f"{name} {version}" for name, version in (card.get("versions") or {}).items())
    parts.append(
        "## Origin\n\n"
        f"- trained with {_plain(versions or 'unknown versions')}\n"
        f"- seed {_plain(card['config'].get('seed'))}, {_plain(card.get('images_seen'))} images seen\n"
        f"- fingerprint of the data: {_plain(card.get('data_fingerprint'))}\n"
        f"- SHA-256 of the weights of {_plain(section['output'])}: {section['weights_sha256']}"
    )
    return "\n\n".join(parts) + "\n"


def _what(card: dict[str, Any], is_sampler: bool) -> str:
    model = card["config"].get("model")
    system = str(model.get("_target_", "a GAN")).rpartition(".")[2] if isinstance(model, dict) else "a GAN"
    networks = ", ".join(
        f"{name}: {str(own.get('_target_')).rpartition('.')[2]}" for name, own in card["networks"].items()
    )
    size = card["size"]
    gives = f"Draws new pictures of {size} px." if is_sampler else f"Translates pictures; trained at {size} px."
    lines = [f"{gives} {_plain(system)}, with {_plain(networks)}. Outputs: {_plain(', '.join(card['outputs']))}."]
    if card.get("sides"):
        for side, own in card["sides"].items():
            lines.append(f"{side.capitalize()}: {_plain(', '.join(own['bands']))} ({_plain(own['dtype'])})")
    if card.get("domains"):
        lines.append(f"Domains: {_plain(', '.join(card['domains']['names']))}")
    elif card.get("class_names"):
        lines.append(f"Classes: {_plain(', '.join(card['class_names']))}")
    return "\n\n".join(lines)


def _use(is_sampler: bool) -> str:
    command = f"{'sample FOLDER -n 64' if is_sampler else 'predict FOLDER PICTURES'} --output DIR"
    call = "ganforge.load(FOLDER).sample(16)" if is_sampler else 'ganforge.load(FOLDER).translate("picture.png")'
    return f"    ganforge {command}\n\n```python\nimport ganforge\n\n{call}\n```"


def _data(card: dict[str, Any], results: dict[str, Any]) -> str:
    data = card["config"].get("data")
    data = data if isinstance(data, dict) else {}
    kind = str(data.get("_target_", "unknown")).rpartition(".")[2]
    settings = {name: value for name, value in data.items() if name != "_target_" and value is not None}
    rows = [[_plain(name), _plain(json.dumps(value))] for name, value in settings.items()]
    return f"{_plain(kind)}\n\n{_table(['setting', 'value'], rows)}" if rows else _plain(kind)


def _results(results: dict[str, Any]) -> str:
    names = summary.test_names(results)
    if not names:
        return "Its run did not come to its test, or is not there: no numbers are known."
    parts = []
    for numbers in summary.of(results, names):
        said = [_plain(part) for part in (numbers.title, numbers.caption) if part]
        parts.append("\n\n".join([*said, _numbers(numbers)]))
    parts += [f"- {_plain(note)}" for note in summary.notes(results, names) if _is_said(note)]
    parts += [said for name in names if (said := _exact(results, name))]
    bounded = summary.has_intervals(results, names)
    parts.append(
        f"One training, seed {_plain(results.get('seed'))}; best weights; the spread over trainings is not known."
        + " Numbers in brackets are 95 % intervals over test pictures." * bounded
    )
    return "\n\n".join(parts)


def _is_said(note: str) -> bool:
    """Whether a note of the terminal names no file and is not said in other words."""
    return "/" not in note and not note.startswith(summary.INTERVALS)


def _exact(results: dict[str, Any], name: str) -> str:
    """The share of networks without a wrong bond with its interval; "" for other models."""
    share, count = results.get(f"{name}/network_exact"), results.get(f"{name}/networks")
    if bounds.of(results, f"{name}/network_exact"):
        return ""  # above the table
    if not (isinstance(share, float) and 0 <= share <= 1 and isinstance(count, int | float) and count >= 1):
        return ""
    from ganforge.evaluation import intervals  # loads all that measures, which other cards need not

    low, high = intervals.of_share(share, int(count))
    return f"{_plain(name)}: {share:.1%} of {int(count):,} networks are exact (95 % interval {low:.1%}–{high:.1%})."


def _limits(card: dict[str, Any], results: dict[str, Any]) -> str:
    said = [
        f"- Measured on test pictures of the data above; nobody knows how it does on others. It was trained at "
        f"{card['size']} px.",
        "- It draws what is likely, not what is there: results are no measurements.",
    ]
    warnings = results.get("warnings")
    said += [f"- {_plain(warning)}" for warning in (warnings if isinstance(warnings, list) else [])]
    if card[exported.SECTION]["license"] == exported.UNKNOWN_LICENCE:
        said.append("- Nobody said under which licence the weights and the training data may be used.")
    return "\n".join(said)


def _pictures(run: Path, folder: Path) -> list[str]:
    """The last grid and the first pictures of the test, at most so many, reduced, beside the card."""
    grids = sorted((run / "samples").glob("images_*.png"))[-1:]
    worst, first = (sorted((run / "samples/test").glob(f"test_{kind}_*.png")) for kind in ("worst", "first"))
    shown = []
    for file in [*grids, *worst[:1], *first][:_PICTURES]:
        if not untrusted.is_file(run, str(file.relative_to(run))) or file.stat().st_size > 16 * _LARGEST_PICTURE:
            continue
        picture = images.read(file, 3)
        factor = min(1.0, _SIDE / max(picture.shape[:2]))
        size = tuple(max(1, round(side * factor)) for side in picture.shape[:2])
        images.write(folder / file.name, images.resize(picture, size))
        shown.append(file.name)
    return shown


def _numbers(numbers: Numbers) -> str:
    return _table(["", *map(_plain, numbers.columns)], [list(map(_plain, row)) for row in numbers.rows])


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(value: Any) -> str:
    """Text of a run for Markdown: no markup, no links, no lines of its own."""
    kept = printable(str(value))
    for mark in "\\|<>[]*`#!":
        kept = kept.replace(mark, f"\\{mark}")
    return kept
