"""Which test pictures came out worst, as pictures in the run's folder."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, distributed
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from ganforge.errors import UserError, require
from ganforge.evaluation.partners import source_of
from ganforge.files.folders import plain_name
from ganforge.files.untrusted import LONGEST_KEY
from ganforge.pictures import differences
from ganforge.pictures.grids import save
from ganforge.pictures.tensors import from_unit, to_unit

MOST = 64  # cases of a test set
FIRST = 4  # test pictures that are shown beside the worst, as they come
SMALLEST, LARGEST = 96, 256  # px that pictures are shown at: smaller ones as many times as large, others reduced

Shown = Callable[[Tensor], dict[str, Tensor]]


@dataclass
class Case:
    """A test picture. numbers: what it scores, what it is compared by first; bad: that, larger where it is worse.

    pictures: uint8 (columns, 3, H, W); difference: uint8 (H, W), or None. detail: of the metric, see `WorstCases`.
    """

    index: int
    name: str
    numbers: dict[str, float]
    bad: float
    pictures: Tensor
    difference: Tensor | None
    detail: Any = None

    @property
    def order(self) -> tuple[float, int]:
        """The worst first, whatever the order in which they came."""
        return -self.bad, self.index


class WorstCases:
    """Keeps the k worst pictures of a test set, and its first ones, while they come; writes them at the end.

    By the first metric that scores single pictures: one with `of_each`, number -> (B,) of the pictures of its last
    `update`, NaN for those without one, of which the first compares, and `each`, number -> "min" or "max", what is
    better. `folder`/NAME_worst_1.png and so on: what the model shows of the picture (`Adversarial.panels`), its target,
    and the difference of result and target, or where there is no target of source and round trip.

    A metric may have `details`, one for each picture of its last `update`: of the worst and of the first one
    `detail.draw()`, a picture and what it shows in words, is written too, NAME_worst_1_detail.png.
    """

    def __init__(self, *, k: int, folder: Path, name: str):
        self.k, self.folder, self.name = k, folder, name
        self.worst: list[Case] = []
        self.first: list[Case] = []
        self.columns: tuple[str, ...] = ()
        self.measure: str | None = None
        self.better = "min"
        self.compared = ""  # what the differences are of

    def update(
        self, batch: dict[str, Tensor], generated: Tensor, dataset: Dataset, metrics: Iterable[Any], shown: Shown
    ) -> None:
        """shown: the named columns, source and result first, of some rows of the batch."""
        metric = next((metric for metric in metrics if getattr(metric, "of_each", None)), None)
        if metric is None or "index" not in batch:
            return
        scores = {name: values.detach().double().cpu().tolist() for name, values in metric.of_each.items()}
        self.measure = next(iter(scores))
        self.better = metric.each[self.measure]
        sign = 1 if self.better == "min" else -1
        order = {}  # row -> as `Case.order`
        for row, (value, index) in enumerate(zip(scores[self.measure], batch["index"].tolist(), strict=True)):
            if math.isfinite(value):
                order[row] = (-sign * value, index)
        limit = sorted([*order.values(), *(case.order for case in self.worst)])[: self.k]
        kept = [row for row, place in order.items() if place in limit or place[1] < FIRST]
        if not kept:
            return
        rows = torch.tensor(kept)
        panels, difference = self._pictures(rows, batch, generated, shown(rows))
        for at, row in enumerate(kept):
            index = order[row][1]
            name_of = getattr(dataset, "name_of", None)
            name = name_of(index) if name_of else f"picture {index}"
            numbers = {name: values[row] for name, values in scores.items() if math.isfinite(values[row])}
            own = None if difference is None else difference[at]
            detail = metric.details[row] if getattr(metric, "details", None) else None
            case = Case(index, name[:LONGEST_KEY], numbers, sign * scores[self.measure][row], panels[at], own, detail)
            self._keep([case])

    def _keep(self, cases: Iterable[Case]) -> None:
        found = {case.index: case for case in (*self.worst, *self.first, *cases)}.values()
        self.worst = sorted(found, key=lambda case: case.order)[: self.k]
        self.first = sorted((case for case in found if case.index < FIRST), key=lambda case: case.index)

    def _pictures(
        self, rows: Tensor, batch: dict[str, Tensor], generated: Tensor, shown: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """uint8 (B, columns, 3, H, W), and the differences (B, H, W) in [0, 255]."""
        if "target" in batch and "target" not in shown:
            shown = {**shown, "target": batch["target"][rows]}
        _, result, *_ = shown.values() if len(shown) > 1 else (None, next(iter(shown.values())))
        pair = None
        if "target" in shown:
            pair, self.compared = (result, shown["target"]), "result and target"
        elif "back" in batch:
            pair, self.compared = (source_of(batch)[rows], batch["back"][rows]), "source and round trip"
        self.columns = tuple(shown)
        panels = torch.stack([_reduced(column).expand(-1, 3, -1, -1) for column in shown.values()], dim=1)
        if pair is None or pair[0].shape[-2:] != pair[1].shape[-2:]:
            return from_unit(panels), None
        difference = differences.absolute(*(side.float().to(generated.device) for side in pair))[:, None]
        if "valid" in batch:
            difference = difference * batch["valid"][rows].to(difference)
        return from_unit(panels), (_reduced(difference)[:, 0] * 255).round().clamp(0, 255).byte().cpu()

    def finish(self) -> dict[str, Any]:
        """Write the pictures, on rank 0, and say what they are; called by all ranks at once."""
        if distributed.is_available() and distributed.is_initialized():
            every: list[Any] = [None] * distributed.get_world_size()
            own = (self.measure, self.better, self.compared, self.columns, [*self.worst, *self.first])
            distributed.all_gather_object(every, own)
            for measure, better, compared, columns, cases in every:
                if measure is not None:
                    self.measure, self.better, self.compared, self.columns = measure, better, compared, columns
                self._keep(cases)
        if not self.worst:
            return {"none": "no measure scores single pictures: there is neither a partner nor a way back"}
        levels = [case.difference.max() for case in (*self.worst, *self.first) if case.difference is not None]
        largest = max(1, *(int(level) for level in levels)) / 255 if levels else None
        groups = {"worst": self.worst, "first": self.first}
        self._write(groups, largest or 1.0)
        details = {group: self._write_detail(group, cases[0]) for group, cases in groups.items() if cases}
        return {
            "folder": str(self.folder), "measure": self.measure, "better": self.better, "columns": list(self.columns),
            "difference": self.compared if levels else None, "largest_difference": largest,
            **{group: [self._said(group, place, case) | (details[group] if place == 1 else {})
                       for place, case in enumerate(cases, 1)]
               for group, cases in groups.items()},
        }  # fmt: skip

    def _file(self, group: str, place: int, end: str = "") -> str:
        return plain_name(f"{self.name}_{group}_{place}{end}.png")

    def _said(self, group: str, place: int, case: Case) -> dict[str, Any]:
        return {"picture": self._file(group, place), "name": case.name, "index": case.index, **case.numbers}

    def _write_detail(self, group: str, case: Case) -> dict[str, str]:
        """Write what the metric draws of a case, on rank 0, and say where it is and what it shows."""
        if case.detail is None:
            return {}
        try:
            drawn, says = case.detail.draw()
        except UserError as error:
            print(f"{self.name}, {case.name}: not drawn in detail ({error})")
            return {}
        file = self._file(group, 1, "_detail")
        if rank_zero_only.rank == 0:
            drawn.save(self.folder / file)
        return {"detail_picture": file, "detail": says}

    @rank_zero_only
    def _write(self, groups: dict[str, list[Case]], largest: float) -> None:
        for old in self.folder.glob("*.png"):  # of more cases
            if re.fullmatch(rf"{re.escape(self.name)}_(worst|first)_\d+(_detail)?\.png", old.name):
                old.unlink(missing_ok=True)
        for group, cases in groups.items():
            for place, case in enumerate(cases, 1):
                own = None if case.difference is None else _enlarged(case.difference).float() / 255
                page = differences.row(list(to_unit(_enlarged(case.pictures))), self.columns, own, largest)
                save(page, self.folder / self._file(group, place))


def check_count(k: int, said: str) -> None:
    """Raise UserError for another number of cases than can be kept."""
    require(
        isinstance(k, int) and 0 <= k <= MOST,
        f"{said}={k}: how many test pictures to show that came out worst, 0 (none) to {MOST}",
    )


def _enlarged(pictures: Tensor) -> Tensor:
    times = max(1, SMALLEST // max(pictures.shape[-2:]))
    return pictures.repeat_interleave(times, dim=-1).repeat_interleave(times, dim=-2)


def _reduced(pictures: Tensor) -> Tensor:
    """(B, C, H, W) with sides of at most 256 px, on the CPU."""
    pictures = pictures.detach().float().cpu()
    longest = max(pictures.shape[-2:])
    if longest <= LARGEST:
        return pictures
    size = [max(1, round(side * LARGEST / longest)) for side in pictures.shape[-2:]]
    return interpolate(pictures, size=size, mode="area")
