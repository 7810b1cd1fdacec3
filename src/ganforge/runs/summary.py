"""What a run says at its end: tables in the terminal, results.json in its folder."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ganforge.files.folders import replace
from ganforge.files.untrusted import printable
from ganforge.runs import bounds, table

TITLES = {"test": "Unseen networks", "shifted": "Unseen networks, drawn otherwise than those trained on"}
# Which of two numbers is better, by how their names begin; of others neither is.
LARGER = re.compile(
    r"(psnr|psnr_ab|ssim|is|precision|recall|r2|(label_)?accuracy|recognised|bond_\w+|\w+_exact|site_recall)(/|$)"
)
SMALLER = re.compile(r"(\w+_difference|\w*l1|mae|rmse|[fk]i?d|swd|duplicates|perceptual|reconstruction|\w+_px)(/|$)")
FRECHET = re.compile(r"(fid|fd)(/|$)")  # biased by the number of pictures, which is therefore said
_LARGEST = 1e9  # that is written out
INTERVALS = "in brackets 95 % intervals"
# Names of results that are not of a test set.
NOT_TESTS = {"val", "final", "best", "baseline", "train", "lr", "floor", "ceiling"}


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A table as text: `columns` name the cells after the first of a row; the row `strong` stands out."""

    columns: list[str]
    rows: list[list[str]]
    title: str | None = None
    caption: str | None = None
    strong: int | None = None


def write(results: dict[str, Any], path: Path) -> None:
    """results.json; a number that does not exist (no dot was found, so there is no shift) is null."""
    with replace(path) as file:
        file.write((json.dumps(_plain(results), indent=2) + "\n").encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def closing(results: dict[str, Any], test_names: list[str]) -> None:
    """The tables at the end, and where everything was written."""
    console = Console()
    tables(results, test_names, console)
    console.print(
        f"{results['images_seen']} images in {results['duration_s']:.0f} s, "
        f"{results['images_per_second']:.1f} images/s while training"
    )
    for warning in results["warnings"]:
        console.print(f"warning: {warning}", soft_wrap=True)
    for name in ("best_checkpoint", "last_checkpoint", "grid"):
        console.print(f"{name.replace('_', ' ')}: {results[name]}", soft_wrap=True)


def tables(results: dict[str, Any], test_names: list[str], console: Console) -> None:
    """The numbers of the test sets, with intervals, and what is behind them."""
    for numbers in of(results, test_names):
        title = "\n".join(part for part in (numbers.title, numbers.caption) if part)
        console.print(table.fitted(numbers.columns, numbers.rows, console, title=title or None, strong=numbers.strong))
    for note in notes(results, test_names):
        console.print(note, soft_wrap=True, markup=False)


def test_names(results: dict[str, Any]) -> list[str]:
    """The test sets of which there are results, `test` first."""
    heads = dict.fromkeys(key.split("/")[0] for key in results if "/" in key)
    return sorted((head for head in heads if head not in NOT_TESTS), key=lambda head: head != "test")


def of(results: dict[str, Any], test_names: list[str]) -> list[Numbers]:
    """The tables of the test sets: of networks and of bands where there are any, then all other numbers."""
    if not test_names:
        return []  # of a run that ended before its test
    networks = [_networks(results, name) for name in test_names if f"{name}/bond_f1" in results]
    bands = [_bands(results)] if any(key.startswith("test/mae/") for key in results) else []
    main, *_ = test_names
    bounded = [name for name in test_names if any(key.startswith(_bound("floor", name, main)) for key in results)]
    if main not in bounded:
        return [*networks, *bands, _numbers(results, test_names)]
    others = [name for name in test_names if name not in bounded]
    between = [_between(results, name, main, len(bounded) > 1) for name in bounded]
    return [*networks, *bands, *between, *([_numbers(results, others)] if others else [])]


def notes(results: dict[str, Any], test_names: list[str]) -> list[str]:
    """What is behind the numbers, in sentences."""
    sentences = []
    for name, said in results.get("evaluation", {}).items():
        own = bool(test_names) and name.startswith(f"{test_names[0]}/")
        if own and "reference" in said and "extractor" in said:
            sentences.append(
                f"{said['images']:,} generated pictures against {said['reference_images']:,} real ones "
                f"({said['reference']}), by {said['extractor']} ({said['extractor_hash']}), resizer: "
                f"{said['resizer']}; {INTERVALS}"
            )
            if said.get("extractor_warning"):
                sentences.append(f"warning: {said['extractor_warning']}")
            if said.get("advice"):
                sentences.append(said["advice"])
        if test_names and name == f"{test_names[0]}/domains" and said.get("extractor"):
            accuracy = said.get("extractor_test_accuracy")
            right = "" if accuracy is None else f", which is right in {accuracy:.1%} of real test pictures"
            sentences.append(f"recognised by {said['extractor']} ({said['extractor_hash']}){right}")
        if test_names and name == f"{test_names[0]}/pixels" and "reference" in said:
            sentences.append(
                f"{said['images']:,} generated pictures against {said['reference_images']:,} real ones "
                f"({said['reference']}), pixel by pixel"
            )
        if name.endswith("/worst"):
            sentences.append(_worst(name.removesuffix("/worst"), said))
        if test_names and said.get("memorized/picture") and name.startswith(test_names[0]):
            sentences.append(f"beside their nearest training pictures: {said['memorized/picture']}")
    if has_intervals(results, test_names) and not any(INTERVALS in sentence for sentence in sentences):
        sentences.append(f"{INTERVALS}, over the pictures of the test")
    return sentences


def has_intervals(results: dict[str, Any], test_names: list[str]) -> bool:
    """Whether numbers of the tables have some behind them."""
    cells = (cell for numbers in of(results, test_names) for row in numbers.rows for cell in row[1:])
    return any(" [" in cell for cell in cells)


def _worst(name: str, said: dict[str, Any]) -> str:
    """Of a test set which pictures came out worst."""
    if "none" in said:
        return f"worst of {name}: {said['none']}"
    cases = ", ".join(f"{printable(case['name'])} ({case[said['measure']]:.4g})" for case in said["worst"][:3])
    return f"worst of {name} by {said['measure']}: {cases}; pictures: {said['folder']}"


def _warned(results: dict[str, Any], places: dict[str, str], key: str) -> str:
    """Beside a number that is not better than that of the sources as they are."""
    floor, result = (results.get(places[title] + key) for title in ("floor", "result"))
    if floor is None or result is None or not better(key) or floor == result == 0:
        return ""
    return "" if (result > floor if better(key) == "higher" else result < floor) else " (no better than the floor)"


def better(key: str) -> str:
    """Whether a number is better the higher or the lower it is; "" where it is not known."""
    return "higher" if LARGER.match(key) else "lower" if SMALLER.match(key) else ""


def _numbers(results: dict[str, Any], names: list[str]) -> Numbers:
    """A row a number; columns: the best weights on each test set, and the final weights on the first."""
    columns = {name: f"{name}/" for name in names}
    if any(key.startswith("final/") for key in results):
        columns = {f"{names[0]}, best": f"{names[0]}/", f"{names[0]}, final": f"final/{names[0]}/"} | {
            name: f"{name}/" for name in names[1:]
        }
    return Numbers(columns=list(columns), rows=_rows(results, names[0], columns))


def _between(results: dict[str, Any], name: str, main: str, titled: bool) -> Numbers:
    """A row a number of a translation; columns: what it is between, for the best weights, and which end is better."""
    start = "baseline/" if name == main else f"{name}/baseline/"
    baselines = [key.removeprefix(start).partition("/") for key in results if key.startswith(start)]
    others = dict.fromkeys(other for other, _, key in baselines if f"{name}/{key}" in results)
    places = {
        "floor": _bound("floor", name, main),
        **{other: f"{start}{other}/" for other in others},
        "result": f"{name}/",
        "final": f"final/{name}/",
        "ceiling": _bound("ceiling", name, main),
    }
    rows = _rows(results, name, places)
    empty = [title for at, title in enumerate(places, 1) if title != "result" and not any(row[at] for row in rows)]
    columns = {title: at for at, title in enumerate(places, 1) if title not in empty}
    keys = [row[0].split(" ")[0] for row in rows]
    return Numbers(
        title=name if titled else None,
        caption="floor: the sources as they are"
        + "".join(f", {other}: a method without a network" for other in others)
        + ", ceiling: training pictures of the target side" * ("ceiling" in columns)
        + ", final: the last weights" * ("final" in columns),
        columns=[*columns, "better"],
        rows=[
            [row[0], *(row[at] or "-" for at in columns.values()), better(key) + _warned(results, places, key)]
            for key, row in zip(keys, rows, strict=True)
        ],
    )


def _rows(results: dict[str, Any], name: str, columns: dict[str, str]) -> list[list[str]]:
    """A row for each number of a test set; columns: title -> what stands before the number's name."""
    keys = [key.removeprefix(f"{name}/") for key in results if key.startswith(f"{name}/")]
    in_other_table = ("bond_", "network", "baseline/", "classes/", "mae/", "rmse/", "r2/", "zero_modes_exact/",
                      "disorder_", "probable_")  # fmt: skip
    details = ("/low", "/high", "/std", "/images", "generated_images")
    extractors = _extractors(results)
    rows = []
    for key in keys:
        if key.startswith(in_other_table) or key.endswith(details):
            continue
        label = f"{_beside(key, extractors)}{_counted(results, name, key)}"
        rows.append([label, *(_cell(results, prefix + key) for prefix in columns.values())])
    for group in dict.fromkeys("/".join(key.split("/")[:2]) for key in keys if key.startswith("classes/")):
        cells = []
        for prefix in columns.values():
            classes = [key for key in results if key.startswith(f"{prefix}{group}/") and not key.endswith(details)]
            shares = sorted((100 * results[key], key.rpartition("/")[2]) for key in classes if results[key] is not None)
            ends = dict.fromkeys((shares[0], shares[-1])) if shares else ()
            cells.append(" to ".join(f"{share:.1f} % ({name})" for share, name in ends))
        rows.append([_beside(group, extractors), *cells])
    return rows


def _bound(bound: str, name: str, main: str) -> str:
    """How the names begin of what the numbers of a test set lie above or below."""
    return f"{bound}/" if name == main else f"{bound}/{name}/"


def _counted(results: dict[str, Any], name: str, key: str) -> str:
    """Beside a Fréchet distance: of how many pictures, generated and real."""
    for title, said in results.get("evaluation", {}).items():
        if FRECHET.match(key) and title.startswith(f"{name}/") and "reference_images" in said and "extractor" in said:
            return f" ({said['images']} against {said['reference_images']})"
    return ""


def _extractors(results: dict[str, Any]) -> dict[str, str]:
    """How often each classifier behind the numbers is right."""
    found = {}
    for said in results.get("evaluation", {}).values():
        if "extractor_file" in said:
            accuracy = said.get("extractor_test_accuracy")
            found[said["extractor"]] = "accuracy unknown" if accuracy is None else f"{100 * accuracy:.1f} % right"
    return found


def _beside(key: str, extractors: dict[str, str]) -> str:
    """The name of a number; of one that an extractor gives, with how often that is right."""
    name = next((part for part in key.split("/")[1:] if part in extractors), None)
    return key if name is None else f"{key} ({extractors[name]})"


def _cell(results: dict[str, Any], key: str) -> str:
    if results.get(key) is None or results[key] != results[key]:
        return ""
    ends = bounds.of(results, key)
    return _digits(results[key]) + (f" [{_digits(ends[0])}, {_digits(ends[1])}]" if ends else "")


def _digits(number: float) -> str:
    return f"{number:.4f}" if abs(number) < _LARGEST else f"{number:.4g}"


def _bands(results: dict[str, Any]) -> Numbers:
    """A row a band; columns: errors of the generator and of the baselines, in the unit of the files."""
    labels = [key.removeprefix("test/mae/") for key in results if key.startswith("test/mae/")]
    methods = {"": "test", "mean's ": "baseline/mean", "linear ": "baseline/linear"}
    columns = {
        f"{name}{title}": f"{prefix}/{key}"
        for title, key in (("MAE", "mae"), ("RMSE", "rmse"), ("R²", "r2"))
        for name, prefix in methods.items()
        if key != "r2" or prefix != "baseline/mean"  # about 0, by what it is
    }
    numbers = [[results.get(f"{key}/{label}") for key in columns.values()] for label in labels]
    rows = [
        [label, *("" if value is None else f"{value:.4g}" for value in own)]
        for label, own in zip(labels, numbers, strict=True)
    ]
    return Numbers(
        title="Bands",
        caption="errors in the unit of the files, of the generator, of the training pictures' mean and of a linear "
        "regression from the source bands",
        columns=list(columns),
        rows=rows,
    )


def _networks(results: dict[str, Any], name: str) -> Numbers:
    """Rows: the generator and the geometric baselines; columns: bond F1 and exact networks, of all and each lattice."""
    prefix = f"{name}/bond_f1/"
    lattices = [key.removeprefix(prefix) for key in results if key.startswith(prefix)]
    baselines = "" if name == "test" else f"{name}/"
    methods = {"generator": (f"{name}/bond_f1", f"{name}/network_exact")}
    for key in results:
        if key.startswith(f"{baselines}baseline/") and key.endswith("_f1"):
            methods[key.removeprefix(f"{baselines}baseline/").removesuffix("_f1")] = (key, key.replace("_f1", "_exact"))
    rows = []
    for method, (f1, exact) in methods.items():
        suffixes = ("", *(f"/{lattice}" for lattice in lattices))
        cells = [(results.get(f1 + suffix), results.get(exact + suffix)) for suffix in suffixes]
        shown = ["" if None in cell else f"{cell[0]:.4f} {100 * cell[1]:3.0f} %" for cell in cells]
        rows.append([method.replace("_", " "), *shown])
    ends = bounds.of(results, f"{name}/bond_f1"), bounds.of(results, f"{name}/network_exact")
    known = [f"bond F1 {ends[0][0]:.4f} to {ends[0][1]:.4f}"] if ends[0] else []
    known += [f"exact networks {100 * ends[1][0]:.1f} to {100 * ends[1][1]:.1f} %"] if ends[1] else []
    caption = "bond F1, and the share of networks without a wrong bond"
    return Numbers(
        title=f"{TITLES.get(name, name)} ({results[f'{name}/networks']:.0f})",
        caption=caption + (f"; 95 % intervals of the generator: {', '.join(known)}" if known else ""),
        columns=["all", *lattices],
        rows=rows,
        strong=0,
    )
