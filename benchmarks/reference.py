"""How fast our training step is beside that of the reference implementation of pix2pix.

    python benchmarks/reference.py [--pairs 9] [--batches 10] [OVERRIDE ...]

The reference's step (junyanz/pytorch-CycleGAN-and-pix2pix) is written down here as a plain loop: its losses and their
order (discriminator: generated, then real, halved; generator: GAN and 100 x L1), float32, contiguous tensors, Adam as
torch makes it by default. Ours is that of `python train.py model=pix2pix OVERRIDE ...`, through the Trainer, at the
precision that trainer.precision=auto chooses here. Both train the same networks (a U-Net and a PatchGAN of 64 channels)
on the same pictures in memory, in turns within one process; printed is the median of the pairs' ratios.
"""

import argparse
import copy
import statistics
import time
from functools import partial

import hydra
import torch
from hydra import compose, initialize_config_dir
from step_time import ours
from torch import nn
from torch.utils.data import Dataset

from ganforge import CONF
from ganforge.data.module import DataModule
from ganforge.hardware.choice import precision
from ganforge.settings import quiet


class Noise(Dataset):
    """n pairs of random pictures in memory."""

    def __init__(self, n: int, channels: int, size: int):
        self.n = n
        self.pictures = torch.rand(8, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict:
        return {"source": self.pictures[index % 8], "target": self.pictures[(index + 1) % 8], "index": index}


class NoiseData(DataModule):
    provides = frozenset({"paired"})

    def datasets(self) -> dict:
        return {name: Noise(100_000 if name == "train" else 8, 3, self.size) for name in ("train", "val", "test")}


class Reference:
    """One step of the reference's Pix2PixModel.optimize_parameters after another."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, data: DataModule, device: torch.device):
        self.generator, self.discriminator = generator.to(device), discriminator.to(device)
        adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_g, self.optimizer_d = adam(generator.parameters()), adam(discriminator.parameters())
        self.gan, self.l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
        self.data, self.device, self.index = data.sets["train"], device, 0
        self.batch_size = data.batch_size

    def step(self) -> None:
        items = [self.data[self.index + number] for number in range(self.batch_size)]
        self.index += self.batch_size
        a, b = (torch.stack([item[name] for item in items]).to(self.device) for name in ("source", "target"))
        fake = self.generator(a)
        self.discriminator.requires_grad_(True)
        self.optimizer_d.zero_grad()
        judged = self.discriminator(torch.cat((a, fake.detach()), 1))
        loss_fake = self.gan(judged, torch.zeros_like(judged))
        judged = self.discriminator(torch.cat((a, b), 1))
        loss_real = self.gan(judged, torch.ones_like(judged))
        ((loss_fake + loss_real) * 0.5).backward()
        self.optimizer_d.step()
        self.discriminator.requires_grad_(False)
        self.optimizer_g.zero_grad()
        judged = self.discriminator(torch.cat((a, fake), 1))
        (self.gan(judged, torch.ones_like(judged)) + self.l1(fake, b) * 100).backward()
        self.optimizer_g.step()

    def rate(self, batches: int) -> float:
        """Images a second, after three batches."""
        for number in range(batches + 3):
            if number == 3:
                _synchronize()
                begun = time.perf_counter()
            self.step()
        _synchronize()
        return batches * self.batch_size / (time.perf_counter() - begun)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--batches", type=int, default=10, help="batches a side and pair")
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    options = parser.parse_args()
    quiet()
    base = ["name=benchmark", "run_dir=.", "model=pix2pix", "data=pairs", "data.root=.", "data.batch_size=4"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[*base, *options.overrides])
    data = NoiseData(size=config.data.size, batch_size=config.data.batch_size, num_workers=0, seed=0)
    system = hydra.utils.instantiate(config.model, _convert_="all")
    device = torch.device("cuda" if torch.cuda.is_available() and config.trainer.accelerator != "cpu" else "cpu")
    theirs = Reference(copy.deepcopy(system.generator), copy.deepcopy(system.discriminator), data, device)
    print(
        f"{device} ({torch.get_num_threads()} threads), ours {precision(config.trainer)}, reference float32, batches "
        f"of {data.batch_size} x {data.size} px, {options.pairs} pairs of {options.batches} batches a side",
        flush=True,
    )
    ratios = []
    for number in range(options.pairs):
        # Which side goes first alternates, so that a machine that slows down favours neither.
        if number % 2:
            reference = theirs.rate(options.batches)
            rate = ours(config, system, data, options.batches)
        else:
            rate = ours(config, system, data, options.batches)
            reference = theirs.rate(options.batches)
        ratios.append(rate / reference)
        print(f"{number + 1}: ours {rate:7.2f} images/s, reference {reference:7.2f}, {ratios[-1]:.3f} x", flush=True)
    low, high = min(ratios), max(ratios)
    print(f"median: {statistics.median(ratios):.3f} x the reference ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
