"""ganforge predict: any picture in, the same name and size out, and for networks what was read."""

import json
import subprocess
import sys
import time

import networkx
import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY_PIX2PIX
from ganforge import cli, predict
from ganforge.experiment import run
from ganforge.lattice import Style, draw, match_sites, patch
from ganforge.predict import fit


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


def test_pictures_keep_their_names_and_sizes(trained, pictures, tmp_path):
    assert cli.main(["predict", str(trained), str(pictures), "--output", str(tmp_path / "out")]) == 0
    for picture in pictures.iterdir():
        written = Image.open(tmp_path / "out" / picture.name)
        assert written.size == Image.open(picture).size
        assert written.mode == "L"
        assert (tmp_path / "out" / picture.name).with_suffix(".json").is_file()
    assert len(list((tmp_path / "out").iterdir())) == 15


def test_the_network_is_written_in_the_pictures_own_pixels(trained, pictures, tmp_path, monkeypatch):
    """With a generator that draws the true bonds, the files hold the true network."""
    drawing = draw(patch("square", (3, 3)), 100, Style(dot_radius=6, line_width=3))
    target = np.array(Image.fromarray(drawing.target).resize((64, 64), Image.Resampling.BICUBIC))
    monkeypatch.setattr(predict, "translate", lambda generator, picture, norm_mode: target[..., None])
    predict.predict(trained, [pictures / "grey.png"], tmp_path / "out")
    written = json.loads((tmp_path / "out/grey.json").read_text())
    match = match_sites(np.array(written["sites"]), drawing.network.sites, 1.0)
    assert len(match.pairs) == 9
    assert match.shift < 0.3
    true_index = dict(match.pairs.tolist())
    bonds = sorted(sorted(true_index[site] for site in bond) for bond in written["bonds"])
    assert bonds == drawing.network.bonds.tolist()
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
    generator = predict.load_generator(trained)
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
    assert "of one name" in refused(capsys, "predict", trained, pictures, pictures / "grey.png", "-o", tmp_path / "b")
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
