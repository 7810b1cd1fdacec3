"""Sweeps as a user meets them: real processes, with jobs that need no training except in the slow tests."""

import importlib.util
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from conftest import ROOT, TINY_PIX2PIX
from ganforge.errors import UserError
from ganforge.experiment import start
from ganforge.runs import status
from ganforge.runs.folder import find, read
from ganforge.sweeps import jobs
from ganforge.sweeps.jobs import check_timeout, ended_by
from ganforge.sweeps.sweep import LONGEST_NAME, label

# Stands for train.py: it scores -(x - 3)^2, and fails in as many ways as x and how say.
SCRIPT = """
import os, sys, time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from ganforge.files import lock
from ganforge.runs import status

@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config):
    folder = Path(HydraConfig.get().runtime.output_dir)
    lock.hold(folder)
    before = (status.read(folder) or {}).get("state")
    status.write(folder, state="running", monitor="val/y", mode="max")
    with (folder.parent / "log").open("a") as log:
        log.write(f"{folder.name} {before} {config.resume}\\n")
    repaired = (folder.parent / "repaired").exists()
    if config.x == config.bad and not repaired:
        if config.how == "error":
            status.write(folder, state="failed", error="x is bad")
            raise ValueError("x is bad")
        if config.how == "exit":
            sys.exit(3)
        if config.how == "kill":
            os.kill(os.getpid(), 9)
        if config.how == "hang":
            time.sleep(60)
    state = "pruned" if config.how == "prune" and config.x == config.bad else "finished"
    status.write(folder, state=state, score=-float((config.x - 3) ** 2))

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults:
  - _self_
  - sweep: null
  - launcher: null
  - override hydra/sweeper: ganforge
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
x: 0
bad: null
how: error
kind: tiny
resume: false
hydra:
  callbacks:
    preflight:
      _target_: ganforge.runs.preflight.Preflight
  searchpath: [file://ROOT]
"""
SEARCH = """
# @package _global_
sweep: {sampler: tpe, pruner: none, n_trials: 5, parallel: 1, seed: 0, direction: maximize, space: {x: "interval(0,8)"}}
"""


@pytest.fixture
def sweep(tmp_path):
    """sweep(overrides) runs train.py -m in the sweep's folder `tmp_path/sweep`; .start does not wait."""
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "conf" / "train.yaml").write_text(CONFIG.replace("ROOT", str(ROOT / "conf")))
    (tmp_path / "conf" / "sweep" / "parabola.yaml").write_text(SEARCH)
    options = {"text": True, "cwd": tmp_path, "env": {**os.environ, "COLUMNS": "200"}}
    named = f"hydra.sweep.dir={tmp_path / 'sweep'}"

    def run(*overrides: str, folder: str = named) -> subprocess.CompletedProcess:
        command = [sys.executable, "train.py", "-m", *overrides, *([folder] if folder else [])]
        return subprocess.run(command, capture_output=True, timeout=300, check=False, **options)

    def start(*overrides: str) -> subprocess.Popen:
        command = [sys.executable, "train.py", "-m", *overrides, named]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, start_new_session=True, **pipes, **options)

    run.start = start
    run.folder = tmp_path / "sweep"
    return run


def states(folder: Path) -> dict[str, str]:
    return {run.name: run.state for run in find(folder)}


def log(folder: Path) -> list[str]:
    """A line for each job that was started: its folder, its state before, and `resume`."""
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_each_job_has_a_folder_named_by_what_differs_and_all_are_ranked(sweep):
    result = sweep("x=0,2", "kind=tiny,large", "bad=7")
    assert result.returncode == 0, result.stderr
    assert states(sweep.folder) == dict.fromkeys(
        ("x-0__kind-tiny", "x-0__kind-large", "x-2__kind-tiny", "x-2__kind-large"), "finished"
    )
    ranking = [line.split()[1] for line in result.stdout.splitlines() if " finished " in line]
    assert ranking == ["x-2__kind-large", "x-2__kind-tiny", "x-0__kind-large", "x-0__kind-tiny"]
    assert (sweep.folder / "x-2__kind-large/.hydra/overrides.yaml").read_text() == "- x=2\n- kind=large\n- bad=7\n"
    again = sweep("x=0,2")
    assert again.returncode == 1
    assert "already holds a sweep" in again.stderr and "resume=true" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "state", "message"),
    [("error", "failed", "x is bad"), ("exit", "failed", "exit status 3"), ("kill", "interrupted", "interrupted")],
)
def test_a_job_that_fails_is_recorded_and_repeated_alone(sweep, how, state, message):
    result = sweep("x=1,2,3", "bad=2", f"how={how}")
    assert result.returncode == 1
    assert states(sweep.folder) == {"x-1": "finished", "x-2": state, "x-3": "finished"}
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("error: 1 of 3 jobs did not finish, the first is x-2") and message in sentence
    assert sentence.endswith("resume=true")
    (sweep.folder / "x-2/left_over").touch()
    (sweep.folder / "repaired").touch()
    result = sweep("x=1,2,3", "bad=2", f"how={how}", "resume=true")
    assert result.returncode == 0, result.stderr
    assert set(states(sweep.folder).values()) == {"finished"}
    # A failed run begins again in an empty folder; one that was killed goes on.
    expected = ["x-2 None False"] if state == "failed" else ["x-2 interrupted True"]
    assert log(sweep.folder)[3:] == expected
    assert (sweep.folder / "x-2/left_over").exists() == (state == "interrupted")


@pytest.mark.slow
def test_the_newest_sweep_of_the_same_settings_goes_on(sweep, tmp_path):
    # As train.yaml has it: the folder's default name is another one each time.
    config = tmp_path / "conf" / "train.yaml"
    config.write_text(config.read_text() + "  sweep: {dir: 'logs/${now:%H-%M-%S-%f}'}\n")
    assert sweep("x=1,2", "bad=2", folder="").returncode == 1
    assert "one begins" in sweep("x=1", "bad=3", "resume=true", folder="").stdout
    assert sweep("x=1,2", "bad=2", "resume=true", folder="").returncode == 1
    folders = sorted((tmp_path / "logs").iterdir())
    assert len(folders) == 2
    assert log(folders[0]) == ["x-1 None False", "x-2 None False", "x-2 None False"]


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on(sweep):
    killed = sweep.start("x=1,2,3", "bad=2", "how=hang")
    wait_for(lambda: states(sweep.folder).get("x-2") == "running")
    job = status.read(sweep.folder / "x-2")["pid"]
    killed.kill()  # the sweep alone; its job is told to stop by the system
    killed.communicate()
    if sys.platform == "linux":
        wait_for(lambda: status.read(sweep.folder / "x-2")["state"] == "interrupted", 10)
    else:
        os.kill(job, signal.SIGKILL)
    (sweep.folder / "repaired").touch()
    result = sweep("x=1,2,3", "bad=2", "how=hang", "resume=true")
    assert result.returncode == 0, result.stderr
    assert log(sweep.folder) == ["x-1 None False", "x-2 None False", "x-2 interrupted True", "x-3 None False"]
    assert set(states(sweep.folder).values()) == {"finished"}


@pytest.mark.slow
def test_a_job_over_its_time_is_stopped_and_the_others_go_on(sweep):
    limit = ["x=1,2,3", "bad=2", "how=hang", "hydra.sweeper.job_timeout=0.2"]
    result = sweep(*limit)
    assert result.returncode == 1
    assert states(sweep.folder) == {"x-1": "finished", "x-2": "interrupted", "x-3": "finished"}
    assert "the first is x-2 (it took more than 0.2 minutes (hydra.sweeper.job_timeout))" in result.stderr
    (sweep.folder / "repaired").touch()
    assert sweep(*limit, "resume=true").returncode == 0
    assert log(sweep.folder)[3:] == ["x-2 interrupted True"]
    result = sweep("x=1,2", "hydra.sweeper.job_timeout=-1", "resume=true")
    assert result.returncode == 1 and "hydra.sweeper.job_timeout=-1" in result.stderr


def test_a_limit_of_a_job_is_a_number_of_minutes():
    check_timeout(None), check_timeout(1), check_timeout(0.5)
    for wrong in (0, -1, True, "1 h", float("inf"), float("nan")):
        with pytest.raises(UserError, match="minutes"):
            check_timeout(wrong)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signals that stop a process")
@pytest.mark.parametrize("polite", [True, False])
def test_a_process_that_was_stopped_is_named_and_ended_at_its_limit(tmp_path, monkeypatch, capsys, polite):
    monkeypatch.setattr(jobs, "STOPPED", 0)
    monkeypatch.setattr(jobs, "PATIENCE", 1 if not polite else 60)
    handler = "lambda *_: sys.exit(7)" if polite else "signal.SIG_IGN"
    code = (
        f"import signal, sys, time; signal.signal(signal.SIGTERM, {handler}); print('on', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    assert jobs._wait(process, tmp_path / "x-1", 3) == (7 if polite else -signal.SIGKILL, True)
    process.stdout.close()
    said = capsys.readouterr().err
    if sys.platform == "linux":
        assert said.count("\n") == 1
        assert said.startswith(f"waiting for x-1: its process {process.pid} is stopped; kill -CONT {process.pid}")


@pytest.mark.slow
def test_a_job_that_writes_nothing_is_named_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "QUIET", 0)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(4)"])
    assert jobs._wait(process, tmp_path / "x-1", None) == (0, False)
    assert capsys.readouterr().err.count("x-1: its process") == 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None, reason="joblib")
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_nothing_is_left_of_a_sweep_that_was_killed_with_its_jobs_side_by_side(sweep):
    def left(session: int) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(path.name))
        return found

    killed = sweep.start("x=1,2", "bad=2", "how=hang", "launcher=joblib", "hydra.launcher.n_jobs=2")
    wait_for(lambda: states(sweep.folder) == {"x-1": "finished", "x-2": "running"})
    assert len(left(killed.pid)) >= 4  # the sweep, two workers, a job
    killed.kill()
    killed.communicate()
    wait_for(lambda: not left(killed.pid), 20)
    assert states(sweep.folder) == {"x-1": "finished", "x-2": "interrupted"}


def test_a_job_whose_folder_leads_elsewhere_deletes_nothing_there(sweep, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").touch()
    status.write(victim, state="failed", error="before")
    sweep.folder.mkdir()
    (sweep.folder / "x-1").symlink_to(victim)
    result = sweep("x=1,2", "resume=true")
    assert result.returncode == 1
    assert "a job's folder lies in its sweep" in result.stderr and result.stderr.count("\n") == 1
    assert sorted(path.name for path in victim.iterdir()) == ["kept", "status.json"]
    with pytest.raises(UserError, match="is a link"):
        jobs.empty(sweep.folder / "x-1")


def test_a_wrong_name_or_value_is_said_before_the_first_job(sweep):
    result = sweep("x=1,2", "kinds=large,small")
    assert result.returncode != 0
    assert "kinds" in result.stderr
    assert not list(sweep.folder.glob("*/.hydra"))
    result = sweep("x=interval(0,1)")  # in the same folder, which holds no run
    assert result.returncode == 1
    assert "add sweep=optuna" in result.stderr


def test_folder_names_are_short_and_tell_jobs_apart():
    assert label([("seed", "1"), ("model.optimizer_g.lr", "1e-05")]) == "seed-1__model.optimizer_g.lr-1e-05"
    assert label([("+model/augment", "diff")]) == "model.augment-diff"
    paths = [label([("data.root", f"'/a b/{name}=,[1]'")]) for name in ("x", "y")]
    assert paths[0] != paths[1]
    long = [label([(f"key{i}", "x" * 20) for i in range(count)]) for count in (9, 10)]
    assert long[0] != long[1]
    for name in (*paths, *long):
        assert re.fullmatch(r"[\w.+-]+", name) and len(name) <= LONGEST_NAME
    assert label([("a", "1/2")]) != label([("a", "1_2")])
    assert ended_by(-9).startswith("killed by SIGKILL")


HAS_OPTUNA = importlib.util.find_spec("optuna") is not None
optuna = pytest.mark.skipif(not HAS_OPTUNA, reason="pip install -e '.[sweep]'")
if HAS_OPTUNA:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    from ganforge.sweeps.search import check, distribution


def trials(folder: Path) -> list:
    import optuna

    return optuna.load_study(study_name="sweep", storage=f"sqlite:///{folder}/optuna.db").trials


@pytest.mark.slow
@optuna
def test_a_search_goes_on_with_what_its_study_knows(sweep):
    overrides = ["sweep=parabola", "sweep.n_trials=6", "x=choice(1,2,3)", "bad=2"]
    killed = sweep.start(*overrides, "how=hang")
    wait_for(lambda: any(line.split("x-")[1].startswith("2") for line in log(sweep.folder)))
    killed.kill()
    killed.communicate()
    [hung] = [trial for trial in trials(sweep.folder) if trial.state.name == "RUNNING"]

    result = sweep(*overrides, "resume=true")
    assert result.returncode == 1 and "x is bad" in result.stderr
    known = trials(sweep.folder)
    assert [trial.number for trial in known] == list(range(6))  # also the one that hung
    for trial in known:
        assert trial.user_attrs["folder"] == f"{trial.number}__x-{trial.params['x']}"
        assert trial.state.name == ("FAIL" if trial.params["x"] == "2" else "COMPLETE")
        assert trial.params["x"] == "2" or trial.value == -((float(trial.params["x"]) - 3) ** 2)
    assert f"{hung.user_attrs['folder']} interrupted True" in log(sweep.folder)

    result = sweep(*overrides, "resume=true", "how=prune")
    assert result.returncode == 0, result.stderr
    expected = {"FAIL": "pruned", "COMPLETE": "finished"}
    assert states(sweep.folder) == {trial.user_attrs["folder"]: expected[trial.state.name] for trial in known}
    repeated = trials(sweep.folder)[6:]
    assert {trial.state.name for trial in repeated} == {"PRUNED"}
    assert {trial.user_attrs["folder"] for trial in repeated} == {
        trial.user_attrs["folder"] for trial in known if trial.state.name == "FAIL"
    }
    assert sweep(*overrides, "resume=true").returncode == 0
    assert len(trials(sweep.folder)) == 6 + len(repeated)


def change(folder: Path, *commands: tuple) -> None:
    """SQL in the study of a sweep."""
    with sqlite3.connect(folder / "optuna.db") as database:
        for command in commands:
            database.execute(*command)
    database.close()


RUNNING = ("UPDATE trials SET state='RUNNING' WHERE number=0",)
ATTRIBUTE = "INSERT OR REPLACE INTO trial_user_attributes (trial_id, key, value_json) VALUES (1, ?, ?)"


@pytest.mark.slow
@optuna
def test_a_study_of_someone_else_brings_no_overrides(sweep):
    search = ["sweep=parabola", "sweep.n_trials=2", "x=choice(1,2)"]
    assert sweep(*search).returncode == 0
    [first] = sweep.folder.glob("0__*")
    shutil.rmtree(first)
    change(sweep.folder, RUNNING, (ATTRIBUTE, ("overrides", '["x=7", "kind=theirs", "+a={_target_: os.getcwd}"]')))
    result = sweep(*search, "resume=true")
    assert result.returncode == 0, result.stderr
    written = (first / ".hydra/overrides.yaml").read_text()
    assert written == f"- sweep=parabola\n- sweep.n_trials=2\n- x={first.name[-1]}\n"
    assert len(states(sweep.folder)) == 2


@pytest.mark.slow
@optuna
@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ([(ATTRIBUTE, ("folder", '"../victim"'))], "of the folder '../victim'"),
        ([(ATTRIBUTE, ("folder", '"0__x-9"'))], "of the folder '0__x-9'"),
        ([(ATTRIBUTE, ("folder", '["victim"]'))], "of the folder"),
        (
            [
                (
                    "UPDATE trial_params SET distribution_json=?, param_value=0 WHERE trial_id=1",
                    ('{"name": "CategoricalDistribution", "attributes": {"choices": ["1,kind=theirs"]}}',),
                )
            ],
            "x=1,kind=theirs of trial 0 is not of it",
        ),
        ([("UPDATE trial_params SET param_name='kind' WHERE trial_id=1",)], "trial 0 has values of kind"),
    ],
)
def test_a_study_of_someone_else_names_no_folder_and_no_other_value(sweep, tmp_path, commands, message):
    (tmp_path / "victim").mkdir()
    status.write(tmp_path / "victim", state="failed", error="before")
    (tmp_path / "victim/kept").touch()
    search = ["sweep=parabola", "sweep.n_trials=2", "x=choice(1,2)"]
    assert sweep(*search).returncode == 0
    change(sweep.folder, RUNNING, *commands)
    result = sweep(*search, "resume=true")
    assert result.returncode == 1 and message in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert (tmp_path / "victim/kept").exists() and len(log(sweep.folder)) == 2


@pytest.mark.slow
@optuna
def test_a_study_of_the_former_version_goes_on(sweep):
    search = ["sweep=parabola", "sweep.n_trials=2", "x=interval(0,8)"]
    assert sweep(*search).returncode == 0
    [trial, _] = trials(sweep.folder)
    stored = ("overrides", f'["x={trial.params["x"]!r}"]')
    change(sweep.folder, ("UPDATE trials SET state='FAIL' WHERE number=0",), (ATTRIBUTE, stored))
    assert sweep(*search, "resume=true").returncode == 0
    assert trials(sweep.folder)[2].user_attrs == {"folder": trial.user_attrs["folder"]}
    assert len(states(sweep.folder)) == 2


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:9000])


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_link(file: Path) -> None:
    other = file.parent.parent / "other.db"
    file.rename(other)
    file.symlink_to(other)


def lock(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


@optuna
@pytest.mark.parametrize(
    ("damages", "message"),
    [
        (truncate, "study cannot be used"),
        (lambda file: file.write_text("no database, but long enough to look like one " * 99), "not a database"),
        (lambda file: change(file.parent, ("CREATE VIEW v AS SELECT 1",)), "holds views or triggers"),
        (lambda file: change(file.parent, ("UPDATE alembic_version SET version_num='v0'",)), "cannot be used"),
        (lambda file: change(file.parent, ("UPDATE study_directions SET direction='UP'",)), "cannot be used"),
        (replace_by_pipe, "a link or a pipe"),
        (replace_by_link, "a link or a pipe"),
        (lock, "database is locked); another process holds it"),
    ],
)
def test_a_study_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch, damages, message):
    import optuna

    from ganforge.sweeps import search

    monkeypatch.setattr(search, "BUSY", 0.1)
    optuna.create_study(study_name="sweep", storage=search.storage(tmp_path)).add_trial(
        optuna.trial.create_trial(value=1.0)
    )

    def use() -> None:
        with search.reading(tmp_path):
            study = optuna.load_study(study_name="sweep", storage=search.storage(tmp_path))
            study.tell(study.ask().number, 1.0)

    damaged = damages(tmp_path / "optuna.db")
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        use()
    assert "\n" not in str(caught.value) and str(tmp_path / "optuna.db") in str(caught.value)
    if damaged is not None and hasattr(damaged, "close"):
        damaged.close()


@pytest.mark.slow
@optuna
def test_a_search_that_looks_for_the_wrong_end_stops_at_once(sweep):
    result = sweep("sweep=parabola", "sweep.direction=minimize")
    assert result.returncode == 1
    assert "this evaluation's number is to maximize" in result.stderr
    assert len(states(sweep.folder)) == 1


@optuna
def test_values_become_what_optuna_draws_from():
    def drawn(text: str):
        return distribution(OverridesParser.create().parse_override(text))

    assert drawn("x=interval(1,2)") == FloatDistribution(1, 2)
    assert drawn("x=tag(log,interval(1e-5,1e-2))") == FloatDistribution(1e-5, 1e-2, log=True)
    assert drawn("x=tag(int,interval(1,8))") == IntDistribution(1, 8)
    assert drawn("x=range(1,10,4)") == IntDistribution(1, 9, step=4)
    assert drawn("x=a,b") == CategoricalDistribution(["a", "b"])
    assert drawn("x=choice([8,8],[16],true)") == CategoricalDistribution(["[8,8]", "[16]", "True"])
    for text, message in (("tag(log,interval(0,1))", "above 0"), ("tag(lgo,interval(0,1))", "lgo")):
        with pytest.raises(UserError, match=message):
            drawn(f"x={text}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "package"),
    [("joblib", "hydra_plugins.hydra_joblib_launcher"), ("submitit_local", "hydra_plugins.hydra_submitit_launcher")],
)
def test_launchers_run_the_jobs_of_a_sweep(sweep, launcher, package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[{launcher.split('_')[0]}]'")
    result = sweep("x=1,2,3", "bad=2", f"launcher={launcher}")
    assert result.returncode == 1, result.stderr
    assert states(sweep.folder) == {"x-1": "finished", "x-2": "failed", "x-3": "finished"}
    assert sorted(log(sweep.folder)) == ["x-1 None False", "x-2 None False", "x-3 None False"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf/sweep").glob("*.yaml")))
def test_every_search_space_can_be_read(name):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        model = ["model=dcgan", "data=mnist"] if name == "few_pictures" else []
        config = compose("train", overrides=[f"sweep={name}", *model], return_hydra_config=True)
    space = config.hydra.sweeper.params or {}
    if "sweep" in config:
        space = config.sweep.space
        if HAS_OPTUNA:
            check(config.sweep)
    assert space
    for key, values in space.items():
        override = OverridesParser.create().parse_override(f"{key}={values}")
        known = override.key_or_group in config.hydra.runtime.choices or OmegaConf.select(config, key) is not None
        assert override.is_sweep_override() and known
        assert not HAS_OPTUNA or distribution(override)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf/launcher").glob("*.yaml")))
def test_every_launcher_can_be_chosen(name):
    package = f"hydra_plugins.hydra_{name.split('_')[0]}_launcher"
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[{name.split('_')[0]}]'")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=[f"launcher={name}"], return_hydra_config=True)
    assert config.hydra.launcher._target_.startswith(package)


LATTICE = [*TINY_PIX2PIX, "data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]


def train(*overrides: str, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *LATTICE, *overrides, f"hydra.sweep.dir={folder}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=folder.parent)


@pytest.mark.slow
def test_jobs_of_several_processes_sweep_nothing(tmp_path):
    result = train("seed=0,1", "trainer.devices=2", folder=tmp_path / "sweep")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == [
        ".lock",
        "multirun.yaml",
        "seed-0",
        "seed-1",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]
    for run in find(tmp_path / "sweep"):
        assert run.state == "finished" and run.overrides == [*LATTICE, f"seed={run.name[-1]}", "trainer.devices=2"]
        assert run.images == 4
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").glob("*/checkpoints/*")}
    result = train("seed=0,1", "trainer.devices=2", "resume=true", folder=tmp_path / "sweep")
    assert result.returncode == 0, result.stderr
    assert len(written) == 4 and all(path.stat().st_mtime_ns == before for path, before in written.items())


@pytest.fixture
def study(tmp_path):
    """study(direction) -> a study of five trainings with a perfect score, and a running trial of the folder `run`."""

    def create(direction: str):
        import optuna

        (tmp_path / "sweep").mkdir(exist_ok=True)
        file = f"sqlite:///{tmp_path}/sweep/optuna.db"
        made = optuna.create_study(study_name="sweep", storage=file, direction=direction)
        for _ in range(5):
            perfect = dict.fromkeys(range(4), 1.0)
            made.add_trial(optuna.trial.create_trial(value=1.0, intermediate_values=perfect))
        made.ask().set_user_attr("folder", "run")
        return made

    return create


SEARCHED = [*LATTICE, "sweep=optuna", "trainer.max_epochs=4"]


@pytest.mark.slow
@optuna
@pytest.mark.parametrize(("pruner", "state", "images"), [("median", "pruned", 8), ("none", "finished", 16)])
def test_a_training_that_looks_bad_ends_early(configured, study, tmp_path, pruner, state, images):
    known = study("maximize")
    score = start(configured([*SEARCHED, f"sweep.pruner={pruner}"], "sweep/run"))
    found = read(tmp_path / "sweep/run")
    assert (found.state, found.images, found.score) == (state, images, score)
    assert bool(found.results) == (state == "finished")
    reported = known.trials[-1].intermediate_values
    assert reported == dict.fromkeys(range(images // 4), 0.0)  # so few images draw no bond


@pytest.mark.slow
@optuna
def test_a_search_is_told_of_the_last_epoch_whatever_the_interval(configured, study, tmp_path):
    known = study("maximize")
    start(configured([*SEARCHED, "trainer.check_val_every_n_epoch=3"], "sweep/run"))
    assert known.trials[-1].intermediate_values == {2: 0.0, 3: 0.0}
    assert read(tmp_path / "sweep/run").state == "finished"


@optuna
def test_a_job_refuses_to_look_for_the_wrong_end(configured, study, tmp_path):
    study("minimize")
    with pytest.raises(SystemExit, match="val/bond_f1 is to maximize"):
        start(configured(SEARCHED, "sweep/run"))
    assert status.read(tmp_path / "sweep/run")["mode"] == "max"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_further_processes_of_a_run_end_with_the_first():
    child = (
        "import time; from ganforge.hardware.processes import stop_with_parent; stop_with_parent();"
        "print('up', flush=True); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys, time\n"
        "environment = {**os.environ, 'LOCAL_RANK': '1'}\n"
        "process = subprocess.Popen([sys.executable, '-c', sys.argv[1]], env=environment)\n"
        "print(process.pid, flush=True)\ntime.sleep(60)"
    )
    command = [sys.executable, "-c", parent, child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == "up\n"
        process.kill()
        process.wait()
        wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z (" in Path(f"/proc/{pid}/status").read_text(), 10)
