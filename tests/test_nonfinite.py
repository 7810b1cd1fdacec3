"""Numbers that are not finite: never in a checkpoint, never the best, and said where they are used."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch

from conftest import TINY_PIX2PIX, overrides_for, overrides_for_model
from ganforge.callbacks import Evaluation, RunCheckpoint
from ganforge.commands.evaluate import evaluate
from ganforge.commands.interpolate import interpolate
from ganforge.commands.predict import predict
from ganforge.commands.sample import sample
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.files.finite import LARGEST_WEIGHT, not_finite, spoiled
from ganforge.runs import checkpoint, status
from ganforge.systems import Adversarial, Pix2Pix

LATTICE = [*TINY_PIX2PIX, "data.size=64", "data.cells=[2,3]", "data.shifted=null", "model.generator.depth=3"]


def overflow_at(monkeypatch, update: int, spoil) -> None:
    """Have `spoil(system)` be done right after the generator's update of this number."""
    before = Adversarial._update_averages

    def update_averages(self, player, images):
        before(self, player, images)
        if player.name == "g" and self.updates["g"] == update:
            with torch.no_grad():
                spoil(self)

    monkeypatch.setattr(Adversarial, "_update_averages", update_averages)


def fill(value: float, which: str, system: Adversarial) -> None:
    if which == "moment":
        state = system.optimizers()[0].state
        state[next(iter(state))]["exp_avg_sq"].fill_(value)
    else:
        next(getattr(system, which).parameters())[0].fill_(value)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("which", ["generator", "discriminator", "generator_ema", "moment"])
def test_an_overflow_on_the_last_batch_of_an_epoch_keeps_the_good_checkpoints(
    configured, tmp_path, monkeypatch, which, value
):
    overflow_at(monkeypatch, 4, partial(fill, value, which))  # two updates an epoch
    settings = [*LATTICE, "trainer.max_epochs=3", "model.ema_half_life=20"]
    with pytest.raises(
        UserError, match=r"not finite.* at 8 images seen: .* good checkpoint: \S+ .*Try lower"
    ) as stopped:
        run(configured(settings))
    folder = tmp_path / "run/checkpoints"
    named = Path(str(stopped.value).split("good checkpoint: ")[1].split()[0])
    assert named in (folder / "last.ckpt", folder / "best.ckpt")
    for name in ("last", "best"):
        contents = checkpoint.load(folder / f"{name}.ckpt")
        assert not spoiled(contents)
    assert checkpoint.load(folder / "last.ckpt")["ganforge"]["images_seen"] == 4
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("epochs", [2, 3])  # the overflow is in the last epoch, or after its last validation
def test_an_overflow_at_the_very_end_is_said(configured, tmp_path, monkeypatch, epochs):
    overflow_at(monkeypatch, 2 * epochs, partial(fill, math.nan, "generator"))
    with pytest.raises(UserError, match=r"not finite.* good checkpoint: \S+(best|last)\.ckpt"):
        run(configured([*LATTICE, f"trainer.max_epochs={epochs}", "trainer.check_val_every_n_epoch=1"]))
    assert not spoiled(checkpoint.load(tmp_path / "run/checkpoints/last.ckpt"))


def test_an_overflow_after_the_last_validation_is_said(configured, tmp_path, monkeypatch):
    overflow_at(monkeypatch, 6, partial(fill, math.nan, "generator"))
    with pytest.raises(UserError, match=r"not finite.* at 12 images seen"):
        run(configured([*LATTICE, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2"]))
    assert not spoiled(checkpoint.load(tmp_path / "run/checkpoints/last.ckpt"))


def test_an_absurd_rate_does_not_spoil_what_was_learned(configured, tmp_path):
    run(configured([*LATTICE, "data.n_train=2"]))
    last = tmp_path / "run/checkpoints/last.ckpt"
    status.write(tmp_path / "run", state="interrupted")
    again = [f"{name}.lr=1e38" for name in ("model.optimizer_g", "model.optimizer_d")]
    config = configured([*LATTICE, "data.n_train=2", "trainer.max_epochs=3", "resume=force", *again])
    before = last.read_bytes()
    with pytest.raises(UserError, match=r"at 4 images seen: .* good checkpoint: \S+(best|last)\.ckpt"):
        run(config)
    assert last.read_bytes() == before


@pytest.mark.parametrize("skip", [True, False])
def test_rates_that_overflow_within_an_epoch(configured, tmp_path, skip):
    settings = [*LATTICE, "data.n_train=8", "model.optimizer_g.lr=1e38", "model.optimizer_d.lr=1e38"]
    with pytest.raises(UserError, match=r"good checkpoint: none yet\. Try lower"):
        run(configured([*settings, f"model.on_nonfinite={'skip' if skip else 'stop'}"]))
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_measure_that_is_none_is_never_the_best(configured, tmp_path, monkeypatch, mode, value):
    compute, numbers = Evaluation.compute, iter([0.5, value, value, 0.4 if mode == "min" else 0.6, value])
    monkeypatch.setattr(Evaluation, "monitor", property(lambda self: ("val/l1", mode)))

    def spoiled(self, name):
        values = compute(self, name)
        return {**values, "val/l1": next(numbers)} if name == "val" else values

    monkeypatch.setattr(Evaluation, "compute", spoiled)
    best = []
    update = RunCheckpoint._update_best_and_save
    monkeypatch.setattr(
        RunCheckpoint,
        "_update_best_and_save",
        lambda self, current, *rest: (best.append(current.item()), update(self, current, *rest)),
    )
    score = run(configured([*LATTICE, "trainer.max_epochs=5", "data.n_train=2"]))
    assert best == pytest.approx([0.5, 0.4 if mode == "min" else 0.6])
    assert score == pytest.approx(best[-1])
    assert checkpoint.load(tmp_path / "run/checkpoints/best.ckpt")["ganforge"]["images_seen"] == 8


def test_a_run_without_any_finite_measure_still_says_what_it_knows(configured, tmp_path, monkeypatch):
    compute = Evaluation.compute

    def spoiled(self, name):
        values = compute(self, name)
        return {key: math.nan if key == self.monitor[0] else number for key, number in values.items()}

    monkeypatch.setattr(Evaluation, "compute", spoiled)
    assert math.isnan(run(configured([*LATTICE, "trainer.max_epochs=2"])))
    assert not (tmp_path / "run/checkpoints/best.ckpt").exists()
    assert '"best/val/bond_f1": null' in (tmp_path / "run/results.json").read_text()


def test_pictures_that_are_not_finite_end_a_training(configured, tmp_path, monkeypatch):
    """Of weights that are finite: without a checkpoint of them, and without a traceback of the metrics."""
    infer = Pix2Pix.infer

    def sometimes(self, batch):
        pictures = infer(self, batch)
        return pictures * math.nan if self.images_seen == 8 else pictures

    monkeypatch.setattr(Pix2Pix, "infer", sometimes)
    with pytest.raises(UserError, match=r"pictures are not finite at 8 images seen: .* good checkpoint: \S+last\.ckpt"):
        run(configured([*LATTICE, "trainer.max_epochs=3"]))
    for name in ("last", "best"):
        assert checkpoint.load(tmp_path / f"run/checkpoints/{name}.ckpt")["ganforge"]["images_seen"] == 4


def spoil(file: Path, change) -> None:
    contents = checkpoint.load(file)
    change(contents["state_dict"])
    torch.save(contents, file)


@pytest.mark.slow
def test_weights_that_are_not_finite_are_not_used(configured, tmp_path, folders):
    run(configured([*LATTICE, "trainer.max_epochs=1"], "pairs_run"))
    run(configured([*overrides_for_model("dcgan", 28), *overrides_for("mnist", folders)], "noise_run"))
    for name in ("pairs_run", "noise_run"):

        def one(state):
            for key in state:
                if key.startswith("generator") and key.endswith("weight"):
                    state[key][0].fill_(math.inf)

        spoil(tmp_path / name / "checkpoints/best.ckpt", one)
    from PIL import Image

    Image.new("L", (64, 64)).save(tmp_path / "picture.png")
    out = tmp_path / "out"
    for use in (
        lambda: predict(tmp_path / "pairs_run", [tmp_path / "picture.png"], out),
        lambda: sample(tmp_path / "noise_run", 3, out),
        lambda: interpolate(tmp_path / "noise_run", out),
        lambda: evaluate(tmp_path / "pairs_run"),
        lambda: evaluate(tmp_path / "noise_run"),
    ):
        with pytest.raises(
            UserError, match=r"best\.ckpt: its weights are not finite.* \((layers|project)\S+ .*use another one"
        ) as said:
            use()
        assert "\n" not in str(said.value)
        assert not out.exists()
    spoil(tmp_path / "pairs_run/checkpoints/last.ckpt", one)
    with pytest.raises(UserError, match=r"last\.ckpt: its weights are not finite.* go on from another"):
        run(
            configured(
                [*LATTICE, "trainer.max_epochs=2", f"ckpt_path={tmp_path / 'pairs_run'}", "resume=force"], "again"
            )
        )


def test_pictures_that_are_not_finite_are_not_written(configured, tmp_path, folders):
    """Of finite weights that are too large."""
    run(configured([*overrides_for_model("dcgan", 28), *overrides_for("mnist", folders)]))

    def large(state):
        for key in state:
            if key.startswith("generator") and key.endswith("weight"):
                state[key].normal_().mul_(1e18)

    spoil(tmp_path / "run/checkpoints/best.ckpt", large)
    with pytest.raises(UserError, match=r"best\.ckpt: it draws a picture that is not finite"):
        sample(tmp_path / "run", 3, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_what_is_not_finite_is_found_wherever_it_is():
    tensors = {
        "fine": torch.tensor([3e38, -3e38, 0.0]),  # whose sum of squares is not
        "none": torch.tensor([1.0, math.nan]),
        "deep": torch.full((2, 3), -math.inf, dtype=torch.float64),
        "half": torch.tensor([6e4, 6e4], dtype=torch.float16),
        "short": torch.tensor([math.inf], dtype=torch.bfloat16),
        "large": torch.tensor([1e300], dtype=torch.float64),
        "whole": torch.tensor([1, 2]),
        "empty": torch.zeros(0),
        "scalar": torch.tensor(math.nan),
        "word": "nan",
    }
    assert not_finite(tensors) == ["none", "deep", "short", "scalar"]
    assert not_finite({}) == []
    assert not_finite({"fine": torch.tensor([1e18]), "large": torch.tensor([-2e19])}, LARGEST_WEIGHT) == ["large"]
