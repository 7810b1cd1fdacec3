"""Files that someone else may have written, in the commands that read them."""

import json
import os
import shlex
import subprocess
import sys
import zipfile
import zlib

import pytest
from omegaconf import OmegaConf

from ganforge.cli import main
from ganforge.commands.runs import as_csv
from ganforge.files import archives
from ganforge.files.untrusted import DEEPEST, is_file, printable, read_bytes, read_json, read_text, read_yaml
from ganforge.report import curves
from ganforge.report import page as report
from ganforge.runs import preflight, status
from ganforge.runs.compare import differing
from ganforge.runs.folder import find, read
from ganforge.runs.table import table
from test_report import make, page  # noqa: F401

SECRET = "known to the owner alone"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n" for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)
ESCAPES = "\x1b]0;title\x07\x9b2J\u202egnp.exe\r"
TOO_MUCH = {
    "aliases": BOMB,
    "a loop": "a: &a [*a]\n",
    "deep": "[" * 100_000,
    "deep keys": "a:\n" + "".join(" " * depth + "a:\n" for depth in range(1, DEEPEST + 2)),
    "many": "- 1\n" * 30_000,
    "large": "a: " + "x" * 1_000_001,
    "digits": "a: " + "1" * 400,
    "base 16": "a: 0x" + "f" * 100_000,
    "base 60": "a: " + ":".join(["1"] * 100_000),
    "objects": "a: !!python/object/apply:os.getcwd []\n",
    "odd tags": "a: !!timestamp x\nb: !!bool x\n",
    "long keys": "k" * 10_000 + ": 1\n",
}


@pytest.mark.parametrize("text", TOO_MUCH.values(), ids=TOO_MUCH)
def test_settings_that_are_too_much_are_none(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    assert read_yaml(tmp_path, "config.yaml") is None


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": ' * 100_000, '{"a": %s}' % ("1" * 400), "[%s1]" % ("1," * 30_000)]
)
def test_results_that_are_too_much_are_none(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    assert read_json(tmp_path, "results.json") is None


def test_values_are_as_they_were_written(tmp_path):
    config = {
        "lr": 1e-05,
        "large": 2**63,
        "infinite": float("inf"),
        "none": None,
        "on": True,
        "texts": ["off", "1e-5", "1", "2026-01-01", "null", "a: b\nc", ""],
        "environment": "${oc.env:HOME}",
        "deep": {"er": {"x": [[], {}, 1.5]}},
    }
    OmegaConf.save(OmegaConf.create(config), tmp_path / "config.yaml")
    assert read_yaml(tmp_path, "config.yaml") == config
    (tmp_path / "results.json").write_text('{"a": [0.1, -3, null], "b": NaN, "c": 1e999, "d": -Infinity}')
    assert read_json(tmp_path, "results.json") == {"a": [0.1, -3, None], "b": None, "c": None, "d": None}


def test_only_files_of_the_folder_are_read(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "outside").write_text(SECRET)
    (run / "own").write_text("own")
    (run / "beside").symlink_to("own")
    for name, target in (("out", tmp_path / "outside"), ("zero", "/dev/zero"), ("loop", run / "loop")):
        (run / name).symlink_to(target)
    os.mkfifo(run / "pipe")
    assert read_text(run, "beside") == "own" and is_file(run, "own")
    for name in ("out", "zero", "loop", "pipe", "../outside", str(tmp_path / "outside"), ".", "absent", "a\0b"):
        assert read_text(run, name) is None and not is_file(run, name)
    with pytest.raises(OSError, match="more than 2 bytes"):
        read_bytes(run, "own", 2)
    (tmp_path / "link").symlink_to(run)
    assert read_text(tmp_path / "link", "own") == "own"


def test_text_for_a_terminal_shows_what_it_hides():
    assert printable(ESCAPES) == r"\x1b]0;title\x07\x9b2J\u202egnp.exe\r"
    assert printable(b"\xff.png".decode(errors="surrogateescape")) == r"\udcff.png"
    assert printable("a\n\tb") == r"a\n\tb" and printable("a\n\tb", lines=True) == "a\n\tb"
    for text in ("plain", "Übung 日本 مرحبا", "क्‍ष", "👩‍👩‍👧"):
        assert printable(text) == text


def commands(folder) -> list[list[str]]:
    """Everything that looks at the runs in a folder."""
    table = [["runs", str(folder), *options] for options in ([], ["--csv"], ["--json"], ["--sort=state"])]
    difference = [["runs", "--diff", str(folder / "run"), str(folder / "other"), *form] for form in ([], ["--csv"])]
    pages = [["report", str(path), "--overwrite"] for path in (folder, folder / "run")]
    return [*table, *difference, *pages]


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


FILES = [
    "status.json", "results.json", "metrics.csv", ".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml",
    "samples/images_000000099.png", "samples/evolution.gif",
]  # fmt: skip


@pytest.mark.slow
def test_pipes_and_links_in_a_run_are_not_followed(tmp_path, page, capsys):  # noqa: F811
    (tmp_path / "outside").write_text(f"{SECRET}: 1\n")
    for makes in (pipe, lambda path: (path.unlink(missing_ok=True), path.symlink_to(tmp_path / "outside"))):
        for name in FILES:
            folder = tmp_path / name.replace("/", "_") / makes.__name__.strip("<>")
            make(folder / "other", lr=1)
            makes(make(folder / "run") / name)
            for command in commands(folder):
                assert main(command) == 0
            written = [path.read_text() for path in (folder / "report.html", folder / "run/report.html")]
            assert SECRET not in "".join((capsys.readouterr().out, *written))


HOSTILE = [None, True, [], {}, "x", -1, 2**64, 1e308, {"a": [{"b": 1}]}, [[]], "9" * 400, "0001-01-01T00:00:00"]


@pytest.mark.slow
def test_odd_values_of_a_status_and_of_results_are_shown_or_left_out(tmp_path, page, capsys):  # noqa: F811
    make(tmp_path / "other", lr=1)
    run = make(tmp_path / "run")
    former = {name: json.loads((run / name).read_text()) for name in ("status.json", "results.json")}
    fields = {
        "status.json": ["score", "monitor", "mode", "error", "images_seen", "began", "ended", "pid", "host"],
        "results.json": ["test/l1", "best/val/l1", "images_seen", "duration_s", "warnings", "evaluation", "seed"],
    }
    for name, keys in fields.items():
        for state in ("finished", "running"):
            for value in HOSTILE:
                (run / name).write_text(json.dumps({**former[name], "state": state, **dict.fromkeys(keys, value)}))
                for command in commands(tmp_path)[:4]:
                    assert main(command) == 0, (name, value)
                page(run)
                page(tmp_path)
        (run / name).write_text(json.dumps(former[name]))
    capsys.readouterr()


def test_names_and_errors_reach_the_terminal_as_text(tmp_path, page, capsys):  # noqa: F811
    (tmp_path / "sweep").mkdir()
    make(tmp_path / "sweep/other", lr=1)
    run = make(tmp_path / "sweep" / f"a{ESCAPES}", state="failed")
    said = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**said, "error": f"no {ESCAPES}", "monitor": f"val/{ESCAPES}"}))
    (run / ".hydra/config.yaml").write_text(json.dumps({"model": {f"lr{ESCAPES}": ESCAPES}}))
    commands = [["runs", str(tmp_path), *form] for form in ([], ["--csv"], ["--json"], ["--filter", f"a={ESCAPES}"])]
    commands += [["runs", "--diff", str(run), str(tmp_path / "sweep/other"), *form] for form in ([], ["--csv"])]
    commands += [["runs", str(run / "absent")], ["runs", str(run), "--sort", ESCAPES], ["report", str(run)]]
    for command in commands:
        main(command)
        printed = capsys.readouterr()
        for text in (printed.out, printed.err, page(run).text):
            assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(text), command
    assert r"\x1b]0;title" in page(run).text


def test_folders_with_names_that_are_no_text_are_listed(tmp_path):
    for name in (b"\xff\xfe", "x²".encode(), ("9" * 250).encode()):
        make(tmp_path / os.fsdecode(name))
    command = [sys.executable, "-m", "ganforge.cli", "runs", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "COLUMNS": "300"})
    assert result.returncode == 0, result.stderr
    assert rb"\udcff\udcfe" in result.stdout and "x²".encode() in result.stdout


@pytest.mark.slow
def test_runs_with_thousands_of_settings_are_compared(tmp_path):
    for name in "ab":
        settings = "".join(f"k{index}: {name}\n" for index in range(10_000))
        (make(tmp_path / name) / ".hydra/config.yaml").write_text(settings)
    found = find(tmp_path)
    assert len(differing(found)) == 10_000
    assert len(as_csv(found).splitlines()) == 3 and table(found)
    assert "They differ in 9950 more settings" in report.of_sweep(found, "many")


def test_a_clock_that_was_set_back_gives_no_duration(tmp_path):
    (tmp_path / "run").mkdir()
    later, earlier = "2400-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"
    for state, ended in (("finished", earlier), ("running", None)):
        found = {"state": state, "began": later, "since": later, "ended": ended, "host": "elsewhere", "pid": 1}
        (tmp_path / "run/status.json").write_text(json.dumps(found))
        run = read(tmp_path / "run")
        assert (run.state, run.duration) == (state, None)


def test_the_search_for_a_run_to_go_on_with_reads_data_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    own = OmegaConf.create({"seed": 3, "lr": 1e-05, "name": "${model}"})
    config = OmegaConf.merge(own, {"hydra": {"overrides": {"task": ["seed=3"]}}})

    def add(name: str, text: str, sweep: str = "") -> None:
        (tmp_path / name / ".hydra").mkdir(parents=True)
        (tmp_path / name / ".hydra/config.yaml").write_text(text)
        (tmp_path / name / "multirun.yaml").write_text(sweep or text)

    add("1", OmegaConf.to_yaml(own), OmegaConf.to_yaml(config))
    status.write(tmp_path / "1", state="interrupted")
    for number, text in enumerate((BOMB, "hydra: ${oc.env:SECRET}\n", "hydra: {overrides: {task: 3}}", "["), 2):
        add(str(number), text)
    add("6", "x")
    pipe(tmp_path / "6/.hydra/config.yaml")
    pipe(tmp_path / "6/multirun.yaml")
    (tmp_path / "7").symlink_to(tmp_path / "1")
    assert preflight.newest_unfinished(tmp_path, config) == tmp_path / "1"
    assert preflight.newest_sweep(tmp_path, config) == tmp_path / "1"


def test_curves_of_too_many_columns_and_lines_are_bounded(tmp_path, monkeypatch):
    file = tmp_path / "metrics.csv"
    file.write_text(",".join(("images", *(f"train/{index}" for index in range(5000)))) + "\n" + "1," * 5000 + "1\n")
    found = curves.read(file, 100)
    assert len(found.points) == curves.MOST_COLUMNS - 1
    assert found.left_out == "all but the first 1000 of 5,001 columns"
    monkeypatch.setattr(curves, "MOST_BYTES", 1_000_000)
    file.write_text("images,val/l1\n" + "".join(f"{row},0.5\n" for row in range(200_000)))
    axis, points, left_out = curves.read(file, 100)
    assert axis == "images" and 50 <= len(points["val/l1"]) <= 100 and left_out == "all after the first 1 MB"
    for text in ("x" * 1_500_000, 'images,val/l1\n1,2\n"' + "3\n" * 200_000, "images,val/l1\n1,2\n" + "9" * 200_000):
        file.write_text(text)
        assert curves.read(file, 100).points in ({}, {"val/l1": [(1.0, 2.0)]})


def test_pictures_are_bounded_and_of_formats_that_browsers_show(tmp_path, page, monkeypatch):  # noqa: F811
    run = make(tmp_path / "run")
    picture = (run / "samples/evolution.png").read_bytes()
    (run / "samples/evolution.png").write_bytes(picture[:16] + (9000).to_bytes(4, "big") * 2 + picture[24:29])
    with (run / "samples/evolution.png").open("ab") as file:  # the header's sum again
        file.write(
            zlib.crc32(b"IHDR" + (9000).to_bytes(4, "big") * 2 + picture[24:29]).to_bytes(4, "big") + picture[33:]
        )
    drawn = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *given, **more: drawn.append(given))
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
    (run / "samples/images_000000099.png").write_bytes(postscript)
    text = page(run).text
    assert "samples/evolution.png cannot be read (it has 9000 × 9000 pixels)" in text
    assert "samples/images_000000099.png cannot be read" in text and not drawn


def test_a_command_of_a_report_runs_no_code_of_someone_else(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run", state="interrupted")
    rate = "model.penalties.r1._target_=ganforge.game.schedules.Cosine"
    own = ["seed=7", "model/generator=resnet", rate, "data.root=/a b;c"]
    (run / ".hydra/overrides.yaml").write_text(json.dumps(own))
    command = f"python train.py {shlex.join([*own, f'hydra.run.dir={run}', 'resume=true'])}"
    assert command in page(run).text
    for override in (
        "+callbacks.a={_target_: os.getcwd}",
        "--config-dir=theirs",
        "hydra.searchpath=[file://theirs]",
        "model._target_=os.getcwd",
        "+a=${oc.env:SECRET}",
    ):
        (run / ".hydra/overrides.yaml").write_text(json.dumps(["seed=7", override]))
        text = page(run).text
        assert f"(no command: read first what this one does: {override})" in text and "python train.py" not in text


def test_what_a_file_sets_on_what_it_names_is_gone_with_it(tmp_path):
    named = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x04\x00\x00\x00markK\x01s\x86b."  # BUILD with slots
    with zipfile.ZipFile(tmp_path / "marked.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", named)
    marked = archives.without_tensors(tmp_path / "marked.ckpt", "marked.ckpt")
    assert marked.mark == 1
    assert not any(hasattr(value, "mark") for value in vars(archives).values())
