"""docs/networks.png: a difficult network of a trained model, as sites, as drawn, as read and as it moves.

    python benchmarks/network_picture.py RUN [--output docs/networks.png] [--index N]

Of the first networks of a stream of its own, with more disorder than the main job is trained on, the one with the most
doubtful pairs of sites is shown (or number N): source, what the generator draws, the bonds that are read with the
probabilities of doubtful ones, and the softest mode of this network beyond the rigid motions of the whole.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganforge.commands.bonds import calibration_of
from ganforge.commands.evaluate import rebuild_data
from ganforge.commands.translator import Translator
from ganforge.data.lattice import drawing
from ganforge.evaluation.read_networks import ReadNetwork, of_pairs
from ganforge.lattice import Drawing
from ganforge.lattice.mechanics import analyse, springs_of
from ganforge.lattice.probability import probable_bonds
from ganforge.lattice.show import picture
from ganforge.runs.generators import load_generator

PANEL, GAP, HEAD = 400, 8, 34  # px
STREAM = "shifted"  # of networks: none is trained on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run with data=lattice, or its checkpoint")
    parser.add_argument("--output", type=Path, default=Path("docs/networks.png"))
    parser.add_argument("--index", type=int, help="of the network; else the one with the most doubtful pairs")
    parser.add_argument("-n", type=int, default=90, help="networks that are looked at (default %(default)s)")
    parser.add_argument("--disorder", type=float, nargs=2, default=(0.1, 0.16), metavar=("LOW", "HIGH"))
    parser.add_argument("--cells", type=int, nargs=2, default=(3, 5), metavar=("LOW", "HIGH"))
    options = parser.parse_args()
    generator = load_generator(options.run)
    data = rebuild_data(generator)
    distribution = replace(data.distribution, disorder=tuple(options.disorder), cells=tuple(options.cells))
    translator, calibration = Translator(generator), calibration_of(generator.card)

    def looked_at(index: int) -> tuple[Drawing, np.ndarray, ReadNetwork]:
        drawn = drawing(distribution, data.size, data.seed, STREAM, index)
        (generated,) = translator.pictures([drawn.source[..., None]])
        found = probable_bonds(generated[..., 0], drawn.network.sites, calibration)
        return drawn, generated[..., 0], of_pairs(drawn.network, found.pairs, found.probabilities)

    index = options.index
    if index is None:
        doubts = [int(looked_at(i)[2].candidates.is_doubtful.sum()) for i in range(options.n)]
        index = int(np.argmax(doubts))
    drawn, generated, read = looked_at(index)
    page = of_panels(drawn.source, generated, read)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    page.quantize(64, dither=Image.Dither.NONE).save(options.output, optimize=True)
    print(f"{options.output}: {drawn.network.lattice}, number {index}, disorder {drawn.network.disorder:.3f}, "
          f"{page.width} × {page.height} px, {options.output.stat().st_size / 1000:.0f} kB")  # fmt: skip
    print(read.draw()[1])


def of_panels(source: np.ndarray, generated: np.ndarray, read: ReadNetwork) -> Image.Image:
    """Four panels that show the same window, each under its name."""
    room = 0.8 * float(np.median(read.true.lengths()))  # for arrows
    low, high = read.true.sites.min(axis=0) - room, read.true.sites.max(axis=0) + room
    window, height = (*low, *high), round(PANEL * (high - low)[1] / (high - low)[0])
    springs, softest = springs_of(read.found), analyse(read.found, modes=1)
    panels = {
        "the sites": cropped(source, window, height),
        "drawn by the generator": cropped(generated, window, height),
        "bonds, and how sure": picture(springs, None, read.candidates, side=max(PANEL, height), window=window),
        "the softest mode": picture(springs, softest.modes[0], side=max(PANEL, height), window=window),
    }
    page = Image.new("RGB", (len(panels) * (PANEL + GAP) - GAP, HEAD + height), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(26)
    for place, (name, panel) in enumerate(panels.items()):
        left = place * (PANEL + GAP)
        pen.text((left + PANEL / 2, HEAD / 2), name, fill="black", font=font, anchor="mm")
        page.paste(panel, (left, HEAD))
        pen.rectangle((left, HEAD, left + PANEL - 1, HEAD + height - 1), outline="#b0b0b0")
    return page


def cropped(grey: np.ndarray, window: tuple[float, ...], height: int) -> Image.Image:
    """The window of a square picture, white beyond its edges."""
    border = len(grey)
    wide = Image.fromarray(np.pad(grey, border, constant_values=255))
    box = tuple(border + edge for edge in window)
    return wide.resize((PANEL, height), Image.Resampling.BICUBIC, box=box).convert("RGB")


if __name__ == "__main__":
    main()
