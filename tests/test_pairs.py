"""data/pairs.py on sets that are made here, and on the real maps where they are at hand."""

import itertools
import logging
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.data.pair_files import (
    Naming,
    Pair,
    check_pairs,
    detect_layout,
    find_pairs,
    load_pair,
)
from ganforge.data.pairs import PairsData
from ganforge.data.resized_pairs import Pairs, default_load_size
from ganforge.data.splits import find_splits
from ganforge.errors import UserError
from ganforge.pictures import images

MAPS = Path(__file__).resolve().parents[1].parent / "shared/data/maps"
needs_maps = pytest.mark.skipif(not MAPS.is_dir(), reason="the maps data set is not at ../shared/data/maps")


def picture(value, height=8, width=8, channels=3):
    return np.full((height, width, channels), value, np.uint8)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, array)


def write_set(root, layout, names, *, part="", first=10):
    """Pairs whose A has the value first + i and whose B has 255 - (first + i)."""
    for i, name in enumerate(names):
        a, b = picture(first + i), picture(255 - first - i)
        if layout == "side_by_side":
            write(root / part / f"{name}.png", np.hstack([a, b]))
        elif layout == "folders":
            write(root / part / "a" / f"{name}.bmp", a)
            write(root / part / "b" / f"{name}.png", b)
        else:
            write(root / part / f"{name}wo.png", a)
            write(root / part / f"{name}wb.png", b)


def noise_pairs(root, count=3, height=40, width=60):
    """Side-by-side PNGs of noise whose right half is the inverted left half."""
    rng = np.random.default_rng(0)
    for i in range(count):
        a = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        write(root / f"{i}.png", np.hstack([a, 255 - a]))
    return find_pairs(root, "side_by_side")


def dataset(pairs, **changes):
    options = {"size": 32, "source_channels": 3, "target_channels": 3, "augment": True, "seed": 5} | changes
    return Pairs(pairs, **options)


def data(root, **changes):
    return PairsData(root=str(root), **({"size": 8, "num_workers": 0} | changes))


LAYOUTS = ("side_by_side", "folders", "suffixes")


@pytest.mark.parametrize("asked", ["given", "auto"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_pairs(tmp_path, layout, asked):
    write_set(tmp_path, layout, [1, 2, 10])
    if asked == "auto":
        assert detect_layout(tmp_path)[0] == layout
    pairs = find_pairs(tmp_path, layout)
    assert [pair.name for pair in pairs] == ["1", "2", "10"]
    for i, pair in enumerate(pairs):
        source, target = load_pair(pair, source_channels=3, target_channels=1)
        assert source.shape == (8, 8, 3) and target.shape == (8, 8, 1)
        assert (source == 10 + i).all() and (target == 245 - i).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_direction_swaps_the_sides_and_not_the_channels(tmp_path, layout):
    write_set(tmp_path, layout, [1])
    (pair,) = find_pairs(tmp_path, layout)
    source, target = load_pair(pair, source_channels=1, target_channels=3, direction="BtoA")
    assert source.shape == (8, 8, 1) and (source == 245).all()
    assert target.shape == (8, 8, 3) and (target == 10).all()


def test_a_wrong_direction_is_refused(tmp_path):
    write_set(tmp_path, "side_by_side", [1])
    with pytest.raises(UserError, match=r"data\.direction=btoa.*AtoB, BtoA"):
        load_pair(find_pairs(tmp_path, "side_by_side")[0], source_channels=1, target_channels=1, direction="btoa")


def test_names_of_folders_and_suffixes_are_options(tmp_path):
    write(tmp_path / "Photos/1.png", picture(1))
    write(tmp_path / "drawings/1.png", picture(2))
    (pair,) = find_pairs(tmp_path, "folders", naming=Naming(source_dir="photos", target_dir="drawings"))
    assert (pair.a.parent.name, pair.b.parent.name) == ("Photos", "drawings")

    write(tmp_path / "s/7.png", picture(1))
    write(tmp_path / "s/7_label.png", picture(2))
    (pair,) = find_pairs(tmp_path / "s", "suffixes", naming=Naming(source_suffix="", target_suffix="_label"))
    assert (pair.name, pair.a.name, pair.b.name) == ("7", "7.png", "7_label.png")


def test_pictures_without_either_suffix_are_left_out_aloud(tmp_path, caplog):
    write_set(tmp_path, "suffixes", [1])
    write(tmp_path / "overview.png", picture(0))
    with caplog.at_level(logging.WARNING):
        assert [pair.name for pair in find_pairs(tmp_path, "suffixes")] == ["1"]
    assert "overview.png" in caplog.text
    with pytest.raises(UserError, match=r"\*_x\.\*.*such as 1wb\.png"):
        find_pairs(tmp_path, "suffixes", naming=Naming(source_suffix="_x", target_suffix="_y"))


def test_missing_folders_are_named(tmp_path):
    write(tmp_path / "train/a/1.png", picture(0))
    with pytest.raises(UserError, match=r"train/a with .*train/b or .*a/train with .*b/train.*data\.source_dir"):
        find_pairs(tmp_path, "folders", part="train")
    with pytest.raises(UserError, match=r"data\.root=.*nowhere is not a folder"):
        find_splits(tmp_path / "nowhere")


def test_auto_stops_where_it_is_not_sure(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", picture(i, 8, 20))
    with pytest.raises(UserError, match=r"data\.layout=auto cannot tell.*data\.source_dir.*data\.source_suffix"):
        detect_layout(tmp_path)
    write(tmp_path / "3.png", picture(0, 8, 16))  # one that fits is not enough
    with pytest.raises(UserError, match="cannot tell"):
        detect_layout(tmp_path)
    write_set(tmp_path, "suffixes", ["one"])  # and so is one pair of names among others
    with pytest.raises(UserError, match="cannot tell"):
        detect_layout(tmp_path)


@pytest.mark.parametrize("order", ["train/a", "a/train"])
def test_both_orders_of_split_and_side_folders(tmp_path, order):
    for part, side in itertools.product(("train", "val", "test"), "ab"):
        folder = f"{part}/{side}" if order == "train/a" else f"{side}/{part}"
        write(tmp_path / folder / f"{part}.png", picture(1))
    splits = find_splits(tmp_path, "auto")
    assert [[pair.name for pair in pairs] for pairs in (splits.train, splits.val, splits.test)] == [
        ["train"],
        ["val"],
        ["test"],
    ]
    assert splits.test != splits.val
    assert len(splits.notes) == 1 and "data.layout=folders" in splits.notes[0]


def test_without_test_folder_val_serves_and_it_is_said(tmp_path):
    write_set(tmp_path, "side_by_side", [1, 2, 3], part="train")
    write_set(tmp_path, "side_by_side", [4], part="valid")
    splits = find_splits(tmp_path, "side_by_side")
    assert [pair.name for pair in splits.train] == ["1", "2", "3"]
    assert [pair.name for pair in splits.val] == ["4"] and splits.test == splits.val
    assert splits.test == splits.val and any(
        "validation pairs are also the test pairs" in note for note in splits.notes
    )


def test_without_val_folder_a_fraction_of_train_serves_and_it_is_said(tmp_path):
    write_set(tmp_path, "side_by_side", range(10), part="train")
    write_set(tmp_path, "side_by_side", [99], part="test")
    splits = find_splits(tmp_path, "side_by_side", val_fraction=0.2)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (8, 2, 1)
    assert {pair.name for pair in splits.train + splits.val} == {str(i) for i in range(10)}
    assert [pair.name for pair in splits.test] == ["99"] and splits.test != splits.val
    assert any("no folder val" in note for note in splits.notes)


def test_split_by_fraction(tmp_path):
    write_set(tmp_path, "side_by_side", range(20))
    splits = find_splits(tmp_path, "side_by_side", val_fraction=0.2, test_fraction=0.1)
    parts = [[pair.name for pair in pairs] for pairs in (splits.train, splits.val, splits.test)]
    assert [len(part) for part in parts] == [14, 4, 2]
    assert sorted(itertools.chain(*parts), key=int) == [str(i) for i in range(20)]
    assert all(part == sorted(part, key=int) for part in parts)

    again = find_splits(tmp_path, "side_by_side", val_fraction=0.2, test_fraction=0.1)
    assert again == splits
    other = find_splits(tmp_path, "side_by_side", val_fraction=0.2, test_fraction=0.1, split_seed=1)
    assert set(other.val) != set(splits.val)

    # A new pair moves at most one old one: a split by shuffling would be an entirely different one.
    write_set(tmp_path, "side_by_side", [20])
    more = find_splits(tmp_path, "side_by_side", val_fraction=0.2, test_fraction=0.1)
    assert len(set(splits.test) - set(more.test)) <= 1
    assert len(set(splits.val) - set(more.val)) <= 2


def test_test_fraction_zero_makes_val_serve(tmp_path):
    write_set(tmp_path, "side_by_side", range(10))
    splits = find_splits(tmp_path, "side_by_side", test_fraction=0)
    assert splits.test == splits.val and len(splits.train) == 9


@pytest.mark.parametrize("fractions", [(0, 0.1), (0.5, 0.5), (0.1, -0.1), (1.5, 0)])
def test_wrong_fractions_are_refused(tmp_path, fractions):
    with pytest.raises(UserError, match=rf"data\.val_fraction={fractions[0]}, data\.test_fraction={fractions[1]}"):
        find_splits(tmp_path, val_fraction=fractions[0], test_fraction=fractions[1])


def test_too_few_pairs_to_split(tmp_path):
    write_set(tmp_path, "side_by_side", [1])
    with pytest.raises(UserError, match=r"too few pairs: 0 for training"):
        find_splits(tmp_path, "side_by_side")
    with pytest.raises(UserError, match=r"data\.split=folder but .* has no folder train"):
        find_splits(tmp_path, "side_by_side", split="folder")


def test_all_faults_of_folders_come_in_one_error(tmp_path):
    write_set(tmp_path, "folders", ["good", "small", "cut", "lone", "twice"])
    write(tmp_path / "b/small.png", picture(0, 8, 6))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write(tmp_path / "b/cut.png", noise)
    (tmp_path / "b/cut.png").write_bytes((tmp_path / "b/cut.png").read_bytes()[:-2000])
    (tmp_path / "b/lone.png").unlink()
    write(tmp_path / "b/only_b.png", picture(0))
    write(tmp_path / "b/twice.jpg", picture(0))
    with pytest.raises(UserError) as caught:
        check_pairs(find_pairs(tmp_path, "folders"))
    message = str(caught.value)
    assert message.startswith("5 faults in 7 pairs")
    lines = message.splitlines()[1:]
    assert len(lines) == 5 and "good" not in message
    for part in (
        "a/twice.bmp: 2 files could be its partner",
        "small.png: the sizes differ, 8×8 and 6×8",
        "cut.png: does not decode",
        "lone.bmp: missing, the partner of",
        "a/only_b.png: missing, the partner of",
    ):
        assert sum(part in line for line in lines) == 1, part


def test_faults_of_side_by_side_and_suffixes(tmp_path):
    write(tmp_path / "s/odd.png", picture(0, 8, 17))
    (tmp_path / "s/text.png").write_text("no picture")
    with pytest.raises(UserError, match=r"(?s)2 faults in 2 pairs.*odd\.png: its width of 17 is odd.*text\.png: does"):
        check_pairs(find_pairs(tmp_path / "s", "side_by_side"))
    write_set(tmp_path / "x", "suffixes", [1, 2])
    (tmp_path / "x/2wo.png").unlink()
    with pytest.raises(UserError, match=r"1 faults in 2 pairs.*\n.*2wo\.png: missing, the partner of .*2wb\.png"):
        check_pairs(find_pairs(tmp_path / "x", "suffixes"))


def test_a_long_list_of_faults_is_cut(tmp_path):
    pairs = [Pair(str(i), tmp_path / f"{i}.png", tmp_path / f"{i}.png") for i in range(33)]
    with pytest.raises(UserError) as caught:
        check_pairs(pairs)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 20 + 1 and lines[0].startswith("33 faults") and lines[-1].strip() == "... and 13 more"


def test_check_visits_every_sound_pair_once(tmp_path):
    pairs, seen = noise_pairs(tmp_path), {}
    check_pairs(pairs + pairs, source_channels=1, visit=lambda pair, s, t: seen.setdefault(pair, []).append(s.shape))
    assert seen == {pair: [(40, 60, 1)] for pair in pairs}


def test_jitter_is_the_same_on_both_sides_and_varies(tmp_path):
    samples = [dataset(noise_pairs(tmp_path))[i] for i in range(0, 60, 3)]  # the same file, 20 times
    for sample in samples:
        assert sample["source"].shape == (3, 32, 32) and sample["source"].dtype == torch.float32
        assert sample["source"].abs().max() <= 1
        # bicubic of an inverted picture is the inverted bicubic but for rounding
        assert (sample["source"] + sample["target"]).abs().max() <= 2.1 * 2 / 255
    assert len({sample["source"].numpy().tobytes() for sample in samples}) > 10


def test_jitter_is_resize_crop_and_flip(tmp_path):
    pairs = noise_pairs(tmp_path)
    big = images.resize(images.read(pairs[1].a, 3)[:, :60], (36, 36))
    windows = {}
    for top, left, step in itertools.product(range(5), range(5), (1, -1)):
        window = big[top : top + 32, left : left + 32][:, ::step]
        windows[images.to_unit(window).tobytes()] = (top, left, step)
    seen = [windows[dataset(pairs)[i]["source"].numpy().tobytes()] for i in range(1, 600, 3)]
    tops, lefts, steps = zip(*seen, strict=True)
    assert set(tops) == set(lefts) == set(range(5))
    assert 60 <= steps.count(-1) <= 140
    unflipped = [windows[dataset(pairs, flip=False)[i]["source"].numpy().tobytes()] for i in range(1, 90, 3)]
    assert {step for *_, step in unflipped} == {1}


def test_default_load_size():
    assert [default_load_size(size) for size in (256, 32, 128)] == [286, 36, 143]
    with pytest.raises(UserError, match=r"data\.load_size=30 is smaller than data\.size=32"):
        dataset([], load_size=30)


def test_load_size_equal_to_size_crops_nothing(tmp_path):
    pairs = noise_pairs(tmp_path)
    plain = images.to_unit(images.resize(images.read(pairs[0].a, 3)[:, :60], (32, 32)))
    sample = dataset(pairs, load_size=32, flip=False)[300]
    assert np.array_equal(sample["source"].numpy(), plain)


def test_validation_is_resized_only(tmp_path):
    pairs = noise_pairs(tmp_path)
    plain = images.to_unit(images.resize(images.read(pairs[1].a, 3)[:, 60:], (32, 32)))
    for index in (1, 4, 31):
        sample = dataset(pairs, augment=False)[index]
        assert np.array_equal(sample["target"].numpy(), plain) and sample["index"] == index


def test_a_sample_depends_on_seed_and_index_alone(tmp_path):
    pairs = noise_pairs(tmp_path)
    one, other = dataset(pairs), dataset(pairs)
    indices = list(range(30))
    forward = {i: one[i] for i in indices}
    random.Random(0).shuffle(indices)
    for i in indices:
        np.random.default_rng(i).random()
        again = other[i]
        assert torch.equal(again["source"], forward[i]["source"]) and torch.equal(again["target"], forward[i]["target"])
    reseeded = dataset(pairs, seed=6)
    assert any(not torch.equal(reseeded[i]["source"], forward[i]["source"]) for i in indices)


def test_workers_do_not_change_the_samples(tmp_path):
    pairs = dataset(noise_pairs(tmp_path))
    indices = [7, 100, 2, 50]
    loader = torch.utils.data.DataLoader(pairs, batch_size=2, sampler=indices, num_workers=2)
    batches = list(loader)
    assert torch.cat([batch["index"] for batch in batches]).tolist() == indices
    assert torch.equal(
        torch.cat([batch["target"] for batch in batches]), torch.stack([pairs[i]["target"] for i in indices])
    )


def test_grey_on_either_side(tmp_path):
    pairs = noise_pairs(tmp_path)
    for source, target in ((1, 3), (3, 1), (1, 1)):
        sample = dataset(pairs, source_channels=source, target_channels=target)[0]
        assert sample["source"].shape == (source, 32, 32) and sample["target"].shape == (target, 32, 32)
        assert (sample["source"].mean() + sample["target"].mean()).abs() < 0.02


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_cache_gives_the_same_samples_without_the_files(tmp_path, direction):
    noise_pairs(tmp_path, count=10)
    options = {"size": 32, "layout": "side_by_side", "target_channels": 1, "direction": direction, "n_test": 1}
    cached, plain = data(tmp_path, **options).sets, data(tmp_path, cache_bytes=0, **options).sets
    assert [len(cached[name]) for name in ("train", "val", "test")] == [8, 1, 1]
    wanted = {name: [plain[name][i] for i in (0, 11)] for name in plain}
    for path in tmp_path.glob("*.png"):
        path.unlink()
    for name, samples in wanted.items():
        for sample in samples:
            got = cached[name][sample["index"]]
            assert torch.equal(got["source"], sample["source"]) and torch.equal(got["target"], sample["target"])
    with pytest.raises(UserError, match="missing"):
        plain["train"][0]


def test_the_cache_keeps_to_its_budget(tmp_path):
    noise_pairs(tmp_path, count=10)
    exact = (8 * 36**2 + 2 * 32**2) * 6
    assert len(data(tmp_path, size=32, layout="side_by_side", cache_bytes=exact).sets["val"].cache) == 10
    assert not data(tmp_path, size=32, layout="side_by_side", cache_bytes=exact - 1).sets["val"].cache


def test_limits_take_the_first(tmp_path):
    write_set(tmp_path, "folders", range(5), part="train")
    write_set(tmp_path, "folders", range(5, 9), part="val")
    sets = data(tmp_path, n_train=2, n_val=3, n_test=1).sets
    assert {name: [pair.name for pair in part.pairs] for name, part in sets.items()} == {
        "train": ["0", "1"],
        "val": ["5", "6", "7"],
        "test": ["5"],
    }
    assert sets["train"].augment and not sets["val"].augment and not sets["test"].augment


def test_what_was_decided_is_noted(tmp_path):
    write_set(tmp_path, "suffixes", range(3), part="train")
    write_set(tmp_path, "suffixes", [7], part="val")
    module = data(tmp_path)
    assert module.sets
    assert module.splits.test == module.splits.val
    layout, test = module.notes
    assert "suffixes" in layout
    assert "val" in test and "test" in test


def test_one_error_for_the_faults_of_all_splits(tmp_path):
    write_set(tmp_path, "side_by_side", range(3), part="train")
    write_set(tmp_path, "side_by_side", [7, 8], part="val")
    write(tmp_path / "train/1.png", picture(0, 8, 17))
    (tmp_path / "val/8.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"(?s)2 faults in 5 pairs.*train/1\.png.*val/8\.png"):
        data(tmp_path, layout="side_by_side").datasets()


def test_fewer_pairs_than_a_batch(tmp_path):
    write_set(tmp_path, "side_by_side", range(10))
    with pytest.raises(UserError, match=r"data\.batch_size=9.*8"):
        assert data(tmp_path, batch_size=9).sets


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": "sideways"},
        {"direction": "B2A"},
        {"split": "random"},
        {"n_train": 0},
        {"load_size": 7},
        {"cache_bytes": -1},
        {"source_suffix": "wb"},
        {"source_dir": "b"},
        {"source_channels": 0},
    ],
)
def test_wrong_arguments_are_named_as_on_the_command_line(tmp_path, changes):
    ((name, value),) = changes.items()
    with pytest.raises(UserError, match=rf"data\.{name}={value}\b"):
        data(tmp_path, **changes)


def test_real_pictures_are_the_resized_targets_of_a_split(tmp_path):
    noise_pairs(tmp_path, count=6)
    for direction, keep in (("AtoB", 2**20), ("BtoA", 0)):
        module = data(tmp_path, size=16, direction=direction, cache_bytes=keep, layout="side_by_side")
        for split in ("train", "val", "test"):
            pairs = module.sets[split].pairs
            real = list(module.real(split))
            assert len(real) == len(pairs)
            for pair, shown in zip(pairs, real, strict=True):
                _, target = load_pair(pair, source_channels=3, target_channels=3, direction=direction)
                assert shown.dtype == torch.uint8
                assert np.array_equal(shown.permute(1, 2, 0).numpy(), images.resize(target, (16, 16)))
            assert module.real_labels(split) is None


def test_fingerprint_is_of_names_contents_and_splits(tmp_path):
    for copy in ("one", "two"):
        write_set(tmp_path / copy, "side_by_side", range(10))
    first = data(tmp_path / "one").fingerprint()
    assert first == data(tmp_path / "two").fingerprint()
    assert first != data(tmp_path / "one", split_seed=1).fingerprint()
    assert first != data(tmp_path / "one", n_train=3).fingerprint()
    write(tmp_path / "two/3.png", np.hstack([picture(200), picture(55)]))
    assert first != data(tmp_path / "two").fingerprint()
    (tmp_path / "one/3.png").rename(tmp_path / "one/3b.png")
    assert first != data(tmp_path / "one").fingerprint()


def test_fingerprint_reads_each_file_once(tmp_path, opened):
    write_set(tmp_path, "suffixes", range(3), part="train")
    write_set(tmp_path, "suffixes", [7, 8], part="val")
    module = data(tmp_path)  # tests with the validation pairs
    assert module.sets
    opened.clear()
    assert module.fingerprint() == module.fingerprint()
    assert set(opened.values()) == {1} and len(opened) == 10


def test_fingerprint_tells_training_from_validation(tmp_path):
    prints = set()
    for copy, parts in {"one": ("train", "train", "val", "test"), "two": ("train", "val", "val", "test")}.items():
        for i, part in enumerate(parts):
            write(tmp_path / copy / part / f"{i}.png", picture(i, 8, 16))
        prints.add(data(tmp_path / copy).fingerprint())
    assert len(prints) == 2


def test_fingerprint_of_large_files_sees_both_ends(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (500, 1000, 3), dtype=np.uint8)
    for i in range(3):
        write(tmp_path / f"{i}.bmp", noise)
    assert (tmp_path / "0.bmp").stat().st_size > 2**20
    prints = {data(tmp_path).fingerprint()}
    for position in (60, -1):
        content = bytearray((tmp_path / "0.bmp").read_bytes())
        content[position] ^= 255
        (tmp_path / "0.bmp").write_bytes(content)
        prints.add(data(tmp_path).fingerprint())
    assert len(prints) == 3


@needs_maps
def test_the_real_maps():
    module = data(MAPS, size=64, n_train=6, n_val=2, n_test=2)
    assert (len(module.splits.train), len(module.splits.val)) == (160, 40)
    assert module.splits.test == module.splits.val and "data.layout=side_by_side" in module.notes[0]
    sample = module.sets["val"][0]
    # Aerial photos are dark, drawn maps nearly white.
    assert sample["source"].mean() < sample["target"].mean() - 0.5
    assert [pair.name for pair in module.splits.val] == sorted((p.stem for p in (MAPS / "val").iterdir()), key=int)


@pytest.mark.slow
@pytest.mark.parametrize("becomes", ["gone", "broken", "larger"])
def test_a_pair_that_changes_during_training_is_one_sentence_from_a_worker_too(tmp_path, becomes):
    for name in map(str, range(20)):
        write(tmp_path / "a" / f"{name}.png", picture(1))
        write(tmp_path / "b" / f"{name}.png", picture(2))
    module = data(tmp_path, cache_bytes=0)
    pairs, before = module.sets["train"], module.fingerprint()
    for path in (tmp_path / "b").iterdir():
        if becomes == "gone":
            path.unlink()
        elif becomes == "broken":
            path.write_bytes(path.read_bytes()[:40])
        else:
            write(path, picture(2, height=9))
    for workers in (0, 1):
        loader = torch.utils.data.DataLoader(pairs, batch_size=2, num_workers=workers)
        with pytest.raises(UserError, match=r"\.png: (missing|does not decode|the sizes differ)") as refused:
            next(iter(loader))
        assert "\n" not in str(refused.value) and "Traceback" not in str(refused.value)
    assert module.fingerprint() == before  # the training was on what was there


@pytest.mark.parametrize(
    ("names", "layout"), [(("trainA", "trainB"), "auto"), (("a", "b"), "auto"), (("a", "b"), "folders")]
)
def test_folders_of_unpaired_pictures_are_called_so(tmp_path, names, layout):
    for name in names:
        (tmp_path / name).mkdir()
        for index in range(12):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{name}_{index}.png")
    with pytest.raises(UserError, match=r"look unpaired: of 12 and 12 pictures 0 have a partner of the same name"):
        find_splits(tmp_path, layout)


def test_folders_named_as_unpaired_ones_are_paired_where_one_says_so(tmp_path):
    for name in ("trainA", "trainB"):
        (tmp_path / name).mkdir()
        for index in range(12):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{index}.png")
    with pytest.raises(UserError, match=r"give data\.source_dir=trainA data\.target_dir=trainB"):
        find_splits(tmp_path)
    splits = find_splits(tmp_path, naming=Naming(source_dir="trainA", target_dir="trainB"))
    assert len(splits.train + splits.val + splits.test) == 12
