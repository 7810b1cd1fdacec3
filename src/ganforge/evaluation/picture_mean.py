"""The mean over pictures of what was measured of each, with its standard error."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from ganforge.evaluation import intervals


class PictureMean(Metric):
    """The mean of numbers that come in any order, on any ranks, and how far it may be off.

    The pictures are taken for independent: standard error = standard deviation / sqrt(n). Sums of squared differences
    from the mean are added up as by Chan et al. (1983), which loses no digits where all numbers are alike.
    """

    full_state_update = False

    def __init__(self):
        super().__init__()
        self.add_state("moments", torch.zeros(3), dist_reduce_fx=_together)  # n, mean, squared differences from it

    def update(self, values: Tensor) -> None:
        """values: (B,), one a picture; B may be 0."""
        values = values.detach().flatten().to(self.moments)
        mean = values.sum() / max(1, len(values))
        own = torch.stack([mean.new_tensor(len(values)), mean, (values - mean).square().sum()])
        self.moments = _together(torch.stack([self.moments, own]))

    def compute(self) -> Tensor:
        """(3,): how many, their mean, its standard error; NaN where that is not known."""
        n, mean, squares = self.moments
        none = mean.new_tensor(torch.nan)
        return torch.stack([n, mean if n > 0 else none, (squares / (n - 1) / n).sqrt() if n > 1 else none])

    def mean(self) -> float:
        return float(self.compute()[1])


def mean_intervals(
    means: Mapping[str, PictureMean], limits: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """95 % intervals, mean ± 1.96 standard errors within `limits`, of those numbers that two or more pictures have."""
    found = {}
    for name, mean in means.items():
        mean.update(torch.empty(0))  # where no picture came, as on one of many devices
        n, middle, error = mean.compute().tolist()
        if n >= 2:
            low, high = intervals.normal(middle, error)
            least, most = limits.get(name, (-torch.inf, torch.inf))
            found[name] = max(least, low), min(most, high)
    return found


def _together(parts: Tensor) -> Tensor:
    """(R, 3) of parts -> (3,) of all."""
    n, means, squares = parts.unbind(dim=-1)
    total = n.sum()
    mean = (n * means).sum() / total.clamp(min=1)
    return torch.stack([total, mean, squares.sum() + (n * (means - mean).square()).sum()])
