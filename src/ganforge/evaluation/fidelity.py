"""FID, KID, Inception Score, precision and recall of generated images: during training, and of two sets of pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from ganforge.data.module import DataModule
from ganforge.errors import require
from ganforge.evaluation.features import FeatureNetwork, Reference, chunks, extract, open_network
from ganforge.evaluation.measures import METRICS, Settings, description, measure, names, of_classes
from ganforge.files.folders import make_writable
from ganforge.pictures.tensors import from_unit

CACHE = "~/.cache/ganforge/features"

_ARGUMENT = "evaluation.metrics.fidelity"


class Fidelity(Metric):
    """How near the generated images are to the real ones as sets: FID, KID, Inception Score, precision, recall.

    needs: only for data that provide these; nothing for all data. metrics: of these; the first is the one that
    checkpoints are compared by, without pairs KID, since test sets of translations are small. extractor: a file of
    `ganforge extractor`, then the numbers are fd/NAME, kd/NAME, ... and classes/NAME/CLASS, or weights of SqueezeNet,
    then fd/squeezenet and so on; None: Inception. weights: of Inception; None: torch-fidelity's download.
    reference: the split of the real images; "auto": the training set for plain images, the set that is evaluated for
    translations. batch_size: of the network. cache_dir: where features of real images are kept. kid_subset_size: None
    for 1,000, or all images where they are fewer. splits: of the Inception Score. replicates: resamples behind an
    interval; None: 100, above 256 dimensions 20. seed: as torch-fidelity's rng_seed. Intervals are computed for the
    test alone.
    """

    stages = ("val", "test")
    has_floor = True
    counts = frozenset({"generated_images"})
    full_state_update = False

    def __init__(
        self,
        *,
        needs: Sequence[str] = (),
        metrics: Sequence[str] = tuple(METRICS),
        extractor: str | Path | None = None,
        weights: str | Path | None = None,
        reference: Literal["auto", "train", "val", "test"] = "auto",
        batch_size: int = 64,
        cache_dir: str | Path = CACHE,
        kid_subset_size: int | None = None,
        splits: int = 10,
        replicates: int | None = None,
        seed: int = 2020,
    ):
        super().__init__()
        self.needs = frozenset(needs)
        self.settings = Settings(tuple(metrics), batch_size, kid_subset_size, splits, replicates, seed)
        splits_known = ("auto", "train", "val", "test")
        require(reference in splits_known, f"{_ARGUMENT}.reference={reference}: one of {', '.join(splits_known)}")
        require(
            extractor is None or weights is None,
            f"{_ARGUMENT}.weights={weights} are those of Inception, but {_ARGUMENT}.extractor={extractor} takes its "
            "place; give one of the two",
        )
        self.extractor, self.weights, self.reference = extractor, weights, reference
        self.folder = Path(cache_dir).expanduser()
        self.stage = "val"
        self.split: str | None = None
        self._name = ""  # of the data set that is evaluated
        self._count = 0  # images of the last `compute`
        self._network: FeatureNetwork | None = None
        self._real: Reference | None = None
        self._labels_known: list[int] | None = None
        self._described: dict[str, Any] = {}
        self._waiting: list[Tensor] = []
        for name in ("features", "logits", "index", "labels"):
            self.add_state(name, [], dist_reduce_fx="cat")

    @property
    def network(self) -> FeatureNetwork:
        """The network behind the numbers; opened, and its weights looked for, at the first use."""
        if self._network is None:
            self._network = open_network(self.extractor, self.weights)
        return self._network

    @property
    def monitor(self) -> tuple[str, str]:
        metrics = self.settings.metrics
        unpaired = self._real is not None and "unpaired" in self._real.data.provides
        first = "kid" if unpaired and "kid" in metrics else metrics[0]
        return names(self.network)[first], METRICS[first]

    def prepare(self, data: DataModule) -> None:
        """Everything that could fail after hours of training: weights, numbers of images, channels, the cache.

        Says where the extractor is too often wrong.
        """
        self.has_floor = "domains" not in data.provides  # there, sources and targets are the same pictures
        self._network = network = open_network(self.extractor, self.weights, data.class_names)
        if "extractor_warning" in network.origin:
            rank_zero_only(print)(f"warning: {network.origin['extractor_warning']}")
        make_writable(self.folder, f"{_ARGUMENT}.cache_dir={self.folder}")
        self._real = Reference(data, network, folder=self.folder, batch_size=self.settings.batch_size)
        for name in ("val", *data.test_names):
            real = data.real(self._reference_for(name))
            self.settings.check(len(data.sets[name]), len(real), f"{type(data).__name__}, {name}")
            network.check_channels(real[0].shape[0], type(data).__name__)
        if data.class_names and set(data.class_names) <= set(network.class_names):
            self._labels_known = [network.class_names.index(name) for name in data.class_names]

    def _reference_for(self, name: str) -> str:
        """The split of real images that those of data set `name` are compared with."""
        if self.reference == "train":
            return self._real.data.training_split(name)
        if self.reference != "auto":
            return self.reference
        return "train" if "image" in self._real.data.provides else name

    def ceiling(self) -> dict[str, float]:
        """The numbers of real training pictures in place of the generated ones of the last `compute`, at most as many.

        Of translations; none where generated ones are compared with training pictures. Called by all ranks at once.
        """
        training = self._real.data.training_split(self._name)
        settings = replace(self.settings, metrics=tuple(name for name in self.settings.metrics if name != "is"))
        if training == self.split or not settings.metrics:
            return {}
        features = self._real.features(training, self.device)
        drawn = torch.randperm(len(features), generator=torch.Generator().manual_seed(settings.seed))
        return measure(
            features[drawn[: self._count]],
            torch.empty(0),
            self._real.features(self.split, self.device),
            network=self.network,
            settings=settings,
            with_intervals=self.stage == "test",
            device=self.device,
        )

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, C, H, W) in [-1, 1], one for each of batch["index"]; of batch["asked_label"] where given."""
        self._name = self._real.split_of(dataset)
        self.split = self._reference_for(self._name)
        self._waiting.append(from_unit(self._real.data.view("target", generated)))
        index = torch.as_tensor(batch["index"], device=generated.device)
        labels = batch.get("asked_label") if self._labels_known else None
        self.index.append(index)
        self.labels.append(torch.full_like(index, -1) if labels is None else labels.to(index))
        for images in chunks(self._waiting, self.settings.batch_size):
            self._add(images)

    def _add(self, images: Tensor) -> None:
        features, logits = self.network(images)
        self.features.append(features)
        self.logits.append(logits)

    def _finish(self) -> None:
        """Extract what still waits for a whole batch."""
        for images in chunks(self._waiting, max(1, sum(map(len, self._waiting)))):
            self._add(images)
        if isinstance(self.features, list) and not self.features:  # of ranks without an image; all must take part
            self.features.append(torch.empty(0, self.network.dimensions, device=self.device))
            self.logits.append(torch.empty(0, self.network.outputs, device=self.device))
            self.index.append(torch.empty(0, dtype=torch.int64, device=self.device))
            self.labels.append(torch.empty(0, dtype=torch.int64, device=self.device))

    def sync(self, *arguments: Any, **options: Any) -> None:
        self._finish()
        super().sync(*arguments, **options)

    def compute(self) -> dict[str, float]:
        """The numbers over all images since the last reset, on all ranks; each image once, in order of its index."""
        index = dim_zero_cat(self.index)
        order = torch.from_numpy(np.unique(index.cpu().numpy(), return_index=True)[1])
        device = index.device
        features, logits, labels = (
            dim_zero_cat(state).cpu()[order] for state in (self.features, self.logits, self.labels)
        )
        self._count = len(features)
        real, tested = self._real.features(self.split, device), self.stage == "test"
        values = measure(
            features,
            logits,
            real,
            network=self.network,
            settings=self.settings,
            with_intervals=tested,
            device=device,
            statistics=self._real.statistics(self.split) if "fid" in self.settings.metrics else None,
        )
        if self.network.class_names:
            asked = bool(self._labels_known) and len(labels) > 0 and bool((labels >= 0).all())
            wanted = torch.tensor(self._labels_known)[labels] if asked else None
            values |= of_classes(logits, wanted, self.network, tested)
        self._described = description(
            self.network,
            self.settings,
            generated=len(features),
            real=len(real),
            reference=self.split,
            shape=self._real.shapes[self.split],
            with_intervals=tested,
        )
        return {**values, "generated_images": float(len(features))}

    def describe(self) -> dict[str, Any]:
        """What must be said of the last `compute`: images, split, network and its hash, resizer, intervals, advice."""
        return self._described

    def reset(self) -> None:
        super().reset()
        self._waiting = []


def compare(
    generated: Dataset,
    real: Dataset,
    *,
    metrics: Sequence[str] = tuple(METRICS),
    extractor: str | Path | None = None,
    weights: str | Path | None = None,
    batch_size: int = 64,
    kid_subset_size: int | None = None,
    splits: int = 10,
    replicates: int | None = None,
    seed: int = 2020,
    with_intervals: bool = True,
    device: str | None = None,
    num_workers: int = 0,
    reference: str = "given",
    progress: bool = True,
) -> tuple[dict[str, float], dict[str, Any]]:
    """The numbers of generated pictures against real ones, and what must be said of them; see `Fidelity`.

    Data sets of uint8 (C, H, W), all of one size. reference: what the real ones are, for the description. Raises
    UserError before the work for missing weights, too few images and channels that the extractor does not take.
    """
    settings = Settings(tuple(metrics), batch_size, kid_subset_size, splits, replicates, seed)
    settings.check(len(generated), len(real), "the given images")
    network = open_network(extractor, weights)
    shape = tuple(generated[0].shape)
    for dataset, what in ((generated, "the generated set"), (real, "the real set")):
        network.check_channels(dataset[0].shape[0], what)
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    options = {"batch_size": batch_size, "device": target, "num_workers": num_workers, "progress": progress}
    features, logits = extract(generated, network, title="features of the generated images", **options)
    references, _ = extract(real, network, title="features of the real images", **options)
    values = measure(
        features, logits, references, network=network, settings=settings, with_intervals=with_intervals, device=target
    )
    if network.class_names:
        values |= of_classes(logits, None, network, with_intervals)
    said = description(
        network,
        settings,
        generated=len(features),
        real=len(references),
        reference=reference,
        shape=shape,
        with_intervals=with_intervals,
    )
    return {**values, "generated_images": float(len(features))}, said
