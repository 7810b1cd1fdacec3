"""ganforge evaluate: the numbers of a run again, of a folder in its place, of two folders."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY_PIX2PIX, overrides_for, overrides_for_model
from ganforge import cli
from ganforge.commands.evaluate import Folder, evaluate, rebuild_data
from ganforge.commands.extract import train
from ganforge.commands.sample import sample
from ganforge.errors import UserError
from ganforge.evaluation.extractor import load_extractor
from ganforge.experiment import run, start
from ganforge.networks.squeezenet import SqueezeNet
from ganforge.report import page as report
from ganforge.runs import checkpoint
from ganforge.runs.generators import load_generator


@pytest.fixture(autouse=True)
def standing_apart(tmp_path, monkeypatch):
    """Pictures are written where one stands, features into the user's cache."""
    (tmp_path / "standing").mkdir()
    monkeypatch.chdir(tmp_path / "standing")
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")  # of the terminal: no cell of a table is wrapped


@pytest.fixture
def extractor(folders, tmp_path):
    """A classifier of the two classes of tiny pictures, which are noise: it is right in half of them."""
    overrides = ["data=image_folder", f"data.root={folders / 'image_folder'}", "data.size=32"]
    train(overrides, name="tiny_cnn", output=tmp_path / "tiny.pt", epochs=1)
    return tmp_path / "tiny.pt"


@pytest.fixture
def judged(judge):
    """A tiny DCGAN, judged by the classifier."""
    return judge("dcgan")


@pytest.fixture
def judge(configured, folders, tmp_path, extractor):
    """judge(model) -> a tiny run with evaluation=domain, with 12 generated pictures at its end."""
    return lambda model: judged_run(configured, folders, tmp_path, extractor, model)


def judged_run(configured, folders, tmp_path, extractor, chosen):
    data = [setting for setting in overrides_for("image_folder", folders) if not setting.startswith("evaluation=")]
    model = [setting for setting in overrides_for_model(chosen) if not setting.startswith(("data.n_t", "data.n_val"))]
    domain = [
        "evaluation=domain",
        f"evaluation.metrics.fidelity.extractor={extractor}",
        "evaluation.metrics.fidelity.splits=2",
        f"evaluation.metrics.fidelity.cache_dir={tmp_path / 'features'}",
        "evaluation.metrics.memorization.samples=6",
    ]
    run(configured([*model, *data, *domain, "data.n_train=10", "data.n_val=8", "data.n_test=12"]))
    return tmp_path / "run"


def test_a_run_is_judged_as_at_its_end(capsys, judged, tmp_path, extractor):
    at_the_end = json.loads((judged / "results.json").read_text())
    trained = capsys.readouterr().out
    assert cli.main(["evaluate", str(judged), "--output", str(tmp_path / "again.json")]) == 0
    # Beside every number that the classifier gives, how often it is right.
    accuracy = load_extractor(extractor).card["test_accuracy"]
    assert accuracy < 0.8
    in_report = re.sub("<wbr>|\u2060|</?span[^>]*>", "", report.write(judged).read_text())
    for shown in (trained, capsys.readouterr().out, in_report):
        for name in ("fd", "kd", "is", "precision", "recall", "classes"):
            assert f"{name}/tiny_cnn ({100 * accuracy:.1f} % right)" in shown, (name, shown)
        assert f"warning: the extractor tiny_cnn is right in {accuracy:.1%} of its test pictures" in shown
    again = json.loads((tmp_path / "again.json").read_text())
    compared = [key for key in again if key.startswith("test/")]
    assert {"test/fd/tiny_cnn", "test/is/tiny_cnn", "test/kd/tiny_cnn/low", "test/memorized/pixels"} <= set(compared)
    for key in compared:
        assert again[key] == pytest.approx(at_the_end[key], rel=1e-3, abs=1e-3, nan_ok=True), key
    said = again["evaluation"]["test/fidelity"]
    assert (said["images"], said["extractor"], said["reference"]) == (12, "tiny_cnn", "train")
    assert said["extractor_hash"] == at_the_end["evaluation"]["test/fidelity"]["extractor_hash"]
    assert "2,048" in said["advice"] and "kd/tiny_cnn" in said["advice"]
    assert not any(key.startswith("test/label_accuracy") for key in at_the_end)  # nobody asked for a class
    # Best and final are both reported; with one epoch they are the same weights.
    assert at_the_end["final/test/fd/tiny_cnn"] == at_the_end["test/fd/tiny_cnn"]
    assert (judged / "samples/nearest.png").is_file()
    with pytest.raises(UserError, match="is already there"):
        evaluate(judged, output=tmp_path / "again.json")


def test_a_conditional_run_says_how_often_the_class_was_the_one_asked_for(judge, tmp_path):
    folder = judge("cgan")
    at_the_end = json.loads((folder / "results.json").read_text())
    assert 0 <= at_the_end["test/label_accuracy/tiny_cnn"] <= 1
    again = evaluate(folder)
    assert again["test/label_accuracy/tiny_cnn"] == pytest.approx(at_the_end["test/label_accuracy/tiny_cnn"], abs=0.1)


def test_a_folder_in_place_of_what_the_run_generates(judged, tmp_path, extractor):
    sample(judged, 12, tmp_path / "drawn")
    whole = evaluate(judged, extractor=str(extractor), metrics=["fid", "kid"])
    folder = evaluate(judged, pictures=tmp_path / "drawn", extractor=str(extractor), metrics=["fid", "kid"])
    assert folder["test/fd/tiny_cnn"] == pytest.approx(whole["test/fd/tiny_cnn"], rel=1e-2)
    assert "test/precision/tiny_cnn" not in folder


def test_two_folders(tmp_path, extractor, folders):
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("dark_too", 60), ("light", 200)):
        (tmp_path / name).mkdir()
        for index in range(12):
            noise = rng.integers(0, 50, (32, 32, 3), dtype=np.uint8) + np.uint8(level)
            Image.fromarray(noise).save(tmp_path / name / f"{index}.png")
    options = {"extractor": str(extractor), "metrics": ["fid"]}
    near = evaluate(tmp_path / "dark", against=tmp_path / "dark_too", **options)
    far = evaluate(tmp_path / "dark", against=tmp_path / "light", **options)
    assert near["test/fd/tiny_cnn"] < 0.2 * far["test/fd/tiny_cnn"]
    assert far["evaluation"]["test/fidelity"]["images"] == 12
    torch.manual_seed(0)
    torch.save(SqueezeNet(bgr=False).state_dict(), tmp_path / "squeezenet.pth")
    seen = evaluate(
        tmp_path / "dark", against=tmp_path / "light", extractor=str(tmp_path / "squeezenet.pth"), metrics=["kid"]
    )
    assert seen["evaluation"]["test/fidelity"]["extractor"] == "squeezenet"
    with pytest.raises(UserError, match="--metrics fod"):
        evaluate(tmp_path / "dark", against=tmp_path / "light", metrics=["fod"])
    Image.new("RGB", (16, 16)).save(tmp_path / "light/odd.png")
    with pytest.raises(UserError, match="differ in size"):
        evaluate(tmp_path / "dark", against=tmp_path / "light", **options)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("data", {"_target_": "os.system"}, "names data that is not built from a checkpoint"),
        ("data", {"root": {"_target_": "os.system"}}, "not plain values"),
        ("data", {"wings": 2}, "does not fit this version"),
        ("evaluation", {"metrics": {"x": {"_target_": "os.system", "command": "touch exploded"}}}, "'os.system'"),
        ("evaluation", {"metrics": {"x": {"_target_": "ganforge.evaluation.Fidelity", "extractor": "${oc.env:HOME}"}}},
         "with plain values"),
    ],
)  # fmt: skip
def test_a_checkpoints_config_cannot_choose_what_is_run(judged, tmp_path, monkeypatch, section, change, message):
    monkeypatch.chdir(tmp_path)
    contents = checkpoint.load(judged)
    contents["ganforge"]["config"][section].update(change)
    torch.save(contents, "changed.ckpt")
    with pytest.raises(UserError, match=message):
        evaluate("changed.ckpt")
    assert not (tmp_path / "exploded").exists()


def test_an_extractor_is_trained_by_overrides_alone(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    digits = ["data=mnist", f"data.root={folders / 'mnist'}", "data.n_heldout=20"]
    assert cli.main(["extractor", *digits, "--epochs", "1"]) == 0
    file = tmp_path / "lightning_logs/extractors/mnist_cnn.pt"
    assert load_extractor(file).card["class_names"] == [str(digit) for digit in range(10)]
    assert str(file.relative_to(tmp_path)) in capsys.readouterr().out
    for arguments, message in (
        (digits, "is already there"),
        ([*digits, "model=gan", "--name", "x"], "data=NAME and data.NAME=VALUE are expected"),
        (["data=nothing", "--name", "x"], "nothing"),
        (["data=pairs", f"data.root={folders / 'pairs'}", "data.size=32", "--name", "x"], "no classes"),
    ):
        assert cli.main(["extractor", *arguments]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_checkpoint_alone_writes_where_one_stands_and_replaces_nothing(judged, tmp_path, monkeypatch):
    place, elsewhere = tmp_path / "a/b", tmp_path / "stand"
    place.mkdir(parents=True)
    elsewhere.mkdir()
    contents = checkpoint.load(judged)
    config = contents["ganforge"]["config"]
    config["evaluation"]["metrics"]["fidelity"]["cache_dir"] = str(tmp_path / "named")
    config["data"]["cache_dir"], config["data"]["cache_bytes"] = str(tmp_path / "named"), 0
    torch.save(contents, place / "x.ckpt")
    monkeypatch.chdir(elsewhere)
    (elsewhere / "evaluation").mkdir()
    numbers = evaluate(place / "x.ckpt", output="numbers.json")
    assert numbers["evaluation"]["test/memorization"]["memorized/picture"] == "evaluation_2/nearest.png"
    assert sorted(path.name for path in elsewhere.rglob("*")) == [
        "evaluation",
        "evaluation_2",
        "nearest.png",
        "numbers.json",
    ]
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["b", "x.ckpt"]
    assert not (tmp_path / "named").exists()


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("data", {"size": 100_000}, r"data\.size contradicts"),
        ("data", {"n_test": 10**12}, r"beyond 1,000,000: n_test"),
        ("data", {"val_fraction": float("nan")}, r"beyond 1,000,000: val_fraction=nan"),
        ("data", {"cache_bytes": "x"}, "does not fit this version"),
        ("data", {"n_labels": []}, "a whole number"),
        ("data", {"classes": ["striped"]}, "was told the classes|n_classes"),
        ("data", {"_target_": ["x"]}, "names data that is not built"),
        ("evaluation", {"metrics": {"x": {"_target_": ["x"]}}}, "names the metric"),
        ("evaluation", {"metrics": {"x": 3}}, "names the metric None"),
        ("evaluation", {"metrics": {"x": {"_target_": "ganforge.evaluation.Fidelity", "replicates": 10**9}}}, "beyond"),
    ],
)
def test_odd_settings_of_a_checkpoint_are_one_sentence(judge, tmp_path, section, change, message):
    contents = checkpoint.load(judge("cgan"))
    contents["ganforge"]["config"][section].update(change)
    torch.save(contents, tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=message) as refused:
        evaluate(tmp_path / "changed.ckpt")
    assert "\n" not in str(refused.value)


def test_folders_of_classes_are_judged_as_sample_writes_them(tmp_path, capsys, monkeypatch, extractor):
    """Pictures in a folder a class; what is wrong is said with the options of the command."""
    rng = np.random.default_rng(0)
    for folder in ("drawn/a", "drawn/b", "real"):
        (tmp_path / folder).mkdir(parents=True)
        for index in range(6):
            picture = Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8))
            picture.save(tmp_path / folder / f"{index}.png")
    assert len(Folder(tmp_path / "drawn", 3)) == 12 and len(Folder(tmp_path / "real", 3)) == 6
    command = ["evaluate", str(tmp_path / "drawn"), "--against", str(tmp_path / "real"), "--metrics", "kid"]
    assert cli.main([*command, "--extractor", str(tmp_path / "absent/none.pt")]) == 1
    assert f"--extractor {tmp_path / 'absent/none.pt'}: no such file; train it" in capsys.readouterr().err
    beside = Path(extractor).with_name("other.pt")
    assert cli.main([*command, "--extractor", str(beside)]) == 1
    assert f"{beside}: no such file; there is --extractor {extractor}; or train it" in capsys.readouterr().err
    assert cli.main([*command, "--weights", str(tmp_path / "none.pth")]) == 1
    said = capsys.readouterr().err
    assert "add --metrics swd, which needs none, or --weights FILE" in said and "evaluation" not in said


def test_numbers_that_need_no_weights(tmp_path, capsys, judged, folders):
    """Of a run they are those of evaluation=pixels; of two folders the second stands for the training pictures."""
    numbers = tmp_path / "numbers.json"
    command = ["evaluate", str(judged), "--output", str(numbers), "--overwrite", "--metrics"]
    assert cli.main([*command, "swd,diversity"]) == 0
    of_run = json.loads(numbers.read_text())
    assert {key for key in of_run if key.startswith("test/")} == {"test/swd", "test/diversity"}
    assert cli.main(["sample", str(judged), "-n", "12", "--output", str(tmp_path / "drawn")]) == 0
    against = [str(tmp_path / "drawn"), "--against", str(tmp_path / "real")]
    rebuilt = rebuild_data(load_generator(judged)).real("train")
    (tmp_path / "real").mkdir()
    for index, picture in enumerate(rebuilt):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / "real" / f"{index}.png")
    assert cli.main(["evaluate", *against, "--metrics", "swd,diversity", *command[2:5]]) == 0
    shown = capsys.readouterr().out
    assert f"12 generated pictures against 10 real ones ({tmp_path / 'real'}), pixel by pixel" in shown
    of_folders = json.loads(numbers.read_text())
    for key in ("test/swd", "test/diversity"):  # the run draws on its test's latents with equal seeds, PNGs round
        assert of_folders[key] == pytest.approx(of_run[key], rel=1e-3)
    assert cli.main(["evaluate", *against, "--metrics", "swd", "--extractor", "x.pt"]) == 1
    assert "--extractor x.pt: not needed for swd" in capsys.readouterr().err
    for index in range(2):
        Image.new("RGB", (9, 8)).save(tmp_path / "real" / f"odd{index}.png")
    assert cli.main(["evaluate", *against, "--metrics", "swd"]) == 1
    assert "there are pictures of 9 x 8 and 32 x 32 px; give pictures of one size" in capsys.readouterr().err
    assert cli.main(["evaluate", str(tmp_path / "real"), "--against", str(folders / "pairs"), "--metrics", "swd"]) == 1
    assert "are of 32 x 32 px and the real ones of 64 x 32" in capsys.readouterr().err


def test_an_extractor_of_the_same_classes_is_named_where_the_default_one_is_absent(
    configured, folders, tmp_path, capsys, monkeypatch
):
    """As one is written by `ganforge extractor --name`; what it prints at its end can be typed."""
    monkeypatch.chdir(tmp_path)
    pictures = ["data=image_folder", f"data.root={folders / 'image_folder'}", "data.size=32"]
    assert cli.main(["extractor", *pictures, "--name", "mine", "--epochs", "1"]) == 0
    hint = capsys.readouterr().out.splitlines()[-1].removeprefix("to train and compare by it: ")
    assert hint == "evaluation=domain evaluation.metrics.fidelity.extractor=lightning_logs/extractors/mine.pt"
    digits = ["data=mnist", f"data.root={folders / 'mnist'}", "data.n_heldout=20"]
    assert cli.main(["extractor", *digits, "--name", "digits", "--epochs", "1"]) == 0  # knows other classes
    capsys.readouterr()
    small = overrides_for_model("dcgan")
    with pytest.raises(SystemExit) as refused:
        start(configured([*small, *pictures, "evaluation=domain"]))
    _, setting = hint.split()
    assert f"image_folder_cnn.pt: no such file; there is {setting}, which knows the classes" in refused.value.code
    assert "digits.pt" not in refused.value.code
    run(configured([*small, *pictures, *hint.split(), "evaluation.metrics.fidelity.metrics=[kid]"]))
    assert cli.main(["extractor", *digits, "--epochs", "1"]) == 0
    assert capsys.readouterr().out.endswith("to train and compare by it: evaluation=domain\n")


@pytest.mark.slow
def test_networks_of_running_and_of_batch_statistics_are_judged_from_one_run(configured, tmp_path):
    run(configured([*TINY_PIX2PIX, "data.shifted=null", "model.generator.depth=3"]))
    at_the_end = json.loads((tmp_path / "run/results.json").read_text())
    found = {}
    for mode in ("running", "batch"):
        file = tmp_path / f"{mode}.json"
        assert cli.main(["evaluate", str(tmp_path / "run"), "--norm-mode", mode, "--output", str(file)]) == 0
        found[mode] = json.loads(file.read_text())
    own = load_generator(tmp_path / "run").card["norm_mode"]
    assert found[own]["test/l1"] == pytest.approx(at_the_end["test/l1"], rel=1e-3)
    assert {"test/bond_f1", "test/l1"} <= found["batch"].keys() & found["running"].keys()
    assert abs(found["batch"]["test/l1"] - found["running"]["test/l1"]) > 1e-3
