"""The ledger of results: what `ganforge record` writes of a run, and the tables that come from it."""

import json
from pathlib import Path

import pytest
import yaml

from ganforge.cli import main
from ganforge.errors import UserError
from ganforge.runs import ledger, ledger_tables
from ganforge.runs.folder import read

RESULTS = {
    "images_seen": 4000, "duration_s": 90.4, "seed": 0, "git_commit": "abc123", "device": "x86_64", "cpu": "Z80",
    "cores": 2, "run_dir": "/home/me/run", "best/val/bond_f1": 0.9,
    "test/bond_f1": 0.98, "test/network_exact": 0.9, "test/networks": 150.0, "test/bond_f1/kagome": 0.97,
    "test/network_exact/kagome": 0.8, "test/bond_precision": 0.5, "test/disorder_0.1/bond_f1": 0.4,
    "baseline/delaunay_f1": 0.7, "baseline/delaunay_f1/kagome": 0.6, "baseline/delaunay_exact": 0.1,
    "baseline/delaunay_exact/kagome": 0.0, "baseline/gabriel_f1": 0.7, "baseline/gabriel_f1/kagome": 0.6,
    "baseline/gabriel_exact": 0.1, "baseline/gabriel_exact/kagome": 0.0, "baseline/relative_neighbourhood_f1": 0.7,
    "baseline/relative_neighbourhood_f1/kagome": 0.6, "baseline/relative_neighbourhood_exact": 0.1,
    "baseline/relative_neighbourhood_exact/kagome": 0.0, "test/kid": 0.5, "test/kid/low": 0.4, "test/kid/high": 0.6,
}  # fmt: skip


def write_run(folder, *, seed=0, overrides=(), **numbers):
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra/overrides.yaml").write_text(yaml.safe_dump([*overrides, *([f"seed={seed}"] if seed else [])]))
    (folder / "results.json").write_text(json.dumps({**RESULTS, "seed": seed, **numbers}))
    status = {"state": "finished", "began": "2026-01-02T03:04:05+00:00", "host": "elsewhere"}
    (folder / "status.json").write_text(json.dumps(status))
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a README that asks for a table, and a ledger to come."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    table = '<!-- results: main columns="F1=test/bond_f1:.3f; exact=test/network_exact:.0%" -->\n<!-- end -->'
    (tmp_path / "README.md").write_text(
        f"# Title\n\n{table}\n\nF1 <!-- results: main value=test/bond_f1 -->?<!-- end -->\n"
    )
    return tmp_path


def test_an_entry_says_what_was_typed_and_came_out_and_no_place(project):
    overrides = ["data=pairs", "data.root=/home/me/photos", "resume=true", "init_from=../other", "data.size=64"]
    intervals = {"test/networks": {"intervals": {"bond_f1": [0.975, 0.985]}}}
    run = read(write_run(project / "run", overrides=overrides, evaluation=intervals))
    entry = ledger.of_run(run, note="cold room")
    assert entry["command"] == "python train.py data=pairs data.root=FOLDER init_from=FILE data.size=64"
    known = {key: entry[key] for key in ("commit", "machine", "seed", "date", "images", "seconds", "note")}
    assert known == {
        "commit": "abc123", "machine": "2 cores, Z80", "seed": 0, "date": "2026-01-02", "images": 4000, "seconds": 90,
        "note": "cold room",
    }  # fmt: skip
    assert entry["numbers"]["test/kid/low"] == 0.4 and entry["numbers"]["test/networks"] == 150
    assert (entry["numbers"]["test/bond_f1/low"], entry["numbers"]["test/bond_f1/high"]) == (0.975, 0.985)
    assert entry["numbers"]["test/network_exact/low"] == pytest.approx(0.8415, abs=1e-4)  # Wilson, of 135 of 150
    assert not {"test/bond_precision", "test/disorder_0.1/bond_f1", "best/val/bond_f1"} & set(entry["numbers"])
    assert "/home" not in str(entry)
    with pytest.raises(UserError, match="looks like a path"):
        ledger.of_run(run, note="see /home/me/notes")


def test_what_a_foreign_run_says_stays_in_its_line(project):
    numbers = {"test/x\n# Title": 1.0, "test/`|<b>": 2.0, "test/fine": 3.0}
    run = write_run(project / "run", overrides=["name=a\n\n# Title `b`"], git_commit="abc\n# Title", **numbers)
    entry = ledger.of_run(read(run))
    assert not any("\n" in text or "`" in text or "|" in text for text in ledger.texts(entry))
    assert "test/fine" in entry["numbers"] and len([key for key in entry["numbers"] if "Title" in key]) == 0


@pytest.mark.parametrize("text", ["/home/me", "a=/data", "~/x", "~", "../x", "C:\\x", "[/a,/b]", "x:/tmp/y"])
def test_paths_are_seen(text):
    assert ledger.is_path(text)


@pytest.mark.parametrize(
    "text", ["model/generator=unet", "test/bond_f1", "steps/s", "data.root=data/mnist", "1/2", "a ~ b"]
)
def test_names_are_no_paths(text):
    assert not ledger.is_path(text)


def test_runs_of_several_seeds_are_one_entry_with_mean_and_range(project, capsys):
    for seed, f1 in ((0, 0.98), (1, 0.96), (2, 0.97)):
        folder = write_run(project / f"run{seed}", seed=seed, **{"test/bond_f1": f1})
        assert main(["record", str(folder), "--name", "main"]) == 0
    assert main(["record", "--render", "--check"]) == 0
    said = (project / "README.md").read_text()
    assert "| `main` | 0.970 (0.960 to 0.980) | 90 % | 0, 1, 2 |" in said
    assert "F1 <!-- results: main value=test/bond_f1 -->0.97 (0.96 to 0.98)<!-- end -->" in said
    assert main(["record", str(project / "run1"), "--name", "main"]) == 0  # once more: in place of itself
    assert len(ledger.read("docs/results.yaml")["main"]["runs"]) == 3
    other = write_run(project / "other", overrides=["model=gan"])
    assert main(["record", str(other), "--name", "main"]) == 1
    assert "give another --name, or --anew" in capsys.readouterr().err
    assert main(["record", str(other), "--name", "main", "--anew"]) == 0
    (run,) = ledger.read("docs/results.yaml")["main"]["runs"]
    assert run["command"] == "python train.py model=gan"


def test_numbers_of_a_script_are_an_entry_with_the_command_that_measured_them(project, capsys):
    Path("seams.json").write_text(json.dumps({"unet": {"ratio": 0.7912345678, "tiles": 16}}))
    assert main(["record", "seams.json"]) == 1
    assert "seams.json: add --command with the line that measured" in capsys.readouterr().err
    assert main(["record", "seams.json", "--command", "python benchmarks/seams.py /home/me/run"]) == 1
    assert "looks like a path of this machine" in capsys.readouterr().err
    assert main(["record", "seams.json", "--command", "python benchmarks/seams.py RUN"]) == 0
    (run,) = ledger.read("docs/results.yaml")["seams"]["runs"]
    assert run["numbers"] == {"unet/ratio": 0.791235, "unet/tiles": 16}
    assert run["command"] == "python benchmarks/seams.py RUN" and {"commit", "machine", "date"} <= set(run)
    for content in ("[1, 2]", "{}", '{"a": "b"}', '{"a": NaN}', '{"a|b": 1}', "{"):
        Path("seams.json").write_text(content)
        assert main(["record", "seams.json", "--command", "python x.py"]) == 1
        assert "give a JSON file of numbers by name" in capsys.readouterr().err
    assert main(["record", str(write_run(project / "run")), "--command", "python x.py"]) == 1
    assert "runs and studies know their own" in capsys.readouterr().err


def test_check_names_the_file_and_line_that_differ(project, capsys):
    main(["record", str(write_run(project / "run")), "--name", "main", "--render"])
    page = project / "README.md"
    page.write_text(page.read_text().replace("0.980", "0.999"))
    capsys.readouterr()
    assert main(["record", "--check"]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: README.md line 7 says") and "0.999" in sentence and "0.980" in sentence
    page.write_text("a\n<!-- results: nobody value=x -->1<!-- end -->\n")
    assert main(["record", "--check"]) == 1
    assert "README.md line 2: <!-- results: nobody value=x -->: no entry 'nobody'" in capsys.readouterr().err
    page.write_text("F1\n<!-- results: main value=test/kid -->0.5<!-- end --> of many\n")  # Markdown: a block of HTML
    assert main(["record", "--check"]) == 1
    assert "a number at the start of a line" in capsys.readouterr().err
    page.write_text("<!-- results: main value=test/kid -->")
    assert main(["record", "--check"]) == 1
    assert "has no <!-- end -->" in capsys.readouterr().err


def test_check_finds_a_path_in_the_ledger(project, capsys):
    main(["record", str(write_run(project / "run")), "--name", "main", "--render"])
    file = project / "docs/results.yaml"
    file.write_text(file.read_text().replace("python train.py", "python train.py data.root=/home/me"))
    assert main(["record", "--check"]) == 1
    said = capsys.readouterr().err
    assert "docs/results.yaml line 5: 'python train.py data.root=/home/me' looks like a path" in said


def test_a_page_that_cannot_be_rendered_leaves_all_as_they_were(project, capsys):
    main(["record", str(write_run(project / "run")), "--name", "main"])
    before = (project / "README.md").read_text()
    (project / "docs/page.md").write_text("<!-- results: main value=test/nothing -->?<!-- end -->")
    assert main(["record", "--render"]) == 1
    assert "docs/page.md line 1" in capsys.readouterr().err
    assert (project / "README.md").read_text() == before


def test_what_was_measured_before_gives_way_to_a_run(project):
    old = {"source": ledger.BEFORE, "command": "python train.py", "numbers": {"test/bond_f1": "0.9 to 0.95"}}
    ledger.write({"main": old}, "docs/results.yaml")
    entries = ledger.read("docs/results.yaml")
    assert ledger_tables.of("main value=test/bond_f1", entries) == "0.9 to 0.95"
    main(["record", str(write_run(project / "run")), "--name", "main"])
    assert "source" not in ledger.read("docs/results.yaml")["main"]


def test_networks_stand_beside_geometric_methods(project):
    entries = {"main": {"runs": [ledger.of_run(read(write_run(project / "run")))]}}
    lines = ledger_tables.of("main networks=test", entries).strip().splitlines()
    assert lines[0] == "| | all | Kagome |"
    assert lines[2] == "| **ganforge** | 0.9800, 90 % | 0.9700, 80 % |"
    assert lines[3] == "| Delaunay, pruned | 0.7000, 10 % | 0.6000, 0 % |"


@pytest.mark.parametrize("content", ["[1, 2]", "main: 3", "main: {runs: 5}", "main: {runs: [{numbers: 3}]}", "{"])
def test_a_broken_ledger_is_a_sentence_and_stays(project, capsys, content):
    file = project / "docs/results.yaml"
    file.write_text(content)
    assert main(["record", str(write_run(project / "run"))]) == 1
    assert "is no ledger of results" in capsys.readouterr().err
    assert file.read_text() == content


def test_what_cannot_be_recorded_is_a_sentence(project, capsys):
    for arguments, said in (
        ([], "give a RUN to record"),
        (["nowhere"], "no run there"),
        ([str(write_run(project / "run")), "--name", "../x"], "give letters, digits"),
    ):
        assert main(["record", *arguments]) == 1
        assert said in capsys.readouterr().err
    (project / "run/results.json").write_text("{}")
    assert main(["record", "run"]) == 1
    assert "has no results of a test" in capsys.readouterr().err
    assert not (project / "docs/results.yaml").exists()
