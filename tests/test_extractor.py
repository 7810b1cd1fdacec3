import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from ganforge.data.module import DataModule
from ganforge.errors import UserError
from ganforge.evaluation.extractor import DomainExtractor, load_extractor, unit, weights_hash
from ganforge.evaluation.extractor_training import _scale_features, _shift, train_extractor
from ganforge.evaluation.features import open_network
from ganforge.runs import summary


class Stripes(DataModule):
    """Noisy grey pictures: horizontal stripes, vertical stripes, or none."""

    class_names = ("across", "down", "plain")

    def __init__(self, size: int = 12, count: int = 60):
        super().__init__(size=size, batch_size=2, num_workers=0, seed=0)
        self.count = count

    def real(self, split: str):
        rng = np.random.default_rng(len(split))
        stripes = np.where(np.arange(self.size) // 2 % 2, 200, 50)[:, None].repeat(self.size, 1)
        patterns = np.stack([stripes, stripes.T, np.full_like(stripes, 125)])[self.real_labels(split)]
        noisy = (patterns + rng.normal(0, 10, patterns.shape)).clip(0, 255).astype(np.uint8)
        return torch.from_numpy(noisy)[:, None]

    def real_labels(self, split: str):
        return np.arange(self.count if split == "train" else self.count // 2) % 3

    def fingerprint(self) -> str:
        return "stripes"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("extractor") / "stripes.pt"
    report = train_extractor(
        Stripes(), name="stripes_cnn", output=path, epochs=8, batch_size=10, seed=1, device="cpu", progress=False
    )
    return report, path


def test_an_extractor_learns_its_classes_and_reports_the_accuracy_of_the_saved_weights(trained, capsys):
    report, path = trained
    assert report["test_accuracy"] >= 0.95
    extractor = load_extractor(path)
    right = 0
    data = Stripes()
    for image, label in zip(data.real("test"), data.real_labels("test"), strict=True):
        features, logits = extractor(image[None])
        assert features.shape == (1, 128)
        right += int(logits.argmax()) == label
    assert report["test_accuracy"] == right / 30
    expected = {"name": "stripes_cnn", "channels": 1, "size": 12, "test_images": 30, "train_images": 60}
    assert expected.items() <= report.items()
    assert extractor.class_names == ("across", "down", "plain")
    assert extractor.card == report


class Guessed(Stripes):
    """Labels that have nothing to do with the pictures."""

    def real_labels(self, split: str):
        order = np.random.default_rng(7).permutation(self.count if split == "train" else self.count // 2)
        return order % 3 if split == "train" else super().real_labels(split)


@pytest.mark.parametrize("least", [0.8, 0.0])
def test_an_extractor_that_is_too_often_wrong_is_warned_of(tmp_path, capsys, least):
    settings = {"name": "guessed", "output": tmp_path / "x.pt", "epochs": 1, "progress": False, "device": "cpu"}
    data = Guessed()
    data.real = lambda split: Stripes().real(split).flip(0) if split == "test" else Stripes().real(split)
    report = train_extractor(data, **settings, **({} if least == 0.8 else {"least_accuracy": least}))
    assert report["test_accuracy"] < 0.8 and report["least_accuracy"] == least
    said = capsys.readouterr().out
    right = f"{report['test_accuracy']:.1%} of its test pictures, of 3 classes, below 80%"
    assert (f"warning: the extractor guessed is right in {right}" in said) == (least > 0)
    network = open_network(tmp_path / "x.pt", None)
    assert ("extractor_warning" in network.describe()) == (least > 0)
    assert network.describe()["extractor_test_accuracy"] == report["test_accuracy"]


def test_of_an_older_extractor_the_accuracy_is_unknown(trained, tmp_path):
    contents = torch.load(trained[1], weights_only=True)
    torch.save(
        {key: v for key, v in contents.items() if key not in ("test_accuracy", "least_accuracy")}, tmp_path / "x"
    )
    said = open_network(tmp_path / "x", None).describe()
    assert said["extractor_test_accuracy"] is None and "extractor_warning" not in said
    shown = summary.of({"test/fd/stripes_cnn": 1.0, "evaluation": {"test/fidelity": said}}, ["test"])
    assert shown[0].rows == [["fd/stripes_cnn (accuracy unknown)", "1.0000"]]


def test_features_are_of_the_scale_that_the_kernel_distance_expects_and_logits_as_they_were(trained):
    extractor, pictures = load_extractor(trained[1]), Stripes().real("train")
    features, logits = extractor(pictures)
    assert float(features.square().mean()) == pytest.approx(1, rel=1e-4)
    with torch.no_grad():
        extractor.hidden.weight.mul_(7)
        extractor.hidden.bias.mul_(7)
        extractor.head.weight.div_(7)
    _scale_features(extractor, pictures, 7)
    again, same = extractor(pictures)
    assert torch.allclose(again, features, rtol=1e-4, atol=1e-5)
    assert torch.allclose(same, logits, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_extractor_and_leaves_the_global_one_alone(trained, tmp_path):
    state = torch.random.get_rng_state()
    again = train_extractor(
        Stripes(), name="again", output=tmp_path / "a.pt", epochs=8, batch_size=10, seed=1, device="cpu", progress=False
    )
    assert again["hash"] == trained[0]["hash"]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not list(tmp_path.glob(".*"))


def test_data_without_classes_is_refused_before_the_training(tmp_path):
    data = Stripes()
    data.class_names = ("across",)
    with pytest.raises(UserError, match=r"has 1 classes.*two or more"):
        train_extractor(data, name="x", output=tmp_path / "x.pt")
    data = Stripes()
    data.real_labels = lambda split: None
    data.real = lambda split: torch.zeros(4, 1, 12, 12, dtype=torch.uint8)
    with pytest.raises(UserError, match="two or more"):
        train_extractor(data, name="x", output=tmp_path / "x.pt")


def test_a_class_without_training_pictures_is_named(tmp_path):
    data = Stripes()
    data.class_names = ("across", "down", "plain", "dotted")
    with pytest.raises(UserError, match="no training pictures of dotted"):
        train_extractor(data, name="x", output=tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["vgg16", "inception-v3-compat", "a/b", "", " x"])
def test_names_that_cannot_stand_in_the_names_of_numbers_are_refused(name, tmp_path):
    with pytest.raises(UserError, match="name"):
        train_extractor(Stripes(), name=name, output=tmp_path / "x.pt")


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(UserError, match="epochs=0"):
        train_extractor(Stripes(), name="x", output=tmp_path / "x.pt", epochs=0)
    with pytest.raises(UserError, match="is a folder"):
        train_extractor(Stripes(), name="x", output=tmp_path)
    with pytest.raises(UserError, match=r"least_accuracy=80: a share"):
        train_extractor(Stripes(), name="x", output=tmp_path / "x.pt", least_accuracy=80)
    with pytest.raises(UserError, match="size=4"):
        train_extractor(Stripes(), name="x", output=tmp_path / "x.pt", size=4)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_files_that_are_no_extractors_are_refused_and_nothing_in_them_is_run(trained, tmp_path):
    path = tmp_path / "x.pt"
    contents = torch.load(trained[1], weights_only=True)

    def refused(message):
        with pytest.raises(UserError, match=message):
            load_extractor(path)

    refused("no such file")
    torch.save({**contents, "trap": Trap(tmp_path / "sprung")}, path)
    refused("could run code")
    assert not (tmp_path / "sprung").exists()
    path.write_bytes(trained[1].read_bytes()[:2000])
    refused("truncated")
    path.write_bytes(b"")
    refused("extractor=.*x.pt")
    torch.save({"state_dict": {}}, path)
    refused("another program")
    torch.save({**contents, "ganforge_extractor": 2}, path)
    refused("format 2")
    torch.save({key: value for key, value in contents.items() if key != "size"}, path)
    refused("does not say its size")
    changed = {**contents["weights"], "head.bias": contents["weights"]["head.bias"] + 1e-6}
    torch.save({**contents, "weights": changed}, path)
    refused("changed or damaged")
    torch.save({**contents, "weights": [1]}, path)
    refused("another program")
    torch.save({**contents, "widths": [8, 8]}, path)
    refused("do not fit")


def test_the_hash_sees_every_bit_and_no_order():
    state = {"a": torch.zeros(3), "b": torch.tensor(1)}
    assert weights_hash(state) == weights_hash(dict(reversed(state.items())))
    assert weights_hash(state) != weights_hash({**state, "b": torch.tensor(2)})
    assert weights_hash(state) != weights_hash({"a": torch.zeros(3, 1), "b": torch.tensor(1)})


def test_grey_pictures_read_as_rgb_are_taken_and_coloured_ones_are_not(trained):
    extractor = load_extractor(trained[1])
    grey = Stripes().real("test")[:3]
    assert torch.equal(extractor(grey)[1], extractor(grey.repeat(1, 3, 1, 1))[1])
    coloured = grey.repeat(1, 3, 1, 1)
    coloured[0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match="colour"):
        extractor(coloured)
    with pytest.raises(ValueError, match="uint8"):
        extractor(grey.float())


def test_other_sizes_are_resized_as_pillow_does_with_antialiasing():
    picture = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(picture).resize((12, 12), Image.Resampling.BILINEAR)) / 127.5 - 1
    ours = unit(torch.from_numpy(picture)[None, None], 12)[0, 0].numpy()
    assert np.abs(ours - theirs).max() < 1.1 / 127.5
    aliased = torch.nn.functional.interpolate(torch.from_numpy(picture)[None, None].float(), (12, 12), mode="bilinear")
    assert np.abs(aliased[0, 0].numpy() / 127.5 - 1 - theirs).max() > 0.3


def test_pictures_above_64_pixels_are_learnt_at_64(tmp_path):
    report = train_extractor(
        Stripes(size=80, count=6), name="large", output=tmp_path / "x.pt", epochs=1, batch_size=2, progress=False
    )
    assert report["size"] == 64
    assert load_extractor(tmp_path / "x.pt")(Stripes(size=80).real("test")[:1])[1].shape == (1, 3)


def test_shifted_pictures_are_crops_of_the_picture_with_its_edge_repeated():
    images = torch.arange(2 * 3 * 5 * 5, dtype=torch.uint8).reshape(2, 3, 5, 5)
    shifted = _shift(images, 1, torch.Generator().manual_seed(3))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    for found, whole in zip(shifted.numpy(), padded, strict=True):
        crops = [whole[:, top : top + 5, left : left + 5] for top in range(3) for left in range(3)]
        assert any(np.array_equal(found, crop) for crop in crops)
    seeds = (torch.Generator().manual_seed(seed) for seed in range(30))
    assert len({tuple(_shift(images[:1], 1, generator).flatten().tolist()) for generator in seeds}) > 5


def test_torch_fidelity_knows_the_extractor_by_its_name_and_loads_the_last_file_of_it(trained):
    load_extractor(trained[1])
    network = FEATURE_EXTRACTORS_REGISTRY["stripes_cnn"]("stripes_cnn", ["logits"])
    image = Stripes().real("test")[:1]
    assert isinstance(network, DomainExtractor)
    network.eval()
    assert torch.equal(network(image)[0], load_extractor(trained[1])(image)[1])
    assert network.get_name() == f"stripes_cnn-{trained[0]['hash']}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "x" * 300}, "not longer than 64"),
        ({"name": "../x"}, "letters, digits"),
        ({"size": 10**6}, "does not say its size"),
        ({"channels": True}, "does not say its channels"),
        ({"widths": [8] * 10**5}, "which has more of them"),
        ({"widths": [4096, 4096]}, "do not fit"),
        ({"widths": [float("nan")]}, "does not say its widths"),
        ({"class_names": ["a"] * 3}, "does not say its class_names"),
        ({"class_names": [["a"]]}, "does not say its class_names"),
        ({"test_accuracy": float("nan")}, "does not say its test_accuracy"),
        ({"test_accuracy": 24.0}, "does not say its test_accuracy"),
        ({"hash": 3}, "does not say its hash"),
        ({"ganforge_extractor": torch.zeros(3)}, "format"),
        ({"weights": {1: torch.zeros(3)}}, "changed or damaged"),
    ],
)
def test_odd_values_are_refused_in_one_sentence(trained, tmp_path, change, message):
    contents = torch.load(trained[1], weights_only=True)
    torch.save({**contents, **change}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=message) as refused:
        load_extractor(tmp_path / "x.pt")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 1000


def test_a_file_says_nothing_beyond_what_it_is_asked(trained, tmp_path):
    contents = torch.load(trained[1], weights_only=True)
    nested = []
    for _ in range(40):
        nested = [nested] * 10
    torch.save({**contents, "data": nested, "more": nested}, tmp_path / "x.pt")
    assert "data" not in load_extractor(tmp_path / "x.pt").card


def test_weights_that_are_not_finite_are_refused(trained, tmp_path):
    contents = torch.load(trained[1], weights_only=True)
    contents["weights"]["head.bias"][0] = float("inf")
    torch.save({**contents, "hash": weights_hash(contents["weights"])}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"its weights are not finite, or too large to compute with \(head\.bias\)"):
        load_extractor(tmp_path / "x.pt")
