"""What a generator's hesitation is worth: probabilities of bonds, learned, and how often they are right."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchmetrics import Metric

from ganforge.evaluation import intervals
from ganforge.lattice import Network
from ganforge.lattice.ink import page_of
from ganforge.lattice.probability import (
    Calibration,
    Evidence,
    candidate_bonds,
    doubtful,
    evidence_in,
    fitted,
)
from ganforge.pictures.tensors import from_unit

MOST_BINS = 10
LEAST_IN_BIN = 50  # doubtful pairs; of fewer a share says little
BATCH = 16
DRAWS = 200  # of what a perfect calibration would show by chance
SIDE, EDGE = 320, 40  # px of the diagram, and of the border for its labels


def gather(drawn: np.ndarray, true: Network) -> tuple[Evidence, np.ndarray]:
    """What a generated picture (H, W) uint8 says of candidates between the true sites, and (K,) which are joined."""
    evidence = evidence_in(page_of(drawn), true.sites, candidate_bonds(true.sites))
    number = len(true.sites)
    return evidence, np.isin(evidence.pairs @ [number, 1], true.bonds @ [number, 1])


@torch.no_grad()
def learn(
    infer: Callable[[dict[str, Tensor]], Tensor], dataset: Dataset, device: torch.device, most: int | None = None
) -> Calibration | None:
    """The calibration of the pictures that `infer` gives for a data set of networks; None where nothing is learned.

    most: batches of them, None for all.
    """
    values, joined = [], []
    for batch in islice(DataLoader(dataset, batch_size=BATCH), most):
        generated = infer({name: part.to(device) for name, part in batch.items()})
        pictures = from_unit(generated.nan_to_num()).cpu().numpy()
        for picture, index in zip(pictures[:, 0], batch["index"].tolist(), strict=True):
            evidence, are_joined = gather(picture, dataset.network(index))
            values.append(evidence.values)
            joined.append(are_joined)
    return fitted(np.concatenate(values), np.concatenate(joined))


class Reliability(Metric):
    """Probabilities beside what is true: calibration_error over the doubtful pairs, and how many these are.

    Bins hold equally many doubtful pairs (0.05 < p < 0.95), at least 50; calibration_error is the mean distance of
    their mean probability to the share that is joined. calibration_error_by_chance: what it would be on average if all
    probabilities were right, from so few pairs.
    """

    full_state_update = False

    def __init__(self):
        super().__init__()
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.known = np.zeros((0, 2))  # (K, 2) probability and 0 or 1 of all ranks, ascending; of the last `compute`

    def update(self, probabilities: np.ndarray, joined: np.ndarray) -> None:
        """(K,) probabilities and (K,) whether a pair is a true bond; only doubtful ones are kept."""
        keep = doubtful(probabilities)
        self.rows.append(torch.from_numpy(np.stack([probabilities[keep], joined[keep]], axis=1)).to(self.device))

    def compute(self) -> dict[str, float]:
        """calibration_error, calibration_error_by_chance (nan without doubtful pairs), doubtful."""
        rows = self.known = self.sorted_rows()
        if len(rows) == 0:
            return {"calibration_error": float("nan"), "calibration_error_by_chance": float("nan"), "doubtful": 0.0}
        rng = np.random.default_rng(0)
        chance = [calibration_error(rows[:, 0], rng.random(len(rows)) < rows[:, 0]) for _ in range(DRAWS)]
        return {
            "calibration_error": calibration_error(*rows.T),
            "calibration_error_by_chance": float(np.mean(chance)),
            "doubtful": float(len(rows)),
        }

    def sorted_rows(self) -> np.ndarray:
        """(K, 2) probability and 0 or 1, in ascending order: the same from any number of processes."""
        parts = self.rows if isinstance(self.rows, list) else [self.rows]
        rows = torch.cat(parts).cpu().numpy() if parts else np.zeros((0, 2))
        return rows[np.lexsort(rows.T[::-1])]


def table(rows: np.ndarray) -> list[list[float]]:
    """The bins of (K, 2) `Reliability.known`: mean probability, share that is joined, its 95 % interval, how many."""
    found = []
    for part in bins(len(rows)) if len(rows) else []:
        said, share = (float(value) for value in rows[part].mean(axis=0))
        found.append([said, share, *intervals.of_share(share, len(part)), len(part)])
    return found


def bins(count: int) -> list[np.ndarray]:
    """Indices of each bin of so many values in order."""
    return np.array_split(np.arange(count), min(max(count // LEAST_IN_BIN, 1), MOST_BINS))


def calibration_error(probabilities: np.ndarray, joined: np.ndarray) -> float:
    """Expected calibration error of (K,) ascending probabilities, K above 0: see `Reliability`."""
    joined = shares_of_equals(probabilities, joined)
    distances = [abs(probabilities[part].mean() - joined[part].mean()) * len(part) for part in bins(len(probabilities))]
    return float(sum(distances) / len(probabilities))


def shares_of_equals(probabilities: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """(K,) the share that is joined of the pairs with the same probability: no bin sorts these by what is true."""
    _, place = np.unique(probabilities, return_inverse=True)
    return (np.bincount(place, weights=joined) / np.bincount(place))[place]


def diagram(rows: np.ndarray, path: Path) -> None:
    """The reliability diagram of (K, 2) `Reliability.known` as a PNG: mean probability, share that is joined."""
    side = SIDE + 2 * EDGE
    page = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(page)

    def at(x: float, y: float) -> tuple[float, float]:
        return EDGE + x * SIDE, EDGE + (1 - y) * SIDE

    pen.rectangle([*at(0, 1), *at(1, 0)], outline="black")
    pen.line([*at(0, 0), *at(1, 1)], fill=(160, 160, 160))
    for tick in (0, 0.5, 1):
        pen.text((at(tick, 0)[0], side - EDGE + 4), f"{tick:g}", fill="black", anchor="ma")
        pen.text((EDGE - 4, at(0, tick)[1]), f"{tick:g}", fill="black", anchor="rm")
    pen.text((side / 2, side - 6), "probability said", fill="black", anchor="mb")
    pen.text((EDGE, EDGE - 6), f"share that are bonds, of {len(rows)} doubtful pairs", fill="black", anchor="ls")
    points = []
    shares = shares_of_equals(*rows.T)
    for part in bins(len(rows)) if len(rows) else []:
        said, share = rows[part, 0].mean(), shares[part].mean()
        spread = (share * (1 - share) / len(part)) ** 0.5
        pen.line([*at(said, min(share + spread, 1)), *at(said, max(share - spread, 0))], fill=(90, 140, 220), width=2)
        points.append(at(said, share))
    if len(points) > 1:
        pen.line([value for point in points for value in point], fill=(20, 80, 180), width=2)
    for x, y in points:
        pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=(20, 80, 180))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)


def to_card(calibration: Calibration | None) -> dict[str, Any]:
    """What a checkpoint's card says of it."""
    return {} if calibration is None else {"bond_calibration": calibration.to_card()}
