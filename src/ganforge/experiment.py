"""From a config to a trained and tested model: config -> objects -> fit -> test -> summary."""

import platform
import shlex
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

import ganforge
from ganforge import checkpoint, hardware, resume, settings, status, summary, words
from ganforge.callbacks import Evaluation, Interrupted
from ganforge.data.module import DataModule
from ganforge.errors import Stopped, UserError, require
from ganforge.generators import outputs_of
from ganforge.loggers import ending
from ganforge.systems import Adversarial

CONF = Path(__file__).parents[2] / "conf"

MOST_DIFFERENCE = 1_000_000  # characters of uncommitted changes that a checkpoint holds

# What a user can do where data lack something that they could provide.
REMEDIES = {
    "label": "labels come from one folder a class, and data.n_labels must be null",
    "some_labels": "labels come from one folder a class",
}


def start(config: DictConfig) -> float:
    """`run`, with a user's mistake as one sentence and exit status 1; within a sweep the error goes to the sweeper.

    What became of the run is in its folder: `ganforge.status`.
    """
    try:
        with ending(Interrupted, KeyboardInterrupt):
            return run(config)
    except Interrupted as error:
        _note(config, state="interrupted")
        again = [*_overrides(), f"hydra.run.dir={shlex.quote(str(config.run_dir))}", "resume=true"]
        if rank_zero_only.rank != 0:
            sys.exit(0)  # rank 0 speaks for all
        print(f"\n{error}\nto go on: python train.py {' '.join(again)}")
        sys.exit(130)
    except KeyboardInterrupt:
        _note(config, state="interrupted")
        raise
    except (
        UserError,
        HydraException,
        OmegaConfBaseException,
        pl.utilities.exceptions.MisconfigurationException,
    ) as error:
        sentence = words.sentence(error)
        _note_failure(config, sentence, goes_on=isinstance(error, Stopped))
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {sentence}")
    except BaseException as error:
        _note_failure(config, f"{type(error).__name__}: {error}")
        raise
    finally:
        resume.refuse(Path(config.run_dir))


def _note(config: DictConfig, **changes: Any) -> None:
    if rank_zero_only.rank == 0:
        status.write(config.run_dir, **changes)


def _note_failure(config: DictConfig, reason: str, goes_on: bool = False) -> None:
    """What was refused before a run went on leaves it as it was: a sweep empties the folders of failed jobs."""
    former = (status.read(config.run_dir) or {}).get("state")
    if former not in ("finished", "pruned"):
        _note(config, state="interrupted" if goes_on or former == "interrupted" else "failed", error=reason)


def run(config: DictConfig) -> float:
    """Train, test, write results.json, print the summary; returns the best validation number, for a sweep."""
    finished = resume.score_of_finished(config)
    if finished is not None:
        return finished
    begun = time.perf_counter()
    resumed = resume.checkpoint_of(config)
    if resumed is None:
        _note(config, state="running", error=None)
    quiet()
    settings.apply(config)
    hardware.check_trainer(config.trainer)
    require(isinstance(config.seed, int) and config.seed >= 0, f"seed={config.seed}: a whole number, 0 or more")
    run_dir = Path(config.run_dir)
    profiler = settings.profiler(config.trainer.profiler, run_dir)
    pl.seed_everything(config.seed, workers=True, verbose=False)

    data: DataModule = hydra.utils.instantiate(config.data, _convert_="all")
    check_match(config, data)
    if "n_classes" in config.data:
        config.data.n_classes = len(data.class_names) or None
    card = describe(config, data)
    if resumed is not None:
        checkpoint.check_resumable(resumed, card, force=config.resume == "force")
    data.sets  # noqa: B018  everything that is wrong with the data is said here
    hardware.check_shares(config.trainer, data)
    resume.accept(run_dir)
    _note(config, state="running", error=None)
    model = build_model(config.model, card)
    evaluation: Evaluation = hydra.utils.instantiate(config.evaluation)
    evaluation.choose(data)
    monitor, mode = evaluation.monitor
    compared = {"best": {"monitor": monitor, "mode": mode}}
    callbacks = {
        name: hydra.utils.instantiate(node, **compared.get(name, {})) for name, node in config.callbacks.items()
    }
    loggers = [hydra.utils.instantiate(node) for node in config.logger.values()]
    resume.take_up(loggers, run_dir, resumed)
    trainer: pl.Trainer = hydra.utils.instantiate(
        config.trainer,
        **hardware.arguments(config.trainer, plugins=[checkpoint.CheckpointFiles()]),
        # Evaluation first: the checkpoints compare its numbers.
        callbacks=[evaluation, *callbacks.values()],
        logger=loggers,
        profiler=profiler,
    )
    summary.opening(model, data, trainer, run_dir)
    with checkpoint.restoring(resumed, lambda: model.updates):
        trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
    trainer.profiler = pl.profilers.PassThroughProfiler()  # its tables are of the training
    # Asked now: loading a checkpoint for the test takes the callbacks back to when it was written.
    best, last = (callbacks[name].best_model_path for name in ("best", "last"))
    images_seen = model.images_seen
    images_per_second = callbacks["progress"].images_per_second
    begun -= callbacks["progress"].seconds_before
    warned = list(callbacks["health"].warnings) if "health" in callbacks else []
    if best:
        score = float(callbacks["best"].best_model_score)
    else:  # the training was ended before its first validation
        trainer.validate(model, datamodule=data, verbose=False)
        best = last = str(run_dir / "checkpoints/last.ckpt")
        trainer.save_checkpoint(best)
        score = float(evaluation.results[monitor])
    if "pruning" in callbacks and callbacks["pruning"].pruned:  # not worth a test
        _note(config, state="pruned", score=score, monitor=monitor, mode=mode, images_seen=images_seen)
        return score
    # The networks as they are now, unless they are those of the best validation; then these.
    best_is_final = checkpoint.load(best)["ganforge"]["images_seen"] == images_seen
    if not best_is_final:
        evaluation.prefix = "final/"
        trainer.test(model, datamodule=data, verbose=False)
        evaluation.prefix = ""
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
    if best_is_final:
        evaluation.repeat_as("final/", data.test_names)

    results = {
        **evaluation.results,
        "evaluation": evaluation.descriptions,
        f"best/{monitor}": score,
        "images_seen": images_seen,
        "best_checkpoint_images_seen": model.images_seen,
        "images_per_second": images_per_second,
        "duration_s": time.perf_counter() - begun,
        "best_checkpoint": best,
        "last_checkpoint": last,
        "grid": str(callbacks["grid"].last_grid) if "grid" in callbacks else None,
        "warnings": warned,
        "run_dir": str(run_dir),
        "precision": str(trainer.precision),
        "device": torch.cuda.get_device_name() if model.on_gpu else platform.processor() or platform.machine(),
        "seed": config.seed,
        "data_fingerprint": data.fingerprint(),
        **card["versions"],
    }
    if trainer.is_global_zero:
        summary.write(results, run_dir / "results.json")
        summary.closing(results, data.test_names)
        if "dashboard" in callbacks:
            callbacks["dashboard"].conclude(trainer, results, data.test_names)
        for table in settings.profiles(run_dir) if profiler else ():
            print(f"profile: {table}")
    _note(config, state="finished", score=score, monitor=monitor, mode=mode, images_seen=images_seen)
    return score


def build_model(config: DictConfig, card: dict[str, Any]) -> Adversarial:
    """The system, with its card for the checkpoints; raises UserError for settings that its optimizers refuse."""
    model: Adversarial = hydra.utils.instantiate(config, _convert_="all")  # plain lists: checkpoints hold no configs
    model.card = card
    try:
        model.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise UserError(f"model.optimizer_g or model.optimizer_d: {error}") from error
    return model


def check_match(config: DictConfig, data: DataModule) -> None:
    """Raise UserError where the data does not provide what the model needs, with the choices of data that do."""
    needs = hydra.utils.get_class(config.model._target_).needs
    if needs <= data.provides:
        return
    chosen = HydraConfig.get().runtime.choices
    fitting = [path.stem for path in sorted((CONF / "data").glob("*.yaml")) if needs <= _provides(path)]
    remedies = "".join(f"{REMEDIES[name]}; " for name in sorted(needs - data.provides) if name in REMEDIES)
    raise UserError(
        f"model={chosen['model']} needs {', '.join(sorted(needs))} data, but data={chosen['data']} provides "
        f"{', '.join(sorted(data.provides))}; {remedies}use data={' or data='.join(fitting)}"
    )


def _provides(path: Path) -> frozenset[str]:
    return hydra.utils.get_class(OmegaConf.load(path)["_target_"]).provides


def describe(config: DictConfig, data: DataModule) -> dict[str, Any]:
    """What a checkpoint says of itself: enough to rebuild the generator and use it, and what it came from."""
    resolved = OmegaConf.to_container(config, resolve=True)
    return {
        **outputs_of(hydra.utils.get_class(config.model._target_), resolved["model"]),
        "norm_mode": resolved["model"].get("norm_mode", "running"),
        "source_channels": resolved["data"].get("source_channels"),
        "target_channels": resolved["data"].get("target_channels"),
        "channels": resolved["data"].get("channels"),
        "class_names": list(data.class_names),
        "size": data.size,
        "fit_to_size": data.fit_to_size,
        "provides": sorted(data.provides),
        "config": resolved,
        "layout": checkpoint.LAYOUT,
        "data_fingerprint": data.fingerprint(),
        "versions": versions(),
        "git_difference": _git("diff", "HEAD")[:MOST_DIFFERENCE],
    }


def versions() -> dict[str, str]:
    """Versions of what computed the result, and the git commit of the working folder, where there is one."""
    found = {"ganforge": ganforge.__version__, "torch": str(torch.__version__), "pytorch_lightning": pl.__version__}
    found["python"] = sys.version.split()[0]
    found["git_commit"] = _git("describe", "--always", "--dirty", "--abbrev=12").strip() or "unknown"
    return found


def _git(*arguments: str) -> str:
    """What git says of the working folder of this file; nothing where it is no checkout."""
    try:
        command = ["git", "-C", str(CONF.parent), *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def _overrides() -> list[str]:
    """This job's overrides as one types them in a shell, without the checkpoint it began from."""
    overrides = HydraConfig.get().overrides.task
    return [shlex.quote(override) for override in overrides if not override.startswith(("ckpt_path=", "resume="))]


def quiet() -> None:
    settings.verbose(HydraConfig.get().verbose if HydraConfig.initialized() else False)
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
