"""images.py against values computed by hand and against Pillow."""

import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from ganforge.errors import UserError
from ganforge.pictures import images, tensors


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def write_tiff(path, array, photometric):
    """A minimal little-endian TIFF of (H, W, C), written by hand for what Pillow does not write itself."""
    height, width, channels = array.shape
    data, bits = array.tobytes(), array.dtype.itemsize * 8
    directory = 8 + len(data)
    values = directory + 2 + 12 * 10 + 4
    short, long = 3, 4
    several = channels > 2
    tags = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, channels, values if several else bits * (1 + 65536 * (channels > 1))),
        (259, short, 1, 1),
        (262, short, 1, photometric),
        (273, long, 1, 8),
        (277, short, 1, channels),
        (278, long, 1, height),
        (279, long, 1, len(data)),
        (338, short, max(1, channels - 3), 0),
    ]
    tags = [tag for tag in tags if tag[0] != 338 or channels > 3]
    out = struct.pack("<2sHI", b"II", 42, directory) + data + struct.pack("<H", len(tags))
    out += b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0" * 4
    out = out.ljust(values, b"\0") + struct.pack(f"<{channels}H", *[bits] * channels)
    path.write_bytes(out)
    return path


def test_grey_and_rgb_are_converted_both_ways(tmp_path):
    grey = save(tmp_path / "g.png", np.array([[0, 100], [200, 255]], np.uint8))
    assert images.read(grey, 1).tolist() == [[[0], [100]], [[200], [255]]]
    assert images.read(grey, 3)[1, 0].tolist() == [200, 200, 200]
    colour = save(tmp_path / "c.png", np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    assert images.read(colour, 3).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    assert images.read(colour, 1).ravel().tolist() == [76, 150, 29]  # ITU-R 601: 0.299, 0.587, 0.114 of 255


def test_channels_other_than_1_or_3_are_refused(tmp_path):
    path = save(tmp_path / "g.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(UserError, match="channels=4"):
        images.read(path, 4)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_its_range(tmp_path, suffix):
    path = save(tmp_path / f"deep{suffix}", np.array([[0, 257], [32768, 65535]], np.uint16))
    assert images.read(path, 1)[..., 0].tolist() == [[0, 1], [128, 255]]
    assert images.read(path, 3)[1, 0].tolist() == [128, 128, 128]


def test_32_bit_integer_grey_is_read_as_16_bit(tmp_path):
    path = save(tmp_path / "i.tif", np.array([[0, 65535]], np.int32))
    assert images.read(path, 1).ravel().tolist() == [0, 255]
    for wrong in (-1, 65536):
        path = save(tmp_path / "i.tif", np.array([[0, wrong]], np.int32))
        with pytest.raises(UserError, match=r"i\.tif.*outside \[0, 65535\]"):
            images.read(path, 1)


def test_big_endian_16_bit_grey(tmp_path):
    Image.fromarray(np.array([[0, 65535, 256]], np.int32)).convert("I;16B").save(tmp_path / "b.tif")
    assert images.read(tmp_path / "b.tif", 1).ravel().tolist() == [0, 255, 1]


def test_float_grey_is_zero_to_one(tmp_path):
    path = save(tmp_path / "f.tif", np.array([[0.0, 0.5, 1.0]], np.float32))
    assert images.read(path, 1).ravel().tolist() == [0, 128, 255]
    for wrong in (1.5, -0.1, float("nan")):
        path = save(tmp_path / "f.tif", np.array([[0.0, wrong]], np.float32))
        with pytest.raises(UserError, match=r"f\.tif.*outside \[0, 1\]"):
            images.read(path, 1)


@pytest.mark.parametrize("dtype, white", [(np.uint8, 255), (np.uint16, 65535)])
def test_tiff_whose_zero_is_white(tmp_path, dtype, white):
    path = write_tiff(tmp_path / "w.tif", np.array([[[0], [white]]], dtype), photometric=0)
    assert images.read(path, 1).ravel().tolist() == [255, 0]


@pytest.mark.parametrize("bands", [4, 5, 12])
def test_bands_beyond_rgb_are_refused_by_name(tmp_path, bands):
    array = np.arange(2 * 2 * bands, dtype=np.uint8).reshape(2, 2, bands)
    path = write_tiff(tmp_path / "several.tif", array, photometric=2)
    with pytest.raises(UserError, match=rf"several\.tif: has {bands} bands .*data=pairs .*data\.source_bands"):
        images.read(path, 3)


def test_one_bit(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "1.png")
    assert Image.open(tmp_path / "1.png").mode == "1"
    assert images.read(tmp_path / "1.png", 1).ravel().tolist() == [255, 0]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(tmp_path, suffix):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"c{suffix}")  # magenta and yellow ink: red
    red = images.read(tmp_path / f"c{suffix}", 3)[4, 4].astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 3
    assert images.read(tmp_path / f"c{suffix}", 1)[4, 4, 0] == pytest.approx(76, abs=3)


def test_transparency_is_on_white(tmp_path):
    rgba = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], np.uint8)
    path = save(tmp_path / "a.png", rgba)
    assert images.read(path, 3).tolist() == [[[255, 255, 255], [10, 20, 30], [127, 127, 127]]]
    la = save(tmp_path / "la.png", np.array([[[7, 0], [7, 255]]], np.uint8))
    assert Image.open(la).mode == "LA"
    assert images.read(la, 1).ravel().tolist() == [255, 7]


def test_palette_with_and_without_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "p.png")
    assert images.read(tmp_path / "p.png", 3).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    picture.save(tmp_path / "t.png", transparency=0)
    assert Image.open(tmp_path / "t.png").mode == "P"
    assert images.read(tmp_path / "t.png", 3).tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_exif_orientation_is_applied(tmp_path, suffix, dtype):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored so that it must be turned 90 degrees clockwise to be seen upright
    white = np.iinfo(dtype).max
    path = save(tmp_path / f"turned{suffix}", np.array([[white, 0, 0], [0, 0, 0]], dtype), exif=exif)
    upright = images.read(path, 1)
    assert upright.shape == (3, 2, 1)
    assert upright[0, 1, 0] == 255 and upright.sum() == 255


def test_first_of_several_frames(tmp_path):
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(tmp_path / "many.tif", save_all=True, append_images=frames[1:])
    assert np.unique(images.read(tmp_path / "many.tif", 1)).tolist() == [10]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    images.write(path, noise)
    assert images.read(path, 3).shape == (64, 64, 3)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UserError, match=f"cut{suffix}"):
        images.read(path, 3)


def test_no_image_empty_or_missing_is_named(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    for name in ("text.png", "empty.png", "missing.png"):
        with pytest.raises(UserError, match=name):
            images.read(tmp_path / name, 3)


def test_decompression_bomb_is_named(tmp_path, monkeypatch):
    path = save(tmp_path / "bomb.png", np.zeros((20, 20), np.uint8))
    monkeypatch.setattr(images, "MOST_PIXELS", 100)
    with pytest.raises(
        UserError, match=r"bomb\.png: says that it has 20×20 pixels, .*more than 100; .*GANFORGE_MOST_PIXELS"
    ):
        images.read(path, 1)


@pytest.mark.parametrize("shape, mode", [((3, 4), "L"), ((3, 4, 1), "L"), ((3, 4, 3), "RGB")])
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".bmp", ".webp"])
def test_write_reads_back_exactly(tmp_path, shape, mode, suffix):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / f"out{suffix}"
    images.write(path, array)
    if suffix != ".webp":  # WebP knows no grey
        assert Image.open(path).mode == mode
    assert np.array_equal(images.read(path, 1 if mode == "L" else 3), array.reshape(3, 4, -1))


def test_write_jpeg_is_good_and_grey_stays_grey(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    images.write(tmp_path / "ramp.jpg", ramp)
    assert Image.open(tmp_path / "ramp.jpg").mode == "L"
    assert np.abs(images.read(tmp_path / "ramp.jpg", 1)[..., 0].astype(int) - ramp).max() <= 4


def test_write_refuses_what_is_no_picture(tmp_path):
    for wrong in (np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3), np.float32), np.zeros(3, np.uint8)):
        with pytest.raises(ValueError, match="is no picture"):
            images.write(tmp_path / "x.png", wrong)
    with pytest.raises(UserError, match=r"x\.xyz"):
        images.write(tmp_path / "x.xyz", np.zeros((2, 2), np.uint8))


def test_resize_averages_and_keeps_channels():
    checker = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    for channels in (1, 3):
        small = images.resize(np.repeat(checker[..., None], channels, 2), (8, 16))
        assert small.shape == (8, 16, channels) and small.dtype == np.uint8
        assert np.abs(small[1:-1, 1:-1].astype(int) - 127).max() <= 2  # without antialiasing it would be 0 or 255


def test_resize_agrees_with_pillow():
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    wanted = np.asarray(Image.fromarray(array).resize((7, 5), Image.Resampling.BICUBIC))
    assert np.array_equal(images.resize(array, (5, 7)), wanted)


def test_unit_range_there_and_back():
    array = np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3).astype(np.uint8)
    unit = images.to_unit(array)
    assert unit.dtype == np.float32 and unit.shape == (3, 16, 16) and unit.flags.c_contiguous
    assert (unit.min(), unit.max()) == (-1, 1)
    assert unit[1, 0, 2] == pytest.approx(array[0, 2, 1] / 127.5 - 1)
    assert np.array_equal(images.from_unit(unit), array)


def test_from_unit_rounds_and_clips():
    values = np.array([-1.2, -1.0, 0.0, 2.6 / 127.5 - 1, 1.0, 7.0], np.float32).reshape(1, 1, 6)
    assert images.from_unit(values).ravel().tolist() == [0, 0, 128, 3, 255, 255]


def test_list_images_in_natural_order(tmp_path):
    for name in ("10.jpg", "2.PNG", "B1.tif", "notes.txt", "._2.jpg", "a1.webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in images.list_images(tmp_path)] == ["2.PNG", "10.jpg", "a1.webp", "B1.tif"]


def test_list_images_says_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match=r"nowhere is not a folder.*\.png"):
        images.list_images(tmp_path / "nowhere")
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"no pictures.*\.png.*folders train"):
        images.list_images(tmp_path)


def png(width: int, height: int, rows: int = 0, depth: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    """A PNG that says width×height and holds so many black rows of 8-bit grey, or `data`."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(data or bytes(rows * (width + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def said_larger(tmp_path) -> dict:
    """Files of some hundred bytes that say they are of 60,000 × 60,000 pixels, in every format."""
    small = Image.new("L", (16, 16))
    small.save(tmp_path / "small.jpg")
    jpeg = bytearray((tmp_path / "small.jpg").read_bytes())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    bitmap = b"BM" + struct.pack("<IHHI", 200, 0, 0, 54)
    bitmap += struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    tags = [(256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (279, 90)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    tiff = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(200)
    return {"x.png": png(60_000, 60_000, 1), "x.jpg": bytes(jpeg), "x.bmp": bitmap, "x.tif": tiff}


def test_what_a_picture_says_of_its_size_is_looked_at_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("decoded"))
    for name, content in said_larger(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: says that it has .*67,108,864.*GANFORGE_MOST_PIXELS"):
            images.read(tmp_path / name, 3)
    (tmp_path / "large.png").write_bytes(png(9_000, 9_000, 1))  # below Pillow's own limits
    with pytest.raises(UserError, match="9000×9000 pixels"):
        images.read(tmp_path / "large.png", 3)


@pytest.mark.slow
def test_more_pixels_are_allowed_by_the_environment(tmp_path):
    (tmp_path / "large.png").write_bytes(png(200_000, 2_000, 2_000))
    code = f"from ganforge.pictures import images; print(images.read({str(tmp_path / 'large.png')!r}, 1).shape)"
    allowed = {**os.environ, "GANFORGE_MOST_PIXELS": str(4 * 10**8)}
    answer = subprocess.run([sys.executable, "-c", code], env=allowed, capture_output=True, text=True, check=False)
    assert answer.stdout == "(2000, 200000, 1)\n", answer.stderr


def test_absurd_shapes_are_named(tmp_path):
    for size in ((1, 65_000), (65_000, 1), (3, 301)):
        Image.new("L", size).save(tmp_path / "thin.png")
        with pytest.raises(UserError, match=rf"thin\.png: has {size[0]}×{size[1]} pixels; .* at most 100 times"):
            images.read(tmp_path / "thin.png", 1)
    Image.new("L", (3, 300)).save(tmp_path / "thin.png")
    assert images.read(tmp_path / "thin.png", 1).shape == (300, 3, 1)


def test_what_is_no_file_is_named_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png: does not decode \(is a pipe"):
        images.read(tmp_path / "pipe.png", 1)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert [path.name for path in images.list_images(tmp_path)] == ["a.png"]


def test_formats_that_run_programs_are_not_opened(tmp_path):
    (tmp_path / "x.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    assert Image.open(tmp_path / "x.png").format == "EPS"  # for which Pillow starts Ghostscript
    with pytest.raises(UserError, match=r"x\.png: does not decode \(not a picture"):
        images.read(tmp_path / "x.png", 3)


def test_tensors_and_arrays_mean_the_same_by_a_number():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    unit = tensors.to_unit(levels)
    assert torch.equal(unit, torch.from_numpy(images.to_unit(levels.numpy().transpose(1, 2, 0))))
    assert unit.min() == -1 and unit.max() == 1 and torch.equal(tensors.from_unit(unit), levels)
    assert tensors.from_unit(torch.tensor([-1.2, 7.0])).tolist() == [0, 255]
    floats = levels.float()
    tensors.to_unit(floats)
    assert torch.equal(floats, levels.float())  # left as it was
