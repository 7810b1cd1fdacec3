"""docs/gallery.md and its pictures: what trained models draw.

    python benchmarks/gallery.py RUN... [--output docs] [--with-sources]

A run that is there already is replaced; the others stay. Of networks: sites and what the generator draws, of unseen
ones. Of models from noise: samples, classes in turn. Of other translators the newest grid of validation pictures, only
with --with-sources, since these are pictures of a data set that others may not be allowed to see.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import ganforge
from ganforge.commands.sample import class_labels
from ganforge.errors import UserError, require
from ganforge.runs import ledger
from ganforge.runs.folder import read
from ganforge.runs.generators import load_generator

WIDTH = 800  # px of a picture, at most
MOST_BYTES = 1_000_000  # of all pictures together
COLUMNS, ROWS = 10, 4  # of samples
NETWORKS = 6
PAGE = """# Gallery

What models drew, each with the command that trained it; `python benchmarks/gallery.py RUN...` makes this page from the
runs. Numbers are in the [ledger](results.md); these pictures are of whatever runs there were. Shown is what may be:
networks, which are drawn on the fly, and what was generated from noise; translations of other people's photographs are
not among them.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folders of runs; none: only the page again")
    parser.add_argument("--output", type=Path, default=Path("docs"))
    parser.add_argument("--with-sources", action="store_true", help="also pictures of the data set")
    options = parser.parse_args()
    folder = options.output / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.json"
    shown: dict[str, Any] = json.loads(index.read_text()) if index.is_file() else {}
    for run in options.runs:
        name, about, picture = entry(Path(run), options.with_sources)
        picture.save(folder / f"{name}.webp", quality=75, method=6)
        shown[name] = about
        print(f"{folder / name}.webp: {picture.width} × {picture.height} px")
    size = sum(file.stat().st_size for file in folder.glob("*.webp"))
    require(size < MOST_BYTES, f"{folder}: {size:,} bytes of pictures, at most are {MOST_BYTES:,}; remove some")
    shown = dict(sorted(shown.items(), key=lambda pair: (not pair[1]["networks"], pair[0])))
    index.write_text(json.dumps(shown, indent=1) + "\n")
    (options.output / "gallery.md").write_text(page(shown))


def entry(folder: Path, with_sources: bool) -> tuple[str, dict[str, Any], Image.Image]:
    """Name, what is said, and the picture of a run."""
    run, trained = read(folder), ganforge.load(folder)
    model, data = run.choices.get("model"), run.choices.get("data")
    name = run.choices.get("experiment") or f"{model}_{data}"
    is_networks = trained.card.get("drawing") is not None
    if is_networks:
        picture, what = networks(folder), "Above the sites of networks it was never trained on, below what it draws."
    elif trained.outputs == ("sample",):
        told = class_labels(load_generator(folder), None, COLUMNS) is not None  # classes, in its training
        classes = len(trained.card["class_names"]) if told else 0
        picture = samples(trained)
        what = "Drawn from noise" + (f", {classes} classes in turn." if classes and COLUMNS % classes == 0 else ".")
    else:
        require(with_sources, f"{folder}: its pictures show its data set; give --with-sources where that may be shown")
        grids = sorted((folder / "samples").glob("images_*.png"))
        require(bool(grids), f"{folder}: has no samples/images_*.png")
        picture, what = Image.open(grids[-1]).convert("RGB"), "Validation pictures: source, result, target."
    about = {
        "model": model, "networks": is_networks, "what": what, "images": run.images,
        "command": ledger.command(run.overrides), "commit": run.results.get("git_commit", "unknown"),
    }  # fmt: skip
    picture.thumbnail((WIDTH, 2 * WIDTH))
    return name, about, picture


def samples(trained: ganforge.Run) -> Image.Image:
    """The first numbers of seed 0, from left to right."""
    drawn = trained.sample(COLUMNS * ROWS, seed=0)
    _, height, width, channels = drawn.shape
    rows = drawn.reshape(ROWS, COLUMNS, height, width, channels).transpose(0, 2, 1, 3, 4)
    sheet = Image.fromarray(rows.reshape(ROWS * height, COLUMNS * width, channels).squeeze())
    factor = max(1, WIDTH // sheet.width)
    return sheet.resize((factor * sheet.width, factor * sheet.height), Image.Resampling.NEAREST).convert("RGB")


def networks(folder: Path) -> Image.Image:
    """A column a network: its sites, and what is drawn."""
    from ganforge.commands.evaluate import rebuild_data
    from ganforge.commands.translator import Translator
    from ganforge.data.lattice import drawing

    generator = load_generator(folder)
    data = rebuild_data(generator)
    translator = Translator(generator)
    pairs = [drawing(data.distribution, data.size, data.seed, "test", index) for index in range(NETWORKS)]
    drawn = translator.pictures([pair.source[..., None] for pair in pairs])
    columns = [np.vstack([pair.source, own[..., 0]]) for pair, own in zip(pairs, drawn, strict=True)]
    return Image.fromarray(np.hstack(columns)).convert("RGB")


def page(shown: dict[str, Any]) -> str:
    parts = [PAGE]
    for name, about in shown.items():
        seen = f"{about['images']:,} images seen, commit {about['commit']}."
        parts.append(
            f"## {name}\n\n    {about['command']}\n\n{about['what']} {seen}\n\n![{name}](gallery/{name}.webp)\n"
        )
    conf = Path(__file__).parents[1] / "conf/model"
    missing = sorted({file.stem for file in conf.glob("*.yaml")} - {about["model"] for about in shown.values()})
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        parts.append(f"## Not here yet\n\nOf these models there is no run to show: {names}.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
