"""Sketch to colour: what is drawn of pictures, pairs made of them, and jitter that is the same for both halves."""

import json
import shutil
import sys
from pathlib import Path

import hydra
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import killing
from ganforge.commands.check import check
from ganforge.data.pairs import PairsData
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.pictures import images
from ganforge.pictures.sketches import Canny, XDoG, of_card

SHARED = Path(__file__).resolve().parents[1].parent / "shared/data"
MAKERS = [XDoG(), Canny()]


def scene(rng: np.random.Generator, height: int = 48, width: int = 40) -> np.ndarray:
    """Flat patches of colour, uint8 (H, W, 3)."""
    patches = ndimage.gaussian_filter(rng.normal(size=(height, width)), 4)
    levels = np.digitize(patches, np.quantile(patches, [0.3, 0.6]))
    return np.array([[200, 60, 40], [30, 90, 160], [240, 220, 120]], dtype=np.uint8)[levels]


@pytest.fixture
def pictures(tmp_path):
    """A folder of twelve pictures."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(12):
        images.write(folder / f"{number}.png", scene(rng))
    return folder


@pytest.mark.parametrize("maker", MAKERS)
def test_a_sketch_has_ink_at_edges_and_is_white_elsewhere(maker):
    flat = np.full((40, 60, 3), (30, 60, 90), np.uint8)
    assert (maker(flat) == 255).all()
    flat[:, 30:] = (220, 200, 160)
    drawn = maker(flat)
    assert drawn.shape == (40, 60, 1) and drawn.dtype == np.uint8
    inked = np.flatnonzero((drawn[..., 0] < 128).mean(axis=0) > 0.8)
    assert len(inked) and abs(inked - 29.5).max() <= 3
    assert (drawn[:, :24] == 255).all() and (drawn[:, 36:] == 255).all()


def test_xdog_is_what_the_paper_computes_but_on_white():
    """Difference of Gaussians with scipy, threshold by tanh; the paper's S with 1 in place of the picture."""
    picture = scene(np.random.default_rng(1))
    grey = np.asarray(Image.fromarray(picture).convert("L"), dtype=float) / 255
    narrow, wide = (ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=4) for sigma in (0.7, 1.6 * 0.7))
    s = 1 + 12 * (narrow - wide)
    expected = np.where(s >= 0.75, 1, 1 + np.tanh(6 * (s - 0.75))).clip(0, 1) * 255
    assert np.abs(XDoG()(picture)[..., 0] - expected).max() <= 0.5 + 1e-6


def test_every_picture_of_a_folder_becomes_a_pair(pictures):
    data = PairsData(root=pictures, source="sketch", size=32, source_channels=1, num_workers=0)
    assert [len(data.sets[name]) for name in ("train", "val", "test")] == [10, 1, 1]
    for index in range(len(data.sets["val"])):
        item = data.sets["val"][index]
        picture = images.resize(images.read(data.pairs["val"][index].a, 3), (32, 32))
        assert np.array_equal(item["target"].numpy(), images.to_unit(picture))
        assert np.array_equal(item["source"].numpy(), images.to_unit(XDoG()(picture)))
    assert "XDoG" in data.notes[-1]
    assert np.array_equal(data.real("val")[0].numpy().transpose(1, 2, 0), picture)


def test_sketches_are_the_same_whether_kept_or_drawn_anew(pictures):
    options = {"root": pictures, "source": "sketch", "size": 32, "load_size": 36, "num_workers": 0, "sketch": Canny()}
    kept, anew = PairsData(**options), PairsData(**options, cache_bytes=0)
    assert kept.sets["train"].cache and not anew.sets["train"].cache
    for index in (0, 5, 17):
        one, other = kept.sets["train"][index], anew.sets["train"][index]
        assert all(np.array_equal(one[side], other[side]) for side in ("source", "target"))


def marked(root, count: int = 12) -> None:
    """Files of the recipe's form: 1024 x 512, with three discs at the same places of both halves, no two alike."""
    rng, places = np.random.default_rng(0), np.mgrid[:512, :512]
    for number in range(count):
        half = np.full((512, 512), 255, np.uint8)
        for centre, radius in zip(rng.uniform(60, 450, (3, 2)), (14, 24, 40), strict=True):
            half[((places - centre[:, None, None]) ** 2).sum(axis=0) < radius**2] = 0
        colour = np.stack([half, 255 - half, half // 2], axis=-1)
        images.write(root / f"{number}.png", np.concatenate([colour, np.repeat(half[..., None], 3, axis=2)], axis=1))


def test_jitter_is_the_same_for_both_halves(tmp_path, configured):
    """By the recipe: the window that is cut of the sketch is that of the picture, to the pixel, of 286 x 286, mirrored
    alike; and both halves of it show the same places, though each is resized in its own way.
    """
    marked(tmp_path)
    config = configured(["experiment=sketch2color", f"data.root={tmp_path}", "data.num_workers=0"])
    data = hydra.utils.instantiate(config.data, _convert_="all")
    train = data.sets["train"]
    assert (train.edge, train.size) == (286, 256) and data.channels == {"source_channels": 1, "target_channels": 3}
    before = {index: train.pictures(index) for index in range(len(train))}
    places, apart = set(), []
    for index in range(6 * len(train)):
        item = train[index]
        sketch, picture = ((1 - item["source"][0]) / 2).numpy(), ((1 - item["target"][0]) / 2).numpy()
        assert set(np.unique(item["source"])) <= {-1.0, 1.0}  # nearest: no grey that was not there
        apart.append(np.subtract(ndimage.center_of_mass(sketch), ndimage.center_of_mass(picture)))
        whole, colours = (images.to_unit(part) for part in before[index % len(train)])
        top, left, step = next(
            (top, left, step)
            for step in (1, -1)
            for top in range(31)
            for left in range(31)
            if np.array_equal(whole[0, top : top + 256, left : left + 256][:, ::step], item["source"][0])
        )
        window = colours[:, top : top + 256, left : left + 256][..., ::step]
        assert np.array_equal(window, item["target"])
        places.add((top, left, step))
    assert np.abs(apart).max() < 0.5  # of nearest neighbour, whose places are whole pixels of the file
    assert len(places) > len(train) and {step for *_, step in places} == {1, -1}


def test_a_test_picture_is_resized_and_not_cut(tmp_path, configured):
    marked(tmp_path)
    data = PairsData(
        root=tmp_path, direction="BtoA", size=256, load_size=286, source_channels=1, source_interpolation="nearest"
    )
    pair = data.pairs["val"][0]
    both = images.read(pair.a, 3)
    item = data.sets["val"][0]
    nearest = np.asarray(Image.fromarray(both[:, 512:, 0]).resize((256, 256), Image.Resampling.NEAREST))
    assert np.array_equal(item["source"][0].numpy(), images.to_unit(nearest[..., None])[0])
    assert np.array_equal(item["target"].numpy(), images.to_unit(images.resize(both[:, :512], (256, 256))))


@pytest.mark.slow
def test_the_recipe_runs_on_pictures_alone_and_is_restored(pictures, configured, tmp_path):
    settings = [
        *("experiment=sketch2color", "data.source=sketch", f"data.root={pictures}", "data.size=32"),
        *("data.load_size=36", "data.num_workers=0", "model.generator.depth=3", "model.generator.base_channels=4"),
        *("model.discriminator.base_channels=4", "trainer.precision=32", "trainer.check_val_every_n_epoch=1"),
        *("trainer.max_epochs=4", "trainer.log_every_n_steps=1"),
    ]
    run(configured(settings, "whole"))
    kept = sorted((tmp_path / "whole/checkpoints").glob("epoch_*"))
    assert [path.name for path in kept] == [f"epoch_{epoch:04d}.ckpt" for epoch in (1, 2, 3)]
    results = json.loads((tmp_path / "whole/results.json").read_text())
    assert results["images_seen"] == 32 and results["floor/psnr"] > 0
    every = "callbacks.earlier.save_top_k=-1"  # those that are left depend on what was there
    run(configured([*settings, every], "every"))
    run(configured([*settings, every, f"ckpt_path={tmp_path}/every/checkpoints/{kept[0].name}"], "restored"))
    killing.same(tmp_path / "every", tmp_path / "restored")


def test_the_recipe_says_what_was_published(configured):
    config = configured(["experiment=sketch2color", "data.root=x"])
    data, model = config.data, config.model
    assert (data.layout, data.direction, data.size, data.load_size, data.batch_size) == (
        *("side_by_side", "BtoA"), 256, 286, 4
    )  # fmt: skip
    assert (data.source_interpolation, data.target_interpolation, data.flip) == ("nearest", "bicubic", True)
    assert (model.l1_weight, model.d_weight, model.norm_mode, model.optimizer_g.lr) == (100, 1, "batch", 2e-4)
    assert model.schedule_g._target_.endswith("Constant") or model.schedule_g.get("decay_from") is None
    assert (config.trainer.max_epochs, config.trainer.check_val_every_n_epoch) == (150, 5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "sketches"}, r"data\.source=sketches: choose one of files, sketch"),
        ({"source_interpolation": "cubic"}, r"data\.source_interpolation=cubic: choose one of nearest"),
        ({"source": "sketch", "crop": True}, r"data\.source=sketch: draws from pictures of 8 bits"),
    ],
)
def test_wrong_settings_are_named(pictures, changes, said):
    with pytest.raises(UserError, match=said):
        _ = PairsData(root=pictures, size=32, **changes).sets


def test_without_scikit_image_it_says_what_to_install(monkeypatch, pictures):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(UserError, match=r'pip install "ganforge\[sketch\]"'):
        PairsData(root=pictures, source="sketch")
    PairsData(root=pictures)  # which others do not need


@pytest.mark.skipif(not (SHARED / "simpsons128").is_dir(), reason="the Simpsons are not at ../shared/data/simpsons128")
def test_real_drawings_become_lines():
    """Of outlined drawings, a few percent of the page are ink, and it lies where the picture has its own lines."""
    shares, darker = [], []
    for path in images.list_images(SHARED / "simpsons128")[::50]:
        picture = images.read(path, 3)
        ink = XDoG()(picture)[..., 0] < 128
        shares.append(ink.mean())
        darker.append(picture.mean(axis=2)[ink].mean() < picture.mean(axis=2)[~ink].mean())
    assert min(shares) > 0.01 and max(shares) < 0.3 and np.mean(darker) > 0.9


def test_check_looks_at_pictures_and_their_sketches(pictures, tmp_path, monkeypatch, capsys):
    """A copy in another split is found, and a sketch is no grey picture among colour."""
    monkeypatch.chdir(tmp_path)
    settings = ["data=pairs", "data.source=sketch", f"data.root={pictures}", "data.size=32"]
    check(settings, overwrite=True)
    assert "wrong" not in capsys.readouterr().out
    sheet = np.asarray(Image.open("lightning_logs/checks/pictures.png"))
    first = sheet[2:130, 2:130].reshape(-1, 3)
    assert np.ptp(first, axis=1).max() == 0 and (first == 255).mean() > 0.4  # left: lines on white
    assert np.ptp(sheet[2:130, 132:260].reshape(-1, 3), axis=1).max() > 100  # right: the picture
    (pictures / "val").mkdir()
    (pictures / "train").mkdir()
    for path in pictures.glob("*.png"):
        path.rename(pictures / "train" / path.name)
    shutil.copy(pictures / "train/3.png", pictures / "val/3.png")
    with pytest.raises(UserError, match="would be wrong: 1 × the same in training and val"):
        check(settings, overwrite=True)


def test_what_a_checkpoint_says_of_its_sketches_is_one_of_ours_with_numbers():
    made = of_card({"_target_": "ganforge.pictures.sketches.XDoG", "sigma": 1.5})
    assert made == XDoG(sigma=1.5)
    for wild in (
        {"_target_": "os.system", "command": "x"},
        {"_target_": "ganforge.pictures.sketches._scikit_image"},
        {"_target_": "ganforge.pictures.sketches.XDoG", "other": 1.0},
        {"_target_": "ganforge.pictures.sketches.XDoG", "sigma": "1"},
        {"_target_": "ganforge.pictures.sketches.XDoG", "sigma": float("nan")},
        {"_target_": "ganforge.pictures.sketches.Canny", "sigma": 1e9},
        {"_target_": ["ganforge.pictures.sketches.Canny"]},
        "ganforge.pictures.sketches.XDoG",
    ):
        with pytest.raises(UserError, match=r"data\.sketch: .* is no choice of data/sketch"):
            of_card(wild)
