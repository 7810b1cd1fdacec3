"""The protocol of a study with classifiers and GANs that are known: what helps is found, what does not is not claimed.

The classifier is the nearest class mean of 90 pictures drawn from its training set, which takes no time; its scores
scatter by that draw as those of a network do.
"""

import numpy as np
import pytest

from ganforge.errors import UserError
from ganforge.report.study import forest
from ganforge.studies import arms
from ganforge.studies.analysis import Analysis
from ganforge.studies.arms import Labelled
from ganforge.studies.classifier import scores
from ganforge.studies.statistics import effect

CLASSES, DIMENSIONS, STEPS = 3, 12, 90
CENTRES = np.random.default_rng(7).normal(128, 12, (CLASSES, DIMENSIONS))


def pictures(generator: np.random.Generator, a_class: int) -> Labelled:
    labels = np.repeat(np.arange(CLASSES), a_class)
    values = CENTRES[labels] + generator.normal(0, 30, (len(labels), DIMENSIONS))
    return Labelled(values.clip(0, 255).astype(np.uint8).reshape(-1, 1, 3, 4), labels)


def more_real(generator, real):
    return pictures(generator, 40)


def noise(generator, real):
    labels = np.repeat(np.arange(CLASSES), 40)
    return Labelled(generator.integers(0, 256, (len(labels), 1, 3, 4), dtype=np.uint8), labels)


def wrong_class(generator, real):
    drawn = pictures(generator, 40)
    return Labelled(drawn.images, (drawn.labels + 1) % CLASSES)


def copies(generator, real):
    return real


def result(arm: str, seed: int, train: Labelled, test: Labelled, generator: np.random.Generator) -> dict:
    """As `ganforge.studies.job` writes it."""
    rows = np.concatenate(
        [generator.choice(np.flatnonzero(train.labels == label), STEPS // CLASSES) for label in range(CLASSES)]
    )
    flat = train.images[rows].reshape(len(rows), -1).astype(float)
    means = np.stack([flat[train.labels[rows] == label].mean(axis=0) for label in range(CLASSES)])
    apart = ((test.images.reshape(len(test), 1, -1) - means) ** 2).sum(axis=2)
    told = scores(apart.argmin(axis=1), test.labels, CLASSES)
    return {"arm": arm, "shots": 5, "seed": seed, "val": told, "test": told}


def study(gan, number: int = 0, seeds: int = 8) -> Analysis:
    names = ["real", "generated_1", "generated_4"] if gan is not copies else ["real", "generated_1"]
    found, test = [], pictures(np.random.default_rng([number, 1]), 60)
    for seed in range(seeds):
        generator = np.random.default_rng([number, 2, seed])
        real = pictures(generator, 5)
        generated = gan(generator, real)
        for name in names:
            train = arms.training_set(arms.parse(name), real, generated, seed)
            found.append(result(name, seed, train, test, generator))
    return Analysis(
        results=found, class_names=["a", "b", "c"], arms=names, shots=[5], seeds=range(seeds),
        primary={"arm": names[-1], "against": "real", "figure": "macro_f1", "shots": 5},
    )  # fmt: skip


def test_other_real_pictures_help():
    assert study(more_real).verdict.startswith("helps: generated_4 is ")


@pytest.mark.parametrize("gan", [noise, wrong_class])
def test_noise_and_pictures_of_the_wrong_class_do_not_help(gan):
    verdicts = [effect(study(gan, number).first) for number in range(10)]
    assert "helps" not in verdicts
    assert gan is noise or verdicts.count("harms") >= 8


def test_under_the_null_few_studies_claim_an_effect():
    effects = [effect(study(copies, number).first) for number in range(200)]
    claimed = sum(one != "no evidence" for one in effects)
    assert 0 < claimed <= 18  # 9 %


def test_five_seeds_claim_nothing():
    found = study(more_real, seeds=5)
    assert found.first.low > 0 and effect(found.first) == "no evidence"
    assert "with fewer than 6 no sign-flip test can reach 0.05 (here 0.0625 at best)" in found.verdict


def test_a_study_without_any_difference_can_be_drawn():
    found = study(copies, seeds=2).as_json()
    for one in (found["primary"], *found["comparisons"]):
        one |= {"mean": 0.0, "interval": [0.0, 0.0]}
    shown = forest(found)
    assert all(line["middle"] == shown["zero"] for line in shown["lines"]) and len(shown["ticks"]) > 1


def test_missing_classifiers_are_named():
    results = [one for one in [result_of("real", 0), result_of("generated_1", 0), result_of("real", 1)]]
    with pytest.raises(
        UserError, match="1 of 4 classifiers have no results, the first of shots 5, arm generated_1, seed 1"
    ):
        Analysis(
            results=results, class_names=["a"], arms=["real", "generated_1"], shots=[5], seeds=[0, 1],
            primary={"arm": "generated_1", "against": "real", "figure": "accuracy", "shots": 5},
        )  # fmt: skip


def result_of(arm: str, seed: int, **more) -> dict:
    told = {"accuracy": 0.5, "macro_f1": 0.5, "recall": [0.5]}
    return {"arm": arm, "shots": 5, "seed": seed, "val": told, "test": told, **more}


def test_of_the_classic_strengths_the_one_best_in_validation_counts():
    def one(strength, val, test):
        return {**result_of("classic", 0, strength=strength), "val": {"accuracy": val}, "test": {"accuracy": test}}

    found = Analysis(
        results=[one("light", 0.6, 0.1), one("medium", 0.7, 0.2), one("strong", 0.5, 0.9)], class_names=["a"],
        arms=["classic"], shots=[5], seeds=[0],
        primary={"arm": "classic", "against": "classic", "figure": "accuracy", "shots": 5},
    )  # fmt: skip
    assert found.figures(5, "classic") == [0.2]


def test_arms_hold_what_their_names_say():
    real = Labelled(np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1), np.repeat([0, 1], [4, 8]))
    generated = Labelled(np.full((20, 1, 1, 1), 200, np.uint8), np.repeat([0, 1], 10))
    sizes = {
        name: np.bincount(arms.training_set(arms.parse(name), real, generated, 0).labels).tolist()
        for name in ("real", "balanced", "classic", "generated_0.5", "classic_generated_1", "generated_only")
    }
    assert sizes == {
        "real": [4, 8], "balanced": [4, 8], "classic": [4, 8], "generated_0.5": [6, 12],
        "classic_generated_1": [8, 16], "generated_only": [10, 10],
    }  # fmt: skip
    copied = arms.training_set(arms.parse("duplicates_1"), real, None, 0)
    assert sorted(copied.images.ravel().tolist()) == sorted([*range(12), *range(12)])
    with pytest.raises(UserError, match="generated_2: needs 16 generated pictures a class; there are 10"):
        arms.training_set(arms.parse("generated_2"), real, generated, 0)


@pytest.mark.parametrize("name", ["generated", "real_1", "classics", "generated_0", "generated_-1", 5, ""])
def test_arms_that_are_none(name):
    with pytest.raises(
        UserError, match=r"arms: there is no arm .*; choose of real, balanced, classic, generated_RATIO"
    ):
        arms.parse(name)


def test_filter_keeps_the_surest_of_each_class():
    generated = Labelled(np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1), np.array([0, 0, 0, 1, 1, 1]))
    sure = np.array([[0.1, 0.9], [0.8, 0.2], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.9, 0.1]])
    kept = arms.surest(generated, sure)
    assert kept.images.ravel().tolist() == [2, 1, 4, 3]
