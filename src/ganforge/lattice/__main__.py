"""Writes a folder of picture pairs of random mechanical networks: python -m ganforge.lattice FOLDER -n 1000."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from ganforge.errors import UserError, require
from ganforge.lattice.draw import Drawing, Style, draw
from ganforge.lattice.network import LATTICES
from ganforge.lattice.sample import Distribution, sample

RANGES = {  # field of Distribution: what it is
    "disorder": "standard deviation of the sites in units of the shortest bond",
    "breathing": "side of kagome's small triangles over the lattice constant, 0.5 regular",
    "dot-radius": "radius of the dots in px on a page of 256 px",
    "line-width": "width of the lines in px on a page of 256 px",
    "line-grey": "grey of the lines, 0 black to below 1 white",
    "margin": "clear border in px on a page of 256 px",
    "scale": "share of the largest scale that fits on the page",
}
LONG = 200  # pairs from which on progress is shown


def parser() -> argparse.ArgumentParser:
    default = Distribution()
    made = argparse.ArgumentParser(
        prog="python -m ganforge.lattice",
        description="Write pairs of pictures of random mechanical networks: FOLDER/0001_source.png shows the sites, "
        "0001_target.png the sites and the bonds, 0001.json says what they are (sites in pixels, x right and y down).",
        epilog="Equal options write equal files, and more pairs (-n) leave the first ones as they were. "
        "Ranges are two numbers, LOW HIGH; each pair draws its own value.",
    )
    made.add_argument("folder", type=Path, help="where to write; made if missing; existing files are never replaced")
    made.add_argument("-n", "--number", type=int, default=100, help="how many pairs (default %(default)s)")
    made.add_argument("--size", type=int, default=256, help="side of the pictures in px (default %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="whole number from 0 (default %(default)s)")
    made.add_argument(
        "--lattices",
        nargs="+",
        default=list(default.lattices),
        metavar="NAME",
        help=f"lattices to draw from: {', '.join(LATTICES)} (default all)",
    )
    made.add_argument(
        "--cells",
        nargs=2,
        type=int,
        default=default.cells,
        metavar=("LOW", "HIGH"),
        help=f"cells along each side of the patch (default {default.cells[0]} {default.cells[1]})",
    )
    for name, meaning in RANGES.items():
        low, high = getattr(default, name.replace("-", "_"))
        made.add_argument(
            f"--{name}",
            nargs=2,
            type=float,
            default=(low, high),
            metavar=("LOW", "HIGH"),
            help=f"{meaning} (default {low} {high})",
        )
    made.add_argument("--no-symmetries", action="store_true", help="do not turn and mirror the networks")
    return made


def write(folder: Path, number: int, size: int, seed: int, distribution: Distribution) -> None:
    """Write `number` pairs of `size` px with their networks into `folder`, as `--help` says.

    Picture i depends on seed, size, distribution and i only. Raises UserError, before anything is written, where the
    folder holds one of the files already or cannot be written.
    """
    require(number >= 1, f"number={number}; accepted is 1 or more.")
    require(seed >= 0, f"seed={seed}; accepted are whole numbers from 0.")
    require(16 <= size <= 4096, f"size={size}; accepted is 16 to 4096 px.")
    stems = [f"{index + 1:04d}" for index in range(number)]
    sample(distribution, size, np.random.default_rng([seed, 0, 0]))  # what cannot be drawn is told before the work
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise UserError(f"folder={folder} cannot be written: {error.strerror}; choose another.") from error
    taken = [stem for stem in stems if there & set(names(stem))]
    require(not taken, f"folder={folder} already holds pair {taken[0] if taken else ''}; choose an empty folder.")
    try:
        for index, stem in enumerate(shown(stems)):
            network, style = sample(distribution, size, np.random.default_rng([seed, 0, index]))
            save(folder, stem, draw(network, size, style), style, seed, index)
    except OSError as error:
        raise UserError(f"folder={folder} cannot be written: {error.strerror}; choose another.") from error


def names(stem: str) -> tuple[str, str, str]:
    return f"{stem}_source.png", f"{stem}_target.png", f"{stem}.json"


def save(folder: Path, stem: str, drawing: Drawing, style: Style, seed: int, index: int) -> None:
    source, target, said = (folder / name for name in names(stem))
    network = drawing.network
    record = {
        "lattice": network.lattice,
        "seed": seed,
        "index": index,
        "size": len(drawing.target),
        "style": asdict(style),
        "sites": network.sites.tolist(),
        "bonds": network.bonds.tolist(),
    }
    # "x" refuses what another program wrote here since the folder was looked at.
    with source.open("xb") as file:
        Image.fromarray(drawing.source).save(file, format="PNG")
    with target.open("xb") as file:
        Image.fromarray(drawing.target).save(file, format="PNG")
    with said.open("x", encoding="utf-8") as file:
        json.dump(record, file)


def shown(stems: Sequence[str]) -> Iterable[str]:
    """The stems, with a progress bar on a terminal's standard error where there are many."""
    if len(stems) < LONG or not sys.stderr.isatty():
        return stems
    from rich.console import Console
    from rich.progress import track

    return track(stems, description="drawing", console=Console(stderr=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status, 2 where the user has to mend something."""
    options = parser().parse_args(arguments)
    ranges = {name.replace("-", "_"): tuple(getattr(options, name.replace("-", "_"))) for name in RANGES}
    try:
        distribution = Distribution(
            lattices=tuple(options.lattices),
            cells=tuple(options.cells),
            symmetries=not options.no_symmetries,
            **ranges,
        )
        write(options.folder, options.number, options.size, options.seed, distribution)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {options.number} pairs of {options.size} px to {options.folder.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
