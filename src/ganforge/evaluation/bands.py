"""Errors of each band in the unit of the files, and what simple guesses would give: of pairs that measure something."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate
from torchmetrics import Metric

from ganforge.data.module import DataModule
from ganforge.pictures.sides import Side

_BATCH = 16  # training pairs that the guesses look at at once


class BandSums(Metric):
    """Sums over the valid pixels of each band, from which its errors follow; adds up over ranks."""

    full_state_update = False

    def __init__(self, side: Side):
        super().__init__()
        self.side = side
        # Columns: pixels, |error|, error², target, target²; encoded, so that no large mean eats the squares.
        self.add_state("sums", torch.zeros(len(side.bands), 5, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, generated: Tensor, target: Tensor, valid: Tensor | None) -> None:
        """(B, C, H, W) encoded; valid (B, 1, H, W) of 0 and 1, None where every pixel is."""
        target = target.double()
        error = generated.double() - target
        weight = torch.ones_like(target) if valid is None else valid.double().expand_as(target)
        columns = (weight, error.abs() * weight, error.square() * weight, target * weight, target.square() * weight)
        self.sums += torch.stack([column.sum(dim=(0, 2, 3)) for column in columns], dim=1)

    def compute(self) -> dict[str, float]:
        """mae/BAND and rmse/BAND in the unit of the files, r2/BAND of bands that vary, and r2, their mean."""
        values: dict[str, float] = {}
        scores = []
        for label, scale, row in zip(self.side.labels, self.side.normalization.scale, self.sums.tolist(), strict=True):
            count, absolute, squared, total, squares = row
            if not count:
                continue
            values[f"mae/{label}"] = absolute / count * float(scale)
            values[f"rmse/{label}"] = (squared / count) ** 0.5 * float(scale)
            spread = squares - total**2 / count
            if spread > 1e-12 * count:
                scores.append(1 - squared / spread)
                values[f"r2/{label}"] = scores[-1]
        return {**values, **({"r2": sum(scores) / len(scores)} if scores else {})}


class BandErrors(nn.Module):
    """mae, rmse and r2 (coefficient of determination) of each band of a target that measures something.

    Errors are those of all valid pixels together, in the unit of the files, against the truth as it is (not clipped).
    """

    needs = frozenset({"paired"})
    stages = ("val", "test")
    monitor = None

    def __init__(self):
        super().__init__()
        self.sums: BandSums | None = None

    def prepare(self, data: DataModule) -> None:
        """Nothing is measured of ordinary pictures."""
        if data.sides is not None:
            self.sums, self.monitor = BandSums(data.sides["target"]), ("r2", "max")

    def update(self, batch: Mapping[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W), of the batch's pictures."""
        if self.sums is not None:
            self.sums.update(generated, batch["target"], batch.get("valid"))

    def compute(self) -> dict[str, float]:
        return {} if self.sums is None else self.sums.compute()

    def reset(self) -> None:
        if self.sums is not None:
            self.sums.reset()


class Guesses:
    """The mean of each target band, and its least-squares fit by the source bands of the same pixel; of the training.

    Found at the first use, from the middles of the training pictures; shared by all copies.
    """

    def __init__(self, data: DataModule):
        self.data = data
        self._weights: Tensor | None = None

    def __deepcopy__(self, memo: dict) -> "Guesses":
        return self

    def __call__(self, source: Tensor) -> dict[str, Tensor]:
        """Encoded targets (B, C, H, W) that are guessed of encoded sources: "mean" and "linear"."""
        if self._weights is None:
            self._weights = self._fit()
        weights = self._weights.to(source.device)
        linear = torch.einsum("bshw,st->bthw", _with_one(source.double()), weights[1])
        return {"mean": weights[0, :1].mT[..., None].expand_as(linear[:1]).expand_as(linear), "linear": linear}

    def _fit(self) -> Tensor:
        """(2, 1 + source bands, target bands): of the constant alone, and of the constant and the source bands."""
        pairs = self.data.plain("train")
        inner = outer = 0
        for begin in range(0, len(pairs), _BATCH):
            batch = default_collate([pairs[index] for index in range(begin, min(begin + _BATCH, len(pairs)))])
            valid = batch["valid"].bool()[:, 0] if "valid" in batch else torch.ones_like(batch["target"][:, 0]).bool()
            x = _with_one(batch["source"].double()).permute(0, 2, 3, 1)[valid]
            y = batch["target"].double().permute(0, 2, 3, 1)[valid]
            inner, outer = inner + x.mT @ x, outer + x.mT @ y
        count = inner[0, 0].clamp(min=1)
        mean = torch.zeros_like(outer)
        mean[0] = outer[0] / count
        return torch.stack([mean, torch.linalg.lstsq(inner / count, outer / count, driver="gelsd").solution])


def _with_one(source: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(source[:, :1]), source], dim=1)


class BandBaselines(nn.Module):
    """baseline/mean/... and baseline/linear/...: the errors (`BandErrors`) of `Guesses` on the test pairs."""

    needs = frozenset({"paired"})
    stages = ("test",)
    monitor = None

    def __init__(self):
        super().__init__()
        self.guesses: Guesses | None = None
        self.sums = nn.ModuleDict()

    def prepare(self, data: DataModule) -> None:
        if data.sides is not None:
            self.guesses = Guesses(data)
            self.sums = nn.ModuleDict({name: BandSums(data.sides["target"]) for name in ("mean", "linear")})

    def update(self, batch: Mapping[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """Only the batch is used."""
        if self.guesses is not None:
            for name, guessed in self.guesses(batch["source"]).items():
                self.sums[name].update(guessed, batch["target"], batch.get("valid"))

    def compute(self) -> dict[str, float]:
        found = {name: sums.compute() for name, sums in self.sums.items()}
        return {f"baseline/{name}/{key}": value for name, values in found.items() for key, value in values.items()}

    def reset(self) -> None:
        for sums in self.sums.values():
            sums.reset()
