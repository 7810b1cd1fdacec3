"""How far tiled translations are from those of the picture in one piece, at the edges of tiles and away from them.

    python benchmarks/seams.py [--tile 64] [--steps 300]

Small generators (U-Net and ResNet, batch and instance norm) learn local contrast on crops of the size of a tile; then
a picture of 8 × 8 tiles is translated in one piece and in tiles. Printed is the mean absolute difference of the two, in
[-1, 1], within 2 px of the edges of tiles (seam) and elsewhere (away): with running statistics, with those of each
tile, and with those of 16 tiles from all over the picture, which ganforge predict takes where none are running.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ganforge.commands.translator import Translator
from ganforge.game import Output
from ganforge.networks import ResNetGenerator, UNet
from ganforge.pictures.tiling import Tiling
from ganforge.runs.generators import Generator


def clouds(side: int, seed: int) -> np.ndarray:
    """uint8 (side, side, 3) with structures of all sizes."""
    rng, total = np.random.default_rng(seed), 0
    for cells in (4, 16, 64, side // 2):
        coarse = torch.from_numpy(rng.normal(size=(1, 3, cells, cells)))
        total = total + functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return ((torch.tanh(total / 2) + 1) * 127.5).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()


def train(network: nn.Module, tile: int, steps: int) -> None:
    source = torch.from_numpy(clouds(8 * tile, 1)).permute(2, 0, 1)[None] / 127.5 - 1
    blurred = functional.avg_pool2d(functional.pad(source, (8, 8, 8, 8), mode="reflect"), 17, 1)
    target = torch.tanh(2 * (source - blurred))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    network.train()
    for places in np.random.default_rng(0).integers(0, 7 * tile, (steps, 8, 2)):
        x, y = (torch.cat([of[..., a : a + tile, b : b + tile] for a, b in places]) for of in (source, target))
        optimizer.zero_grad()
        (network(x) - y).abs().mean().backward()
        optimizer.step()


def difference(tiling: Tiling, values: np.ndarray) -> str:
    near = np.zeros(values.shape[:2], dtype=bool)
    for starts, mask in ((tiling.tops, near), (tiling.lefts, near.T)):
        for edge in {place for start in starts for place in (start, start + tiling.tile)} - {0, len(near)}:
            mask[edge - 2 : edge + 2] = True
    seam, away = values[near].mean() / 127.5, values[~near].mean() / 127.5
    return f"seam {seam:.4f}  away {away:.4f}  ratio {seam / away:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tile", type=int, default=64, metavar="PX")
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.manual_seed(0)
    picture, spread = clouds(8 * options.tile, 0), Translator._sample
    for kind, norm, mode in [(k, *how) for k in (UNet, ResNetGenerator) for how in MODES]:
        depth = {"depth": 3} if kind is ResNetGenerator else {}
        network = kind(in_channels=3, out_channels=3, size=options.tile, base_channels=8, norm=norm, **depth)
        train(network, options.tile, options.steps)
        card = {"size": options.tile, "norm_mode": mode, "fit_to_size": "squash", "sides": None}
        card |= {"source_channels": 3, "target_channels": 3}
        generator = Generator(network.eval(), card, Path("seams"), Output("generator", "picture"))
        whole = Translator(generator, full_size=True).translate(picture).astype(float)
        statistics = ["running"] if (norm, mode) == ("batch", "running") else ["of each tile", "of the picture"]
        for overlap in (0, 0.25, 0.5):
            translator = Translator(generator, tile=options.tile, overlap=overlap)
            for whose in statistics:
                Translator._sample = (lambda *_: []) if whose == "of each tile" else spread
                apart = np.abs(translator.translate(picture) - whole)
                said = difference(translator.tiling(*picture.shape[:2]), apart)
                print(f"{kind.__name__:15s} {norm:8s} statistics {whose:14s} overlap {overlap:<4g}  {said}", flush=True)


MODES = (("batch", "running"), ("batch", "batch"), ("instance", "running"))

if __name__ == "__main__":
    main()
