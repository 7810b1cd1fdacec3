"""What each part of a report says, of runs that are files without any training; one look in a browser."""

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from PIL import Image

from ganforge.cli import main
from ganforge.commands import side_by_side
from ganforge.evaluation import intervals, reliability
from ganforge.evaluation.bonds import _intervals, _moments
from ganforge.evaluation.paired import PairedMetrics
from ganforge.report import figures, health, measures, opening, seeds, settings, side, sweep
from ganforge.report import page as report
from ganforge.report.curves import Curves
from ganforge.runs import summary
from ganforge.runs.folder import find, read
from test_report import Page, make, page, with_cases  # noqa: F401

HTML = "</script><img src=x onerror=alert(1)>"


def change(run, **results):
    (run / "results.json").write_text(json.dumps({**json.loads((run / "results.json").read_text()), **results}))


def test_the_library_is_the_one_that_was_published():
    content = gzip.decompress((report.LIBRARY / "plotly-basic.min.js.gz").read_bytes())
    known = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
    assert hashlib.sha256(content).hexdigest() == known and b"Licensed under the MIT license" in content[:300]
    assert "Permission is hereby granted" in (report.LIBRARY / "LICENSE").read_text()
    assert b"</script" not in content.lower() and len(content) < 1.3e6


def test_the_opening_has_the_number_its_interval_and_what_was_run(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    with_cases(run)
    change(run, **{"test/generated_images": None})
    config = {"seed": 7, "data": {"source_channels": 1, "size": 64, "n_train": 2000, "n_test": 30}}
    (run / ".hydra/config.yaml").write_text(yaml.safe_dump(config))
    text = page(run).text
    for said in (
        "95 % interval: 0.100 to 0.150", "30 unseen pictures, best weights; ↓ lower is better",
        "L1: mean absolute difference to the true picture", "the sources as they are0.5", "real pictures0.05",
        "pix2pix on pairs, pictures of 64 px, 2,000 to train on, seed 7. It saw 32 images in 1:15 (32-true).",
    ):  # fmt: skip
        assert said in text
    assert text.index("0.1235") < text.index("Pictures over time")
    assert (
        opening.said(0.99987) == "0.9999" and opening.said(0.999987) == "0.999987" and opening.said(4660.2) == "4,660"
    )


def test_a_number_without_an_interval_says_so(tmp_path):
    run = make(tmp_path / "run")
    change(run, **{"test/l1/low": None})
    assert opening.number(read(run))["without"] == "The run wrote no interval for it"
    change(run, evaluation={"test/paired": {"intervals": {"l1": [0.1, 0.2]}}})
    assert opening.number(read(run))["interval"] == "0.10 to 0.20"
    change(run, evaluation={"test/paired": {"intervals": {"l1": [0.3, HTML]}}})
    assert opening.number(read(run))["interval"] is None
    unfinished = opening.number(read(make(tmp_path / "other", state="interrupted")))
    assert unfinished["value"] == "0.25" and "there was no test" in unfinished["of"]
    assert opening.number(read(make(tmp_path / "none", state="failed", score=None))) is None


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ((2e-4, 2e-4), 0, 2.4e-4),  # a constant rate
        ((3.0, 3.0 + 1e-9), 0, 3.6),
        ((-2.0, -2.0), -2.4, 0),
        ((0.0, 0.0), -0.05, 1),
        ((1.0, 9.0), -0.18, 9.4),
        ((8.0, 9.0), 7.95, 9.05),
        ((-1.0, 1.0), -1.1, 1.1),
    ],
)
def test_axes_reach_a_little_beyond_what_they_show(values, low, high):
    assert figures.reach(*values) == pytest.approx([low, high], rel=1e-4)


def test_a_single_point_stands_on_an_axis_of_its_own(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    (run / "metrics.csv").write_text("images,step,lr/g,val/l1\n0,0,0.0002,0.5\n")
    alone = page(run).figures["learning rates"][0]
    assert alone["x_range"] == [-1, 1] and alone["y_range"] == pytest.approx([0, 2.4e-4])
    (run / "metrics.csv").write_text("images,step,lr/g,val/l1\n100,1,0.0002,\n1000,9,0.0002,0.5\n")
    found = page(run).figures
    assert found["learning rates"][0]["x_range"] == found["val/l1 (lower is better)"][0]["x_range"] == [-20, 1020]


def test_curves_of_bands_are_beside_each_other_and_one_band_is_left_out(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    head = "images,step,val/bond_f1,val/disorder_0.1/bond_f1,val/disorder_0.1/bond_f1/kagome"
    (run / "metrics.csv").write_text(f"{head}\n9,1,0.5,0.5,0.5\n")
    assert list(page(run).figures) == ["val/bond_f1 (higher is better)"]
    (run / "metrics.csv").write_text(f"{head},val/disorder_0.2/bond_f1\n9,1,0.5,0.5,0.5,0.25\n")
    lines = page(run).figures["val/bond_f1 by disorder"][0]["lines"]
    assert [(line["name"], line["y"]) for line in lines] == [("up to 0.1", [0.5]), ("up to 0.2", [0.25])]


def test_every_measure_is_explained_with_the_direction_that_is_better(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    change(run, **{"test/fd/simple": 3.0, "test/diversity": 0.9, "test/unheard_of": 1.0})
    found = page(run)
    text = " ".join(found.text.split())
    assert "l1 L1 ↓ lower is better mean absolute difference" in text.replace("better", "better ").replace("  ", " ")
    assert "Fréchet distance" in text and "near 1 is right" in text
    rows = {row[0]: row for row in found.tables[0]}
    assert "unheard_of" in rows
    directions = [attributes.get("class") for tag, attributes in found.tags if attributes.get("scope") == "row"]
    assert directions[:2] == ["lower", "higher"]  # l1, psnr


def test_what_is_better_is_the_same_in_the_terminal():
    names = "bond_f1 psnr psnr_ab ssim l1 cycle_l1 fid kid is swd duplicates r2 site_shift_px network_exact site_recall"
    for name in [*names.split(), "fd/simple", "kd/simple", "precision/simple", "perceptual/squeezenet", "mae/B2"]:
        assert measures.of(name) is not None and measures.better(name) == summary.better(name) != ""
    assert measures.of("bond_f1/kagome") is measures.of("bond_f1") and measures.better("diversity") == ""
    assert measures.limits("bond_f1") == (0, 1) and measures.limits("fid/inception")[0] == 0


def said(run, axis="images", **points):
    found = health.of_run(run, Curves(axis, {name.replace("__", "/"): rows for name, rows in points.items()}))
    return " ".join(f"[{kind}] {text}" for kind, text in found)


def test_the_health_of_the_game_is_told_in_words(tmp_path):
    run = read(make(tmp_path / "run"))
    assert "[warning] 1 alarm during the training: [warning] The generator has collapsed & <b>more" in said(run)
    assert "which it did not reach" in said(read(make(tmp_path / "failed", state="failed")))
    run.results["warnings"] = []
    assert "[good] No alarm was raised" in said(run)
    run.config["callbacks"] = {"health": None}
    assert "were switched off (callbacks.health)" in said(run)
    real, fake = [(step, 0.98) for step in range(20)], [(step, 0.99) for step in range(20)]
    told = said(run, train__d__accuracy_real=real, train__d__accuracy_fake=fake)
    assert "told 98 % of the real and 99 % of the generated images right: ahead" in told
    fading = [(step, 10.0) for step in range(10)] + [(step, 0.001) for step in range(90)]
    assert "gradient has vanished: a norm of 0.001, once 10" in said(run, train__g__grad_norm=fading)
    alike = [(step, 0.2) for step in range(9)]
    assert "differed 0.20 times as much as real ones, so it draws too much" in said(
        run, train__g__batch_diversity=alike
    )
    worse = said(run, val__l1=[(16, 0.25), (32, 0.5)])
    assert "came after 16 of 32 images; since then val/l1 has got worse, from 0.25 to 0.5" in worse
    assert "it has not got better since" in said(run, val__l1=[(16, 0.25), (32, 0.251)])
    run.results["best_checkpoint_images_seen"] = 32
    assert "a longer training may still help" in said(run, val__l1=[(16, 0.5), (32, 0.25)])
    run.results |= {"floor/l1": 0.1}
    assert "[warning] On unseen pictures the result is no better than the sources as they are (0.1235 against 0.1)" in (
        said(run)
    )


def test_settings_that_differ_from_the_defaults_are_marked(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    default, choices = settings.defaults((("model", "dcgan"), ("data", "mnist")))
    assert choices["model"] == "dcgan" and default["seed"] == 0
    config = {"seed": 3, "data": {"root": HTML, "n_val": default["data.n_val"]}, "own": 1}
    (run / ".hydra/config.yaml").write_text(yaml.safe_dump(config))
    groups = {"model": "dcgan", "data": "mnist"}
    (run / ".hydra/hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": groups}}}))
    (run / ".hydra/overrides.yaml").write_text("- seed=3\n")
    found = settings.of_run(read(run))
    changed = {key: (value, usual, given) for key, value, usual, given in found["changed"]}
    assert changed["seed"] == ("3", "0", True) and changed["own"] == ("1", "not there", False)
    assert "data.n_val" not in changed and changed["data.root"][0] == HTML
    shown = page(run)
    assert ["seed", "3", "0"] in shown.tables[-3] and HTML in shown.text
    assert not shown.tagged("img", "onerror")


@pytest.mark.parametrize("choice", ["../data/mnist", "nothing", "a b", "/etc/passwd", "dcgan,data=mnist", HTML])
def test_choices_of_someone_else_are_never_composed(tmp_path, choice, page):  # noqa: F811
    assert settings.defaults((("model", choice),)) is None
    run = make(tmp_path / "run")
    (run / ".hydra/hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": {"model": choice}}}}))
    assert "The defaults of these choices are not known here" in page(run).text


def test_a_reliability_diagram_is_drawn_of_the_bins(tmp_path, page):  # noqa: F811
    rows = np.array([[0.2, 0]] * 40 + [[0.2, 1]] * 10 + [[0.8, 1]] * 45 + [[0.8, 0]] * 5)
    bins = reliability.table(rows)
    assert [row[:2] + row[4:] for row in bins] == [pytest.approx([0.2, 0.2, 50]), pytest.approx([0.8, 0.9, 50])]
    assert bins[1][2:4] == pytest.approx(intervals.of_share(0.9, 50))
    assert reliability.table(np.zeros((0, 2))) == []
    run = make(tmp_path / "run")
    numbers = {"test/calibration_error": 0.05, "test/calibration_error_by_chance": 0.04, "test/doubtful": 100.0}
    wild = [None, [1, 2], [0.5, 0.5, 0, 1, HTML], [0.5, 7, 0, 1, 50], [0.5, 0.5, 0, 1, -1], HTML]
    own = {"reliability": [*bins, *wild], "reliability/picture": "/etc/passwd"}
    change(run, evaluation={"test/networks": own, f"{HTML}/networks": own}, **numbers)
    found = page(run)
    dots = [(float(dot["cx"]), float(dot["cy"])) for tag, dot in found.tags if tag == "circle"]
    assert dots[:2] == [(116.0, 254.0), (296.0, 44.0)] and len(dots) == 4
    assert "said 80%, true 90% of 50 pairs" in found.text
    assert "no more than chance explains, from 100 doubtful pairs" in found.text
    assert not found.tagged("img", "onerror")


def test_the_diagram_of_an_older_run_is_its_own_picture(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    Image.new("RGB", (9, 9)).save(run / "samples/reliability_test.png")
    outside = tmp_path / "reliability_secret.png"
    Image.new("RGB", (7, 7), "red").save(outside)
    (run / "samples/reliability_secret.png").symlink_to(outside)
    drawn = base64.b64encode((run / "samples/reliability_test.png").read_bytes()).decode()
    hidden = base64.b64encode(outside.read_bytes()).decode()
    for path, is_there in (("/a/reliability_test.png", True), (str(outside), False), ("../../x.png", False)):
        change(run, evaluation={"test/networks": {"reliability/picture": path}})
        sources = "".join(page(run).attributes("img", "src"))
        assert (drawn in sources) == is_there and hidden not in sources


def test_real_pictures_stand_beside_generated_ones_and_long_runs_keep_their_best(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    (run / ".hydra/config.yaml").write_text("data: {size: 32, n_test: 10}\n")  # from noise
    Image.new("RGB", (12, 12), "blue").save(run / "samples/real.png")
    text = page(run).text
    assert text.index("Real beside generated") < text.index("real.png") < text.index("What the numbers mean")
    for number in range(60):
        Image.new("L", (8, 8), number).save(run / f"samples/images_{number + 100:09d}.png")
    change(run, best_checkpoint_images_seen=117)
    text = page(run).text
    assert "after 117 images, the best" in text and "after 0 images" in text and "after 159 images" in text
    frames = [tag for tag, attributes in page(run).tags if attributes.get("class") == "frame"]
    assert 24 <= len(frames) <= 25


def test_perfect_pictures_are_not_called_the_worst(tmp_path, page):  # noqa: F811
    run = make(tmp_path / "run")
    said_of = with_cases(run)
    said_of["better"] = "max"
    said_of["worst"][0] |= {"l1": 1.0}
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({**results, "evaluation": {"test/worst": said_of}}))
    assert "all others have a l1 of 1, the best there is" in page(run).text
    said_of["worst"][1] |= {"l1": 1.0}
    (run / "results.json").write_text(json.dumps({**results, "evaluation": {"test/worst": said_of}}))
    assert "no picture of the test has a worse l1 than 1" in page(run).text


def family(folder, **scores):
    """Runs that differ in seed, and in their rate by the first letter of their names."""
    for seed, (name, score) in enumerate(scores.items()):
        run = make(folder / name, lr=0.1 if name.startswith("a") else 0.2, score=score)
        config = yaml.safe_load((run / ".hydra/config.yaml").read_text())
        (run / ".hydra/config.yaml").write_text(yaml.safe_dump({**config, "seed": seed}))
        overrides = [f"seed={seed}", f"model.lr={config['model']['lr']}"]
        (run / ".hydra/overrides.yaml").write_text(yaml.safe_dump(overrides))
        change(run, **{"test/l1": score, "duration_s": 60.0 * (seed + 1), "test/psnr": 20.0})
    return folder


def test_runs_of_several_seeds_have_a_mean_with_an_interval(tmp_path, page):  # noqa: F811
    found = page(family(tmp_path, a0=0.1, a1=0.2, a2=0.3, b=0.4))
    head, *rows = found.tables[0]
    assert head[:3] == ["settings", "runs", "L1, test"] and head[-2:] == ["time, mean", "images/s, mean"]
    # 0.2 ± 4.3027 · 0.1 / √3, of which nothing is below 0
    assert rows[0][:3] == ["lr 0.1", "3", "0.20.00 to 0.45"] and rows[0][-2:] == ["2:00", "12.2"]
    assert rows[1][:3] == ["lr 0.2", "1", "0.4"] and "20all equal" in rows[0]
    assert "L1, test, the mean of lr 0.1" in found.text and "95 % interval: 0.00 to 0.45" in found.text
    assert seeds.interval([0.1, 0.2, 0.3]) == pytest.approx((0.2 - 0.24841, 0.2 + 0.24841), abs=1e-4)
    assert seeds.interval([1.0]) is None
    cost = found.figures["Cost: val/l1 (lower is better) over the time of each run"][0]
    assert {line["name"]: (line["x"], line["y"]) for line in cost["lines"]}["b"] == ([4], [0.4])
    assert "Together they took 10:00" in found.text


def test_runs_of_any_folders_are_one_page(tmp_path, capsys, monkeypatch):
    one, other = family(tmp_path / "one", a0=0.1, a1=0.2), family(tmp_path / "other", b0=0.3)
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(one), str(other / "b0"), str(one / "a0")]) == 0  # a0 is there once
    text = Page((tmp_path / "report.html").read_text()).text
    assert "3 runs" in text and "one/a0" in text and "report.html (" in capsys.readouterr().out
    assert main(["report", str(one), str(other)]) == 1
    assert "already there" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["report", str(one), str(tmp_path / "empty"), "-o", "x.html"]) == 1
    assert "empty: no run in it" in capsys.readouterr().err


def strip(shades, side_px=32):
    """A row of squares as a test leaves it: 4 px between them, a heading of 15 px, no scale."""
    page_ = np.full((15 + side_px + 8, 4 + len(shades) * (side_px + 4), 3), 153, dtype=np.uint8)
    for place, shade in enumerate(shades):
        left = 4 + place * (side_px + 4)
        page_[-side_px - 4 : -4, left : left + side_px] = shade
    return Image.fromarray(page_)


def compared(folder, prints, **more):
    for number, name in enumerate(prints):
        run = make(folder / f"run{number}", score=0.1 + number)
        config = yaml.safe_load((run / ".hydra/config.yaml").read_text())
        config["data"] |= {"size": 32}
        (run / ".hydra/config.yaml").write_text(yaml.safe_dump(config))
        (run / "samples/test").mkdir()
        cases = []
        for place in range(2):
            strip((10 + place, 100 * number + place, 250)).save(run / f"samples/test/first_{place}.png")
            cases.append({"picture": f"first_{place}.png", "name": f"picture {place}", "index": place, "l1": 0.5})
        said_of = {"columns": ["source", "result", "target"], "difference": None, "first": cases, **more}
        change(run, evaluation={"test/worst": said_of}, data_fingerprint=name)
    return [read(folder / f"run{number}") for number in range(len(prints))]


def shades(row):
    opened = [Image.open(io.BytesIO(base64.b64decode(cell["content"]))) for cell in row["cells"]]
    return [(picture.size, picture.getpixel((16, 16))[0]) for picture in opened]


def test_the_same_pictures_stand_side_by_side(tmp_path):
    found = side.of_runs(compared(tmp_path, ["same", "same"]), None)
    assert found["columns"] == ["picture 0", "picture 1"]
    assert [row["name"] for row in found["rows"]] == ["source", "run0", "run1", "target"]
    size = (32, 32)
    assert [shades(row) for row in found["rows"]] == [
        [(size, 10), (size, 11)], [(size, 0), (size, 1)], [(size, 100), (size, 101)], [(size, 250), (size, 250)],
    ]  # fmt: skip


def test_runs_of_other_data_translate_the_pictures_of_the_best(tmp_path):
    runs = compared(tmp_path, ["one", "other"])
    assert side.of_runs(runs, None) is None
    asked = []

    def draw(given, sources):
        asked.append([source[0, 0, 0] for source in sources])
        return [[255 - source for source in sources], "its checkpoint is <b>lost</b>"]

    rows = side.of_runs(runs, draw)["rows"]
    assert asked == [[10, 11]] and shades(rows[1]) == [((32, 32), 245), ((32, 32), 244)]
    html = report.of_sweep(runs, "many", draw)
    assert "its checkpoint is &lt;b&gt;lost&lt;/b&gt;" in html
    assert side_by_side.draw(runs, None) == ["its checkpoint is no longer there"] * 2


@pytest.mark.parametrize(
    "more",
    [
        {"columns": HTML}, {"columns": ["a"]}, {"columns": ["a"] * 9}, {"difference": "x"}, {"first": HTML},
        {"first": [{"picture": "../../x.png"}]}, {"first": [{"picture": None}, 3, {"picture": "first_0.png"}]},
    ],
)  # fmt: skip
def test_rows_of_pictures_of_someone_else_are_left_out_or_shown(tmp_path, more):
    runs = compared(tmp_path, ["same", "same"], **more)
    html = report.of_sweep(runs, "many", None)
    assert HTML not in html and sweep.of_sweep(runs)["lead"].startswith("2 runs")


def test_latents_are_drawn_by_each_run(tmp_path):
    family(tmp_path, a0=0.1, a1=0.2)
    runs = find(tmp_path)
    for run in runs:
        run.config["data"] = {"size": 8}
    drawn = [np.full((8, 8, 1), 30 * number, dtype=np.uint8) for number in range(8)]
    found = side.of_runs(runs, lambda given, sources: [drawn, "it has no latents"] if sources is None else None)
    assert len(found["columns"]) == 8 and [len(row["cells"]) for row in found["rows"]] == [8, 0]
    assert "from the same latents" in found["note"]


def test_intervals_of_bonds_and_of_pictures():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(10, 30, 100), rng.binomial(4, 0.1, 100)], axis=1)  # right and wrong bonds
    found = _intervals(*np.sum([_moments(*row) for row in rows.tolist()], axis=0))
    drawn = rows[rng.integers(0, 100, (4000, 100))].sum(axis=1)  # a bootstrap of the networks
    f1 = 2 * drawn[:, 0] / (2 * drawn[:, 0] + drawn[:, 1])
    assert found["bond_f1"] == pytest.approx(np.quantile(f1, [0.025, 0.975]), abs=5e-4)
    exact = float((rows[:, 1] == 0).mean())
    assert found["network_exact"] == pytest.approx(intervals.of_share(exact, 100))
    for sure in ((20, 0), (0, 20)):  # nothing varies, which does not mean that nothing could
        assert "bond_f1" not in _intervals(*np.multiply(_moments(*sure), 9))
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    metric, target = PairedMetrics(), torch.zeros(2, 1, 16, 16)
    assert "intervals" not in metric.describe()
    for shift in (0.2, 0.4):
        generated = torch.stack([torch.full((1, 16, 16), 2 * shift), torch.full((1, 16, 16), 2 * shift + 0.2)])
        metric.update({"target": target}, generated, None)
    values = np.array([0.2, 0.3, 0.4, 0.5])  # on the scale [0, 1]
    half = 1.959964 * values.std(ddof=1) / 2
    assert metric.describe()["intervals"]["l1"] == pytest.approx((0.35 - half, 0.35 + half), abs=1e-5)
    grey = torch.full((4, 1, 16, 16), 0.5)
    lighter = grey + torch.from_numpy(values).float().view(4, 1, 1, 1)
    similar = structural_similarity_index_measure(lighter, grey, data_range=1.0, reduction="none")
    assert metric.compute()["ssim"] == pytest.approx(float(similar.mean()), rel=1e-3)
    half = 1.959964 * float(similar.std()) / 2
    found = metric.describe()["intervals"]["ssim"]
    assert found[1] - found[0] == pytest.approx(2 * half, rel=1e-3)
    metric.reset()
    assert "intervals" not in metric.describe()


@pytest.mark.slow
def test_a_browser_draws_every_figure_and_the_pictures_move(tmp_path):
    browser = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("there is no Chromium")
    family(tmp_path / "runs", a0=0.1, a1=0.2)
    probe = """<script>addEventListener("load", () => setTimeout(() => {
      const range = document.querySelector(".frames input");
      if (range) { range.value = 0; range.dispatchEvent(new Event("input")); }
      const smooth = document.querySelector("input.smooth");
      if (smooth) { smooth.value = 0.9; smooth.dispatchEvent(new Event("change")); }
      const shown = [...document.querySelectorAll(".frame")].map((frame) => !frame.hidden);
      const open = [...document.querySelectorAll("figure.panel")].filter((one) => !one.closest("details:not([open])"));
      document.title = JSON.stringify([open.length, open.filter((one) => one.querySelector(".main-svg")).length, shown,
        document.documentElement.scrollWidth <= innerWidth]);
    }, 3000));</script></body>"""
    for name, folder in (("run", tmp_path / "runs/a0"), ("family", tmp_path / "runs")):
        html = report.write(folder, output=tmp_path / f"{name}.html").read_text()
        (tmp_path / "probe.html").write_text(html.replace("</body>", probe))
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=800,1200", "--dump-dom"]
        command += ["--virtual-time-budget=9000", f"--user-data-dir={tmp_path / 'profile'}"]
        dom = subprocess.run(
            [*command, (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, check=True, timeout=120
        ).stdout
        title = dom.partition("<title>")[2].partition("</title>")[0]
        figures_, drawn, shown, fits = json.loads(title)
        assert figures_ == drawn >= 3 and fits
        assert name == "family" or shown == [True, False]
