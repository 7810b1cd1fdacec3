"""How colourful pictures are, and how near their colours are to the true ones."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MeanMetric

from ganforge.data.module import DataModule
from ganforge.evaluation.paired import MOST_DB, psnr
from ganforge.evaluation.picture_mean import PictureMean, mean_intervals
from ganforge.pictures import colour
from ganforge.pictures.tensors import to_unit

LARGEST = 2000  # training pictures of which the mean colour is taken
_BATCH = 64


def colourfulness(pictures: Tensor) -> Tensor:
    """Of RGB pictures (B, 3, H, W) in [-1, 1]: (B,), 0 for grey, some 100 for the most colourful photographs.

    Hasler and Süsstrunk 2003, equation for M(3): of the opponent colours R - G and (R + G) / 2 - B on [0, 255] the
    standard deviations and 0.3 of the means. The differences are signed, as there; with absolute values, as some
    programs have it, the numbers are others.
    """
    red, green, blue = ((pictures.float() + 1) * 127.5).unbind(1)
    opponent = torch.stack([red - green, (red + green) / 2 - blue], dim=1).flatten(2)
    spread = opponent.var(dim=2, correction=0).sum(dim=1).sqrt()
    return spread + 0.3 * opponent.mean(dim=2).square().sum(dim=1).sqrt()


class ColourMetrics(nn.Module):
    """Of RGB pictures and what they should be.

    colourfulness: see there. colourfulness_difference: mean over the pictures of its absolute difference to that of the
    true picture. psnr_ab: of a and b of CIE L*a*b*, whose whole range is 220, in dB.
    """

    needs = frozenset({"colour"})
    stages = ("val", "test")
    monitor = ("colourfulness_difference", "min")
    has_floor = True  # of the grey picture

    def __init__(self):
        super().__init__()
        self.means = nn.ModuleDict(
            {name: PictureMean() for name in ("psnr_ab", "colourfulness", "colourfulness_difference")}
        )
        self.true = MeanMetric()

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated, batch["target"]: RGB (B, 3, H, W) in [-1, 1]."""
        true, found = colourfulness(batch["target"]), colourfulness(generated)
        self.true.update(true)
        self.means["colourfulness"].update(found)
        self.means["colourfulness_difference"].update((found - true).abs())
        colours = [(colour.encode(pictures)[1] + 1) / 2 for pictures in (generated, batch["target"])]
        self.means["psnr_ab"].update(psnr(*colours))

    def compute(self) -> dict[str, float]:
        """The numbers over everything seen since the last reset, on all ranks."""
        return {name: mean.mean() for name, mean in self.means.items()}

    def ceiling(self) -> dict[str, float]:
        """The colourfulness of the true pictures."""
        return {"colourfulness": float(self.true.compute())}

    def describe(self) -> dict[str, Any]:
        """What the numbers are, and 95 % `intervals` over the images."""
        limits = {"psnr_ab": (-math.inf, MOST_DB), "colourfulness_difference": (0.0, math.inf)}
        found = mean_intervals(self.means, limits)
        return {
            **({"intervals": found} if found else {}),
            "colourfulness": "mean over the images of Hasler and Süsstrunk's M(3), with signed opponent colours",
            "colourfulness_difference": "mean over the images of the absolute difference to the true picture's",
            "psnr_ab": "mean over the images of 10 log10(220^2 / mean squared error of a and b)",
        }

    def reset(self) -> None:
        for mean in (*self.means.values(), self.true):
            mean.reset()


class MeanColour(nn.Module):
    """baseline/mean_colour/...: what giving every pixel the mean colour of the training pictures would get."""

    needs = frozenset({"colour"})
    stages = ("test",)
    monitor = None

    def __init__(self):
        super().__init__()
        self.metrics, self.psnr, self.mean = ColourMetrics(), MeanMetric(), torch.zeros(2)

    def prepare(self, data: DataModule) -> None:
        """Takes the mean of training pictures."""
        pictures = data.real("train")
        count = min(LARGEST, len(pictures))
        total = torch.zeros(2, dtype=torch.float64)
        for begin in range(0, count, _BATCH):
            rows = range(begin, min(begin + _BATCH, count))
            _, colours = colour.encode(to_unit(torch.stack([pictures[row] for row in rows])))
            total += colours.double().mean(dim=(2, 3)).sum(dim=0)
        self.mean = (total / count).float()

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        lightness, colours = colour.encode(batch["target"])
        painted = colour.decode(lightness, self.mean.to(colours)[:, None, None].expand_as(colours))
        self.metrics.update(batch, painted, dataset)
        self.psnr.update(psnr((painted + 1) / 2, (batch["target"] + 1) / 2))

    def compute(self) -> dict[str, float]:
        numbers = {"psnr": float(self.psnr.compute()), **self.metrics.compute()}
        return {f"baseline/mean_colour/{name}": value for name, value in numbers.items()}

    def reset(self) -> None:
        self.metrics.reset()
        self.psnr.reset()
