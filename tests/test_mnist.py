"""data=mnist: idx files made here, and the real ones where they are at hand."""

import gzip
import hashlib
import os
import struct
import tracemalloc

import numpy as np
import pytest
import torch
import torchvision
from hydra.utils import instantiate
from torchvision.datasets.mnist import read_image_file, read_label_file

from conftest import ROOT
from ganforge.data.mnist import MnistData, read_idx
from ganforge.errors import UserError

REAL = ROOT.parent / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not REAL.is_dir(), reason="MNIST is not at ../shared/data/mnist")
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_set(folder, n_train=60, n_test=20, zipped=False):
    """Picture i shows the value i all over and is the digit i % 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, n in (("train", n_train), ("t10k", n_test)):
        values = np.arange(n, dtype=np.uint8)
        pictures = np.broadcast_to(values[:, None, None], (n, 28, 28))
        for name, array in ((f"{prefix}-images-idx3-ubyte", pictures), (f"{prefix}-labels-idx1-ubyte", values % 10)):
            data = idx(np.ascontiguousarray(array))
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)


def mnist(root, **changes):
    return MnistData(**({"root": str(root), "download": False, "n_heldout": 10, "batch_size": 4} | changes))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["", "MNIST/raw"])
def test_files_are_found_in_every_form(tmp_path, zipped, below):
    write_set(tmp_path / below, zipped=zipped)
    data = mnist(tmp_path)
    shown = {split: [int(picture[0, 0, 0]) for picture in data.real(split)] for split in ("train", "val", "test")}
    assert {split: sorted(values) for split, values in shown.items()} == {
        "train": list(range(50)),
        "val": list(range(50, 60)),
        "test": list(range(20)),
    }
    for split, values in shown.items():
        assert data.real_labels(split).tolist() == [value % 10 for value in values]
    assert len(data.sets["val"]) == 2000 and len(data.sets["test"]) == 10000
    assert data.class_names == tuple("0123456789")


def test_chosen_digits_are_labelled_in_order(tmp_path):
    write_set(tmp_path)
    data = mnist(tmp_path, classes=[7, 3])
    assert data.class_names == ("3", "7") and data.n_classes == 2
    for split in ("train", "val", "test"):
        digits = [int(picture[0, 0, 0]) % 10 for picture in data.real(split)]
        assert set(digits) == {3, 7}
        assert [int(data.class_names[label]) for label in data.real_labels(split)] == digits


def test_larger_pictures_have_a_black_border(tmp_path):
    write_set(tmp_path)
    for size, before in ((28, 0), (32, 2), (64, 18), (29, 0)):
        data = mnist(tmp_path, size=size)
        image = data.sets["train"].__getitems__([7, 8])["image"]
        assert image.shape == (2, 1, size, size)
        value = float(data.real("train")[7].max()) / 127.5 - 1
        expected = torch.full((size, size), -1.0)
        expected[before : before + 28, before : before + 28] = value
        torch.testing.assert_close(image[0, 0], expected)


def test_the_fingerprint_reads_each_file_once(tmp_path, monkeypatch):
    write_set(tmp_path)
    read = []
    monkeypatch.setattr("ganforge.data.mnist.open_file", lambda path: (read.append(path.name), path.open("rb"))[1])
    hashed = []
    data = mnist(tmp_path)
    monkeypatch.setattr(
        "ganforge.data.mnist.hashlib.blake2b",
        lambda *arguments, **options: (hashed.append(1), hashlib.sha256(*arguments))[1],
    )
    assert data.fingerprint() == data.fingerprint()
    assert sorted(read) == sorted(NAMES) and len(hashed) == 1


def test_the_fingerprint_is_of_the_data_that_is_used(tmp_path):
    write_set(tmp_path / "a")
    write_set(tmp_path / "b", zipped=True)
    write_set(tmp_path / "c", n_train=61)
    prints = {
        mnist(tmp_path / "a").fingerprint(),
        mnist(tmp_path / "c").fingerprint(),
        mnist(tmp_path / "a", classes=[1, 2]).fingerprint(),
        mnist(tmp_path / "a", n_train=20).fingerprint(),
    }
    assert len(prints) == 4
    assert mnist(tmp_path / "b").fingerprint() == mnist(tmp_path / "a", seed=1).fingerprint()


def damage(path, how):
    data = path.read_bytes()
    broken = {
        "cut off": data[:-5],
        "too long": data + b"\0",
        "other magic": b"\0\0\x0d" + data[3:],
        "short header": data[:9],
        "empty": b"",
        "html": b"<html><body>not found</body></html>",
        "cut gzip": gzip.compress(data)[:-20],
        "corrupt gzip": gzip.compress(data)[:20] + b"\xff" * 20 + gzip.compress(data)[40:],
    }
    path.write_bytes(broken[how])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "how", ["cut off", "too long", "other magic", "short header", "empty", "html", "cut gzip", "corrupt gzip"]
)
def test_damaged_files_are_named(tmp_path, name, how):
    write_set(tmp_path)
    damage(tmp_path / name, how)
    with pytest.raises(UserError, match=name):
        mnist(tmp_path).sets  # noqa: B018


def test_files_of_different_sets_are_refused(tmp_path):
    write_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(59, np.uint8)))
    with pytest.raises(UserError, match=r"60 pictures, but .*59 labels"):
        mnist(tmp_path).sets  # noqa: B018
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.full(60, 11, np.uint8)))
    with pytest.raises(UserError, match="no digits from 0 to 9"):
        mnist(tmp_path).sets  # noqa: B018
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((60, 20, 20), np.uint8)))
    with pytest.raises(UserError, match="28×28"):
        mnist(tmp_path).sets  # noqa: B018


def test_missing_files_are_downloaded_or_asked_for(tmp_path, monkeypatch):
    asked = []

    class Offline:
        def __init__(self, root, download):
            asked.append((root, download))
            raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets, "MNIST", Offline)
    with pytest.raises(UserError, match=r"Error downloading.*t10k-labels-idx1-ubyte\.gz.*data\.root="):
        mnist(tmp_path, download=True).sets  # noqa: B018
    assert asked == [(str(tmp_path), True)]
    write_set(tmp_path)
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(UserError, match=rf"data\.root=.* lacks {NAMES[3]}: .*data\.download=true"):
        mnist(tmp_path).sets  # noqa: B018
    assert len(asked) == 1
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda root, download: write_set(tmp_path / "MNIST/raw"))
    assert len(mnist(tmp_path, download=True).sets["train"]) == 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": [3, 12]}, r"data\.classes=\[3, 12\]"),
        ({"classes": []}, r"data\.classes=\[\]"),
        ({"classes": [3, 3]}, r"data\.classes=\[3, 3\]"),
        ({"size": 27}, r"data\.size=27.*28"),
        ({"channels": 3}, r"data\.channels=3"),
        ({"n_heldout": 0}, r"data\.n_heldout=0"),
        ({"n_heldout": 60}, r"data\.n_heldout=60.*60 training"),
        ({"n_classes": 9}, r"data\.n_classes=9"),
        ({"n_labels": 15}, r"data\.n_labels=15 .*=10 or 20"),
        ({"n_labels": 60}, r"data\.n_labels=60 .* 0 has 5"),
    ],
)
def test_absurd_settings_are_refused_in_words(tmp_path, changes, message):
    write_set(tmp_path)
    with pytest.raises(UserError, match=message):
        mnist(tmp_path, **changes).sets  # noqa: B018


def test_one_digit_may_be_given_as_a_number(tmp_path):
    write_set(tmp_path)
    data = mnist(tmp_path, classes=4, n_heldout=20)
    assert data.class_names == ("4",)
    assert {int(picture[0, 0, 0]) % 10 for picture in data.real("test")} == {4}


@needs_mnist
def test_the_original_files_as_torchvision_reads_them(tmp_path):
    for name, read in ((NAMES[2], read_image_file), (NAMES[3], read_label_file)):
        (tmp_path / name).write_bytes(gzip.decompress((REAL / f"{name}.gz").read_bytes()))
        expected = read(str(tmp_path / name)).numpy()
        assert np.array_equal(read_idx(REAL / f"{name}.gz"), expected)
        assert np.array_equal(read_idx(tmp_path / name), expected)


@pytest.mark.slow
@needs_mnist
def test_the_real_digits_from_the_configuration(configured):
    data = instantiate(configured(["data=mnist", "model=gan", f"data.root={REAL}", "data.n_labels=100"]).data)
    assert {name: len(data.real(name)) for name in ("train", "val", "test")} == {
        "train": 55000,
        "val": 5000,
        "test": 10000,
    }
    # The counts of the digits in the test set, as published.
    published = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(data.real_labels("test")).tolist() == published
    # The mean of MNIST in [0, 1] is 0.1307.
    dataset = data.sets["train"]
    means = [dataset.__getitems__(list(range(i, i + 5000)))["image"].mean() / 2 + 0.5 for i in range(0, 55000, 5000)]
    assert abs(float(sum(means)) / 11 - 0.1307) < 0.0005
    labelled = data.sets["train"].labelled
    assert np.bincount(data.real_labels("train")[labelled]).tolist() == [10] * 10


def test_a_file_cannot_take_more_memory_than_it_says(tmp_path):
    header = struct.pack(">4B3I", 0, 0, 8, 3, 60, 28, 28)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(header + bytes(2 * 10**8)))  # 200 kB
    tracemalloc.start()
    with pytest.raises(UserError, match=r"bomb\.gz: holds more values, but says it has 60 × 28 × 28"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 2 * 10**7
    tracemalloc.stop()
    for shape in ((2**32 - 1, 28, 28), (2**32 - 1,) * 3):
        path.write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, *shape)))
        with pytest.raises(UserError, match=rf"bomb\.gz: says it has {shape[0]} × .* more than 1,073,741,824"):
            read_idx(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a pipe"):
        read_idx(tmp_path / "pipe")
