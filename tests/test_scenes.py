"""Translations of pictures of any size and depth: tiled against whole, and what becomes of values, place and nodata."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import overrides_for_model
from ganforge import cli
from ganforge.commands import scenes
from ganforge.commands.translator import Translator
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game import Output
from ganforge.networks import ResNetGenerator, UNet
from ganforge.networks.layers import infer
from ganforge.pictures import images, rasters
from ganforge.pictures.normalization import Normalization
from ganforge.pictures.rasters import Georeference, Raster
from ganforge.pictures.sides import Side
from ganforge.runs.generators import Generator

TILE = 32
UTM = "EPSG:32631"


def generator(network: nn.Module, sides: dict[str, Side] | None = None, **card) -> Generator:
    said = {name: side.to_card() for name, side in sides.items()} if sides else None
    card = {"size": TILE, "norm_mode": "running", "fit_to_size": "squash", "sides": said, **card}
    card |= {"source_channels": 3, "target_channels": 3} if sides is None else {}
    return Generator(network=network.eval(), card=card, path=Path("x.ckpt"), output=Output("generator", "picture"))


def scene(size: int, channels: int = 3) -> np.ndarray:
    """Clouds of all sizes, uint8 (size, size, channels)."""
    rng, total = np.random.default_rng(0), 0
    for cells in (4, 16, 64, size // 2):
        coarse = torch.from_numpy(rng.normal(size=(1, channels, cells, cells)))
        total = total + nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return ((torch.tanh(total / 2) + 1) * 127.5).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()


def trained(kind: type, norm: str) -> nn.Module:
    """A network of a few steps towards local contrast, so that its weights and statistics are those of a picture."""
    torch.manual_seed(0)
    depth = {"depth": 2} if kind is ResNetGenerator else {}
    network = kind(in_channels=3, out_channels=3, size=TILE, base_channels=8, norm=norm, **depth)
    source = torch.from_numpy(scene(8 * TILE)).permute(2, 0, 1)[None] / 127.5 - 1
    blurred = nn.functional.avg_pool2d(nn.functional.pad(source, (4, 4, 4, 4), mode="reflect"), 9, 1)
    target = torch.tanh(2 * (source - blurred))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    places = np.random.default_rng(0).integers(0, 7 * TILE, (60, 8, 2))
    network.train()
    for batch in places:
        x, y = (torch.cat([of[..., a : a + TILE, b : b + TILE] for a, b in batch]) for of in (source, target))
        loss = (network(x) - y).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def seams(translator: Translator, difference: np.ndarray) -> tuple[float, float]:
    """The mean difference within 2 px of the edges of windows, and away from them."""
    tiling, near = translator.tiling(*difference.shape[:2]), np.zeros(difference.shape[:2], dtype=bool)
    for starts, mask in ((tiling.tops, near), (tiling.lefts, near.T)):
        for edge in {place for start in starts for place in (start, start + TILE)} - {0, len(near)}:
            mask[edge - 2 : edge + 2] = True
    return difference[near].mean(), difference[~near].mean()


@pytest.mark.parametrize("kind", [UNet, ResNetGenerator])
def test_tiles_of_a_network_with_running_statistics_leave_no_seams(kind):
    network, picture = generator(trained(kind, "batch")), scene(8 * TILE)
    whole = Translator(network, full_size=True).translate(picture).astype(float)

    def found(**options) -> tuple[float, float]:
        translator = Translator(network, tile=TILE, **options)
        return seams(translator, np.abs(translator.translate(picture) - whole))

    near, away = found()
    assert near <= 1.5 * away
    assert near < found(overlap=0)[0] / 4  # where tiles are put side by side the seams show
    assert found(overlap=0)[0] > 1.5 * found(overlap=0)[1]


@pytest.mark.parametrize(("norm", "mode"), [("instance", "running"), ("batch", "batch")])
def test_tiles_with_statistics_of_their_own_get_those_of_the_picture(norm, mode, monkeypatch):
    network, picture = generator(trained(UNet, norm), norm_mode=mode), scene(8 * TILE)
    whole = Translator(network, full_size=True).translate(picture).astype(float)
    translator = Translator(network, tile=TILE)
    difference = np.abs(translator.translate(picture) - whole)
    near, away = seams(translator, difference)
    assert near <= 1.5 * away
    before = {name: value.clone() for name, value in translator.engine.network.state_dict().items()}
    monkeypatch.setattr(Translator, "_sample", lambda *_: [])
    assert difference.mean() < np.abs(translator.translate(picture) - whole).mean() / 1.5
    assert all(torch.equal(value, before[name]) for name, value in translator.engine.network.state_dict().items())


def same(bands: int) -> nn.Module:
    """A network that gives its input back."""
    network = nn.Conv2d(bands, bands, 1)
    nn.init.dirac_(network.weight)
    nn.init.zeros_(network.bias)
    return network


def side(dtype: str, bands: int, low: float, high: float, nodata: float | None = None, name: str = "B") -> Side:
    names = tuple(f"{name}{band}" for band in range(bands))
    return Side(names, dtype, nodata, Normalization("minmax", (low,) * bands, (high,) * bands))


def raster(dtype: str, nodata: float | None, height: int = 75, width: int = 101) -> Raster:
    values = np.random.default_rng(0).integers(1, 5000, (height, width, 2)).astype(dtype)
    valid = None
    if nodata is not None:
        valid = np.ones((height, width), dtype=bool)
        valid[10:20, 30:70] = valid[:, :3] = False
        values[~valid] = nodata
    return Raster(values, ("B0", "B1"), nodata, valid, Georeference(UTM, (10.0, 0.0, 500_000.0, 0.0, -10.0, 5e6)))


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("int16", -999), ("float32", math.nan), ("uint16", None)])
def test_values_place_and_nodata_come_out_as_they_are(dtype, nodata, tmp_path):
    """A network that changes nothing: the file is the source, under the names of the target's bands."""
    source = raster(dtype, nodata)
    rasters.write(tmp_path / "a.tif", source)
    sides = {"source": side(dtype, 2, 0, 6000, nodata), "target": side(dtype, 2, 0, 6000, nodata, "T")}
    translator = Translator(generator(same(2), sides))
    seen = scenes.look(tmp_path / "a.tif", translator)
    windows = []
    scenes.translate(tmp_path / "a.tif", seen, translator, tmp_path / "out.tif", windows.append)
    assert sum(windows) == seen.steps(translator) > 10
    written = rasters.read(tmp_path / "out.tif")
    assert written.bands == ("T0", "T1") and written.place == source.place and written.values.dtype == dtype
    assert written.nodata == nodata or (math.isnan(nodata) and math.isnan(written.nodata))
    np.testing.assert_allclose(written.values, source.values, atol=0.01 if dtype == "float32" else 0)
    if nodata is None:
        assert written.valid is None
    else:
        np.testing.assert_array_equal(written.valid, source.valid)
    in_memory = translator.translate(source)
    np.testing.assert_array_equal(in_memory.values, written.values)
    assert in_memory.place == source.place and in_memory.bands == written.bands


def test_a_measured_value_never_reads_as_nothing():
    """Where the network gives what stands for no data, the nearest value that does not is written."""
    sides = {"source": side("uint16", 1, 0, 100), "target": side("uint16", 1, 0, 100, 0)}
    source = Raster(np.zeros((40, 40, 1), np.uint16), ("B0",), None, None)
    written = Translator(generator(same(1), sides)).translate(source)
    assert written.nodata == 0 and written.values.min() == written.values.max() == 1


def test_results_have_the_type_that_is_asked_for_where_it_holds_them():
    sides = {"source": side("uint16", 2, 0, 6000), "target": side("uint16", 2, 0, 6000, name="T")}
    own = generator(same(2), sides)
    source = raster("uint16", None)
    assert Translator(own, dtype="int16").translate(source).values.dtype == np.int16
    fine = Translator(own, dtype="float32").translate(source).values
    np.testing.assert_allclose(fine, source.values, atol=0.01)
    with pytest.raises(UserError, match="--dtype uint8: the results lie between 0 and 6000, and uint8 holds 0 to 255"):
        Translator(own, dtype="uint8")
    with pytest.raises(UserError, match="--dtype complex: choose one of uint8"):
        Translator(own, dtype="complex")
    sides["target"] = side("float32", 2, 0.0, 1.0)
    with pytest.raises(UserError, match="would round results that lie between 0 and 1 to whole numbers"):
        Translator(generator(same(2), sides), dtype="uint16")
    with pytest.raises(UserError, match="gives pictures of 8 bits"):
        Translator(generator(same(3)), dtype="float32")


def test_bands_are_taken_by_name_and_others_are_refused(tmp_path):
    source = raster("uint16", None)
    turned = Raster(np.ascontiguousarray(source.values[..., ::-1]), ("B1", "B0"), None, None, source.place)
    rasters.write(tmp_path / "turned.tif", turned)
    sides = {"source": side("uint16", 2, 0, 6000), "target": side("uint16", 2, 0, 6000)}
    translator = Translator(generator(same(2), sides))
    seen = scenes.look(tmp_path / "turned.tif", translator)
    scenes.translate(tmp_path / "turned.tif", seen, translator, tmp_path / "out.tif", lambda count: None)
    np.testing.assert_array_equal(rasters.read(tmp_path / "out.tif").values, source.values)
    rasters.write(tmp_path / "other.tif", Raster(source.values, ("red", "green"), None, None))
    with pytest.raises(UserError, match=r"other\.tif: has the bands red, green, and the model was trained with B0, B1"):
        scenes.look(tmp_path / "other.tif", translator)


def test_without_rasterio_a_scene_is_translated_in_memory(tmp_path, monkeypatch):
    source = raster("uint16", 0)
    rasters.write(tmp_path / "a.tif", source)
    sides = {"source": side("uint16", 2, 0, 6000), "target": side("uint16", 2, 0, 6000, 0)}
    translator = Translator(generator(same(2), sides))
    monkeypatch.setattr(rasters, "has_rasterio", lambda: False)
    seen = scenes.look(tmp_path / "a.tif", translator)
    scenes.translate(tmp_path / "a.tif", seen, translator, tmp_path / "out.tif", lambda count: None)
    monkeypatch.undo()
    written = rasters.read(tmp_path / "out.tif")
    np.testing.assert_array_equal(written.values, source.values)
    assert written.place == source.place and written.nodata == 0


def test_nothing_remains_where_a_scene_fails_in_the_middle(tmp_path):
    class Bursting(nn.Conv2d):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) if self.calls < 3 else x * math.inf

    rasters.write(tmp_path / "a.tif", raster("uint16", 0, 400, 2000))
    network = Bursting(2, 2, 1)
    sides = {"source": side("uint16", 2, 0, 6000), "target": side("uint16", 2, 0, 6000, 0)}
    translator = Translator(generator(network, sides))
    seen = scenes.look(tmp_path / "a.tif", translator)
    before = set(tmp_path.iterdir())
    with pytest.raises(UserError, match="not finite"):
        scenes.translate(tmp_path / "a.tif", seen, translator, tmp_path / "out.tif", lambda count: None)
    assert set(tmp_path.iterdir()) == before


def test_pictures_of_the_models_own_scale_are_translated_in_tiles_without_being_asked():
    picture = scene(3 * TILE)
    network = trained(UNet, "batch")
    own = Translator(generator(network, fit_to_size="crop")).translate(picture)
    np.testing.assert_array_equal(own, Translator(generator(network), tile=TILE).translate(picture))
    resized = Translator(generator(network)).translate(picture)
    assert (resized != own).any() and resized.shape == own.shape
    small = picture[:20, :30]
    with torch.no_grad():
        expected = infer(network, torch.from_numpy(small.transpose(2, 0, 1).copy())[None] / 127.5 - 1, "running")
    expected = ((expected[0] + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).numpy()
    given = Translator(generator(network, fit_to_size="crop")).translate(small)
    assert np.abs(given - expected).max() <= 1
    with pytest.raises(UserError, match="--tile and --full-size"):
        Translator(generator(network), tile=TILE, full_size=True)
    with pytest.raises(UserError, match=r"--overlap 0\.25: is that of tiles"):
        Translator(generator(network), overlap=0.25)


def test_pictures_with_a_place_keep_it_and_their_nodata(tmp_path):
    """Of a model of ordinary pictures: squashed as in training, or in tiles, a GeoTIFF stays where it is."""
    place = Georeference(UTM, (10.0, 0.0, 500_000.0, 0.0, -10.0, 5e6))
    names = ("1", "2", "3")
    rasters.write(tmp_path / "a.tif", Raster(scene(3 * TILE), names, place=place))
    holes = scene(3 * TILE).clip(1)
    holes[5:9, 7:70] = 0
    rasters.write(tmp_path / "holes.tif", Raster(holes, names, 0, (holes > 0).all(axis=2), place))
    squashing, tiling = Translator(generator(same(3))), Translator(generator(same(3)), tile=TILE)
    assert not scenes.look(tmp_path / "a.tif", squashing).is_scene
    assert scenes.look(tmp_path / "a.tif", squashing).place == place
    for name, picture in (("a", scene(3 * TILE)), ("holes", holes)):
        seen = scenes.look(tmp_path / f"{name}.tif", tiling)
        scenes.translate(tmp_path / f"{name}.tif", seen, tiling, tmp_path / f"{name}_out.tif", lambda count: None)
        written = rasters.read(tmp_path / f"{name}_out.tif")
        assert written.place == place and written.bands == ("red", "green", "blue")
        np.testing.assert_array_equal(written.values, picture)
    assert written.nodata == 0 and not written.valid[5:9, 7:70].any() and written.valid[9:].all()


def test_ordinary_sources_of_a_model_that_measures_are_converted(tmp_path):
    """RGB to something measured: a palette picture and one with transparency are sources too."""
    picture = scene(2 * TILE)
    Image.fromarray(picture).quantize(8).save(tmp_path / "palette.png")
    Image.fromarray(picture).convert("RGBA").save(tmp_path / "alpha.png")
    colours = Side(("red", "green", "blue"), "uint8", None, Normalization("range", (0.0,) * 3, (255.0,) * 3))
    translator = Translator(generator(same(3), {"source": colours, "target": side("float32", 3, -1.0, 1.0)}))
    for name in ("palette", "alpha"):
        seen = scenes.look(tmp_path / f"{name}.png", translator)
        assert seen.suffix == ".tif"
        scenes.translate(tmp_path / f"{name}.png", seen, translator, tmp_path / f"{name}.tif", lambda count: None)
        expected = images.read(tmp_path / f"{name}.png", 3) / 127.5 - 1
        np.testing.assert_allclose(rasters.read(tmp_path / f"{name}.tif").values, expected, atol=1e-5)


def test_a_training_on_rasters_ends_in_files_at_the_place_of_their_sources(configured, tmp_path):
    """python train.py data=pairs ..., then ganforge predict: of scenes larger than the trained size, too."""
    for name, bands in (("s1", 2), ("s2", 5)):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for number in range(6):
            values = (
                np.random.default_rng(number)
                .normal(1000, 50, (32, 32, bands))
                .astype("float32" if bands == 2 else "int16")
            )
            here = Georeference(UTM, (10.0, 0.0, 5e5, 0.0, -10.0, 5e6)).moved(0, 32 * number)
            written = Raster(values, tuple(f"{name}-{band}" for band in range(bands)), place=here)
            rasters.write(tmp_path / "pairs" / name / f"{number}.tif", written)
    folders = [
        "data.layout=folders",
        "data.source_dir=s1",
        "data.target_dir=s2",
        f"data.cache_dir={tmp_path / 'cache'}",
    ]
    run(configured([*overrides_for_model("pix2pix"), "data=pairs", f"data.root={tmp_path / 'pairs'}", *folders]))
    large = np.random.default_rng(0).normal(1000, 50, (75, 90, 2)).astype(np.float32)
    large[:20, :30] = np.nan
    place = Georeference(UTM, (10.0, 0.0, 7e5, 0.0, -10.0, 5e6))
    rasters.write(
        tmp_path / "large.tif", Raster(large, ("s1-0", "s1-1"), math.nan, np.isfinite(large).all(axis=2), place)
    )
    command = ["predict", str(tmp_path / "run"), str(tmp_path / "pairs/s1"), str(tmp_path / "large.tif")]
    assert cli.main([*command, "-o", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 7
    for name, source in (("3", tmp_path / "pairs/s1/3.tif"), ("large", tmp_path / "large.tif")):
        before, after = rasters.read(source), rasters.read(tmp_path / f"out/{name}.tif")
        assert after.values.shape == (*before.values.shape[:2], 5) and after.values.dtype == np.int16
        assert after.place == before.place and after.bands == tuple(f"s2-{band}" for band in range(5))
        np.testing.assert_array_equal(after.valid is None, before.valid is None)
        inside = after.values if after.valid is None else after.values[after.valid]
        assert inside.min() > 700 and inside.max() < 1300
    np.testing.assert_array_equal(after.valid, np.isfinite(large).all(axis=2))
    assert (
        cli.main([*command, "-o", str(tmp_path / "fine"), "--dtype", "float32", "--tile", "16", "--overlap", "0.25"])
        == 0
    )
    assert rasters.read(tmp_path / "fine/large.tif").values.dtype == np.float32
