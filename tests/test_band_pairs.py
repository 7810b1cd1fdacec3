"""data=pairs on pictures of any bands and depth, made here as GeoTIFFs; and on real ones where they are at hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

import killing
from conftest import TINY_PIX2PIX
from ganforge.data.pairs import PairsData
from ganforge.errors import UserError
from ganforge.evaluation import BandBaselines, BandErrors, PairedMetrics
from ganforge.experiment import run
from ganforge.pictures import images, rasters
from ganforge.pictures.normalization import Statistics
from ganforge.pictures.raster_data import Georeference, Raster
from ganforge.pictures.views import View, shown_bands
from ganforge.runs import checkpoint
from ganforge.systems.pix2pix import weighted_l1

REAL = Path(__file__).resolve().parents[1].parent / "shared/data/geo_s1_s2_pairs"
PLACE = Georeference("EPSG:32631", (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0))
RADAR, OPTICAL = ("VV", "VH"), ("B2", "B3", "B4", "B8", "B11")


def write(path, values, bands, *, nodata=None, valid=None, place=PLACE):
    path.parent.mkdir(parents=True, exist_ok=True)
    rasters.write(path, Raster(np.ascontiguousarray(values), tuple(bands), nodata, valid, place))


def scene(number: int, height=20, width=24) -> tuple[np.ndarray, np.ndarray]:
    """Two bands of float32 in dB, and five of int16, of which the first three follow from them."""
    rng = np.random.default_rng([7, number])
    radar = rng.normal([-12, -19], [3, 4], (height, width, 2)).astype(np.float32)
    following = [1000 + 30 * radar[..., 0], 900 + 20 * radar[..., 1], 2000 + 10 * radar.sum(axis=-1)]
    others = [rng.normal(3000, 400, (height, width)), rng.integers(0, 5000, (height, width))]
    return radar, np.rint(np.stack([*following, *others], axis=-1)).astype(np.int16)


def write_scenes(root, count=10, holes=(), **shape):
    """Pairs s1/NAME.tif and s2/NAME.tif; holes: those whose target has nodata in its upper left quarter."""
    for number in range(count):
        radar, optical = scene(number, **shape)
        valid = np.ones(optical.shape[:2], dtype=bool)
        valid[: len(valid) // 2, : valid.shape[1] // 2] = number not in holes
        write(root / f"s1/{number}.tif", radar, RADAR)
        write(root / f"s2/{number}.tif", optical, OPTICAL, nodata=-9999.0 if holes else None, valid=valid)
    return root


def data(root, **changes):
    options = {"layout": "folders", "source_dir": "s1", "target_dir": "s2", "num_workers": 0}
    return PairsData(root=str(root), **(options | {"cache_dir": str(root / "cache")} | changes))


def middle(values, size):
    top, left = (values.shape[0] - size) // 2, (values.shape[1] - size) // 2
    return values[top : top + size, left : left + size]


def test_channels_size_and_normalization_follow_from_the_files(tmp_path):
    module = data(write_scenes(tmp_path))
    assert module.settled == {
        "size": 16, "crop": True, "source_channels": 2, "target_channels": 5,
        "source_normalization": "percentiles", "target_normalization": "minmax",
    }  # fmt: skip
    assert module.fit_to_size == "crop"
    source, target = module.sides["source"], module.sides["target"]
    assert (source.bands, source.dtype, target.bands, target.dtype) == (RADAR, "float32", OPTICAL, "int16")
    trained = [int(pair.name) for pair in module.sets["train"].pairs]
    radar, optical = (np.concatenate([scene(n)[side].reshape(-1, c) for n in trained]) for side, c in ((0, 2), (1, 5)))
    assert target.normalization.low == tuple(optical.min(axis=0))  # of the training pictures alone
    assert target.normalization.high == tuple(optical.max(axis=0))
    found = [source.normalization.low, source.normalization.high]
    np.testing.assert_allclose(found, np.percentile(radar.astype(np.float64), [1, 99], axis=0), rtol=1e-12)


@pytest.mark.parametrize("kind", ["minmax", "range", "percentiles", "deviation"])
def test_targets_come_back_exactly_and_sources_are_clipped_at_percentiles(tmp_path, kind):
    module = data(write_scenes(tmp_path), target_normalization=kind)
    for split in ("val", "test"):
        dataset = module.sets[split]
        for index, pair in enumerate(dataset.pairs):
            sample, (radar, optical) = dataset[index], scene(int(pair.name))
            back = module.sides["target"].normalization.decode(sample["target"].numpy())
            assert np.array_equal(np.rint(back), middle(optical, 16))
            own = module.sides["source"].normalization
            clipped = middle(radar, 16).clip(own.low, own.high)
            np.testing.assert_allclose(own.decode(sample["source"].numpy()), clipped, rtol=1e-5)
            assert "valid" not in sample


@pytest.mark.parametrize("kept", [2**30, 0])
def test_training_windows_are_those_of_the_files_on_both_sides_whether_kept_or_not(tmp_path, kept):
    module = data(write_scenes(tmp_path, holes=[0, 1, 2]), cache_bytes=kept)
    dataset = module.sets["train"]
    places = set()
    for index in range(40):
        sample, pair = dataset[index], dataset.pairs[index % len(dataset)]
        _, optical = scene(int(pair.name))
        rng = np.random.default_rng([0, index])
        top, left = int(rng.integers(0, 5)), int(rng.integers(0, 9))
        step = -1 if rng.random() < 0.5 else 1
        places.add((top, left, step))
        valid = sample["valid"][0].bool().numpy()
        expected = optical[top : top + 16, left : left + 16][:, ::step]
        back = np.rint(module.sides["target"].normalization.decode(sample["target"].numpy()))
        assert np.array_equal(back[valid], expected[valid])
        assert torch.equal(sample["target"][:, ~valid], torch.zeros(5, int((~valid).sum())))
        hole = np.zeros(optical.shape[:2], dtype=bool)
        hole[:10, :12] = int(pair.name) in (0, 1, 2)
        assert np.array_equal(~valid, hole[top : top + 16, left : left + 16][:, ::step])
    assert len(places) > 20


def test_a_sample_depends_on_neither_workers_nor_memory(tmp_path):
    write_scenes(tmp_path, holes=[4])
    shown = []
    for options in ({}, {"cache_bytes": 0}, {"cache_bytes": 0}):
        dataset = data(tmp_path, **options).sets["train"]
        loader = DataLoader(dataset, batch_size=4, num_workers=2 * (len(shown) == 2))
        shown.append([batch[name] for batch in loader for name in ("source", "target", "valid")])
    assert all(torch.equal(one, other) for others in shown[1:] for one, other in zip(shown[0], others, strict=True))


def test_statistics_leave_out_nodata_and_are_found_again_by_what_the_files_are(tmp_path, monkeypatch):
    write_scenes(tmp_path, holes=range(10))
    first = data(tmp_path)
    assert min(first.sides["target"].normalization.low) > -9999
    (cached,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr("ganforge.pictures.normalization.Accumulator.of", None)  # nothing is computed again
    assert data(tmp_path).sides == first.sides
    monkeypatch.undo()
    assert len(data(tmp_path, source_bands=["VH"]).sides["source"].bands) == 1
    radar, _ = scene(99)
    write(tmp_path / "s1/0.tif", radar * 2, RADAR)
    assert data(tmp_path).sides != first.sides
    assert len(list((tmp_path / "cache").iterdir())) == 3 and cached.is_file()


def test_bands_are_chosen_by_name_and_number_on_either_side(tmp_path):
    write_scenes(tmp_path)
    module = data(tmp_path, direction="BtoA", source_bands=["B8", 1, "B3"], target_bands=[2])
    assert (module.sides["source"].bands, module.sides["target"].bands) == (("B8", "B2", "B3"), ("VH",))
    assert module.channels == {"source_channels": 3, "target_channels": 1}
    sample, name = module.sets["val"][0], int(module.sets["val"].pairs[0].name)
    back = module.sides["target"].normalization.decode(sample["target"].numpy())
    np.testing.assert_allclose(back, middle(scene(name)[0], 16)[..., 1:], rtol=1e-6)
    with pytest.raises(UserError, match="has no band B9; its 5 bands are B2, B3, B4, B8, B11"):
        data(tmp_path, target_bands=["B9"]).sets  # noqa: B018


def test_both_sides_can_be_bands_of_one_file(tmp_path):
    for number in range(6):
        write(tmp_path / f"{number}.tif", scene(number)[1], OPTICAL)
    module = data(tmp_path, layout="bands", source_bands=["B4", "B3", "B2"], target_bands=["B8"])
    sample, name = module.sets["val"][0], int(module.sets["val"].pairs[0].name)
    assert sample["source"].shape == (3, 16, 16)
    back = np.rint(module.sides["target"].normalization.decode(sample["target"].numpy()))
    assert np.array_equal(back[..., 0], middle(scene(name)[1], 16)[..., 3])
    with pytest.raises(UserError, match=r"data\.layout=bands: .* give data\.source_bands and data\.target_bands"):
        data(tmp_path, layout="bands", source_bands=["B4"])


def test_halves_of_deep_pictures(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (6, 16, 32, 1), dtype=np.uint16)
    for number, picture in enumerate(values):
        write(tmp_path / f"{number}.tif", picture, ["1"], place=None)
    module = data(tmp_path, layout="auto", direction="BtoA")
    assert (
        "twice as wide as high" in module.notes[0]
        and module.settled["size"] == 16
        and module.channels == {"source_channels": 1, "target_channels": 1}
    )
    sample, name = module.sets["val"][0], int(module.sets["val"].pairs[0].name)
    back = np.rint(module.sides["target"].normalization.decode(sample["target"].numpy()))
    assert np.array_equal(back, values[name][:, :16])


def test_ordinary_pictures_stay_as_they_were(tmp_path):
    for number in range(6):
        rng = np.random.default_rng(number)
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "b").mkdir(exist_ok=True)
        images.write(tmp_path / f"a/{number}.png", rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
        images.write(tmp_path / f"b/{number}.png", rng.integers(0, 256, (20, 30), dtype=np.uint8))
    module = PairsData(root=str(tmp_path), num_workers=0)
    assert module.settled == {
        "size": 256, "crop": None, "source_channels": 3, "target_channels": 3,
        "source_normalization": None, "target_normalization": None,
    }  # fmt: skip
    assert module.sides is None and module.fit_to_size == "squash"
    cropped = PairsData(root=str(tmp_path), num_workers=0, crop=True, cache_dir=str(tmp_path / "cache"))
    assert cropped.settled["size"] == 16 and cropped.sides is None and cropped.fit_to_size == "crop"
    sample, name = cropped.sets["val"][0], cropped.sets["val"].pairs[0].name
    whole = images.read(tmp_path / f"a/{name}.png", 3)
    assert np.array_equal(images.from_unit(sample["source"].numpy()), middle(whole, 16))


def test_ordinary_targets_of_measured_sources_keep_their_range(tmp_path):
    for number in range(6):
        write(tmp_path / f"s1/{number}.tif", scene(number)[0], RADAR)
        (tmp_path / "s2").mkdir(exist_ok=True)
        images.write(tmp_path / f"s2/{number}.png", np.full((20, 24, 3), 40 * number, dtype=np.uint8))
    module = data(tmp_path)
    assert module.sides["target"].bands == ("red", "green", "blue")
    assert module.sides["target"].normalization.kind == "range" and module.sides["source"].bands == RADAR
    name = int(module.sets["val"].pairs[0].name)
    assert float(module.sets["val"][0]["target"].mean()) == pytest.approx(40 * name / 127.5 - 1, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"place": Georeference("EPSG:32630", PLACE.transform)},
            "coordinate systems differ, EPSG:32631 and EPSG:32630",
        ),
        ({"place": PLACE.moved(0, 1)}, "they lie 1 pixels apart"),
        ({"values": np.zeros((10, 12, 5), np.int16)}, "the sizes differ, 24×20 and 12×10"),
    ],
)
def test_pairs_on_other_grids_are_refused_with_the_command_that_warps(tmp_path, change, message):
    write_scenes(tmp_path)
    write(tmp_path / "s2/3.tif", **({"values": scene(3)[1], "bands": OPTICAL} | change))
    with pytest.raises(UserError) as error:
        data(tmp_path, size=8).sets  # noqa: B018
    said = str(error.value)
    assert message in said and "1 faults in 10 pairs" in said
    a, b = tmp_path / "s1/3.tif", tmp_path / "s2/3.tif"
    assert f"rio warp {b} OUTPUT.tif --like {a}" in said
    assert f"gdalwarp -t_srs EPSG:32631 -te 500000 4599800 500240 4600000 -ts 24 20 {b} OUTPUT.tif" in said


def test_ordinary_pictures_that_say_where_they_lie_must_lie_at_one_place(tmp_path):
    for number in range(6):
        for side in ("s1", "s2"):
            moved = PLACE.moved(5, 0) if (side, number) == ("s2", 4) else PLACE
            write(tmp_path / f"{side}/{number}.tif", np.zeros((20, 24, 3), np.uint8), ["1", "2", "3"], place=moved)
    assert data(tmp_path).measured is None
    with pytest.raises(UserError, match=r"1 faults in 6 pairs(?s:.*)they lie 5 pixels apart.*rio warp .*s2/4\.tif"):
        data(tmp_path).sets  # noqa: B018


def test_grids_a_hundredth_of_a_pixel_apart_and_one_without_a_place_are_accepted(tmp_path):
    write_scenes(tmp_path)
    a, b, c, d, e, f = PLACE.transform
    write(tmp_path / "s2/3.tif", scene(3)[1], OPTICAL, place=Georeference(PLACE.crs, (a, b, c + 0.1, d, e, f)))
    write(tmp_path / "s2/4.tif", scene(4)[1], OPTICAL, place=None)
    assert len(data(tmp_path).sets["train"]) == 8


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda root: write(root / "s2/2.tif", scene(2)[1][..., :3], OPTICAL[:3]),
            "must hold the same bands of one type",
        ),
        (lambda root: write(root / "s2/2.tif", scene(2)[1], OPTICAL[::-1]), "B11, B8, B4, B3, B2.*choose them by name"),
        (lambda root: write(root / "s2/2.tif", scene(2)[1].astype(np.float32), OPTICAL), r"\(float32\)"),
        (lambda root: (root / "s2/2.tif").unlink(), r"s2/2\.tif: missing, the partner of"),
        (lambda root: (root / "s2/2.tif").write_bytes((root / "s2/2.tif").read_bytes()[:900]), r"s2/2\.tif"),
    ],
)
def test_files_that_do_not_belong_together_are_named(tmp_path, break_it, message):
    break_it(write_scenes(tmp_path))
    with pytest.raises(UserError, match=f"(?s){message}"):
        data(tmp_path).sets  # noqa: B018


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": False}, r"data\.crop=false: .* cut at their own scale"),
        ({"size": 16, "load_size": 18}, r"data\.load_size=18: .* not resized"),
        ({"size": 32}, r"24×20 pixels, of which none is a window of data\.size=32; use data\.size=16"),
        ({"source_channels": 3}, r"data\.source_channels=3: .* give 2 bands \(VV, VH\)"),
        ({"target_normalization": "zscore"}, r"data\.target_normalization=zscore: choose one of auto, range, minmax"),
        ({"source_bands": []}, r"data\.source_bands=\[\]: names of bands"),
        ({"source_bands": "VV"}, r"data\.source_bands=VV: names of bands"),
    ],
)
def test_settings_that_would_change_values_are_refused(tmp_path, options, message):
    write_scenes(tmp_path)
    with pytest.raises(UserError, match=message):
        data(tmp_path, **options).sets  # noqa: B018


def test_unusual_values_are_said(tmp_path):
    write_scenes(tmp_path, holes=[0])
    first = data(tmp_path)
    trained, validated = ([int(pair.name) for pair in first.sets[split].pairs] for split in ("train", "val"))
    for number in trained:
        optical = scene(number)[1]
        optical[..., 4] = 7
        nowhere = np.full(optical.shape[:2], number != trained[0])
        write(tmp_path / f"s2/{number}.tif", optical, OPTICAL, nodata=-9999.0, valid=nowhere)
    for number in validated:
        write(tmp_path / f"s1/{number}.tif", scene(number)[0] + np.float32([0, 60]), RADAR)
    said = "\n".join(data(tmp_path).notes)
    assert f"1 of 10 targets, such as {trained[0]}, have no valid pixel: nothing is learned from them" in said
    assert "target: B11 has one value in all training pictures" in said
    assert (
        "source: in val the values are far from those of the training: VH (4" in said
        and "VV" not in said.split("far")[1]
    )
    assert "target: 5 bands (B2, B3, B4, B8, B11) of int16, nodata -9999, normalized by the extremes" in said


@pytest.mark.parametrize("split", ["train", "val"])
def test_no_valid_pixel_in_a_split_is_refused(tmp_path, split):
    write_scenes(tmp_path, holes=[0])
    nothing = np.zeros((20, 24), dtype=bool)
    for pair in data(tmp_path).sets[split].pairs:
        write(pair.b, scene(0)[1], OPTICAL, nodata=-9999.0, valid=nothing)
    with pytest.raises(UserError, match=r"no pixel of any target picture for \w+ is valid.*\(-9999\.0\)"):
        data(tmp_path).sets  # noqa: B018


def test_files_are_looked_at_in_blocks_with_the_same_numbers(tmp_path, monkeypatch):
    write_scenes(tmp_path, holes=[2])
    monkeypatch.setattr("ganforge.data.pair_sides._BLOCK", 24 * 5 * 3)
    kept = data(tmp_path)
    assert kept.sides == data(tmp_path, cache_bytes=0, cache_dir=str(tmp_path / "other")).sides
    monkeypatch.undo()
    whole = data(tmp_path, cache_dir=str(tmp_path / "third")).sides
    assert whole["target"] == kept.sides["target"]  # extremes
    np.testing.assert_allclose(whole["source"].normalization.low, kept.sides["source"].normalization.low, rtol=1e-12)


# What is learned and measured


def test_what_was_not_measured_has_no_part_in_the_loss_nor_in_what_the_discriminator_sees():
    from test_adversarial import pix2pix  # the system of those tests, of 1 and 1 channels

    system = pix2pix("none", torch.optim.Adam)
    generator = torch.Generator().manual_seed(0)
    source, target, fake = torch.rand(3, 2, 1, 16, 16, generator=generator) * 2 - 1
    valid = (torch.rand(2, 1, 16, 16, generator=generator) < 0.7).float()
    batch = {"source": source, "target": target * valid, "valid": valid}
    other = torch.where(valid > 0, fake, torch.full_like(fake, 0.9))
    for losses, name in ((system.g_losses, "fake"), (system.d_losses, "fake")):
        terms, others = losses(batch, {name: fake}), losses(batch, {name: other})
        assert all(torch.equal(terms[key], others[key]) for key in terms)
    term = weighted_l1(fake, target, 1.0, valid)
    assert float(term) == pytest.approx(float(((fake - target).abs() * valid).sum()) / fake.numel(), rel=1e-6)
    assert torch.equal(weighted_l1(fake, target, 1.0, torch.ones_like(valid)), weighted_l1(fake, target, 1.0))
    halves = [weighted_l1(fake[i : i + 1], target[i : i + 1], 1.0, valid[i : i + 1]) for i in range(2)]
    assert float(sum(halves) / 2) == pytest.approx(float(term), rel=1e-6)  # as two processes would


def test_errors_are_those_of_the_valid_pixels_in_the_unit_of_the_files(tmp_path):
    module = data(write_scenes(tmp_path, holes=range(0, 10, 2)), target_normalization="percentiles", val_fraction=0.3)
    metric, paired = BandErrors(), PairedMetrics()
    metric.prepare(module)
    dataset, errors, truths = module.sets["val"], [], []
    generator = torch.Generator().manual_seed(0)
    for index, pair in enumerate(dataset.pairs):
        batch = default_collate([dataset[index]])
        guessed = torch.rand(batch["target"].shape, generator=generator) * 2 - 1
        metric.update(batch, guessed, dataset)
        paired.update(batch, guessed, dataset)
        truth = middle(scene(int(pair.name))[1], 16).astype(np.float64)
        valid = batch["valid"][0, 0].bool().numpy()
        back = module.sides["target"].normalization.decode(guessed[0].numpy())
        errors.append((back - truth)[valid])
        truths.append(truth[valid])
    errors, truths = np.concatenate(errors), np.concatenate(truths)
    found, near = metric.compute(), paired.compute()
    for band, name in enumerate(OPTICAL):
        assert found[f"mae/{name}"] == pytest.approx(np.abs(errors[:, band]).mean(), rel=1e-5)
        assert found[f"rmse/{name}"] == pytest.approx(np.sqrt((errors[:, band] ** 2).mean()), rel=1e-5)
        assert found[f"r2/{name}"] == pytest.approx(
            1 - (errors[:, band] ** 2).sum() / ((truths[:, band] - truths[:, band].mean()) ** 2).sum(), rel=1e-4
        )
    statistics: Statistics = module.measured.found.statistics["train", "target"]
    scale = np.array(statistics.maximum) - np.array(statistics.minimum)
    assert near["l1"] == pytest.approx((np.abs(errors) / scale).mean(), rel=1e-4)


def test_psnr_and_ssim_of_fully_valid_pictures_do_not_depend_on_there_being_a_mask():
    target = torch.rand(3, 2, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    guessed = (target + 0.2).clamp(-1, 1)
    values = []
    for mask in ({}, {"valid": torch.ones(3, 1, 16, 16)}):
        metric = PairedMetrics()
        metric.update({"target": target, **mask}, guessed, None)
        values.append(metric.compute())
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    hole = torch.ones(3, 1, 16, 16)
    hole[..., :4] = 0
    numbers = []
    for nonsense in (-1.0, 1.0):
        metric = PairedMetrics()
        metric.update({"target": target, "valid": hole}, torch.where(hole > 0, guessed, nonsense), None)
        metric.update({"target": target, "valid": 0 * hole}, torch.full_like(guessed, nonsense), None)
        numbers.append(metric.compute())
    assert numbers[0] == numbers[1]


def test_the_baselines_are_the_mean_and_the_least_squares_fit_of_the_training(tmp_path):
    module = data(write_scenes(tmp_path, holes=[1]), source_normalization="minmax", size=16)
    metric = BandBaselines()
    metric.prepare(module)
    for index in range(len(module.sets["test"])):
        metric.update(default_collate([module.sets["test"][index]]), None, None)
    found = metric.compute()

    def pixels(split):
        rows = []
        for pair in module.sets[split].pairs:
            radar, optical = (middle(values, 16) for values in scene(int(pair.name)))
            hole = np.zeros((20, 24), dtype=bool)
            hole[:10, :12] = pair.name == "1"
            rows.append([values[~middle(hole, 16)].astype(np.float64) for values in (radar, optical)])
        return [np.concatenate(side) for side in zip(*rows, strict=True)]

    (x, y), (x_test, y_test) = pixels("train"), pixels("test")
    fit = np.linalg.lstsq(np.c_[np.ones(len(x)), x], y, rcond=None)[0]
    guesses = {
        "mean": np.broadcast_to(y.mean(axis=0), y_test.shape),
        "linear": np.c_[np.ones(len(x_test)), x_test] @ fit,
    }
    for name, guess in guesses.items():
        for band, label in enumerate(OPTICAL):
            expected = np.sqrt(((guess - y_test)[:, band] ** 2).mean())
            assert found[f"baseline/{name}/rmse/{label}"] == pytest.approx(expected, rel=1e-4)
    assert found["baseline/linear/r2/B4"] > 0.999 > 0.1 > abs(found["baseline/mean/r2/B4"])


def test_a_view_is_three_named_bands_or_one_grey_with_a_contrast_that_stays():
    assert shown_bands(OPTICAL) == (2, 1, 0)
    assert shown_bands(("Blue", "Green", "Red", "NIR")) == (2, 1, 0)
    assert shown_bands(("1", "2", "3", "4")) == (0, 1, 2) and shown_bands(RADAR) == (0,)
    view = View((2, 1, 0), (-1.0, -1.0, 0.0), (0.0, 1.0, 0.5))
    shown = view(torch.tensor([[0.25, 0.0, -0.5, 9.0]])[..., None, None])
    assert shown.shape == (1, 3, 1, 1) and shown.flatten().tolist() == [0.0, 0.0, 0.0]
    assert view(torch.full((1, 4, 1, 1), 5.0)).flatten().tolist() == [1.0, 1.0, 1.0]


# Whole trainings

SMALL = [
    *(setting for setting in TINY_PIX2PIX if not setting.startswith("data.n_")),
    "data=pairs", "data.layout=folders", "data.source_dir=s1", "data.target_dir=s2", "model/generator=unet",
    "model.discriminator.layers=2",
]  # fmt: skip


def settings(root, *more: str) -> list[str]:
    return [*SMALL, f"data.root={root}", f"data.cache_dir={root / 'cache'}", *more]


@pytest.mark.slow
def test_a_training_goes_on_bit_for_bit_and_its_checkpoint_says_what_the_numbers_mean(configured, tmp_path):
    root = write_scenes(tmp_path / "scenes", holes=[0, 3, 5])
    more = ["trainer.max_epochs=3", "callbacks.earlier.save_top_k=-1", "data.num_workers=1"]
    run(configured(settings(root, *more), "whole"))
    first = tmp_path / "whole/checkpoints/epoch_0001.ckpt"
    (root / "cache").rename(root / "emptied")
    run(configured(settings(root, *more, f"ckpt_path={first}"), "again"))
    killing.same(tmp_path / "whole", tmp_path / "again")
    card = checkpoint.load(tmp_path / "whole")["ganforge"]
    sides = checkpoint.sides_in(card)
    assert sides == data(root).sides and card["source_channels"] == 2 and card["fit_to_size"] == "crop"
    assert card["networks"]["generator"]["out_channels"] == 5 and card["config"]["data"]["size"] == 16
    results = json.loads((tmp_path / "whole/results.json").read_text())
    for label in OPTICAL:
        for prefix in ("test", "final/test", "baseline/mean", "baseline/linear"):
            assert math.isfinite(results[f"{prefix}/mae/{label}"]) and math.isfinite(results[f"{prefix}/rmse/{label}"])
    assert (tmp_path / "whole/samples/evolution.gif").is_file()


def test_evaluating_a_checkpoint_gives_the_numbers_of_its_run(configured, tmp_path):
    from ganforge.commands.evaluate import of_run

    root = write_scenes(tmp_path / "scenes", holes=[0, 3, 5])
    run(configured(settings(root)))
    results = json.loads((tmp_path / "run/results.json").read_text())
    again = of_run(tmp_path / "run", None, None, None)
    for key in ("test/l1", "test/psnr", "test/ssim", "test/mae/B4", "test/r2/B8", "baseline/linear/mae/B2"):
        assert again[key] == pytest.approx(results[key], rel=1e-5)


def test_a_mean_and_deviation_needs_a_linear_output(configured, tmp_path):
    root = write_scenes(tmp_path / "scenes")
    run(configured(settings(root, "data.target_normalization=deviation")))
    card = checkpoint.load(tmp_path / "run")["ganforge"]
    assert card["networks"]["generator"]["output"] == "linear"
    with pytest.raises(UserError, match=r"target_normalization=deviation has values beyond .*, where UNet ends; use"):
        run(configured(settings(root, "data.target_normalization=deviation", "model.generator.output=tanh"), "other"))


def test_bfloat16_does_not_round_what_is_measured(configured, tmp_path, monkeypatch):
    root = write_scenes(tmp_path / "scenes")
    seen = []
    monkeypatch.setattr(BandErrors, "update", lambda self, batch, generated, dataset: seen.append(generated))
    run(configured([*settings(root), "trainer.precision=bf16-mixed"]))
    assert any(bool((picture.bfloat16().float() != picture).any()) for picture in seen)


@pytest.mark.slow
def test_a_checkpoint_of_before_these_settings_is_resumed(configured, tmp_path, folders):
    """It lacks them; what is not there is what is null."""
    plain = [*TINY_PIX2PIX, "data=pairs", f"data.root={folders / 'pairs'}", "data.size=32", "model.generator.depth=3"]
    ordinary = [*plain, "trainer.max_epochs=2", "callbacks.earlier.save_top_k=-1"]
    run(configured(ordinary))
    last = tmp_path / "run/checkpoints/epoch_0000.ckpt"
    contents = torch.load(last, weights_only=True)
    config = contents["ganforge"]["config"]
    for name in ("crop", "source_bands", "target_bands", "source_normalization", "target_normalization", "cache_dir"):
        del config["data"][name]
    del config["model"]["generator"]["output"], contents["ganforge"]["sides"]
    torch.save(contents, last)
    run(configured([*ordinary, f"ckpt_path={last}"], "on"))
    killing.same(tmp_path / "run", tmp_path / "on")


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/geo_s1_s2_pairs")
def test_the_real_radar_and_optical_pairs(tmp_path):
    module = PairsData(
        root=str(REAL), layout="folders", source_dir="s1", target_dir="s2", cache_dir=str(tmp_path), num_workers=0
    )
    assert module.channels == {"source_channels": 2, "target_channels": 13} and module.size == 64
    assert module.sides["target"].bands[-5:] == ("B8A", "B9", "B10", "B11", "B12")
    sample = module.sets["test"][0]
    pair = module.sets["test"].pairs[0]
    back = np.rint(module.sides["target"].normalization.decode(sample["target"].numpy()))
    assert np.array_equal(back, rasters.read(pair.b).values)
    assert module.real("test")[0].shape == (3, 64, 64)
