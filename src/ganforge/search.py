"""A sweep whose values Optuna chooses: `python train.py -m sweep=optuna`. https://optuna.readthedocs.io

The study is kept in `optuna.db` (SQLite) in the sweep's folder, so a sweep goes on where it stopped.
"""

import re
import warnings
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from ganforge.errors import UserError, require
from ganforge.sweeps import Job, Outcome, Sweep, label

STUDY = "sweep"
DATABASE = "optuna.db"
INSTALL = 'pip install -e ".[sweep]"'
MODES = {"minimize": "min", "maximize": "max"}
SAMPLERS = ("tpe", "random")
PRUNERS = ("none", "median", "hyperband")


def search(sweep: Sweep) -> None:
    """Ask Optuna for settings, train them, tell it the scores, until the study has `sweep.n_trials` jobs.

    A failed job counts and is told as FAIL. Of a study that goes on, failed jobs are repeated and those that were
    running when the sweep was stopped are resumed, in their folders. Raises UserError for a wrong `sweep.direction`.
    """
    import_optuna()
    settings = sweep.config.sweep
    check(settings)
    _Search(sweep, settings).run()


def check(settings: DictConfig) -> None:
    """Raise UserError for values of `sweep` that mean nothing."""
    for name, accepted in (("direction", tuple(MODES)), ("sampler", SAMPLERS), ("pruner", PRUNERS)):
        value = OmegaConf.select(settings, name)
        require(value in accepted, f"sweep.{name}={value}: choose one of {', '.join(accepted)}")
    for name in ("n_trials", "parallel"):
        value = OmegaConf.select(settings, name)
        require(isinstance(value, int) and value >= 1, f"sweep.{name}={value}: a whole number, 1 or more")


def import_optuna() -> Any:
    """The module `optuna`, silent about its progress; raises UserError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"a search needs Optuna, which is not installed: {INSTALL}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def storage(folder: Path) -> Any:
    """The study's file in a sweep's folder. Processes wait a minute for each other."""
    optuna = import_optuna()
    path = (folder / DATABASE).resolve()
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})


def pruner(name: str) -> Any:
    """What decides that a job is not worth its time: by default of none, never."""
    optuna = import_optuna()
    if name == "median":  # worse than the median of five others at the same validation, from the second one on
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner()
    return optuna.pruners.NopPruner()


def distribution(override: Override) -> Any:
    """What Optuna draws from for `key=a,b`, `choice(a,b)`, `range(a,b,step)` and `interval(a,b)`, tagged log or int.

    As in a sweep without a search, the end of a range is not one of its values.
    """
    optuna = import_optuna()
    value = override.value()
    tags = value.tags if isinstance(value, IntervalSweep | RangeSweep) else set()
    wrong = tags - {"log", "int"}
    require(not wrong, f"{override.input_line}: no tag {', '.join(sorted(wrong))}; there are log and int")
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        require(low <= high, f"{override.input_line}: the interval is empty")
        require("log" not in tags or low > 0, f"{override.input_line}: a logarithmic interval begins above 0")
        if "int" in tags:
            return optuna.distributions.IntDistribution(int(low), int(high), log="log" in tags)
        return optuna.distributions.FloatDistribution(float(low), float(high), log="log" in tags)
    if isinstance(value, RangeSweep) and isinstance(value.range(), range) and value.range().step > 0:
        numbers = value.range()
        require(len(numbers) > 0, f"{override.input_line}: the range is empty")
        return optuna.distributions.IntDistribution(numbers[0], numbers[-1], step=numbers.step)
    return optuna.distributions.CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))


class _Search:
    def __init__(self, sweep: Sweep, settings: DictConfig):
        optuna = import_optuna()
        self.states = optuna.trial.TrialState
        self.sweep = sweep
        self.settings = settings
        given = {override.get_key_element().lstrip("+"): override for override in sweep.overrides}
        # The command line wins over the file.
        space = [f"{key}={value}" for key, value in (settings.get("space") or {}).items() if key not in given]
        every = [*sweep.parse(space), *sweep.overrides]
        varied = [override for override in every if override.is_sweep_override()]
        require(bool(varied), "sweep.space is empty: name settings and their values, such as seed=0,1,2")
        self.space = {override.get_key_element(): distribution(override) for override in varied}
        self.fixed = tuple(
            override.input_line
            if override.is_delete()
            else f"{override.get_key_element()}={override.get_value_element_as_str()}"
            for override in every
            if not override.is_sweep_override()
        )
        file = storage(sweep.folder)
        known = STUDY in optuna.get_all_study_names(file)
        seed = int(settings.get("seed", 0))
        if known:  # another seed, or the first values would come again
            seed += len(optuna.load_study(study_name=STUDY, storage=file).get_trials(deepcopy=False))
        sampler = (
            optuna.samplers.TPESampler(seed=seed)
            if settings.sampler == "tpe"
            else optuna.samplers.RandomSampler(seed=seed)
        )
        chosen = {"study_name": STUDY, "storage": file, "sampler": sampler, "pruner": pruner(settings.pruner)}
        if known:
            self.study = optuna.load_study(**chosen)
        else:
            self.study = optuna.create_study(direction=settings.direction, **chosen)
        direction = self.study.direction.name.lower()
        require(
            direction == settings.direction,
            f"sweep.direction={settings.direction}, but the study in {sweep.folder} was begun with {direction}",
        )

    def run(self) -> None:
        waiting = self._left_over()
        while True:
            batch, waiting = waiting[: self.settings.parallel], waiting[self.settings.parallel :]
            while len(batch) < self.settings.parallel and (self._enqueued() or self._begun() < self.settings.n_trials):
                batch.append(self._ask())
            if not batch:
                return
            jobs = [self._job(number) for number in batch]
            for number, outcome in zip(batch, self.sweep.launch(jobs), strict=True):
                self._tell(number, outcome)

    def _left_over(self) -> list[int]:
        """Trials that were running; failed ones are queued again."""
        newest = {}
        for trial in self.study.get_trials(deepcopy=False):
            if "folder" in trial.user_attrs:
                newest[trial.user_attrs["folder"]] = trial
            elif trial.state == self.states.RUNNING:  # the sweep was killed while it asked
                self.study.tell(trial.number, state=self.states.FAIL)
        for trial in newest.values():
            if trial.state == self.states.FAIL:
                self.study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
        return [trial.number for trial in newest.values() if trial.state == self.states.RUNNING]

    def _enqueued(self) -> bool:
        return bool(self.study.get_trials(deepcopy=False, states=(self.states.WAITING,)))

    def _begun(self) -> int:
        return len({trial.user_attrs.get("folder") for trial in self.study.get_trials(deepcopy=False)} - {None})

    def _ask(self) -> int:
        try:
            trial = self.study.ask(self.space)
        except ValueError as error:
            raise UserError(
                f"sweep.space differs from that of the study in {self.sweep.folder} ({error}); give it as before, or "
                "choose another folder"
            ) from error
        if "folder" not in trial.user_attrs:
            overrides = [f"{key}={_written(value)}" for key, value in trial.params.items()]
            shown = label((key, _rounded(value)) for key, value in trial.params.items())
            trial.set_user_attr("overrides", overrides)
            trial.set_user_attr("folder", f"{trial.number}__{shown}")
        return trial.number

    def _job(self, number: int) -> Job:
        attributes = self.study.trials[number].user_attrs
        return Job(attributes["folder"], (*self.fixed, *attributes["overrides"]))

    def _tell(self, number: int, outcome: Outcome) -> None:
        wanted = MODES[self.settings.direction]
        if outcome.mode is not None and outcome.mode != wanted:
            self.study.tell(number, state=self.states.FAIL)
            right = next(name for name, mode in MODES.items() if mode == outcome.mode)
            raise UserError(
                f"sweep.direction={self.settings.direction}, but this evaluation's number is to {right}; start again "
                f"with sweep.direction={right} in another folder"
            )
        score = outcome.score
        if outcome.state == "finished" and score is not None and score == score:
            self.study.tell(number, score)
        elif outcome.state == "pruned":
            self.study.tell(number, state=self.states.PRUNED)
        elif outcome.state not in ("interrupted", "running"):  # those go on when the sweep does
            self.study.tell(number, state=self.states.FAIL)


def _written(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _rounded(value: Any) -> str:
    return re.sub(r"e([+-])0+", r"e\1", f"{value:.3g}") if isinstance(value, float) else str(value)
