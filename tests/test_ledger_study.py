"""A study in the ledger: what `ganforge record STUDY_FOLDER` writes, and what pages get of it."""

import json

import pytest
import yaml

from ganforge import CONF
from ganforge.cli import main
from ganforge.runs import ledger, ledger_tables
from ganforge.studies import recorded
from ganforge.studies.analysis import Analysis

ARMS = {"real": 0.6, "classic": 0.7, "classic_generated_1": 0.75}
PRIMARY = {"arm": "classic_generated_1", "against": "classic", "figure": "macro_f1", "shots": 5}


def scored(shots, arm, seed):
    """As job.py writes it. The arms differ by a little more in each seed."""
    value = ARMS[arm] + 0.01 * seed * (arm == "classic_generated_1") + 0.002 * shots
    scores = {"macro_f1": value, "accuracy": value + 0.01, "recall": [value, 1.0]}
    return {"arm": arm, "shots": shots, "seed": seed, "val": scores, "test": scores, "seconds": 2.0}


def write_study(folder, *, seeds=6, of=None, commit="abc123"):
    """The folder of a study with results of its first `of` seeds."""
    settings = yaml.safe_load((CONF / "study/augmentation.yaml").read_text())
    settings |= {"seeds": seeds, "arms": list(ARMS), "primary": PRIMARY, "data_fingerprint": "f"}
    (folder / "gans/shots-5/seed-0").mkdir(parents=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(settings | {"overrides": ["data.size=64"]}, sort_keys=False))
    keys = [(shots, arm, seed) for shots in settings["shots"] for arm in ARMS for seed in range(of or seeds)]
    analysis = Analysis(
        results=[scored(*key) for key in keys], class_names=["a", "b"], arms=list(ARMS), shots=settings["shots"],
        seeds=range(of or seeds), primary=PRIMARY, gans={(5, 0): {"minutes": 3.0}},
    )  # fmt: skip
    (folder / "study.json").write_text(json.dumps(analysis.as_json()))
    gan = {"git_commit": commit, "cpu": "Z80", "cores": 2, "duration_s": 90.0}
    (folder / "gans/shots-5/seed-0/results.json").write_text(json.dumps(gan))
    status = {"state": "finished", "began": "2026-01-02T03:04:05+00:00", "host": "elsewhere"}
    (folder / "gans/shots-5/seed-0/status.json").write_text(json.dumps(status))
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/study.md").write_text(
        "# Does it help?\n\n<!-- results: steel study=verdict -->\n<!-- end -->\n\n<!-- results: steel study=arms -->\n"
        "<!-- end -->\n\nIt <!-- results: steel value=verdict -->?<!-- end -->.\n"
    )
    return tmp_path


def test_an_entry_is_the_study_without_its_places(project):
    entry = recorded.of_study(write_study(project / "study"), note="steel")
    numbers = entry.pop("numbers")
    assert entry == {
        "command": "ganforge study augmentation data.root=FOLDER seeds=6 "
        "'arms=[real,classic,classic_generated_1]' data.size=64",
        "commit": "abc123", "machine": "2 cores, Z80", "date": "2026-01-02", "seconds": 90, "seeds": [0, 1, 2, 3, 4, 5],
        "note": "steel", "verdict": "helps: classic_generated_1 is 5.7 to 9.3 points of macro-F1 above classic",
        "primary": PRIMARY,
    }  # fmt: skip
    assert numbers["shots-5/real/macro_f1"] == pytest.approx(0.61)
    assert numbers["shots-5/real/macro_f1/low"] == numbers["shots-5/real/macro_f1/high"] == pytest.approx(0.61)
    assert numbers["primary/gain"] == pytest.approx(0.075) and numbers["primary/p"] == pytest.approx(2 / 2**6)
    assert numbers["primary/gain/low"] < 0.06 < 0.09 < numbers["primary/gain/high"]
    assert numbers["shots-20/real/gain"] == pytest.approx(-0.1) and numbers["shots-5/gan/minutes"] == 3
    few = recorded.of_study(project / "study", ["primary/p", "*/gan/*"])["numbers"]
    assert few == {"primary/p": 0.03125, "shots-5/gan/minutes": 3}


def test_pages_get_its_table_and_its_verdict(project, capsys):
    assert main(["record", str(write_study(project / "study")), "--name", "steel", "--render", "--check"]) == 0
    page = (project / "docs/study.md").read_text()
    assert "| 5 | `real` | 61.0 [61.0, 61.0] | 62.0 [62.0, 62.0] | -10.0 [-10.0, -10.0] | 0.094 |" in page
    assert "| **5** | **`classic_generated_1`** | **78.5 [" in page and "| **0.031** |" in page
    assert "| 5 | `classic` | 71.0 [71.0, 71.0] | 72.0 [72.0, 72.0] | | |" in page
    verdict = "helps: classic_generated_1 is 5.7 to 9.3 points of macro-F1 above classic"
    assert f"It <!-- results: steel value=verdict -->{verdict}<!-- end -->." in page
    assert f"**{verdict}**\n\nPrimary comparison: `classic_generated_1` against `classic` on 5 real pictures a" in page
    assert "points of macro-F1, p = 0.031, seeds 0, 1, 2, 3, 4, 5." in page
    (project / "docs/study.md").write_text(page.replace("p = 0.031", "p = 0.001"))
    capsys.readouterr()
    assert main(["record", "--check"]) == 1
    assert "docs/study.md line 7 says" in capsys.readouterr().err


def test_more_seeds_take_the_place_of_fewer(project, capsys):
    main(["record", str(write_study(project / "few")), "--name", "steel"])
    main(["record", str(write_study(project / "many", seeds=8)), "--name", "steel"])
    assert "(in place of the entry as it was)" in capsys.readouterr().out
    (run,) = ledger.read("docs/results.yaml")["steel"]["runs"]
    assert len(run["seeds"]) == 8


def test_a_study_that_has_not_finished_is_refused(project, capsys):
    folder = write_study(project / "study", seeds=8, of=6)
    assert main(["record", str(folder)]) == 1
    assert (
        "has not finished (8 seeds were asked for, its results are of 6); type its command" in capsys.readouterr().err
    )
    (folder / "study.json").unlink()
    assert main(["record", str(folder)]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "this study has not finished (there is no study.json)" in sentence
    assert not (project / "docs/results.yaml").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("verdict", "<!-- end --> [x](y)"), ("table", 3), ("seeds", "abc"), ("primary", {"arm": "`"}), ("gan", None)],
)
def test_what_no_study_writes_is_refused(project, capsys, key, value):
    folder = write_study(project / "study")
    found = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(found | {key: value}))
    assert main(["record", str(folder)]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "study.json" in sentence or "has not finished" in sentence


def test_a_commit_with_changes_is_said(project, capsys):
    main(["record", str(write_study(project / "study", commit="abc123-dirty")), "--name", "steel"])
    assert "nobody can go back to that commit" in capsys.readouterr().out
    assert "| abc123 with changes |" in ledger_tables.of("all", ledger.read("docs/results.yaml"))
