"""Translations without pairs: what is as good as none, and hidden partners that they are scored against."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MeanMetric, SumMetric

from ganforge.data.module import DataModule
from ganforge.evaluation.paired import PairedMetrics, psnr
from ganforge.evaluation.picture_mean import PictureMean, mean_intervals
from ganforge.pictures.tensors import from_unit, to_unit

LARGEST = 2000  # training pictures whose grey levels are counted
_LUMA = (0.299, 0.587, 0.114)  # of R, G and B, as ITU-R BT.601


def source_of(batch: dict[str, Tensor]) -> Tensor:
    """The pictures of a batch that are translated: "source" of pairs, else "a", or "b" of the way back."""
    return next(batch[name] for name in ("source", "a", "b") if name in batch)


def converts(channels: int, to: int) -> bool:
    """Whether `with_channels` can."""
    return channels == to or {channels, to} == {1, 3}


def with_channels(pictures: Tensor, channels: int) -> Tensor:
    """(B, C, H, W) as grey or RGB pictures; as they are where they have so many channels."""
    if pictures.shape[1] == channels:
        return pictures
    if channels == 3:
        return pictures.expand(-1, 3, -1, -1)
    return (pictures * pictures.new_tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True)


class PartnerMetrics(PairedMetrics):
    """l1, psnr and ssim of the translations of those test pictures that have a partner, and how many have."""

    needs = frozenset({"partners"})
    stages = ("test",)
    monitor = None
    counts = frozenset({"partners"})

    def __init__(self):
        super().__init__()
        self.partners = SumMetric()

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], of the batch's pictures; "target" is NaN where there is no partner."""
        there = with_partner(batch)
        self.partners.update(0 if there is None else there.sum())
        nothing = generated.new_full((len(generated),), torch.nan, dtype=torch.float32)
        # Of data without any partners another metric may score the pictures.
        self.of_each = {name: nothing.clone() for name in self.each} if "target" in batch else None
        if there is not None:
            every = self.of_each
            super().update({"target": batch["target"][there]}, generated[there], dataset)
            for name, values in every.items():
                values[there] = self.of_each[name]
            self.of_each = every

    def compute(self) -> dict[str, float]:
        """The numbers over everything seen since the last reset, on all ranks; none without partners."""
        count = float(self.partners.compute())
        return {**super().compute(), "partners": count} if count else {}


class RoundTrip(nn.Module):
    """cycle_l1: how far pictures that were translated there and back are from themselves, on the scale [0, 1].

    It says that nothing was lost, not that the translation is good: one that changes nothing has 0.
    """

    needs = frozenset({"unpaired"})
    stages = ("test",)
    monitor = None
    each = {"cycle_l1": "min"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.mean, self.pictures = PictureMean(), SumMetric()
        self.of_each: dict[str, Tensor] | None = None

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """batch["back"]: the round trips of its sources; nothing where the model has no way back."""
        back = batch.get("back")
        self.pictures.update(0 if back is None else len(back))
        if back is not None:
            self.of_each = {"cycle_l1": (back.float() - source_of(batch)).abs().mean(dim=(1, 2, 3)) / 2}
            self.mean.update(self.of_each["cycle_l1"])

    def compute(self) -> dict[str, float]:
        return {"cycle_l1": self.mean.mean()} if self.pictures.compute() else {}

    def describe(self) -> dict[str, Any]:
        """95 % `intervals` over the pictures."""
        found = mean_intervals({"cycle_l1": self.mean}, {"cycle_l1": (0.0, 1.0)})
        return {"intervals": found} if found else {}

    def reset(self) -> None:
        self.mean.reset()
        self.pictures.reset()


class HistogramMatching(nn.Module):
    """baseline/histogram/psnr against hidden partners: what moving grey levels alone would do.

    Of each source the levels of each channel are moved so that they are distributed as those of the training pictures
    of the target side together (Gonzalez and Woods, Digital Image Processing, section 3.3).
    """

    needs = frozenset({"partners"})
    stages = ("test",)
    monitor = None

    def __init__(self):
        super().__init__()
        self.mean, self.partners = MeanMetric(), SumMetric()
        self._levels: dict[int, np.ndarray] = {}  # of the target side of a data set, by its id

    def prepare(self, data: DataModule) -> None:
        """Counts the grey levels of training pictures."""
        for name in data.test_names:
            if getattr(data.sets[name], "partners", None) is not None:
                self._levels[id(data.sets[name])] = _cumulative(data.real(data.training_split(name)))

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        there = with_partner(batch)
        self.partners.update(0 if there is None else there.sum())
        if there is None:
            return
        targets, levels = batch["target"][there], self._levels[id(dataset)]
        sources = from_unit(with_channels(source_of(batch)[there], targets.shape[1])).cpu().numpy()
        moved = torch.from_numpy(np.stack([matched(source, levels) for source in sources])).to(targets.device)
        self.mean.update(psnr((to_unit(moved) + 1) / 2, (targets + 1) / 2))

    def compute(self) -> dict[str, float]:
        return {"baseline/histogram/psnr": float(self.mean.compute())} if self.partners.compute() else {}

    def reset(self) -> None:
        self.mean.reset()
        self.partners.reset()


def with_partner(batch: dict[str, Tensor]) -> Tensor | None:
    """bool (B,): which pictures of a batch have a target; None where none has one."""
    if "target" not in batch:
        return None
    there = ~batch["target"].flatten(1).isnan().any(dim=1)
    return there if bool(there.any()) else None


def _cumulative(pictures: Dataset) -> np.ndarray:
    """float64 (C, 256): the share of values up to each level, of the first pictures."""
    counts = sum(_counts(pictures[index].numpy()) for index in range(min(LARGEST, len(pictures))))
    return counts.cumsum(axis=1) / counts.sum(axis=1, keepdims=True)


def _counts(picture: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(channel.ravel(), minlength=256) for channel in picture])


def matched(picture: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """uint8 (C, H, W) with the levels of each channel moved so that they are distributed as `levels` (C, 256) says."""
    own = _counts(picture).cumsum(axis=1) / picture[0].size
    tables = [np.searchsorted(target, share - 1e-9) for share, target in zip(own, levels, strict=True)]
    return np.stack([table[channel] for table, channel in zip(tables, picture, strict=True)]).astype(np.uint8)
