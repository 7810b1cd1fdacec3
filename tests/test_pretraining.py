"""The first phase of a translator: who moves, by which terms, until when, and that it is resumed."""

import os
import signal

import pytest
import torch

import killing
from conftest import Rows, TinyImages, TinyPairs, overrides_for, overrides_for_model
from ganforge.callbacks import Interrupted
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.pretraining import Pretraining
from ganforge.runs import checkpoint
from ganforge.systems import Pix2Pix
from test_adversarial import Watched, moved, pix2pix, weights
from test_cyclegan import TinySides, cyclegan
from test_latent import latent_gan


def watched(**options) -> Watched:
    system = pix2pix(**options)
    system.__class__ = Watched
    return system


@pytest.mark.parametrize(("images", "alone"), [(0, 0), (3, 0), (4, 1), (11, 2), (12, 3), (1000, 6)])
def test_the_generator_moves_alone_for_so_many_images(fit, images, alone):
    """Six batches of four: those that lie wholly within the first `images`."""
    system = watched(pretrain=Pretraining(images))
    logged = Rows(system)
    fit(system, TinyPairs(n_train=24))
    assert system.moves == ["g"] * alone + ["d", "g"] * (6 - alone)
    assert system.updates == {"d": 6 - alone, "g": 6}
    rows = [{name for name in row if name.startswith("train/") and "norm" not in name} for row in logged.rows]
    assert rows[:alone] == [{"train/g/l1"}] * alone
    assert all(row == {"train/g/l1", "train/g/adv", "train/d/adv"} for row in rows[alone:])


def test_it_computes_what_a_plain_loop_of_l1_computes(fit):
    data = TinyPairs(n_train=8)
    system = pix2pix(pretrain=Pretraining(8), l1_weight=3.0)
    plain, batches = pix2pix().generator, []
    system.on_train_batch_start = lambda batch, index: batches.append(batch)
    fit(system, data)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    assert len(batches) == 2
    for batch in batches:
        optimizer.zero_grad()
        (3.0 * (plain(batch["source"]) - batch["target"]).abs().mean()).backward()
        optimizer.step()
    for ours, theirs in zip(system.generator.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_a_generator_that_moves_seldom_moves_each_time_at_first(fit):
    system = watched(pretrain=Pretraining(12), d_steps=3)
    fit(system, TinyPairs(n_train=24))
    assert system.moves == ["g", "g", "g", "d", "d", "d", "g"]


def test_accumulated_batches_belong_to_the_phase_of_the_last_one(fit):
    system = watched(pretrain=Pretraining(12), accumulate=2)
    fit(system, TinyPairs(n_train=24))
    assert system.moves == ["g", "d", "g", "d", "g"]


def test_cyclegan_begins_with_its_round_trips(fit):
    system = cyclegan(pretrain=Pretraining(4), pool_size=0)
    critic, logged = weights(system.critic_a), Rows(system)
    fit(system, TinySides(n_train=4))
    assert not moved(critic, system.critic_a)
    names = {name for name in logged.rows[0] if name.startswith("train/") and "norm" not in name}
    assert names == {f"train/g/{term}_{side}" for term in ("cycle", "identity") for side in "ab"}


def test_gans_without_such_terms_refuse_it():
    with pytest.raises(UserError, match=r"model.pretrain.images=8: .* has no losses without a critic"):
        latent_gan(pretrain=Pretraining(8))
    for images in (-1, 2.5, True, "many"):
        with pytest.raises(UserError, match=f"model.pretrain.images={images}: a whole number"):
            Pretraining(images)


def test_gans_from_noise_train_with_the_default(fit):
    system = latent_gan()
    fit(system, TinyImages(size=16))
    assert system.updates["d"] == system.turns > 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", [4, 10, 14])
def test_a_run_that_is_stopped_in_it_ends_where_the_whole_one_does(configured, folders, tmp_path, monkeypatch, moment):
    """Of 16 images in batches of two the first eleven, which end within one; the long form is in test_resume.py."""
    chosen = [*overrides_for("colour", folders), *overrides_for_model("colorize"), "model.ema_half_life=8"]
    chosen += ["model.pretrain.images=11", "trainer.max_epochs=4", "model.generator.dropout=0.5"]
    run(configured(chosen, "whole"))
    train = Pix2Pix.training_step

    def step(self, *arguments):
        train(self, *arguments)
        if self.images_seen == moment:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Pix2Pix, "training_step", step)
    with pytest.raises(Interrupted):
        run(configured(chosen))
    monkeypatch.undo()
    stopped = checkpoint.load(tmp_path / "run/checkpoints/last.ckpt")["ganforge"]
    assert stopped["images_seen"] == moment and (stopped["updates"]["d"] == 0) == (moment <= 11)
    run(configured([*chosen, "resume=true"]))
    killing.same(tmp_path / "whole", tmp_path / "run")
    assert checkpoint.load(tmp_path / "run/checkpoints/last.ckpt")["ganforge"]["updates"] == {"d": 3, "g": 8}
