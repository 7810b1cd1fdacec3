"""rasters.py against rasterio, tifffile and Pillow, with and without rasterio: nothing is reduced."""

import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from ganforge.errors import UserError
from ganforge.pictures import images, rasters
from ganforge.pictures.rasters import Georeference, Raster
from test_images import png

rasterio = pytest.importorskip("rasterio", reason="ganforge[geo] is not installed")
rasterio_copy = pytest.importorskip("rasterio.shutil").copy

PLACE = Georeference("EPSG:32631", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_800_000.0))
REAL = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(params=["rasterio", "without rasterio"])
def way(request, monkeypatch):
    """Both ways of reading; what is installed is hidden in the second."""
    if request.param == "without rasterio":
        hide(monkeypatch)
    return request.param


def hide(monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert not rasters.has_rasterio()


def noise(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def gdal(path, values, **options):
    """A TIFF as rasterio writes it; values (H, W, C)."""
    height, width, count = values.shape
    options = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": values.dtype, **options}
    names = options.pop("names", ())
    with rasterio.open(path, "w", **options) as file:
        file.write(values.transpose(2, 0, 1))
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return path


def located(path, values, **options):
    return gdal(path, values, crs=PLACE.crs, transform=rasterio.Affine(*PLACE.transform), **options)


@pytest.mark.parametrize("place", [None, PLACE])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("dtype", rasters.DTYPES)
def test_written_and_read_again_in_full(tmp_path, dtype, bands, place):
    names = tuple(f"B{band}" for band in range(bands))
    raster = Raster(noise((9, 7, bands), dtype), names, None, None, place)
    rasters.write(tmp_path / "x.tif", raster)
    again = rasters.read(tmp_path / "x.tif")
    assert again.values.dtype == dtype and np.array_equal(again.values, raster.values)
    assert (again.bands, again.nodata, again.valid, again.place) == (names, None, None, place)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert np.array_equal(file.read().transpose(1, 2, 0), raster.values)
        assert file.descriptions == names and rasterio.enums.ColorInterp.alpha not in file.colorinterp
        assert place is None or (file.crs.to_string(), tuple(file.transform)[:6]) == (place.crs, place.transform)
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif").reshape(raster.values.shape), raster.values)


LAYOUTS = {
    "strips": {"blockysize": 3},
    "tiles": {"tiled": True, "blockxsize": 16, "blockysize": 16},
    "separate": {"interleave": "band"},
    "separate tiles": {"interleave": "band", "tiled": True, "blockxsize": 16, "blockysize": 16},
    "big endian": {"ENDIANNESS": "BIG"},
    "BigTIFF": {"BIGTIFF": "YES"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compress", ["none", "deflate", "packbits", "lzw", "zstd"])
@pytest.mark.parametrize(
    "dtype, predictor", [("uint16", 1), ("uint16", 2), ("int16", 2), ("float32", 1), ("float32", 3)]
)
def test_every_layout_of_a_tiff(tmp_path, way, layout, compress, dtype, predictor):
    values = noise((21, 37, 3), dtype)
    options = LAYOUTS[layout] if compress in ("none", "packbits") else {**LAYOUTS[layout], "predictor": predictor}
    path = located(tmp_path / "x.tif", values, compress=compress, photometric="MINISBLACK", **options)
    if way == "without rasterio" and compress in ("lzw", "zstd"):
        with pytest.raises(
            UserError, match=rf"x\.tif: is compressed by {compress.upper()}.*'ganforge\[geo\]'.*imagecodecs"
        ):
            rasters.read(path)
        return
    assert np.array_equal(rasters.read(path).values, values)
    window = rasters.read(path, window=(5, 17, 16, 20), bands=[3, "1"])
    assert np.array_equal(window.values, values[5:21, 17:37, [2, 0]]) and window.bands == ("3", "1")
    with rasterio.open(path) as file:
        moved = file.window_transform(rasterio.windows.Window(17, 5, 20, 16))
    assert window.place.crs == PLACE.crs and window.place.transform == tuple(moved)[:6]
    header = rasters.header(path)
    assert (header.height, header.width, header.dtype, header.bands) == (21, 37, dtype, ("1", "2", "3"))
    assert header.place == rasters.read(path).place and not header.is_ordinary


def test_cloud_optimized_geotiff_with_overviews_and_mask(tmp_path, way):
    values = noise((600, 600, 2), "uint16")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        located(tmp_path / "x.tif", values)
        with rasterio.open(tmp_path / "x.tif", "r+") as file:
            mask = np.full((600, 600), 255, np.uint8)
            mask[:100] = 0
            file.write_mask(mask)
        rasterio_copy(tmp_path / "x.tif", tmp_path / "cog.tif", driver="COG", compress="deflate", predictor=2)
    with rasterio.open(tmp_path / "cog.tif") as file:
        assert file.overviews(1) and file.mask_flag_enums[0] == [rasterio.enums.MaskFlags.per_dataset]
    raster = rasters.read(tmp_path / "cog.tif", window=(90, 300, 20, 30))
    assert np.array_equal(raster.values, values[90:110, 300:330])
    assert not raster.valid[:10].any() and raster.valid[10:].all()


@pytest.mark.parametrize(
    "colour, bands", [(0, ("1",)), (2, ("1", "2", "3")), (4, ("1", "alpha")), (6, ("1", "2", "3", "alpha"))]
)
def test_png_of_16_bits(tmp_path, way, colour, bands):
    values = noise((5, 6, len(bands)), "uint16")
    if bands[-1] == "alpha":
        values[2, 3, -1] = 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    (tmp_path / "x.png").write_bytes(png(6, 5, depth=16, colour=colour, data=rows))
    raster = rasters.read(tmp_path / "x.png")
    assert raster.values.dtype == np.uint16 and np.array_equal(raster.values, values) and raster.bands == bands
    assert (raster.valid is None) == (bands[-1] != "alpha")
    assert raster.valid is None or np.argwhere(~raster.valid).tolist() == [[2, 3]]
    header = rasters.header(tmp_path / "x.png")
    assert (header.dtype, header.bands, header.is_ordinary) == ("uint16", bands, False)
    if len(bands) > 1:
        with pytest.raises(UserError, match=r"x\.png: has 16-bit .*data=pairs reads all of it"):
            images.read(tmp_path / "x.png", 3)
    (tmp_path / "cut.png").write_bytes((tmp_path / "x.png").read_bytes()[:-40])
    with pytest.raises(UserError, match=r"cut\.png: does not decode"):
        rasters.read(tmp_path / "cut.png")


@pytest.mark.parametrize("extra", [None, 0, 1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_fourth_band_is_alpha_only_where_the_file_says_so(tmp_path, way, dtype, extra):
    values = noise((5, 6, 4), dtype)
    values[..., 3] = np.iinfo(dtype).max
    values[0, 0, 3] = 0
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=[extra or 0], metadata=None)
    if extra is None:  # a tag without which the fourth band has no meaning at all
        content = path.read_bytes()
        place = content.index(b"\x52\x01\x03\x00")
        path.write_bytes(content[:place] + b"\xff\xfe" + content[place + 2 :])
    says_alpha = extra in (1, 2)
    header = rasters.header(path)
    assert header.is_ordinary == (says_alpha and dtype == "uint8")
    if header.is_ordinary:
        assert header.bands == ("1", "2", "3")
        assert np.array_equal(rasters.read(path).values, images.read(path, 3))
        assert images.read(path, 3)[0, 0].tolist() == [255, 255, 255] or extra == 1
        return
    raster = rasters.read(path)
    assert np.array_equal(raster.values, values) and raster.bands == ("1", "2", "3", "alpha" if says_alpha else "4")
    assert np.array_equal(raster.valid, values[..., 3] > 0) if says_alpha else raster.valid is None
    with pytest.raises(UserError, match=r"x\.tif: has (4 bands|16-bit colour).*data\.source_bands"):
        images.read(path, 3)


def test_a_band_that_has_another_name_is_no_alpha(tmp_path, way):
    values = noise((5, 6, 4), "uint8")
    path = located(tmp_path / "x.tif", values, photometric="RGB", ALPHA="YES", names=("R", "G", "B", "NIR"))
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == rasterio.enums.ColorInterp.alpha  # so GDAL, and its tag says it too
    raster = rasters.read(path)
    assert np.array_equal(raster.values, values) and raster.bands == ("R", "G", "B", "NIR") and raster.valid is None
    with pytest.raises(UserError, match=r"x\.tif: has 4 bands \(R, G, B, NIR\)"):
        images.read(path, 3)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "int8"])
@pytest.mark.parametrize("bands", [2, 3, 4, 12])
def test_what_8_bits_do_not_hold_is_refused_by_name(tmp_path, dtype, bands):
    gdal(tmp_path / "x.tif", noise((5, 6, bands), dtype), photometric="RGB" if bands in (3, 4) else "MINISBLACK")
    with pytest.raises(UserError, match=r"x\.tif: has .*data=pairs"):
        images.read(tmp_path / "x.tif", 3)
    assert not rasters.header(tmp_path / "x.tif").is_ordinary


def test_deep_grey_that_is_reduced_is_said_once(tmp_path, caplog):
    images._say_reduced.cache_clear()
    for name in "ab":
        Image.fromarray(np.full((4, 4), 257, np.uint16)).save(tmp_path / f"{name}.png")
        assert images.read(tmp_path / f"{name}.png", 1).max() == 1
        assert rasters.read(tmp_path / f"{name}.png").values.max() == 257
    assert [record.message for record in caplog.records] == [
        "16-bit pictures are reduced to 256 levels of grey; data=pairs reads them in full"
    ]


def odd_pictures(folder):
    picture = Image.fromarray(noise((6, 8, 3), "uint8"))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=exif)
    picture.convert("L").save(folder / "turned.tif", exif=exif)
    picture.convert("P").save(folder / "palette.png")
    picture.convert("P").save(folder / "palette.tif")
    picture.convert("P").save(folder / "clear.png", transparency=3)
    picture.convert("CMYK").save(folder / "cmyk.tif")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("LA").save(folder / "la.png")
    picture.convert("RGBA").save(folder / "rgba.tif")
    picture.convert("1").save(folder / "1.tif")
    picture.convert("1").save(folder / "1.png")
    picture.save(folder / "jpeg.tif", compression="jpeg")
    picture.save(folder / "lzw.tif", compression="tiff_lzw")
    picture.save(folder / "x.bmp")
    picture.save(folder / "x.webp")
    tifffile.imwrite(folder / "zero.tif", noise((6, 8), "uint8"), photometric="miniswhite")
    located(folder / "place.tif", noise((6, 8, 3), "uint8"), photometric="RGB")
    return sorted(folder.iterdir())


def test_odd_modes_are_read_as_ordinary_pictures(tmp_path, way):
    paths = odd_pictures(tmp_path)
    assert len(paths) == 17
    for path in paths:
        header = rasters.header(path)
        wanted = images.read(path, len(header.bands))
        assert header.is_ordinary and header.dtype == "uint8" and (header.height, header.width) == wanted.shape[:2]
        grey = path.stem in ("turned", "la", "1", "zero") and path.name != "turned.jpg"
        assert len(header.bands) == (1 if grey else 3), path
        raster = rasters.read(path)
        assert np.array_equal(raster.values, wanted) and raster.bands == header.bands
        window = rasters.read(path, window=(1, 2, 3, 4), bands=[header.bands[-1]])
        assert np.array_equal(window.values, wanted[1:4, 2:6, -1:])
        assert (header.place is not None) == (path.stem == "place")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_are_turned_upright(tmp_path, way, orientation):
    values = noise((4, 6), "uint16")
    tifffile.imwrite(tmp_path / "x.tif", values, metadata=None, extratags=[(274, "H", 1, orientation, True)])
    picture = Image.fromarray(values)
    picture.getexif()[0x0112] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(rasters.read(tmp_path / "x.tif").values[..., 0], wanted)
    header = rasters.header(tmp_path / "x.tif")
    assert (header.height, header.width) == wanted.shape
    window = rasters.read(tmp_path / "x.tif", window=(1, 1, 2, 3))
    assert np.array_equal(window.values[..., 0], wanted[1:3, 1:4])


@pytest.mark.parametrize("nodata", [-9999.0, math.nan, -3.4028234663852886e38, math.inf])
def test_nodata_nan_and_infinities_are_not_valid(tmp_path, way, nodata):
    values = noise((5, 6, 2), "float32")
    values[0, 0, 1] = nodata
    values[1, 1, 0], values[2, 2, 1] = np.nan, -np.inf
    raster = rasters.read(located(tmp_path / "x.tif", values, nodata=nodata))
    assert np.argwhere(~raster.valid).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert np.array_equal(raster.values, values, equal_nan=True)
    assert raster.nodata == nodata or math.isnan(nodata) == math.isnan(raster.nodata)
    assert rasters.read(tmp_path / "x.tif", bands=[1]).valid[0, 0] == math.isfinite(values[0, 0, 0])


def test_nodata_of_whole_numbers(tmp_path, way):
    values = noise((5, 6, 2), "int16").clip(-100, 100)
    values[3, 4, 0] = -9999
    raster = rasters.read(gdal(tmp_path / "x.tif", values, nodata=-9999))
    assert np.argwhere(~raster.valid).tolist() == [[3, 4]] and raster.nodata == -9999
    tifffile.imwrite(
        tmp_path / "y.tif", values.astype(np.uint16), metadata=None, extratags=[(42113, "s", 0, "-9999", True)]
    )
    raster = rasters.read(tmp_path / "y.tif")
    assert raster.nodata is None and raster.valid is None  # no uint16 is


def test_types_that_become_others_keep_their_values(tmp_path, way):
    def read(values, **options):
        return rasters.read(located(tmp_path / f"{values.dtype}.tif", values, **options))

    small = noise((5, 6, 2), "int8")
    assert read(small).values.dtype == np.int16 and np.array_equal(read(small).values, small)
    whole = np.array([[[-(2**24)], [2**24], [-(2**31)]]], np.int32)
    raster = read(whole, nodata=-(2**31))
    assert raster.values.dtype == np.float32 and np.array_equal(raster.values, whole.astype(np.float32))
    assert raster.valid.tolist() == [[True, True, False]] and raster.nodata == -(2.0**31)
    with pytest.raises(
        UserError, match=r"uint32\.tif: has whole numbers from 1 to 16777217, which float32 does not hold"
    ):
        read(np.array([[[1], [2**24 + 1]]], np.uint32))
    lowest = float(np.finfo(np.float64).min)
    raster = read(np.array([[[0.1], [lowest], [2.5]]]), nodata=lowest)
    assert raster.values.dtype == np.float32 and raster.valid.tolist() == [[True, False, True]]
    assert math.isnan(raster.nodata) and math.isnan(raster.values[0, 1, 0]) and raster.values[0, 2, 0] == 2.5
    with pytest.raises(UserError, match=r"complex64\.tif: its values are of type complex64"):
        read(np.zeros((4, 4, 1), np.complex64))


def test_bands_by_name_and_number(tmp_path, way):
    values = noise((5, 6, 4), "int16")
    path = located(tmp_path / "x.tif", values, names=("B4", "3", "B2", "B2"))
    assert rasters.header(path).bands == ("B4", "3", "B2", "4")  # a second of one name goes by its number
    assert np.array_equal(rasters.read(path, bands=["B2", "B4"]).values, values[..., [2, 0]])
    assert np.array_equal(rasters.read(path, bands=["3", 3]).values, values[..., [1, 2]])  # a name, a number
    for wrong in ("B9", 0, 5, "-1", "²"):
        with pytest.raises(
            UserError, match=rf"x\.tif: has no band {wrong}; its 4 bands are B4, 3, B2, 4, also .* 1 to 4"
        ):
            rasters.read(path, bands=[wrong])
    with pytest.raises(UserError, match="no band is asked for"):
        rasters.read(path, bands=[])
    for window in ((0, 0, 6, 6), (-1, 0, 2, 2), (0, 0, 0, 3), (4, 5, 1, 2)):
        with pytest.raises(UserError, match=r"x\.tif: the window of .* leaves its 6×5 pixels"):
            rasters.read(path, window=window)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("point", [False, True])
def test_place_is_carried_over_without_rasterio(tmp_path, monkeypatch, turned, point):
    transform = rasterio.Affine(3.0, 1.0, 7e5, 0.5, -4.0, 4e6) if turned else rasterio.Affine(2.5, 0, 7e5, 0, -2.5, 4e6)
    crs = rasterio.CRS.from_proj4("+proj=laea +lat_0=52 +lon_0=10 +x_0=1 +y_0=2 +ellps=GRS80")  # has no number
    source = gdal(
        tmp_path / "x.tif", noise((8, 9, 2), "int16"), crs=crs, transform=transform, nodata=-1, names=("a", "b")
    )
    if point:
        with rasterio.open(source, "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
    with rasterio.open(source) as file:
        wanted = file.crs, file.transform
    hide(monkeypatch)
    raster = rasters.read(source, window=(2, 3, 5, 6))
    out = Raster(noise((5, 6, 3), "float32"), ("u", "v", "w"), math.nan, None, raster.place)
    rasters.write(tmp_path / "out.tif", out)
    monkeypatch.undo()
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.crs == wanted[0]
        assert np.allclose(tuple(file.transform), tuple(wanted[1] * rasterio.Affine.translation(3, 2)), rtol=1e-12)
        assert file.descriptions == ("u", "v", "w") and math.isnan(file.nodata)
        assert np.array_equal(file.read().transpose(1, 2, 0), out.values)


def test_what_needs_rasterio_says_how_to_install_it(tmp_path, monkeypatch):
    hide(monkeypatch)
    install = r"pip install 'ganforge\[geo\]'"
    with pytest.raises(UserError, match=rf"x\.tif.*EPSG:32631.*{install}"):
        rasters.write(tmp_path / "x.tif", Raster(np.zeros((4, 4, 1), np.uint8), ("1",), place=PLACE))
    with pytest.raises(UserError, match=rf"x\.tif: a scene is written in parts.*{install}"):
        rasters.Writer(tmp_path / "x.tif", height=4, width=4, dtype="uint8", bands=["1"])
    assert list(tmp_path.iterdir()) == []


def test_invalid_pixels_are_written_as_nodata(tmp_path, way):
    values, valid = noise((5, 6, 2), "float32"), np.ones((5, 6), bool)
    valid[2, 3] = False
    rasters.write(tmp_path / "x.tif", Raster(values, ("1", "2"), None, valid))
    again = rasters.read(tmp_path / "x.tif")
    assert np.array_equal(again.valid, valid) and math.isnan(again.nodata)
    assert np.array_equal(again.values[valid], values[valid])
    with pytest.raises(ValueError, match="needs a nodata value"):
        rasters.write(tmp_path / "y.tif", Raster(values.astype(np.uint8), ("1", "2"), None, valid))
    with pytest.raises(UserError, match=r"y\.tif: nodata=-9999\.0 is no value of uint8"):
        rasters.write(tmp_path / "y.tif", Raster(values.astype(np.uint8), ("1", "2"), -9999.0, valid))


def test_other_formats_take_what_they_hold(tmp_path):
    for name, shape, dtype in (
        ("a.png", (5, 6, 3), "uint8"),
        ("b.png", (5, 6, 1), "uint16"),
        ("c.bmp", (5, 6, 1), "uint8"),
    ):
        raster = Raster(noise(shape, dtype), tuple("123"[: shape[2]]))
        rasters.write(tmp_path / name, raster)
        assert np.array_equal(rasters.read(tmp_path / name).values, raster.values)
    for name, shape, dtype in (
        ("d.png", (5, 6, 2), "uint8"),
        ("d.jpg", (5, 6, 1), "uint16"),
        ("d.png", (5, 6, 1), "float32"),
    ):
        with pytest.raises(UserError, match=rf"{name}: {shape[2]} bands of {dtype} are written as \.tif"):
            rasters.write(tmp_path / name, Raster(noise(shape, dtype), tuple("123"[: shape[2]])))
    with pytest.raises(ValueError, match="is no raster"):
        Raster(np.zeros((4, 4, 2), np.float64), ("1", "2"))


def test_a_scene_is_written_in_parts(tmp_path):
    values = noise((700, 600, 2), "int16")
    with rasters.Writer(
        tmp_path / "x.tif", height=700, width=600, dtype="int16", bands=("a", "b"), nodata=-1, place=PLACE
    ) as scene:
        for top in range(0, 700, 90):
            scene.write(top, values[top : top + 90])
        assert not (tmp_path / "x.tif").exists()
    with rasterio.open(tmp_path / "x.tif") as file:
        assert np.array_equal(file.read().transpose(1, 2, 0), values)
        assert (file.descriptions, file.nodata, file.crs.to_string()) == (("a", "b"), -1, PLACE.crs)
        assert tuple(file.transform)[:6] == PLACE.transform and file.block_shapes[0] == (256, 256)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]


def test_a_scene_that_is_not_finished_leaves_what_was_there(tmp_path):
    (tmp_path / "x.tif").write_bytes(b"before")

    def scene():
        return rasters.Writer(tmp_path / "x.tif", height=600, width=300, dtype="uint8", bands=["1"])

    with pytest.raises(ZeroDivisionError), scene() as file:
        file.write(0, np.ones((300, 300, 1), np.uint8))
        raise ZeroDivisionError
    with pytest.raises(ValueError, match=r"x\.tif: 300 of 600 rows"), scene() as file:
        file.write(0, np.ones((300, 300, 1), np.uint8))
    with pytest.raises(ValueError, match="row 5"), scene() as file:
        file.write(5, np.ones((300, 300, 1), np.uint8))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.tif", b"before")]


def test_windows_of_a_file_that_changes_and_in_other_processes_and_threads(tmp_path):
    first, second = noise((300, 300, 2), "uint16", 1), noise((300, 300, 2), "uint16", 2)
    path = located(tmp_path / "x.tif", first, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    tops = np.random.default_rng(0).integers(0, 250, 40).tolist()

    def agrees(values, top):
        return np.array_equal(rasters.read(path, window=(top, 9, 50, 60)).values, values[top : top + 50, 9:69])

    assert agrees(first, 3)  # and the file stays open
    child = os.fork()
    if child == 0:
        os._exit(0 if all(agrees(first, top) for top in tops) else 1)
    assert all(agrees(first, top) for top in tops)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda top: agrees(first, top), tops))
    located(tmp_path / "new.tif", second, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    (tmp_path / "new.tif").replace(path)
    assert agrees(second, 3)


def shown(raster):
    return np.ones(raster.values.shape[:2], bool) if raster.valid is None else raster.valid


def real_files():
    return sorted(REAL.glob("geo_*/**/*.tif"))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data is not here")
def test_real_files_are_read_alike_both_ways_and_keep_their_place(tmp_path, monkeypatch):
    paths = real_files()
    assert len(paths) > 300
    read = {path: rasters.read(path) for path in paths}
    for path, raster in read.items():
        with rasterio.open(path) as file:
            assert np.array_equal(raster.values, file.read().transpose(1, 2, 0)), path
            assert (raster.place.crs, raster.place.transform) == (file.crs.to_string(), tuple(file.transform)[:6])
            assert raster.bands == tuple(name or str(i) for i, name in enumerate(file.descriptions, 1))
            assert raster.nodata == file.nodata
            if file.nodata is not None:
                assert np.array_equal(shown(raster), file.dataset_mask() > 0)
    for path in paths[::20]:
        rasters.write(tmp_path / "x.tif", read[path])
        with rasterio.open(path) as before, rasterio.open(tmp_path / "x.tif") as after:
            for name in ("crs", "transform", "nodata", "descriptions", "dtypes", "shape"):
                assert getattr(before, name) == getattr(after, name), (path, name)
            assert np.array_equal(before.read(), after.read())
    hide(monkeypatch)
    for path, raster in read.items():
        plain = rasters.read(path)
        assert np.array_equal(plain.values, raster.values) and plain.values.dtype == raster.values.dtype
        assert (plain.bands, plain.nodata, plain.place.crs) == (raster.bands, raster.nodata, raster.place.crs)
        assert np.allclose(plain.place.transform, raster.place.transform, rtol=1e-12)
        assert np.array_equal(shown(plain), shown(raster))
