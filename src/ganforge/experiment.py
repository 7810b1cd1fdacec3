"""From a config to a trained and tested model: config -> objects -> fit -> test -> summary."""

import platform
import shlex
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from ganforge import settings, words
from ganforge.assembly import build_evaluation, build_model, instances, load_data
from ganforge.callbacks import (
    Dashboard,
    Evaluation,
    Health,
    Interrupt,
    Interrupted,
    Pruning,
    RunCheckpoint,
    SampleGrid,
    Speed,
)
from ganforge.callbacks.interrupt import SIGNALS
from ganforge.compatibility import check_logits
from ganforge.data.module import DataModule
from ganforge.errors import Stopped, UserError, require
from ganforge.files import folders
from ganforge.hardware import choice as hardware
from ganforge.hardware.compiling import compile_networks, remarks
from ganforge.runs import beginning, checkpoint, initial, machine, resumable, resume, status, summary
from ganforge.runs.checkpoint_io import WholeFileCheckpointIO, add_to_card
from ganforge.runs.loggers import ending
from ganforge.systems import Adversarial

LAST = Path("checkpoints/last.ckpt")  # in the run's folder: the newest; best.ckpt beside it by the first number


def start(config: DictConfig) -> float:
    """`run`, with a user's mistake as one sentence and exit status 1; within a sweep the error goes to the sweeper.

    What became of the run is in its folder: `ganforge.runs.status`.
    """
    try:
        with ending(Interrupted, KeyboardInterrupt):
            return run(config)
    except Interrupted as error:
        for number in SIGNALS:  # it ends already
            signal.signal(number, signal.SIG_IGN)
        _note(config, state="interrupted")
        again = [*_overrides(), f"hydra.run.dir={shlex.quote(str(config.run_dir))}", "resume=true"]
        if rank_zero_only.rank != 0:
            sys.exit(0)  # rank 0 speaks for all
        print(f"\n{error}\nto go on: {words.command()} {' '.join(again)}")
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
        resume.drop_settings(Path(config.run_dir))


def _note(config: DictConfig, **changes: Any) -> None:
    if rank_zero_only.rank != 0:
        return
    try:
        status.write(config.run_dir, **changes)
    except OSError as error:  # what happened to the run is to be told, not this
        print(f"{error.filename}: could not be written ({error.strerror})", file=sys.stderr)


def _note_failure(config: DictConfig, reason: str, goes_on: bool = False) -> None:
    """What was refused before a run went on leaves it as it was: a sweep empties the folders of failed jobs."""
    former = (status.read(config.run_dir) or {}).get("state")
    if former not in ("finished", "pruned"):
        _note(config, state="interrupted" if goes_on or former == "interrupted" else "failed", error=reason)


Callback = TypeVar("Callback", bound=pl.Callback)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is built from a config.

    resumed: the checkpoint that its training goes on from. profiled: whether there will be tables of where time went.
    compiled: whether by torch.compile.
    """

    run_dir: Path
    seed: int
    resumed: Path | None
    profiled: bool
    compiled: bool
    data: DataModule
    model: Adversarial
    evaluation: Evaluation
    best: RunCheckpoint
    trainer: pl.Trainer

    def callback(self, kind: type[Callback]) -> Callback | None:
        """The callback of this class; most can be removed."""
        return next((callback for callback in self.trainer.callbacks if isinstance(callback, kind)), None)


def run(config: DictConfig) -> float:
    """Train, test, print the summary, write results.json; returns the best validation number, for a sweep.

    Raises Interrupted where it is stopped from outside, and Stopped where the machine refuses memory or a file.
    """
    finished = resume.score_of_finished(config)
    if finished is not None:
        return finished
    begun = time.perf_counter()
    interrupt = Interrupt(path=Path(config.run_dir) / LAST)
    with hardware.refusals(), interrupt.listening():
        experiment = build(config, interrupt)
        try:
            results = fit(experiment)
        except (Interrupted, KeyboardInterrupt):
            _note(config, **so_far(experiment))
            raise
        monitor, mode = experiment.evaluation.monitor
        ended = {
            "score": results[f"best/{monitor}"], "monitor": monitor, "mode": mode, "images_seen": results["images_seen"]
        }  # fmt: skip
        _note(config, **ended)
        pruning = experiment.callback(Pruning)
        if pruning is not None and pruning.pruned:  # not worth a test
            _note(config, state="pruned", **ended)
            return ended["score"]
        judge(experiment, results)
        results["duration_s"] = time.perf_counter() - begun + results.pop("seconds_before")
        if experiment.trainer.is_global_zero:
            record(experiment, results)
            status.write(config.run_dir, state="finished", **ended)
    return ended["score"]


def build(config: DictConfig, interrupt: Interrupt) -> Experiment:
    """Everything that is wrong with the settings or the data is said here, before the run's folder is changed."""
    resumed = resume.checkpoint_of(config)
    begins_as = initial.find(config, resumed)
    if resumed is None:
        _note(config, state="running", error=None)
    settings.quiet()
    settings.apply(config)
    hardware.check_trainer(config.trainer)
    require(isinstance(config.seed, int) and config.seed >= 0, f"seed={config.seed}: a whole number, 0 or more")
    stored = checkpoint.precision_of(resumed) if resumed is not None and config.trainer.precision == "auto" else None
    config.trainer.precision = stored or hardware.precision(config.trainer)
    run_dir = Path(config.run_dir)
    profiler = settings.profiler(config.trainer.profiler, run_dir)
    pl.seed_everything(config.seed, workers=True, verbose=False)

    data, card = load_data(config, resumed)
    if resumed is not None:
        resumable.check_resumable(resumed, card, force=config.resume == "force")
        card |= checkpoint.origin_of(resumed)
    data.sets  # noqa: B018  everything that is wrong with the data is said here
    hardware.check_shares(config.trainer, data)
    resume.adopt_settings(run_dir)
    _note(config, state="running", error=None)
    if rank_zero_only.rank == 0:
        folders.remove_unfinished(run_dir)
    model = build_model(config.model, card)
    check_logits(model, data)
    if begins_as is not None:
        card["initial_weights"] = initial.load_weights(
            begins_as, model.state_dict(), model.network_names, model.averaged
        )
    if config.trainer.compile:
        compile_networks({name: getattr(model, name) for name in model.network_names}, model.differentiated_twice)
    evaluation = build_evaluation(config, data)
    monitor, mode = evaluation.monitor
    kept = {"dirpath": run_dir / LAST.parent, "save_on_train_epoch_end": True, "enable_version_counter": False}
    best = RunCheckpoint(filename="best", monitor=monitor, mode=mode, save_weights_only=True, **kept)
    last = RunCheckpoint(filename=LAST.stem, **kept)
    chosen = instances(config, "callbacks")
    loggers = instances(config, "logger")
    resume.rewind_logs(loggers, run_dir, resumed)
    bar = any(isinstance(callback, pl.callbacks.ProgressBar) for callback in chosen)
    trainer: pl.Trainer = hydra.utils.instantiate(
        {name: value for name, value in config.trainer.items() if name != "compile"},
        **hardware.arguments(config.trainer, plugins=[WholeFileCheckpointIO()]),
        **({} if bar else {"enable_progress_bar": False}),
        # Evaluation first: the checkpoints compare its numbers. The best one before others, which say which it is.
        callbacks=[evaluation, Speed(), best, *chosen, last, interrupt],
        logger=loggers,
        profiler=profiler,
    )
    return Experiment(
        run_dir=run_dir, seed=config.seed, resumed=resumed, profiled=profiler is not None,
        compiled=config.trainer.compile, data=data, model=model,
        evaluation=evaluation, best=best, trainer=trainer,
    )  # fmt: skip


def fit(experiment: Experiment) -> dict[str, Any]:
    """Train; returns what there is to say of the training, with the score and the checkpoint that belongs to it."""
    trainer, model, data = experiment.trainer, experiment.model, experiment.data
    beginning.opening(model, data, trainer, experiment.run_dir, experiment.evaluation.monitor)
    with resumable.restoring(experiment.resumed, lambda: model.updates):
        trainer.fit(model, datamodule=data, ckpt_path=experiment.resumed, weights_only=True)
    if experiment.compiled and trainer.is_global_zero:
        print(*remarks(), sep="\n")
    trainer.profiler = pl.profilers.PassThroughProfiler()  # its tables are of the training
    # Asked now: loading a checkpoint for the test takes the callbacks back to when it was written.
    speed, grid, health = (experiment.callback(kind) for kind in (Speed, SampleGrid, Health))
    results = {
        "images_seen": model.images_seen,
        "images_per_second": speed.images_per_second,
        "seconds_before": speed.seconds_before,
        "grid": str(grid.last_grid) if grid is not None and grid.last_grid else None,
        "warnings": list(health.warnings) if health is not None else [],
    }
    monitor, _ = experiment.evaluation.monitor
    best, last = Path(experiment.best.best_model_path), experiment.run_dir / LAST
    if _is_whole(best):
        score = float(experiment.best.best_model_score)
    else:
        # The training was ended before its first validation, the file was deleted, or the number was never finite.
        trainer.validate(model, datamodule=data, verbose=False)
        best = last
        trainer.save_checkpoint(best)
        score = float(experiment.evaluation.results[monitor])
    return {f"best/{monitor}": score, **results, "best_checkpoint": str(best), "last_checkpoint": str(last)}


def so_far(experiment: Experiment) -> dict[str, Any]:
    """What a status can say of a training that was stopped; its best score is None before the first validation."""
    monitor, mode = experiment.evaluation.monitor
    best = experiment.best.best_model_score
    score = None if best is None else float(best)
    return {"score": score, "monitor": monitor, "mode": mode, "images_seen": experiment.model.images_seen}


def _is_whole(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        checkpoint.load(path)
    except UserError as error:
        print(f"{error}; the final weights are judged instead")
        return False
    return True


def judge(experiment: Experiment, results: dict[str, Any]) -> None:
    """Test the networks as they are now and those of the best validation, and add to `results` what is known then."""
    trainer, model, data, evaluation = experiment.trainer, experiment.model, experiment.data, experiment.evaluation
    best = results["best_checkpoint"]
    best_is_final = checkpoint.load(best)["ganforge"]["images_seen"] == results["images_seen"]
    results |= {
        "run_dir": str(experiment.run_dir),
        "precision": str(trainer.precision),
        "device": torch.cuda.get_device_name() if model.on_gpu else platform.processor() or platform.machine(),
        **machine.processor(),
        "seed": experiment.seed,
        "data_fingerprint": data.fingerprint(),
        **model.card["versions"],
    }
    if not best_is_final:
        evaluation.prefix = "final/"
        trainer.test(model, datamodule=data, verbose=False)
        evaluation.prefix = ""
        results |= evaluation.results
        if trainer.is_global_zero:
            with suppress(OSError):  # it is written once more, with all numbers
                summary.write(results, experiment.run_dir / "results.json")
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
    if evaluation.learned and trainer.is_global_zero:
        add_to_card(Path(best), evaluation.learned)
    if best_is_final:
        evaluation.repeat_as("final/", data.test_names)
    results |= evaluation.results
    results |= {"evaluation": evaluation.descriptions, "best_checkpoint_images_seen": model.images_seen}


def record(experiment: Experiment, results: dict[str, Any]) -> None:
    """Print the numbers, then write them: on a full disk they are at least seen. On rank 0."""
    path = experiment.run_dir / "results.json"
    summary.closing(results, experiment.data.test_names)
    summary.write(results, path)
    print(f"numbers: {path}")
    dashboard = experiment.callback(Dashboard)
    if dashboard is not None:
        dashboard.conclude(experiment.trainer, results, experiment.data.test_names)
    if experiment.profiled:
        for table in settings.profiles(experiment.run_dir):
            print(f"profile: {table}")


def _overrides() -> list[str]:
    """This job's overrides as one types them in a shell, without the checkpoint it began from."""
    overrides = HydraConfig.get().overrides.task
    return [shlex.quote(override) for override in overrides if not override.startswith(("ckpt_path=", "resume="))]
