import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ganforge.cli import main
from ganforge.commands.check import check
from ganforge.data import edges, looks
from ganforge.errors import UserError
from ganforge.pictures import rasters
from ganforge.pictures.raster_data import Raster

SIDE = 96


def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grey patches, and a photograph of them in colours and with soft texture: uint8 (96, 96, 3) both."""
    patches = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 4)
    levels = np.digitize(patches, np.quantile(patches, [0.2, 0.4, 0.6, 0.8]))
    colours = rng.integers(40, 220, (5, 3))
    texture = ndimage.gaussian_filter(rng.normal(0, 20, (SIDE, SIDE, 3)), (1, 1, 0))
    drawn = np.repeat(levels[..., None] * 60, 3, axis=2).astype(np.uint8)
    return drawn, (colours[levels] + texture).clip(0, 255).astype(np.uint8)


def moved(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    rows, columns = (np.clip(np.arange(SIDE) - by, 0, SIDE - 1) for by in (down, right))
    return picture[rows][:, columns]


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """A folder of 24 pairs side by side, drawing left and photograph right, 18 in train/ and 6 in val/."""
    rng = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        folder = tmp_path / "pairs" / ("train" if number < 18 else "val")
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / f"{number}.png", *pair(rng))
    return tmp_path / "pairs"


def save(path, left, right):
    Image.fromarray(np.concatenate([left, right], axis=1)).save(path)


def halves(path):
    both = np.asarray(Image.open(path))
    return both[:, :SIDE], both[:, SIDE:]


def is_wrong(root, *more, data="pairs"):
    """Whether training would be wrong; what was found is printed."""
    try:
        check([f"data={data}", f"data.root={root}", *more], overwrite=True)
    except UserError as error:
        assert "would be wrong" in str(error)
        return True
    return False


@pytest.mark.slow
def test_sound_pairs_end_with_status_0_and_a_sheet_that_is_not_overwritten(pairs, capsys):
    call = ["check", "data=pairs", f"data.root={pairs}"]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert "nothing suspicious" in said and "192" not in said and f"{SIDE}×{SIDE}" in said
    assert max(map(len, said.splitlines())) <= 80
    sheet = pairs.parent / "lightning_logs/checks/pairs.png"
    assert "lightning_logs/checks/pairs.png" in said
    before = sheet.read_bytes()
    assert Image.open(sheet).format == "PNG"
    assert main(call) == 1
    assert "--overwrite" in capsys.readouterr().err and sheet.read_bytes() == before
    assert main([*call, "--overwrite"]) == 0


@pytest.mark.parametrize(("down", "right"), [(5, 0), (0, -8), (-12, 12)])
def test_a_shifted_pair_is_named_with_its_shift(pairs, capsys, down, right):
    left, other = halves(pairs / "train/3.png")
    save(pairs / "train/3.png", left, moved(other, down, right))
    assert is_wrong(pairs)
    said = capsys.readouterr().out
    words = [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    words += [f"{abs(right)} px {'right' if right > 0 else 'left'}"] if right else []
    assert f"pairs that do not line up:\n  3 (train): target lies {', '.join(words)}\n" in said
    assert said.count("(train)") == 1


def test_all_pairs_shifted_alike_are_one_finding(pairs, capsys):
    for path in pairs.rglob("*.png"):
        left, other = halves(path)
        save(path, left, moved(other, 7, 0))
    assert is_wrong(pairs)
    assert "all pairs: target lies 7 px down:" in capsys.readouterr().out


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_swapped_halves_are_found_whatever_the_direction(pairs, capsys, direction):
    for name in ("train/5.png", "val/20.png"):
        save(pairs / name, *halves(pairs / name)[::-1])
    assert is_wrong(pairs, f"data.direction={direction}")
    said = capsys.readouterr().out
    assert "source and target swapped:\n  5 (train): looks the other way round\n  20 (val)" in said


@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("jpg", {"quality": 75}), ("webp", {"quality": 60})])
def test_a_picture_in_two_splits_is_a_leak_and_twice_in_one_a_note(pairs, capsys, suffix, options):
    original = Image.open(pairs / "train/2.png")
    original.save(pairs / f"train/again.{suffix}", **options)
    assert not is_wrong(pairs)
    said = capsys.readouterr().out
    assert "the same twice:\n" in said and "  2 (train): as again (train)\n" in said
    original.save(pairs / f"val/leak.{suffix}", **options)
    assert is_wrong(pairs)
    said = capsys.readouterr().out
    assert "in training and val:\n" in said and "  leak (val): as" in said


def test_another_photograph_of_the_same_drawing_is_no_duplicate(pairs, capsys):
    left, other = halves(pairs / "train/2.png")
    save(pairs / "val/other.png", left, 255 - other)
    assert not is_wrong(pairs)
    assert "the same" not in capsys.readouterr().out


def test_files_that_training_would_refuse_are_all_named(pairs, capsys):
    broken, odd = pairs / "train/4.png", pairs / "val/21.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    Image.fromarray(np.asarray(Image.open(odd))[:, :-1]).save(odd)
    assert is_wrong(pairs, "data.layout=side_by_side")
    said = capsys.readouterr().out
    assert "4 (train):" in said and "does not decode" in said and "191 is odd" in said.replace("\n", " ")


def test_pairs_of_folders_lack_partners_or_differ_in_size(pairs, capsys, tmp_path):
    for number in range(12):
        left, right = halves(pairs / f"train/{number}.png")
        for side, picture in (("a", left), ("b", right)):
            (tmp_path / "two" / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "two" / side / f"{number}.png")
    (tmp_path / "two/b/3.png").unlink()
    Image.open(tmp_path / "two/b/5.png").resize((50, 50)).save(tmp_path / "two/b/5.png")
    assert is_wrong(tmp_path / "two")
    said = capsys.readouterr().out
    assert "3.png: missing" in said and "96×96 and 50×50" in said


def test_grey_among_colour_and_empty_pictures_are_notes(pairs, capsys):
    left, right = halves(pairs / "train/6.png")
    grey = np.repeat(right.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    save(pairs / "train/6.png", left, grey)
    save(pairs / "train/7.png", np.full_like(left, 255), np.full_like(left, 128))
    save(pairs / "val/19.png", np.full_like(left, 255), np.full_like(left, 128))
    assert not is_wrong(pairs)
    said = capsys.readouterr().out
    assert "grey among colour (target):\n  6 (train): target is grey\n" in said
    assert "nearly empty:\n  7 (train): source and target\n  19 (val): source and target\n" in said
    assert "data.source_channels=1 would do" in said and "the same" not in said


def test_bands_of_rasters_are_looked_at_with_their_holes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for number in range(12):
        patches, picture = (own.astype(np.float32) for own in pair(rng))
        picture[:20, :20] = -9999
        target = moved(patches[..., :1], 9, 0) if number == 4 else patches[..., :1]
        for side, values in (("a", picture), ("b", target)):
            (tmp_path / "two" / side).mkdir(parents=True, exist_ok=True)
            nodata = -9999.0 if side == "a" else None
            rasters.write(
                tmp_path / f"two/{side}/{number}.tif",
                Raster(values, tuple(f"b{n}" for n in range(values.shape[2])), nodata=nodata),
            )
    assert is_wrong(tmp_path / "two")
    said = capsys.readouterr().out
    assert "do not line up:\n  4 (" in said and "9 px down" in said and "3×float32" in said


def test_a_folder_of_classes_is_checked_and_other_data_say_that_nothing_was(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    for number in range(20):
        folder = tmp_path / "folder" / ("one" if number % 2 else "two")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pair(rng)[1]).save(folder / f"{number}.png")
    assert not is_wrong(tmp_path / "folder", data="image_folder")
    shutil.copy(tmp_path / "folder/one/1.png", tmp_path / "folder/two/copy.png")
    (tmp_path / "folder/one/5.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert is_wrong(tmp_path / "folder", data="image_folder")
    said = capsys.readouterr().out
    assert "the same picture in two classes" in said and "one/5.png" in said
    assert main(["check", "data=lattice"]) == 0
    assert "nothing was checked" in capsys.readouterr().out
    assert main(["check", "data=pairs", f"data.root={tmp_path}", "model=pix2pix"]) == 1
    assert "data=NAME" in capsys.readouterr().err


def test_edges_of_one_picture_lie_where_it_was_moved():
    picture = pair(np.random.default_rng(3))[1]
    one, other = (edges.edges(own, None) for own in (picture, moved(picture, -6, 10)))
    fit = edges.fit(edges.surface(one, other), picture.shape[:2])
    assert fit.shift == (-6, 10) and fit.misaligned and fit.far
    assert not edges.fit(edges.surface(one, one), picture.shape[:2]).misaligned
    flat = edges.edges(np.full_like(picture, 7), None)
    assert not edges.surface(one, flat).any()


def test_equal_looks_are_pairs_of_rows_also_across_blocks(monkeypatch):
    rng = np.random.default_rng(4)
    pictures = [pair(rng)[1] for _ in range(10)]
    pictures[7] = pictures[2]
    monkeypatch.setattr(looks, "_BLOCK", 3)
    seen = [(looks.look(own, None, ("red", "green", "blue")),) for own in pictures]
    assert looks.near_duplicates(seen) == [(2, 7)]
