"""What can be said of generated images without any trained network: how their pixels are distributed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ganforge.data.module import DataModule
from ganforge.errors import require
from ganforge.evaluation import intervals
from ganforge.evaluation.memorization import COPY, nearest
from ganforge.pictures.tensors import from_unit

LARGEST = 64  # px; larger images are reduced to it
REAL = 5000  # training images that are compared with, at most
PAIRED = 2000  # images that are compared with each other, at most
PROJECTIONS = 512
NUMBERS = {"swd": "min", "diversity": "max", "duplicates": "min"}
_ROWS = 1024  # images that are held as floats at once
_DIRECTIONS = 64  # along which vectors are sorted at once
_READ = 64  # images that are held at their own size at once


def sliced_wasserstein(a: Tensor, b: Tensor, projections: int, generator: torch.Generator) -> float:
    """Mean, over random directions of length 1, of the Wasserstein-1 distance of the projections (Rabin et al. 2011).

    a: (N, D), b: (M, D), of any type; generator: on the CPU, of the directions. In one dimension the distance is that
    of the quantile functions, which is computed without interpolation also where N != M.

    A projection divides by sqrt(D) of itself: if all D values are shifted by c, the result is about
    c * sqrt(2 / pi), whatever D is, and repeating each value changes it little. Numbers of different image sizes can
    be compared. It grows as N and M shrink (equal distributions give 0 only in the limit).
    """
    directions = torch.randn(a.shape[1], projections, generator=generator)
    directions = (directions / directions.norm(dim=0)).to(a.device)
    first, second = (_project(vectors, directions).sort(dim=0).values for vectors in (a, b))
    n, m = len(first), len(second)
    # Both quantile functions are constant between the steps i / n and j / m; here in units of 1 / (n * m).
    steps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique().to(a.device)
    widths = steps.diff(prepend=steps.new_zeros(1)) / (n * m)
    gaps = (first[(steps - 1) // m] - second[(steps - 1) // n]).abs()
    return float((gaps * widths[:, None]).sum(dim=0).mean())


def standard_error(a: Tensor, b: Tensor, projections: int, generator: torch.Generator) -> float:
    """Of `sliced_wasserstein`: how much it varies over other draws of as many vectors a; b and the directions are held.

    By the delta method: along a direction the distance changes with a vector as its Kantorovich potential does, the
    integral of the sign of the difference of the two distribution functions up to it (Sommerfeld and Munk 2018); the
    standard deviation of the mean potential of the vectors, over the root of their number. NaN for fewer than 2.

    That a small set is farther from b than a large one of the same distribution is no part of it.
    """
    directions = torch.randn(a.shape[1], projections, generator=generator)
    directions = (directions / directions.norm(dim=0)).to(a.device)
    n, m = len(a), len(b)
    potential = torch.zeros(n, device=a.device)
    for some in directions.split(_DIRECTIONS, dim=1):
        values, order = torch.cat([_project(a, some), _project(b, some)]).sort(dim=0)
        ahead = torch.where(order < n, m, -n).cumsum(dim=0)[:-1].sign()  # n m times the difference of the functions
        up_to = torch.zeros_like(values)
        up_to[1:] = (ahead * values.diff(dim=0)).cumsum(dim=0)
        potential += torch.empty_like(values).scatter_(0, order, up_to)[:n].sum(dim=1)
    return float(potential.std() / projections / n**0.5) if n > 1 else float("nan")


def _project(vectors: Tensor, directions: Tensor) -> Tensor:
    return torch.cat([rows.float() @ directions for rows in vectors.split(_ROWS)])


def pairwise_rms(vectors: Tensor) -> float:
    """Mean RMS difference over all pairs of the N vectors (N, D); NaN for fewer than 2."""
    count, dimension = vectors.shape
    if count < 2:
        return float("nan")
    vectors = vectors.float()
    vectors = vectors - vectors.mean(dim=0)
    total = sum(float(torch.cdist(rows, vectors).sum()) for rows in vectors.split(256))
    return total / (count * (count - 1) * dimension**0.5)


def reduce(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W) -> uint8 vectors (B, D) of the images with sides of at most 64 px (bilinear, antialiased)."""
    height, width = images.shape[-2:]
    share = LARGEST / max(height, width)
    if share < 1:
        size = (max(1, round(height * share)), max(1, round(width * share)))
        smaller = interpolate(images.float(), size=size, mode="bilinear", antialias=True)
        images = smaller.round().clamp(0, 255).to(torch.uint8)
    return images.flatten(1)


@dataclass
class Reference:
    """The training images that generated ones are compared with, shared by all copies of a metric."""

    vectors: Tensor  # uint8 (N, D)
    spread: float  # mean RMS difference of two of them, on [0, 255]
    close: float  # RMS difference on [0, 255], below which a generated image repeats another

    @classmethod
    def of(cls, real: Dataset, seed: int = 0) -> "Reference":
        """Of at most 5,000 of the images, uint8 (C, H, W), chosen by the seed; there must be 2 or more."""
        chosen = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))[:REAL].tolist()
        vectors = _vectors(real, chosen)
        some = vectors[:PAIRED]
        close = float(_to_nearest(some).quantile(0.01)) / 2
        return cls(vectors, pairwise_rms(some), max(close, 255 * COPY))

    def __deepcopy__(self, memo: dict) -> "Reference":
        return self


class PixelMetrics(Metric):
    """How the pixels of generated images are distributed, beside up to 5,000 training images; needs no weights.

    swd: sliced Wasserstein distance on [-1, 1], see `sliced_wasserstein`; 0.05 if all pixels are 8 grey levels off.
    diversity: mean RMS difference of two generated images over that of two real ones; 1 is right, 0 a collapse.
    duplicates: share of the generated images (of the first 2,000) that have another one closer than half of what 99 %
    of real images keep from their nearest (among 2,000), or closer than a quarter of a grey level.

    needs: only for data that provide these. projections: directions of swd; seed: of these and of the choice of
    training images. Images above 64 px are reduced to it.
    """

    stages = ("val", "test")
    monitor = ("swd", "min")
    stage: str | None = None  # "val" or "test"
    has_floor = True
    full_state_update = False

    def __init__(self, *, needs: Sequence[str] = ("image",), projections: int = PROJECTIONS, seed: int = 0):
        super().__init__()
        self.needs = frozenset(needs)
        require(projections >= 1, f"evaluation.metrics.pixels.projections={projections}: 1 or more")
        self.projections, self.seed = projections, seed
        self.reference: Reference | None = None  # of the data set that is evaluated
        self.interval: tuple[float, float] | None = None  # of the last swd, in a test
        self._references: dict[int, Reference] = {}  # by the id of a data set, where it has its own
        self.add_state("vectors", [], dist_reduce_fx="cat")
        self.add_state("index", [], dist_reduce_fx="cat")

    def prepare(self, data: DataModule) -> None:
        """Reads the training images that are compared with. Raises UserError where there are fewer than 2."""
        self.reference = self._read(data, "train")
        if "unpaired" in self.needs:  # the other direction has another target
            split = data.training_split("BtoA")
            self._references = {id(data.sets["BtoA"]): self._read(data, split)} if "BtoA" in data.sets else {}

    def _read(self, data: DataModule, split: str) -> Reference:
        real = data.real(split)
        require(
            len(real) >= 2,
            f"evaluation.metrics.pixels compares training images with each other, and there is {len(real)}; "
            "use 2 or more (data.n_train), or leave it out: ~evaluation.metrics.pixels",
        )
        return Reference.of(real, self.seed)

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], of the batch's "index"."""
        self.reference = self._references.get(id(dataset), self.reference)
        self.vectors.append(reduce(from_unit(generated)))
        self.index.append(batch["index"].to(generated.device))

    def compute(self) -> dict[str, float]:
        """swd; with 2 images or more also diversity and duplicates."""
        vectors = dim_zero_cat(self.vectors)[dim_zero_cat(self.index).argsort()]
        settings = {"projections": self.projections, "seed": self.seed}
        values = measure(vectors, self.reference, **settings)
        self.interval = (
            interval_of_swd(values["swd"], vectors, self.reference, **settings) if self.stage == "test" else None
        )
        return values

    def describe(self) -> dict[str, Any]:
        """How many training images were compared with, over how many directions; in the test the `intervals` of swd."""
        count = len(self.reference.vectors) if self.reference else None
        said = {"swd/training_images": count, "swd/projections": self.projections}
        return said if self.interval is None else {**said, **_said_of(self.interval)}


def measure(vectors: Tensor, reference: Reference, *, projections: int, seed: int) -> dict[str, float]:
    """The numbers of `PixelMetrics` of images as uint8 vectors (N, D); of a single one swd alone."""
    directions = torch.Generator().manual_seed(seed)
    real = reference.vectors.to(vectors.device)
    values = {"swd": sliced_wasserstein(vectors, real, projections, directions) / 127.5}
    some = vectors[:PAIRED]
    if len(some) >= 2:
        values["diversity"] = pairwise_rms(some) / reference.spread if reference.spread else float("nan")
        values["duplicates"] = int((_to_nearest(some) < reference.close).sum()) / len(some)
    return values


def interval_of_swd(
    swd: float, vectors: Tensor, reference: Reference, *, projections: int, seed: int
) -> tuple[float, float] | None:
    """95 %: swd ± 1.96 of its standard errors, of images as in `measure`; None for fewer than 2."""
    directions = torch.Generator().manual_seed(seed)
    error = standard_error(vectors, reference.vectors.to(vectors.device), projections, directions) / 127.5
    low, high = intervals.normal(swd, error)
    return (max(0.0, low), high) if error == error else None


def _said_of(interval: tuple[float, float]) -> dict[str, Any]:
    return {
        "intervals": {"swd": interval},
        "swd/interval": "95 %: estimate ± 1.96 standard errors (delta method) over the generated images, the training "
        "images and the directions held fixed; that swd is too large of few images is no part of it",
    }


def compare(generated: Dataset, real: Dataset, *, reference: str = "given") -> tuple[dict[str, float], dict[str, Any]]:
    """The numbers of two sets of uint8 (C, H, W) images of one size, `real` in the place of the training images, and
    what must be said of them. reference: what the real ones are, for that.

    Raises UserError for fewer than 2 of either, and for images of several sizes.
    """
    for found, what in ((generated, "generated"), (real, "real")):
        require(len(found) >= 2, f"{len(found)} {what} pictures: {', '.join(NUMBERS)} need 2 or more")
    wanted, other = tuple(real[0].shape), tuple(generated[0].shape)
    require(
        wanted == other,
        f"the generated pictures are of {other[2]} x {other[1]} px and the real ones of {wanted[2]} x {wanted[1]}: "
        f"{', '.join(NUMBERS)} compare pixels, so give pictures of one size",
    )
    known = Reference.of(real)
    vectors, settings = _vectors(generated, range(len(generated))), {"projections": PROJECTIONS, "seed": 0}
    values = measure(vectors, known, **settings)
    said = {"images": len(generated), "reference": reference, "reference_images": len(known.vectors)}
    interval = interval_of_swd(values["swd"], vectors, known, **settings)
    return values, {**said, "swd/projections": PROJECTIONS, **_said_of(interval)}


def _vectors(images: Dataset, indices: Sequence[int]) -> Tensor:
    parts = [indices[begin : begin + _READ] for begin in range(0, len(indices), _READ)]
    return torch.cat([reduce(_together([images[index] for index in part])) for part in parts])


def _together(images: list[Tensor]) -> Tensor:
    shapes = sorted({tuple(image.shape) for image in images})
    found = " and ".join(f"{width} x {height}" for _, height, width in shapes[:2])
    require(len(shapes) == 1, f"there are pictures of {found} px; give pictures of one size")
    return torch.stack(images)


def _to_nearest(vectors: Tensor) -> Tensor:
    """RMS difference of each vector to the nearest other one."""
    distances, _ = nearest(vectors, vectors, 1, exclude=torch.arange(len(vectors)))
    return distances[:, 0] / vectors.shape[1] ** 0.5
