"""How near a translation is to the picture it should be: for every paired data set."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MeanAbsoluteError, MeanMetric, SumMetric
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import StructuralSimilarityIndexMeasure

from ganforge.data.module import DataModule
from ganforge.evaluation import intervals

MOST_DB = 100.0  # of an image; one without any difference would have no end


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
        self.l1, self.psnr = MeanAbsoluteError(), MeanMetric()
        self.ssim = StructuralSimilarityIndexMeasure(data_range=1.0)
        self.l1_square, self.psnr_square, self.images = MeanMetric(), MeanMetric(), SumMetric()  # of single pictures
        self.valid_l1, self.valid_ssim = MeanMetric(), MeanMetric()
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
            self.l1.update(images, targets)
            self.psnr.update(self.of_each["psnr"])
            self.ssim.update(images, targets)
            self.l1_square.update(self.of_each["l1"].square())
            self.psnr_square.update(self.of_each["psnr"].square())
            self.images.update(len(images))
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
        self.psnr.update(decibels)
        _, similar = structural_similarity_index_measure(images, targets, data_range=1.0, return_full_image=True)
        self.valid_ssim.update(_mean(similar, valid))

    def compute(self) -> dict[str, float]:
        """The numbers over everything seen since the last reset, on all ranks."""
        found = {"l1": self.valid_l1 if self.masked else self.l1, "psnr": self.psnr}
        found["ssim"] = self.valid_ssim if self.masked else self.ssim
        return {name: float(metric.compute()) for name, metric in found.items()}

    def describe(self) -> dict[str, Any]:
        """How the numbers of single images become one, and 95 % `intervals` of l1 and psnr, where all pixels count.

        Of the mean over the images, whose numbers are taken for independent: mean ± 1.96 standard errors.
        """
        said: dict[str, Any] = {
            "psnr": f"mean over the images of 10 log10(1 / mean squared error), each at most {MOST_DB:.0f} dB",
            "ssim": "mean over the images",
        }
        self.images.update(0)  # where no picture came, as on one of many devices
        if self.masked or (count := float(self.images.compute())) < 2:
            return said
        found = {}
        for name, mean, square in (("l1", self.l1, self.l1_square), ("psnr", self.psnr, self.psnr_square)):
            middle = float(mean.compute())
            variance = max(0.0, float(square.compute()) - middle**2) * count / (count - 1)
            low, high = intervals.normal(middle, (variance / count) ** 0.5)
            found[name] = max(0.0, low), min(high, MOST_DB if name == "psnr" else 1.0)
        return {**said, "intervals": found}

    def reset(self) -> None:
        for metric in self.children():
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
