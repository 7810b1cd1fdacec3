"""The numbers of `fidelity` from features, by torch-fidelity's own functions; their intervals, and what must be said.

FID: Heusel et al. 2017. KID: Bińkowski et al. 2018. Inception Score: Salimans et al. 2016. Precision and recall:
Kynkäänniemi et al. 2019, on the same features as the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch_fidelity
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from ganforge.errors import require
from ganforge.evaluation import intervals
from ganforge.evaluation.features import FeatureNetwork

METRICS = {"fid": "min", "kid": "min", "is": "max", "precision": "max", "recall": "max"}
SUBSETS = 100  # of KID, torch-fidelity's default
NEIGHBOURS = 3  # of precision and recall, torch-fidelity's default
MOST_NEIGHBOURS = 10_000  # real images for precision and recall: their time and memory grow with the square
FEW = 2048

_ARGUMENT = "evaluation.metrics.fidelity"


@dataclass(frozen=True)
class Settings:
    """What is computed, and how; checked when made. See `Fidelity`."""

    metrics: Sequence[str]
    batch_size: int
    kid_subset_size: int | None
    splits: int
    replicates: int | None
    seed: int

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        require(
            len(self.metrics) > 0 and not unknown and len(set(self.metrics)) == len(self.metrics),
            f"{_ARGUMENT}.metrics={list(self.metrics)}: one or more of {', '.join(METRICS)}, each once",
        )
        least = {"batch_size": 1, "kid_subset_size": 2, "splits": 2, "replicates": 2, "seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            optional = name in ("kid_subset_size", "replicates")
            require(
                (optional and value is None) or (isinstance(value, int) and value >= low),
                f"{_ARGUMENT}.{name}={value}: a whole number, {low} or more" + ", or null" * optional,
            )

    def subset_size(self, generated: int, real: int) -> int:
        """Images in each of KID's subsets."""
        return self.kid_subset_size or min(1000, generated, real)

    def least(self, metric: str) -> tuple[int, int]:
        """How many generated and real images a metric needs."""
        if metric == "is":
            return self.splits, 0
        both = {"fid": 2, "kid": self.kid_subset_size or 2}.get(metric, NEIGHBOURS + 1)
        return both, both

    def check(self, generated: int, real: int, what: str) -> None:
        """Raise UserError where there are too few images for a metric; `what` says which images these are."""
        options = {"is": f"splits={self.splits}", "kid": f"kid_subset_size={self.kid_subset_size}"}
        for metric in self.metrics:
            needed = self.least(metric)
            option = f" with {_ARGUMENT}.{options[metric]}" if metric in options else ""
            require(
                generated >= needed[0] and real >= needed[1],
                f"{what}: {generated} generated and {real} real images, but {metric}{option} needs {needed[0]} and "
                f"{needed[1]} or more; use more images, or leave {metric} out of {_ARGUMENT}.metrics",
            )


def names(network: FeatureNetwork) -> dict[str, str]:
    """What each metric is called: on other features than Inception's a number carries their name, and FID is fd."""
    if network.name is None:
        return {metric: metric for metric in METRICS}
    own = {"fid": "fd", "kid": "kd"}
    return {metric: f"{own.get(metric, metric)}/{network.name}" for metric in METRICS}


def measure(
    generated: Tensor,
    logits: Tensor,
    real: Tensor,
    *,
    network: FeatureNetwork,
    settings: Settings,
    with_intervals: bool,
    device: torch.device,
    statistics: dict[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """The numbers by name from float32 features (N, D), (M, D) and logits (N, K) on the CPU; NaN for too few images.

    With intervals also NAME/low and NAME/high, and NAME/std for KID (over its subsets) and Inception Score (over its
    splits). statistics: of the real features for FID, where they are known.
    """
    n, m = len(generated), len(real)
    wanted = [name for name in settings.metrics if n >= settings.least(name)[0] and m >= settings.least(name)[1]]
    found: dict[str, float] = dict.fromkeys(settings.metrics, float("nan"))
    deviation: dict[str, float] = {}
    near = _some(real, max(MOST_NEIGHBOURS, n), settings.seed)
    if "fid" in wanted:
        statistics = statistics or fid_features_to_statistics(real)
        found["fid"] = fid_statistics_to_metric(fid_features_to_statistics(generated), statistics, False)[
            torch_fidelity.KEY_METRIC_FID
        ]
    if "kid" in wanted:
        kid = kid_features_to_metric(
            generated,
            real,
            kid_subsets=SUBSETS,
            kid_subset_size=settings.subset_size(n, m),
            rng_seed=settings.seed,
            verbose=False,
        )
        found["kid"] = kid[torch_fidelity.KEY_METRIC_KID_MEAN]
        deviation["kid"] = kid[torch_fidelity.KEY_METRIC_KID_STD]
    if "is" in wanted:
        score = isc_features_to_metric(logits, settings.splits, True, settings.seed)
        found["is"] = score[torch_fidelity.KEY_METRIC_ISC_MEAN]
        deviation["is"] = score[torch_fidelity.KEY_METRIC_ISC_STD]
    if "precision" in wanted or "recall" in wanted:
        large = max(n, len(near)) > MOST_NEIGHBOURS
        shares = prc_features_to_metric(generated, near, prc_neighborhood=NEIGHBOURS, save_cpu_ram=large, verbose=False)
        found |= {name: shares[name] for name in ("precision", "recall") if name in wanted}

    called = names(network)
    values = {called[name]: value for name, value in found.items()}
    if with_intervals:
        bounds = _intervals(generated, real, near, found, deviation, wanted, settings, device)
        for name, (low, high) in bounds.items():
            values |= {f"{called[name]}/low": low, f"{called[name]}/high": high}
        values |= {f"{called[name]}/std": value for name, value in deviation.items()}
    return values


def _intervals(
    generated: Tensor,
    real: Tensor,
    near: Tensor,
    found: dict[str, float],
    deviation: dict[str, float],
    wanted: list[str],
    settings: Settings,
    device: torch.device,
) -> dict[str, tuple[float, float]]:
    target = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    generated, real, near = generated.to(target), real.to(target), near.to(target)
    n = len(generated)
    counts = intervals.resamples(n, replicates(settings, generated.shape[1]), settings.seed)
    bounds = {}
    if "fid" in wanted:
        low, high = intervals.normal(found["fid"], intervals.spread(intervals.frechet(generated, real, counts)))
        bounds["fid"] = max(0.0, low), high
    if "kid" in wanted:
        resampled = intervals.spread(intervals.kernel(generated, real, counts))
        # That the estimate is the mean over random subsets adds to its spread.
        bounds["kid"] = intervals.normal(found["kid"], np.hypot(resampled, deviation["kid"] / SUBSETS**0.5))
    if "is" in wanted:
        bounds["is"] = intervals.of_splits(found["is"], deviation["is"], settings.splits)
    resampled = {}
    if "precision" in wanted:
        resampled["precision"] = intervals.precision(generated, near, counts, NEIGHBOURS), n
    if "recall" in wanted:
        present = intervals.halves(n, len(counts), settings.seed)
        resampled["recall"] = intervals.recall(generated, near, present, NEIGHBOURS), len(near)
    for name, (shares, count) in resampled.items():
        low, high = intervals.normal(found[name], intervals.spread(shares))
        # A share of 0 or 1 does not change between resamples, but is not certain either.
        widest = intervals.of_share(found[name], count)
        bounds[name] = max(0.0, min(low, widest[0])), min(1.0, max(high, widest[1]))
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def replicates(settings: Settings, dimensions: int) -> int:
    """How many resamples are behind an interval."""
    return settings.replicates or (100 if dimensions <= 256 else 20)


def _some(features: Tensor, most: int, seed: int) -> Tensor:
    if len(features) <= most:
        return features
    return features[torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:most]]


def of_classes(
    logits: Tensor, labels: Tensor | None, network: FeatureNetwork, with_intervals: bool
) -> dict[str, float]:
    """classes/NAME/CLASS: the share of images that the extractor calls each class, in [0, 1].

    labels: int64 (N,), the class that each image was asked for; then also label_accuracy/NAME, the share that the
    extractor calls so.
    """
    n, predicted = len(logits), logits.argmax(dim=1)
    shares = {
        f"classes/{network.name}/{name}": float((predicted == label).double().mean())
        for label, name in enumerate(network.class_names)
    }
    if labels is not None:
        shares[f"label_accuracy/{network.name}"] = float((predicted == labels).double().mean())
    if not (with_intervals and n):
        return shares
    values = {}
    for name, share in shares.items():
        low, high = intervals.of_share(share, n)
        values |= {name: share, f"{name}/low": low, f"{name}/high": high}
    return values


def description(
    network: FeatureNetwork,
    settings: Settings,
    *,
    generated: int,
    real: int,
    reference: str,
    shape: Sequence[int],
    with_intervals: bool,
) -> dict[str, Any]:
    """What must be said of the numbers; shape: (C, H, W) of the images."""
    called, fewest = names(network), min(generated, real)
    said = {
        **network.describe(),
        "resizer": network.resizer(*shape[1:]),
        "image_shape": list(shape),
        "images": generated,
        "reference": reference,
        "reference_images": real,
        "torch_fidelity": torch_fidelity.__version__,
        "seed": settings.seed,
    }
    if "kid" in settings.metrics:
        said |= {"kid_subsets": SUBSETS, "kid_subset_size": settings.subset_size(generated, real)}
    if "is" in settings.metrics:
        said["splits"] = settings.splits
    if {"precision", "recall"} & set(settings.metrics):
        said |= {"neighbours": NEIGHBOURS, "neighbours_reference_images": min(real, max(MOST_NEIGHBOURS, generated))}
    if with_intervals:
        said["replicates"] = count = replicates(settings, network.dimensions)
        said["intervals"] = (
            f"95 %: {called['is']}: mean ± t quantile x standard error over {settings.splits} splits; shares "
            "of classes and labels: Wilson; others: estimate ± 1.96 standard deviations of "
            f"{count} bootstrap resamples of the generated images (recall: of halves of them), the reference held "
            "fixed (precision and recall: Wilson's where it is wider)"
        )
    if fewest < FEW:
        said["advice"] = (
            f"{fewest} images are fewer than {FEW:,}: compare by {called['kid']} rather than {called['fid']}, which is "
            f"biased upward by up to a large part of its value when a covariance of {network.dimensions} features is "
            f"estimated from few images, and the more so the fewer; {called['kid']} has no such bias"
        )
    return said
