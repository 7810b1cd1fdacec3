"""`ganforge study augmentation`: does a classifier gain from pictures that a GAN generated?

Settled first: the test set, each seed's shots, the primary comparison. Then, as sweeps: a GAN of every seed on its
shots alone, and the classifiers of every arm. What was finished is kept, so the same command goes on.
"""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from ganforge.data.image_folder import ImageFolderData
from ganforge.errors import require
from ganforge.evaluation.memorization import sheet
from ganforge.files.folders import replace
from ganforge.pictures import images
from ganforge.studies import arms
from ganforge.studies.arms import Labelled
from ganforge.studies.classifier import STRENGTHS
from ganforge.studies.processes import sweep
from ganforge.studies.records import SETTINGS, Records
from ganforge.studies.split import Pool, pool
from ganforge.studies.statistics import LEAST_SEEDS, LEVEL

_EXAMPLES = 8  # pictures of a class
_BATCH = 16  # of a GAN, unless told otherwise or where there are fewer pictures


class Study:
    """A study of augmentation in a folder. config: conf/study/augmentation.yaml; overrides: of its GANs."""

    def __init__(self, *, config: DictConfig, data: ImageFolderData, folder: Path, overrides: list[str]):
        self.config, self.data, self.overrides = config, data, overrides
        self.records = Records(folder)
        self.seeds = list(range(config.first_seed, config.first_seed + config.seeds))
        self.shots = list(config.shots)
        self.arms = [arms.parse(name) for name in config.arms]
        self._check()

    def _check(self) -> None:
        config, names = self.config, [arm.name for arm in self.arms]
        require(
            all(isinstance(shots, int) and shots >= 1 for shots in self.shots) and len(self.shots) > 0,
            f"shots={config.shots}: pictures a class, 1 or more, such as [5,20]",
        )
        require(len(set(names)) == len(names), f"arms={list(names)}: each once")
        primary = config.primary
        for role in ("arm", "against"):
            require(
                primary[role] in names, f"primary.{role}={primary[role]}: is no arm of this study ({', '.join(names)})"
            )
        require(primary.figure in ("accuracy", "macro_f1"), f"primary.figure={primary.figure}: accuracy or macro_f1")
        require(primary.shots in self.shots, f"primary.shots={primary.shots}: is none of shots={config.shots}")
        require(isinstance(config.seeds, int) and config.seeds >= 1, f"seeds={config.seeds}: 1 or more repetitions")
        needs_classic = [arm.name for arm in self.arms if arm.filters or (arm.augmented and arm.kind != "classic")]
        require(
            "classic" in names or not needs_classic,
            f"arms={list(names)}: {', '.join(needs_classic)} take the strength of the arm classic; add it",
        )

    def run(self) -> None:
        """Everything up to the results of the last classifier."""
        drawn = self.prepare()
        self.train_gans(drawn)
        self.train_classifiers(drawn)

    def prepare(self) -> Pool:
        """Split, look for leaks, write down who sees what."""
        config, folder = self.config, self.records.folder
        drawn = pool(self.data, config.test_fraction)
        drawn.check(self.shots, config.val_shots)
        leaks = {}
        for shots in self.shots:
            for seed in self.seeds:
                for pair in drawn.leaks(drawn.draw(shots, seed, config.val_shots)):
                    leaks.setdefault(pair, f"{drawn.files[pair[0]]} and {drawn.files[pair[1]]}")
        shown = "; ".join(list(leaks.values())[:5])
        require(
            not leaks or config.force,
            f"{len(leaks)} pictures to train on show nearly the same as one of validation or test: {shown}; remove one "
            "of each pair, or force=true",
        )
        classes, tests = len(drawn.class_names), int(drawn.test.sum())
        print(
            f"{len(drawn.files):,} pictures of {classes} classes: {tests:,} for the test, the shots of "
            f"{len(self.seeds)} seeds from the others" + (f"; {len(leaks)} leaks (force=true)" if leaks else "")
        )
        primary = config.primary
        print(f"primary comparison: {primary.arm} against {primary.against}, {primary.figure}, {primary.shots} shots")
        if len(self.seeds) < LEAST_SEEDS:
            best = 2 / 2 ** len(self.seeds)
            print(
                f"seeds={len(self.seeds)}: no effect can be shown, for with fewer than {LEAST_SEEDS} no sign-flip test "
                f"can reach {LEVEL:g} (here {best:.4g} at best)"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._settle()
        self.records.write_pool(drawn)
        for shots in self.shots:
            for seed in self.seeds:
                draw = drawn.draw(shots, seed, config.val_shots)
                self.records.write_draw(shots, seed, draw)
                if any(arm.generates for arm in self.arms):
                    self._lay_out(drawn, draw, self.records.gan_data(shots, seed))
        return drawn

    def train_gans(self, drawn: Pool) -> None:
        """A GAN for each number of shots and seed, and what it generates."""
        needed = {
            shots: max((arms.needed(arm, shots) for arm in self.arms if arm.generates), default=0)
            for shots in self.shots
        }
        if not any(needed.values()):
            return
        names = drawn.class_names
        for shots in self.shots:
            pictures = shots * (1 if self.config.per_class else len(names))
            epochs = math.ceil((64 if self.config.debug else self.config.gan_images) / pictures)
            root = f"{self.records.folder.absolute()}/data/shots-{shots}_seed-${{seed}}"
            varied: dict[str, Any] = {"seed": self.seeds}
            if self.config.per_class:
                varied["+study_class"] = names
                root += "/${study_class}"
            folders = sweep(
                [
                    *self.gan_settings(pictures), f"trainer.max_epochs={epochs}",
                    f"trainer.check_val_every_n_epoch={max(1, epochs // 10)}", *self.overrides, f"data.root='{root}'",
                ],
                varied, folder=self.records.folder / "gans" / f"shots-{shots}", said=f"GANs of {shots} shots",
            )  # fmt: skip
            each = len(folders) // len(self.seeds)  # one, or one a class
            for place, seed in enumerate(self.seeds):
                if not self.records.has_generated(shots, seed):
                    own = folders[place * each : (place + 1) * each]
                    self.records.write_generated(shots, seed, self._generate(own, seed, names, needed[shots]))

    def gan_settings(self, pictures: int) -> list[str]:
        """What each GAN is trained with unless the user said otherwise. pictures: that it is trained on."""
        given = [f"data.batch_size={min(_BATCH, pictures)}", *self.config.gan]
        return ["data=image_folder", *(one for one in given if not _is_given(one, self.overrides))]

    def train_classifiers(self, drawn: Pool) -> None:
        """The classifiers: those of the classic strengths before those that take the best of these."""
        config = self.config
        names = [arm.name for arm in self.arms]
        first = [arm.name for arm in self.arms if not arm.augmented and not arm.filters]
        waves = [(first, None), (["classic"] if "classic" in names else [], STRENGTHS)]
        waves.append(([name for name in names if name not in first and name != "classic"], None))
        for wave, (chosen, strengths) in enumerate(waves, 1):
            if not chosen:
                continue
            varied = {"shots": self.shots, "seed": self.seeds, "arm": chosen}
            sweep(
                [
                    f"folder='{self.records.folder.absolute()}'", f"figure={config.primary.figure}",
                    *_values("classifier", config.classifier), *_values("training", self._training()),
                    f"mirrored={config.mirrored}", *self._launching(),
                ],
                varied | ({"strength": strengths} if strengths else {}),
                config_name="study/classifier", folder=self.records.folder / "classifiers",
                said=f"classifiers ({wave} of {len(waves)})",
            )  # fmt: skip

    def draw_examples(self) -> None:
        """examples.png: of the primary comparison's first seed real and generated pictures, a row a class."""
        shots, seed = self.config.primary.shots, self.seeds[0]
        if not self.records.has_generated(shots, seed):
            return
        pictures, _, class_names = self.records.pictures()
        real, groups = pictures.take(self.records.draw(shots, seed).train), []
        for shown in (real, self.records.generated(shots, seed)):
            own = [shown.images[shown.labels == label] for label in range(len(class_names))]
            most = min(_EXAMPLES, *map(len, own))
            groups.append(torch.from_numpy(np.stack([part[:most] for part in own])))
        page = sheet(groups, ["real", "generated"])
        images.write(self.records.folder / "examples.png", page.permute(1, 2, 0).numpy())

    def _training(self) -> dict[str, Any]:
        own = OmegaConf.to_container(self.config.training, resolve=True)
        return {**own, "steps": 20} if self.config.debug else own

    def _launching(self) -> list[str]:
        """Of the settings of the GANs those of how sweeps run and where rows go, which classifiers take too."""
        return [one for one in self.overrides if one.startswith(("launcher=", "hydra.launcher", "logger"))]

    def _generate(self, folders: list[Path], seed: int, names: tuple[str, ...], count: int) -> Labelled:
        """What one GAN, or the GAN of each class, draws: so many pictures of each class."""
        import ganforge

        pictures, labels = [], []
        for label, name in enumerate(names):
            run = ganforge.load(folders[label if self.config.per_class else 0])
            drawn = run.sample(count, seed=seed, class_name=None if self.config.per_class else name)
            pictures.append(drawn.transpose(0, 3, 1, 2))
            labels.append(np.full(count, label, np.int64))
        return Labelled(np.concatenate(pictures), np.concatenate(labels))

    def _lay_out(self, drawn: Pool, draw: Any, folder: Path) -> None:
        """The pictures of a seed as a folder of classes: with their files' own bytes, named by their rows."""
        for split, rows in (("train", draw.train), ("val", draw.val)):
            for row in rows:
                name = drawn.class_names[drawn.pictures.labels[row]]
                below = folder / name / split if self.config.per_class else folder / split / name
                target = below / f"{row:06d}{drawn.files[row].suffix.lower()}"
                if not target.exists():
                    below.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(drawn.files[row], target)

    def _settle(self) -> None:
        """Write the settings down, or raise UserError where this folder holds a study with others."""
        path = self.records.folder / SETTINGS
        own = {**OmegaConf.to_container(self.config, resolve=True), "overrides": [*self.overrides]}
        own |= {"data_fingerprint": self.data.fingerprint()}
        own |= {} if self.data.all_classes else {"classes": list(self.data.class_names)}
        text = OmegaConf.to_yaml(OmegaConf.create(own))
        if path.is_file():
            before = OmegaConf.to_container(OmegaConf.create(path.read_text()))
            differing = sorted(name for name in own.keys() | before.keys() if own.get(name) != before.get(name))
            # More seeds can be added; of other classes the fingerprint is another.
            differing = [name for name in differing if name not in ("seeds", "classes")]
            require(
                not differing,
                f"{path}: this folder holds a study with another {', '.join(differing)}; choose another --output",
            )
        with replace(path) as file:
            file.write(text.encode())


def _is_given(override: str, overrides: list[str]) -> bool:
    key = override.split("=")[0]
    return any(one.lstrip("+").split("=")[0] == key for one in overrides) or (
        key == "model" and any(one.startswith("experiment=") for one in overrides)
    )


def _values(group: str, values: Any) -> list[str]:
    """The settings of a group as overrides of a config where it is empty."""
    own = OmegaConf.to_container(values, resolve=True) if isinstance(values, DictConfig) else values
    return [f"+{group}.{name}={value}" for name, value in own.items()]
