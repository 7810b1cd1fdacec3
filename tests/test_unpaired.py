"""Two folders without pairs: what is found in them, what is drawn when, and what translations are compared with."""

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from conftest import ROOT, trainer_in, write_digits
from ganforge.data.coloured_digits import ColouredDigitsData, coloured
from ganforge.data.module import EpochBatches
from ganforge.data.unpaired import UnpairedData
from ganforge.errors import UserError
from ganforge.evaluation import HistogramMatching, PartnerMetrics
from ganforge.evaluation.features import open_network
from ganforge.evaluation.partners import matched, with_channels
from ganforge.evaluation.running import RunningMetrics

SQUEEZENET = ROOT.parent / "shared/data/weights/squeezenet1_1_imagenet_bgr255_fp16.pth"


def fill(folder: Path, names, rng=None, size=(40, 30), mode="RGB") -> Path:
    rng = rng or np.random.default_rng(len(str(folder)))
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shape = (size[1], size[0], *([] if mode == "L" else [3]))
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


def unpaired(root=None, **options) -> UnpairedData:
    return UnpairedData(root=root, **{"size": 32, "num_workers": 0, **options})


LAYOUTS = {
    "trainA": {"a": "trainA", "b": "trainB"},
    "A and B": {"a": "A", "b": "B"},
    "train/a": {"a": "train/a", "b": "train/b"},
    "a/train": {"a": "a/train", "b": "b/Train"},
    "train_a": {"a": "train_a", "b": "train_b"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_sides_are_found_in_the_usual_folders(tmp_path, layout):
    for side, below in LAYOUTS[layout].items():
        fill(tmp_path / below, [f"{side}{index}" for index in range(10 if side == "a" else 20)])
    data = unpaired(tmp_path)
    counts = {key: len(files) for key, files in data.files.items()}
    assert counts == {
        ("train", "a"): 8, ("val", "a"): 1, ("test", "a"): 1, ("train", "b"): 16, ("val", "b"): 2, ("test", "b"): 2
    }  # fmt: skip
    names = [path.name for files in data.files.values() for path in files]
    assert len(names) == len(set(names)) == 30
    assert len(data.sets["train"]) == 16 and len(data.sets["BtoA"]) == 2 and data.test_names == ["test", "BtoA"]
    assert "no folder for val and test" in data.notes[0]


def test_two_folders_anywhere_with_their_own_splits(tmp_path):
    fill(tmp_path / "summer/train", "abcdef")
    fill(tmp_path / "summer/validation", "gh")
    fill(tmp_path / "summer/test", "ijk")
    fill(tmp_path / "elsewhere/winter", "abcdefghij")
    data = unpaired(root_a=tmp_path / "summer", root_b=tmp_path / "elsewhere/winter", test_fraction=0)
    assert [len(data.files[split, "a"]) for split in ("train", "val", "test")] == [6, 2, 3]
    assert data.files["val", "b"] == data.files["test", "b"]
    assert len(data.files["train", "b"]) == 9
    assert data.partners("a") is None  # equal names, but not in two folders for the test


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "data.root=None, data.root_a=None, data.root_b=None: one place for both sides or one for each"),
        ({"root": "x", "root_a": "y"}, "one place for both sides"),
        ({"root": "missing"}, "data.root=missing is not a folder"),
        ({"root": "{}"}, r"has no folder trainA or a \(it has: other\); give data.root=FOLDER with trainA and trainB"),
        ({"root_a": "{}/other", "root_b": "{}/other"}, "is the same folder as data.root_b"),
        ({"root_a": "{}/other", "root_b": "{}/few"}, "not a folder"),
        ({"root": "{}", "val_fraction": 0}, "data.val_fraction=0"),
        ({"root": "{}", "load_size": 16}, "data.load_size=16 is smaller than data.size=32"),
        ({"root": "{}", "background": "nothing"}, "data.background=nothing"),
    ],
)
def test_what_is_wrong_is_said_before_the_training(tmp_path, options, said):
    fill(tmp_path / "other", "a")
    filled = {key: str(value).format(tmp_path) if "root" in key else value for key, value in options.items()}
    with pytest.raises(UserError, match=said):
        unpaired(**filled)


def test_too_few_pictures_and_broken_ones_are_named(tmp_path):
    fill(tmp_path / "a", "ab")
    fill(tmp_path / "b", "abcdef")
    with pytest.raises(UserError, match="its 2 pictures are too few to train on, validate and test"):
        unpaired(tmp_path).files  # noqa: B018
    fill(tmp_path / "a", "cdef")
    (tmp_path / "a/broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.png"):
        unpaired(tmp_path).sets  # noqa: B018


def loaded(data: UnpairedData, workers: int, rank: int, world: int, epoch: int) -> dict[int, tuple]:
    batches = EpochBatches(len(data.sets["train"]), 2, seed=0, position=lambda: (epoch, 0), rank=rank, world_size=world)
    found = {}
    for batch in DataLoader(data.sets["train"], batch_sampler=batches, num_workers=workers):
        for row, index in enumerate(batch["index"].tolist()):
            found[index] = (batch["a"][row], batch["b"][row])
    return found


def test_b_is_drawn_alike_for_any_number_of_workers_and_processes(tmp_path):
    fill(tmp_path / "a", [f"a{index}" for index in range(7)])
    fill(tmp_path / "b", [f"b{index}" for index in range(18)])
    data = unpaired(tmp_path)
    for epoch in (0, 1):
        one = loaded(data, 0, 0, 1, epoch)
        two = {**loaded(data, 2, 0, 2, epoch), **loaded(data, 1, 1, 2, epoch)}
        assert one.keys() >= two.keys() and len(two) >= 12
        for index, pair in two.items():
            assert all(map(torch.equal, pair, one[index])), index


def test_an_epoch_is_the_longer_side_and_b_is_not_in_step_with_a(tmp_path):
    for side, n in (("a", 5), ("b", 8)):
        for index in range(n):
            folder = tmp_path / side
            folder.mkdir(exist_ok=True)
            Image.new("RGB", (32, 32), (10 * index, 0, 0)).save(folder / f"{index}.png")
    data = unpaired(tmp_path, load_size=32, flip=False)
    sides = {side: len(data.files["train", side]) for side in "ab"}
    dataset = data.sets["train"]
    assert len(dataset) == max(sides.values())
    rows = [tuple(float(dataset[index][side][0].mean()) for side in "ab") for index in range(400)]
    shown = {side: np.unique([row[place] for row in rows], return_counts=True)[1] for place, side in enumerate("ab")}
    assert {side: len(counts) for side, counts in shown.items()} == sides
    assert np.ptp(shown["a"]) <= 1  # in turn
    assert len(set(rows)) == sides["a"] * sides["b"]  # each with each
    other = unpaired(tmp_path, load_size=32, flip=False, seed=1).sets["train"]
    assert any(not torch.equal(other[index]["b"], dataset[index]["b"]) for index in range(20))


def test_both_sides_are_cut_and_mirrored_by_chances_of_their_own(tmp_path):
    ramp = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (40, 1))
    for side in "ab":
        (tmp_path / side).mkdir()
        for index in range(4):
            Image.fromarray(ramp).save(tmp_path / side / f"{index}.png")
    dataset = unpaired(tmp_path, load_size=40).sets["train"]
    items = [dataset[index] for index in range(200)]
    mirrored = {side: [bool(item[side][0, 0, 0] > item[side][0, 0, -1]) for item in items] for side in "ab"}
    assert all(70 < sum(own) < 130 for own in mirrored.values())
    assert 70 < sum(a != b for a, b in zip(*mirrored.values(), strict=True)) < 130
    assert len({float(item["a"].min()) for item in items}) == 9  # places of the cut
    assert unpaired(tmp_path, load_size=40).sets["val"][0]["a"].shape == (3, 32, 32)


def test_hidden_partners_are_scored_and_never_trained_on(tmp_path):
    fill(tmp_path / "trainA", "abcd")
    fill(tmp_path / "trainB", "abcd")
    fill(tmp_path / "testA", ["1", "2", "3"])
    fill(tmp_path / "testB", ["3", "1", "9"])
    data = unpaired(tmp_path, source_channels=1)
    assert list(data.partners("a")) == [0, None, 1] and list(data.partners("b")) == [0, 2, None]
    assert any("2 of 3 test pictures of A have one of the same name in B" in note for note in data.notes)
    assert any("A is grey and B RGB" in note for note in data.notes)
    assert data.sets["train"][0].keys() == {"a", "b", "index"}
    assert "target" not in data.sets["val"][0]
    test = data.sets["test"]
    assert torch.equal(test[2]["target"], data.sets["BtoA"][1]["b"]) and test[1]["target"].isnan().all()
    assert unpaired(tmp_path, partners=False).partners("a") is None

    running = RunningMetrics(metrics={"partners": PartnerMetrics(), "histogram": HistogramMatching()})
    running.metrics["partners"].monitor = ("psnr", "max")
    running.choose(data)
    running.begin("test", data.test_names, torch.device("cpu"))
    for name in data.test_names:
        batch = next(iter(DataLoader(data.sets[name], batch_size=3)))
        running.update(name, batch, batch["target"].nan_to_num(), data.sets[name])  # what should be
    values = running.compute("test") | running.compute("BtoA")
    assert values["test/psnr"] == values["BtoA/psnr"] == pytest.approx(100) and values["test/l1"] == 0
    assert values["test/partners"] == 2
    # By hand: the grey source, three times, against its partner.
    source, target = (torch.stack([test[row][name] for row in (0, 2)]) for name in ("a", "target"))
    errors = ((source.expand(-1, 3, -1, -1) - target) / 2).square().mean(dim=(1, 2, 3))
    assert values["floor/psnr"] == pytest.approx(float((-10 * errors.log10()).mean()), rel=1e-5)
    assert 5 < values["baseline/histogram/psnr"] < 30 and "BtoA/baseline/histogram/psnr" in values
    assert 5 < values["floor/BtoA/psnr"] < 30 and not any(name.startswith("ceiling/") for name in values)


def test_moving_grey_levels_finds_a_change_of_contrast_exactly_and_no_negative():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 100, (2, 64, 64), dtype=np.uint8)
    other = np.stack([2 * picture[0] + 7, 200 - picture[1]])
    levels = np.stack([np.bincount(channel.ravel(), minlength=256).cumsum() / 4096 for channel in other])
    moved = matched(picture, levels).astype(int)
    assert abs(moved[0] - other[0]).max() <= 2 and abs(moved[1] - other[1]).mean() > 30
    assert torch.equal(with_channels(torch.ones(1, 1, 2, 2), 3), torch.ones(1, 3, 2, 2))
    assert with_channels(torch.ones(1, 3, 2, 2), 1).allclose(torch.ones(1, 1, 2, 2))


def test_digits_of_both_sides_are_others_but_in_the_test(tmp_path):
    write_digits(tmp_path / "mnist", np.random.default_rng(0))
    data = ColouredDigitsData(root=tmp_path / "mnist", n_heldout=20, n_train=100, n_val=50, n_test=15)
    grey = {key: np.stack([pictures[i] for i in range(len(pictures))]) for key, (pictures, _) in data._grey.items()}
    assert [len(grey[split, "a"]) for split in ("train", "val", "test")] == [20, 10, 15]
    for split in ("train", "val"):
        own, other = ({picture.tobytes() for picture in grey[split, side]} for side in "ab")
        assert not own & other
    item = data.sets["test"][3]
    assert torch.equal(item["target"], data.sets["BtoA"][3]["b"])
    assert np.array_equal(data.real("test")[3].numpy(), coloured(grey["test", "a"][3]))
    assert item["asked_label"] == data.real_labels("test")[3] == data.real_labels("BtoA")[3]
    pictures, labels = data.labelled("train")
    assert len(pictures) == len(labels) == 40 and pictures[25].shape == (3, 32, 32)
    ground, ink = coloured(np.zeros((1, 4, 4), dtype=np.uint8)), coloured(np.full((1, 4, 4), 255, dtype=np.uint8))
    assert ground[:, 0, 0].tolist() == [250, 225, 160] and ink[:, 2, 1].tolist() == [25, 40, 120]


@pytest.mark.skipif(not SQUEEZENET.is_file(), reason=f"needs {SQUEEZENET.name}")
def test_squeezenet_knows_pictures_and_gives_numbers_under_its_own_name(tmp_path):
    network = open_network(SQUEEZENET, None)
    assert (network.name, network.dimensions, network.outputs, network.channels) == ("squeezenet", 512, 1000, None)
    oranges = sorted((SQUEEZENET.parents[1] / "unpaired_apple2orange64/B").glob("*.png"))[:8]
    pictures = torch.stack([torch.from_numpy(np.array(Image.open(file).convert("RGB"))) for file in oranges])
    features, logits = network(pictures.permute(0, 3, 1, 2))
    assert (logits.argmax(dim=1) == 950).sum() >= 4  # ImageNet's orange
    assert 0.2 < features.square().mean() < 5
    grey = network(pictures[..., :1].permute(0, 3, 1, 2))[0]
    assert grey.shape == (8, 512)
    assert network.describe()["channel_order"] == "BGR"
    state = torch.load(SQUEEZENET, weights_only=True)
    torch.save({**state, "features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"extractor=.*other\.pth"):
        open_network(tmp_path / "other.pth", None)


@pytest.mark.skipif(not SQUEEZENET.is_file(), reason=f"needs {SQUEEZENET.name}")
def test_translations_lie_between_a_floor_and_a_ceiling(tmp_path):
    """B in place of translations is as good as real pictures; A as they are, the floor, is worse."""
    from ganforge.evaluation import Fidelity

    rng = np.random.default_rng(0)
    for side, low in (("A", 0), ("B", 150)):
        for split, n in (("train", 24), ("test", 12)):
            folder = tmp_path / f"{split}{side}"
            folder.mkdir()
            for index in range(n):
                noise = rng.integers(low, low + 100, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(noise).resize((32, 32), 0).save(folder / f"{side}{index}.png")
    data = unpaired(tmp_path)
    options = {"needs": ["unpaired"], "metrics": ["fid", "kid"], "cache_dir": tmp_path / "cache"}
    running = RunningMetrics(metrics={"t": Fidelity(extractor=SQUEEZENET, **options)})
    running.choose(data)
    assert running.monitor == ("val/kd/squeezenet", "min")  # of few pictures
    running.begin("test", data.test_names, torch.device("cpu"))
    for name, other in (("test", "BtoA"), ("BtoA", "test")):
        batch = next(iter(DataLoader(data.sets[name], batch_size=12)))
        wanted = next(iter(DataLoader(copy.copy(data.sets[other]), batch_size=12)))["b" if name == "test" else "a"]
        running.update(name, batch, wanted, data.sets[name])
    values = running.compute("test") | running.compute("BtoA")
    for place in ("", "BtoA/"):
        own = values[f"{place or 'test/'}kd/squeezenet"]
        assert own < values[f"ceiling/{place}kd/squeezenet"] + 0.1
        assert values[f"ceiling/{place}kd/squeezenet"] < 0.5 * values[f"floor/{place}kd/squeezenet"]
        assert values[f"ceiling/{place}fd/squeezenet"] < values[f"floor/{place}fd/squeezenet"]
        assert values[f"floor/{place}kd/squeezenet/low"] < values[f"floor/{place}kd/squeezenet"]
    running.prefix = "final/"
    running.begin("test", data.test_names, torch.device("cpu"))
    assert running.floors == {}


def test_pictures_are_no_longer_cut_after_a_share_of_the_training(tmp_path):
    for side in "ab":
        fill(tmp_path / side, "abcdefgh")
    data = unpaired(tmp_path, load_size=40, jitter_until=0.5, flip=False)
    count = len(data.sets["train"])
    data.trainer = SimpleNamespace(**vars(trainer_in(0)), max_epochs=4)
    data.train_dataloader()
    dataset, whole = data.sets["train"], {side: data.pictures("train", side) for side in "ab"}
    for epoch in range(4):
        for row in range(count):
            item = dataset[epoch * count + row]
            for side in "ab":
                picture = ((item[side] + 1) * 127.5).round().byte().numpy()
                is_whole = any(np.array_equal(picture, whole[side][i]) for i in range(len(whole[side])))
                assert is_whole == (epoch >= 2), (epoch, row, side)
    with pytest.raises(UserError, match=r"data\.jitter_until=2: a share of the training in \[0, 1\], or null"):
        unpaired(tmp_path, jitter_until=2)
