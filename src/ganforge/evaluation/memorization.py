"""Did it memorize? Generated images beside the training images that are nearest to them, and how near these are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ganforge.data.module import DataModule
from ganforge.errors import require
from ganforge.pictures import images
from ganforge.pictures.grids import heading
from ganforge.pictures.tensors import from_unit

COPY = 1e-3  # distances below it are copies, whatever the quantile; a quarter of a grey level, per-pixel RMS
_BLOCK = 2**23  # numbers (32 MB of float32) in each of the handful of arrays that are held at once
_SPARE = 4  # candidates more than asked for: matrix products round, and the order is settled exactly afterwards
_OWN = 2000  # training images whose nearest neighbours say how near is near
_BATCH = 64  # images that go through a feature extractor at once


def nearest(
    queries: Tensor, corpus: Tensor | Dataset | Iterable[Tensor], k: int, *, exclude: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The k nearest vectors of the corpus to each query: Euclidean distances (M, k), ascending, and indices (M, k).

    queries: (M, ...) of any type, flattened to vectors (M, D). corpus: (N, ...), or a Dataset of N tensors, or an
    iterable of chunks (n, ...); read once, in order, a part at a time. exclude: (M,) index of the corpus that does not
    count for this query (itself), -1 for none.

    Candidates come from ||a||^2 - 2ab + ||b||^2, in blocks of queries and corpus that keep memory below about 256 MB;
    the distances of the nearest are computed again from the vectors, so that a copy is at 0. Equal distances are in the
    order of the corpus. Runs on the device of the queries. Raises ValueError where the corpus has fewer than k.
    """
    queries = queries.flatten(1)
    device, (count, dimension) = queries.device, queries.shape
    distances = torch.full((count, k), torch.inf, device=device)
    indices = torch.full((count, k), -1, device=device)
    exclude = None if exclude is None else exclude.to(device)
    offset = 0
    for part in _parts(corpus, max(1, _BLOCK // dimension)):
        chunk = part.to(device).float()
        centre = chunk.mean(dim=0)  # large common values would cost the products their digits
        chunk = chunk - centre
        squares = chunk.square().sum(dim=1)
        step = max(1, _BLOCK // max(dimension, len(chunk)))
        for begin in range(0, count, step):
            rows = slice(begin, begin + step)
            block = queries[rows].float() - centre
            with torch.autocast(device.type, enabled=False):
                # Without the squares of the queries: they do not change the order.
                found = torch.addmm(squares, block, chunk.T, alpha=-2)
            if exclude is not None:
                own = exclude[rows] - offset
                inside = ((own >= 0) & (own < len(chunk))).nonzero().squeeze(1)
                found[inside, own[inside]] = torch.inf
            found, near = found.topk(min(k + _SPARE, len(chunk)), largest=False)
            exact = torch.stack([(block - chunk[column]).norm(dim=1) for column in near.T], dim=1)
            exact[found == torch.inf] = torch.inf
            distances[rows], indices[rows] = _first(
                torch.cat([distances[rows], exact], dim=1), torch.cat([indices[rows], near + offset], dim=1), k
            )
        offset += len(chunk)
    if offset - (exclude is not None) < k:
        raise ValueError(f"k={k} nearest of {offset} vectors{' without oneself' if exclude is not None else ''}")
    return distances, indices


def _parts(corpus: Tensor | Dataset | Iterable[Tensor], rows: int) -> Iterator[Tensor]:
    """The corpus as (n, D) with n up to `rows`."""
    if isinstance(corpus, Dataset):
        ranges = (range(begin, min(begin + rows, len(corpus))) for begin in range(0, len(corpus), rows))
        yield from (pictures(corpus, indices).flatten(1) for indices in ranges)
    else:
        for chunk in [corpus] if isinstance(corpus, Tensor) else corpus:
            yield from chunk.flatten(1).split(rows)


def _first(distances: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row by (distance, index)."""
    indices, order = indices.sort(dim=1)
    distances, by_distance = distances.gather(1, order).sort(dim=1, stable=True)
    return distances[:, :k], indices.gather(1, by_distance)[:, :k]


def pictures(dataset: Dataset, indices: Iterable[int]) -> Tensor:
    """Items of a data set of uint8 (C, H, W) tensors as (n, C, H, W)."""
    return torch.stack([dataset[index] for index in indices])


@dataclass
class Known:
    """What the generator learned from, shared by all copies of a metric."""

    real: Dataset
    features: Callable[[Tensor], Tensor] | None = None  # uint8 (B, C, H, W) -> float (B, D)
    found: dict[str, Any] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict) -> "Known":
        return self


class Memorization(Metric):
    """Are generated images copies of training images? Numbers and a picture, from the first `samples` test images.

    memorized/pixels: the share of samples that are nearer to a training image than 99 % of up to 2,000 training images
    are to their own nearest (1 - `quantile`). New images of the same kind would give about `quantile`; a generator that
    repeats its training images gives up to 1. Distances are the RMS difference of pixels on the scale [0, 1], and below
    0.001 an image always counts as a copy, also where training images that occur twice make the quantile 0. Flat or
    blurred images are near to everything in pixels: look at the picture. Mirrored copies are not found in pixels.

    memorized/features: the same for features of the pictures, where there is an `extractor` (its path); their Euclidean
    distance, in units of the RMS distance of training images from their mean.

    `folder`/nearest.png: the `rows` samples that are nearest to a training image, nearest first; beside each its
    `neighbours` nearest training images by pixels, then, with an extractor, by features.
    """

    needs = frozenset({"image"})
    stages = ("test",)
    monitor = None
    full_state_update = False

    def __init__(
        self,
        *,
        folder: str,
        samples: int = 1000,
        neighbours: int = 3,
        rows: int = 10,
        quantile: float = 0.01,
        extractor: str | None = None,
    ):
        super().__init__()
        for name, value in (("samples", samples), ("neighbours", neighbours), ("rows", rows)):
            require(value >= 1, f"evaluation.metrics.memorization.{name}={value}: 1 or more")
        require(0 < quantile < 1, f"evaluation.metrics.memorization.quantile={quantile}: a share between 0 and 1")
        self.folder, self.samples, self.neighbours, self.rows = Path(folder), samples, neighbours, rows
        self.quantile, self.extractor = quantile, extractor
        self.known: Known | None = None
        self.add_state("images", [], dist_reduce_fx="cat")
        self.add_state("index", [], dist_reduce_fx="cat")

    def prepare(self, data: DataModule) -> None:
        """Raises UserError where there are fewer than 2 training images, or the extractor cannot be read."""
        real = data.real("train")
        require(
            len(real) >= 2,
            f"evaluation.metrics.memorization compares training images with each other, and there is {len(real)}; "
            "use 2 or more (data.n_train), or leave it out: ~evaluation.metrics.memorization",
        )
        self.known = Known(real, None if self.extractor is None else _load_features(self.extractor, data.class_names))

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1]; those with batch["index"] below `samples` are kept."""
        index = batch["index"].to(generated.device)
        kept = index < self.samples
        self.images.append(from_unit(generated[kept]))  # also where empty: ranks must agree on the type
        self.index.append(index[kept])

    def compute(self) -> dict[str, float]:
        order = dim_zero_cat(self.index).argsort()
        samples = dim_zero_cat(self.images)[order]
        real = self.known.real
        chosen = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:_OWN]
        own = pictures(real, chosen.tolist()).to(samples.device)
        levels = 255 * samples[0].numel() ** 0.5
        near, indices = self._compare("pixels", samples, own, chosen, real, levels)
        values, neighbours = {"memorized/pixels": near}, [indices]
        if self.known.features is not None:
            features = self.known.features
            sampled, own = (torch.cat([features(b) for b in x.split(_BATCH)]) for x in (samples, own))
            spread = (own - own.mean(dim=0)).norm(dim=1).square().mean().sqrt().clamp(min=1e-12)
            corpus = (features(b.to(samples.device)) for b in _batches(real))
            near, indices = self._compare("features", sampled, own, chosen, corpus, float(spread))
            values["memorized/features"] = near
            neighbours.append(indices)
        suspects = values["memorized/pixels"][:, 0].argsort(stable=True)[: self.rows].cpu()
        self._draw(samples.cpu()[suspects], [indices.cpu()[suspects] for indices in neighbours])
        limits = self.known.found
        return {name: int(_copied(d[:, 0], limits[name]).sum()) / len(d) for name, d in values.items()}

    def _compare(
        self,
        space: str,
        samples: Tensor,
        own: Tensor,
        chosen: Tensor,
        corpus: Dataset | Iterable[Tensor],
        unit: float,
    ) -> tuple[Tensor, Tensor]:
        """Distances (in `unit`) and indices of the neighbours of samples; notes the distance that is suspicious."""
        k = min(self.neighbours, len(self.known.real) - 1)
        queries = torch.cat([samples.flatten(1), own.flatten(1)])
        exclude = torch.cat([torch.full((len(samples),), -1), chosen])
        distances, indices = nearest(queries, corpus, k, exclude=exclude)
        distances = distances / unit
        among_themselves = distances[len(samples) :, 0]
        self.known.found[f"memorized/{space}"] = float(among_themselves.quantile(self.quantile))
        return distances[: len(samples)], indices[: len(samples)]

    @rank_zero_only
    def _draw(self, samples: Tensor, neighbours: list[Tensor]) -> None:
        """samples: uint8 (R, C, H, W); neighbours: (R, k) indices of training images, one for each space."""
        groups = [samples[:, None]]
        groups += [pictures(self.known.real, i.flatten().tolist()).unflatten(0, i.shape).cpu() for i in neighbours]
        path = self.folder / "nearest.png"
        self.folder.mkdir(parents=True, exist_ok=True)
        names = ["generated", *(f"training, nearest by {space}" for space in ("pixels", "features")[: len(neighbours)])]
        images.write(path, sheet(groups, names).permute(1, 2, 0).numpy())
        self.known.found["picture"] = str(path)

    def describe(self) -> dict[str, Any]:
        """The picture's path, and the distances below which a sample counts; known once it was computed."""
        found = self.known.found if self.known else {}
        limits = {f"{name}_threshold": limit for name, limit in found.items() if name != "picture"}
        return {"memorized/picture": found.get("picture"), "memorized/samples_at_most": self.samples, **limits}


def _copied(distance: Tensor, threshold: float) -> Tensor:
    return (distance < threshold) | (distance < COPY)


def _batches(real: Dataset) -> Iterator[Tensor]:
    for begin in range(0, len(real), _BATCH):
        yield pictures(real, range(begin, min(begin + _BATCH, len(real))))


def _load_features(path: str, class_names: Sequence[str]) -> Callable[[Tensor], Tensor]:
    """The extractor as a function of uint8 (B, C, H, W) that returns float (B, D)."""
    from ganforge.evaluation.extractor import load_extractor

    network = load_extractor(path, class_names=class_names).eval()

    def features(batch: Tensor) -> Tensor:
        with torch.no_grad():
            return network.to(batch.device)(batch)[0].flatten(1).float()

    return features


def sheet(groups: list[Tensor], names: Sequence[str], padding: int = 2, gap: int = 12) -> Tensor:
    """Groups of uint8 (R, n, C, H, W) side by side on grey, each under its name: uint8 (C, height, width).

    Small pictures are enlarged.
    """
    strips = []
    for group in groups:
        factor = max(1, 64 // group.shape[-1])
        group = group.repeat_interleave(factor, dim=-1).repeat_interleave(factor, dim=-2)
        group = torch.nn.functional.pad(group, [padding] * 4, value=153)
        strips.append(group.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2))
    between = torch.full((*strips[0].shape[:2], gap), 153, dtype=torch.uint8)
    columns = [column for strip in strips for column in (between, strip)][1:]
    page = torch.cat(columns, dim=2)
    lefts = accumulate((strip.shape[-1] + gap for strip in strips), initial=0)
    strip = heading(
        [(left, strip.shape[-1], name) for left, strip, name in zip(lefts, strips, names, strict=False)], page.shape[-1]
    )
    return torch.cat([(strip[: len(page)] * 255).round().byte(), page], dim=1)
