"""Checkpoints: what they say, that they resume what was interrupted, and that a hostile one is refused unrun."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from conftest import TINY_PIX2PIX
from ganforge import checkpoint
from ganforge.callbacks import Interrupt, Interrupted
from ganforge.errors import UserError
from ganforge.experiment import run

LATTICE = ["data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]


@pytest.fixture
def trained(configured, tmp_path) -> Path:
    run(configured([*TINY_PIX2PIX, *LATTICE]))
    return tmp_path / "run"


def test_a_checkpoint_is_enough_to_rebuild_its_generator(trained):
    generator = checkpoint.load_generator(trained)
    assert generator.path.name == "best.ckpt"
    card = generator.card
    assert (card["source_channels"], card["target_channels"], card["size"]) == (1, 1, 64)
    assert card["norm_mode"] == "running"
    assert "networks" in card["provides"]
    assert card["images_seen"] == 4
    state = checkpoint.load(trained)["state_dict"]
    for name, value in generator.network.state_dict().items():
        assert torch.equal(value, state[f"generator_ema.{name}"])


@pytest.mark.parametrize("where", ["after an epoch", "within an epoch"])
def test_an_interrupted_training_ends_where_the_uninterrupted_one_does(configured, tmp_path, monkeypatch, where):
    settings = [*TINY_PIX2PIX, *LATTICE, "trainer.max_epochs=4", "data.n_train=6", "model.ema_half_life=20"]
    run(configured(settings, "whole"))

    stop = Interrupt._stop_if_asked

    def interrupt_in_epoch_two(self, trainer):
        done = trainer.fit_loop.epoch_loop.batch_progress.current.processed
        self.asked = trainer.current_epoch == 1 and done == (3 if where == "after an epoch" else 2)
        stop(self, trainer)

    monkeypatch.setattr(Interrupt, "_stop_if_asked", interrupt_in_epoch_two)
    with pytest.raises(Interrupted) as stopped:
        run(configured(settings, "begun"))
    monkeypatch.undo()
    assert stopped.value.checkpoint == tmp_path / "begun/checkpoints/last.ckpt"

    run(configured([*settings, f"ckpt_path={tmp_path / 'begun'}"], "resumed"))
    whole, resumed = (checkpoint.load(tmp_path / name / "checkpoints/last.ckpt") for name in ("whole", "resumed"))
    assert whole["ganforge"]["images_seen"] == resumed["ganforge"]["images_seen"] == 24
    assert whole["ganforge"]["updates"] == resumed["ganforge"]["updates"] == {"d": 12, "g": 12}
    assert whole["global_step"] == resumed["global_step"]
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    for a, b in zip(whole["optimizer_states"], resumed["optimizer_states"], strict=True):
        assert a["param_groups"][0]["lr"] == b["param_groups"][0]["lr"] < 2e-4
        for index, moments in a["state"].items():
            assert torch.equal(moments["exp_avg"], b["state"][index]["exp_avg"])


def test_resuming_with_another_network_is_refused(configured, trained):
    with pytest.raises(UserError, match=r"model\.generator\.depth=4 but 3 in the checkpoint"):
        run(configured([*TINY_PIX2PIX, *LATTICE, "model.generator.depth=4", f"ckpt_path={trained}"], "other"))


@pytest.mark.parametrize("key", sorted(checkpoint.CARD))
def test_a_card_that_lacks_something_is_refused(configured, trained, tmp_path, key):
    contents = checkpoint.load(trained)
    del contents["ganforge"][key]
    torch.save(contents, tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=f"does not say its {key}"):
        checkpoint.load_generator(tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=f"does not say its {key}"):
        run(configured([*TINY_PIX2PIX, *LATTICE, f"ckpt_path={tmp_path / 'changed.ckpt'}"], "resumed"))


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_are_no_checkpoint_of_ours_are_refused(tmp_path, trained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = (trained / "checkpoints/best.ckpt").read_bytes()
    files = {
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "text": b"not a checkpoint at all",
        "pickle": pickle.dumps(Bomb()),
    }
    for name, content in files.items():
        Path(name).write_bytes(content)
    torch.save({"state_dict": {}, "ganforge": {"generator": Bomb()}}, "bomb")
    torch.save({"epoch": 3, "state_dict": {"weight": torch.zeros(2)}}, "foreign")
    with zipfile.ZipFile("archive", "w") as archive:
        archive.writestr("readme", "a zip of something else")
    for name in [*files, "bomb", "foreign", "archive"]:
        with pytest.raises(UserError, match=name):
            checkpoint.load_generator(name)
    assert not Path("exploded").exists()
    with pytest.raises(UserError, match="no such file"):
        checkpoint.load_generator("absent.ckpt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="no checkpoint in"):
        checkpoint.load_generator("folder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_target_": "os.system"}, "names 'os.system' as its generator"),
        ({"_target_": "ganforge.networks.PatchGAN"}, "names 'ganforge.networks.PatchGAN'"),
        ({"_target_": None}, "names None"),
        ({"norm": {"_target_": "os.system", "command": "touch exploded"}}, "not plain numbers or words: norm"),
        ({"norm": "${oc.env:HOME}"}, "not plain numbers or words: norm"),
        ({"wings": 2}, "does not fit this version"),
        ({"base_channels": 8}, "weights do not fit"),
    ],
)
def test_a_checkpoints_config_cannot_choose_what_is_run(trained, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    contents = checkpoint.load(trained)
    contents["ganforge"]["generator"].update(change)
    torch.save(contents, "changed.ckpt")
    with pytest.raises(UserError, match=message):
        checkpoint.load_generator("changed.ckpt")
    assert not Path("exploded").exists()
