"""Files of somebody else and full disks: one sentence each, nothing lost, memory bounded, no other file opened."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tifffile

from ganforge.errors import UserError
from ganforge.pictures import images, rasters
from ganforge.pictures.rasters import Raster
from test_rasters import PLACE, gdal, located, noise, way  # noqa: F401  a fixture

rasterio = pytest.importorskip("rasterio", reason="ganforge[geo] is not installed")

GEO_TAGS = [
    (33550, "d", 3, (1.0, 1.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 5.0, 5.0, 0.0), True),
    (42113, "s", 0, "100", True),
    (
        42112,
        "s",
        0,
        '<GDALMetadata><Item name="DESCRIPTION" sample="0" role="description">x</Item></GDALMetadata>',
        True,
    ),
]


def sound(seed: int) -> bytes:
    """A small TIFF of one of many layouts."""
    rng = np.random.default_rng(seed)
    bands, dtype = int(rng.choice([1, 3, 4, 5])), rng.choice(rasters.DTYPES)
    values = (rng.normal(size=(40, 33, bands)) * 50 + 100).clip(0, 255).astype(dtype)
    options = {"tile": (16, 16)} if rng.random() < 0.5 else {"rowsperstrip": 7}
    if rng.random() < 0.6:
        options |= {"compression": "zlib", "predictor": 2 if dtype != "float32" and rng.random() < 0.5 else None}
    planar = "separate" if rng.random() < 0.3 else "contig"
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        values[..., 0]
        if bands == 1
        else values
        if planar == "contig"
        else np.ascontiguousarray(values.transpose(2, 0, 1)),
        photometric="minisblack",
        planarconfig=planar if bands > 1 else None,
        byteorder=rng.choice(["<", ">"]),
        bigtiff=bool(rng.random() < 0.2),
        metadata=None,
        extratags=GEO_TAGS,
        **options,
    )
    return file.getvalue()


def damaged(content: bytes, seed: int) -> bytes:
    """Cut off, with other bytes anywhere or among the tags, or with numbers that are far too large."""
    rng, data = np.random.default_rng([7, seed]), bytearray(content)
    if seed % 4 == 0:
        return content[: rng.integers(0, len(content))]
    if seed % 4 == 1:
        for place in rng.integers(0, len(data), rng.integers(1, 8)):
            data[place] = rng.integers(0, 256)
    elif seed % 4 == 2:
        for place in rng.integers(4, 500, rng.integers(1, 6)):
            data[place] = rng.choice([0, 1, 2, 3, 16, 127, 128, 254, 255])
    else:
        place = rng.integers(4, 400)
        data[place : place + 4] = struct.pack("<I", int(rng.choice([0, 1, 65535, 10**5, 2**31 - 1, 2**31, 2**32 - 1])))
    return bytes(data)


def test_damaged_files_are_named_in_one_sentence(tmp_path, way):  # noqa: F811
    said = 0
    for seed in range(200):
        path = tmp_path / f"{seed}.tif"
        content = sound(seed)
        path.write_bytes(damaged(content, seed))
        for attempt in (
            lambda path=path: rasters.header(path),
            lambda path=path: rasters.read(path),
            lambda path=path: rasters.read(path, window=(0, 0, 1, 1)),
            lambda path=path: images.read(path, 3),
        ):
            try:
                found = attempt()
            except UserError as error:  # and no other error
                assert str(error).startswith(str(path)) and "\n" not in str(error) and len(str(error)) < 600
                said += 1
            else:
                if seed % 4 == 0 and isinstance(found, Raster) and found.values.shape[:2] == (40, 33):
                    path.write_bytes(content)  # cut off behind its pixels: they are all there
                    assert np.array_equal(found.values, rasters.read(path).values, equal_nan=True)
    assert said > 250


def rewritten(path, content: bytes, tag: int, number: int) -> None:
    """The little-endian classic TIFF with another number (of 16 or 32 bits, in the tag itself) in one of its tags."""
    data = bytearray(content)
    begin = struct.unpack_from("<I", data, 4)[0]
    for entry in range(begin + 2, begin + 2 + 12 * struct.unpack_from("<H", data, begin)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<HII", data, entry + 2, 4, 1, number)
            path.write_bytes(data)
            return
    raise AssertionError(f"no tag {tag}")


@pytest.mark.parametrize(
    ("tag", "number"),
    [
        (256, 34),
        (256, 31),
        (256, 2**31),
        (257, 80),
        (257, 2**31),
        (277, 4),
        (277, 60_000),
        (278, 1),
        (278, 3),
        (258, 32),
        (273, 2**31),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tags_that_lie(tmp_path, way, tag, number, compression):  # noqa: F811
    file = io.BytesIO()
    values = noise((40, 32, 5), "uint16")
    tifffile.imwrite(
        file, values, photometric="minisblack", planarconfig="contig", rowsperstrip=8, compression=compression,
        metadata=None, extratags=GEO_TAGS, byteorder="<",
    )  # fmt: skip
    (tmp_path / "sound.tif").write_bytes(file.getvalue())
    assert np.array_equal(rasters.read(tmp_path / "sound.tif").values, values)
    rewritten(tmp_path / "x.tif", file.getvalue(), tag, number)
    with pytest.raises(UserError, match=r"x\.tif"):
        rasters.read(tmp_path / "x.tif")


BOUNDED = """
import json, resource, sys
if {hidden}:
    sys.modules["rasterio"] = None
from ganforge.errors import UserError
from ganforge.pictures import rasters
if not {hidden}:
    from ganforge.pictures import geotiffs
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {room}, used + {room}))
said = []
for path in {paths}:
    for attempt in (rasters.header, rasters.read, lambda path: rasters.read(path, window=(0, 0, 2, 2))):
        try:
            attempt(path)
            said.append(None)
        except UserError as error:
            said.append(str(error))
print(json.dumps(said))
"""


def huge(tmp_path) -> list:
    """Files of at most 3 MB that say they are, or become, many times what is allowed."""
    written = []

    def add(name, values, **options):
        file = io.BytesIO()
        tifffile.imwrite(file, values, photometric="minisblack", metadata=None, byteorder="<", **options)
        written.append(tmp_path / name)
        return written[-1], file.getvalue()

    deep = {"planarconfig": "contig", "extratags": GEO_TAGS}
    path, content = add("rows.tif", noise((8, 8, 13), "uint16"), **deep)
    rewritten(path, content, 257, 60_000)
    path, content = add("columns.tif", noise((8, 8, 13), "uint16"), rowsperstrip=8, compression="zlib", **deep)
    rewritten(path, content, 256, 2**30)
    path, content = add("tile.tif", noise((32, 32, 13), "uint16"), tile=(32, 32), compression="zlib", **deep)
    rewritten(path, content, 322, 2**24)
    path, content = add("strips.tif", noise((32, 32, 13), "uint16"), rowsperstrip=1, compression="zlib", **deep)
    rewritten(path, content, 278, 2**31)
    # A strip that becomes a thousand times what its pixels need.
    path, content = add("bomb.tif", noise((64, 64, 2), "uint16"), compression="zlib", rowsperstrip=64, **deep)
    bomb = zlib.compress(bytes(4 * 10**8), 1)
    data = bytearray(content + bomb)
    rewritten(path, bytes(data), 273, len(content))
    rewritten(path, path.read_bytes(), 279, len(bomb))
    assert path.stat().st_size < 3_000_000
    (tmp_path / "large.png").write_bytes(png_of_16_bits(30_000, 30_000))
    return [*written, tmp_path / "large.png"]


def png_of_16_bits(width: int, height: int) -> bytes:
    from test_images import png

    return png(width, height, depth=16, colour=2, data=bytes(1000))


@pytest.mark.parametrize("hidden", [False, True])
def test_memory_is_bounded_whatever_a_file_says(tmp_path, hidden):
    paths = huge(tmp_path)
    room = 250 * 2**20
    code = BOUNDED.format(hidden=hidden, room=room, paths=[str(path) for path in paths])
    settings = {**os.environ, "GANFORGE_MOST_PIXELS": str(2**21), "OMP_NUM_THREADS": "1"}  # 40 MiB at once
    answer = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    said = json.loads(answer.stdout.splitlines()[-1])
    for number, path in enumerate(paths):
        whole = said[3 * number + 1]
        if path.name != "bomb.tif" or hidden:  # GDAL stops where the pixels of a strip are complete
            assert whole is not None and whole.startswith(str(path)), (path, said)
            assert "emory" not in whole.removeprefix(str(path)) and "alloc" not in whole, whole


def test_nothing_but_the_file_is_opened(tmp_path):
    """GDAL knows formats that name other files and addresses, and looks for files beside."""
    values = noise((8, 9, 2), "int16")
    located(tmp_path / "secret.tif", values)
    vrt = (
        '<VRTDataset rasterXSize="9" rasterYSize="8"><VRTRasterBand dataType="Int16" band="1"><SimpleSource>'
        f"<SourceFilename>{tmp_path / 'secret.tif'}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "x.tif").write_text(vrt)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.driver == "VRT" and np.array_equal(file.read(1), values[..., 0])  # so GDAL alone
    for attempt in (rasters.read, rasters.header):
        with pytest.raises(UserError, match=r"x\.tif: does not decode \(not a picture"):
            attempt(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"x\.tif: does not decode"):
        from ganforge.pictures import geotiffs

        geotiffs.place(tmp_path / "x.tif")
    path = located(tmp_path / "plain.tif", values)
    (tmp_path / "plain.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue><Description>other</Description>'
        "</PAMRasterBand></PAMDataset>"
    )
    (tmp_path / "plain.tif.msk").write_bytes(path.read_bytes())
    with rasterio.open(path) as file:
        assert file.descriptions[0] == "other" and file.nodata == 7  # so GDAL alone
    header = rasters.header(path)
    assert header.bands == ("1", "2") and header.nodata is None
    raster = rasters.read(path, window=(0, 0, 4, 4))
    assert raster.nodata is None and raster.valid is None and np.array_equal(raster.values, values[:4, :4])
    gdal(tmp_path / "nowhere.tif", values)
    (tmp_path / "nowhere.tfw").write_text("1\n0\n0\n-1\n5\n5\n")
    assert rasters.header(tmp_path / "nowhere.tif").place is None
    assert not (tmp_path / "nowhere.tif.aux.xml").exists()


def test_a_path_is_no_address(tmp_path, monkeypatch):
    located(tmp_path / "x.tif", noise((8, 9, 2), "int16"))
    monkeypatch.chdir(tmp_path)
    for name in ("/vsicurl/http://localhost/x.tif", "http://localhost/x.tif", "zip://x.zip!x.tif", "GTIFF_DIR:1:x.tif"):
        with pytest.raises(UserError, match="does not decode"):
            rasters.read(name)
    (tmp_path / "GTIFF_DIR:1:x.tif").write_bytes((tmp_path / "x.tif").read_bytes())
    assert rasters.read("GTIFF_DIR:1:x.tif").values.shape == (8, 9, 2)  # a name like any other


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from ganforge.errors import UserError
from ganforge.pictures import rasters
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
values = np.random.default_rng(0).integers(0, 60_000, (600, 500, 2), dtype=np.uint16)
path, place = Path(sys.argv[1]), rasters.Georeference("EPSG:32631", (1.0, 0.0, 5.0, 0.0, -1.0, 5.0))
def raster():
    rasters.write(path, rasters.Raster(values, ("1", "2")))
def geotiff():
    rasters.write(path, rasters.Raster(values, ("1", "2"), place=place))
def grey():
    rasters.write(path.with_suffix(".png"), rasters.Raster(values[..., :1], ("1",)))
def scene():
    with rasters.Writer(path, height=600, width=500, dtype="uint16", bands=("1", "2"), place=place) as file:
        for top in range(0, 600, 100):
            file.write(top, values[top : top + 100])
for attempt in (raster, geotiff, grey, scene):
    try:
        attempt()
        print("written")
    except UserError as error:
        print(error)
"""


@pytest.mark.parametrize("before", [None, b"before"])
def test_a_full_disk_leaves_no_half_file(tmp_path, before):
    paths = [tmp_path / "x.tif", tmp_path / "x.png"]
    for path in paths if before else ():
        path.write_bytes(before)
    answer = subprocess.run(
        [sys.executable, "-c", FULL, str(paths[0])], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(answer) == 4
    for line, name in zip(answer, ("x.tif", "x.tif", "x.png", "x.tif"), strict=True):
        assert line.startswith(str(tmp_path / name)) and "cannot be written" in line and "make room" in line
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == (
        [("x.png", before), ("x.tif", before)] if before else []
    )
