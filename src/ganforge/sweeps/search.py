"""A sweep whose values Optuna chooses: `python train.py -m sweep=optuna`. https://optuna.readthedocs.io

The study is kept in `optuna.db` (SQLite) in the sweep's folder, so a sweep goes on where it stopped.
"""

import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from ganforge.errors import UserError, require
from ganforge.files import untrusted
from ganforge.sweeps.sweep import Job, Outcome, Sweep, label

STUDY = "sweep"
DATABASE = "optuna.db"
INSTALL = "pip install optuna"
MODES = {"minimize": "min", "maximize": "max"}
SAMPLERS = ("tpe", "random")
PRUNERS = ("none", "median", "hyperband")
BUSY = 60  # seconds that processes wait for each other


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
    """The study's file in a sweep's folder; raises UserError for one that is damaged or does more than hold values."""
    optuna = import_optuna()
    path = (folder / DATABASE).resolve()
    with reading(folder):
        _check_file(folder)
        return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": BUSY}})


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Around what reads or writes a study: one sentence where its file is damaged or locked."""
    try:
        yield
    except (UserError, AttributeError, NameError):  # the latter two are faults of this program
        raise
    except Exception as error:  # whatever stands in a file
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = untrusted.shortened(cause).splitlines()[0]
        remedy = "restore it from a copy, or begin in another folder"
        if "locked" in reason:
            remedy = "another process holds it: wait for it or end it, then go on with resume=true"
        raise UserError(f"{folder / DATABASE}: the study cannot be used ({reason}); {remedy}") from error


def _check_file(folder: Path) -> None:
    path = folder / DATABASE
    if not path.is_symlink() and not path.exists():
        return
    require(untrusted.is_file(folder, DATABASE), f"{path}: is no file of this sweep, but a link or a pipe; remove it")
    # Not read-only: what a process that was killed left beside the file is taken in.
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY)) as database:
        kinds = {kind for (kind,) in database.execute("SELECT type FROM sqlite_master")}
        require(kinds <= {"table", "index"}, f"{path}: holds views or triggers, which are not of a study; remove it")
        [(said,)] = database.execute("PRAGMA quick_check(1)")
        require(said == "ok", f"{path}: is damaged ({said}); restore it from a copy, or begin in another folder")


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
        with reading(sweep.folder):
            self._open()

    def _open(self) -> None:
        optuna, settings, folder = import_optuna(), self.settings, self.sweep.folder
        file = storage(folder)
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
            f"sweep.direction={settings.direction}, but the study in {folder} was begun with {direction}",
        )

    def run(self) -> None:
        with reading(self.sweep.folder):
            waiting = self._left_over()
        while True:
            batch, waiting = waiting[: self.settings.parallel], waiting[self.settings.parallel :]
            with reading(self.sweep.folder):
                while len(batch) < self.settings.parallel and self._goes_on():
                    batch.append(self._ask())
                jobs = [self._job(number) for number in batch]
            if not batch:
                return
            for number, outcome in zip(batch, self.sweep.launch(jobs), strict=True):
                with reading(self.sweep.folder):
                    self._tell(number, outcome)

    def _left_over(self) -> list[int]:
        """Trials that were running; failed ones are queued again."""
        newest = {}
        for trial in self.study.get_trials(deepcopy=False):
            if "folder" in trial.user_attrs:
                newest[str(trial.user_attrs["folder"])] = trial
            elif trial.state == self.states.RUNNING:  # the sweep was killed while it asked
                self.study.tell(trial.number, state=self.states.FAIL)
        for trial in newest.values():
            if trial.state == self.states.FAIL:
                self.study.enqueue_trial(self._values(trial), user_attrs={"folder": self._folder(trial)})
        return [trial.number for trial in newest.values() if trial.state == self.states.RUNNING]

    def _goes_on(self) -> bool:
        """Whether trials are queued, or fewer were begun than there are to be."""
        trials = self.study.get_trials(deepcopy=False)
        begun = {str(trial.user_attrs.get("folder", "")) for trial in trials} - {""}
        return len(begun) < self.settings.n_trials or any(trial.state == self.states.WAITING for trial in trials)

    def _ask(self) -> int:
        try:
            trial = self.study.ask(self.space)
        except ValueError as error:
            raise self._other_space(str(error)) from error
        trial.set_user_attr("folder", self._folder(trial))
        return trial.number

    def _job(self, number: int) -> Job:
        """Made of the trial's values alone: whatever else a study holds may be someone else's."""
        trial = self.study.trials[number]
        overrides = (f"{key}={_written(value)}" for key, value in self._values(trial).items())
        return Job(self._folder(trial), (*self.fixed, *overrides))

    def _values(self, trial: Any) -> dict[str, Any]:
        """A trial's values, where all are of the space."""
        values = trial.params
        if values.keys() != self.space.keys():
            raise self._other_space(f"trial {trial.number} has values of {', '.join(sorted(values))}")
        for key, value in values.items():
            if not _is_of(value, self.space[key]):
                raise self._other_space(f"{key}={value} of trial {trial.number} is not of it")
        return values

    def _folder(self, trial: Any) -> str:
        """The name of a trial's folder: its number and its values; where it repeats a failed one, that one's number."""
        stored = str(trial.user_attrs.get("folder", ""))
        number = re.match(r"(0|[1-9][0-9]{0,8})__", stored)
        shown = label((key, _rounded(value)) for key, value in self._values(trial).items())
        name = f"{number[1] if number else trial.number}__{shown}"
        require(
            stored in ("", name),
            f"{self.sweep.folder / DATABASE}: trial {trial.number} is of the folder {stored!r}, but its values are of "
            f"{name}; the study was changed by something else: restore it from a copy, or begin in another folder",
        )
        return name

    def _other_space(self, reason: str) -> UserError:
        return UserError(
            f"sweep.space differs from that of the study in {self.sweep.folder} ({untrusted.shortened(reason)}); give "
            "it as before, or choose another folder"
        )

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


def _is_of(value: Any, drawn: Any) -> bool:
    """Whether a distribution of `distribution` could have drawn this value."""
    if hasattr(drawn, "choices"):
        return isinstance(value, str) and value in drawn.choices
    if not isinstance(value, int | float) or isinstance(value, bool) or not drawn.low <= value <= drawn.high:
        return False
    return isinstance(drawn.low, float) or (isinstance(value, int) and (value - drawn.low) % drawn.step == 0)


def _written(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _rounded(value: Any) -> str:
    return re.sub(r"e([+-])0+", r"e\1", f"{value:.3g}") if isinstance(value, float) else str(value)
