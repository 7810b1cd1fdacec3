"""ganforge export --format safetensors: a folder for the Hub that opens as a checkpoint does, from anyone."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

import ganforge
from ganforge import cli
from ganforge.commands import export as exporting
from ganforge.errors import UserError
from test_export import checkpoint_of

pytest.importorskip("safetensors", reason="the extra export is not installed")
hub = pytest.importorskip("huggingface_hub", reason="the extra export is not installed")

RESULTS = {
    "test/psnr": 21.5, "test/psnr/low": 20.1, "test/psnr/high": 22.9, "floor/psnr": 12.0, "final/test/psnr": 21.0,
    "test/l1": 0.05, "floor/l1": 0.2, "seed": 3, "warnings": ["few pictures | <script>"],
    "run_dir": "/home/someone/secret",
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A run of a model that translates both ways, with results and pictures."""
    folder = checkpoint_of("cyclegan", tmp_path).parents[1]
    (folder / "status.json").write_text("{}")
    (folder / "results.json").write_text(json.dumps(RESULTS))
    (folder / "samples/test").mkdir(parents=True)
    for name in ("images_000000002.png", "images_000000010.png", "test/test_worst_1.png", "test/test_first_1.png"):
        Image.fromarray(np.full((40, 2500, 3), 200, np.uint8)).save(folder / "samples" / name)
    return folder


@pytest.fixture
def folder(run, tmp_path):
    assert cli.main(["export", str(run), "--format", "safetensors", "--output", str(tmp_path / "hub")]) == 0
    return tmp_path / "hub"


def test_a_folder_opens_as_the_run_it_came_from(run, folder, tmp_path):
    names = {"model.safetensors", "config.json", "README.md"}
    pictures = {"images_000000010.png", "test_worst_1.png", "test_first_1.png"}
    assert {file.name for file in folder.iterdir()} == names | pictures
    assert not list(tmp_path.glob("*.unfinished"))
    picture = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    ours, theirs = ganforge.load(run), ganforge.load(folder)
    assert theirs.outputs == ("AtoB", "BtoA")
    for output in theirs.outputs:
        translated = theirs.translate(picture, output=output)
        np.testing.assert_array_equal(translated, ours.translate(picture, output=output))
        assert np.ptp(translated) > 3
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert cli.main(["predict", str(folder), str(tmp_path / "a.png"), "--output", str(tmp_path / "out")]) == 0
    assert np.array(Image.open(tmp_path / "out/a.png")).shape[:2] == (21, 30)


def test_the_card_says_data_numbers_seed_limits_and_pictures(folder):
    text = (folder / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "ganforge",
        "license": "unknown",
        "pipeline_tag": "image-to-image",
        "tags": ["gan", "pytorch", "ganforge"],
    }
    for said in (
        "## Training data",
        "PairsData",
        "21.5",
        "20.1",
        "22.9",
        "12",
        "seed 3",
        "## Limits",
        "licence",
        "worst_1",
    ):
        assert said in body, said
    assert "few pictures \\| \\<script\\>" in body
    assert "secret" not in text + (folder / "config.json").read_text()
    assert max(Image.open(folder / "test_worst_1.png").size) == 1024


def sampler(tmp_path):
    exporting.export(checkpoint_of("cgan", tmp_path), tmp_path / "hub", format="safetensors", license="mit")
    return tmp_path / "hub"


def test_a_folder_draws_samples_too(tmp_path):
    folder = sampler(tmp_path)
    drawn = ganforge.load(folder).sample(3, class_name="b")
    np.testing.assert_array_equal(drawn, ganforge.load(tmp_path / "cgan").sample(3, class_name="b"))
    assert "pipeline_tag: unconditional-image-generation" in (folder / "README.md").read_text()
    assert "license: mit" in (folder / "README.md").read_text()


CHANGES = {
    "a class that is no network": (lambda card: card["networks"]["g"].update(_target_="os.system"), "only those of"),
    "another network": (lambda card: card["networks"]["g"].update(base_channels=400), "do not fit"),
    "a class in a setting": (
        lambda card: card["networks"]["g"].update(norm={"_target_": "builtins.eval"}),
        "only those of",
    ),
    "a size without end": (lambda card: card.update(size=10**7), "size"),
    "outputs of another kind": (lambda card: card.update(outputs=["sample"]), "outputs"),
    "a network that is not there": (lambda card: card.update(networks={}), "does not say what its"),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_a_config_of_someone_else_names_what_checkpoints_may_name(fault, tmp_path):
    folder, (change, message) = sampler(tmp_path), CHANGES[fault]
    config = json.loads((folder / "config.json").read_text())
    networks = config["ganforge"]["networks"]
    networks["g"] = networks["generator_sample"]
    change(config["ganforge"])
    if "g" in config["ganforge"]["networks"]:
        config["ganforge"]["networks"]["generator_sample"] = config["ganforge"]["networks"].pop("g")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        ganforge.load(folder).sample(1)


def test_damaged_folders_are_said_to_be(tmp_path):
    whole = sampler(tmp_path)
    weights = (whole / "model.safetensors").read_bytes()
    header = b'{"x":{"dtype":"F32","shape":[999999999999],"data_offsets":[0,3999999999996]}}'
    for name, content in (
        ("model.safetensors", weights[:-9]),
        ("model.safetensors", b"\xff" * 8 + weights),
        ("model.safetensors", len(header).to_bytes(8, "little") + header),
        ("config.json", b"[" * 10**5),
        ("config.json", b"[]"),
        ("config.json", b'{"ganforge": {"size": NaN}}'),
        ("config.json", b'{"architectures": ["Bert"]}'),
        ("config.json", b" " * 5_000_000),
    ):
        folder = tmp_path / "damaged"
        shutil.copytree(whole, folder)
        (folder / name).write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read|another program|do not fit"):
            ganforge.load(folder).sample(1)
        shutil.rmtree(folder)


def test_nothing_is_replaced_unasked_or_left_half(run, folder, tmp_path, monkeypatch):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(UserError, match="already there"):
        exporting.export(run, folder, format="safetensors")
    monkeypatch.setattr("ganforge.commands.model_card.text", lambda *_: 1 / 0)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(ZeroDivisionError):
            exporting.export(run, target, format="safetensors", overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cyclegan", "hub"]


class Hub:
    """In the place of the service: keeps what it is given."""

    taken: list = []  # noqa: RUF012

    def create_repo(self, name, *, exist_ok):
        if "/" not in name:
            raise OSError("403 Forbidden\nmore")
        self.taken.append((name, exist_ok))

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.taken.append((repo_id, sorted(path.name for path in folder_path.iterdir())))
        return f"https://example.org/{repo_id}"


def test_push_uploads_the_folder_where_there_is_an_account(tmp_path, monkeypatch, capsys):
    file = checkpoint_of("mlp", tmp_path)
    monkeypatch.setattr(hub, "HfApi", Hub)
    arguments = ["export", str(file), "--format", "safetensors", "--overwrite", "--output", str(tmp_path / "hub")]
    monkeypatch.setattr(hub, "get_token", lambda: None)
    assert cli.main([*arguments, "--push", "me/mine"]) == 1
    assert "hf auth login" in capsys.readouterr().err and not Hub.taken
    monkeypatch.setattr(hub, "get_token", lambda: "a token")
    assert cli.main([*arguments, "--push", "mine"]) == 1
    assert "the Hub did not take it (403 Forbidden)" in capsys.readouterr().err
    assert cli.main([*arguments, "--push", "me/mine"]) == 0
    assert Hub.taken == [("me/mine", True), ("me/mine", ["README.md", "config.json", "model.safetensors"])]
    assert "uploaded to me/mine: https://example.org/me/mine" in capsys.readouterr().out
    monkeypatch.setattr(exporting, "_version", lambda name: "missing" if name == "huggingface_hub" else "1")
    assert cli.main([*arguments, "--push", "me/mine"]) == 1
    assert "needs huggingface_hub" in capsys.readouterr().err
    with pytest.raises(UserError, match="--push"):
        exporting.export(file, tmp_path / "x.pt2", format="pt2", push="me/mine")
