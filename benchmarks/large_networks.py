"""Networks that do not fit a page, read in windows, against small ones: python benchmarks/large_networks.py RUN

A Markdown table of bond F1, of regular lattices of about 2,000 sites with disorder, and of as many sites in small
networks of the same kind. Both are given as lists of sites, as to `ganforge predict`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from ganforge.commands import redrawn
from ganforge.commands.evaluate import rebuild_data
from ganforge.commands.translator import Translator
from ganforge.lattice import LATTICES, Network, disorder, patch, score_bonds
from ganforge.lattice.score import BondScore
from ganforge.runs.generators import load_generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run folder, or checkpoint")
    parser.add_argument("--sites", type=int, default=2000, help="of a large network, about (default %(default)s)")
    parser.add_argument("-n", type=int, default=3, help="large networks of each kind (default %(default)s)")
    parser.add_argument("--cells", type=int, default=7, help="a side of a small network (default %(default)s)")
    parser.add_argument("--disorder", type=float, nargs="+", default=[0.05, 0.1], help="standard deviations, in bonds")
    parser.add_argument("--seed", type=int, default=1, help="of the disorder (default %(default)s)")
    parser.add_argument("--output", help="JSON file for the numbers, as `ganforge record` takes them")
    options = parser.parse_args()
    generator = load_generator(options.run)
    translator = Translator(generator)
    look = redrawn.look_of(translator)
    lattices = sorted(set(rebuild_data(generator).distribution.lattices), key=list(LATTICES).index)

    found: dict[str, dict] = {}
    print("| lattice | disorder | sites | in windows | small | difference | seconds a network |")
    print("|---|---|---|---|---|---|---|")
    for lattice in lattices:
        for std in options.disorder:
            per_cell = len(LATTICES[lattice].basis)
            side = round((options.sites / per_cell) ** 0.5)
            count = options.n * round((side / options.cells) ** 2)
            rng = np.random.default_rng([options.seed, list(LATTICES).index(lattice), round(1000 * std)])
            began = time.perf_counter()
            large = f1(translator, look, [disorder(patch(lattice, (side, side)), std, rng) for _ in range(options.n)])
            seconds = (time.perf_counter() - began) / options.n
            cells = (options.cells, options.cells)
            small = f1(translator, look, [disorder(patch(lattice, cells), std, rng) for _ in range(count)])
            print(
                f"| {lattice} | {std:g} | {side**2 * per_cell:,} | {large:.4f} | {small:.4f} | {large - small:+.4f} | "
                f"{seconds:.1f} |",
                flush=True,
            )
            kind = {"large_f1": large, "small_f1": small, "difference": large - small, "seconds": seconds}
            found.setdefault(lattice, {})[f"disorder_{std:g}"] = kind
    if options.output:
        Path(options.output).write_text(json.dumps(found, indent=1) + "\n")


def f1(translator: Translator, look: redrawn.Look, true: list[Network]) -> float:
    found = redrawn.networks(translator, look, [redrawn.of_list(network.sites) for network in true])
    scores = [score_bonds(one.bonds, own.bonds) for one, (own, _) in zip(true, found, strict=True)]
    return BondScore(*(sum(getattr(score, part) for score in scores) for part in ("tp", "fp", "fn"))).f1


if __name__ == "__main__":
    main()
