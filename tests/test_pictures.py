"""data/pictures.py: pure functions of (seed, index), batches at once, augmentation, hidden labels."""

import time

import numpy as np
import pytest
import torch

from conftest import trainer_in
from ganforge.data.pictures import Augmentation, PicturesData, PictureSet, Rows, rotate, turns, uniform
from ganforge.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
LABELS = np.array([0] * 6 + [1] * 4 + [2] * 2)


class Noise(PicturesData):
    """Twelve pictures of noise in three classes for training, the last five also for validation and test."""

    def __init__(self, **changes):
        settings = {
            "class_names": ("a", "b", "c"),
            "n_classes": None,
            "size": 8,
            "channels": 1,
            "n_train": None,
            "n_val": 7,
            "n_test": 3,
            "n_labels": None,
            "split_seed": 0,
            "flip": False,
            "vertical_flip": False,
            "rotate": 0.0,
            "batch_size": 4,
            "num_workers": 0,
            "seed": 0,
        }
        super().__init__(**(settings | changes))

    def arrays(self, split):
        part = slice(None) if split == "train" else slice(-5, None)
        return NOISE[part], LABELS[part] if self.class_names else None


def to_unit(pictures):
    return torch.from_numpy(pictures.astype(np.float32) / 127.5 - 1)


def batches(data, epoch, loader="train_dataloader"):
    data.trainer = trainer_in(epoch)
    return list(getattr(data, loader)())


def test_a_batch_holds_the_pictures_of_its_indices():
    dataset = PictureSet(pictures=NOISE, labels=LABELS)
    batch = dataset.__getitems__([3, 11, 12, 27])
    torch.testing.assert_close(batch["image"], to_unit(NOISE[[3, 11, 0, 3]]))
    assert batch["image"].dtype == torch.float32
    assert batch["image"].min() >= -1 and batch["image"].max() <= 1
    assert batch["label"].tolist() == [0, 2, 0, 0]
    assert batch["index"].tolist() == [3, 11, 12, 27]
    assert batch["label"].dtype == batch["index"].dtype == torch.int64


def test_requests_go_round_the_pictures():
    dataset = PictureSet(pictures=NOISE[:5], labels=LABELS[:5], n=7)
    assert len(dataset) == 7
    torch.testing.assert_close(dataset[6]["image"], to_unit(NOISE[1]))
    assert int(dataset[6]["index"]) == 6
    assert len(PictureSet(pictures=NOISE, n=2)) == 2


def test_one_picture_is_the_same_alone_and_in_any_batch():
    dataset = PictureSet(
        pictures=NOISE, labels=LABELS, seed=3, augment=Augmentation(True, True, 30.0), labelled=np.array([1, 7, 11])
    )
    indices = [5, 17, 29, 40, 41, 2]
    batch = dataset.__getitems__(indices)
    for place, index in enumerate(indices):
        alone = dataset[index]
        assert alone.keys() == batch.keys() == {"image", "index", "labelled_image", "labelled_label"}
        for name, value in alone.items():
            assert torch.equal(value, batch[name][place])


def test_a_batch_of_64_takes_less_than_a_millisecond():
    pictures = np.zeros((60000, 1, 28, 28), np.uint8)
    dataset = PictureSet(pictures=pictures, labels=np.zeros(60000, np.int64))
    indices = np.random.default_rng(0).permutation(60000)[:64].tolist()
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        dataset.__getitems__(indices)
        took.append(time.perf_counter() - begun)
    assert min(took) < 1e-3


def test_random_numbers_are_uniform_and_their_streams_independent():
    n = 100_000
    columns = [uniform(seed, np.arange(n), stream) for seed in (0, 1) for stream in (0, 1, 2)]
    for values in columns:
        assert values.min() >= 0 and values.max() < 1
        counts = np.histogram(values, bins=20, range=(0, 1))[0]
        # χ² of 19 degrees of freedom: above 43.8 once in a thousand times.
        assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 43.8
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    assert np.abs(np.corrcoef(columns) - np.eye(6)).max() < 0.02
    assert len(set(np.concatenate(columns))) == 6 * n
    assert np.array_equal(uniform(7, np.array([5, 90, 2]), 1), uniform(7, np.arange(100), 1)[[5, 90, 2]])


def test_splitmix_is_splitmix():
    # The generator as published, from state 0, whose first output is known.
    state, mask = 0, 2**64 - 1
    outputs = []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        outputs.append((z ^ (z >> 31)) >> 11)
    assert outputs[0] == 0xE220A8397B1DCDAF >> 11
    # Seed 0 and stream 0 start from state 0, which index 0 leaves as it is.
    assert (uniform(0, np.arange(4), 0) * 2**53).astype(np.int64).tolist() == [0, *outputs]


@pytest.mark.parametrize(("name", "axis"), [("flip", 2), ("vertical_flip", 1)])
def test_mirroring_mirrors_half_of_the_pictures(name, axis):
    dataset = PictureSet(pictures=NOISE[:1], n=1, augment=Augmentation(**{name: True}))
    plain = to_unit(NOISE[0])
    mirrored = 0
    for index in range(400):
        image = dataset[index]["image"]
        as_it_is, other = torch.equal(image, plain), torch.equal(image, plain.flip(axis))
        assert as_it_is != other
        mirrored += other
    assert 160 < mirrored < 240
    assert not np.array_equal(
        uniform(0, np.arange(50), 0) < 0.5, uniform(0, np.arange(50), 1) < 0.5
    )  # the two mirrors differ


def test_rotation_by_right_angles_is_exact_and_counter_clockwise():
    image = to_unit(NOISE[:4])
    turned = rotate(image, np.array([0.0, 90.0, 180.0, -90.0]))
    for k, quarter in enumerate((0, 1, 2, 3)):
        torch.testing.assert_close(turned[k], image[k].rot90(quarter, (1, 2)), atol=1e-5, rtol=0)


def test_rotation_agrees_with_pillow_inside_and_reflects_outside():
    from PIL import Image

    y, x = np.mgrid[:64, :64]
    wave = (127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)).astype(np.float32)
    ours = rotate(torch.from_numpy(wave)[None, None], np.array([20.0]))[0, 0].numpy()
    pillow = np.asarray(Image.fromarray(wave).rotate(20, Image.Resampling.BILINEAR))
    inside = (x - 31.5) ** 2 + (y - 31.5) ** 2 < 31**2
    assert np.abs(ours - pillow)[inside].max() < 0.5
    # Nothing comes in from outside: no black corners.
    assert ours.min() >= wave.min() - 1e-3
    assert pillow.min() == 0


def test_angles_fill_the_range(monkeypatch):
    seen = []
    monkeypatch.setattr("ganforge.data.pictures.rotate", lambda images, degrees: seen.append(degrees) or images)
    PictureSet(pictures=NOISE, augment=Augmentation(rotate=15.0)).__getitems__(list(range(2000)))
    assert -15 <= seen[0].min() < -14.5 and 14.5 < seen[0].max() <= 15
    assert abs(seen[0].mean()) < 1


def test_hidden_labels_come_from_the_labelled_pictures_alone():
    labelled = np.array([2, 7, 11])
    dataset = PictureSet(pictures=NOISE, labels=LABELS, labelled=labelled)
    batch = dataset.__getitems__(list(range(300)))
    assert "label" not in batch
    drawn = [
        next(row for row in labelled if torch.equal(to_unit(NOISE[row]), image)) for image in batch["labelled_image"]
    ]
    assert [LABELS[row] for row in drawn] == batch["labelled_label"].tolist()
    assert all(70 < drawn.count(row) < 130 for row in labelled)
    # The labelled picture has nothing to do with the one beside it.
    assert len({(index % 12, row) for index, row in enumerate(drawn)}) == 36


def test_rows_are_a_view():
    some = Rows(NOISE, np.array([5, 1, 9]))
    assert len(some) == 3
    assert np.array_equal(some[1], NOISE[1])
    assert np.array_equal(some[np.array([2, 0])], NOISE[[9, 5]])


def test_classes_take_turns():
    assert turns(np.array([0, 0, 0, 1, 1, 2])).tolist() == [0, 3, 5, 1, 4, 2]
    assert turns(np.array([2, 0, 2, 0, 1])).tolist() == [1, 4, 0, 3, 2]


def test_splits_and_what_they_provide():
    data = Noise()
    assert {name: len(dataset) for name, dataset in data.sets.items()} == {"train": 12, "val": 7, "test": 3}
    assert data.provides == {"image", "label", "some_labels"} == PicturesData.provides
    assert (data.n_classes, data.class_names) == (3, ("a", "b", "c"))
    # Requests are for the classes in turn: there are 3 pictures of b and 2 of c.
    assert data.sets["val"].__getitems__(list(range(7)))["label"].tolist() == [1, 2, 1, 2, 1, 1, 2]
    assert "12 training pictures" in data.notes[0] and "3 classes (a, b, c)" in data.notes[0]
    without = Noise(class_names=())
    assert without.provides == {"image"}
    assert without.sets["train"].__getitems__([0]).keys() == {"image", "index"}
    assert without.real_labels("val") is None


def test_real_pictures_come_once_each_without_augmentation_and_fit_their_labels():
    data = Noise(flip=True, rotate=45.0)
    for split, n in (("train", 12), ("val", 5), ("test", 5)):
        real, labels = list(data.real(split)), data.real_labels(split)
        assert len(real) == len(labels) == n
        rows = [next(row for row in range(12) if np.array_equal(NOISE[row], picture.numpy())) for picture in real]
        assert len(set(rows)) == n
        assert LABELS[rows].tolist() == labels.tolist()
        assert real[0].dtype == torch.uint8


def test_n_train_takes_the_classes_in_turn():
    data = Noise(n_train=5)
    assert data.real_labels("train").tolist() == [0, 1, 2, 0, 1]
    assert len(data.sets["train"]) == len(data.real("train")) == 5
    assert len(data.real("val")) == 5
    assert len(Noise(n_train=5, class_names=()).sets["train"]) == 5


def test_few_labels_are_as_many_of_each_class_and_stay_with_another_seed():
    chosen = {}
    for split_seed, seed in ((0, 0), (0, 1), (1, 0), (2, 0)):
        data = Noise(n_labels=6, split_seed=split_seed, seed=seed)
        labelled = data.sets["train"].labelled
        assert np.bincount(data.real_labels("train")[labelled]).tolist() == [2, 2, 2]
        chosen[split_seed, seed] = set(labelled.tolist())
        assert data.provides == {"image", "some_labels"}
    assert chosen[0, 0] == chosen[0, 1]
    assert chosen[0, 0] != chosen[1, 0] or chosen[0, 0] != chosen[2, 0]
    assert "label" in data.sets["val"][0] and "label" not in data.sets["train"][0]
    assert "6 training pictures" in data.notes[1]


def test_loaders_give_equal_batches_for_any_number_of_workers():
    for epoch in (0, 2):
        one = batches(Noise(flip=True, rotate=10.0), epoch)
        many = batches(Noise(flip=True, rotate=10.0, num_workers=2), epoch)
        assert len(one) == 3
        for a, b in zip(one, many, strict=True):
            assert a["image"].shape == (4, 1, 8, 8)
            assert all(torch.equal(a[name], b[name]) for name in ("image", "label", "index"))
    assert [len(batch["index"]) for batch in batches(Noise(), 0, "val_dataloader")] == [4, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_classes": 4}, r"data\.n_classes=4, but the data has 3 classes \(a, b, c\)"),
        ({"n_classes": 2, "class_names": ()}, r"data\.n_classes=2, but the data has no classes"),
        ({"n_labels": 9}, r"data\.n_labels=9 asks for 3 .* c has 2 .* data\.n_labels=6 or less"),
        ({"n_labels": 2}, r"data\.n_labels=2 .* use data\.n_labels=3"),
        ({"n_labels": 0}, r"data\.n_labels=0 .* use data\.n_labels=3"),
        ({"n_labels": 7}, r"data\.n_labels=7 .* use data\.n_labels=6 or 9"),
        ({"n_labels": 3, "class_names": ()}, r"data\.n_labels=3.*no classes"),
        ({"n_train": 13}, r"data\.n_train=13.* 12 "),
        ({"n_train": 0}, r"data\.n_train=0"),
        ({"n_val": 0}, r"data\.n_val=0"),
        ({"n_test": None}, r"data\.n_test=None"),
        ({"rotate": -1}, r"data\.rotate=-1"),
        ({"flip": "yes"}, r"data\.flip=yes"),
        ({"channels": 2}, r"data\.channels=2"),
        ({"batch_size": 13}, r"data\.batch_size=13.*only 12"),
    ],
)
def test_absurd_settings_are_refused_in_words(changes, message):
    with pytest.raises(UserError, match=message):
        Noise(**changes).sets  # noqa: B018
