"""How near a translation is to the picture it should be: for every paired data set."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MeanMetric
from torchmetrics.functional.image import structural_similarity_index_measure

from ganforge.data.module import DataModule
from ganforge.evaluation.picture_mean import PictureMean, mean_intervals

MOST_DB = 100.0  # of an image; one without any difference would have no end
_LIMITS = {"l1": (0.0, 1.0), "psnr": (-math.inf, MOST_DB), "ssim": (-1.0, 1.0)}


class PairedMetrics(nn.Module):
    """l1 (mean absolute difference), psnr (dB) and ssim of generated and target pictures on the scale [0, 1].

    psnr is that of each image, averaged, as papers report it. (That of the mean squared error of all pixels is lower:
    the worst images decide it.) Of measurements the scale is that of the normalization, or from the smallest to the
    largest value of the training targets (`BandPairs.span`), and pixels without one count nowhere.
    """

    needs = frozenset({"paired"})
    stages = ("val", "test")
    monitor = ("l1", "min")
    each = {"l1": "min", "psnr": "max"}  # noqa: RUF012
    has_floor = True  # what the source itself would get

    def __init__(self):
        super().__init__()
        self.means = nn.ModuleDict({name: PictureMean() for name in _LIMITS})
        self.valid_l1 = MeanMetric()  # over pixels, where pictures have more or fewer valid ones
        self.masked = False  # whether batches say which pixels are valid
        self.of_each: dict[str, Tensor] | None = None  # l1 and psnr of the pictures of the last update

    def prepare(self, data: DataModule) -> None:
        """On all ranks alike, of which one may get no pictures."""
        self.masked = getattr(data.sets["val"], "masked", False)

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], of the batch's pictures."""
        images, targets = _on_unit_scale(generated.float(), batch["target"], getattr(dataset, "span", None))
        valid = batch.get("valid")
        if valid is None:
            self.of_each = {"l1": (images - targets).abs().mean(dim=(1, 2, 3)), "psnr": psnr(images, targets)}
            similar = structural_similarity_index_measure(images, targets, data_range=1.0, reduction="none")
            for name, values in (*self.of_each.items(), ("ssim", similar)):
                self.means[name].update(values)
            return
        self.masked = True
        images, targets = images * valid, targets * valid
        counts = valid.sum(dim=(1, 2, 3))
        measured = counts > 0
        self.of_each = {name: counts.new_full(counts.shape, torch.nan) for name in self.each}
        if not bool(measured.any()):
            return
        images, targets, valid, counts = (part[measured] for part in (images, targets, valid, counts))
        l1 = _mean(images.sub(targets).abs(), valid)
        decibels = -10 * _mean((images - targets).square(), valid).clamp(min=10 ** (-MOST_DB / 10)).log10()
        self.of_each["l1"][measured], self.of_each["psnr"][measured] = l1, decibels
        self.valid_l1.update(l1, counts)
        self.means["psnr"].update(decibels)
        _, similar = structural_similarity_index_measure(images, targets, data_range=1.0, return_full_image=True)
        self.means["ssim"].update(_mean(similar, valid))

    def compute(self) -> dict[str, float]:
        """The numbers over everything seen since the last reset, on all ranks."""
        found = {name: mean.mean() for name, mean in self._of_pictures().items()}
        return {"l1": float(self.valid_l1.compute()), **found} if self.masked else found

    def describe(self) -> dict[str, Any]:
        """How the numbers of single images become one, and 95 % `intervals`: mean ± 1.96 standard errors.

        The images are taken for independent. There is none of an l1 over the valid pixels of all images together.
        """
        said = {
            "psnr": f"mean over the images of 10 log10(1 / mean squared error), each at most {MOST_DB:.0f} dB",
            "ssim": "mean over the images",
        }
        found = mean_intervals(self._of_pictures(), _LIMITS)
        return {**said, "intervals": found} if found else said

    def _of_pictures(self) -> dict[str, PictureMean]:
        """The numbers that are means over the images."""
        return {name: mean for name, mean in self.means.items() if name != "l1" or not self.masked}

    def reset(self) -> None:
        for metric in (*self.means.values(), self.valid_l1):
            metric.reset()


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each of (B, C, H, W) in [0, 1]: (B,), in dB, at most 100."""
    error = (images - targets).square().mean(dim=(1, 2, 3))
    return -10 * error.clamp(min=10 ** (-MOST_DB / 10)).log10()


def _on_unit_scale(generated: Tensor, target: Tensor, span: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    if span is None:
        return ((generated + 1) / 2).clamp(0, 1).contiguous(), ((target + 1) / 2).contiguous()
    low, high = (end.to(target.device) for end in span)
    return ((generated - low) / (high - low)).contiguous(), ((target - low) / (high - low)).contiguous()


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Of (B, C, H, W) the mean over all bands of the valid pixels (B, 1, H, W) of each picture: (B,)."""
    return (values * valid).sum(dim=(1, 2, 3)) / (values.shape[1] * valid.sum(dim=(1, 2, 3)))
