"""Runs as their folders tell them, compared with folders written here by hand."""

import csv
import io
import json

import pytest
from rich.console import Console

from ganforge.cli import main
from ganforge.commands.runs import as_csv, as_json
from ganforge.errors import UserError
from ganforge.files import lock
from ganforge.runs import bounds, status
from ganforge.runs.compare import difference, differing, rank, select
from ganforge.runs.folder import clock, find, read
from ganforge.runs.table import fitted, folded, table

DATES = {"began": "2026-01-01T10:00:00+00:00", "ended": "2026-01-01T11:01:05+00:00"}


def write(folder, config="", overrides="[]", choices=None, results=None, **state):
    """A run's folder, with what is given."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra/config.yaml").write_text(config)
    (folder / ".hydra/overrides.yaml").write_text(overrides)
    hydra = {"hydra": {"runtime": {"choices": {"hydra/launcher": "basic", **(choices or {})}}}}
    (folder / ".hydra/hydra.yaml").write_text(json.dumps(hydra))
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    if state:
        blank = {"score": None, "monitor": "val/l1", "mode": "min", "error": None, "images_seen": None, "pid": 1}
        (folder / "status.json").write_text(json.dumps({**blank, **DATES, "host": "elsewhere", **state}))


@pytest.fixture
def folder(tmp_path):
    def config(lr: float, seed: int) -> str:
        return f"seed: {seed}\nname: ${{oops\nrun_dir: /a/{seed}\nmodel: {{optimizer_g: {{lr: {lr}}}, l1_weight: 1}}\n"

    for name, lr, seed, score in (("a2", 1e-4, 0, 0.3), ("a10", 2e-4, 0, 0.1), ("b", 2e-4, 1, 0.2)):
        text = config(lr, seed).replace("name: ${oops\n", "name: ${model}\n")
        results = {"best/val/l1": score, "images_seen": 10, "duration_s": 65.0, "test/l1": score + 1}
        write(tmp_path / "sweep" / name, text, f"[seed={seed}]", results=results, state="finished", score=score)
    write(
        tmp_path / "failed", config(1e-4, 0).replace("${oops", "x"), state="failed", error="data.root=x: no such folder"
    )
    return tmp_path


def test_runs_are_found_ranked_and_compared(folder):
    found = find(folder)
    assert [run.name for run in found] == ["failed", "sweep/a2", "sweep/a10", "sweep/b"]
    assert [run.name for run in rank(found)] == ["sweep/a10", "sweep/b", "sweep/a2", "failed"]
    assert differing(found) == ["seed", "model.optimizer_g.lr"]  # not the folder, not the name
    assert differing(found[2:]) == ["seed"]
    assert found[1].score == 0.3 and (found[1].monitor, found[1].mode) == ("val/l1", "min")
    assert clock(found[1].duration) == "1:05" and clock(found[0].duration) == "1:01:05"
    assert found[1].value("lr") == found[1].value("model.optimizer_g.lr") == 1e-4
    assert difference(found[1], found[3]) == {"seed": (0, 1), "model.optimizer_g.lr": (1e-4, 2e-4)}
    assert find(folder / "sweep/b")[0].name == "b"


def test_translations_are_shown_between_their_floor_and_their_ceiling(tmp_path, capsys):
    results = {"floor/l1": 0.5, "test/l1": 0.25, "ceiling/l1": 0.1, "floor/psnr": 3.0}
    write(tmp_path / "a", results=results, state="finished", score=0.3)
    write(tmp_path / "b", results={"floor/l1": 0.5}, state="interrupted", score=0.3)
    write(tmp_path / "c", results={"floor/l1": "x", "test/l1": 0.2}, state="finished", score=0.4)
    assert main(["runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    lines = {line.split()[1]: line.split()[2:] for line in printed.splitlines() if line.strip()[:1].isdigit()}
    assert ["val/l1", "floor", "test", "ceiling", "images", "time"] in [
        line.split()[2:] for line in printed.splitlines()
    ]
    assert lines["a"] == ["finished", "0.3", "0.5", "0.25", "0.1", "1:01:05"]
    assert lines["b"] == ["interrupted", "0.3", "0.5", "1:01:05"]
    assert lines["c"] == ["finished", "0.4", "0.2", "1:01:05"]
    narrow = table(find(tmp_path), width=50)  # has no room for them
    assert [column.header.plain for column in narrow.columns][3:] == ["val/l1", "images", "time"]
    rows = list(csv.DictReader(io.StringIO(as_csv(find(tmp_path)))))
    assert [(row["floor"], row["test"], row["ceiling"]) for row in rows] == [
        ("0.5", "0.25", "0.1"), ("0.5", "", ""), ("", "0.2", "")
    ]  # fmt: skip
    intervals = {"test/l1/low": 0.2, "test/l1/high": 0.3}
    (tmp_path / "a/results.json").write_text(json.dumps(results | intervals))
    for width, shown in ((120, "0.25 [0.2, 0.3]"), (75, "0.25")):
        test = table(find(tmp_path), width=width).columns[5]
        assert (test.header.plain, next(cell.plain for cell in test.cells)) == ("test", shown)
    write(tmp_path / "plain" / "d", results={"test/l1": 0.25}, state="finished", score=0.3)
    assert ",test" in as_csv(find(tmp_path / "plain"))
    assert "floor" not in as_csv(find(tmp_path / "plain")) and "floor" not in as_json(find(tmp_path / "plain"))


def test_a_larger_score_is_first_where_it_is_better(tmp_path):
    for name, score in (("low", 0.1), ("high", 0.9)):
        write(tmp_path / name, state="finished", score=score, monitor="val/bond_f1", mode="max")
    write(tmp_path / "old", results={"best/val/bond_f1": 0.5})  # before there was a status
    ranked = rank(find(tmp_path))
    assert [run.name for run in ranked] == ["high", "old", "low"]
    assert ranked[1].state == "finished" and ranked[1].mode == "max"


def test_a_choice_that_differs_stands_for_what_follows_from_it(tmp_path):
    for name, model, width in (("a", "dcgan", 64), ("b", "r3gan", 96), ("c", "r3gan", 96)):
        config = f"model: {{_target_: {model}, width: {width}, depth: {ord(name)}}}\ntrainer: {{max_epochs: 3}}\n"
        overrides = f"[model={model}, model.depth={ord(name)}]"
        write(tmp_path / name, config, overrides, {"model": model, "tuned": f"{model}_mnist"}, state="finished")
    assert differing(find(tmp_path)) == ["model", "model.depth"]


def test_of_the_parts_of_a_model_those_that_were_chosen_stand_for_what_follows(tmp_path):
    for name, model, optimizer, given in (
        ("a", "dcgan", "adam", "model=dcgan"),
        ("b", "r3gan", "adam", "model=r3gan"),
        ("c", "dcgan", "rmsprop", "model/optimizer=rmsprop"),
    ):
        config = f"model: {{optimizer_g: {{_target_: {optimizer}}}, generator: {{_target_: {model}}}, n: 1}}\n"
        chosen = {"model": model, "model/generator": model, "model/optimizer": optimizer}
        write(tmp_path / name, config, f"[{given}]", chosen, state="finished")
    first, second, third = find(tmp_path)
    assert differing([first, second]) == ["model"]
    assert differing([first, third]) == ["model/optimizer"]
    assert differing([first, second, third]) == ["model", "model/optimizer"]


def test_broken_folders_are_runs_of_unknown_state(folder, tmp_path):
    broken = tmp_path / "broken"
    for index, text in enumerate(
        ("", "{", "[1", "null", "\x00\xff", '{"state": 3}', '{"state": "running", "score": "x"}')
    ):
        write(broken / str(index), config=text, overrides=text)
        for name in ("status.json", "results.json", ".hydra/hydra.yaml", "metrics.csv"):
            (broken / str(index) / name).write_text(text)
    (broken / "folder" / "status.json").mkdir(parents=True)
    (broken / "folder" / "results.json").write_text('{"best/val/l1": NaN, "duration_s": null, "images_seen": []}')
    found = find(broken)
    assert len(found) == 8
    for run in rank(found):
        assert (run.score, run.duration, run.images) == (None, None, None)
    assert as_csv(found) and as_json(found) and table(found) and differing(found) is not None
    assert read(tmp_path / "absent").state == "unknown"


def test_a_run_whose_process_is_gone_was_interrupted(tmp_path):
    (tmp_path / "run").mkdir()
    assert lock.hold(tmp_path / "run")
    status.write(tmp_path / "run", state="running")
    assert read(tmp_path / "run").state == "running"
    lock.release(tmp_path / "run")
    assert read(tmp_path / "run").state == "interrupted"
    written = json.loads((tmp_path / "run/status.json").read_text())
    (tmp_path / "run/status.json").write_text(json.dumps({**written, "host": "another machine"}))
    assert read(tmp_path / "run").state == "running"


def test_the_command_sorts_filters_and_prints(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")

    def printed(*options: str) -> str:
        assert main(["runs", str(folder), *options]) == 0
        return capsys.readouterr().out

    shown = printed()
    assert [word for word in shown.split() if word.startswith("sweep/")] == ["sweep/a10", "sweep/b", "sweep/a2"]
    assert "4: data.root=x: no such folder" in shown
    rows = list(csv.DictReader(io.StringIO(printed("--csv", "--filter", "lr=0.0002", "--sort=-test/l1"))))
    assert [(row["name"], row["score"], row["seed"]) for row in rows] == [
        ("sweep/b", "0.2", "1"),
        ("sweep/a10", "0.1", "0"),
    ]
    chosen = json.loads(printed("--json", "--filter", "state!=failed", "--filter", "score<0.25"))
    assert [row["name"] for row in chosen] == ["sweep/a10", "sweep/b"]
    assert "model.optimizer_g.lr" in printed("--diff", "sweep/a2", str(folder / "sweep/b"))
    assert json.loads(printed("--diff", "sweep/a10", "sweep/b", "--json")) == {"seed": [0, 1]}
    assert "none of 4 runs" in printed("--filter", "seed=7")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{}/absent"], "no such folder"),
        (["{}/sweep/b/.hydra"], "no run in it"),
        (["{}", "--sort", "lrr"], "none of the runs has it"),
        (["{}", "--filter", "score"], "such as state=finished"),
        (["{}", "--filter", "score>much"], "a number is compared"),
        (["{}", "--diff", "sweep/b", "sweep/c"], "sweep/c: no run there"),
    ],
)
def test_mistakes_are_one_sentence(folder, capsys, options, message):
    assert main(["runs", *(option.format(folder) for option in options)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and said.count("\n") == 1


def test_where_nothing_was_trained_the_folder_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"error: lightning_logs: no such folder in {tmp_path}; go to where you trained, or give the folder: "
        "ganforge runs FOLDER\n"
    )


def test_a_filter_of_nothing_is_refused():
    with pytest.raises(UserError):
        select([], ["=3"])


def test_a_narrow_terminal_shows_what_differs(tmp_path, capsys, monkeypatch):
    """Long names by their ends, settings while there is room, and each measure in a table of its own."""
    monkeypatch.setenv("COLUMNS", "80")
    long = "a/" + "very_" * 8
    for number, (monitor, mode) in enumerate([("val/l1", "min"), ("val/l1", "min"), ("val/is/mnist_cnn", "max")]):
        config = (
            f"seed: {number}\nmodel: {{optimizer_g: {{lr: 0.{number}}}, latent_dim: {number}, label_flip: 0.{number}}}"
        )
        write(tmp_path / f"{long}{number}", config, score=0.5 + number, monitor=monitor, mode=mode, state="finished")
    assert main(["runs", str(tmp_path), "--sort", "-score"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    heads = [line for line in shown.splitlines() if "state" in line]
    assert ["val/l1" in line for line in heads] == [False, True] or ["val/l1" in line for line in heads] == [
        True,
        False,
    ]
    rows = [line.split() for line in shown.splitlines() if "finished" in line]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert sorted(row[1][-2:] for row in rows) == ["_0", "_1", "_2"] and all(row[1][0] == "…" for row in rows)
    assert "seed" in shown and "more settings: --csv" in shown


def test_an_interval_is_found_wherever_results_have_it():
    results = {
        "test/kid": 0.1, "test/kid/low": 0.0, "test/kid/high": 0.2, "final/test/l1": 0.3, "test/l1": 0.2, "test/x": 1.0,
        "evaluation": {
            "test/paired": {"intervals": {"l1": [0.1, 0.3], "x": [2.0, 1.0], "y": "z"}},
            "test/odd": {"intervals": "in"},
            "final/test/paired": {"intervals": {"l1": (0.2, 0.4)}}, "test/none": None,
        },
    }  # fmt: skip
    assert bounds.of(results, "test/kid") == (0.0, 0.2) and bounds.of(results, "test/l1") == (0.1, 0.3)
    assert bounds.of(results, "final/test/l1") == (0.2, 0.4)
    for key in ("test/x", "test/y", "floor/l1", "test/odd"):
        assert bounds.of(results, key) is None
    assert bounds.of({"evaluation": [1]}, "test/l1") is None


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_names_and_intervals_stay_whole_in_narrow_tables(width):
    rows = [["calibration_error_by_chance", "-", "0.1234"], ["psnr (51 against 200)", "1.0000", "20.5 [20.1, 20.9]"]]
    lines = printed(fitted(["floor", "result"], rows, Console(width=width)), width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width and "[20.1, 20.9]" in text
    assert ("20.5 [20.1, 20.9]" in text) is (width > 40)
    assert all(part in text for part in ("calibration_", "error_", "chance", "(51", "result"))


@pytest.mark.parametrize("most", [5, 12, 18, 80])
def test_a_name_is_broken_between_its_parts(most):
    name = "model.generator.base_channels"
    lines = folded(name, most).split("\n")
    assert "".join(lines) == name and all(line.endswith((".", "_")) for line in lines[:-1])
    assert all(len(line.rstrip("_.")) <= max(most, len("generator")) for line in lines)


def printed(table, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text().splitlines()


def test_settings_of_runs_have_whole_names_or_none(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        config = f"model: {{weight_of_the_reconstruction_term: {value}}}"
        write(
            tmp_path / name, config, f"[model.weight_of_the_reconstruction_term={value}]", state="finished", score=0.1
        )
    shown = {width: printed(table(find(tmp_path), width=width), width) for width in (80, 120)}
    assert not any("weight_of" in line for line in shown[80]) and any(
        "and 1 more settings" in line for line in shown[80]
    )
    assert any("weight_of_the_reconstruction_term" in line for line in shown[120])
