"""A game of two generators, two critics and a third player: nothing in the base knows how many there are."""

import copy
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from conftest import Rows, TinyPairs
from ganforge.commands.predict import predict
from ganforge.errors import UserError
from ganforge.game import Output, Player
from ganforge.game.objectives import least_squares
from ganforge.game.schedules import Cosine
from ganforge.networks import PatchGAN, ResNetGenerator
from ganforge.pictures import images
from ganforge.runs.generators import outputs_of
from ganforge.systems import Adversarial

ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999), fused=True)


class Toy(Adversarial):
    """Two translators move first, then their critics, then a network that guesses which side an image is of."""

    needs = frozenset({"paired"})
    outputs: ClassVar = {"AtoB": Output("a_to_b", "picture"), "BtoA": Output("b_to_a", "picture")}

    def __init__(self, *, a_to_b, b_to_a, critic_a, critic_b, judge, optimizer=ADAM, **base):
        networks = {"a_to_b": a_to_b, "b_to_a": b_to_a, "critic_a": critic_a, "critic_b": critic_b, "judge": judge}
        players = [
            Player("g", ["a_to_b", "b_to_a"], optimizer, generates=True, clip=5.0),
            Player("d", {"critic_a": {"lr": 2e-3}, "critic_b": {}}, optimizer),
            Player("judge", ["judge"], optimizer),
        ]
        super().__init__(networks=networks, players=players, averaged=["a_to_b", "b_to_a"], **base)

    def generate(self, batch):
        return {"b": self.a_to_b(batch["source"]), "a": self.b_to_a(batch["target"])}

    def g_losses(self, batch, images):
        cycle = (self.b_to_a(images["b"]) - batch["source"]).abs().mean()
        adv = least_squares.g(self.critic_b(images["b"])) + least_squares.g(self.critic_a(images["a"]))
        return {"adv": adv, "cycle": 10 * cycle, "judge": self.judge(images["b"]).mean()}

    def d_losses(self, batch, images):
        return {
            "a": least_squares.d(self.critic_a(batch["source"]), self.critic_a(images["a"])),
            "b": least_squares.d(self.critic_b(batch["target"]), self.critic_b(images["b"])),
        }

    def judge_losses(self, batch, images):
        return {"guess": least_squares.d(self.judge(batch["target"]), self.judge(batch["source"]))}

    def infer(self, batch):
        return self.inference_network("a_to_b")(batch["source"])


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    translator = partial(ResNetGenerator, in_channels=1, out_channels=1, size=32, base_channels=4, depth=1, dropout=0.0)
    critic = partial(PatchGAN, in_channels=1, base_channels=4, layers=2, norm="none")
    made = {"a_to_b": translator(norm="none"), "b_to_a": translator(norm="none")}
    return {**made, "critic_a": critic(), "critic_b": critic(), "judge": critic()}


def test_a_turn_equals_a_plain_loop(fit):
    system = Toy(**networks(), ema_half_life=20)
    plain = {name: copy.deepcopy(network) for name, network in networks().items()}
    logged, seen = Rows(system), []
    system.on_train_batch_start = lambda batch, index: seen.append(copy.deepcopy(batch))
    fit(system, TinyPairs(n_train=8, batch_size=2))

    a_to_b, b_to_a, critic_a, critic_b, judge = plain.values()
    g = ADAM([*a_to_b.parameters(), *b_to_a.parameters()])
    d = ADAM([{"params": critic_a.parameters(), "lr": 2e-3}, {"params": critic_b.parameters()}])
    j = ADAM(judge.parameters())
    for batch, row in zip(seen, logged.rows, strict=True):
        a, b = batch["source"], batch["target"]
        fake_b, fake_a = a_to_b(a), b_to_a(b)
        adv = (critic_b(fake_b) - 1).square().mean() + (critic_a(fake_a) - 1).square().mean()
        cycle = 10 * (b_to_a(fake_b) - a).abs().mean()
        g.zero_grad()
        (adv + cycle + judge(fake_b).mean()).backward()
        nn.utils.clip_grad_norm_([*a_to_b.parameters(), *b_to_a.parameters()], 5.0)
        g.step()
        d_a = (critic_a(a) - 1).square().mean() + critic_a(fake_a.detach()).square().mean()
        d_b = (critic_b(b) - 1).square().mean() + critic_b(fake_b.detach()).square().mean()
        d.zero_grad()
        (d_a + d_b).backward()
        d.step()
        guess = (judge(b) - 1).square().mean() + judge(a).square().mean()
        j.zero_grad()
        guess.backward()
        j.step()
        terms = {"g/adv": adv, "g/cycle": cycle, "d/a": d_a, "d/b": d_b, "judge/guess": guess}
        for name, value in terms.items():
            assert row[f"train/{name}"] == pytest.approx(value.item(), rel=1e-6, abs=1e-6), name
    assert system.updates == {"g": 4, "d": 4, "judge": 4}
    for name, network in plain.items():
        for ours, theirs in zip(getattr(system, name).parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert system.inference_network("b_to_a") is system.b_to_a_ema


def test_each_player_moves_its_networks_alone_and_what_was_frozen_stays(fit):
    system, moves = Toy(**networks(), accumulate=2), []
    frozen = next(system.judge.parameters()).requires_grad_(False)
    untouched = frozen.clone()
    move = system._move

    def watched(player, *arguments):
        before = {name: copy.deepcopy(getattr(system, name).state_dict()) for name in system.network_names}
        bad = move(player, *arguments)
        after = {name: getattr(system, name).state_dict() for name in system.network_names}
        changed = [
            name for name in before if any(not torch.equal(before[name][key], after[name][key]) for key in before[name])
        ]
        moves.append((player.name, changed))
        return bad

    system._move = watched
    fit(system, TinyPairs(n_train=8, batch_size=2))
    turn = [("g", ["a_to_b", "b_to_a"]), ("d", ["critic_a", "critic_b"]), ("judge", ["judge"])]
    assert moves == turn * 2
    assert torch.equal(frozen, untouched) and not frozen.requires_grad
    assert all(parameter.requires_grad for parameter in system.a_to_b.parameters())


def test_accumulating_two_batches_equals_one_of_twice_the_size(fit):
    results = []
    for batch_size, accumulate in ((8, 1), (4, 2)):
        system = Toy(**networks(), accumulate=accumulate, optimizer=partial(torch.optim.SGD, lr=0.1))
        fit(system, TinyPairs(n_train=16, batch_size=batch_size))
        results.append(system.state_dict())
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-5, atol=1e-6)


def test_it_is_resumed_bit_for_bit(fit, tmp_path):
    """Weights, averages, optimizers and numbers that wait for a row: stopped within the second of three epochs."""
    whole, stopped, resumed = (Toy(**networks(), ema_half_life=20) for _ in range(3))
    rows = [Rows(system) for system in (whole, stopped, resumed)]
    data = {"n_train": 10, "batch_size": 2}
    fit(whole, TinyPairs(**data), max_epochs=3, every=3)

    stopped.on_train_batch_end = lambda outputs, batch, index: (
        stopped.trainer.save_checkpoint(tmp_path / "x.ckpt") if stopped.images_seen == 14 else None
    )
    fit(stopped, TinyPairs(**data), max_epochs=3, every=3)
    fit(resumed, TinyPairs(**data), max_epochs=3, every=3, ckpt_path=tmp_path / "x.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert rows[2].rows == rows[0].rows[-len(rows[2].rows) :]
    assert resumed.updates == whole.updates


CONFIG = {
    "_target_": "ganforge.networks.ResNetGenerator",
    "in_channels": 1,
    "out_channels": 1,
    "size": 32,
    "base_channels": 4,
    "depth": 1,
    "norm": "none",
    "dropout": 0.0,
}


def test_pictures_are_translated_by_either_output(fit, tmp_path):
    system = Toy(**networks(), ema_half_life=20)
    fit(system, TinyPairs(n_train=8, batch_size=2))
    card = {"size": 32, "fit_to_size": "squash", "norm_mode": "running", "provides": ["paired"], "config": {}}
    model = {"a_to_b": CONFIG, "b_to_a": CONFIG, "ema_half_life": 20}
    system.card = {**card, **outputs_of(Toy, model), "source_channels": 1, "target_channels": 1}
    system.trainer.save_checkpoint(tmp_path / "toy.ckpt")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 1), dtype=np.uint8)
    images.write(tmp_path / "picture.png", picture)
    for direction, name in ((None, "a_to_b"), ("AtoB", "a_to_b"), ("BtoA", "b_to_a")):
        output = tmp_path / f"out_{direction}"
        predict(tmp_path / "toy.ckpt", [tmp_path / "picture.png"], output, direction=direction)
        with torch.no_grad():
            expected = system.inference_network(name).eval()(torch.from_numpy(images.to_unit(picture))[None])[0].numpy()
        difference = images.read(output / "picture.png", 1).astype(int) - images.from_unit(expected).astype(int)
        assert abs(difference).max() <= 1
    with pytest.raises(UserError, match="has no output CtoA; choose one of AtoB, BtoA"):
        predict(tmp_path / "toy.ckpt", [tmp_path / "picture.png"], tmp_path / "none", direction="CtoA")


def test_a_network_that_no_checkpoint_could_name_is_refused_before_the_training():
    with pytest.raises(UserError, match=r"model\.b_to_a names 'torch\.nn\.Identity'; only .* are built from a checkp"):
        outputs_of(Toy, {"a_to_b": CONFIG, "b_to_a": {"_target_": "torch.nn.Identity"}})
    nested = {**CONFIG, "norm": {"_target_": "os.system", "command": "true"}}
    with pytest.raises(UserError, match=r"model\.a_to_b, norm, names 'os\.system'"):
        outputs_of(Toy, {"a_to_b": nested, "b_to_a": CONFIG})


def test_a_clip_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"model\.clip_d=0: a norm above 0"):
        Player("d", ["critic"], ADAM, clip=0)


def test_a_schedule_of_images_seen_is_no_schedule_of_a_learning_rate():
    with pytest.raises(UserError, match=r"model\.schedule_g: Cosine is a function of images seen"):
        Player("g", ["generator"], torch.optim.Adam, Cosine(first=1, last=0, images=10))
