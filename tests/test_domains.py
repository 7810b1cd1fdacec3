"""data=domains: one folder a domain, tables of attributes, splits, and what is said of mistakes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.commands.extract import train as train_extractor
from ganforge.data.domains import DomainsData
from ganforge.errors import UserError
from ganforge.evaluation import DomainMetrics
from ganforge.evaluation.extractor import load_extractor


def write(folder: Path, names, colour: int | None = None, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        picture = rng.integers(0, 100, (18, 20, 3), dtype=np.uint8)
        if colour is not None:
            picture[:, :, colour] += 150
        Image.fromarray(picture).save(folder / name)
    return folder


@pytest.fixture
def kinds(tmp_path):
    for index, name in enumerate(("two", "ten", "ten-10", "ten-9")):
        write(tmp_path / "kinds" / name, [f"{name}_{i}.png" for i in range(10)], seed=index)
    return tmp_path / "kinds"


@pytest.fixture
def flat(tmp_path):
    return write(tmp_path / "faces", [f"{i}.png" for i in range(20)])


def data(root, **options) -> DomainsData:
    return DomainsData(**{"root": root, "size": 16, "batch_size": 4, **options})


def csv(tmp_path, text: str) -> Path:
    (tmp_path / "table.csv").write_text(text)
    return tmp_path / "table.csv"


def rows(form=lambda i: f"{i}.png,{i % 2},{i // 2 % 2}", n: int = 20) -> str:
    return "\n".join(form(i) for i in range(n))


def test_folders_are_domains_in_natural_order_and_each_is_split(kinds):
    made = data(kinds)
    assert made.class_names == ("ten", "ten-9", "ten-10", "two") and made.settled == {"n_domains": 4}
    counts = {split: made.labels(split).sum(0).tolist() for split in ("train", "val", "test")}
    assert counts == {"train": [8] * 4, "val": [1] * 4, "test": [1] * 4}
    files = {split: set(own) for split, own in made._found[0].items()}
    assert not files["train"] & files["val"] and not files["val"] & files["test"] and not files["train"] & files["test"]
    item = made.sets["train"][5]
    assert item["source"].shape == (3, 16, 16) and item["labels"].tolist() == made.labels("train")[5].tolist()
    assert len(made.sets["test"]) == 4 * 3
    assert data(kinds).fingerprint() == made.fingerprint() != data(kinds, split_seed=1).fingerprint()
    assert made.sets["test"].name_of(0).endswith(f" to {made.class_names[made.sets['test'].asked[0]]}")


def test_folders_of_splits_are_used(kinds, tmp_path):
    (tmp_path / "all").mkdir()
    kinds.rename(tmp_path / "all" / "train")
    for name in ("two", "ten"):
        write(tmp_path / "all" / "test" / name, ["a.png", "b.png"])
    made = data(tmp_path / "all")
    assert made.labels("test").sum(0).tolist() == [2, 0, 0, 2] and made.labels("train").sum() == 36
    assert any("no folder val" in note for note in made.notes)


def test_celebas_table_and_csv_say_the_same(flat, tmp_path):
    (tmp_path / "list_attr.txt").write_text(
        "20\nMale Young\n" + rows(lambda i: f"{i}.png  {1 if i % 2 else -1} {' 1' if i // 2 % 2 else '-1'}")
    )
    celeba = data(flat, table=tmp_path / "list_attr.txt")
    for text in (
        "file,Male,Young\n" + rows(),
        "\ufefffile;Male;Young\n" + rows(lambda i: f"{i};{bool(i % 2)};{'yes' if i // 2 % 2 else 'No'}"),
    ):
        made = data(flat, table=csv(tmp_path, text))
        assert made.class_names == celeba.class_names == ("Male", "Young") and not made.domains.one_of_many
        for split in ("train", "val", "test"):
            assert np.array_equal(made.labels(split), celeba.labels(split))
    name = celeba._found[0]["train"][3].stem
    assert celeba.labels("train")[3].tolist() == [int(name) % 2, int(name) // 2 % 2]
    assert celeba.real_labels("train") is None and celeba.labelled("train")[1].shape == (16, 2)
    assert data(flat, table=tmp_path / "list_attr.txt", attributes=["Young"]).class_names == ("Young",)


def test_a_column_of_words_is_one_of_many(flat, tmp_path):
    table = csv(tmp_path, "file,mood,Male\n" + rows(lambda i: f"{i}.png,{('sad', 'happy', 'angry')[i % 3]},{i % 2}"))
    made = data(flat, table=table, attributes=["mood"])
    assert made.class_names == ("angry", "happy", "sad") and made.domains.one_of_many
    assert made.labels("train").sum(1).tolist() == [1] * len(made.labels("train"))
    assert np.array_equal(made.real_labels("val"), made.labels("val").argmax(1))
    with pytest.raises(UserError, match=r"line 2: mood is 'sad'; 1 and 0, .* a column of words is chosen alone"):
        _ = data(flat, table=table).sets


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("file,Male\n" + rows(), {}, r"line 2: 2 values for 1 columns"),
        ("file,Male,Male\n" + rows(), {}, "all different"),
        ("file,Male,Young\n", {}, "has no line of a picture"),
        (
            "file,Male,Young\n" + rows(),
            {"attributes": ["Smiling"]},
            "has no Smiling; choose one or more of Male, Young",
        ),
        (
            "file,Male,Young\n" + rows(),
            {"exclusive": [["Male", "Old"]]},
            r"data\.exclusive=.* of the attributes Male, Y",
        ),
        (
            "file,Male,Young\n" + rows() + "\n3.png,0,0",
            {},
            r"lines 5 and 22: contradict each other about 3\.png \(Male",
        ),
        (
            "file,Male,Young\n" + rows() + "\n20.png,0,0",
            {},
            r"1 rows have no picture \(20\.png\); .*skip_unmatched=true",
        ),
        ("file,Male,Young\n" + rows(n=18), {}, r"2 pictures have no row \(18\.png, 19\.png\)"),
        ("file,Male,Young\n" + rows(lambda i: f"x{i}.png,1,0"), {"skip_unmatched": True}, "no picture has a row"),
        ("file,Male,Young\n" + rows(lambda i: f"{i}.png,1,{i % 2}"), {}, "all are Male: what it looks like"),
        ("file,Male,Young\n" + rows(lambda i: f"{i}.png,maybe,{i % 2}"), {}, "line 2: Male is 'maybe'; 1 and 0"),
        ("file,Male,Young\n" + rows(), {"domains": ["a"]}, r"data\.domains=\['a'\]: are folders"),
        ("file,Male,Young\n" + rows(), {"n_domains": 3}, r"data\.n_domains=3, but there are 2 \(Male, Young\)"),
        ('file,Male,Young\n"0.png,1', {}, "cannot be read"),
        ("file,Ma\x1b[1mle,Young\n" + rows(), {}, "that can be printed"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(flat, tmp_path, text, options, message):
    with pytest.raises(UserError, match=message):
        _ = data(flat, table=csv(tmp_path, text), **options).sets


def test_unmatched_rows_and_pictures_can_be_left_out(flat, tmp_path):
    table = csv(tmp_path, "file,Male,Young\n" + rows(n=18) + "\n99.png,1,1\n../faces/19.png,1,1")
    made = data(flat, table=table, skip_unmatched=True)
    assert sum(len(made.labels(split)) for split in ("train", "val", "test")) == 18
    assert any("2 pictures have no row" in note and "2 rows have no picture" in note for note in made.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": "nowhere"}, r"data\.root=nowhere is not a folder"),
        ({"domains": ["one"]}, r"data\.domains=\['one'\]: .* has no class one; choose one or more of ten, ten-9"),
        ({"domains": ["two"]}, "has 1 folders of pictures; two or more"),
        ({"attributes": ["Male"]}, r"are of a table of attributes; give data\.table=FILE"),
        ({"table": "nothing.csv"}, r"data\.table=nothing\.csv: no such file"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "together below 1"),
        ({"n_test": 0}, r"data\.n_test=0"),
        ({"flip": 1}, r"data\.flip=1: true or false"),
        ({"background": "wite"}, r"data\.background=wite"),
    ],
)
def test_wrong_settings_are_said_before_anything_is_read(kinds, options, message):
    with pytest.raises(UserError, match=message):
        data(**{"root": kinds, **options})


def test_limits_take_the_domains_in_turn(kinds):
    made = data(kinds, n_train=8, n_val=2, n_test=4)
    assert made.labels("train").sum(0).tolist() == [2, 2, 2, 2] and made.labels("test").sum(0).tolist() == [1] * 4
    assert len(made.sets["val"]) == 2 * 3


def test_flips_are_a_function_of_seed_and_index(kinds):
    train = data(kinds, seed=3).sets["train"]
    whole = train.__getitems__(list(range(64)))["source"]
    for index in (0, 33, 40):
        assert torch.equal(train[index]["source"], whole[index])
    plain = data(kinds, flip=False).sets["train"].__getitems__(list(range(32)))["source"]
    mirrored = [torch.equal(whole[i], plain[i].flip(-1)) for i in range(32)]
    assert 4 < sum(mirrored) < 28 and all(mirrored[i] or torch.equal(whole[i], plain[i]) for i in range(32))


def test_a_classifier_of_attributes_recognises_them(tmp_path):
    folder = tmp_path / "faces"
    write(folder, [f"{i}.png" for i in range(0, 40, 2)], colour=0)
    write(folder, [f"{i}.png" for i in range(1, 40, 2)], colour=2, seed=1)
    table = csv(tmp_path, "file,red,blue\n" + "\n".join(f"{i}.png,{(i + 1) % 2},{i % 2}" for i in range(40)))
    chosen = ["data=domains", f"data.root={folder}", f"data.table={table}", "data.size=16"]
    card = train_extractor(chosen, name="colours", output=tmp_path / "colours.pt", epochs=60)
    assert card["attributes"] and card["test_accuracy"] == 1
    assert load_extractor(tmp_path / "colours.pt").class_names == ("red", "blue")
    made = data(folder, table=table, exclusive=[["red", "blue"]])
    metric = DomainMetrics(extractor=tmp_path / "colours.pt")
    metric.prepare(made)
    metric.stage = "test"
    items = made.sets["test"]
    batch = items.__getitems__(list(range(len(items))))
    turned = batch["source"].flip(1)  # red becomes blue
    metric.update({**batch, "back": batch["source"]}, turned, items)
    values = metric.compute()
    assert values["recognised"] == values["recognised/red"] == values["recognised/blue"] == 1
    assert values["reconstruction/l1"] == 0 and metric.ceiling()["recognised"] == 1
    metric.reset()
    metric.is_floor = True
    metric.update(batch, batch["source"], items)
    assert metric.compute()["recognised"] == 0
    kinds_of = tmp_path / "kinds"
    for name in ("red", "blue"):
        write(kinds_of / name, ["a.png", "b.png", "c.png"])
    with pytest.raises(UserError, match="does not know blue, red as classes"):
        DomainMetrics(extractor=tmp_path / "colours.pt").prepare(data(kinds_of, batch_size=1))
