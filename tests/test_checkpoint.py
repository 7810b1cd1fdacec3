"""Checkpoints: what they say, that they resume what was interrupted, and that a hostile one is refused unrun."""

import pickle
import zipfile
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import TINY_PIX2PIX
from ganforge.callbacks import Interrupt, Interrupted
from ganforge.callbacks.run_checkpoint import RunCheckpoint
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.files import tensor_files
from ganforge.runs import checkpoint, generators
from ganforge.runs.checkpoint_io import WholeFileCheckpointIO
from ganforge.systems import nonfinite

LATTICE = ["data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]


@pytest.fixture
def trained(configured, tmp_path) -> Path:
    run(configured([*TINY_PIX2PIX, *LATTICE]))
    return tmp_path / "run"


@pytest.mark.slow
def test_a_checkpoint_is_enough_to_rebuild_its_generator(trained):
    generator = generators.load_generator(trained)
    assert generator.path.name == "best.ckpt"
    card = generator.card
    assert (card["source_channels"], card["target_channels"], card["size"]) == (1, 1, 64)
    assert card["norm_mode"] == "running"
    assert "networks" in card["provides"]
    assert card["images_seen"] == 4
    state = checkpoint.load(trained)["state_dict"]
    for name, value in generator.network.state_dict().items():
        assert torch.equal(value, state[f"generator_ema.{name}"])


@pytest.mark.slow
def test_the_best_checkpoint_holds_the_weights_alone(trained, configured, tmp_path):
    best, last = (trained / f"checkpoints/{name}.ckpt" for name in ("best", "last"))
    assert best.stat().st_size < last.stat().st_size / 2
    contents = checkpoint.load(best)
    assert contents.keys() == {"epoch", "global_step", "pytorch-lightning_version", "state_dict", "ganforge"}
    for name, value in checkpoint.load(last)["state_dict"].items():
        assert torch.equal(contents["state_dict"][name], value)
    for force in ("false", "force"):
        with pytest.raises(UserError, match=r"best\.ckpt: holds weights alone") as refused:
            run(configured([*TINY_PIX2PIX, *LATTICE, f"ckpt_path={best}", f"resume={force}"], "resumed"))
        assert f"with ckpt_path={last}," in str(refused.value)
        assert str(refused.value).endswith(f"with init_from={best}")
    assert not (tmp_path / "resumed/checkpoints").exists()


@pytest.mark.slow
def test_what_a_broken_down_training_is_said_to_go_on_from(trained):
    """The newest file is the best one, from which none can."""
    best = trained / "checkpoints/best.ckpt"
    best.touch()
    kept = RunCheckpoint(dirpath=best.parent)
    assert nonfinite.last_finite(SimpleNamespace(callbacks=[kept])) == trained / "checkpoints/last.ckpt"
    (trained / "checkpoints/last.ckpt").unlink()
    assert nonfinite.last_finite(SimpleNamespace(callbacks=[kept])) is None


@pytest.mark.slow
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


@pytest.mark.slow
def test_resuming_with_another_network_is_refused(configured, trained):
    with pytest.raises(UserError, match=r"model\.generator\.depth=4 but 3 in the checkpoint"):
        run(configured([*TINY_PIX2PIX, *LATTICE, "model.generator.depth=4", f"ckpt_path={trained}"], "other"))


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(checkpoint.CARD))
def test_a_card_that_lacks_something_is_refused(configured, trained, tmp_path, key):
    contents = checkpoint.load(trained)
    del contents["ganforge"][key]
    torch.save(contents, tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=f"does not say its {key}"):
        generators.load_generator(tmp_path / "changed.ckpt")
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
        for opened in (generators.load_generator, checkpoint.card_of):
            with pytest.raises(UserError, match=name):
                opened(name)
    assert not Path("exploded").exists()
    with pytest.raises(UserError, match="no such file"):
        generators.load_generator("absent.ckpt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="no checkpoint in"):
        generators.load_generator("folder")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_target_": "os.system"}, "its generator names 'os.system'"),
        ({"_target_": "ganforge.systems.Pix2Pix"}, "names 'ganforge.systems.Pix2Pix'"),
        ({"_target_": "ganforge.networks.PatchGAN"}, "does not fit this version"),
        ({"_target_": None}, "names None"),
        ({"norm": {"_target_": "os.system", "command": "touch exploded"}}, "its generator, norm, names 'os.system'"),
        ({"norm": "${oc.env:HOME}"}, "not plain numbers or words: norm"),
        ({"wings": 2}, "does not fit this version"),
        ({"base_channels": 8}, "weights do not fit"),
    ],
)
def test_a_checkpoints_config_cannot_choose_what_is_run(trained, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    contents = checkpoint.load(trained)
    contents["ganforge"]["networks"]["generator"].update(change)
    torch.save(contents, "changed.ckpt")
    with pytest.raises(UserError, match=message):
        generators.load_generator("changed.ckpt")
    assert not Path("exploded").exists()


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def archived(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path, trained):
    good = (trained / "checkpoints/last.ckpt").read_bytes()
    path = tmp_path / "flipped.ckpt"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(trained / "checkpoints/last.ckpt") as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    inside = largest.header_offset + len(largest.filename) + 200  # among the values of a weight
    for place in [inside, *rng.integers(0, len(good), 15)]:
        flipped = bytearray(good)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            found = checkpoint.load(path)["state_dict"]
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:  # in the padding between the parts, which holds nothing
            expected = checkpoint.load(trained / "checkpoints/last.ckpt")["state_dict"]
            assert place != inside
            assert all(torch.equal(value, found[name]) for name, value in expected.items())
    flipped = bytearray(good)
    flipped[inside] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(UserError, match="checksum"):
        WholeFileCheckpointIO().load_checkpoint(path)  # what Lightning calls


def pickled(*operations: bytes) -> bytes:
    return b"\x80\x02" + b"".join(operations) + b"."


@pytest.mark.slow
def test_a_checkpoint_cannot_take_more_memory_than_it_is_large(tmp_path, trained):
    good = entries(trained / "checkpoints/best.ckpt")
    described = next(name for name in good if name.endswith("data.pkl"))
    # Compressed, a gigabyte of zeros is a megabyte.
    compressed = archived(tmp_path / "compressed.ckpt", {**good, "x/data/0": bytes(10**6)}, zipfile.ZIP_DEFLATED)
    huge = pickled(b"c__builtin__\nbytearray\n", b"J\xff\xff\xff\x7f", b"\x85R")
    lots = archived(tmp_path / "bytes.ckpt", {**good, described: huge})
    wide = {"ganforge": {}, "state_dict": {"w": torch.zeros(1).expand(10**6, 10**6)}}
    torch.save(wide, tmp_path / "wide.ckpt")
    far = archived(tmp_path / "memo.ckpt", {**good, described: pickled(b"}", b"r\xff\xff\xff\xff")})  # 4 G entries
    for path in (compressed, lots, far, tmp_path / "wide.ckpt"):
        with pytest.raises(UserError, match=r"could run code or take all memory"):
            checkpoint.load(path)
    for path in (compressed, lots, far):
        with pytest.raises(UserError, match=r"could run code or take all memory"):
            checkpoint.card_of(path)
    nested = []
    for _ in range(40):
        nested = [nested] * 10  # 10^40 lists
    contents = checkpoint.load(trained)
    for key, value in (("class_names", nested), ("networks", {"a": {"b": nested}}), ("config", {"data": nested})):
        torch.save({**contents, "ganforge": {**contents["ganforge"], key: value}}, tmp_path / "nested.ckpt")
        for read in (checkpoint.load, checkpoint.card_of):
            with pytest.raises(UserError, match=r"nested\.ckpt: says of itself what ganforge does not write"):
                read(tmp_path / "nested.ckpt")
    for own in (contents, checkpoint.load(trained / "checkpoints/last.ckpt")):  # what it says, without its weights
        torch.save(own, tmp_path / "same.ckpt")
        assert checkpoint.card_of(tmp_path / "same.ckpt") == own["ganforge"]


def test_networks_of_other_threads_are_not_counted():
    """A page loads a model while a picture of another one is translated."""

    def build() -> torch.nn.Module:
        other = Thread(target=lambda: [torch.nn.Linear(1, 1) for _ in range(3)])
        other.start()
        other.join()
        return torch.nn.Linear(2, 2)

    weights = torch.nn.Linear(2, 2).state_dict()
    assert torch.equal(tensor_files.fitted(build, weights, "file").weight, weights["weight"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_channels": 10_000}, "weights do not fit"),
        ({"base_channels": 10**9}, r"larger than any that can be used \(base_channels=1000000000\)"),
        ({"base_channels": float("nan")}, "larger than any"),
        ({"base_channels": "4"}, "does not fit this version"),
        ({"depth": 10**6}, "larger than any"),
        ({"depth": 60_000}, "which has more of them"),
        ({"_target_": "ganforge.networks.UNet", "depth": 60_000}, "does not fit this version"),
        ({"size": 100_000}, "larger than any"),
        ({"_target_": "ganforge.networks.R3GANGenerator", "depth": 3}, "does not fit this version"),
        ({"_target_": ["ganforge.networks.UNet"]}, "names"),
    ],
)
def test_a_generator_is_never_larger_than_its_weights(trained, tmp_path, monkeypatch, change, message):
    contents = checkpoint.load(trained)
    contents["ganforge"]["networks"]["generator"].update(change)
    torch.save(contents, tmp_path / "changed.ckpt")
    # Any real allocation of the network would be seen.
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda *_, **__: pytest.fail("built before it was compared"))
    with pytest.raises(UserError, match=message) as refused:
        generators.load_generator(tmp_path / "changed.ckpt")
    assert "\n" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 100_000}, "does not say its size"),
        ({"size": "64"}, "does not say its size"),
        ({"norm_mode": ["running"]}, "does not say its norm_mode"),
        ({"source_channels": 0}, "does not say its source_channels"),
        ({"source_channels": 3}, "source_channels=3 but in_channels=1"),
        ({"provides": "networks"}, "does not say its provides"),
        ({"images_seen": -1}, "does not say its images_seen"),
        ({"images_seen": 10**400}, "says of itself"),
        ({"class_names": [1]}, "does not say its class_names"),
    ],
)
def test_a_card_with_odd_values_is_refused_in_one_sentence(trained, tmp_path, change, message):
    contents = checkpoint.load(trained)
    contents["ganforge"].update(change)
    torch.save(contents, tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=message) as refused:
        generators.load_generator(tmp_path / "changed.ckpt")
    assert "\n" not in str(refused.value)


def test_weights_that_are_not_finite_are_named(trained, tmp_path):
    contents = checkpoint.load(trained)
    name = next(name for name in contents["state_dict"] if name.startswith("generator_ema.") and "weight" in name)
    contents["state_dict"][name][0] = float("nan")
    torch.save(contents, tmp_path / "spoilt.ckpt")
    with pytest.raises(UserError, match=rf"not finite, or too large .*{name.removeprefix('generator_ema.')}"):
        generators.load_generator(tmp_path / "spoilt.ckpt")


def changed(contents: dict, where: tuple, value) -> None:
    for key in where[:-1]:
        contents = contents[key]
    contents[where[-1]] = value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("loops", "fit_loop", "state_dict"), "x"),
        (("loops",), None),
        (("loops", "fit_loop", "epoch_progress", "total", "completed"), [1]),
        (("loops", "fit_loop", "epoch_progress", "total", "completed"), 1.5),
        (("optimizer_states", 0, "state", 0, "exp_avg"), "x"),
        (("optimizer_states", 0, "state", 0, "exp_avg"), torch.zeros(3)),
        (("optimizer_states", 1, "param_groups"), []),
        (("ganforge_state", 0, "rows"), {"train/g/adv": ["x"]}),
        (("ganforge_state", 0, "randomness", "torch"), torch.zeros(3)),
        (("ganforge_state",), []),
        (("callbacks", "Speed", "seconds"), [None]),
        (("callbacks", "Health"), 3),
        (("state_dict", "discriminator.layers.0.weight"), 1.5),
        (("ganforge", "turns"), "many"),
        (("ganforge", "updates"), {"d": -1}),
        (("epoch",), "x"),
    ],
)
def test_a_training_does_not_go_on_from_odd_values(configured, trained, tmp_path, where, value):
    contents = checkpoint.load(trained / "checkpoints/last.ckpt")
    changed(contents, where, value)
    torch.save(contents, tmp_path / "changed.ckpt")
    settings = [*TINY_PIX2PIX, *LATTICE, "trainer.max_epochs=2", "resume=force"]
    with pytest.raises(UserError, match=r"changed\.ckpt: .*it was changed|changed\.ckpt: does not say") as refused:
        run(configured([*settings, f"ckpt_path={tmp_path / 'changed.ckpt'}"], "resumed"))
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_checkpoint_of_the_former_layout_is_refused_by_its_version(configured, trained, tmp_path):
    contents = checkpoint.load(trained / "checkpoints/last.ckpt")
    del contents["ganforge"]["layout"]
    contents["ganforge_state"] = {"terms": {}, "notes": {}, "randomness": []}
    contents["ganforge"]["versions"]["git_commit"] = "1d1d0f9"
    torch.save(contents, tmp_path / "former.ckpt")
    settings = [*TINY_PIX2PIX, *LATTICE, "trainer.max_epochs=2", f"ckpt_path={tmp_path / 'former.ckpt'}"]
    with pytest.raises(UserError, match=r"former\.ckpt: was written by ganforge 0\.1\.0 \(1d1d0f9\), .* no training"):
        run(configured(settings, "resumed"))
    assert generators.load_generator(tmp_path / "former.ckpt").network  # it can be used


def test_a_checkpoint_cannot_have_a_folder_removed(tmp_path):
    """Lightning removes what a checkpoint calls the worst one of a run."""
    kept = RunCheckpoint(dirpath=str(tmp_path / "run/checkpoints"), monitor="val/swd", filename="best")
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / "run/checkpoints/best.ckpt").touch()
    state = {**kept.state_dict(), "best_model_path": "best.ckpt", "best_k_models": {"best.ckpt": torch.tensor(1.0)}}
    for name in ("..", "x/..", ".", "../.."):
        kept.load_state_dict({**state, "kth_best_model_path": name, "last_model_path": name})
        for path in (kept.kth_best_model_path, kept.last_model_path):
            assert Path(path).resolve().parent == tmp_path / "run/checkpoints" or Path(path) == Path(kept.dirpath)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_a_training_goes_on_from_runs_nothing(configured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run/checkpoints"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(pickle.dumps(Bomb()))
    torch.save({"state_dict": {}, "ganforge": {}, "callbacks": Bomb()}, "bomb.ckpt")
    for how in ("resume=true", f"ckpt_path={tmp_path / 'bomb.ckpt'}", f"ckpt_path={tmp_path / 'run'}"):
        with pytest.raises(UserError, match=r"\.ckpt: (holds more than tensors|cannot be read)"):
            run(configured([*TINY_PIX2PIX, *LATTICE, how]))
    assert not Path("exploded").exists()
