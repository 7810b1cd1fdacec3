"""ganforge from Python and notebooks: what the commands do, with arrays in place of files.

    run = ganforge.train("model=dcgan", "data=mnist", "trainer.max_epochs=2")
    run.results["test/fid"], run.sample(16, seed=0)
    ganforge.load("lightning_logs/pix2pix_lattice/2026-01-01_12-00-00").translate("picture.png")

What a user can mend raises `UserError`, one sentence.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.errors import UserError, require
from ganforge.hardware.processes import ANSWER

if TYPE_CHECKING:
    import numpy as np
    from omegaconf import DictConfig
    from torch import nn

    from ganforge.assembly import Parts
    from ganforge.commands.latent_directions import Directions
    from ganforge.commands.project import Projection
    from ganforge.commands.translator import Translator
    from ganforge.runs.generators import Generator

__all__ = ["Run", "UserError", "compose", "load", "train"]

_INTERRUPTED = 130


class Run:
    """A trained model: of a run its best checkpoint, or the checkpoint that was given.

    checkpoint: its file. card: what it says of itself (size, channels, class_names, config, versions, ...).
    """

    def __init__(self, path: str | Path):
        from ganforge.runs import checkpoint

        self.checkpoint: Path = checkpoint.find(path)
        self.card: dict[str, Any] = checkpoint.load(self.checkpoint)["ganforge"]

    def __repr__(self) -> str:
        return f"<ganforge.Run {self.checkpoint}>"

    @property
    def folder(self) -> Path | None:
        """The run's folder; None for a checkpoint that lies elsewhere."""
        folder = self.checkpoint.absolute().parents[1]
        return folder if (folder / "status.json").is_file() else None

    @property
    def results(self) -> dict[str, Any]:
        """The numbers of results.json; empty where the run has not ended."""
        from ganforge.files import untrusted

        found = None if self.folder is None else untrusted.read_json(self.folder, "results.json")
        return found if isinstance(found, dict) else {}

    @property
    def outputs(self) -> tuple[str, ...]:
        """What one gets from the model: ("sample",), ("translate",), or several directions such as ("AtoB", "BtoA")."""
        return tuple(self.card["outputs"])

    def network(self, output: str | None = None) -> nn.Module:
        """The network behind an output (None: the first) as users get it: its moving average, in evaluation mode."""
        from ganforge.runs.generators import load_generator

        return load_generator(self.checkpoint, output).network.eval()

    def sample(
        self, n: int = 64, *, seed: int = 0, class_name: str | None = None, truncation: float = 1.0
    ) -> np.ndarray:
        """n new pictures, uint8 (n, H, W, C) with C = 1 (grey) or 3 (RGB): those that `ganforge sample` writes."""
        import numpy as np

        from ganforge.commands import sample

        drawn = sample.pictures(self._sampler, n, class_name=class_name, truncation=truncation, seed=seed)
        return np.stack(list(drawn))

    def latents(self, numbers: Sequence[int], *, seed: int = 0, truncation: float = 1.0) -> np.ndarray:
        """What the pictures of these numbers are drawn from, float32 (len(numbers), D): `sample` draws 0, 1, 2, ..."""
        from ganforge.game.latents import latents

        return latents(numbers, self._sampler.network.latent_dim, seed, truncation).numpy()

    def draw(self, latents: np.ndarray, *, class_name: str | None = None) -> np.ndarray:
        """The pictures of latents (n, D), uint8 (n, H, W, C); class_name: None for the first class, where there are."""
        from ganforge.commands import interpolate

        return interpolate.drawn(self._sampler, latents, class_name)

    def interpolate(
        self,
        walk: Sequence[int] = (0, 1, 2, 3),
        *,
        steps: int = 8,
        seed: int = 0,
        class_name: str | None = None,
        truncation: float = 1.0,
    ) -> np.ndarray:
        """From picture to picture in `steps` each, uint8 (n, H, W, C): the rows of `ganforge interpolate`."""
        from ganforge.commands import interpolate

        path = interpolate.walked(self._sampler, walk, steps, truncation, seed)
        return interpolate.drawn(self._sampler, path, class_name)

    def arithmetic(
        self,
        formula: str,
        groups: Mapping[str, Sequence[int]] | None = None,
        *,
        seed: int = 0,
        class_name: str | None = None,
        truncation: float = 1.0,
    ) -> np.ndarray:
        """The result of `ganforge arithmetic`, uint8 (H, W, C): arithmetic("a - b + 9", {"a": [3, 7], "b": [4]})."""
        from ganforge.commands import arithmetic, interpolate

        terms = arithmetic.parse(formula, groups or {})
        *_, result = arithmetic.calculated(self._sampler, terms, truncation, seed)
        return interpolate.drawn(self._sampler, result[None], class_name)[0]

    def directions(self, count: int | None = None, *, class_name: str | None = None, seed: int = 0) -> Directions:
        """Those of `ganforge directions`: vectors to be added to latents, and the share of variance of each."""
        from ganforge.commands import latent_directions

        return latent_directions.find(self._sampler, count, class_name=class_name, seed=seed)

    def project(
        self,
        picture: np.ndarray | str | Path,
        *,
        steps: int = 200,
        restarts: int = 4,
        class_name: str | None = None,
        weights: str | Path | None = None,
        heads: str | Path | None = None,
        seed: int = 0,
    ) -> Projection:
        """The picture of the model that is nearest to one, as `ganforge project` seeks it.

        picture: a file, or uint8 (H, W, C).
        """
        from ganforge.commands import project
        from ganforge.pictures import images

        distance, _ = project.distance_of(self._sampler, weights, heads)
        fit = project.fit_of(self._sampler)
        if isinstance(picture, str | Path):
            target = fit(Path(picture))
        else:
            target = fit.fitted(images.with_channels(picture, fit.channels))
        options = {"steps": steps, "restarts": restarts, "class_name": class_name, "seed": seed}
        return project.projected(self._sampler, target, distance, **options)

    def translate(
        self,
        picture: np.ndarray | str | Path,
        *,
        output: str | None = None,
        to: str | None = None,
        attributes: Mapping[str, bool] | None = None,
        whiten: bool = False,
        as_drawn: bool = False,
    ) -> np.ndarray:
        """One picture, translated at its own size: what `ganforge predict` writes.

        picture: a file, or an array (H, W, C): uint8 with 1 or 3 channels, for models of other bands the values of
        these. to: of a model of many domains, to which. attributes: of one of attributes, those to have and not to
        have, such as {"Smiling": True}; those that are not given stay as the model sees them in the picture. whiten:
        see `ganforge.pictures.paper.whitened`. Returns uint8 (H, W, C'), or the values of the target's bands in their
        own unit and type. A model of networks also takes a list of sites, a file or floats (N, 2); as_drawn: as
        `ganforge predict --as-drawn`.
        """
        from ganforge.commands import scenes
        from ganforge.pictures import images
        from ganforge.pictures.paper import whitened
        from ganforge.pictures.rasters import Raster

        translator = self._translator(output, to, tuple((attributes or {}).items()))
        if not as_drawn and self.card.get("drawing") is not None:
            from ganforge.commands import redrawn

            return redrawn.translate(
                translator, redrawn.look_of(translator), Path(picture) if isinstance(picture, str) else picture
            )
        if isinstance(picture, str | Path):
            picture = scenes.read(Path(picture), translator)
        elif translator.is_measured:
            wanted = len(translator.source.bands)
            require(
                picture.ndim == 3 and picture.shape[2] == wanted,
                f"a picture {picture.shape}: this model takes (H, W, {wanted}), "
                f"the bands {', '.join(translator.source.bands)}",
            )
            picture = Raster(picture, translator.source.bands)
        else:
            picture = images.with_channels(picture, len(translator.bands_read))
        if whiten:
            require(not isinstance(picture, Raster), "whiten=True: is for drawings in grey or colour of 8 bits")
            picture = whitened(picture)
        translated = translator.translate(picture)
        return translated.values if isinstance(translated, Raster) else translated

    def _translator(self, output: str | None, to: str | None, attributes: tuple[tuple[str, bool], ...]) -> Translator:
        from ganforge.commands.translators import translator
        from ganforge.runs.asking import asked
        from ganforge.runs.generators import load_generator

        key = output, to, attributes
        if key not in self._translators:
            if output not in self._generators:
                self._generators[output] = load_generator(self.checkpoint, output)
            self._translators[key] = translator(asked(self._generators[output], to, dict(attributes)))
        return self._translators[key]

    @cached_property
    def _sampler(self) -> Any:
        from ganforge.commands.sample import load_sampler

        return load_sampler(self.checkpoint)

    @cached_property
    def _translators(self) -> dict[Any, Translator]:
        return {}

    @cached_property
    def _generators(self) -> dict[str | None, Generator]:
        return {}


def load(path: str | Path) -> Run:
    """The model of a run folder (its best checkpoint), or of a checkpoint."""
    return Run(path)


def train(*overrides: str, folder: str | Path | None = None) -> Run:
    """Train with these settings, as `ganforge train SETTINGS` does, and return the run.

    The training is a process of its own: it shows its progress here, and a kernel interrupt or Ctrl-C ends it with a
    checkpoint, from which the same call with "resume=true" goes on. folder: the run's; None: a new one in
    lightning_logs. Raises UserError with the training's own sentence, KeyboardInterrupt where it was interrupted.
    """
    options = [override for override in overrides if override.startswith("-")]
    require(not options, f"{' '.join(options)}: settings are expected; sweeps are run by ganforge train -m")
    from ganforge.commands.train import SCRIPT

    with tempfile.TemporaryDirectory(prefix="ganforge-") as temporary:
        answer = Path(temporary) / "answer.json"
        command = [sys.executable, str(SCRIPT), *overrides]
        command += [] if folder is None else [f"hydra.run.dir={json.dumps(str(folder))}"]
        code = _run(command, {**os.environ, ANSWER: str(answer)})
        said = json.loads(answer.read_text()) if answer.is_file() else {}
    if code == _INTERRUPTED:
        raise KeyboardInterrupt(f"the training in {said.get('folder')} was interrupted; resume=true goes on")
    require(code == 0, str(said.get("error") or f"the training ended with exit status {code}").removeprefix("error: "))
    return Run(said["folder"])


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a training to its end and show what it says; in a notebook, which no process can write to, line by line."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    lines = {} if terminal else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # A session of its own: what interrupts this process reaches the training once, from here.
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, **lines
    )  # fmt: skip
    while True:
        try:
            for line in process.stdout or ():
                if not line.startswith("error: "):  # it is raised
                    print(line, end="")
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def compose(*overrides: str, folder: str | Path | None = None) -> Parts:
    """Data, system and callbacks of these settings, checked as a training checks them; nothing is written.

    The system's first weights are those of the config's seed; random generators, Hydra and its configs are left as they
    were. folder: where callbacks will write; None: lightning_logs/NAME/composed. The Trainer needs max_epochs, which
    schedules depend on.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from ganforge import assembly, words
    from ganforge.runs import randomness

    before = randomness.state()
    try:
        with _composed(list(overrides), folder) as config:
            return assembly.parts(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(words.sentence(error)) from error
    finally:
        randomness.restore(before)


@contextmanager
def _composed(overrides: list[str], folder: str | Path | None) -> Iterator[DictConfig]:
    """The config that Hydra hands to a training with these overrides; Hydra knows it within the context alone."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf, open_dict

    from ganforge import CONF, words

    words.check_arguments(overrides)
    hydra_before, config_before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose("train", overrides=overrides, return_hydra_config=True)
            with open_dict(config):
                config.hydra.mode = "RUN"
                config.hydra.overrides.task = overrides
                HydraConfig.instance().set_config(config)  # of which the name is made
                OmegaConf.set_readonly(config.hydra, False)
                config.hydra.runtime.output_dir = str(folder or Path("lightning_logs") / config.name / "composed")
                HydraConfig.instance().set_config(config)
                config.name, config.run_dir = config.name, config.run_dir  # which are made of Hydra's own settings
                del config["hydra"]
            yield config
    finally:
        GlobalHydra.instance().hydra = hydra_before
        HydraConfig.instance().cfg = config_before
