"""How different a translation looks from the picture it should be, by the features of a network."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import SumMetric

from ganforge.data.module import DataModule
from ganforge.errors import require
from ganforge.evaluation.extractor import weights_hash
from ganforge.evaluation.partners import with_partner
from ganforge.evaluation.picture_mean import PictureMean, mean_intervals
from ganforge.networks import squeezenet
from ganforge.networks.perceptual import PerceptualDistance, read_distance

_ARGUMENT = "evaluation.metrics.perceptual"
_KEY = f"perceptual/{squeezenet.NAME}"


class PerceptualMetrics(nn.Module):
    """perceptual/squeezenet: mean `PerceptualDistance` of generated and target pictures, 0 for equal ones.

    LPIPS's formula and weights of the channels (heads) on a SqueezeNet of other weights than LPIPS used: to be compared
    with itself alone, not with published LPIPS. weights: a file of the network's; heads: a .npz file of LPIPS's for
    SqueezeNet. Where one of them is None the number is left out, and it is said. needs: "paired", or "partners" for
    translations without pairs, of whose test pictures some have a hidden partner.
    """

    stages = ("val", "test")
    monitor = None
    has_floor = True

    def __init__(
        self,
        *,
        needs: Sequence[str] = ("paired",),
        weights: str | Path | None = None,
        heads: str | Path | None = None,
    ):
        super().__init__()
        self.needs = frozenset(needs)
        self.mean, self.compared = PictureMean(), SumMetric()
        self.weights, self.heads = weights, heads
        self._distance: PerceptualDistance | None = None

    @property
    def missing(self) -> str | None:
        """The first file that is not given."""
        return next((name for name in ("weights", "heads") if getattr(self, name) is None), None)

    def prepare(self, data: DataModule) -> None:
        if self.missing is not None:
            rank_zero_only(print)(
                f"perceptual/squeezenet is left out: {_ARGUMENT}.{self.missing} is not given, a file of "
                + ("SqueezeNet 1.1's weights" if self.missing == "weights" else "LPIPS's weights of its channels, .npz")
            )
            return
        require(
            data.sides is None and data.compared_channels[-1] in (1, 3),
            f"{_ARGUMENT}: compares grey or RGB pictures, and the targets of these data are measurements or have other "
            f"bands; leave it out with {_ARGUMENT}=null",
        )
        self._distance = read_distance(self.weights, self.heads, _ARGUMENT)

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], of the batch's pictures; without a target, or with NaN, none counts."""
        there = with_partner(batch) if self._distance is not None else None
        self.compared.update(0 if there is None else there.sum())
        if there is not None:
            pictures = generated[there].float().clamp(-1, 1), batch["target"][there]
            self.mean.update(self._distance(*pictures))

    def compute(self) -> dict[str, float]:
        """The number over everything seen since the last reset, on all ranks; none where nothing was compared."""
        return {_KEY: self.mean.mean()} if self.compared.compute() else {}

    def describe(self) -> dict[str, Any]:
        if self._distance is None:
            return {"left_out": f"{_ARGUMENT}.{self.missing} is not given"}
        found = mean_intervals({_KEY: self.mean}, {_KEY: (0.0, math.inf)})
        return {
            **({"intervals": found} if found else {}),
            "formula": "LPIPS (Zhang et al. 2018), mean over the images, on other weights of SqueezeNet than it used",
            "weights": str(self.weights),
            "heads": str(self.heads),
            "hash": weights_hash(self._distance.state_dict()),
            "channel_order": "BGR" if self._distance.network.bgr else "RGB",
        }

    def reset(self) -> None:
        self.mean.reset()
        self.compared.reset()
