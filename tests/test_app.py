"""ganforge app: every page, and whatever is dropped on it."""

import hashlib
import importlib.util
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("streamlit", reason="the extra app is not installed")
from streamlit.testing.v1 import AppTest

from browser import CHROMIUM, browser
from conftest import ROOT, TINY_PIX2PIX, composed
from ganforge import cli
from ganforge.app import networks as network_page
from ganforge.app import run as run_page
from ganforge.app import shared, uploads, views
from ganforge.commands import app as command
from ganforge.commands import interpolate, predict, sample
from ganforge.experiment import run
from ganforge.lattice import Style, draw, patch
from ganforge.pictures import rasters
from ganforge.pictures.raster_data import Raster
from ganforge.runs import from_url
from ganforge.runs.entries import entries
from test_export import checkpoint_of
from test_fetched import Server

LATTICE = [
    *TINY_PIX2PIX, "data.size=32", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3",
    "trainer.max_epochs=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def lattices(tmp_path_factory):
    """Two runs on networks in a folder; of the second the warnings and the best number are others."""
    folder = tmp_path_factory.mktemp("runs")
    run(composed(LATTICE, folder / "first"))
    (folder / "first/.hydra").mkdir()
    choices = {"hydra": {"runtime": {"choices": {"model": "pix2pix", "data": "lattice"}}}}
    (folder / "first/.hydra/hydra.yaml").write_text(json.dumps(choices))
    (folder / "first/.hydra/config.yaml").write_text(json.dumps({"data": {"cells": [2, 3]}}))
    shutil.copytree(folder / "first", folder / "second")
    results = json.loads((folder / "second/results.json").read_text())
    results |= {"warnings": ["the *generator* has collapsed"], "test/l1": 0.125}
    (folder / "second/results.json").write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """models(name) -> a checkpoint of random weights."""
    folder, made = tmp_path_factory.mktemp("models"), {}

    def model(name: str):
        made[name] = made.get(name) or checkpoint_of(name, folder)
        return made[name]

    return model


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def page(*paths, is_local: bool = True, **asked: str) -> AppTest:
    """The page as its visitor finds it at an address such as ?page=All runs."""

    def script(paths, is_local):
        from ganforge.app import pages

        pages.show(paths, is_local)

    found = AppTest.from_function(script, args=(list(map(str, paths)), is_local), default_timeout=120)
    for name, value in asked.items():
        found.query_params[name] = value
    return found.run()


def said(found: AppTest, *kinds: str) -> str:
    """All texts on the page, or those of some kinds, without the marks that keep them plain."""
    kinds = kinds or ("header", "subheader", "markdown", "caption", "error", "warning", "info", "success", "metric")
    texts = (f"{getattr(one, 'label', '')} {one.value}" for kind in kinds for one in found.get(kind))
    return "\n".join(texts).replace("\\", "")


def choose(found: AppTest, label: str, value) -> AppTest:
    """Of a group of buttons."""
    next(one for one in found.get("button_group") if one.label == label).set_value(value)
    return found.run()


def drop(found: AppTest, *files: tuple[str, bytes]) -> AppTest:
    found.file_uploader[0].set_value([(name, content, "image/png") for name, content in files])
    return found.run()


def results_of(found: AppTest) -> list:
    return [one for one in found.session_state["translated"].values() if isinstance(one, uploads.Result)]


def picture(height: int = 20, width: int = 23, kind: str = "PNG", mode: str = "RGB") -> bytes:
    values = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(values).convert(mode).save(content, kind)
    return content.getvalue()


def predicted(checkpoint, content: bytes, name: str, folder, **options) -> dict[str, bytes]:
    """What the command writes."""
    file = folder / name
    file.write_bytes(content)
    written = predict.predict(checkpoint, [file], folder / "out", overwrite=True, **options)
    return {path.name: path.read_bytes() for path in written}


@pytest.mark.slow
def test_pictures_of_any_size_and_format_are_what_the_command_writes(models, tmp_path, disk):
    checkpoint = models("unet")
    files = {
        "a.png": picture(20, 23), "b.jpg": picture(37, 16, "JPEG"), "c.tif": picture(16, 16, "TIFF", "L"),
        "d.webp": picture(50, 90, "WEBP"),
    }  # fmt: skip
    found = drop(page(checkpoint), *files.items())
    assert not found.exception and not found.error
    for result, (name, content) in zip(results_of(found), files.items(), strict=True):
        assert result.files == predicted(checkpoint, content, name, tmp_path)
        assert result.view(name).shape[:2] == result.before.shape[:2] == result.size
    assert [one.label.replace("\\", "") for one in found.get("download_button")] == [
        "Download all (4 files, ZIP)", *(f"Download {name}" for name in files)
    ]  # fmt: skip
    compared = [one.proto.srcdoc for one in found.get("iframe")]
    assert len(compared) == 4
    assert all(views.address(one.before) in html and views.address(one.view(name)) in html
               for one, name, html in zip(results_of(found), files, compared, strict=True))  # fmt: skip
    assert list(disk.iterdir()) == []


def test_what_was_translated_is_not_translated_again(models, monkeypatch):
    found = drop(page(models("unet")), ("a.png", picture()))
    first = results_of(found)
    monkeypatch.setattr(predict, "write", lambda *_, **__: 1 / 0)
    assert results_of(found.run()) == first and not found.error
    found.checkbox(key="full size").check().run()
    assert "not foreseen (ZeroDivisionError)" in said(found, "error") and not found.exception


def test_all_results_in_one_archive(models):
    found = drop(page(models("unet")), ("a.png", picture(20)), ("a.png", picture(21)))
    with zipfile.ZipFile(io.BytesIO(uploads.archive(results_of(found)))) as archive:
        assert archive.namelist() == ["a.png", "a_2.png"]
        assert Image.open(io.BytesIO(archive.read("a_2.png"))).size == (23, 21)


def test_directions_domains_and_bands(models, tmp_path):
    content = picture(16, 16, mode="L")
    found = drop(choose(page(models("cyclegan")), "Direction", "BtoA"), ("a.png", content))
    assert results_of(found)[0].files == predicted(models("cyclegan"), content, "a.png", tmp_path, direction="BtoA")

    content = picture(16, 16)
    found = drop(page(models("stargan")), ("a.png", content))
    found.selectbox(key="to").select("striped").run()
    assert results_of(found)[0].files == predicted(models("stargan"), content, "a.png", tmp_path, to="striped")
    found.selectbox(key="to").select("each of them").run()
    assert list(results_of(found)[0].files) == ["a_plain.png", "a_striped.png", "a_dotted.png"]
    assert not found.error and not found.exception

    values = np.random.default_rng(0).integers(0, 4000, (24, 40, 2)).astype(np.uint16)
    rasters.write(tmp_path / "scene.tif", Raster(values, ("B0", "B1")))
    content = (tmp_path / "scene.tif").read_bytes()
    found = drop(page(models("bands")), ("scene.tif", content))
    (result,) = results_of(found)
    assert result.files == predicted(models("bands"), content, "scene.tif", tmp_path)
    (tmp_path / "result.tif").write_bytes(result.files["scene.tif"])
    assert rasters.header(tmp_path / "result.tif").dtype == "uint16"
    assert list(result.bands) == ["T0", "T1", "T2", "T3"]
    found.selectbox(key="band 0").select("T3").run()
    grey = result.view("scene.tif", "T3")
    assert (grey[..., 0] == grey[..., 2]).all() and views.address(grey) in found.get("iframe")[0].proto.srcdoc


@pytest.mark.slow
def test_colour_for_black_and_white(models, tmp_path):
    found = page(models("colorize"))
    assert "Colour for black and white" in said(found, "header")
    drop(found, ("old.png", picture(600, 1200)))
    (result,) = results_of(found)
    assert result.files == predicted(models("colorize"), picture(600, 1200), "old.png", tmp_path)
    assert (result.before[..., 0] == result.before[..., 2]).all()
    choose(found, "Longer side, at most", "512 px")
    (result,) = results_of(found)
    assert Image.open(io.BytesIO(result.files["old.png"])).size == (512, 256)


@pytest.mark.slow
def test_networks_with_their_bonds_probabilities_and_mechanics(lattices, tmp_path, monkeypatch):
    drawing = draw(patch("square", (3, 3)), 100, Style(dot_radius=6, line_width=3))
    content = io.BytesIO()
    Image.fromarray(drawing.source).save(content, "PNG")
    found = page(lattices / "first")
    drop(found, ("net.png", content.getvalue()))
    assert not found.exception and not found.error
    (result,) = results_of(found)
    assert result.files == predicted(lattices / "first", content.getvalue(), "net.png", tmp_path)
    assert result.files.keys() == {"net.png", "net.json", "net.graphml", "net_sites.png"}
    # With the true bonds in the file, the page tells the true mechanics.
    plain = json.loads(result.files["net.json"])
    plain |= {"bonds": drawing.network.bonds.tolist(), "sites": drawing.network.sites.tolist()}
    plain |= {"probabilities": [0.75] + [1.0] * 11, "doubtful_other_pairs": [[0, 4]]}
    result.files["net.json"] = json.dumps(plain | {"doubtful_other_probabilities": [0.25]}).encode()
    result.mechanics = None
    found.run()
    told = said(found, "caption")
    assert "9 sites, 12 bonds, zero modes beyond the 3 rigid motions: 3" in told  # 2 * 9 - 3 - 12
    table = found.table[0].value
    assert dict(zip(table[""], table["value"], strict=True))["Maxwell count"] == "3"
    (candidates,) = {tuple(one["probability"]) for one in (found.dataframe[0].value,)}
    assert candidates == (0.75, *[1.0] * 11)
    shown = []
    monkeypatch.setattr(network_page, "picture", lambda *given: shown.append(given) or Image.new("RGB", (9, 9)))
    choose(found, "Show", "Probabilities")
    assert shown[-1][2].pairs[shown[-1][2].is_doubtful].tolist() == [drawing.network.bonds[0].tolist(), [0, 4]]
    choose(found, "Show", "Softest modes")
    found.select_slider(key="mode 0").set_value(3).run()
    assert np.array_equal(shown[-1][1], result.mechanics[1].modes[2])


def test_the_bonds_lie_on_the_picture_that_was_given(lattices):
    drawing = draw(patch("square", (3, 3)), 100, Style(dot_radius=6, line_width=3))
    given = np.repeat(drawing.source.reshape(100, 100, 1), 3, axis=2)
    result = uploads.Result("a", {}, [], 0.0, given, (100, 100), ())
    shown = network_page._over(result, drawing.network)
    assert shown.shape == (700, 700, 3)
    start, end = drawing.network.sites[drawing.network.bonds[0]]
    x, y = (7 * (start + end) / 2).round().astype(int)
    assert shown[y, x].tolist() == [20, 140, 60]


def test_a_list_of_sites_is_a_network_too(lattices):
    sites = "\n".join(f"{x},{y}" for x in range(3) for y in range(3))
    found = drop(page(lattices / "first"), ("sites.csv", f"x,y\n{sites}".encode()))
    assert not found.exception and not found.error
    (result,) = results_of(found)
    assert result.files.keys() == {"sites.png", "sites.json", "sites.graphml"} and result.before is None


def test_samples_are_those_of_the_command(models, lattices):
    found = page(models("cgan"))
    assert "Draw samples" in said(found, "header")
    found.number_input(key="count").set_value(5)
    found.number_input(key="seed").set_value(3)
    found.selectbox(key="class").select("b")
    found.slider(key="truncation").set_value(0.5)
    found.run()
    assert not found.exception and not found.error
    generator = sample.load_sampler(models("cgan"))
    expected = list(sample.pictures(generator, 5, class_name="b", truncation=0.5, seed=3))
    path, mark = models("cgan"), shared.stamp(models("cgan"))
    from ganforge.app import samples

    assert np.array_equal(samples._drawn(str(path), mark, 5, 3, "b", 0.5), expected)
    with zipfile.ZipFile(io.BytesIO(samples._archive(expected))) as archive:
        assert archive.namelist() == [f"{number:06d}.png" for number in range(5)]
        assert np.array_equal(np.array(Image.open(archive.open("000004.png"))), expected[4][..., 0])
    assert len(found.get("imgs")[0].value) == 5 if found.get("imgs") else len(found.image[0].value) == 5

    found.text_input(key="walk").set_value("0,4").run()
    assert found.slider(key="place").max == 8
    found.slider(key="place").set_value(4).run()
    assert "0 → 4, 50%" in str([one.captions for one in found.image])
    frames = interpolate.drawn(generator, interpolate.walked(generator, [0, 4], 8, 0.5, 3), "b")
    assert np.array_equal(samples._walked(str(path), mark, (0, 4), 3, "b", 0.5), frames)
    for wrong in ("a,b", "1", "-3,4"):
        found.text_input(key="walk").set_value(wrong).run()
        assert len(found.error) == 1 and not found.exception


def test_a_run_is_looked_at(lattices):
    found = page(lattices / "second", page="Look at the run")
    assert "20" not in said(found, "error") and "the *generator* has collapsed" in said(found, "warning")
    assert any("the \\*generator\\*" in one.value for one in found.warning)  # not in italics
    assert {one.label: one.value for one in found.metric}["Images seen"] == "8"
    assert len(found.dataframe) >= 2
    choose(found, "Show", "Curves")
    assert len(found.get("plotly_chart")) == 1
    found.selectbox(key="panel").select("val/psnr").run()
    (line,) = json.loads(found.get("plotly_chart")[0].proto.spec)["data"]
    assert line["name"] == "val/psnr" and line["x"] == [4, 8]
    choose(found, "Show", "Over time")
    assert list(run_page.grids(run_page.folder.read(lattices / "second"))) == [0, 4, 8]
    found.select_slider[0].set_value(4).run()
    assert found.image[0].captions == ["after 4 images"]
    choose(found, "Show", "Test pictures")
    assert "test: the worst" in said(found, "markdown") and "f1 0" in found.image[0].captions[0]
    choose(found, "Show", "Settings")
    assert not found.exception and not found.error
    assert "data.cells" in list(found.dataframe[0].value["setting"])


def test_two_runs_are_compared(lattices):
    found = page(lattices, run="first", page="Compare runs")
    assert not found.exception and not found.error
    numbers = found.dataframe[0].value.set_index("number")
    assert numbers.loc["test/l1", "second"] == "0.125" and numbers.loc["test/l1", "better"] == "lower"
    assert numbers.loc["test/l1", "first"] != "0.125"
    lines = json.loads(found.get("plotly_chart")[0].proto.spec)["data"]
    assert [line["name"] for line in lines] == ["first: val/bond_f1", "second: val/bond_f1"]
    assert len(found.image) == 2


def test_all_runs_have_their_model_best_number_and_a_picture(lattices, models):
    found = page(lattices, models("unet"))
    rows = found.dataframe[0].value
    assert list(rows["name"]) == ["first", "second", "best.ckpt"]
    assert list(rows["model"]) == ["pix2pix", "pix2pix", "a model alone"]
    assert rows["best"][0].startswith("bond_f1 0") and rows["picture"][0].startswith("data:image/")
    found.selectbox(key="run").select("best.ckpt").run()
    assert "Translate pictures" in said(found, "header") and found.radio[0].options == ["Use the model", "All runs"]


REFUSED = """
import os, sys, threading

class Refused:
    def find_spec(self, name, *_):
        if name == "torch" and not threading.current_thread().name.startswith(LOADS):
            raise ImportError(f"PyTorch is imported by {threading.current_thread().name}")

sys.meta_path.insert(0, Refused())
from streamlit.testing.v1 import AppTest

def script(paths):
    from ganforge.app import pages
    pages.show(paths, True)

def page(**asked):
    found = AppTest.from_function(script, args=(sys.argv[1:],), default_timeout=120)
    for name, value in asked.items():
        found.query_params[name] = value
    return found.run()

def said(found):
    errors = [one.value for kind in ("error", "exception") for one in found.get(kind)]
    print([one.value for one in found.header], len(found.get("file_uploader")), errors, flush=True)
"""
PAGES = """
LOADS = "model"
said(page())
found = page(page="Look at the run")
for part in ("Numbers", "Curves", "Over time", "Test pictures", "Settings"):
    next(one for one in found.get("button_group") if one.label == "Show").set_value(part)
    said(found.run())
said(page(page="Compare runs"))
said(page(page="Use the model"))
said(page(page="Use the model", run="best.ckpt"))
os._exit(0)  # and not when PyTorch is there
"""
TRANSLATED = """
LOADS = "nobody"
picture = sys.argv.pop()
found = page()
found.file_uploader[0].set_value([("a.png", open(picture, "rb").read(), "image/png")]).run()
said(found)
(result,) = found.session_state["translated"].values()
open(picture, "wb").write(result.files["a.png"])
"""


def told_by(folder: Path, script: str, *arguments) -> list[str]:
    """What a script prints in a process in which only some threads may import PyTorch."""
    file = folder / "script.py"  # of which Streamlit reads the source
    file.write_text(REFUSED + script)
    command_line = [sys.executable, file, *arguments]
    return subprocess.run(command_line, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.slow
def test_pages_are_there_before_pytorch_is(lattices, models, tmp_path):
    """It is imported by no thread that draws a page, and pictures can be dropped before it is there."""
    assert told_by(tmp_path, PAGES, lattices, models("colorize")) == [
        "['All runs'] 0 []", *["['first'] 0 []"] * 5, "['Compare runs'] 0 []", "['Translate pictures'] 1 []",
        "['Colour for black and white'] 1 []",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def exported(models, tmp_path_factory):
    """exported(name) -> the .onnx file of a model."""
    folder = tmp_path_factory.mktemp("exported")

    def export(name: str):
        file = folder / f"{name}.onnx"
        if not file.is_file():
            arguments = ["--format", "onnx", "--output", str(file), "--license", "mit"]
            assert cli.main(["export", str(models(name)), *arguments]) == 0
        return file

    return export


@pytest.mark.slow
def test_an_exported_file_translates_without_pytorch(exported, tmp_path):
    expected = predicted(exported("unet"), picture(), "a.png", tmp_path)["a.png"]
    (tmp_path / "b.png").write_bytes(picture())
    assert told_by(tmp_path, TRANSLATED, exported("unet"), tmp_path / "b.png") == ["['Translate pictures'] 1 []"]
    assert (tmp_path / "b.png").read_bytes() == expected
    found = page(exported("cgan"))
    assert "choose the run or its checkpoint" in said(found, "info") and not found.error and not found.number_input


def test_nothing_to_show_and_broken_runs_are_sentences(tmp_path, lattices):
    assert "There is no run yet" in said(page(tmp_path), "info")
    broken = tmp_path / "broken"
    shutil.copytree(lattices / "first", broken)
    (broken / "checkpoints/best.ckpt").write_bytes(b"none")
    (broken / "results.json").write_text('{"test/l1": {}, "test/psnr": "x", "evaluation": []}')
    (broken / "metrics.csv").write_text("a,b\n\0")
    for path in (broken / "samples").glob("*.png"):
        path.write_bytes(b"\x89PNG")
    assert "cannot be read, it may be truncated or damaged" in said(page(broken), "error")
    found = page(broken, page="Look at the run")
    for part in ("Numbers", "Curves", "Over time", "Test pictures", "Settings"):
        choose(found, "Show", part)
        assert not found.exception


def test_smoothing_has_no_bias_at_its_start():
    assert run_page.smoothed([2, 2, 2], 0.9) == pytest.approx([2, 2, 2])
    assert run_page.smoothed([1, 3], 0.5) == pytest.approx([1, (0.25 * 1 + 0.5 * 3) / 0.75])


def bomb() -> bytes:
    """A picture of 0.5 MB that says that it has 900 million pixels, and has."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0))
    values = chunk(b"IDAT", zlib.compress(bytes(30_000 * 3751), 1))
    return b"\x89PNG\r\n\x1a\n" + header + values + chunk(b"IEND", b"")


HOSTILE = {
    "broken.png": picture()[:200],
    "empty.png": b"",
    "text.jpg": b"no picture",
    "long.png": picture(1, 3000),
    "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "zip.tif": b"PK\x03\x04" + bytes(1000),
    "tiff.tif": b"II*\0" + b"\xff" * 50,
}


@pytest.mark.parametrize("name", [*HOSTILE, "bomb.png", "large.png"])
def test_no_upload_takes_the_page_down_or_stays_on_the_disk(models, disk, name):
    """large.png: 100 MB of noise."""
    content = {"bomb.png": bomb, "large.png": lambda: np.random.default_rng(0).bytes(100_000_000)}
    given = HOSTILE.get(name) if name in HOSTILE else content[name]()
    found = page(models("unet"))
    drop(found, (name, given), ("good.png", picture()))
    assert not found.exception and len(found.error) == 1
    told = said(found, "error").strip()
    assert told.startswith(name) and str(disk) not in told and "not foreseen" not in told, told
    assert [result.name for result in results_of(found)] == ["good.png"]
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../../up.png", "a\u202eb.png", "C:\\x.png", "**bold**.PNG", "x" * 300 + ".png", ".png"]
)
def test_names_of_uploads_are_no_paths_and_no_markup(models, disk, name):
    found = drop(page(models("unet")), (name, picture()))
    assert not found.exception and not found.error
    (result,) = results_of(found)
    (written,) = result.files
    assert "/" not in written and len(written) < 256
    assert list(disk.iterdir()) == []


def test_a_frame_of_a_film_and_deep_grey_are_read_as_the_command_reads_them(models, tmp_path):
    film = io.BytesIO()
    frames = [Image.new("L", (20, 20), level) for level in (0, 255)]
    frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
    deep = io.BytesIO()
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100).save(deep, "PNG")
    found = drop(page(models("unet")), ("film.png", film.getvalue()), ("deep.png", deep.getvalue()))
    assert not found.error and not found.exception
    assert results_of(found)[1].files == predicted(models("unet"), deep.getvalue(), "deep.png", tmp_path)
    assert "of several pages the first was translated" in said(found, "caption")


def test_too_many_pictures_are_refused_before_the_work(models, monkeypatch):
    from ganforge.app import translate

    monkeypatch.setattr(translate, "MOST_PICTURES", 1)
    found = drop(page(models("unet")), ("a.png", picture()), ("b.png", picture()))
    assert "1 pictures of 400 MB together" in said(found, "error") and "translated" not in found.session_state


@pytest.fixture
def server():
    made = Server({})
    yield made
    made.close()


def page_of_url(url: str, sha256: str | None, folder) -> AppTest:
    """The page of a model that is being fetched."""
    from_url.under_way[url] = from_url.Fetching(url, sha256, folder)

    def script(model):
        from ganforge.app import pages

        pages.show([], True, model)

    return AppTest.from_function(script, args=(url,), default_timeout=120).run()


def until(found: AppTest, is_there) -> AppTest:
    """The page, drawn again until this is on it, as a browser does twice a second."""
    begin = time.monotonic()
    while not is_there(found):
        assert time.monotonic() - begin < 60, said(found)
        time.sleep(0.05)
        found.run()
    return found


def bar(found: AppTest) -> str:
    return "".join(one.proto.text for one in found.get("progress")).replace("\\", "")


@pytest.mark.parametrize("suffix", ["ckpt", "onnx"])
def test_a_page_says_how_far_its_model_is_and_then_has_it(server, models, exported, tmp_path, suffix):
    file = models("unet") if suffix == "ckpt" else exported("unet")
    content = file.read_bytes()
    server.files[f"/m.{suffix}"], server.goes_on = content, threading.Event()
    digest = hashlib.sha256(content).hexdigest()
    found = page_of_url(f"{server.address}/m.{suffix}", digest, tmp_path)
    until(found, lambda page: " MB of " in bar(page))
    half, whole = len(content) // 2 / 1e6, len(content) / 1e6
    assert bar(found) == f"Fetching m.{suffix}: {half:.1f} MB of {whole:.1f} MB"
    assert found.get("progress")[0].value in (49, 50)
    assert not found.error and not found.info and not found.get("file_uploader")
    server.goes_on.set()
    until(found, lambda page: page.get("file_uploader"))
    assert "Translate pictures" in said(found, "header") and not found.get("progress") and not found.error
    assert results_of(drop(found, ("a.png", picture())))[0].files == predicted(file, picture(), "a.png", tmp_path)


def test_a_page_says_why_its_model_did_not_come_and_goes_on(server, models, tmp_path):
    content = models("unet").read_bytes()
    server.files["/m.ckpt"], server.cut = content, [2000, 0]
    url = f"{server.address}/m.ckpt?token=secret"
    server.files["/m.ckpt?token=secret"] = content
    found = page_of_url(url, hashlib.sha256(content).hexdigest(), tmp_path)
    until(found, lambda page: page.error)
    told = said(found, "error")
    assert "could not be fetched: m.ckpt: the connection ended early" in told and "secret" not in told
    found.button[0].click().run()
    until(found, lambda page: page.get("file_uploader"))
    assert server.asked[-1] == ("/m.ckpt?token=secret", "bytes=2000-") and not found.error


def test_what_is_wrong_with_a_url_is_said_before_the_page(server, models, monkeypatch, capsys):
    import streamlit.web.cli

    monkeypatch.setattr(streamlit.web.cli, "main", lambda *_, **__: time.sleep(0.1))
    assert cli.main(["app", "--model", f"{server.address}/m.ckpt", "--port", str(free_port())]) == 1
    assert "no SHA-256 of it stands in" in capsys.readouterr().err


def test_of_very_many_pictures_the_first_are_shown_and_all_can_be_had(models, monkeypatch):
    from ganforge.app import translate

    monkeypatch.setattr(translate, "MOST_SHOWN", 2)
    found = drop(page(models("unet")), *((f"{number}.png", picture(8 + number)) for number in range(5)))
    assert not found.exception and not found.error
    assert "The first 2 of 5 pictures are shown" in said(found, "info") and len(found.subheader) == 2
    with zipfile.ZipFile(io.BytesIO(uploads.archive(results_of(found)))) as archive:
        assert archive.namelist() == [f"{number}.png" for number in range(5)]
    assert [result.before is None for result in results_of(found)] == [False, False, True, True, True]


def test_only_a_visitor_at_this_machine_may_name_paths(models, lattices):
    found = page(lattices / "first", is_local=False, run="/etc/passwd")
    assert not found.text_input and not found.error
    assert list(page(lattices, is_local=False).dataframe[0].value.columns)[-1] == "time"
    found = page(lattices / "first")
    found.text_input(key="path").set_value("/etc/passwd").run()
    assert "is no model; give a run" in said(found, "error") and found.selectbox(key="run").value == "first"
    found.text_input(key="path").set_value(str(models("unet"))).run()
    assert found.selectbox(key="run").options[0] == "best.ckpt" and not found.error


def test_paths_are_taken_as_people_copy_them(models, lattices, monkeypatch):
    file = models("unet")
    monkeypatch.setenv("HOME", str(file.parent))
    for given in (f'"{file}"', f"'{file}'", f" {file}\n", f"file://{file}", f"~/{file.name}"):
        found = page(lattices)
        found.text_input(key="path").set_value(given).run()
        assert found.selectbox(key="run").options[0] == "best.ckpt" and not found.error, given
    for given in ("~nobody-of-this-name/x", "a" * 5000, "\0", "*", "/dev/zero"):
        found.text_input(key="path").set_value(given).run()
        assert len(found.error) == 1 and "not foreseen" not in said(found, "error"), given


def test_a_run_that_is_deleted_while_it_is_shown(lattices, tmp_path):
    for asked in ("Look at the run", "Use the model", "Compare runs"):
        folder = tmp_path / asked
        shutil.copytree(lattices, folder)
        found = page(folder, run="first", page=asked)
        shutil.rmtree(folder / "first")
        found.run()
        assert "first is no longer there" in said(found, "warning") and not found.error and not found.exception
        assert len(found.run().selectbox(key="run").options) == 1 and not found.error and not found.exception


@pytest.mark.parametrize(
    ("change", "told"),
    [({"_target_": "ganforge.networks.Later"}, "names 'ganforge.networks.Later'"),
     ({"wings": 2}, "does not fit this version of ganforge")],
)  # fmt: skip
def test_a_checkpoint_of_another_version_is_said_before_a_picture_is_given(models, tmp_path, change, told):
    contents = torch.load(models("unet"))
    contents["ganforge"]["networks"]["generator_translate"] |= change
    torch.save(contents, tmp_path / "other.ckpt")
    found = until(page(tmp_path / "other.ckpt", is_local=False), lambda page: page.error)
    assert told in said(found, "error") and str(tmp_path) not in said(found, "error")


@pytest.mark.parametrize(
    ("headers", "may"),
    [({"Host": "localhost:8501"}, True), ({"Host": "127.0.0.1"}, True), ({"Host": "[::1]:8501"}, True),
     ({"Host": "example.org"}, False), ({"Host": "localhost", "X-Forwarded-For": "10.0.0.7"}, False)],
)  # fmt: skip
def test_a_visitor_through_a_proxy_names_no_paths(models, monkeypatch, headers, may):
    from types import SimpleNamespace

    from ganforge.app import pages

    monkeypatch.setattr(pages.st, "context", SimpleNamespace(headers=headers))
    assert pages._is_asked_here() is may


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.9.9.9", True), ("0.0.0.0", False),
     ("192.168.0.7", False), ("example.org", False), ("::", False), ("", False)],
)  # fmt: skip
def test_which_addresses_are_this_machine(host, is_local):
    assert command.is_local(host) is is_local


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_server_is_told_to_stay_at_home(models, monkeypatch):
    import streamlit.web.cli

    given = []
    monkeypatch.setattr(streamlit.web.cli, "main", lambda arguments, **_: given.extend(arguments))
    monkeypatch.setattr(command, "_load", lambda *_: None)
    port = free_port()
    command.app([models("unet")], port=port)
    assert {"--server.address=127.0.0.1", f"--server.port={port}", "--browser.gatherUsageStats=false",
            "--server.headless=true"} <= set(given)  # fmt: skip
    assert json.loads(given[-1]) == {"paths": [str(models("unet"))], "is_local": True, "model": None}
    assert given[1] == str(command.PAGE) and command.PAGE.is_file()


def test_what_is_wrong_is_said_before_the_server_starts(models, tmp_path, monkeypatch, capsys):
    import socket

    monkeypatch.chdir(tmp_path)

    def told(*arguments: str) -> str:
        assert cli.main(["app", *arguments]) == 1
        return capsys.readouterr().err

    assert "no such run, folder or checkpoint" in told("nowhere")
    assert "no folder lightning_logs here" in told()
    assert "holds no run" in told(str(tmp_path))
    assert "--port 0: 1 to 65535" in told("--port", "0")
    assert "is that of --model URL" in told("--sha256", "0" * 64)
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        assert "cannot be listened on" in told(str(models("unet")), "--port", taken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert 'pip install "ganforge[app]"' in told(str(models("unet")))


def test_runs_of_one_name_are_told_apart(lattices, models, tmp_path):
    shutil.copytree(lattices / "first", tmp_path / "first", ignore=shutil.ignore_patterns("samples"))
    found = entries([lattices / "first", tmp_path / "first", lattices])
    assert [entry.name for entry in found] == [f"{lattices.name}/first", f"{tmp_path.name}/first", "second"]
    found = page(models("unet"), models("cgan"), run="cgan/checkpoints/best.ckpt", page="Use the model")
    assert "Draw samples" in said(found, "header")
    found.selectbox(key="run").select("unet/checkpoints/best.ckpt").run()
    assert "Translate pictures" in said(found, "header")


def test_a_user_without_a_home_is_served(monkeypatch, tmp_path):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pathlib.Path.home", lambda: Path(os.environ["HOME"]) if "HOME" in os.environ else no_home())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command._need_home()
    assert Path.home() == tmp_path


def no_home() -> None:
    raise RuntimeError("Could not determine home directory.")


def test_the_container_is_made_of_what_is_there():
    """Each file that the Dockerfile copies, the extra that it installs, and the command that it ends with."""
    lines = [line.split(maxsplit=1) for line in (ROOT / "Dockerfile").read_text().splitlines() if line[:1].isupper()]
    copied = [name for word, text in lines if word == "COPY" for name in text.split()[:-1]]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == kept and all((ROOT / name).exists() for name in copied)
    installed = next(text for word, text in lines if word == "RUN" and "pip install" in text)
    project = (ROOT / "pyproject.toml").read_text()
    assert '".[app]"' in installed and "\napp = [" in project and "-c constraints.txt" in installed
    assert all(f"{name}=" in project or f'"{name}>=' in project for name in ("onnxruntime", "safetensors"))
    entry, given = (json.loads(text) for word, text in lines if word in ("ENTRYPOINT", "CMD"))
    parsed = cli._parser().parse_args([*entry[1:], *given])
    assert entry[0] == "ganforge" and (parsed.run, parsed.host, parsed.runs) == ("app:app", "0.0.0.0", ["/runs"])
    assert f"EXPOSE {parsed.port}" in (ROOT / "Dockerfile").read_text()
    line = (ROOT / "Dockerfile").read_text().splitlines()[0].split(": ", 1)[1]
    assert line in (ROOT / "docs/export.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_in_a_browser(models, lattices, tmp_path):
    """Wide and narrow, light and dark: a picture is dropped, translated, and compared by the slider."""
    port, log = free_port(), (tmp_path / "log.txt").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "ganforge.cli", "app", str(lattices), str(models("unet")), "--port", str(port)],
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        (tmp_path / "photo.png").write_bytes(picture(64, 80))
        with browser() as tab:
            tab.open(f"{address}/?run=best.ckpt&page=Use the model")
            tab.wait("document.querySelector('input[type=file]')")
            tab.give("input[type=file]", tmp_path / "photo.png")
            tab.wait_for("Download photo.png")
            inside = "document.querySelector('iframe').contentDocument"
            tab.wait(f"{inside}?.querySelectorAll('img').length === 2 && {inside}.images[0].naturalWidth === 80")
            tab.value(f"(i => {{i.value = 20; i.dispatchEvent(new Event('input'))}})({inside}.querySelector('input'))")
            assert tab.value(f"{inside}.querySelector('.both').style.getPropertyValue('--at')") == "20%"
            tab.screenshot(tmp_path / "wide.png")
            tab.open(f"{address}/?run=second&page=Look at the run", width=420, dark=True)
            tab.wait_for("has collapsed")
            tab.screenshot(tmp_path / "narrow_dark.png")
            outside = "performance.getEntriesByType('resource').map(e => new URL(e.name).hostname)"
            assert set(tab.value(outside)) <= {"127.0.0.1", ""}  # nothing is fetched from elsewhere
            assert tab.value("document.documentElement.scrollWidth") <= 420
        light, dark = (np.array(Image.open(tmp_path / f"{name}.png").convert("L")) for name in ("wide", "narrow_dark"))
        assert light.shape[1] == 1280 and np.median(light) > 200 and dark.shape[1] == 420 and np.median(dark) < 60
    finally:
        server.terminate()
        assert server.wait(30) == 0
        log.close()
