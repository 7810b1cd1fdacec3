"""Colour for grey pictures: CIE L*a*b*, its data, its measures, and what a user gets at the picture's own size."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

import ganforge
from conftest import TINY_PIX2PIX
from ganforge.commands.colour import ColourTranslator
from ganforge.commands.evaluate import evaluate
from ganforge.commands.predict import predict
from ganforge.commands.translators import translator
from ganforge.data.colour import ColourData
from ganforge.errors import UserError
from ganforge.evaluation.colour import ColourMetrics, MeanColour, colourfulness
from ganforge.experiment import run
from ganforge.pictures import colour, images, lab, rasters
from ganforge.pictures.raster_data import Raster
from ganforge.pictures.tensors import from_unit, to_unit
from ganforge.runs import checkpoint
from ganforge.runs.generators import load_generator

CUBE = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), axis=-1).reshape(52, 52 * 52, 3).astype(np.uint8)


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())


@pytest.fixture
def flowers(tmp_path) -> Path:
    """Twelve pictures of other sizes: a coloured disc on a ground of another colour."""
    folder = tmp_path / "flowers"
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:40j, -1:1:48j]
    for index in range(12):
        disc = (x**2 + y**2 < rng.uniform(0.3, 0.8))[..., None]
        picture = np.where(disc, rng.integers(60, 256, 3), rng.integers(0, 160, 3)) + rng.normal(0, 6, (40, 48, 3))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


TINY = ["model=colorize", "data=colour", "data.size=32", *TINY_PIX2PIX, "model.generator.depth=3"]
FAST = ["trainer.max_epochs=10", "model.optimizer_g.lr=0.01", "data.n_train=8"]  # until there is some colour


def test_the_conversions_are_those_of_scikit_image():
    skimage = pytest.importorskip("skimage.color", reason="scikit-image, an extra of development, is the reference")
    found = colour.lab_of(tensor(CUBE) / 255)
    expected = skimage.rgb2lab(CUBE / 255.0)
    np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(
        colour.rgb_of(tensor(expected)).permute(1, 2, 0).numpy(), skimage.lab2rgb(expected), atol=1e-3
    )


def test_the_round_trip_gives_the_same_bytes():
    pictures = to_unit(tensor(CUBE))[None]
    source, target = colour.encode(pictures)
    assert source.shape == (1, 1, *CUBE.shape[:2]) and target.shape == (1, 2, *CUBE.shape[:2])
    assert max(float(part.abs().max()) for part in (source, target)) <= 1
    assert (from_unit(colour.decode(source, target)).int() - tensor(CUBE)[None].int()).abs().max() == 0


def test_colours_that_there_are_not_keep_their_lightness():
    rng = torch.Generator().manual_seed(0)
    source = torch.rand(4, 1, 32, 32, generator=rng) * 2 - 1
    target = torch.rand(4, 2, 32, 32, generator=rng) * 2 - 1  # mostly none of sRGB
    painted = colour.decode(source, target)
    assert painted.min() >= -1 and painted.max() <= 1 and painted.isfinite().all()
    torch.testing.assert_close(colour.encode(painted)[0], source, atol=1e-4, rtol=0)


def test_gradients_pass_through_both_ways():
    pictures = torch.rand(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    assert torch.autograd.gradcheck(colour.lab_of, pictures.requires_grad_())
    lab = colour.lab_of(pictures).detach().requires_grad_()
    assert torch.autograd.gradcheck(colour.rgb_of, lab)
    for level in (0.0, 1.0):
        flat = torch.full((1, 3, 2, 2), level, requires_grad=True)
        colour.rgb_of(colour.lab_of(flat)).sum().backward()
        assert flat.grad.isfinite().all()


def test_colourfulness_is_signed_as_published():
    """Half pure red, half pure green: by hand from the paper's equations; with absolute values it would be another."""
    picture = -torch.ones(1, 3, 2, 2)
    picture[0, 0, 0] = 1
    picture[0, 1, 1] = 1
    # rg = 255 and -255: mean 0, deviation 255. yb = 127.5 throughout: mean 127.5, deviation 0.
    assert float(colourfulness(picture)) == pytest.approx(255 + 0.3 * 127.5)
    assert float(colourfulness(torch.rand(1, 1, 8, 8).expand(-1, 3, -1, -1))) == 0


def test_the_measures_are_those_of_a_plain_loop():
    rng = torch.Generator().manual_seed(0)
    true, found = (torch.rand(5, 3, 8, 8, generator=rng) * 2 - 1 for _ in range(2))
    metric = ColourMetrics()
    metric.update({"target": true[:3]}, found[:3], None)
    metric.update({"target": true[3:]}, found[3:], None)
    values, differences = metric.compute(), []
    for one, other in zip(true, found, strict=True):
        both = [colour.lab_of((picture + 1) / 2)[1:] for picture in (one, other)]
        differences.append(float(10 * torch.log10(220**2 / (both[0] - both[1]).square().mean())))
    assert values["psnr_ab"] == pytest.approx(np.mean(differences), rel=1e-5)
    gaps = (colourfulness(found) - colourfulness(true)).abs().mean()
    assert values["colourfulness_difference"] == pytest.approx(float(gaps), rel=1e-5)
    assert metric.ceiling()["colourfulness"] == pytest.approx(float(colourfulness(true).mean()), rel=1e-5)


def test_any_folder_of_colour_pictures_is_data(flowers):
    data = ColourData(root=flowers, size=32, load_size=36, num_workers=0, seed=3)
    sets = data.sets
    assert {name: len(own) for name, own in sets.items()} == {"train": 10, "val": 1, "test": 1}
    item = sets["train"][0]
    assert item["source"].shape == (1, 32, 32) and item["target"].shape == (2, 32, 32)
    assert torch.equal(sets["train"][0]["target"], item["target"])
    assert not torch.equal(sets["train"][10]["target"], item["target"])  # the same picture of the next epoch
    batch = sets["train"].__getitems__([0, 11])
    torch.testing.assert_close(batch["target"][0], item["target"])
    # What it is of: the file, brought to the size as prediction brings it.
    name = sets["test"].name_of(0)
    picture = images.resize(images.read(flowers / name, 3), (32, 32))
    shown, _ = data.compared(sets["test"].__getitems__([0]), batch["target"][:1])
    np.testing.assert_array_equal(from_unit(shown["target"])[0].permute(1, 2, 0).numpy(), picture)
    assert torch.equal(from_unit(shown["target"])[0], data.real("test")[0])
    grey = shown["source"][0]
    torch.testing.assert_close(grey[0], grey[1], atol=1e-4, rtol=0)


def test_folders_of_the_splits_are_used(flowers):
    for split, names in {"train": range(6), "val": range(6, 9), "test": range(9, 12)}.items():
        (flowers / split).mkdir()
        for name in names:
            (flowers / f"{name}.png").rename(flowers / split / f"{name}.png")
    data = ColourData(root=flowers, size=32, n_train=4, num_workers=0)
    assert {name: len(own) for name, own in data.sets.items()} == {"train": 4, "val": 3, "test": 3}
    assert data.fingerprint() != ColourData(root=flowers, size=32, num_workers=0).fingerprint()


def test_pictures_of_every_kind_are_taken_or_refused_by_name(flowers):
    page = Image.open(flowers / "0.png")
    page.convert("CMYK").save(flowers / "cmyk.jpg", quality=95)
    page.convert("P").save(flowers / "palette.png")
    clear = page.convert("RGBA")
    clear.putalpha(0)
    clear.save(flowers / "clear.png")
    data = ColourData(root=flowers, size=32, num_workers=0, grey="keep")
    assert sum(map(len, data.sets.values())) == 15
    with pytest.raises(UserError, match=r"pictures cannot be used; mend or remove them:\n.*clear\.png: is grey"):
        ColourData(root=flowers, size=32, num_workers=0).sets  # noqa: B018  what is clear is the white ground
    coloured = ColourData(root=flowers, size=32, num_workers=0, background="orange")
    assert sum(map(len, coloured.sets.values())) == 15
    (flowers / "clear.png").unlink()

    page.convert("L").save(flowers / "grey.png")
    page.convert("L").convert("RGB").save(flowers / "as_colour.jpg", quality=60)
    Image.fromarray(np.zeros((40, 48), np.uint16)).save(flowers / "deep.png")
    with pytest.raises(UserError) as refused:
        ColourData(root=flowers, size=32, num_workers=0, val_fraction=0.4, test_fraction=0.3).sets  # noqa: B018
    for name in ("grey.png", "as_colour.jpg", "deep.png"):
        assert f"{name}: is grey" in str(refused.value)
    assert "data.grey=keep" in str(refused.value)
    assert ColourData(root=flowers, size=32, num_workers=0, grey="keep").sets
    rasters.write(flowers / "sixteen.tif", Raster(np.full((8, 8, 3), 3000, np.uint16), ("red", "green", "blue")))
    with pytest.raises(UserError, match=r"sixteen\.tif: has "):
        ColourData(root=flowers, size=32, num_workers=0, grey="keep").sets  # noqa: B018


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("grey", "drop", "data.grey=drop: choose one of refuse, keep"),
        ("load_size", 16, "data.load_size=16 is smaller than data.size=32"),
        ("val_fraction", 0.0, "data.val_fraction=0.0"),
        ("target_channels", 3, "data.target_channels=3: of colour these are 1"),
        ("n_train", 0, "data.n_train=0: 1 or more"),
        ("background", "nocolour", "data.background=nocolour"),
        ("root", "nowhere", "data.root=nowhere is not a folder"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(flowers, setting, value, message):
    with pytest.raises(UserError, match=message):
        ColourData(**{"root": flowers, "size": 32, "num_workers": 0, setting: value})


@pytest.fixture
def trained(configured, flowers, tmp_path):
    run(configured([*TINY, f"data.root={flowers}", *FAST]))
    return tmp_path / "run"


def test_a_run_is_judged_beside_grey_and_the_mean_colour(trained):
    results = json.loads((trained / "results.json").read_text())
    for bound in ("test", "floor", "baseline/mean_colour"):
        for name in ("psnr", "psnr_ab", "colourfulness", "colourfulness_difference"):
            assert np.isfinite(results[f"{bound}/{name}"]), f"{bound}/{name}"
    assert results["floor/colourfulness"] == pytest.approx(0, abs=0.1)
    assert results["floor/colourfulness_difference"] == pytest.approx(results["ceiling/colourfulness"], abs=0.1)
    assert "signed" in results["evaluation"]["test/colour"]["colourfulness"]
    # By hand: of the grey copies, whose a and b are 0.
    data = ColourData(root=trained.parent / "flowers", size=32, num_workers=0)
    test = [data.sets["test"][0]["target"]]
    by_hand = [-10 * torch.log10((target / 2).square().mean()) for target in test]
    assert results["floor/psnr_ab"] == pytest.approx(float(np.mean(by_hand)), abs=0.01)
    grid = images.read(trained / results["grid"], 3)
    assert grid.shape[1] == 3 * (32 + 4) + 4 or grid.shape[1] % 36 < 8  # source, result, target
    left, right = grid[4:36, 4:36].astype(int), grid[4:36, 76:108].astype(int)
    assert np.ptp(left, axis=-1).max() <= 1 < np.ptp(right, axis=-1).max()


def test_evaluation_prediction_and_python_give_the_same_picture(trained, tmp_path):
    data = ColourData(root=trained.parent / "flowers", size=32, num_workers=0)
    folder = tmp_path / "given"
    folder.mkdir()
    for index in range(len(data.real("val"))):
        Image.fromarray(data.real("val")[index].permute(1, 2, 0).numpy()).save(folder / f"{index}.png")
    predict(trained, [folder], tmp_path / "out")
    model = ganforge.load(trained)
    network = load_generator(model.checkpoint).network.eval()
    batch = data.sets["val"].__getitems__(list(range(len(data.sets["val"]))))
    with torch.no_grad():
        _, judged = data.compared(batch, network(batch["source"]))
    judged = from_unit(judged).permute(0, 2, 3, 1).numpy()
    for index, expected in enumerate(judged):
        written = images.read(tmp_path / "out" / f"{index}.png", 3)
        np.testing.assert_array_equal(written, model.translate(folder / f"{index}.png"))
        assert np.abs(written.astype(int) - expected).max() <= 1
        assert (written != expected).mean() < 0.01


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_the_numbers_are_computed_again_from_the_checkpoint(configured, flowers, tmp_path, precision):
    """In full precision, as prediction does, whatever the training computed in."""
    run(configured([*TINY, f"data.root={flowers}", *FAST, f"trainer.precision={precision}"]))
    results = json.loads((tmp_path / "run/results.json").read_text())
    again = evaluate(tmp_path / "run")
    names = [name for name in results if name.startswith(("test/", "floor/", "ceiling/", "baseline/"))]
    assert len(names) > 12
    for name in names:
        assert again[name] == pytest.approx(results[name], rel=1e-4, abs=1e-4), name


def test_a_picture_keeps_its_size_and_its_lightness(trained, flowers, tmp_path):
    model = ganforge.load(trained)
    page = Image.open(flowers / "3.png").resize((181, 97))
    picture = np.array(page)
    painted = model.translate(picture)
    assert painted.shape == picture.shape
    lightness = [colour.lab_of(tensor(part) / 255)[0] for part in (picture, painted)]
    assert (lightness[0] - lightness[1]).abs().max() < 0.5  # of 100; rounding to bytes
    # The colour is the network's, brought to the picture bilinearly.
    own = translator(load_generator(model.checkpoint))
    assert isinstance(own, ColourTranslator)
    source, _ = colour.encode(to_unit(tensor(images.resize(picture, (32, 32))))[None])
    with torch.no_grad():
        colours = interpolate(own.engine.network(source), (97, 181), mode="bilinear")
    expected = from_unit(colour.decode(colour.encode(to_unit(tensor(picture))[None])[0], colours))
    assert (expected[0].permute(1, 2, 0).int() - torch.from_numpy(painted).int()).abs().max() <= 1


def test_grey_files_of_every_kind_are_coloured_alike(trained, flowers, tmp_path):
    grey = Image.open(flowers / "3.png").convert("L").resize((50, 40))
    folder = tmp_path / "grey"
    folder.mkdir()
    grey.save(folder / "l.png")
    grey.convert("RGB").save(folder / "rgb.png")
    grey.convert("LA").save(folder / "la.png")
    grey.convert("P").save(folder / "p.png")
    Image.fromarray(np.array(grey).astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(np.array(grey).astype(np.float32) / 255).save(folder / "float.tif")
    predict(trained, [folder], tmp_path / "out")
    written = {file.name: images.read(file, 3) for file in sorted((tmp_path / "out").iterdir())}
    assert len(written) == 6
    for name, picture in written.items():
        assert picture.shape == (40, 50, 3), name
        np.testing.assert_array_equal(picture, written["rgb.png"], err_msg=name)
    assert np.ptp(written["rgb.png"].astype(int), axis=-1).max() > 1


@pytest.mark.parametrize("options", [{"full_size": True}, {"tile": 16}, {"tile": 64}])
def test_pictures_are_coloured_at_their_own_scale(trained, flowers, options):
    own = translator(load_generator(checkpoint.find(trained)), **options)
    picture = np.array(Image.open(flowers / "3.png").resize((64, 48)))
    painted = own.translate(picture)
    assert painted.shape == picture.shape
    lightness = [colour.lab_of(tensor(part) / 255)[0] for part in (picture, painted)]
    assert (lightness[0] - lightness[1]).abs().max() < 0.5


def test_a_checkpoint_says_what_its_numbers_mean_and_is_checked(trained, flowers, tmp_path):
    contents = torch.load(checkpoint.find(trained), weights_only=True)
    assert contents["ganforge"]["colour_space"] == colour.SPACE
    for change, message in (
        ({"colour_space": "YCbCr"}, "does not say its colour_space"),
        ({"colour_space": ["x"]}, "does not say its colour_space"),
        ({"provides": ["colour", "networks", "paired"]}, "says that it gives colour to pictures"),
    ):
        torch.save({**contents, "ganforge": {**contents["ganforge"], **change}}, tmp_path / "changed.ckpt")
        with pytest.raises(UserError, match=message):
            predict(tmp_path / "changed.ckpt", [flowers], tmp_path / "out")


def test_the_mean_colour_is_that_of_the_training_pictures(flowers):
    data = ColourData(root=flowers, size=32, num_workers=0)
    metric = MeanColour()
    metric.prepare(data)
    pictures = [images.resize(images.read(file, 3), (32, 32)) for file in data.files["train"]]
    expected = torch.stack([colour.encode(to_unit(tensor(picture)))[1].mean(dim=(1, 2)) for picture in pictures])
    torch.testing.assert_close(metric.mean, expected.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_arrays_and_tensors_have_the_same_colours():
    """What is computed without torch is what networks are trained with: of all lightnesses, and colours out of sRGB."""
    drawn = np.random.default_rng(0)
    picture = drawn.integers(0, 256, (64, 50, 3), dtype=np.uint8)
    picture[:4] = np.arange(200).reshape(4, 50, 1)
    source, _ = colour.encode(to_unit(tensor(picture))[None])
    np.testing.assert_allclose(lab.lightness(picture), source[0, 0], atol=1e-5)
    colours = drawn.uniform(-1, 1, (2, 64, 50)).astype(np.float32)
    expected = from_unit(colour.decode(source, torch.from_numpy(colours)[None]))[0].permute(1, 2, 0)
    painted = lab.painted(lab.lightness(picture), colours)
    assert np.abs(painted.astype(int) - expected.numpy()).max() <= 1
    assert (painted != expected.numpy()).mean() < 0.01
    grey = lab.painted(lab.lightness(picture), np.zeros_like(colours))
    assert np.ptp(grey.astype(int), axis=-1).max() <= 1
