"""Nearest neighbours against a plain loop; a copy that is planted among the samples is found, counted and shown."""

import copy

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from conftest import ROOT
from ganforge.errors import UserError
from ganforge.evaluation import memorization
from ganforge.evaluation.memorization import Memorization, nearest, sheet
from ganforge.pictures import images
from ganforge.pictures.grids import heading


def noise(count: int, seed: int, shape: tuple[int, ...] = (1, 12, 12)) -> torch.Tensor:
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


class Pictures(Dataset):
    def __init__(self, pictures: torch.Tensor):
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.pictures[index]


class Data:
    """The part of a data module that the metric asks for."""

    def __init__(self, pictures: torch.Tensor):
        self.pictures, self.class_names = pictures, ()

    def real(self, split: str) -> Dataset:
        assert split == "train"
        return Pictures(self.pictures)


def unit(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.float() / 127.5 - 1


def judged(metric: Memorization, samples: torch.Tensor, data: Data) -> dict[str, float]:
    """The metric's numbers as the callback gets them: from a copy, in batches, the last ones first."""
    metric.prepare(data)
    running = copy.deepcopy(metric)
    for index in torch.arange(len(samples)).split(7)[::-1]:
        running.update({"index": index}, unit(samples[index]), None)
    return running.compute()


def by_loop(queries: torch.Tensor, corpus: torch.Tensor, k: int, exclude: torch.Tensor | None = None):
    distances, indices = [], []
    for row, query in enumerate(queries.double()):
        found = [(float((query - other).square().sum()) ** 0.5, i) for i, other in enumerate(corpus.double())]
        found = sorted(f for f in found if exclude is None or f[1] != exclude[row])[:k]
        distances.append([f[0] for f in found])
        indices.append([f[1] for f in found])
    return torch.tensor(distances), torch.tensor(indices)


@pytest.mark.parametrize("block", [64, 500, 2**23])  # rows of 20 numbers: many blocks, uneven ones, a single one
def test_nearest_is_what_a_loop_finds(monkeypatch, block):
    monkeypatch.setattr(memorization, "_BLOCK", block)
    queries, corpus = noise(23, 0, (20,)), noise(57, 1, (20,))
    corpus[40] = corpus[11] = queries[3]  # a copy that occurs twice
    exclude = torch.full((23,), -1)
    exclude[3], exclude[5] = 11, 0
    for left_out in (None, exclude):
        distances, indices = by_loop(queries, corpus, 4, left_out)
        for form in (corpus, Pictures(corpus.view(57, 1, 4, 5)), iter(corpus.float().split(10))):
            found = nearest(queries, form, 4, exclude=left_out)
            assert torch.equal(found[1], indices)
            torch.testing.assert_close(found[0], distances.float())


def test_copies_far_from_the_origin_are_at_zero():
    """||a||^2 - 2ab + ||b||^2 of these in float32 is off by hundreds."""
    corpus = torch.randn(50, 300, generator=torch.Generator().manual_seed(0)) + 1000
    distances, indices = nearest(corpus, corpus, 2)
    assert torch.equal(indices[:, 0], torch.arange(50))
    assert (distances[:, 0] == 0).all()
    assert (distances[:, 1] > 15).all()


def test_too_few_vectors():
    with pytest.raises(ValueError, match="k=3 nearest of 3 vectors without oneself"):
        nearest(noise(3, 0), noise(3, 0), 3, exclude=torch.arange(3))


def test_planted_copies_are_counted_and_shown_first(tmp_path):
    data = Data(noise(250, 0))
    samples = noise(100, 1)
    samples[[60, 17, 83]] = data.pictures[[5, 100, 249]]
    samples[17, 0, 3, 3] ^= 1  # a copy but for one grey level of one pixel: after the exact ones
    metric = Memorization(folder=str(tmp_path / "memorized"), rows=4, neighbours=2)
    assert judged(metric, samples, data) == {"memorized/pixels": 3 / 100}

    described = metric.describe()  # of the metric whose copy was computed
    assert described["memorized/picture"] == str(tmp_path / "memorized" / "nearest.png")
    drawn = images.read(described["memorized/picture"], channels=1)
    tile, factor = 12 * 5 + 4, 5  # enlarged to 60 px, 2 px of grey around
    names = heading([(0, tile, "generated"), (tile + 12, 2 * tile, "training, nearest by pixels")], 3 * tile + 12)
    assert np.array_equal(drawn[: -4 * tile, :, 0], (names[0] * 255).round().byte().numpy())
    drawn = drawn[-4 * tile :]
    assert drawn.shape == (4 * tile, 3 * tile + 12, 1)

    def shown(row: int, left: int) -> np.ndarray:
        return drawn[row * tile + 2 : (row + 1) * tile - 2, left + 2 : left + tile - 2, 0][::factor, ::factor]

    for row, (sample, original) in enumerate([(60, 5), (83, 249), (17, 100)]):
        assert np.array_equal(shown(row, 0), samples[sample, 0])
        assert np.array_equal(shown(row, tile + 12), data.pictures[original, 0])
    nearest_of_60 = by_loop(samples[60:61].flatten(1), data.pictures.flatten(1), 2)[1][0, 1]
    assert np.array_equal(shown(0, 2 * tile + 12), data.pictures[nearest_of_60, 0])


def test_the_threshold_is_a_quantile_of_the_training_images_own_distances(tmp_path):
    data = Data(noise(60, 0))
    own = by_loop(data.pictures.flatten(1), data.pictures.flatten(1), 1, torch.arange(60))[0][:, 0] / (255 * 12)
    samples = data.pictures[:20].clone()
    for index in range(20):  # nearer and nearer to the training image
        samples[index, 0, : 12 - index // 2] = noise(1, 100 + index)[0, 0, : 12 - index // 2]
    distances = by_loop(samples.flatten(1), data.pictures.flatten(1), 1)[0][:, 0] / (255 * 12)
    metric = Memorization(folder=str(tmp_path), quantile=0.25)
    values = judged(metric, samples, data)
    threshold = np.quantile(own.numpy(), 0.25)
    assert metric.describe()["memorized/pixels_threshold"] == pytest.approx(threshold, rel=1e-5)
    share = float((distances < threshold).float().mean())
    assert 0.3 < share < 1
    assert values["memorized/pixels"] == pytest.approx(share)


def test_new_images_of_the_same_kind_are_not_copies(tmp_path):
    metric = Memorization(folder=str(tmp_path))
    assert judged(metric, noise(200, 2), Data(noise(250, 0)))["memorized/pixels"] < 0.04


def test_training_images_that_occur_twice_do_not_hide_copies(tmp_path):
    """The quantile is 0 then; copies still count, and nothing else does."""
    pictures = noise(30, 0).repeat(2, 1, 1, 1)
    samples = noise(10, 1)
    samples[4] = pictures[7]
    metric = Memorization(folder=str(tmp_path))
    assert judged(metric, samples, Data(pictures))["memorized/pixels"] == 1 / 10
    assert metric.describe()["memorized/pixels_threshold"] == 0


def test_only_the_first_samples_count(tmp_path):
    data = Data(noise(40, 0, (3, 8, 8)))
    samples = noise(30, 1, (3, 8, 8))
    samples[:2] = data.pictures[:2]
    samples[10:] = data.pictures[10:30]
    metric = Memorization(folder=str(tmp_path), samples=10, rows=50)
    assert judged(metric, samples, data)["memorized/pixels"] == 2 / 10
    height, _, channels = images.read(tmp_path / "nearest.png", channels=3).shape
    assert (height % (64 + 4), height // (64 + 4), channels) == (height - 10 * (64 + 4), 10, 3)


def test_two_training_images_are_enough_and_one_is_not(tmp_path):
    greys = torch.tensor([100, 110], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 12, 12)
    samples = torch.tensor([0, 110, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 12, 12)
    data = Data(greys)
    assert judged(Memorization(folder=str(tmp_path)), samples, data)["memorized/pixels"] == pytest.approx(1 / 3)
    with pytest.raises(UserError, match=r"there is 1; use 2 or more \(data.n_train\)"):
        Memorization(folder=str(tmp_path)).prepare(Data(noise(1, 0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"samples": 0}, "memorization.samples=0"), ({"rows": 0}, "rows=0"), ({"quantile": 1.0}, "quantile=1.0")],
)
def test_settings_that_mean_nothing_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        Memorization(folder=str(tmp_path), **options)


def test_features_find_what_pixels_do_not(tmp_path, monkeypatch):
    """Features that do not change when an image is mirrored: mirrored training images are copies in them."""
    asked = []

    def mirror_blind(batch: torch.Tensor) -> torch.Tensor:
        both = batch.float() + batch.flip(-1).float()
        return both.flatten(1)

    monkeypatch.setattr(memorization, "_load_features", lambda path, names: asked.append(path) or mirror_blind)
    data = Data(noise(100, 0))
    samples = noise(20, 1)
    samples[3], samples[9] = data.pictures[50].flip(-1), data.pictures[70].flip(-1)
    metric = Memorization(folder=str(tmp_path), extractor="extractor.pt", rows=20, neighbours=1)
    values = judged(metric, samples, data)
    assert asked == ["extractor.pt"]
    assert values["memorized/features"] >= 2 / 20
    assert values["memorized/features"] <= 4 / 20
    assert values["memorized/pixels"] <= 2 / 20
    features = mirror_blind(data.pictures)
    own = by_loop(features, features, 1, torch.arange(100))[0][:, 0]
    spread = float((features - features.mean(0)).square().sum(1).mean()) ** 0.5
    assert metric.describe()["memorized/features_threshold"] == pytest.approx(
        np.quantile(own.numpy(), 0.01) / spread, rel=1e-4
    )
    drawn = images.read(tmp_path / "nearest.png", channels=1)
    assert drawn[-20 * 64 :].shape == (20 * 64, 3 * 64 + 2 * 12, 1)  # sample, one by pixels, one by features
    by_features = drawn[-20 * 64 :, -62:-2, 0].reshape(20, 64, 60)[:, 2:62:5, ::5]
    assert any(np.array_equal(tile, data.pictures[50, 0]) for tile in by_features)


def test_sheet_keeps_large_pictures_as_they_are():
    groups = [torch.zeros(2, 1, 3, 70, 70, dtype=torch.uint8), torch.ones(2, 3, 3, 70, 70, dtype=torch.uint8)]
    drawn = sheet(groups, ["one", "three"])[:, -2 * 74 :]
    assert drawn.shape == (3, 2 * 74, 4 * 74 + 12)
    assert (drawn == 0).sum() == 2 * 3 * 70 * 70
    assert (drawn == 1).sum() == 6 * 3 * 70 * 70


def test_ranks_add_up(tmp_path):
    """States of two ranks put together as torchmetrics does it, even where one rank has kept nothing."""
    data = Data(noise(50, 0))
    samples = noise(12, 1)
    samples[4] = data.pictures[4]
    metric = Memorization(folder=str(tmp_path), samples=6)
    metric.prepare(data)
    ranks = [copy.deepcopy(metric) for _ in range(2)]
    ranks[0].update({"index": torch.arange(6, 12)}, unit(samples[6:]), None)
    ranks[1].update({"index": torch.arange(6).flip(0)}, unit(samples[:6].flip(0)), None)
    assert ranks[0].images[0].shape == (0, 1, 12, 12)
    assert ranks[0].images[0].dtype == torch.uint8
    for name in ("images", "index"):
        setattr(metric, name, [torch.cat([getattr(rank, name)[0] for rank in ranks])])
    metric._update_count = 1
    assert metric.compute()["memorized/pixels"] == pytest.approx(1 / 6)


def test_on_mnist(tmp_path):
    """Test digits are no copies of training digits; three training digits among them are found."""
    folder = ROOT.parent / "shared" / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip("no MNIST in shared/data")
    import gzip

    def digits(name: str, count: int) -> torch.Tensor:
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(16 + count * 784), np.uint8, offset=16)
        return torch.from_numpy(pixels.reshape(count, 1, 28, 28).copy())

    data = Data(digits("train", 5000))
    samples = digits("t10k", 300)
    new = judged(Memorization(folder=str(tmp_path)), samples, data)["memorized/pixels"]
    assert new < 0.05
    samples[[1, 2, 3]] = data.pictures[[10, 20, 30]]
    assert judged(Memorization(folder=str(tmp_path)), samples, data)["memorized/pixels"] == pytest.approx(
        new + 0.01, abs=0.0101
    )
