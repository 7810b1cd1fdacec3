"""Tells a search how each validation went, and ends a training that is not worth its time."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ganforge.callbacks.evaluation import Evaluation
from ganforge.errors import require
from ganforge.runs import status
from ganforge.sweeps.search import DATABASE, MODES, STUDY, import_optuna, pruner, reading, storage


class Pruning(pl.Callback):
    """Of a job of a search: reports the evaluation's first number; `pruned` where the training was ended for it.

    run_dir: the job's folder; its sweep's folder holds the study. pruner: "none", "median", "hyperband". A run that
    belongs to no study is not changed. Raises UserError where the study looks for the wrong end of the number.
    """

    def __init__(self, *, run_dir: str, pruner: str = "none"):
        self.run_dir = Path(run_dir)
        self.pruner = pruner
        self.pruned = False
        self._trial: Any = None

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero and (self.run_dir.parent / DATABASE).is_file():
            with reading(self.run_dir.parent):
                self._trial = self._find()
        if self._trial is not None:
            name, mode = _evaluation(trainer).monitor
            status.write(self.run_dir, monitor=name, mode=mode)  # by which the search knows that all jobs would fail
            direction = self._trial.study.direction.name.lower()
            right = next(word for word, its in MODES.items() if its == mode)
            require(
                direction == right, f"sweep.direction={direction}, but {name} is to {right}: sweep.direction={right}"
            )

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        stop = False
        if self._trial is not None:
            value = float(trainer.callback_metrics[_evaluation(trainer).monitor[0]])
            stop = self._report(value, trainer.current_epoch) and trainer.current_epoch + 1 < trainer.max_epochs
        self.pruned = trainer.strategy.broadcast(stop)
        trainer.should_stop = trainer.should_stop or self.pruned

    def _report(self, value: float, epoch: int) -> bool:
        """Whether to stop. A validation that is repeated after an interruption is reported once."""
        with reading(self.run_dir.parent):
            if epoch not in self._trial.storage.get_trial(self._trial._trial_id).intermediate_values:
                self._trial.report(value, epoch)
            return self._trial.should_prune()

    def _find(self) -> Any:
        """This job's trial, where it is still open."""
        optuna = import_optuna()
        study = optuna.load_study(
            study_name=STUDY,
            storage=storage(self.run_dir.parent),
            sampler=optuna.samplers.RandomSampler(),
            pruner=pruner(self.pruner),
        )
        running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        mine = [trial for trial in running if trial.user_attrs.get("folder") == self.run_dir.name]
        return optuna.trial.Trial(study, mine[-1]._trial_id) if mine else None


def _evaluation(trainer: pl.Trainer) -> Evaluation:
    return next(callback for callback in trainer.callbacks if isinstance(callback, Evaluation))
