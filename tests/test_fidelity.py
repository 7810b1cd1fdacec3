import copy
import io
import json
import os
import subprocess
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from torch_fidelity import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from ganforge.data.module import DataModule
from ganforge.errors import UserError
from ganforge.evaluation import features as features_module
from ganforge.evaluation import intervals
from ganforge.evaluation.extractor import FORMAT, DomainExtractor, weights_hash
from ganforge.evaluation.features import open_network, read_features
from ganforge.evaluation.fidelity import Fidelity, compare
from ganforge.evaluation.measures import NEIGHBOURS, of_classes
from ganforge.pictures import images
from ganforge.pictures.tensors import from_unit

SIZE = 16


class Requests(torch.utils.data.Dataset):
    def __init__(self, n: int):
        self.n = n

    def __len__(self) -> int:
        return self.n


class Dots(DataModule):
    """Grey noise, as plain images with three classes."""

    provides = frozenset({"image", "label"})
    class_names = ("c", "a", "b")

    def __init__(self, *, counts: dict | None = None, channels: int = 1, version: str = "1"):
        super().__init__(size=SIZE, batch_size=4, num_workers=0, seed=0)
        self.counts = {"train": 30, "val": 24, "test": 24} | (counts or {})
        self.picture_channels, self.version, self.read = channels, version, 0

    def datasets(self):
        return {name: Requests(n) for name, n in self.counts.items()}

    def real(self, split):
        self.read += 1
        generator = torch.Generator().manual_seed(len(split))
        shape = (self.counts[split], self.picture_channels, SIZE, SIZE)
        return torch.randint(0, 200, shape, dtype=torch.uint8, generator=generator)

    def fingerprint(self):
        return self.version


class Translated(Dots):
    provides = frozenset({"paired"})
    class_names = ()


def save_extractor(path: Path, name: str = "dots_cnn", channels: int = 1) -> Path:
    """An extractor with random weights."""
    card = {"name": name, "class_names": ["a", "b", "c"], "channels": channels, "size": SIZE, "widths": [8, 8]}
    card["test_accuracy"] = 1.0
    torch.manual_seed(0)
    extractor = DomainExtractor(card=card).eval()
    torch.nn.init.normal_(extractor.head.weight)
    weights = extractor.state_dict()
    contents = {"ganforge_extractor": FORMAT, **card, "hash": weights_hash(weights), "weights": weights}
    torch.save(contents, path)
    return path


@pytest.fixture
def extractor(tmp_path):
    return save_extractor(tmp_path / "dots.pt")


def generated_images(n: int = 24, channels: int = 1, seed: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, SIZE, SIZE, generator=generator) * 2 - 1


def evaluate(metric: Fidelity, data: DataModule, pictures: torch.Tensor, *, name: str = "val", batch: int = 5) -> dict:
    for rows in torch.arange(len(pictures)).split(batch):
        metric.update({"index": rows, "asked_label": rows % 3}, pictures[rows], data.sets[name])
    return metric.compute()


def ready(extractor: Path, tmp_path: Path, data: DataModule, **options) -> Fidelity:
    metric = Fidelity(extractor=extractor, cache_dir=tmp_path / "cache", splits=4, **options)
    metric.prepare(data)
    return metric


def write_pngs(folder: Path, pictures: torch.Tensor) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        images.write(folder / f"{number:04d}.png", picture.permute(1, 2, 0).numpy())
    return folder


OURS_AND_THEIRS = {
    "fid": torch_fidelity.KEY_METRIC_FID,
    "kid": torch_fidelity.KEY_METRIC_KID_MEAN,
    "kid/std": torch_fidelity.KEY_METRIC_KID_STD,
    "is": torch_fidelity.KEY_METRIC_ISC_MEAN,
    "is/std": torch_fidelity.KEY_METRIC_ISC_STD,
    "precision": torch_fidelity.KEY_METRIC_PRECISION,
    "recall": torch_fidelity.KEY_METRIC_RECALL,
}


def random_inception(path: Path) -> Path:
    """Weights in the layout of torch-fidelity's Inception, of a size that keeps the images' differences alive."""

    class Layout(FeatureExtractorInceptionV3):
        def load_state_dict(self, *arguments, **options):
            pass

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    network = Layout("layout", ["2048"], feature_extractor_weights_path=nothing)
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        if weight.dim() > 1:
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=generator)
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.slow
def test_the_numbers_are_those_of_torch_fidelitys_command_line_on_the_same_images_as_png(tmp_path):
    weights = random_inception(tmp_path / "weights.pth")
    real = Dots(counts={"train": 10}).real("train")
    fake = from_unit(generated_images(9))
    command = [sys.executable, "-m", "torch_fidelity.fidelity", "--cpu", "--json", "--silent", "--no-cache"]
    command += ["--isc", "--fid", "--kid", "--prc", "--feature-extractor", "inception-v3-compat"]
    command += ["--feature-extractor-weights-path", str(weights), "--kid-subset-size", "8", "--isc-splits", "3"]
    command += ["--batch-size", "6", "--input1", str(write_pngs(tmp_path / "fake", fake))]
    command += ["--input2", str(write_pngs(tmp_path / "real", real))]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    run = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=True)
    theirs = json.loads(run.stdout)
    ours, said = compare(
        fake, real, weights=weights, batch_size=6, kid_subset_size=8, splits=3, device="cpu", progress=False
    )
    assert theirs["frechet_inception_distance"] > 0.1
    for name, key in OURS_AND_THEIRS.items():
        assert ours[name] == pytest.approx(theirs[key], rel=1e-6), name
    assert said["extractor"] == "inception-v3-compat"
    assert said["weights_as_published"] is False
    assert said["reference_images"] == 10 and said["images"] == 9
    assert "kid rather than fid" in said["advice"]

    # And in the course of a training, from floats, in batches of another size.
    data = Dots(counts={"train": 10, "val": 9, "test": 9})
    metric = Fidelity(weights=weights, batch_size=6, kid_subset_size=8, splits=3, cache_dir=tmp_path / "cache")
    metric.prepare(data)
    assert metric.monitor == ("fid", "min")
    during = evaluate(metric, data, generated_images(9))
    for name in ("fid", "kid", "is", "precision", "recall"):
        assert during[name] == pytest.approx(theirs[OURS_AND_THEIRS[name]], rel=1e-6), name


def test_a_domain_extractor_gives_what_torch_fidelity_gives_with_it_on_png_files(extractor, tmp_path):
    real, fake = Dots().real("train"), from_unit(generated_images())
    values, said = compare(fake, real, extractor=extractor, splits=4, kid_subset_size=20, progress=False)
    theirs = torch_fidelity.calculate_metrics(
        input1=str(write_pngs(tmp_path / "fake", fake)),
        input2=str(write_pngs(tmp_path / "real", real)),
        feature_extractor="dots_cnn",
        fid=True,
        kid=True,
        isc=True,
        prc=True,
        cuda=False,
        cache=False,
        isc_splits=4,
        kid_subset_size=20,
        verbose=False,
        save_cpu_ram=True,
    )
    for name, key in OURS_AND_THEIRS.items():
        metric, _, rest = name.partition("/")
        ours = f"{ {'fid': 'fd', 'kid': 'kd'}.get(metric, metric) }/dots_cnn" + (f"/{rest}" if rest else "")
        assert values[ours] == pytest.approx(theirs[key], rel=1e-6), ours
    assert not [name for name in values if name.startswith(("fid", "kid"))]
    assert said["extractor"] == "dots_cnn" and said["resizer"] == "none"


def test_during_training_the_numbers_are_those_of_the_whole_set_in_the_order_of_its_indices(extractor, tmp_path):
    data, pictures = Dots(), generated_images()
    metric = ready(extractor, tmp_path, data)
    assert metric.monitor == ("fd/dots_cnn", "min")
    assert Fidelity(extractor=extractor, metrics=["is", "kid"]).monitor == ("is/dots_cnn", "max")
    assert metric.needs == frozenset() and Fidelity(needs=["image"]).needs == {"image"}
    values = evaluate(metric, data, pictures)
    expected, _ = compare(from_unit(pictures), data.real("train"), extractor=extractor, splits=4, progress=False)
    assert values["generated_images"] == 24
    for name in ("fd", "kd", "is", "precision", "recall"):
        assert values[f"{name}/dots_cnn"] == pytest.approx(expected[f"{name}/dots_cnn"], rel=1e-6)

    shuffled = ready(extractor, tmp_path, data)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    for rows in [*order.split(7), order[:5]]:  # the last ones are padding, seen before
        shuffled.update({"index": rows, "asked_label": rows % 3}, pictures[rows], data.sets["val"])
    assert shuffled.compute() == pytest.approx(values, rel=1e-5)

    shuffled.reset()
    assert evaluate(shuffled, data, pictures) == pytest.approx(values, rel=1e-6)


def of_one_of_two(rank: int, folder: Path) -> dict[str, dict[str, float]]:
    """The numbers that a process finds together with another one; called by both, in test_distributed.py."""
    # Where one has kept the features of real images and the other has not, both take part in making them.
    own_cache = folder / f"of_rank_{rank}"
    extractor = save_extractor(folder / f"dots_{rank}.pt")
    found = {}
    for title, shares in {
        "halves": [torch.arange(0, 24, 2), torch.cat([torch.arange(1, 24, 2), torch.tensor([0])])],
        "one_idle": [torch.arange(24), torch.empty(0, dtype=torch.int64)],
    }.items():
        data = Dots(version=title)
        metric = ready(extractor, own_cache, data)
        metric.stage = "test"
        for part in shares[rank].split(5):
            metric.update({"index": part, "asked_label": part % 3}, generated_images()[part], data.sets["test"])
        found[title] = metric.compute()
    return found


def of_one(folder: Path) -> dict[str, float]:
    """What one process finds alone."""
    data = Dots(version="halves")
    metric = ready(save_extractor(folder / "dots.pt"), folder / "alone", data)
    metric.stage = "test"
    return evaluate(metric, data, generated_images(), name="test")


def test_plain_images_are_compared_with_the_training_set_and_translations_with_the_set_they_are_of(extractor, tmp_path):
    for data, name, option, split in [
        (Dots(), "test", "auto", "train"),
        (Dots(), "val", "test", "test"),
        (Translated(), "val", "auto", "val"),
        (Translated(), "test", "auto", "test"),
        (Translated(counts={"far": 26}), "far", "auto", "far"),
    ]:
        metric = ready(extractor, tmp_path, data, reference=option)
        evaluate(metric, data, generated_images(), name=name)
        assert metric.describe()["reference"] == split
        assert metric.describe()["reference_images"] == data.counts[split]


def test_every_number_of_the_test_has_an_interval_around_it_and_says_what_it_is(extractor, tmp_path):
    data = Dots()
    metric = ready(extractor, tmp_path, data)
    quick = evaluate(metric, data, generated_images())
    assert not [name for name in quick if name.endswith(("/low", "/high", "/std"))]
    metric.reset()
    metric.stage = "test"
    values = evaluate(metric, data, generated_images(), name="test")
    plain = [name for name in values if not name.endswith(("/low", "/high", "/std")) and name != "generated_images"]
    assert len(plain) == 5 + 3 + 1
    for name in plain:
        assert values[f"{name}/low"] <= values[name] <= values[f"{name}/high"], name
        assert values[f"{name}/low"] < values[f"{name}/high"], name
        assert values[name] == quick[name]
    said = metric.describe()
    assert said["images"] == 24 and said["reference_images"] == 30 and said["replicates"] == 100
    assert said["extractor_hash"] == metric.network.hash and len(said["extractor_hash"]) == 16
    assert said["kid_subset_size"] == 24
    assert "24 images are fewer than 2,048: compare by kd/dots_cnn rather than fd/dots_cnn" in said["advice"]
    json.dumps(said)


def test_shares_of_classes_and_of_labels_are_counted(extractor):
    network = open_network(extractor, None)
    logits = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 2, 2, 2, 2, 2])).float()
    labels = torch.tensor([0, 1, 1, 2, 2, 2, 0, 0])
    shares = of_classes(logits, labels, network, False)
    assert shares == {
        "classes/dots_cnn/a": 0.25,
        "classes/dots_cnn/b": 0.125,
        "classes/dots_cnn/c": 0.625,
        "label_accuracy/dots_cnn": 0.625,
    }


def test_labels_are_matched_by_the_names_of_the_classes(extractor, tmp_path):
    data, pictures = Dots(), generated_images()
    metric = ready(extractor, tmp_path, data)
    values = evaluate(metric, data, pictures)
    _, logits = metric.network(from_unit(pictures))
    # The data calls its classes c, a, b and the extractor a, b, c.
    pairs = [("abc"[int(found)], "cab"[i % 3]) for i, found in enumerate(logits.argmax(1))]
    expected = sum(found == asked for found, asked in pairs) / 24
    assert 0 < expected < 1
    assert values["label_accuracy/dots_cnn"] == pytest.approx(expected)
    data = Dots()
    data.class_names = ("a", "b", "other")
    assert "label_accuracy/dots_cnn" not in evaluate(ready(extractor, tmp_path, data), data, pictures)


def test_features_of_real_images_are_kept_and_used_again(extractor, tmp_path, monkeypatch):
    taken = []
    original = features_module.extract
    monkeypatch.setattr(features_module, "extract", lambda *a, **k: taken.append(1) or original(*a, **k))
    data = Dots()
    first = evaluate(ready(extractor, tmp_path, data), data, generated_images())
    (file,) = (tmp_path / "cache").glob("*.npz")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [file.name]
    assert len(taken) == 1

    def again(data):
        return evaluate(ready(extractor, tmp_path, data), data, generated_images())

    assert again(Dots()) == first
    assert len(taken) == 1
    for damaged in (file.read_bytes()[:-200], b"", b"nonsense", file.read_bytes()[:500] + b"\0" * 99):
        file.write_bytes(damaged)
        assert again(Dots()) == first
        with np.load(file, allow_pickle=False) as contents:
            assert contents["features"].shape == (30, 128)
    assert len(taken) == 5
    again(Dots(version="2"))
    assert len(taken) == 6
    # Copies, which the callback makes at each validation, share the network and what is known.
    metric = ready(extractor, tmp_path, Dots())
    copied = copy.deepcopy(metric)
    assert copied.network is metric.network
    assert copied._real is metric._real


def test_features_of_something_else_are_not_taken(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, key=np.array("mine"), features=np.ones((2, 3), np.float32))
    assert read_features(path, "mine").shape == (2, 3)
    assert read_features(path, "yours") is None
    np.savez(path, key=np.array("mine"), features=np.full((2, 3), np.nan, np.float32))
    assert read_features(path, "mine") is None
    np.savez(path, key=np.array("mine"), features=np.array([object()]))
    assert read_features(path, "mine") is None
    assert read_features(tmp_path / "none.npz", "mine") is None
    np.savez(path, key=np.array("mine"), features=np.ones((2, 3)))  # float64
    assert read_features(path, "mine") is None
    np.savez_compressed(path, key=np.array("mine"), features=np.ones((2, 3), np.float32))  # as a bomb would be
    assert read_features(path, "mine") is None
    os.mkfifo(tmp_path / "pipe.npz")
    assert read_features(tmp_path / "pipe.npz", "mine") is None


def test_missing_inception_weights_are_said_before_the_training_with_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    asked = []

    def offline(url, *arguments, **options):
        asked.append(url)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    metric = Fidelity(cache_dir=tmp_path / "cache")
    with pytest.raises(UserError) as caught:
        metric.prepare(Dots())
    message = str(caught.value)
    assert asked == [features_module.URL_INCEPTION_V3]
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in capsys.readouterr().out
    for part in ("(no route to host)", "; add evaluation=pixels, which needs none, or", "fidelity.weights=FILE"):
        assert part in message
    assert "\n" not in message and len(message) < 350
    with pytest.raises(UserError, match=r"weights=.*none.pth: no such file"):
        Fidelity(weights=tmp_path / "none.pth").prepare(Dots())


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_files_that_are_not_inceptions_weights_are_refused_and_nothing_in_them_is_run(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"trap": Trap(tmp_path / "sprung")}, path)
    with pytest.raises(UserError, match="could run code"):
        open_network(None, path)
    assert not (tmp_path / "sprung").exists()
    path.write_bytes(b"PK\x03\x04 not a zip file")
    with pytest.raises(UserError, match=r"weights=.*weights.pth"):
        open_network(None, path)
    for contents in ({"conv1.weight": torch.zeros(2)}, torch.zeros(3)):
        torch.save(contents, path)
        with pytest.raises(UserError, match=r"not the weights of Inception.*add evaluation=pixels"):
            open_network(None, path)


@pytest.mark.parametrize(
    ("options", "counts", "message"),
    [
        ({"kid_subset_size": 25}, {}, r"24 generated and 30 real images, but kid.*kid_subset_size=25 needs 25"),
        ({"splits": 30}, {}, r"is with .*splits=30 needs 30"),
        ({"metrics": ["precision"]}, {"val": 3}, r"val: 3 generated .* precision needs 4"),
        ({"metrics": ["fid"]}, {"train": 2, "test": 1}, r"test: 1 generated and 2 real images, but fid needs 2"),
    ],
)
def test_too_few_images_are_refused_before_the_training(extractor, tmp_path, options, counts, message):
    metric = Fidelity(extractor=extractor, cache_dir=tmp_path, **options)
    data = Dots(counts=counts)
    data.batch_size = 2
    with pytest.raises(UserError, match=message):
        metric.prepare(data)


def test_an_extractor_of_other_channels_is_refused_in_words(extractor, tmp_path):
    with pytest.raises(UserError, match=r"dots_cnn was trained on grey pictures .*Dots has RGB ones"):
        ready(extractor, tmp_path, Dots(channels=3))
    with pytest.raises(UserError, match="the real set has RGB ones"):
        compare(Dots().real("test"), Dots(channels=3).real("test"), extractor=extractor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["fid", "lpips"]}, r"metrics=\['fid', 'lpips'\]: one or more of fid, kid, is"),
        ({"metrics": []}, "one or more"),
        ({"metrics": ["fid", "fid"]}, "each once"),
        ({"splits": 1}, "splits=1: a whole number, 2 or more"),
        ({"replicates": 0}, "replicates=0: .*, or null"),
        ({"reference": "all"}, "reference=all: one of auto"),
        ({"weights": "a", "extractor": "b"}, "give one of the two"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Fidelity(**options)


def test_pictures_of_different_sizes_are_refused(extractor):
    several = [torch.zeros(1, 16, 16, dtype=torch.uint8), torch.zeros(1, 16, 18, dtype=torch.uint8)] * 10
    with pytest.raises(UserError, match="1x16x16, 1x16x18"):
        compare(several, several, extractor=extractor, progress=False)


def test_images_become_what_a_png_would_hold():
    values = torch.linspace(-1.2, 1.2, 3 * 64 * 64).reshape(1, 3, 64, 64)
    assert torch.equal(from_unit(values)[0], torch.from_numpy(images.from_unit(values[0].numpy()).transpose(2, 0, 1)))


def test_features_are_those_of_float32_inside_autocast_and_inference_mode(extractor):
    network = open_network(extractor, None)
    pictures = from_unit(generated_images())
    plain, _ = network(pictures)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside, logits = network(from_unit(generated_images()))
    assert torch.equal(plain, inside)
    assert logits.dtype == torch.float32 and not logits.is_inference()


def clouds(n: int = 60, m: int = 80, dimensions: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    mixing = torch.randn(dimensions, dimensions, generator=generator)
    generated = torch.randn(n, dimensions, generator=generator) @ mixing
    return generated, torch.randn(m, dimensions, generator=generator) + 0.5


def repeated(features: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return features.repeat_interleave(counts.long(), dim=0)


@pytest.mark.parametrize(("n", "m", "dimensions"), [(60, 80, 6), (12, 80, 20), (40, 15, 20)])
def test_a_resampled_frechet_distance_is_torch_fidelitys_of_the_repeated_features(n, m, dimensions):
    generated, real = clouds(n, m, dimensions)
    counts = intervals.resamples(n, 3, seed=0)
    assert counts.sum(dim=1).tolist() == [n] * 3 and counts.max() > 1
    found = intervals.frechet(generated, real, counts)
    statistics = fid_features_to_statistics(real.double())
    for distance, row in zip(found.tolist(), counts, strict=True):
        chosen = fid_features_to_statistics(repeated(generated.double(), row))
        theirs = fid_statistics_to_metric(chosen, statistics, False)
        # Theirs takes roots of eigenvalues that are rounding noise where images are fewer than dimensions.
        assert distance == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9 if n > dimensions < m else 1e-4)


def test_a_resampled_kernel_distance_is_that_of_a_plain_loop(monkeypatch):
    monkeypatch.setattr(intervals, "ROWS", 4)  # several blocks
    generated, real = (part.double() for part in clouds(9, 7, 3))
    counts = intervals.resamples(9, 2, seed=1)
    found = intervals.kernel(generated, real, counts)
    for distance, row in zip(found.tolist(), counts, strict=True):
        chosen = repeated(torch.arange(9), row).tolist()
        kernel = lambda x, y: float((x @ y / 3 + 1) ** 3)  # noqa: E731
        pairs = [(i, j) for i in chosen for j in chosen if i != j]
        within = np.mean([kernel(generated[i], generated[j]) for i, j in pairs])
        across = np.mean([kernel(generated[i], y) for i in chosen for y in real])
        assert distance == pytest.approx(within - 2 * across, rel=1e-9)


def test_precision_and_recall_without_resampling_are_torch_fidelitys(monkeypatch):
    monkeypatch.setattr(intervals, "ROWS", 16)
    generated, real = clouds()
    precision = intervals.precision(generated, real, torch.ones(1, 60).double(), NEIGHBOURS)
    recall = intervals.recall(generated, real, torch.ones(1, 60).bool(), NEIGHBOURS)
    theirs = prc_features_to_metric(generated, real, verbose=False)
    assert 0 < theirs["precision"] < 1 and 0 < theirs["recall"] < 1
    assert float(precision) == pytest.approx(theirs["precision"], abs=1e-6)
    assert float(recall) == pytest.approx(theirs["recall"], abs=1e-6)
    half = intervals.halves(60, 2, seed=0)
    assert half.sum(dim=1).tolist() == [30, 30]
    for found, here in zip(intervals.recall(generated, real, half, NEIGHBOURS).tolist(), half, strict=True):
        assert found == pytest.approx(prc_features_to_metric(generated[here], real, verbose=False)["recall"], abs=1e-6)


def test_bootstrapped_spreads_are_those_of_many_independent_samples():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(300, 4, generator=generator)
    draws = [torch.randn(200, 4, generator=generator) * 1.2 + 0.2 for _ in range(60)]
    once = torch.ones(1, 200).double()
    counts = intervals.resamples(200, 100, seed=0)
    half = intervals.halves(200, 100, seed=0)
    for numbers, whole, parts in (
        (intervals.frechet, once, counts),
        (intervals.kernel, once, counts),
        (lambda *a: intervals.precision(*a, NEIGHBOURS), once, counts),
        (lambda *a: intervals.recall(*a, NEIGHBOURS), once.bool(), half),
    ):
        true = float(torch.cat([numbers(draw, real, whole) for draw in draws]).std())
        estimated = np.mean([intervals.spread(numbers(draw, real, parts)) for draw in draws[:8]])
        assert 0.75 < estimated / true < 1.35


def test_the_interval_of_splits_is_that_of_student(tmp_path):
    logits = torch.randn(100, 5, generator=torch.Generator().manual_seed(0)) * 3
    score = isc_features_to_metric(logits, 4)
    low, high = intervals.of_splits(score["inception_score_mean"], score["inception_score_std"], 4)
    # t quantile of 3 degrees of freedom 3.182446; standard error s / sqrt(4) with s over 3.
    half = 3.182446 * score["inception_score_std"] * (4 / 3) ** 0.5 / 2
    assert high - low == pytest.approx(2 * half, rel=1e-6)


def test_wilsons_interval_is_the_published_one():
    assert intervals.of_share(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert intervals.of_share(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
