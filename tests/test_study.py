"""`ganforge study augmentation`: who sees what, the classifier, and the command from its start to the report."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.cli import main
from ganforge.data.image_folder import ImageFolderData
from ganforge.errors import UserError
from ganforge.runs import git, ledger
from ganforge.studies import classifier
from ganforge.studies.split import pool


@pytest.fixture
def folder(tmp_path):
    """Stripes along either axis, 14 of each, 16 px."""
    generator = np.random.default_rng(0)
    row, column = np.mgrid[:16, :16] / 16
    for name, waves in (("lying", row), ("standing", column)):
        (tmp_path / "stripes" / name).mkdir(parents=True)
        for number in range(14):
            wave = np.sin(6 * np.pi * waves + generator.uniform(0, 6.28))
            values = 128 + 70 * wave + generator.normal(0, 20, (16, 16))
            picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
            picture.save(tmp_path / "stripes" / name / f"{number}.png")
    return tmp_path / "stripes"


def data_of(folder, **more):
    return ImageFolderData(root=folder, size=16, channels=1, **more)


def test_shots_of_a_seed_are_apart_from_its_validation_and_the_test(folder):
    drawn = pool(data_of(folder), 0.3)
    assert len(drawn.files) == 28 and drawn.test.sum() == 8
    few, many = drawn.draw(2, 0, 3), drawn.draw(5, 0, 3)
    assert set(few.train) < set(many.train) and set(few.val) == set(many.val)
    for draw in (few, many):
        rows = [*draw.train, *draw.val, *np.flatnonzero(drawn.test)]
        assert len(set(rows)) == len(rows)
    assert np.bincount(drawn.pictures.labels[many.train]).tolist() == [5, 5]
    assert set(drawn.draw(5, 1, 3).train) != set(many.train)


def test_folder_test_is_the_test(folder):
    for name in ("lying", "standing"):
        for split, numbers in (("train", range(10)), ("test", range(10, 14))):
            (folder / split / name).mkdir(parents=True)
            for number in numbers:
                shutil.move(folder / name / f"{number}.png", folder / split / name / f"{number}.png")
        (folder / name).rmdir()
    drawn = pool(data_of(folder), 0.3)
    tests = [path for path, held in zip(drawn.files, drawn.test, strict=True) if held]
    assert len(drawn.files) == 28 and {path.parent.parent.name for path in tests} == {"test"} and len(tests) == 8


def test_a_copy_of_a_test_picture_is_a_leak(folder):
    drawn = pool(data_of(folder), 0.3)
    tests = [path for path, held in zip(drawn.files, drawn.test, strict=True) if held]
    copied = next(path for path in drawn.files if path not in tests and path.parent == tests[0].parent)
    Image.open(tests[0]).convert("RGB").save(copied)
    drawn = pool(data_of(folder), 0.3)
    found = {pair for seed in range(20) for pair in drawn.leaks(drawn.draw(5, seed, 3))}
    assert {frozenset((drawn.files[one], drawn.files[other])) for one, other in found} == {
        frozenset((copied, tests[0]))
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["shots=[20]"], "shots=20: lying has 10 pictures to draw from beside the 4 of the test, and 20 to train on"),
        (["shots=[2]", "val_shots=9"], "shots=2: lying has 10 pictures"),
        (["shots=[0]"], r"shots=\[0\]: pictures a class, 1 or more"),
        (["arms=[real,clasic]"], "there is no arm clasic; choose of real, balanced, classic"),
        (["arms=[real,generated_1]"], "primary.arm=classic_generated_1: is no arm of this study"),
        (["primary.figure=f1"], "primary.figure=f1: accuracy or macro_f1"),
        (["shots=[2]", "primary.shots=5"], r"primary.shots=5: is none of shots=\[2\]"),
        (
            ["arms=[real,filtered_1]", "primary.arm=filtered_1", "primary.against=real"],
            "take the strength of the arm cla",
        ),
        (["sots=[2]"], "sots"),
        (["model=cgam"], "cgam.*cgan"),
        (["trainer.max_epoch=3"], "did you mean trainer.max_epochs"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(folder, tmp_path, capsys, settings, says):
    out = tmp_path / "out"
    given = ["data.size=16", "data.channels=1", "val_shots=2", *settings]
    if not any(one.startswith("shots") for one in given):
        given.append("shots=[2]")
    assert main(["study", "augmentation", f"data.root={folder}", *given, "--output", str(out)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and re.search(says, said), said
    assert not (out / "gans").exists()


def test_data_root_is_needed(tmp_path, capsys):
    assert main(["study", "augmentation", "seeds=2", "--output", str(tmp_path / "out")]) == 1
    assert "data.root=FOLDER: give the folder" in capsys.readouterr().err


def test_classifier_learns_and_is_the_same_again(folder):
    drawn = pool(data_of(folder), 0.3)
    train, test = drawn.pictures.take(np.flatnonzero(~drawn.test)), drawn.pictures.take(np.flatnonzero(drawn.test))
    found = []
    for strength, balanced in ((None, False), (None, False), ("medium", True)):
        torch.manual_seed(0)
        network = classifier.ResNet(channels=1, classes=2, size=16, width=8)
        classifier.fit(network, train, steps=40, batch_size=8, strength=strength, balanced=balanced)
        found.append(classifier.probabilities(network, test.images))
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])
    assert [classifier.scores(own.argmax(1), test.labels, 2)["accuracy"] for own in found] == [1, 1, 1]


def test_parameters_of_the_network_for_cifar():
    network = classifier.ResNet(channels=3, classes=10, size=32, depth=20)
    assert sum(parameter.numel() for parameter in network.parameters()) == 269_722  # 0.27 M in the paper
    for size in (16, 32, 64, 100, 128):
        small = classifier.ResNet(channels=1, classes=4, size=size)
        assert small(torch.zeros(2, 1, size, size)).shape == (2, 4)
    with pytest.raises(UserError, match=r"classifier.depth=10: 8, 14, 20"):
        classifier.ResNet(channels=3, classes=10, size=32, depth=10)


def test_classic_augmentation_moves_and_keeps_the_range():
    images = torch.linspace(-1, 1, 16).expand(64, 1, 16, 16).clone()
    drawn = classifier.changed(images, "strong", True, torch.Generator().manual_seed(0))
    assert drawn.shape == images.shape and drawn.min() >= -1 and drawn.max() <= 1
    rising = (drawn[:, 0, 8, 12] > drawn[:, 0, 8, 3]).float().mean()
    assert 0.3 < rising < 0.7  # half of them are mirrored
    kept = classifier.changed(images, "light", False, torch.Generator().manual_seed(0))
    assert (kept[:, 0, 8, 12] > kept[:, 0, 8, 3]).all() and (kept - images).abs().mean() < 0.3


def test_scores_are_those_of_the_definition():
    found, labels = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    told = classifier.scores(found, labels, 4)
    assert told["accuracy"] == 0.6 and told["recall"] == [0.5, 2 / 3, None, None]
    assert told["macro_f1"] == pytest.approx((2 * 1 / 4 + 2 * 2 / 5) / 2)


@pytest.mark.slow
def test_study_from_the_command_to_the_report(folder, tmp_path, capfd):
    out = tmp_path / "a study, with spaces"
    given = [
        "study", "augmentation", f"data.root={folder}", "data.size=16", "data.channels=1", "debug=true", "shots=[4]",
        "val_shots=2", "seeds=2", "arms=[classic,classic_generated_1]", "--output", str(out),
    ]  # fmt: skip
    assert main(given) == 0
    said = capfd.readouterr().out
    assert "no evidence at 2 seeds: with fewer than 6 no sign-flip test can reach 0.05" in said
    numbers = json.loads((out / "study.json").read_text())
    assert numbers["effect"] == "no evidence" and [row["arm"] for row in numbers["table"]] == [
        "classic",
        "classic_generated_1",
    ]
    assert numbers["gan"].keys() == {"minutes", "memorized", "fd", "gan_test"}
    page = (out / "report.html").read_text()
    assert "no evidence at 2 seeds" in page and "settled before the study began" in page
    assert Image.open(out / "examples.png").size[0] > 64
    # A GAN has seen its seed's shots alone, and validated with its seed's validation pictures.
    for seed in range(2):
        draw = json.loads((out / "draws" / f"shots-4_seed-{seed}.json").read_text())
        for split, rows in draw.items():
            names = sorted(path.stem for path in (out / f"data/shots-4_seed-{seed}" / split).glob("*/*.png"))
            assert names == sorted(f"{row:06d}" for row in rows)
    # The ledger takes it, with the commit of its classifiers.
    ledger_file = tmp_path / "docs/results.yaml"
    ledger_file.parent.mkdir()
    assert main(["record", str(out), "--name", "stripes", "--file", str(ledger_file)]) == 0
    (entry,) = ledger.read(ledger_file)["stripes"]["runs"]
    assert entry["verdict"] == numbers["verdict"] and entry["seeds"] == [0, 1]
    assert entry["commit"] == git.commit() and "cores, " in entry["machine"]
    # It goes on: nothing is trained again; another setting is refused.
    before = {path: path.stat().st_mtime for path in out.rglob("results.json")}
    assert len(before) == 2 + 2 * 3 + 2 and main(given) == 0
    assert {path: path.stat().st_mtime for path in out.rglob("results.json")} == before
    capfd.readouterr()
    assert main(["val_shots=3" if one == "val_shots=2" else one for one in given]) == 1
    assert "this folder holds a study with another val_shots" in capfd.readouterr().err
