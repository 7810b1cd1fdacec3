"""ganforge predict --whiten: paper of a scan becomes white, strokes stay; and sketches are resized as in training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import ganforge
from conftest import TINY_PIX2PIX
from ganforge import cli
from ganforge.commands import predict, scenes
from ganforge.commands.translator import Translator, fit
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.pictures import images
from ganforge.pictures.paper import whitened


def drawing(size: int = 200) -> np.ndarray:
    """Black strokes of 1 to 6 px on white, uint8 (size, size, 1)."""
    page = Image.new("L", (size, size), 255)
    pen = ImageDraw.Draw(page)
    for width in range(1, 7):
        pen.line((20, 25 * width, size - 30, 25 * width + 12), fill=0, width=width)
        pen.ellipse((28 * width - 20, 60, 28 * width + 20, 140), outline=0, width=width)
    return np.array(page)[..., None]


def scanned(page: np.ndarray, channels: int, noise: float, seed: int = 0) -> np.ndarray:
    """On yellowish paper, lit from one corner, with grain, and ink that is no black."""
    rng = np.random.default_rng(seed)
    height, width = page.shape[:2]
    y, x = np.mgrid[:height, :width]
    light = 0.95 - 0.4 * y / height - 0.1 * x / width + 0.05 * np.sin(8 * x / width)
    tint = np.array([1.0, 0.94, 0.8])[:channels]
    seen = 255 * light[..., None] * tint * (0.2 + 0.8 * page / 255)
    return (seen + rng.normal(0, noise, seen.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0, 4])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(200, 200), (600, 800)])
def test_uneven_paper_becomes_white_and_strokes_stay(channels, noise, size):
    page = images.resize(drawing(), size)
    scan = scanned(page, channels, noise)
    paper, ink = page[..., 0] == 255, page[..., 0] < 40
    assert (scan[paper] > 240).mean() < 0.2  # without it, hardly any of the paper is white
    found = whitened(scan)
    assert found.shape == scan.shape and found.dtype == np.uint8
    assert (found[paper] >= 245).mean() > 0.97
    assert (found[ink] <= 90).mean() > 0.98


def test_a_clean_drawing_stays_as_it_is():
    page = drawing()
    assert np.array_equal(whitened(page), page)
    assert np.array_equal(whitened(np.repeat(page, 3, axis=2)), np.repeat(page, 3, axis=2))
    assert np.array_equal(whitened(whitened(scanned(page, 1, 0))) >= 128, page >= 128)


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_an_empty_page_has_no_strokes(value):
    page = whitened(np.full((40, 30, 1), value, np.uint8))
    assert len(np.unique(page)) == 1
    assert value == 0 or page.min() == 255
    grain = np.random.default_rng(0).normal(180, 3, (120, 90, 3)).clip(0, 255).astype(np.uint8)
    assert (whitened(grain) > 200).mean() > 0.99


@pytest.fixture
def trained(configured, tmp_path):
    """A tiny sketch2color on pictures of drawn patches."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(10):
        images.write(
            folder / f"{number}.png", np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))).astype("u1")
        )
    settings = ["experiment=sketch2color", "data.source=sketch", f"data.root={folder}", "data.size=32"]
    settings += ["data.load_size=36", "model.generator.depth=3", *TINY_PIX2PIX, "trainer.check_val_every_n_epoch=1"]
    run(configured(settings))
    return tmp_path / "run"


def test_predict_whitens_before_it_translates(trained, tmp_path, monkeypatch):
    page = drawing()
    images.write(tmp_path / "scan.png", scanned(page, 3, 2))
    given = []
    prepare = Translator.prepare
    monkeypatch.setattr(Translator, "prepare", lambda self, picture: given.append(picture) or prepare(self, picture))
    for more in ([], ["--whiten"]):
        out = ["--output", str(tmp_path / f"out{len(more)}")]
        assert cli.main(["predict", str(trained), str(tmp_path / "scan.png"), *out, *more]) == 0
    plain, white = given
    assert plain.shape == (200, 200, 1) and np.array_equal(white, whitened(plain))
    results = [images.read(tmp_path / f"out{n}/scan.png", 3) for n in (0, 1)]
    assert results[0].shape == (200, 200, 3) and not np.array_equal(*results)
    model = ganforge.load(trained)
    assert np.array_equal(model.translate(tmp_path / "scan.png", whiten=True), results[1])


def test_sketches_are_resized_as_they_were_in_training(trained):
    card = ganforge.load(trained).card
    assert card["source_interpolation"] == "nearest"
    fitted, _ = fit(drawing(), card)
    assert set(np.unique(fitted)) == {0, 255}
    fitted, _ = fit(drawing(), {**card, "source_interpolation": "bicubic"})
    assert len(np.unique(fitted)) > 10
    old = {name: value for name, value in card.items() if name != "source_interpolation"}
    assert np.array_equal(fit(drawing(), old)[0], fitted)


def test_a_card_with_another_interpolation_is_refused(trained, tmp_path):
    contents = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    for value in ("mode", 3, None, ["nearest"]):
        contents["ganforge"]["source_interpolation"] = value
        torch.save(contents, tmp_path / "x.ckpt")
        with pytest.raises(UserError, match="does not say its source_interpolation"):
            ganforge.load(tmp_path / "x.ckpt")


def test_scenes_are_not_whitened(trained, tmp_path, monkeypatch):
    images.write(tmp_path / "scene.png", drawing())
    look = scenes.look
    monkeypatch.setattr(scenes, "look", lambda *given: replace(look(*given), is_scene=True))
    with pytest.raises(UserError, match=r"--whiten: is for drawings .*scene\.png is translated by windows"):
        predict.predict(trained, [tmp_path / "scene.png"], tmp_path / "out", whiten=True)
    assert not (tmp_path / "out").exists()
