"""How much of a mechanical network a generated picture holds: bonds, sites, and what geometry alone would say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics import Metric

from ganforge.evaluation import intervals, read_networks, reliability
from ganforge.evaluation.read_networks import ReadNetwork
from ganforge.lattice import BASELINES, LATTICES, Network, find_dots, match_sites, read, score_bonds
from ganforge.lattice.mechanics import zero_modes
from ganforge.lattice.probability import Calibration
from ganforge.pictures.tensors import from_unit

NAMES = list(LATTICES)
SITE_RADIUS = 2.0  # px; a true site counts as kept when a dot is drawn this close to it


BANDS = (0.1, 0.2, 0.3)  # upper ends of the bands of disorder that are counted apart, in shortest bonds
UNKNOWN = len(BANDS)  # the place of networks whose disorder is not known


class BondCounts(Metric):
    """Bond counts summed over networks, by lattice and band of disorder; adds up over ranks."""

    full_state_update = False

    def __init__(self, prefix: str = ""):
        super().__init__()
        self.prefix = prefix
        # Columns: true positives, false positives, false negatives, networks, networks without a wrong bond.
        counts = torch.zeros(len(NAMES), len(BANDS) + 1, 5, dtype=torch.float64)
        self.add_state("counts", counts, dist_reduce_fx="sum")

    def update(self, true: Network, found: np.ndarray) -> None:
        """found: (M, 2) bonds over the sites of `true`."""
        score = score_bonds(true.bonds, found)
        row = [score.tp, score.fp, score.fn, 1, score.exact]
        place = NAMES.index(true.lattice), band(true.disorder)
        self.counts[place] += torch.tensor(row, dtype=torch.float64, device=self.counts.device)

    def compute(self) -> dict[str, float]:
        """bond_f1, bond_precision, bond_recall and network_exact, of all networks and of each lattice that was seen.

        The same again of each band of disorder: disorder_0.1/bond_f1 is of 0 to 0.1.
        """
        counts = self.counts.cpu().numpy()
        values = self._of(counts.sum(axis=1), "")
        for index, end in enumerate(BANDS):
            if counts[:, index, 3].any():
                values |= self._of(counts[:, index], f"disorder_{end}/")
        return values

    def _of(self, counts: np.ndarray, head: str) -> dict[str, float]:
        rows = {"": counts.sum(axis=0)}
        rows |= {f"/{name}": row for name, row in zip(NAMES, counts, strict=True) if row[3]}
        values = {}
        for suffix, (tp, fp, fn, networks, exact) in rows.items():
            numbers = {
                "f1": 2 * tp / max(1, 2 * tp + fp + fn),
                "precision": tp / max(1, tp + fp),
                "recall": tp / max(1, tp + fn),
                "exact": exact / max(1, networks),
            }
            values |= {f"{head}{self.prefix}{name}{suffix}": float(value) for name, value in numbers.items()}
        return values


def band(disorder: float | None) -> int:
    """The band of `BANDS` that a disorder lies in; UNKNOWN for none and for more than the last."""
    return UNKNOWN if disorder is None else int(np.searchsorted(BANDS, disorder - 1e-9))


class NetworkMetrics(Metric):
    """Reads the bonds of generated pictures between the true sites, and the dots, and compares with the true network.

    bond_f1, bond_precision, bond_recall; network_exact: share of networks without a single wrong bond; each also by
    lattice (`bond_f1/kagome`). site_recall: share of the true sites that have a dot within 2 px; site_shift_px: how far
    these dots are from their sites, on average. networks: how many were read. zero_modes_exact: share of networks that
    have as many zero modes as the true one, whatever their bonds; some 20 ms for a network with a wrong bond.

    Where the model has a calibration (`learn`), in the test: probable_f1, probable_exact, ... of the bonds that are
    more likely than not, which `ganforge predict` writes; calibration_error: see `Reliability`, of `doubtful` pairs.
    """

    needs = frozenset({"networks"})
    stages = ("val", "test")
    monitor = ("bond_f1", "max")
    each = {"bond_f1": "max"}  # noqa: RUF012
    full_state_update = False

    def __init__(self, folder: str | None = None):
        """folder: for the reliability diagrams of tests; None for none."""
        super().__init__()
        self.folder = None if folder is None else Path(folder)
        self.stage, self.name = "val", ""
        self.calibration: Calibration | None = None
        self.bonds = BondCounts(prefix="bond_")
        self.intervals: dict[str, tuple[float, float]] | None = None  # of the last test
        # Of the networks of the last update.
        self.of_each: dict[str, Tensor] | None = None
        self.details: list[ReadNetwork] = []
        self.probable = BondCounts(prefix="probable_")
        self.reliability = reliability.Reliability()
        # Networks, their sites, sites kept, and the shifts of these in px.
        self.add_state("sites", torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")
        # Of the test, for intervals: networks, exact ones, and sums of tp, fp + fn, and their squares and product.
        self.add_state("moments", torch.zeros(7, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("same_mechanics", torch.zeros(len(NAMES), 2, dtype=torch.float64), dist_reduce_fx="sum")

    def learn(
        self, infer: Callable[[dict[str, Tensor]], Tensor], data: Any, device: torch.device, most: int | None
    ) -> dict[str, Any]:
        """What a checkpoint is to say of the probabilities of its bonds, from networks that the data has for that.

        infer: batch -> pictures. most: batches, None for all.
        """
        dataset = data.calibration_set() if hasattr(data, "calibration_set") else None
        return {} if dataset is None else reliability.to_card(reliability.learn(infer, dataset, device, most))

    def recall(self, card: dict[str, Any]) -> None:
        """Take from a checkpoint's card what `learn` gave."""
        found = card.get("bond_calibration")
        self.calibration = None if found is None else Calibration.from_card(found)

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """generated: (B, 1, H, W) in [-1, 1]; batch["index"] says which networks of the data set they show."""
        pictures, scores, self.details = from_unit(generated).cpu().numpy(), [], []
        for picture, index in zip(pictures[:, 0], batch["index"].tolist(), strict=True):
            true = dataset.network(index)
            found = read(picture, true.sites)
            self.bonds.update(true, found.bonds)
            score = score_bonds(true.bonds, found.bonds)
            scores.append(score.f1)
            if self.stage == "test":
                self.moments += self.moments.new_tensor(_moments(score.tp, score.fp + score.fn))
            detail = ReadNetwork(true, found, None)
            if self._has_probabilities:
                evidence, joined = reliability.gather(picture, true)
                probabilities = self.calibration.probabilities(evidence)
                self.reliability.update(probabilities, joined)
                detail = read_networks.of_pairs(true, evidence.pairs, probabilities)
                self.probable.update(true, detail.found.bonds)
            self.details.append(detail)
            same = np.array_equal(found.bonds, true.bonds) or zero_modes(found) == zero_modes(true)
            self.same_mechanics[NAMES.index(true.lattice)] += self.same_mechanics.new_tensor([1, same])
            match = match_sites(find_dots(picture), true.sites, SITE_RADIUS)
            kept = len(match.pairs)
            row = [1, len(true.sites), kept, match.shift * kept if kept else 0.0]
            self.sites += torch.tensor(row, dtype=torch.float64, device=self.sites.device)
        self.of_each = {"bond_f1": torch.tensor(scores)}

    def compute(self) -> dict[str, float]:
        values = self.bonds.compute()
        values = {name.replace("bond_exact", "network_exact"): value for name, value in values.items()}
        counts = self.same_mechanics.cpu()
        shares = {f"/{name}": row for name, row in zip(NAMES, counts, strict=True) if row[0]}
        for suffix, (number, same) in ({"": counts.sum(dim=0)} | shares).items():
            values[f"zero_modes_exact{suffix}"] = float(same / max(1, number))
        if self._has_probabilities:
            values |= self.probable.compute() | self.reliability.compute()
            if self.picture is not None and rank_zero_only.rank == 0:
                reliability.diagram(self.reliability.known, self.picture)
        self.intervals = _intervals(*self.moments.tolist()) if self.moments[0] else None
        networks, sites, kept, shifts = self.sites.tolist()
        shift = shifts / kept if kept else float("nan")
        return {**values, "site_recall": kept / max(1.0, sites), "site_shift_px": shift, "networks": networks}

    def describe(self) -> dict[str, Any]:
        """In the test `intervals`: 95 % ones of bond_f1 and network_exact, over the networks.

        calibration: that of the probabilities; reliability: the bins of `reliability.table`, and picture: their file.
        """
        said = {} if self.intervals is None else {"intervals": self.intervals}
        if not self._has_probabilities:
            return said
        said |= {"calibration": self.calibration.to_card(), "reliability": reliability.table(self.reliability.known)}
        return said if self.picture is None else {**said, "reliability/picture": str(self.picture)}

    @property
    def picture(self) -> Path | None:
        return None if self.folder is None else self.folder / f"reliability_{self.name}.png"

    @property
    def _has_probabilities(self) -> bool:
        return self.stage == "test" and self.calibration is not None

    def reset(self) -> None:
        super().reset()
        for metric in (self.bonds, self.probable, self.reliability):
            metric.reset()


def _moments(right: int, wrong: int) -> list[float]:
    return [1, wrong == 0, right, wrong, right**2, wrong**2, right * wrong]


def _intervals(
    n: float, exact: float, right: float, wrong: float, right2: float, wrong2: float, product: float
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the numbers of n networks from sums of their `_moments`.

    bond_f1 = 2 R / (2 R + W), a ratio of sums over independent networks: estimate ± 1.96 standard errors by the delta
    method; none where no bond is wrong, or none right, whose spread is not known. network_exact: Wilson's.
    """
    found = {"network_exact": intervals.of_share(exact / n, int(n))}
    whole = 2 * right + wrong
    if n < 2 or wrong == 0 or right == 0:
        return found
    # By R and W: how much the F1 changes with each.
    by_right, by_wrong = 2 * wrong / whole**2, -2 * right / whole**2
    spread = (
        by_right**2 * (right2 - right**2 / n)
        + by_wrong**2 * (wrong2 - wrong**2 / n)
        + 2 * by_right * by_wrong * (product - right * wrong / n)
    ) * (n / (n - 1))
    low, high = intervals.normal(2 * right / whole, max(0.0, spread) ** 0.5)
    return {"bond_f1": (max(0.0, low), min(1.0, high)), **found}


class GeometricBaselines(Metric):
    """The bonds that geometry would draw from the sites alone: Delaunay pruned, Gabriel, relative neighbourhood graph.

    baseline/gabriel_f1, baseline/gabriel_exact, ... and the same by lattice, on the networks of the test set.
    """

    needs = frozenset({"networks"})
    stages = ("test",)
    monitor = None
    full_state_update = False

    def __init__(self):
        super().__init__()
        self.graphs = torch.nn.ModuleDict({name: BondCounts(prefix=f"baseline/{name}_") for name in BASELINES})

    def update(self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset) -> None:
        """Only batch["index"] is used: which networks of the data set are judged."""
        for index in batch["index"].tolist():
            true = dataset.network(index)
            for name, counts in self.graphs.items():
                counts.update(true, BASELINES[name](true.sites))

    def compute(self) -> dict[str, float]:
        return {key: value for counts in self.graphs.values() for key, value in counts.compute().items()}

    def reset(self) -> None:
        super().reset()
        for counts in self.graphs.values():
            counts.reset()
