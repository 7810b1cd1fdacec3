"""How often a model that classifies is right, on real pictures it was not trained on."""

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics import Metric


class ClassifierAccuracy(Metric):
    """class_accuracy: share of the held-out real pictures that a semi-supervised model classifies rightly.

    Needs batch["predicted_label"] beside "label"; without it there are no numbers. A picture that a data set repeats is
    counted once.
    """

    needs = frozenset({"some_labels"})
    stages = ("val", "test")
    full_state_update = False

    def __init__(self):
        super().__init__()
        self.add_state("counts", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    # It compares no checkpoints: for other models than semi-supervised ones it has no numbers.
    monitor = None

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        if "predicted_label" not in batch:
            return
        first = batch["index"] < len(dataset.pictures)
        right = (batch["predicted_label"] == batch["label"])[first]
        self.counts += torch.stack([right.sum(), first.sum()]).to(self.counts)

    def compute(self) -> dict[str, float]:
        right, count = self.counts.tolist()
        return {"class_accuracy": right / count, "class_accuracy/images": count} if count else {}
