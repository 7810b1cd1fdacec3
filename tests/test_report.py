"""The page is read back with html.parser and compared with the files that it was made of."""

import base64
import csv
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ganforge.cli import main
from ganforge.errors import UserError
from ganforge.report import curves
from ganforge.report import page as report
from ganforge.runs import summary
from ganforge.runs.folder import is_run

EVIL = "name=<script>alert(1)</script>"
COLUMNS = ["images", "step", "train/d/adv", "train/g/l1", "lr/g", "val/l1", "val/l1/square"]
METRICS = [
    dict(zip(COLUMNS, row, strict=True))
    for row in (
        (0, 0, "", "", "", 0.75, 0.5),
        (16, 4, 0.69314718, 95.189208984375, 2e-4, "", ""),
        (32, 8, -0.5, 1e-7, 0, "", ""),
        (32, 8, "", "", "", 0.25, 0.125),
    )
]
RESULTS = {
    "test/l1": 0.123456, "test/l1/low": 0.1, "test/l1/high": 0.15, "test/psnr": 18.25, "test/generated_images": 10.0,
    "test/lost": None, "final/test/l1": 0.2345, "final/test/psnr": 17.5,
    "shifted/l1": 0.5, "evaluation": {}, "best/val/l1": 0.25, "images_seen": 32, "best_checkpoint_images_seen": 16,
    "images_per_second": 12.25, "duration_s": 75.0, "warnings": ["The generator has collapsed & <b>more</b>"],
    "precision": "32-true", "seed": 7, "data_fingerprint": "0123abcd", "torch": "2.9.9", "git_commit": "abcdef-dirty",
}  # fmt: skip


def make(
    folder: Path, *, lr: float = 0.001, score: float | None = 0.25, state: str = "finished", objective: str = "a.hinge"
) -> Path:
    """A run as files, without any training."""
    (folder / ".hydra").mkdir(parents=True)
    config = {"seed": 7, "data": {"source_channels": 1}, "model": {"lr": lr, "objective": objective}, "run_dir": "${x}"}
    (folder / ".hydra/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / ".hydra/overrides.yaml").write_text(yaml.safe_dump(["seed=7", f"model.lr={lr}", EVIL]))
    choices = {"hydra": {"runtime": {"choices": {"model": "pix2pix", "data": "pairs", "hydra/launcher": "basic"}}}}
    (folder / ".hydra/hydra.yaml").write_text(yaml.safe_dump(choices))
    status = {"state": state, "score": score, "monitor": "val/l1", "mode": "min", "pid": os.getpid(), "host": "there"}
    status |= {"error": "It </script> broke" if state == "failed" else None, "images_seen": 32}
    (folder / "status.json").write_text(json.dumps(status))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(METRICS)
    if state == "finished":
        (folder / "results.json").write_text(json.dumps(RESULTS))
    (folder / "samples").mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 40, 3), dtype=np.uint8))
    for name in ("images_000000000.png", "images_000000032.png", "evolution.png", "evolution.gif", "nearest.png"):
        picture.save(folder / "samples" / name)
    return folder


class Page(HTMLParser):
    """Tables as lists of rows of cells, figures' numbers, scripts, and all that an address could stand in."""

    VOID = ("meta", "link", "img", "input", "wbr")

    def __init__(self, html: str):
        super().__init__()
        self.tables, self.scripts, self.tags, self.texts, self.stack, self.figures = [], [], [], [], [], {}
        self.feed(html)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.stack.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "figcaption":
            self.caption = ""

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        tag = self.stack[-1] if self.stack else ""
        if tag == "script":
            self.scripts.append(data)
            if self.tags[-1][1].get("type") == "application/json":
                self.figures.setdefault(self.caption, []).append(json.loads(data))
        elif tag != "style":
            self.texts.append(data)
        if tag == "figcaption":
            self.caption += data
        if "td" in self.stack or "th" in self.stack:
            self.tables[-1][-1][-1] += data

    def tagged(self, tag: str, name: str) -> list[dict]:
        return [attributes for found, attributes in self.tags if found == tag and name in attributes]

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attributes[name] for found, attributes in self.tags if found == tag and name in attributes]


@pytest.fixture
def page(monkeypatch):
    """page(folder) -> the parsed report, without the megabyte of the plotting library."""
    monkeypatch.setattr("ganforge.report.page.library", lambda: "/* plotly */")
    return lambda folder: Page(report.write(folder, overwrite=True).read_text())


def test_tables_have_the_numbers_of_results_json(tmp_path, page):
    found = page(make(tmp_path / "run"))
    assert found.tables[0] == [
        ["", "test, best", "test, final", "shifted"],
        ["l1", "0.1235 [0.1000, 0.1500]", "0.2345", "0.5000"],
        ["psnr", "18.2500", "17.5000", ""],
        ["lost", "", "", ""],
    ]
    environment = dict(found.tables[-1])
    assert (
        environment["seed"] == "7" and environment["torch"] == "2.9.9" and environment["git commit"] == "abcdef-dirty"
    )
    assert "0.25" in found.text and "smaller is better" in found.text and "1:15" in found.text


def test_curves_have_the_numbers_of_metrics_csv(tmp_path, page):
    found = page(make(tmp_path / "run"))
    assert list(found.figures) == [
        "val/l1 (lower is better)", "train/g: loss terms", "train/d: loss terms", "learning rates"
    ]  # fmt: skip
    drawn = {(title, line["name"]): line for title, shown in found.figures.items() for line in shown[0]["lines"]}
    columns = {
        ("val/l1 (lower is better)", "all"): "val/l1",
        ("val/l1 (lower is better)", "square"): "val/l1/square",
        ("train/g: loss terms", "train/g/l1"): "train/g/l1",
        ("train/d: loss terms", "train/d/adv"): "train/d/adv",
        ("learning rates", "lr/g"): "lr/g",
    }
    assert drawn.keys() == columns.keys()
    for place, column in columns.items():
        rows = [row for row in METRICS if row[column] != ""]
        assert drawn[place]["x"] == [row["images"] for row in rows]
        assert drawn[place]["y"] == pytest.approx([row[column] for row in rows], rel=1e-5)
    assert (
        found.figures["val/l1 (lower is better)"][0]["best"] == 16
        and found.figures["learning rates"][0]["best"] is None
    )


def test_pictures_are_the_files_from_the_first_grid_to_the_newest(tmp_path, page):
    run = make(tmp_path / "run")
    found = page(run)
    shown = found.attributes("img", "src")
    names = ["images_000000032.png"]  # beside the number: there is none of the best weights, which saw 16
    names += ["images_000000000.png", "images_000000032.png", "evolution.png", "images_000000032.png", "nearest.png"]
    frames = [attributes for tag, attributes in found.tags if attributes.get("class") == "frame"]
    assert ["hidden" in attributes for attributes in frames] == [True, False]
    assert {"min": "0", "max": "1", "value": "1"}.items() <= found.tagged("input", "aria-label")[0].items()
    assert [base64.b64decode(src.split(",")[1]) for src in shown] == [
        (run / "samples" / name).read_bytes() for name in names
    ]


def with_cases(run: Path, **changes) -> dict:
    """A run whose test kept two pictures; returns what it says of them, with changes of the first."""
    (run / "samples/test").mkdir(exist_ok=True)
    cases = []
    for place, name in enumerate(("b.png", "<b>a</b>.png"), 1):
        shades = np.full((40, 4 * 40, 3), 60 * place, dtype=np.uint8)
        Image.fromarray(shades).save(run / f"samples/test/test_worst_{place}.png")
        cases.append({"picture": f"test_worst_{place}.png", "name": name, "index": place, "l1": 0.5 / place})
    cases[0] |= changes
    said = {
        "measure": "l1", "better": "min", "columns": ["source", "result", "target"], "folder": "/",
        "difference": "result and target", "largest_difference": 0.75, "worst": cases, "first": cases[1:],
    }  # fmt: skip
    results = {**RESULTS, "floor/l1": 0.5, "floor/psnr": 7.0, "ceiling/l1": 0.05, "baseline/grey/psnr": 9.0}
    (run / "results.json").write_text(json.dumps({**results, "evaluation": {"test/worst": said}}))
    return said


def test_translations_are_shown_with_names_numbers_and_what_they_lie_between(tmp_path, page):
    run = make(tmp_path / "run")
    with_cases(run)
    found = page(run)
    assert found.tables[0] == [
        ["", "floor", "grey", "result", "final", "ceiling", "better"],
        ["l1", "0.5000", "-", "0.1235 [0.1000, 0.1500]", "0.2345", "0.0500", "lower"],
        ["psnr", "7.0000", "9.0000", "18.2500", "17.5000", "-", "higher"],
        ["lost", "-", "-", "-", "-", "-", ""],
    ]
    text = found.text
    order = ["Pictures over time", "Curves", "Real beside generated", "Results", "Health of the game", "Worst cases"]
    places = [text.rindex(title) for title in order]
    assert places == sorted(places)
    for said in (
        "test: the worst by l1, lower is better", "1. b.png: l1 0.5", "2. <b>a</b>.png: l1 0.25",
        "absolute difference of result and target, from 0 (black) to 0.75 (light)", "test: the first, as they come",
        "worst of test by l1: b.png (0.5), <b>a</b>.png (0.25)",
    ):  # fmt: skip
        assert said in text
    shown = [base64.b64decode(src.split(",")[1]) for src in found.attributes("img", "src")]
    for place in (1, 2):
        assert (run / f"samples/test/test_worst_{place}.png").read_bytes() in shown
    with_cases(run, detail_picture="test_worst_2.png", detail="3 zero modes & <i>more</i>")
    detailed = page(run)
    assert len(detailed.attributes("img", "src")) == len(shown) + 1
    assert "1. b.png: 3 zero modes & <i>more</i>" in detailed.text
    many = page(tmp_path)  # beside other runs
    assert "3 zero modes" not in many.text
    assert "1. b.png: l1 0.5" in many.text and "as they come" not in many.text


def test_a_number_that_is_no_better_than_the_floor_is_marked():
    results = {"test/l1": 0.5, "floor/l1": 0.4, "test/ssim": 0.6, "floor/ssim": 0.5, "test/swd": 1.0, "floor/swd": 1.0}
    [table] = summary.of(results, ["test"])
    marked = "lower (no better than the floor)"
    assert [row[-1] for row in table.rows] == [marked, "higher", marked]


WILD = [None, True, [], {}, "x", -1, 2**64, 1e308, "../../outside.png", "/etc/passwd", "9" * 400, "a\x1b[2Jb\u202e.png"]


@pytest.mark.slow
@pytest.mark.parametrize("value", WILD, ids=repr)
def test_wild_entries_of_someone_else_are_data(tmp_path, page, value):
    run = make(tmp_path / "run")
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(tmp_path / "outside.png")
    outside = base64.b64encode((tmp_path / "outside.png").read_bytes()).decode()
    (run / "samples/test").mkdir()
    (run / "samples/test/link.png").symlink_to(tmp_path / "outside.png")
    (run / "samples/outside.png").symlink_to(tmp_path / "outside.png")
    said = with_cases(run)
    broken = [with_cases(run, **{key: value}) for key in ("picture", "name", "index", "l1", "detail_picture", "detail")]
    broken += [{**said, key: value} for key in said] + [value]
    broken += [with_cases(run, picture=name) for name in ("link.png", "../outside.png", "..", "test_worst_1.png/x")]
    for number, own in enumerate(broken):
        name = "test/worst" if number % 5 else f"<script>{value}/worst"
        (run / "results.json").write_text(json.dumps({**RESULTS, "floor/l1": value, "evaluation": {name: own}}))
        shown = page(run if number % 7 else tmp_path)
        assert outside not in "".join(shown.attributes("img", "src"))
        assert not {"\x1b", "\u202e"} & set(shown.text) and "9" * 350 not in shown.text
        assert all("outside" not in script and "<script>" not in script for script in shown.scripts)


def test_nothing_comes_from_outside(tmp_path):
    html = report.write(make(tmp_path / "run")).read_text()  # with the real library
    found = Page(html)
    addresses = [value for _, attributes in found.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"@import|url\(", (report.TEMPLATE / "style.css").read_text())
    assert any("default-src 'none'" in policy for policy in found.attributes("meta", "content"))
    assert "Plotly.react" in html
    assert len(html) - sum(map(len, found.attributes("img", "src"))) < 2e6


@pytest.mark.parametrize("state", ["finished", "failed"])
def test_text_of_files_is_only_text(tmp_path, page, state):
    run = make(tmp_path / "run", state=state)
    with (run / "metrics.csv").open("a") as file:
        file.write("48,12,1,1,1,1,1\n")
    (run / "metrics.csv").write_text(
        (run / "metrics.csv").read_text().replace("train/d/adv", "train/d/</script><script>alert(1)")
    )
    found = page(run)
    kinds = [attributes.get("type") for tag, attributes in found.tags if tag == "script"]
    assert kinds == ["application/json"] * len(found.figures) + [None, None]  # ours, at the end
    assert all("alert" not in script for script in found.scripts if not script.startswith("{"))
    assert found.figures["train/d: loss terms"][0]["lines"][0]["name"] == "train/d/</script><script>alert(1)"
    assert EVIL in found.text
    assert ("It </script> broke" if state == "failed" else "collapsed & <b>more</b>") in found.text


def write_text(path: str, text: str):
    return lambda run: (run / path).write_text(text)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (write_text("status.json", '{"state": "running", "pid": 1}'), "The run goes on"),
        (write_text("status.json", '{"state": "pruned"}'), "ended this run early"),
        (write_text("status.json", "{"), "finished"),
        (write_text("results.json", "[1"), "results.json cannot be read: it is broken"),
        (write_text("results.json", '{"test/l1": "much", "evaluation": {}}'), "make no table"),
        (write_text("results.json", '{"test/l1": 0.75}'), "0.7500"),
        (write_text("results.json", '{"test/l1": 1, "evaluation": {"test/fidelity": {}}}'), "1.0000"),
        (write_text("metrics.csv", "\0\0,,\nimages,\n\x80"), "Results"),
        (write_text("samples/evolution.png", "no picture"), "evolution.png cannot be read"),
        (write_text(".hydra/config.yaml", "a: [1"), "config.yaml cannot be read: it is broken"),
        (lambda run: (run / "metrics.csv").unlink(), "Missing in the run's folder: metrics.csv"),
        (lambda run: (run / "results.json").unlink(), "Missing in the run's folder: results.json"),
    ],
)
def test_a_broken_run_has_a_report_that_says_so(tmp_path, page, breaks, says):
    run = make(tmp_path / "run")
    breaks(run)
    assert says in page(run).text


def test_a_run_that_was_killed_or_never_began(tmp_path, page):
    killed = make(tmp_path / "killed", state="interrupted", score=None)
    found = page(killed).text
    assert "was interrupted" in found and "resume=true" in found and "'name=<script>alert(1)</script>'" in found
    (tmp_path / "began/.hydra").mkdir(parents=True)
    (tmp_path / "began/.hydra/config.yaml").write_text("seed: 3\n")
    found = page(tmp_path / "began")
    assert "neither a status nor results" in found.text and found.figures == {}
    assert ["seed", "3"] in found.tables[-1]


def test_a_sweep_is_ranked_and_compared(tmp_path, page):
    scores = {0: 0.5, 1: 0.125, 2: None, 3: 0.25, 10: 0.375}
    for job, score in scores.items():
        make(
            tmp_path / f"sweep/{job}",
            lr=10.0 ** -(job % 5),
            score=score,
            state="failed" if score is None else "finished",
            objective=f"a.b.very.long.module.{'hinge' if job < 3 else 'vanilla'}",
        )
    found = page(tmp_path / "sweep")
    head, *rows = found.tables[0]
    assert head[:7] == ["", "run", "state", "val/l1", "images", "time", "images/s"]
    assert [row[1] for row in rows] == ["1", "3", "10", "0", "2"] and rows[4][2:4] == ["failed", ""]
    assert [row[3] for row in rows] == ["0.125", "0.25", "0.375", "0.5", ""]
    assert rows[0][head.index("modellr")] == "0.1"  # above each other
    assert {f"#job-{place}" for place in range(1, 6)} <= set(found.attributes("a", "href"))
    assert [name for name in found.attributes("details", "id")] == [f"job-{place}" for place in range(1, 6)]
    shown = found.figures["Settings and val/l1: a line a run, coloured by the latter"][0]
    assert shown["names"] == ["1", "3", "10", "0"]
    axes = {axis["label"]: axis for axis in shown["axes"]}
    assert axes["model.lr"]["places"] == pytest.approx([2 / 3, 0, 1, 1], abs=1e-5)  # logarithm of 0.1, 0.001, 1, 1
    assert axes["model.objective"]["places"] == [0, 1, 1, 0]
    assert [text for _, text in axes["model.objective"]["ticks"]] == ["hinge", "vanilla"]
    assert axes["val/l1"]["places"] == pytest.approx([1, 2 / 3, 1 / 3, 0], abs=1e-5)  # the smallest above
    compared = found.figures["val/l1 of each run"][0]["lines"]
    assert [(line["name"], line["rank"]) for line in compared][:1] == [("1", 1)] and len(compared) == 4


def test_long_curves_keep_their_spikes(tmp_path):
    values = np.sin(np.arange(9000) / 500)
    values[4321] = 50
    lines = [f"{4 * index},{index},{value}" for index, value in enumerate(values)]
    (tmp_path / "metrics.csv").write_text("\n".join(("images,step,train/g/adv", *lines)))
    axis, found, _ = curves.read(tmp_path / "metrics.csv", most=1000)
    points = found["train/g/adv"]
    assert axis == "images" and 500 <= len(points) <= 1000
    assert (4 * 4321, 50) in points and points == sorted(points)
    assert points[0][0] < 100 and points[-1][0] > 4 * 8900


def test_command_line(tmp_path, capsys):
    make(tmp_path / "run")
    assert main(["report", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run/report.html").is_file() and "report.html (" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "run")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "run"), "--output", str(tmp_path / "other/page.html")]) == 0
    assert (tmp_path / "other/page.html").is_file()
    assert is_run(tmp_path / "run") and not is_run(tmp_path / "other")
    with pytest.raises(UserError, match="no run"):
        report.write(tmp_path / "other")
    with pytest.raises(UserError, match="no such folder"):
        report.write(tmp_path / "nowhere")
