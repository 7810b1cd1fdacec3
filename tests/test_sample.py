"""ganforge sample: the same files for the same seed."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY_PIX2PIX, overrides_for, overrides_for_model
from ganforge import cli
from ganforge.commands.interpolate import interpolate
from ganforge.commands.sample import CHUNK, draw, load_sampler, sample
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.pictures.images import from_unit
from ganforge.runs import checkpoint
from ganforge.runs.generators import load_generator


@pytest.fixture
def train(configured, folders, tmp_path):
    """train(model, *overrides) -> the folder of a tiny run on pictures of two classes."""

    def trained(model: str, *overrides: str):
        config = configured(
            [*overrides_for_model(model), *overrides_for("image_folder", folders), *overrides], folder=model
        )
        run(config)
        # A generator that has hardly learned draws plain grey: with larger weights its pictures differ.
        path = tmp_path / model / "checkpoints/best.ckpt"
        contents = checkpoint.load(path)
        for name, weight in contents["state_dict"].items():
            if name.startswith("generator") and weight.ndim == 4:
                weight *= 15
        torch.save(contents, path)
        return tmp_path / model

    return trained


def written(folder) -> dict:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_equal_seeds_give_equal_files_for_any_number_and_batch_size(train, tmp_path):
    trained = train("dcgan")
    sample(trained, 21, tmp_path / "a", batch_size=21)
    for n, batch_size in ((21, 1), (21, 8), (21, 13), (5, 64)):
        folder = tmp_path / f"{n}_{batch_size}"
        sample(trained, n, folder, batch_size=batch_size)
        files = written(folder)
        assert len(files) == n
        assert all(written(tmp_path / "a")[name] == content for name, content in files.items())
    sample(trained, 5, tmp_path / "other", seed=1)
    assert written(tmp_path / "other")["000000.png"] != written(tmp_path / "a")["000000.png"]
    picture = Image.open(tmp_path / "a/000020.png")
    assert (picture.size, picture.mode) == ((32, 32), "RGB")
    assert Image.open(tmp_path / "a_grid.png").size[0] > 4 * 32


@pytest.mark.slow
def test_a_few_pictures_load_no_compiler_and_no_training(train, tmp_path):
    command = ["sample", str(train("dcgan")), "-n", "2", "-o", str(tmp_path / "drawn")]
    heavy = ["torch._dynamo", "sympy", "scipy", "pytorch_lightning", "hydra", "torchvision"]
    code = (
        f"import sys; from ganforge.cli import main; main({command}); print(*[n for n in {heavy} if n in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert shown.stdout.splitlines()[-1] == ""


def test_pictures_are_those_of_the_generator(train, tmp_path):
    trained = train("dcgan")
    files = sample(trained, 3, tmp_path / "a", seed=4)
    generator = load_generator(trained)
    z = torch.from_numpy(np.stack([np.random.default_rng([4, i]).standard_normal(100) for i in range(3)])).float()
    with torch.no_grad():
        expected = generator.network(z)
    for file, picture in zip(files, expected, strict=True):
        drawn = np.asarray(Image.open(file)).astype(int)
        assert np.abs(drawn - from_unit(picture.numpy())).max() <= 1


def test_a_conditional_model_draws_the_class_that_is_asked(train, tmp_path):
    trained = train("cgan")
    assert cli.main(["sample", str(trained), "-n", "4", "-o", str(tmp_path / "all")]) == 0
    # One folder a class: what data=image_folder reads.
    assert list(written(tmp_path / "all")) == [
        "plain/000000.png",
        "plain/000002.png",
        "striped/000001.png",
        "striped/000003.png",
    ]
    assert cli.main(["sample", str(trained), "-n", "4", "-o", str(tmp_path / "one"), "--class", "striped"]) == 0
    one = written(tmp_path / "one")
    assert list(one) == [f"{i:06d}.png" for i in range(4)]
    assert one["000001.png"] == written(tmp_path / "all")["striped/000001.png"]
    assert one["000000.png"] != written(tmp_path / "all")["plain/000000.png"]


def test_truncation_stays_nearer_to_the_middle(train, tmp_path):
    generator = load_sampler(train("dcgan"))
    sample(generator.path, 2, tmp_path / "t", truncation=0.01)
    middle = from_unit(draw(generator, torch.zeros(1, 100), None)[0].numpy()).astype(int)
    far = lambda folder: np.abs(np.asarray(Image.open(tmp_path / folder / "000000.png")).astype(int) - middle).mean()  # noqa: E731
    sample(generator.path, 2, tmp_path / "free")
    assert far("t") < 0.2 * far("free")


@pytest.mark.slow
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(train, tmp_path, capsys):
    trained = train("cgan")
    for options, message in (
        ({"n": 0}, "-n 0"),
        ({"seed": -1}, "--seed -1"),
        ({"truncation": 0.0}, "--truncation 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"class_name": "dotted"}, "--class dotted: no such class; choose one of plain, striped"),
    ):
        with pytest.raises(UserError, match=message):
            sample(trained, **{"n": 2, "output": tmp_path / "out", **options})
    for options, message in (
        ({"walk": (1,)}, "--walk 1"),
        ({"steps": 1}, "--steps 1"),
        ({"walk": "1,b"}, "--walk 1,b: picture numbers"),
        ({"truncation": 2.0}, "--truncation 2"),
        ({"class_name": "dotted"}, "--class dotted"),
    ):
        with pytest.raises(UserError, match=message):
            interpolate(trained, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    sample(trained, 2, tmp_path / "out")
    with pytest.raises(UserError, match="is already there"):
        sample(trained, 2, tmp_path / "out")
    sample(trained, 2, tmp_path / "out", overwrite=True)
    with pytest.raises(UserError, match="was not told classes"):
        sample(train("dcgan"), 2, tmp_path / "plain", class_name="striped")


@pytest.mark.slow
def test_models_that_translate_are_sent_to_predict_and_the_other_way_round(configured, train, tmp_path, capsys):
    lattice = ["data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]
    run(configured([*TINY_PIX2PIX, *lattice], folder="pix2pix"))
    assert cli.main(["sample", str(tmp_path / "pix2pix"), "-o", str(tmp_path / "out")]) == 1
    assert "use ganforge predict" in capsys.readouterr().err
    assert cli.main(["predict", str(train("dcgan")), str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "use ganforge sample" in capsys.readouterr().err


def test_the_network_sees_the_same_number_of_latents_always(train):
    generator = load_sampler(train("dcgan"))
    seen = []
    generator.network.register_forward_pre_hook(lambda network, arguments: seen.append(len(arguments[0])))
    assert len(draw(generator, torch.zeros(11, 100), None)) == 11
    assert seen == [CHUNK, CHUNK]


def renamed(trained, classes: list, tmp_path):
    """A copy of a checkpoint whose classes have other names."""
    contents = checkpoint.load(trained)
    contents["ganforge"]["class_names"] = classes
    torch.save(contents, tmp_path / "renamed.ckpt")
    return tmp_path / "renamed.ckpt"


def test_class_names_of_a_checkpoint_never_leave_the_folder(train, tmp_path, monkeypatch, capsys):
    trained = train("cgan")
    victim, out = tmp_path / "victim", tmp_path / "a/b/out"
    for number, (first, second) in enumerate(
        (
            (str(victim), "../../../victim"),
            ("..", "."),
            ("x/y", "x\\y"),
            ("a\nb", "a\tb"),
            ("", "n" * 300),
            ("\x1b[2J", "\0"),
        )
    ):
        folder = out / str(number)
        files = sample(renamed(trained, [first, second], tmp_path), 4, folder)
        assert len({file.parent for file in files}) == 2
        for file in files:
            assert file.is_file() and file.parent.resolve().parent == folder.resolve()
        assert {path.name for path in out.iterdir()} <= {
            f"{i}{end}" for i in range(number + 1) for end in ("", "_grid.png")
        }
        assert not victim.exists()
    with pytest.raises(UserError, match="3 class names but n_classes=2"):
        sample(renamed(trained, ["a", "b", "c"], tmp_path), 4, tmp_path / "three")
    monkeypatch.chdir(tmp_path / "a")
    sample(trained, 1, ".", class_name="plain")
    assert (tmp_path / "a_grid.png").is_file()


def test_what_draws_nothing_finite_is_named(train, tmp_path):
    contents = checkpoint.load(train("dcgan"))
    for name, value in contents["state_dict"].items():
        if name.startswith("generator") and value.ndim == 4:
            value.sign_().mul_(1e19)  # finite, but their products are not
    torch.save(contents, tmp_path / "spoilt.ckpt")
    with pytest.raises(UserError, match=r"spoilt\.ckpt: it draws a picture that is not finite"):
        sample(tmp_path / "spoilt.ckpt", 2, tmp_path / "out")


def test_pictures_larger_than_the_memory_are_refused_before_they_are_drawn(train, monkeypatch):
    trained = train("dcgan")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(UserError, match=r"8 pictures of it would need more than .* GB"):
        load_sampler(trained)
