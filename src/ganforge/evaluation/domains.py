"""Translations between many domains: is it what was asked, does the way back lead home, and is it like real ones?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ganforge.data.module import DataModule
from ganforge.errors import require
from ganforge.evaluation import intervals
from ganforge.evaluation.features import FeatureNetwork, extract, open_network
from ganforge.evaluation.pixels import reduce, sliced_wasserstein
from ganforge.game.domains import Domains
from ganforge.pictures.tensors import from_unit

REAL = 500  # training pictures of a domain that are compared with, at most
_BATCH = 64


class DomainMetrics(Metric):
    """What became of pictures that were asked for another domain, or for an attribute turned round.

    recognised: the share in which a classifier of real pictures (`extractor`, of `ganforge extractor data=domains`)
    sees what was asked, and recognised/DOMAIN; none without it. swd: sliced Wasserstein distance (see
    `sliced_wasserstein`) between the translations to a domain and training pictures of it (500 at most, of an attribute
    those that have it, or have it not), averaged over the domains. In the test reconstruction/l1: mean absolute
    difference of the way there and back from the source on the scale [0, 1], and changed/l1, that of the translation.

    The floor is the sources as they are, asked for the same; the ceiling real pictures of the same split.
    """

    needs = frozenset({"domains"})
    stages = ("val", "test")
    has_floor = True
    is_floor = False
    each = {"reconstruction/l1": "min"}  # noqa: RUF012
    counts = frozenset({"generated_images"})
    full_state_update = False

    def __init__(self, *, extractor: str | Path | None = None, projections: int = 128, seed: int = 0):
        super().__init__()
        require(projections >= 1, f"evaluation.metrics.domains.projections={projections}: 1 or more")
        self.extractor, self.projections, self.seed = extractor, projections, seed
        self.stage, self._split = "val", "val"
        self._real: _Real | None = None
        self.of_each: dict[str, Tensor] | None = None
        self.add_state("sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")  # l1 of both, pictures
        for name in ("vectors", "index", "group", "right"):
            self.add_state(name, [], dist_reduce_fx="cat")

    @property
    def monitor(self) -> tuple[str, str]:
        return ("swd", "min") if self._real is None or self._real.network is None else ("recognised", "max")

    def prepare(self, data: DataModule) -> None:
        """Opens the extractor; raises UserError where it does not know the domains."""
        domains: Domains = data.domains
        network = None if self.extractor is None else open_network(self.extractor, None, domains.names)
        if network is not None and not (network.class_names or network.attributes):
            network = None  # SqueezeNet, which knows no domains
        if network is not None:
            known = network.class_names if domains.one_of_many else network.attributes
            missing = [name for name in domains.names if name not in known]
            require(
                not missing,
                f"evaluation.metrics.domains.extractor={self.extractor}: does not know {', '.join(missing[:5])} as "
                f"{'classes' if domains.one_of_many else 'attributes'}; train one on these data by ganforge extractor",
            )
            network.check_channels(data.real("val")[0].shape[0], type(data).__name__)
            if "extractor_warning" in network.origin:
                rank_zero_only(print)(f"warning: {network.origin['extractor_warning']}")
        self._real = _Real(data, domains, network)

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], for batch["target_labels"], of which "asked" makes the difference."""
        self._split = self._real.split_of(dataset)
        images, asked = from_unit(generated), batch["asked"]
        wanted = batch["target_labels"].gather(1, asked[:, None])[:, 0].long()
        self.vectors.append(reduce(images))
        self.index.append(batch["index"])
        self.group.append(2 * asked + wanted)
        self.right.append(self._real.seen(images, asked, wanted))
        if "back" in batch and not self.is_floor:
            source = batch["source"]
            back, changed = (
                (other.float() - source).abs().mean(dim=(1, 2, 3)) / 2 for other in (batch["back"], generated)
            )
            self.of_each = {"reconstruction/l1": back}
            self.sums += torch.stack([back.sum(), changed.sum(), back.new_tensor(len(back))]).to(self.sums)

    def compute(self) -> dict[str, float]:
        """The numbers over everything seen since the last reset, on all ranks."""
        order = dim_zero_cat(self.index).argsort()
        vectors, group, right = (dim_zero_cat(state)[order] for state in (self.vectors, self.group, self.right))
        values = self._real.numbers(group, right, self.stage)
        distances = [
            self._real.distance(vectors[group == own], own, self.projections, self.seed)
            for own in group.unique().tolist()
        ]
        values["swd"] = sum(distances) / len(distances)
        there_and_back, changed, count = self.sums.tolist()
        if count:
            values |= {"reconstruction/l1": there_and_back / count, "changed/l1": changed / count}
        return {**values, "generated_images": float(len(group))}

    def ceiling(self) -> dict[str, float]:
        """The same numbers of real pictures of the split in place of translations, each as what it is."""
        return self._real.as_real(self._split, self.stage, self.projections, self.seed, self.device)

    def describe(self) -> dict[str, Any]:
        """What must be said of the numbers: the classifier, and how often it is right."""
        said = {"swd/projections": self.projections, "swd/training_images": REAL}
        return said if self._real.network is None else {**self._real.network.describe(), **said}


class _Real:
    """The real pictures by domain, shared by all copies of a metric.

    group: 2 * domain + 1 of the pictures that are of it, 2 * domain of those that are not.
    """

    def __init__(self, data: DataModule, domains: Domains, network: FeatureNetwork | None):
        self.data, self.domains, self.network = data, domains, network
        names = () if network is None else network.class_names or network.attributes
        self.places = torch.tensor([names.index(name) for name in domains.names]) if names else None
        self._vectors: dict[int, Tensor] = {}

    def __deepcopy__(self, memo: dict) -> _Real:
        return self

    def split_of(self, dataset: Dataset) -> str:
        return next(name for name, own in self.data.sets.items() if own is dataset)

    def seen(self, images: Tensor, asked: Tensor, wanted: Tensor) -> Tensor:
        """Whether the classifier sees what was asked in uint8 (B, C, H, W): bool (B,)."""
        if self.network is None:
            return torch.zeros_like(asked, dtype=torch.bool)
        return self._agrees(self.network(images)[1], asked, wanted)

    def _agrees(self, logits: Tensor, asked: Tensor, wanted: Tensor) -> Tensor:
        places = self.places.to(logits.device)[asked]
        if self.domains.one_of_many:
            return logits.argmax(dim=1) == places
        return (logits.gather(1, places[:, None])[:, 0] > 0) == (wanted == 1)

    def numbers(self, group: Tensor, right: Tensor, stage: str) -> dict[str, float]:
        """recognised, and recognised/DOMAIN, with Wilson's intervals in the test."""
        if self.network is None:
            return {}
        parts = {"recognised": right}
        for index, name in enumerate(self.domains.names):
            parts[f"recognised/{name}"] = right[group // 2 == index]
        values = {}
        for name, part in parts.items():
            if not len(part):
                continue
            values[name] = share = float(part.double().mean())
            if stage == "test":
                values[f"{name}/low"], values[f"{name}/high"] = intervals.of_share(share, len(part))
        return values

    def _rows(self, split: str, group: int) -> list[int]:
        is_so = torch.from_numpy(self.data.labels(split)[:, group // 2]) == group % 2
        return is_so.nonzero()[:, 0].tolist()

    def _reduced(self, split: str, group: int) -> Tensor:
        pictures, rows = self.data.real(split), self._rows(split, group)[:REAL]
        return torch.cat([reduce(pictures[row][None]) for row in rows]) if rows else torch.empty(0, 1)

    def distance(self, vectors: Tensor, group: int, projections: int, seed: int) -> float:
        """swd of images as uint8 vectors from training pictures of a group."""
        if group not in self._vectors:
            self._vectors[group] = self._reduced("train", group)
        real = self._vectors[group].to(vectors.device)
        return sliced_wasserstein(vectors, real, projections, torch.Generator().manual_seed(seed)) / 127.5

    def as_real(self, split: str, stage: str, projections: int, seed: int, device: torch.device) -> dict[str, float]:
        kinds = (1,) if self.domains.one_of_many else (0, 1)
        groups = [2 * index + kind for index in range(len(self.domains.names)) for kind in kinds]
        rows = {group: self._rows(split, group) for group in groups}
        rows = {group: own for group, own in rows.items() if own}
        distances = [self.distance(self._reduced(split, group).to(device), group, projections, seed) for group in rows]
        values = {"swd": sum(distances) / len(distances)}
        if self.network is None:
            return values
        _, logits = extract(
            self.data.real(split), self.network, batch_size=_BATCH, device=device, progress=False, title="real pictures"
        )
        group = torch.cat([torch.full((len(own),), number) for number, own in rows.items()])
        chosen = torch.cat([logits[own] for own in rows.values()])
        return {**self.numbers(group, self._agrees(chosen, group // 2, group % 2), stage), **values}
