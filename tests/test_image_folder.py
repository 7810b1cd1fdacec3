"""data=image_folder: folders made here, and real pictures where they are at hand."""

import os
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from conftest import ROOT
from ganforge.data import decoded
from ganforge.data.decoded import Fit, OnDemand, Stored, decode
from ganforge.data.image_folder import ImageFolderData
from ganforge.errors import UserError
from ganforge.pictures import images

REAL = ROOT.parent / "shared" / "data"


def needs(folder):
    return pytest.mark.skipif(not (REAL / folder).is_dir(), reason=f"../shared/data/{folder} is not there")


def write(path, value, size=(16, 16), channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, np.full((*size, channels), value, np.uint8))


def write_classes(root, counts, first=0):
    """Class k has counts[name] pictures; picture i of all shows the value first + i. Returns value -> class name."""
    names = {}
    for name, count in counts.items():
        for _ in range(count):
            value = first + len(names)
            write(root / name / f"{value}.png", value)
            names[value] = name
    return names


def folder(root, **changes):
    return ImageFolderData(**({"root": str(root), "size": 8, "batch_size": 2} | changes))


def values(data, split):
    return [int(picture[0, 0, 0]) for picture in data.real(split)]


def test_one_folder_is_split_by_name_and_split_seed(tmp_path):
    write_classes(tmp_path, {"": 40})
    data = folder(tmp_path, seed=0)
    train, val = values(data, "train"), values(data, "val")
    assert (len(train), len(val)) == (36, 4)
    assert sorted(train + val) == list(range(40))
    assert values(data, "test") == val
    assert values(folder(tmp_path, seed=1), "val") == val
    assert values(folder(tmp_path, split_seed=1), "val") != val
    assert data.provides == {"image"} and data.class_names == () and data.real_labels("val") is None
    assert "36 training pictures" in data.notes[0] and "no classes" in data.notes[0]
    assert "4 pictures were held out" in data.notes[1] and "no folder test" in data.notes[2]


def test_class_folders_give_labels_in_the_order_of_their_names(tmp_path):
    names = write_classes(tmp_path, {"b10": 10, "b2": 30, "a": 20})
    (tmp_path / "notes").mkdir()  # holds no pictures: no class
    write(tmp_path / ".hidden" / "1.png", 0)
    data = folder(tmp_path)
    assert data.class_names == ("a", "b2", "b10") and data.n_classes == 3
    assert data.provides == {"image", "label", "some_labels"}
    for split, counts in (("train", [18, 27, 9]), ("val", [2, 3, 1])):
        labels = data.real_labels(split)
        assert np.bincount(labels).tolist() == counts
        assert [data.class_names[label] for label in labels] == [names[value] for value in values(data, split)]
    batch = data.sets["train"].__getitems__([0, 1, 2, 3])
    assert batch["label"].tolist() == [0, 1, 2, 0]
    few = folder(tmp_path, n_train=4)
    assert few.real_labels("train").tolist() == [0, 1, 2, 0]
    assert values(few, "val") == values(data, "val")


def test_chosen_classes_alone(tmp_path):
    names = write_classes(tmp_path, {"a": 10, "b": 10, "c": 10})
    write(tmp_path / "loose.png", 99)
    data = folder(tmp_path, classes=["c", "a"])
    assert data.class_names == ("a", "c")
    assert {names[value] for value in values(data, "train")} == {"a", "c"}
    assert folder(tmp_path, classes="b").class_names == ("b",)


@pytest.mark.parametrize("val", ["val", "Valid", "validation"])
def test_folders_of_splits_are_honoured(tmp_path, val):
    for i, split in enumerate(("Train", val, "test")):
        write_classes(tmp_path / split, {"a": 4, "b": 2}, first=10 * i)
    data = folder(tmp_path)
    assert sorted(values(data, "train")) == list(range(0, 6))
    assert sorted(values(data, "val")) == list(range(10, 16))
    assert sorted(values(data, "test")) == list(range(20, 26))
    assert len(data.notes) == 1 and not data.test_is_val
    write_classes(tmp_path / val, {"z": 1}, first=50)
    with pytest.raises(UserError, match="classes z, which are not trained on"):
        folder(tmp_path).sets  # noqa: B018
    assert len(folder(tmp_path, classes=["a", "b"]).real("val")) == 6


def test_train_without_val_and_val_without_test(tmp_path):
    write_classes(tmp_path / "train", {"": 20})
    data = folder(tmp_path)
    assert (len(data.real("train")), len(data.real("val"))) == (18, 2)
    write_classes(tmp_path / "test", {"": 3}, first=50)
    data = folder(tmp_path)
    assert (len(data.real("train")), len(data.real("val"))) == (18, 2)
    assert sorted(values(data, "test")) == [50, 51, 52]


def test_without_held_out_pictures_the_training_pictures_are_used_and_it_is_said(tmp_path):
    write_classes(tmp_path, {"": 10})
    data = folder(tmp_path, val_fraction=0)
    assert values(data, "train") == values(data, "val") == values(data, "test") == list(range(10))
    assert any("training pictures themselves" in note for note in data.notes)


def test_the_middle_square_of_pictures_of_any_shape(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200  # the middle third
    images.write(tmp_path / "wide.png", wide)
    high = wide.transpose(1, 0, 2)
    images.write(tmp_path / "high.png", np.ascontiguousarray(high))
    fit = Fit(size=20, channels=3)
    for name in ("wide", "high"):
        square = fit(tmp_path / f"{name}.png")
        assert square.shape == (3, 20, 20) and (square == 200).all()
    squashed = Fit(size=20, channels=3, crop=False)(tmp_path / "wide.png")
    expected = np.array(Image.fromarray(wide).resize((20, 20), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(squashed, expected)
    # Averaged, not skipped over: stripes of one pixel become grey.
    stripes = np.zeros((64, 200, 1), np.uint8)
    stripes[:, ::2] = 255
    images.write(tmp_path / "stripes.png", stripes)
    small = Fit(size=8, channels=1)(tmp_path / "stripes.png")
    assert small.shape == (1, 8, 8) and np.abs(small.astype(int) - 128).max() < 12
    for height, width in ((7, 100), (33, 34), (1, 1), (100, 3)):
        write(tmp_path / "odd.png", 5, (height, width))
        assert fit(tmp_path / "odd.png").shape == (3, 20, 20)


def test_transparency_takes_the_background(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, 4:] = (255, 0, 0, 255)
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    Image.fromarray(rgba).quantize(4).save(tmp_path / "palette.png")
    for i in range(8):
        write(tmp_path / f"other{i}.png", 9, (8, 8))
    for background, expected in (("white", (255, 255, 255)), ("black", (0, 0, 0)), ("#102030", (16, 32, 48))):
        data = folder(tmp_path, background=background, val_fraction=0)
        rows = {path.stem: row for row, path in enumerate(data.files["train"][0])}
        for name in ("clear", "palette"):
            picture = data.real("train")[rows[name]]
            assert tuple(picture[:, 0, 0].tolist()) == expected
            assert picture[:, 0, 7].tolist() == [255, 0, 0]


def test_grey_or_colour_as_asked(tmp_path):
    write_classes(tmp_path, {"": 6})
    write(tmp_path / "grey.png", 77, channels=1)
    for channels in (1, 3):
        data = folder(tmp_path, channels=channels)
        assert data.sets["train"][0]["image"].shape == (channels, 8, 8)
        assert 77 in values(data, "train") + values(data, "val")


def test_all_broken_files_are_named_at_once(tmp_path):
    write_classes(tmp_path, {"": 30})
    for name in ("3", "17"):
        path = tmp_path / f"{name}.png"
        path.write_bytes(path.read_bytes()[:45])
    (tmp_path / "text.jpg").write_text("no picture")
    for keep, cache_dir in ((2**20, tmp_path / "cache"), (0, tmp_path / "cache"), (0, tmp_path / "text.jpg")):
        with pytest.raises(UserError, match="3 of 31 pictures cannot be used") as caught:
            folder(tmp_path, cache_bytes=keep, cache_dir=str(cache_dir)).sets  # noqa: B018
        assert all(name in str(caught.value) for name in ("3.png", "17.png", "text.jpg"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_pictures_too_many_for_memory_are_kept_in_a_file_that_is_found_again(tmp_path, monkeypatch):
    write_classes(tmp_path / "set", {"a": 19, "b": 20})
    changed = tmp_path / "set/a/changed.bmp"  # its size in bytes is always the same
    write(changed, 100)
    options = {"cache_bytes": 40 * 3 * 8 * 8 - 1, "cache_dir": str(tmp_path / "cache")}
    inside = folder(tmp_path / "set")
    data = folder(tmp_path / "set", **options)
    for split in ("train", "val"):
        assert values(data, split) == values(inside, split)
    indices = [5, 36, 70]
    for name, value in data.sets["train"].__getitems__(indices).items():
        assert torch.equal(value, inside.sets["train"].__getitems__(indices)[name])
    (kept,) = (tmp_path / "cache").iterdir()
    assert str(kept) in data.notes[0]
    assert kept.stat().st_size < 40 * 3 * 8 * 8 + 200
    assert "in memory" in inside.notes[0]

    reads = []
    read = images.read
    monkeypatch.setattr(images, "read", lambda *given: reads.append(given) or read(*given))
    expected = values(data, "train")
    assert values(folder(tmp_path / "set", **options), "train") == expected and not reads
    # Damaged, of another size, or with a file that has changed: decoded anew.
    whole = kept.read_bytes()
    kept.unlink()  # not changed in place: it is mapped
    kept.write_bytes(whole[:500])
    assert values(folder(tmp_path / "set", **options), "train") == expected
    assert len(reads) == 40
    assert len(folder(tmp_path / "set", size=9, **options).sets["train"]) == 36
    assert len(reads) == 80
    write(changed, 200)
    os.utime(changed, ns=(1, 1))
    data = folder(tmp_path / "set", **options)
    assert 200 in values(data, "train") + values(data, "val")
    assert len(reads) == 120
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_pictures_that_no_disk_takes_are_decoded_each_time_and_it_is_said(tmp_path, monkeypatch):
    write_classes(tmp_path / "set", {"": 20})
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    data = folder(tmp_path / "set", cache_bytes=0, cache_dir=str(tmp_path / "cache"))
    inside = folder(tmp_path / "set")
    assert values(data, "train") == values(inside, "train")
    assert torch.equal(
        data.sets["train"].__getitems__([3, 1])["image"], inside.sets["train"].__getitems__([3, 1])["image"]
    )
    assert "decoded each time" in data.notes[0] and "are free there" in data.notes[0]
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path, monkeypatch):
    write_classes(tmp_path / "set", {"": 4})
    files = images.list_images(tmp_path / "set")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoded.os, "replace", full)
    pictures, kept = decode(files, Fit(size=8, channels=1), cache_bytes=0, cache_dir=tmp_path / "cache")
    assert isinstance(pictures, OnDemand) and "No space left" in kept
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_killed_runs_left_of_other_pictures_is_removed_an_hour_later(tmp_path):
    write_classes(tmp_path / "set", {"": 4})
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("0f.npy.4711.tmp", "1e.npy.4712.tmp", "my.tmp"):
        (cache / name).write_bytes(b"half of")
    for name in ("0f.npy.4711.tmp", "my.tmp"):
        os.utime(cache / name, (0, 0))
    decode(images.list_images(tmp_path / "set"), Fit(size=8, channels=1), cache_bytes=0, cache_dir=cache)
    left = sorted(path.name for path in cache.iterdir() if path.suffix != ".npy")
    assert left == ["1e.npy.4712.tmp", "my.tmp"]


def test_a_stored_file_travels_to_other_processes_by_name(tmp_path):
    array = np.arange(4 * 3 * 100 * 100, dtype=np.uint8).reshape(4, 3, 100, 100)
    np.save(tmp_path / "x.npy", array)
    sent = pickle.dumps(Stored(tmp_path / "x.npy", array.shape))
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent)[np.array([2, 0])], array[[2, 0]])


def test_the_fingerprint_reads_each_file_once(tmp_path, opened):
    write_classes(tmp_path, {"": 20})
    data = folder(tmp_path)  # tests with the validation pictures
    assert data.files
    opened.clear()
    assert data.fingerprint() == data.fingerprint()
    assert opened == {f"{value}.png": 1 for value in range(20)}


def test_the_fingerprint_is_of_contents_and_splits(tmp_path):
    for copy in ("one", "two"):
        write_classes(tmp_path / copy, {"a": 10, "b": 10})
    first = folder(tmp_path / "one").fingerprint()
    assert first == folder(tmp_path / "two", seed=3, size=16).fingerprint()
    others = [
        folder(tmp_path / "one", split_seed=1),
        folder(tmp_path / "one", classes=["a"]),
        folder(tmp_path / "one", n_train=3),
    ]
    write(tmp_path / "two" / "a" / "3.png", 200)
    others.append(folder(tmp_path / "two"))
    assert len({first, *(data.fingerprint() for data in others)}) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": "nowhere"}, r"data\.root=nowhere is not a folder"),
        (
            {"classes": ["scratch"]},
            r"data\.classes=\['scratch'\].* no class scratch; choose .* dents, scratches, or",
        ),
        ({"classes": []}, r"data\.classes=\[\]: choose .* of dents, scratches"),
        ({"n_classes": 3}, r"data\.n_classes=3.* 2 classes \(dents, scratches\)"),
        ({"n_labels": 40}, r"data\.n_labels=40 .* dents has 5 .* data\.n_labels=10 or less"),
        ({"val_fraction": 1}, r"data\.val_fraction=1"),
        ({"background": "blak"}, r"data\.background=blak"),
        ({"background": "#11223344"}, r"data\.background=#11223344"),
        ({"crop": "centre"}, r"data\.crop=centre"),
        ({"cache_bytes": -1}, r"data\.cache_bytes=-1"),
        ({"size": 4}, r"data\.size=4"),
        ({"n_train": 100}, r"data\.n_train=100.* 14 "),
        ({"batch_size": 15}, r"data\.batch_size=15.*only 14"),
    ],
)
def test_absurd_settings_are_refused_in_words(tmp_path, changes, message):
    write_classes(tmp_path, {"scratches": 10, "dents": 6})
    with pytest.raises(UserError, match=message):
        folder(changes.pop("root", tmp_path), **changes).sets  # noqa: B018


def test_folders_that_make_no_sense_are_refused_in_words(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        folder(tmp_path / "empty")
    write_classes(tmp_path / "deep", {"x/y": 3})
    with pytest.raises(UserError, match="it holds the folders x"):
        folder(tmp_path / "deep")
    write_classes(tmp_path / "both", {"": 3, "a": 3})
    with pytest.raises(UserError, match=r"holds pictures and also folders of pictures \(a\)"):
        folder(tmp_path / "both")
    write_classes(tmp_path / "flat", {"": 3})
    with pytest.raises(UserError, match=r"data\.classes=\['a'\], but .* no folders of pictures"):
        folder(tmp_path / "flat", classes=["a"])
    with pytest.raises(UserError, match=r"data\.n_labels=10.* no classes"):
        folder(tmp_path / "flat", n_labels=10)
    write_classes(tmp_path / "test_only", {"test": 3, "val": 3})
    with pytest.raises(UserError, match="a folder test and val, but no folder train"):
        folder(tmp_path / "test_only")
    write(tmp_path / "single" / "1.png", 3)
    with pytest.raises(UserError, match="leaves no pictures for val"):
        folder(tmp_path / "single").sets  # noqa: B018


@pytest.mark.slow
@needs("neu_surface_defects")
def test_300_photos_of_scratches(configured):
    chosen = [f"data.root={REAL / 'neu_surface_defects'}", "data.classes=[scratches]", "data.channels=1"]
    data = instantiate(configured(["data=image_folder", "model=dcgan", *chosen]).data)
    assert len(data.sets["train"]) == 225 and len(data.real("val")) == 25
    assert data.sets["train"].__getitems__([0, 1])["image"].shape == (2, 1, 64, 64)
    assert data.class_names == ("scratches",)


@needs("simpsons128")
def test_simpsons_at_their_own_size_keep_their_pixels():
    root = REAL / "simpsons128"
    data = folder(root, size=128, n_train=8)
    for row, path in enumerate(data.files["train"][0]):
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(data.real("train")[row].numpy(), expected)
    assert len(data.real("val")) == 100


@needs("emoji_unpaired")
def test_emoji_with_palettes_and_transparency_stand_on_the_background():
    on_black, on_white = (
        folder(REAL / "emoji_unpaired" / "trainA", size=72, background=background) for background in ("black", "white")
    )
    black, white = (torch.stack(list(data.real("train"))).float() for data in (on_black, on_white))
    # A corner of an emoji is clear, its middle is not.
    assert (black[:, :, 0, 0] == 0).float().mean() > 0.9 and (white[:, :, 0, 0] == 255).float().mean() > 0.9
    assert (black[:, :, 36, 36] == white[:, :, 36, 36]).float().mean() > 0.8


def scaled_whole(picture: np.ndarray, size: int) -> np.ndarray:
    """The middle square of the whole picture, enlarged or shrunk: what `Fit` gives but for the longest pictures."""
    sides = [max(size, round(side * size / min(picture.shape[:2]))) for side in picture.shape[:2]]
    top, left = ((side - size) // 2 for side in sides)
    return images.resize(picture, tuple(sides))[top : top + size, left : left + size].transpose(2, 0, 1)


def test_ordinary_pictures_are_resized_whole_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    for height, width in ((31, 31), (30, 47), (90, 23), (9, 36), (200, 80), (13, 52)):
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        images.write(tmp_path / "x.png", picture)
        for size in (8, 32, 64):
            found = Fit(size=size, channels=3)(tmp_path / "x.png")
            assert np.array_equal(found, scaled_whole(picture, size)), (height, width, size)


def test_of_long_pictures_the_middle_is_resized_alone(tmp_path, monkeypatch):
    seen = []
    resize = images.resize
    monkeypatch.setattr(images, "resize", lambda array, size: seen.append((array.size, size)) or resize(array, size))
    y, x = np.mgrid[:400, :10]
    smooth = (127 + 60 * np.sin(y / 7) + 40 * np.cos(x / 3)).astype(np.uint8)[..., None]
    for picture in (smooth, smooth[:-1], smooth.transpose(1, 0, 2)):
        images.write(tmp_path / "x.png", picture)
        seen.clear()
        found = Fit(size=64, channels=1)(tmp_path / "x.png")
        [(taken, (height, width))] = seen
        assert taken <= 10 * 41 and height * width <= 5 * 64**2
        # A shift of less than half a pixel of the picture, in a wave of 44 pixels.
        assert np.abs(found.astype(int) - scaled_whole(picture, 64)).max() <= 12


@pytest.mark.parametrize("what", ["type", "objects", "cut off", "longer", "shape", "nothing", "zip", "pipe", "folder"])
def test_what_somebody_else_put_into_the_cache_is_not_taken_for_ours(tmp_path, what):
    write_classes(tmp_path / "set", {"": 4})
    files = images.list_images(tmp_path / "set")
    fit = Fit(size=8, channels=1)
    good, _ = decode(files, fit, cache_bytes=0, cache_dir=tmp_path / "cache")
    expected = good[np.arange(4)]
    [path] = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "objects":
        np.save(path, np.array([Trap(tmp_path / "sprung")] * 4, dtype=object).reshape(4, 1, 1, 1), allow_pickle=True)
    elif what == "zip":
        np.savez(path.with_suffix(".npz"), x=expected)
        path.with_suffix(".npz").rename(path)
    elif what in ("type", "shape"):
        np.save(path, np.zeros((4, 1, 8, 8), np.float32) if what == "type" else np.zeros((4, 1, 8, 9), np.uint8))
    else:
        path.write_bytes({"cut off": whole[:-1], "longer": whole + b"x", "nothing": b""}[what])
    pictures, kept = decode(files, fit, cache_bytes=0, cache_dir=tmp_path / "cache")
    assert np.array_equal(pictures[np.arange(4)], expected)
    assert ("decoded each time" in kept) == (what == "folder")
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_cache_that_is_cut_off_during_training_is_named(tmp_path):
    write_classes(tmp_path / "set", {"": 4})
    pictures, _ = decode(
        images.list_images(tmp_path / "set"), Fit(size=8, channels=1), cache_bytes=0, cache_dir=tmp_path / "cache"
    )
    os.truncate(pictures.path, 200)
    with pytest.raises(UserError, match="was cut off while it was read"):
        pictures[np.array([3])]


@pytest.mark.parametrize("becomes", ["gone", "broken", "thin"])
def test_a_picture_that_changes_during_training_is_one_sentence_from_a_worker_too(tmp_path, monkeypatch, becomes):
    write_classes(tmp_path / "set", {"": 20})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    data = folder(tmp_path / "set", cache_bytes=0, cache_dir=str(tmp_path / "cache"))
    dataset, before = data.sets["train"], data.fingerprint()
    for path in (tmp_path / "set").iterdir():
        if becomes == "gone":
            path.unlink()
        elif becomes == "broken":
            path.write_bytes(path.read_bytes()[:60])
        else:
            images.write(path, np.zeros((1, 200, 3), np.uint8))
    for workers in (0, 1):
        loader = torch.utils.data.DataLoader(dataset, batch_size=2, num_workers=workers, collate_fn=list)
        with pytest.raises(UserError, match=r"\.png: (does not decode|has 200×1)") as refused:
            next(iter(loader))
        assert "\n" not in str(refused.value) and "Traceback" not in str(refused.value)
    assert data.fingerprint() == before  # the training was on what was there
