"""Settings that change others: debug, trainer.deterministic, trainer.profiler, hydra.verbose. Imports nothing heavy."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ganforge.errors import require
from ganforge.words import did_you_mean

if TYPE_CHECKING:
    from pytorch_lightning.profilers import Profiler
    from torch.profiler import ProfilerAction


def suited(default: str, by_data: DictConfig, *, _root_: DictConfig) -> str:
    """In the defaults list of a model: its choice for some data, by their names; the default for all others.

    With tuned=none, as in a frozen recipe, the default for these too.
    """
    return default if _root_.get("tuned") == "none" else by_data.get(_root_.data, default)


def added(*numbers: int | str | None) -> int | str | None:
    """The sum; "auto" or None where one is that, until the data have been looked at."""
    unknown = [number for number in numbers if not isinstance(number, int)]
    return unknown[0] if unknown else sum(numbers)


def chosen(*groups: str, _root_: DictConfig) -> str:
    """In the defaults list of a model: what is chosen for the first of these groups for which something is."""
    return next(choice for group in groups if (choice := _root_.get(group)) is not None)


OmegaConf.register_new_resolver("add", added, replace=True)
OmegaConf.register_new_resolver("suited", suited, replace=True)
OmegaConf.register_new_resolver("chosen", chosen, replace=True)

DEBUG_BATCHES = 2

PROFILERS = {"simple": "SimpleProfiler", "advanced": "AdvancedProfiler", "pytorch": "PyTorchProfiler"}

RECORDED_STEPS = 10  # by the PyTorch profiler, which keeps every operation


def quiet() -> None:
    """What libraries say that is no news here is not said; details where `hydra.verbose` asks for them."""
    verbose(HydraConfig.get().verbose if HydraConfig.initialized() else False)
    for message in (
        ".*does not have many workers.*",  # drawn on the fly or cached
        ".*smaller than the logging interval.*",
        ".*exists and is not empty.*",
        ".*in eval mode at the start of training.*",  # the moving average of the generator
        ".*treespec, LeafSpec.*",
        ".*sync_dist=True.*",  # metrics gather their sums themselves: every process logs the same numbers
        ".*dirpath has changed.*",  # a run is resumed in a folder of its own
        ".*dataloader is not resumable.*",  # the batches go on where they were: EpochBatches
    ):
        warnings.filterwarnings("ignore", message=message)


def apply(config: DictConfig) -> None:
    """Change `config` as debug and trainer.deterministic say, before anything is built from it."""
    require(isinstance(config.debug, bool), f"debug={config.debug}: true or false")
    exact = config.trainer.deterministic
    require(exact in (True, False, None, "warn"), f"trainer.deterministic={exact}: true, false or warn")
    if exact:
        config.trainer.benchmark = False  # it chooses kernels by the clock
    if config.debug:
        apply_debug(config)


def apply_debug(config: DictConfig) -> None:
    """Two batches of training, validation and of each test set, one epoch, no workers, anomaly detection.

    Of a GAN with more discriminator steps a generator step, as many training batches as the generator needs to move
    once. Each batch is logged. Settings that the user gave for these are not kept.
    """
    trainer = config.trainer
    with open_dict(trainer):
        trainer.limit_train_batches = max(DEBUG_BATCHES, config.model.get("d_steps") or 1)
        trainer.limit_val_batches = trainer.limit_test_batches = DEBUG_BATCHES
        trainer.max_epochs = trainer.check_val_every_n_epoch = trainer.log_every_n_steps = 1
        trainer.detect_anomaly = True
    config.data.num_workers = 0


def profiler(name: str | None, folder: Path) -> "Profiler | None":
    """The profiler called `name`, which writes its tables to `folder`; raises UserError for a name that is none."""
    if name is None:
        return None
    require(
        name in PROFILERS,
        f"trainer.profiler={name}: choose one of {', '.join(PROFILERS)}, or null{did_you_mean(str(name), PROFILERS)}",
    )
    from pytorch_lightning import profilers

    options = {"schedule": FirstSteps()} if name == "pytorch" else {}
    return getattr(profilers, PROFILERS[name])(dirpath=folder, filename="profile", **options)


class FirstSteps:
    """A schedule for the PyTorch profiler: the first 10 training steps, or what there is. Lightning's own one records
    the whole training where a validation has fewer than five batches.
    """

    def __init__(self) -> None:
        self.done = False

    def __call__(self, step: int) -> "ProfilerAction":
        from torch.profiler import ProfilerAction

        if self.done:
            return ProfilerAction.NONE
        self.done = step >= RECORDED_STEPS
        return ProfilerAction.RECORD_AND_SAVE if self.done else ProfilerAction.RECORD


def profiles(folder: Path) -> list[Path]:
    """The tables of the training that a profiler wrote to `folder`: one a process."""
    return sorted(folder.glob("fit-profile*.txt"))


def verbose(names: bool | str | Sequence[str]) -> None:
    """hydra.verbose once more, for packages that set their loggers' levels when they are imported; else: warnings."""
    chosen = [names] if isinstance(names, str) else [] if isinstance(names, bool) else list(names)
    logging.getLogger("pytorch_lightning").setLevel(logging.DEBUG if names is True else logging.WARNING)
    logging.getLogger("hydra.utils").setLevel(logging.DEBUG if names is True else logging.CRITICAL)  # it also raises
    for name in chosen:
        logging.getLogger(name).setLevel(logging.DEBUG)
