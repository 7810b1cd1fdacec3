"""What the scores of a study's classifiers say: a table of arms, comparisons with their tests, the verdict."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ganforge.errors import require
from ganforge.studies import statistics
from ganforge.studies.statistics import Comparison

FIGURES = ("macro_f1", "accuracy")


class Analysis:
    """Of the results of classifiers (`job.run`) and of the numbers of each GAN.

    results: of every classifier; of the arm "classic" in each seed the strength that was best in validation counts.
    gans: for (shots, seed) its numbers ("memorized", "minutes", ...). Figures are of the test.
    """

    def __init__(
        self,
        *,
        results: Sequence[dict[str, Any]],
        class_names: Sequence[str],
        arms: Sequence[str],
        shots: Sequence[int],
        seeds: Sequence[int],
        primary: dict[str, Any],
        gans: dict[tuple[int, int], dict[str, float]] | None = None,
    ):
        self.class_names, self.arms, self.shots = tuple(class_names), tuple(arms), tuple(shots)
        self.figure, self.primary, self.gans = primary["figure"], primary, gans or {}
        self.of: dict[tuple[int, str, int], dict[str, Any]] = {}
        for one in sorted(results, key=lambda one: one["val"][self.figure]):  # the best in validation stays
            self.of[one["shots"], one["arm"], one["seed"]] = one
        wanted = [(shots, arm, seed) for shots in shots for arm in arms for seed in seeds]
        missing = [key for key in wanted if key not in self.of]
        require(
            not missing,
            f"{len(missing)} of {len(wanted)} classifiers have no results, the first of "
            + ", ".join(f"{name} {value}" for name, value in zip(("shots", "arm", "seed"), missing[0], strict=True))
            if missing
            else "",
        )
        self.seeds = tuple(seeds)

    def figures(self, shots: int, arm: str, figure: str | None = None) -> list[float]:
        """That of each seed, in [0, 1]."""
        return [self.of[shots, arm, seed]["test"][figure or self.figure] for seed in self.seeds]

    def compare(self, shots: int, arm: str, against: str) -> Comparison:
        return statistics.compare(arm, against, self.figures(shots, arm), self.figures(shots, against))

    @property
    def first(self) -> Comparison:
        """The primary comparison."""
        return self.compare(self.primary["shots"], self.primary["arm"], self.primary["against"])

    @property
    def verdict(self) -> str:
        return statistics.verdict(self.first, self.said_figure)

    @property
    def said_figure(self) -> str:
        return {"macro_f1": "macro-F1", "accuracy": "accuracy"}[self.figure]

    def others(self) -> list[tuple[int, Comparison, float]]:
        """Every other arm against the primary one's reference: (shots, comparison, p adjusted by Holm's method)."""
        primary, against = (self.primary["shots"], self.primary["arm"]), self.primary["against"]
        pairs = [(shots, arm) for shots in self.shots for arm in self.arms if arm != against]
        found = [(shots, self.compare(shots, arm, against)) for shots, arm in pairs if (shots, arm) != primary]
        adjusted = statistics.holm([comparison.p for _, comparison in found])
        return [(shots, comparison, p) for (shots, comparison), p in zip(found, adjusted, strict=True)]

    def worst_class(self, shots: int, arm: str) -> tuple[str, float] | None:
        """The class of the smallest mean recall, and that."""
        recalls = [self.of[shots, arm, seed]["test"]["recall"] for seed in self.seeds]
        means = [
            np.mean([own[label] for own in recalls if own[label] is not None]) if recalls else np.nan
            for label in range(len(self.class_names))
        ]
        place = int(np.nanargmin(means))
        return self.class_names[place], float(means[place])

    def curve(self, arm: str) -> list[tuple[int, float]]:
        """(shots, mean figure)."""
        return [(shots, float(np.mean(self.figures(shots, arm)))) for shots in sorted(self.shots)]

    def equivalent(self, shots: int) -> tuple[float, str] | None:
        """How many real pictures a class do, with classic augmentation, what the primary arm does with these shots."""
        if len(self.shots) < 2:
            return None
        value = float(np.mean(self.figures(shots, self.primary["arm"])))
        return statistics.equivalent_shots(self.curve(self.primary["against"]), value)

    def correlations(self) -> dict[str, float | None]:
        """Spearman's rank correlation of the numbers of each GAN with the gain in its seed (primary arms)."""
        gains = {
            (shots, seed): one - other
            for shots in self.shots
            for seed, one, other in zip(
                self.seeds,
                self.figures(shots, self.primary["arm"]),
                self.figures(shots, self.primary["against"]),
                strict=True,
            )
        }
        found = {}
        for name in dict.fromkeys(name for numbers in self.gans.values() for name in numbers):
            keys = [key for key in gains if name in self.gans.get(key, {})]
            values = [self.gans[key][name] for key in keys]
            found[name] = statistics.rank_correlation(values, [gains[key] for key in keys])
        return found

    def table(self) -> list[dict[str, Any]]:
        """A row for each number of shots and arm."""
        rows = []
        for shots in self.shots:
            for arm in self.arms:
                row: dict[str, Any] = {"shots": shots, "arm": arm}
                for figure in FIGURES:
                    values = np.array(self.figures(shots, arm, figure))
                    low, high = statistics.bootstrap(values)
                    row[figure] = {"mean": float(values.mean()), "interval": _finite([low, high])}
                row["worst_class"] = self.worst_class(shots, arm)
                rows.append(row)
        return rows

    def as_json(self) -> dict[str, Any]:
        """All of it, for study.json."""
        numbers = {}
        for name in dict.fromkeys(name for one in self.gans.values() for name in one):
            for shots in self.shots:
                values = [one[name] for (own, _), one in self.gans.items() if own == shots and name in one]
                numbers.setdefault(name, {})[str(shots)] = float(np.mean(values)) if values else None
        return {
            "verdict": self.verdict,
            "effect": statistics.effect(self.first),
            "primary": {**self.primary, **_comparison(self.first)},
            "table": self.table(),
            "comparisons": [{"shots": shots, **_comparison(one), "p_holm": p} for shots, one, p in self.others()],
            "gan": numbers,
            "rank_correlation_with_gain": self.correlations(),
            "equivalent_real_pictures": {str(shots): self.equivalent(shots) for shots in self.shots},
            "seeds": list(self.seeds),
            "class_names": list(self.class_names),
        }


def _comparison(one: Comparison) -> dict[str, Any]:
    return {
        "arm": one.arm, "against": one.against, "mean": one.mean, "interval": _finite([one.low, one.high]),
        "p": one.p, "smallest_effect": _finite([one.smallest])[0], "differences": list(one.differences),
    }  # fmt: skip


def _finite(values: Sequence[float]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
