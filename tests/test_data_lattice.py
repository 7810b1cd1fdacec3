"""data=lattice: what is fixed, what is fresh, and that nothing is trained on twice or tested on what was trained on."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from conftest import trainer_in
from ganforge.data.module import EpochBatches
from ganforge.errors import UserError
from ganforge.lattice import read


@pytest.fixture
def lattice(configured):
    def make(*overrides: str):
        small = ["data.n_train=6", "data.n_val=4", "data.n_test=5", "data.batch_size=2", "data.cells=[3,4]"]
        return instantiate(configured([*small, *overrides]).data)

    return make


def batches(data, epoch: int) -> list[dict]:
    data.trainer = trainer_in(epoch)
    return list(data.train_dataloader())


def test_pictures_are_pairs_in_range_with_the_true_network(lattice):
    data = lattice()
    sample = data.sets["val"][1]
    for name in ("source", "target"):
        assert sample[name].shape == (1, 128, 128)
        assert sample[name].dtype == torch.float32
        assert sample[name].min() == -1
        assert sample[name].max() == 1
    network = data.sets["val"].network(1)
    grey = ((sample["target"][0] + 1) * 127.5).round().to(torch.uint8).numpy()
    assert np.array_equal(read(grey, network.sites).bonds, network.bonds)


def test_equal_configurations_give_equal_pixels_for_any_number_of_workers(lattice):
    for epoch in (0, 3):
        one = batches(lattice("data.num_workers=0"), epoch)
        many = batches(lattice("data.num_workers=2"), epoch)
        for a, b in zip(one, many, strict=True):
            assert torch.equal(a["index"], b["index"])
            assert torch.equal(a["target"], b["target"])
    other = batches(lattice("data.num_workers=0", "seed=1"), 0)
    assert not torch.equal(one[0]["target"], other[0]["target"])


def test_fresh_networks_never_repeat_and_fixed_ones_do(lattice):
    def networks(data):
        indices = [int(i) for epoch in range(3) for batch in batches(data, epoch) for i in batch["index"]]
        return {data.sets["train"].network(index).sites.tobytes() for index in indices}

    assert len(networks(lattice("data.num_workers=0"))) == 18
    assert len(networks(lattice("data.num_workers=0", "data.fresh=false"))) == 6


def test_validation_and_test_networks_are_never_trained_on(lattice):
    data = lattice("data.fresh=false", "data.n_train=60", "data.n_val=60", "data.n_test=60", "data.disorder=[0,0.01]")
    seen = [
        {data.sets[name].network(index).sites.tobytes() for index in range(60)} for name in ("train", "val", "test")
    ]
    assert [len(networks) for networks in seen] == [60, 60, 60]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_the_lattices_take_turns(lattice):
    data = lattice(
        "data.lattices=[kagome,square,triangular]", "data.test_lattices=[honeycomb,square]", "data.fresh=false"
    )
    trained = [data.sets["train"].network(index).lattice for index in range(6)]
    assert trained == ["kagome", "square", "triangular"] * 2
    assert [data.sets["test"].network(index).lattice for index in range(4)] == ["honeycomb", "square"] * 2


def test_labels_name_the_lattice_of_each_picture(lattice):
    data = lattice("data.test_lattices=[honeycomb,square]")
    assert data.class_names == ("kagome", "square", "triangular", "honeycomb")
    for split in ("train", "val", "test"):
        dataset = data.sets[split]
        shown = [dataset.network(index).lattice for index in range(len(dataset))]
        assert [data.class_names[label] for label in data.real_labels(split)] == shown
        assert [data.class_names[dataset[index]["label"]] for index in range(len(dataset))] == shown
    assert data.class_names[data.sets["train"][6 * 5 + 1]["label"]] == data.sets["train"].network(31).lattice


@pytest.mark.parametrize("fresh", ["true", "false"])
def test_real_pictures_are_the_targets_without_augmentation(lattice, fresh):
    data = lattice(f"data.fresh={fresh}")
    for split, n in (("train", 6), ("val", 4), ("test", 5)):
        real = data.real(split)
        assert len(list(real)) == n
        assert real[1].dtype == torch.uint8 and real[1].shape == (1, 128, 128)
        assert np.array_equal(real[1][0].numpy(), data.sets[split].drawing(1).target)
    expected = ((data.sets["test"][4]["target"] + 1) * 127.5).round().to(torch.uint8)
    assert torch.equal(data.real("test")[4], expected)


def test_augmentation_turns_source_and_target_alike(lattice):
    data = lattice("data.fresh=false", "data.n_train=2", "data.batch_size=1")
    dataset = data.sets["train"]
    plain = torch.stack([dataset[0][name][0] for name in ("source", "target")])
    turned = {
        tuple(torch.stack([dataset[2 * k][n][0] for n in ("source", "target")]).flatten().tolist()) for k in range(60)
    }
    symmetries = set()
    for k in range(4):
        for picture in (plain.rot90(k, (1, 2)), plain.rot90(k, (1, 2)).flip(2)):
            symmetries.add(tuple(picture.flatten().tolist()))
    assert turned == symmetries  # all eight, and nothing else


def test_the_second_test_set_is_drawn_otherwise(lattice):
    data = lattice()
    assert data.test_names == ["test", "shifted"]
    assert data.shifted_distribution.dot_radius[0] >= data.distribution.dot_radius[1]
    assert data.shifted_distribution.line_width[0] >= data.distribution.line_width[1]


def test_what_is_trained_on_more_often_or_beyond_the_ranges_is_tested_as_before(lattice):
    plain = lattice("data.lattices=[kagome,square,triangular]", "data.disorder=[0.08,0.1]", "data.training_beyond=0")
    data = lattice(
        "data.lattices=[kagome,square,triangular,square]", "data.disorder=[0.08,0.1]", "data.training_beyond=0.5"
    )
    names = [data.sets["train"].network(index).lattice for index in range(8)]
    assert names == 2 * ["kagome", "square", "triangular", "square"]
    drawn = [data.sets["train"].network(index).disorder for index in range(20)]
    assert min(drawn) >= 0.08 and 0.1 < max(drawn) <= 0.15
    assert data.sets["train"].distribution.cells[0] == max(2, plain.sets["train"].distribution.cells[0] // 2)
    for split in ("val", "test", "shifted"):
        assert all(torch.equal(data.sets[split][k]["source"], plain.sets[split][k]["source"]) for k in range(3))
    assert data.class_names == plain.class_names
    assert data.fingerprint() != plain.fingerprint()


def test_the_batches_cover_the_data_once_and_are_shared_among_ranks():
    ranks = [EpochBatches(11, 2, seed=3, position=lambda: (4, 0), rank=rank, world_size=2) for rank in range(2)]
    first, second = (list(batches) for batches in ranks)
    assert len(first) == len(second) == len(ranks[0]) == 2
    indices = [index for batch in first + second for index in batch]
    assert len(set(indices)) == 8
    assert all(44 <= index < 55 for index in indices)
    assert indices != sorted(indices)


def test_batches_go_on_where_they_stopped_whenever_they_are_taken():
    places = [(2, 0)]
    batches = EpochBatches(10, 2, seed=3, position=lambda: places[-1])
    whole = iter(batches)
    places.append((2, 3))
    assert list(iter(batches)) == list(whole)[3:]
    places.append((3, 0))
    third = list(batches)
    assert len(third) == 5
    assert {index for batch in third for index in batch} == set(range(30, 40))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.lattices=[kagomi]"], "kagomi.*kagome"),
        (["data.n_train=0"], r"data\.n_train=0"),
        (["data.batch_size=-1"], r"data\.batch_size=-1"),
        (["data.disorder=[-0.1,0.1]"], "disorder"),
        (["data.cells=[8,3]"], "cells"),
        (["data.cells=4"], r"data\.cells=4: a range"),
        (["data.size=4"], r"data\.size=4"),
        (["data.size=32", "data.cells=[8,8]"], "size=32"),
        (["data.batch_size=7"], r"data\.batch_size=7.*only 6"),
        (["data.source_channels=3"], r"data\.source_channels=3"),
        (["+data.shifted.colour=[0,1]"], "colour"),
        (["data.training_beyond=-1"], r"data\.training_beyond=-1"),
        (["data.training_beyond=wide"], r"data\.training_beyond=wide"),
        (["data.disorder=[0,0]"], "one network"),
        (["data.num_workers=-1"], r"data\.num_workers=-1"),
    ],
)
def test_absurd_settings_are_refused_before_training(lattice, overrides, message):
    with pytest.raises(Exception, match=message) as caught:  # Hydra wraps what a constructor raises
        lattice(*overrides).sets  # noqa: B018
    error = caught.value
    assert isinstance(error, UserError) or isinstance(error.__cause__, UserError)
