"""How near a translation is to the picture it should be: for every paired data set."""

from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MeanAbsoluteError, MeanMetric
from torchmetrics.image import StructuralSimilarityIndexMeasure

MOST_DB = 100.0  # of an image; one without any difference would have no end


class PairedMetrics(nn.Module):
    """l1 (mean absolute difference), psnr (dB) and ssim of generated and target pictures on the scale [0, 1].

    psnr is that of each image, averaged, as papers report it. (That of the mean squared error of all pixels is lower:
    the worst images decide it.)
    """

    needs = frozenset({"paired"})
    stages = ("val", "test")
    monitor = ("l1", "min")
    has_floor = True  # what the source itself would get

    def __init__(self):
        super().__init__()
        self.l1, self.psnr = MeanAbsoluteError(), MeanMetric()
        self.ssim = StructuralSimilarityIndexMeasure(data_range=1.0)

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], of the batch's pictures."""
        images = ((generated.float() + 1) / 2).clamp(0, 1).contiguous()
        targets = ((batch["target"] + 1) / 2).contiguous()
        self.l1.update(images, targets)
        self.psnr.update(psnr(images, targets))
        self.ssim.update(images, targets)

    def compute(self) -> dict[str, float]:
        """The numbers over everything seen since the last reset, on all ranks."""
        return {name: float(metric.compute()) for name, metric in self.named_children()}

    def describe(self) -> dict[str, str]:
        """How the numbers of single images become one."""
        return {
            "psnr": f"mean over the images of 10 log10(1 / mean squared error), each at most {MOST_DB:.0f} dB",
            "ssim": "mean over the images",
        }

    def reset(self) -> None:
        for metric in self.children():
            metric.reset()


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each of (B, C, H, W) in [0, 1]: (B,), in dB, at most 100."""
    error = (images - targets).square().mean(dim=(1, 2, 3))
    return -10 * error.clamp(min=10 ** (-MOST_DB / 10)).log10()
