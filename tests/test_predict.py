"""ganforge predict: any picture in, the same name and size out, and for networks what was read."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY_PIX2PIX
from ganforge import cli, networks
from ganforge.commands import bonds, predict
from ganforge.commands.translator import Translator, fit
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game import Output
from ganforge.lattice import Style, draw, match_sites, patch
from ganforge.runs.generators import Generator, check_size, load_generator


@pytest.fixture
def trained(configured, tmp_path):
    run(configured([*TINY_PIX2PIX, "data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]))
    return tmp_path / "run"


@pytest.fixture
def pictures(tmp_path):
    """One drawing of sites in many formats, modes and sizes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    page = Image.fromarray(draw(patch("square", (3, 3)), 100, Style(dot_radius=6, line_width=3)).source)
    page.save(folder / "grey.png")
    page.convert("RGB").save(folder / "colour.jpg")
    page.resize((333, 333)).save(folder / "large.tif")
    page.crop((0, 0, 100, 61)).save(folder / "wide.PNG")
    page.resize((20, 20)).convert("P").save(folder / "small.bmp")
    return folder


@pytest.mark.slow
def test_pictures_keep_their_names_and_sizes(trained, pictures, tmp_path):
    assert cli.main(["predict", str(trained), str(pictures), "--output", str(tmp_path / "out")]) == 0
    for picture in pictures.iterdir():
        written = Image.open(tmp_path / "out" / picture.name)
        assert written.size == Image.open(picture).size
        assert written.mode == "L"
        assert (tmp_path / "out" / picture.name).with_suffix(".json").is_file()
    assert len(list((tmp_path / "out").iterdir())) == 20


def test_the_network_is_written_in_the_pictures_own_pixels(trained, pictures, tmp_path, monkeypatch):
    """With a generator that draws the true bonds, the files hold the true network."""
    drawing = draw(patch("square", (3, 3)), 100, Style(dot_radius=6, line_width=3))
    target = np.array(Image.fromarray(drawing.target).resize((64, 64), Image.Resampling.BICUBIC))
    monkeypatch.setattr(Translator, "pictures", lambda translator, pictures: [target[..., None]])
    monkeypatch.setattr(bonds, "calibration_of", lambda card: None)  # of another generator
    predict.predict(trained, [pictures / "grey.png"], tmp_path / "out", as_drawn=True)
    written = json.loads((tmp_path / "out/grey.json").read_text())
    match = match_sites(np.array(written["sites"]), drawing.network.sites, 1.0)
    assert len(match.pairs) == 9
    assert match.shift < 0.3
    true_index = dict(match.pairs.tolist())
    found = sorted(sorted(true_index[site] for site in bond) for bond in written["bonds"])
    assert found == drawing.network.bonds.tolist()
    graph = networkx.read_graphml(tmp_path / "out/grey.graphml", node_type=int)
    assert sorted(map(sorted, graph.edges)) == written["bonds"]
    assert [graph.nodes[4]["x"], graph.nodes[4]["y"]] == written["sites"][4]


def test_fitting_squashes_or_pads_as_the_data_says():
    picture = np.zeros((50, 100, 1), dtype=np.uint8)
    squashed, covered = fit(picture, {"size": 64, "fit_to_size": "squash"})
    assert covered == (64, 64) and squashed.max() == 0
    padded, covered = fit(picture, {"size": 64, "fit_to_size": "pad"})
    assert covered == (32, 64)
    assert padded[:32].max() == 0 and padded[32:].min() == 255


def test_prediction_is_what_the_trained_generator_gives(trained, pictures, tmp_path):
    predict.predict(trained, [pictures / "grey.png"], tmp_path / "a", full_size=True)
    predict.predict(trained, [pictures / "grey.png"], tmp_path / "b", full_size=True)
    assert (tmp_path / "a/grey.png").read_bytes() == (tmp_path / "b/grey.png").read_bytes()
    generator = load_generator(trained)
    source = torch.from_numpy(np.array(Image.open(pictures / "grey.png"))).float()[None, None] / 127.5 - 1
    with torch.no_grad():
        expected = ((generator.network(source)[0, 0] + 1) * 127.5).round().clamp(0, 255)
    written = np.array(Image.open(tmp_path / "a/grey.png")).astype(float)
    assert np.abs(written - expected.numpy()).max() <= 1


def refused(capsys, *arguments) -> str:
    assert cli.main([str(argument) for argument in arguments]) == 1
    return capsys.readouterr().err


def test_mistakes_are_one_sentence_and_nothing_is_overwritten(trained, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    (pictures / "broken.png").write_bytes((pictures / "grey.png").read_bytes()[:60])
    assert "broken.png" in refused(capsys, "predict", trained, pictures, "-o", out)
    assert not out.exists()  # told before the work
    (pictures / "broken.png").unlink()
    assert cli.main(["predict", str(trained), str(pictures), "-o", str(out)]) == 0
    before = (out / "grey.png").stat().st_mtime_ns
    capsys.readouterr()
    assert "already holds" in refused(capsys, "predict", trained, pictures, "-o", out)
    assert (out / "grey.png").stat().st_mtime_ns == before
    assert "already holds" in refused(capsys, "predict", trained, pictures / "grey.png", "-o", pictures)
    (tmp_path / "other").mkdir()
    other = (pictures / "grey.png").rename(tmp_path / "other/colour.jpg")
    assert "of one name" in refused(capsys, "predict", trained, pictures, other, "-o", tmp_path / "b")
    other.rename(pictures / "grey.png")
    assert "no such picture" in refused(capsys, "predict", trained, tmp_path / "absent.png", "-o", tmp_path / "b")
    assert "is a file" in refused(capsys, "predict", trained, pictures / "grey.png", "-o", pictures / "grey.png")
    blocked = refused(capsys, "predict", trained, pictures / "grey.png", "-o", pictures / "grey.png" / "below")
    assert "cannot be written" in blocked and blocked.count("\n") == 1


def test_help_is_quick_because_torch_is_not_imported():
    begun = time.perf_counter()
    code = "import sys; from ganforge import cli\ntry: cli.main(['--help'])\nfinally: print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "predict" in shown and shown.strip().endswith("False")
    assert time.perf_counter() - begun < 20  # generous: machines are busy; the import alone decides


def test_long_names_and_odd_ones_are_written(trained, pictures, tmp_path):
    names = ["x" * 250 + ".png", "ü" * 125 + ".png", "line\nbreak.png", "..png", "-rf.png", "a.b.png"]
    folder = tmp_path / "named"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((pictures / "grey.png").read_bytes())
    assert (
        cli.main(["predict", str(trained), *(str(folder / name) for name in names), "-o", str(tmp_path / "out")]) == 0
    )
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert len(written) == 4 * len(names)
    assert {"x" * 250 + ".png", "-rf.png", "a.b.png", "a.b.json", "a.b.graphml"} <= written
    assert all(name.isprintable() for name in written)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (5, 5), (16, 16)])
@pytest.mark.parametrize("norm_mode", ["running", "batch"])
def test_the_smallest_pictures_are_translated_or_refused_in_a_sentence(trained, tmp_path, capsys, size, norm_mode):
    Image.new("L", size).save(tmp_path / "small.png")
    options = ["--full-size", "--norm-mode", norm_mode]
    done = cli.main(["predict", str(trained), str(tmp_path / "small.png"), "-o", str(tmp_path / "out"), *options])
    said = capsys.readouterr().err
    if done == 0:
        assert Image.open(tmp_path / "out/small.png").size == size
    else:
        assert "networks are read from 16×16 px or more" in said or "give larger pictures" in said
        assert said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_pipes_devices_and_names_that_cannot_be_written_are_refused_before_the_work(
    trained, pictures, tmp_path, capsys
):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, message in (
        ("pipe.png", "is a pipe"),
        ("zero.png", "is a pipe, a device"),
    ):
        said = refused(capsys, "predict", trained, pictures, tmp_path / name, "-o", tmp_path / "out")
        assert name in said and message in said and said.count("\n") == 1
        assert not (tmp_path / "out").exists()
    assert refused(capsys, "predict", trained, pictures, "-o", tmp_path / ("x" * 300)).count("\n") == 1


@pytest.mark.parametrize("name", ["ResNetGenerator", "UNet"])
def test_a_network_says_which_pictures_are_too_small_or_too_large_for_it(name, monkeypatch):
    settings = {"in_channels": 1, "out_channels": 1, "size": 32, "base_channels": 4, "norm": "instance"}
    network = getattr(networks, name)(**settings).eval()
    generator = Generator(network=network, card={}, path=Path("x.ckpt"), output=Output("generator", "picture"))
    for size in ((1, 1), (2, 2), (3, 40), (4, 4), (33, 50)):
        try:
            network(torch.zeros(1, 1, *size))
        except (RuntimeError, ValueError):
            with pytest.raises(UserError, match=r"x\.ckpt: its network cannot take it"):
                check_size(generator, (1, 1, *size), said="it")
        else:
            check_size(generator, (1, 1, *size), said="it")
    with pytest.raises(UserError, match=r"it would need more than .* GB"):
        check_size(generator, (1, 1, 200_000, 200_000), said="it")


def test_a_real_folder_is_translated_and_what_was_left_out_is_said(trained, pictures, tmp_path, capsys):
    """Broken files, other kinds, folders in folders, several pages, a GIF."""
    below = pictures / "more/deep"
    below.mkdir(parents=True)
    page = Image.open(pictures / "grey.png")
    page.save(below / "grey.png")
    page.save(pictures / "pages.tif", save_all=True, append_images=[page, page])
    page.save(tmp_path / "film.gif")
    page.save(tmp_path / "nosuffix", "PNG")
    (pictures / "broken.png").write_bytes((pictures / "grey.png").read_bytes()[:100])
    (pictures / "notes.txt").write_text("no picture")
    others = [str(tmp_path / name) for name in ("film.gif", "nosuffix")]
    command = ["predict", str(trained), str(pictures), *others, "-o", str(tmp_path / "out")]
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert "broken.png: does not decode" in said and said.endswith("; --skip-broken leaves them out\n")
    assert not (tmp_path / "out").exists()

    assert cli.main([*command, "--skip-broken"]) == 0
    said = capsys.readouterr().out
    assert (
        "8 pictures translated" in said and "left out 1 broken pictures:\n" in said and "broken.png: does not" in said
    )
    assert "left out 1 files of other kinds (notes.txt) and 1 folders (more), which --recursive would take" in said
    assert "of several pages the first was translated: pages.tif" in said
    assert Image.open(tmp_path / "out/film.png").format == Image.open(tmp_path / "out/nosuffix.png").format == "PNG"
    assert not (tmp_path / "out/more").exists() and not (tmp_path / "out/broken.png").exists()

    assert cli.main([*command, "--skip-broken", "--recursive", "--overwrite"]) == 0
    assert "9 pictures translated" in capsys.readouterr().out
    assert (tmp_path / "out/more/deep/grey.png").read_bytes() == (tmp_path / "out/grey.png").read_bytes()


def test_nothing_is_translated_where_every_picture_is_broken(trained, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"nothing")
    assert cli.main(["predict", str(trained), str(folder), "-o", str(tmp_path / "out"), "--skip-broken"]) == 1
    assert "1.png: does not decode" in capsys.readouterr().err
