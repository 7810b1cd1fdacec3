"""How near a translation is to the picture it should be: for every paired data set."""

from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MeanAbsoluteError
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure


class PairedMetrics(nn.Module):
    """l1 (mean absolute difference), psnr (dB) and ssim of generated and target pictures on the scale [0, 1]."""

    needs = frozenset({"paired"})
    stages = ("val", "test")
    monitor = ("l1", "min")

    def __init__(self):
        super().__init__()
        self.metrics = nn.ModuleDict(
            {
                "l1": MeanAbsoluteError(),
                "psnr": PeakSignalNoiseRatio(data_range=1.0),
                "ssim": StructuralSimilarityIndexMeasure(data_range=1.0),
            }
        )

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], of the batch's pictures."""
        images = ((generated.float() + 1) / 2).clamp(0, 1).contiguous()
        targets = ((batch["target"] + 1) / 2).contiguous()
        for metric in self.metrics.values():
            metric.update(images, targets)

    def compute(self) -> dict[str, float]:
        """The numbers over everything seen since the last reset, on all ranks."""
        return {name: float(metric.compute()) for name, metric in self.metrics.items()}

    def reset(self) -> None:
        for metric in self.metrics.values():
            metric.reset()
