"""One classifier of a study: a job of a sweep, in a process and a folder of its own."""

import json
import time
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from omegaconf import DictConfig

from ganforge.errors import UserError, require
from ganforge.files.folders import replace
from ganforge.files.tensor_files import read as read_tensors
from ganforge.files.untrusted import read_json
from ganforge.runs import git, machine, status
from ganforge.studies import arms, classifier
from ganforge.studies.arms import Labelled
from ganforge.studies.records import Records

AUTO = "auto"  # of a strength: that with which the seed's classic arm did best in validation
_WEIGHTS = "weights.pt"


def run(config: DictConfig) -> float:
    """Train the classifier of config.arm, config.shots, config.seed; write results.json; returns its validation figure.

    Raises UserError where what it needs (generated pictures, the seed's classic classifiers) is not in the study.
    """
    folder = Path(config.run_dir)
    status.write(folder, state="running", error=None)
    try:
        score = _run(config, folder)
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        status.write(folder, state="failed", error=reason)
        raise
    status.write(folder, state="finished", score=score, monitor=f"val/{config.figure}", mode="max")
    return score


def _run(config: DictConfig, folder: Path) -> float:
    study = Records(Path(config.folder))
    begun = time.perf_counter()
    arm, shots, seed = arms.parse(config.arm), int(config.shots), int(config.seed)
    pictures, test, class_names = study.pictures()
    draw = study.draw(shots, seed)
    strength = config.strength if arm.augmented or arm.filters else None
    if strength == AUTO:
        strength = chosen_strength(study, shots, seed, config.figure)
    generated = study.generated(shots, seed) if arm.generates else None
    if arm.filters:
        sure = _load(config, study.classifier(shots, seed, "classic", strength), pictures, class_names)
        generated = arms.surest(generated, classifier.probabilities(sure, generated.images))
    train = arms.training_set(arm, pictures.take(draw.train), generated, seed)
    network = _fit(config, _network(config, pictures, class_names, seed), arm, train, strength, seed)
    results: dict[str, Any] = {
        "arm": arm.name, "shots": shots, "seed": seed, "strength": strength,
        "training_pictures": len(train), "git_commit": git.commit(), **machine.processor(),
    }  # fmt: skip
    for split, rows in (("val", draw.val), ("test", np.flatnonzero(test))):
        judged = pictures.take(rows)
        own = classifier.probabilities(network, judged.images).argmax(axis=1)
        results[split] = classifier.scores(own, judged.labels, len(class_names))
    if arm.kind == "classic":
        with replace(folder / _WEIGHTS) as file:
            torch.save(network.state_dict(), file)
        if study.has_generated(shots, seed):
            # Of the pictures that this seed's generator has not seen, without those of the test.
            others = np.setdiff1d(np.flatnonzero(~test), draw.train)
            results |= judged_by(network, study.generated(shots, seed), pictures.take(others), len(class_names))
    results["seconds"] = time.perf_counter() - begun
    score = float(results["val"][config.figure])
    for logger in map(hydra.utils.instantiate, (config.get("logger") or {}).values()):
        numbers = {f"{split}/{name}": results[split][name] for split in ("val", "test") for name in FIGURES}
        logger.log_metrics({**numbers, "images": config.training.steps * config.training.batch_size})
        logger.finalize("success")
    with replace(folder / "results.json") as file:
        file.write(json.dumps(results, indent=2).encode())
    return score


FIGURES = ("accuracy", "macro_f1")


def judged_by(network: torch.nn.Module, generated: Labelled, real: Labelled, classes: int) -> dict[str, Any]:
    """What a classifier of real pictures says of generated ones: GAN-test (Shmelkov et al. 2018), Fréchet distance.

    gan_test: the share whose class it tells as asked. fd: between its features (before the last layer) of generated
    and of real pictures that the generator has not seen.
    """
    from ganforge.evaluation.intervals import frechet  # a second of SciPy

    found = classifier.probabilities(network, generated.images).argmax(axis=1)
    said = {"gan_test": classifier.scores(found, generated.labels, classes)["accuracy"]}
    if hasattr(network, "features"):  # of a classifier of one's own they may not be known
        features = [classifier.outputs(network.features, one.images) for one in (generated, real)]
        said["fd"] = float(frechet(*features, torch.ones(1, len(generated), dtype=torch.float64))[0])
    return said


def chosen_strength(study: Records, shots: int, seed: int, figure: str) -> str:
    """The strength of classic augmentation that is best in a seed's validation; of equal ones the lightest."""
    best: dict[str, float] = {}
    for strength in classifier.STRENGTHS:
        found = read_json(study.classifier(shots, seed, "classic", strength), "results.json")
        if isinstance(found, dict):
            best[strength] = found["val"][figure]
    require(bool(best), f"{study.folder}: no classic classifier of {shots} shots and seed {seed} was trained")
    return max(best, key=best.get)


def _network(config: DictConfig, pictures: Labelled, class_names: tuple[str, ...], seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    _, channels, size, _ = pictures.images.shape
    network = hydra.utils.instantiate(config.classifier, channels=channels, classes=len(class_names), size=size)
    return network.to("cuda" if torch.cuda.is_available() else "cpu")


def _load(config: DictConfig, folder: Path, pictures: Labelled, class_names: tuple[str, ...]) -> torch.nn.Module:
    network = _network(config, pictures, class_names, 0)
    try:
        network.load_state_dict(read_tensors(folder / _WEIGHTS, str(folder / _WEIGHTS)))
    except RuntimeError as error:
        raise UserError(f"{folder / _WEIGHTS}: is of another classifier; remove the folder") from error
    return network.eval()


def _fit(
    config: DictConfig, network: torch.nn.Module, arm: arms.Arm, train: Labelled, strength: str | None, seed: int
) -> torch.nn.Module:
    return classifier.fit(
        network, train, **config.training, seed=seed, mirrored=config.mirrored,
        strength=strength if arm.augmented else None, balanced=arm.kind == "balanced",
    )  # fmt: skip
