"""The alternating game: who moves when, and that it computes what a plain PyTorch loop computes."""

import copy
from functools import partial

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from conftest import Rows, TinyPairs
from ganforge.errors import UserError
from ganforge.game.objectives import vanilla
from ganforge.game.schedules import ConstantThenLinear
from ganforge.networks import PatchGAN, UNet
from ganforge.systems import Pix2Pix

SGD = partial(torch.optim.SGD, lr=0.1)


def pix2pix(norm: str = "none", optimizer=SGD, **options) -> Pix2Pix:
    torch.manual_seed(0)
    arguments = {
        "generator": UNet(in_channels=1, out_channels=1, size=32, base_channels=4, depth=3, norm=norm, dropout=0.0),
        "discriminator": PatchGAN(in_channels=2, base_channels=4, layers=2, norm=norm),
        "objective": vanilla,
        "optimizer_g": optimizer,
        "optimizer_d": optimizer,
        "schedule_g": ConstantThenLinear(decay_from=None),
        "schedule_d": ConstantThenLinear(decay_from=None),
    }
    return Pix2Pix(**{**arguments, **options})


def weights(network: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(before: list[torch.Tensor], network: torch.nn.Module) -> bool:
    return any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


class Watched(Pix2Pix):
    """Notes after each half step which networks have moved in it, and how often the generator was called."""

    def _move(self, *arguments):
        before = weights(self.generator), weights(self.discriminator)
        bad = super()._move(*arguments)
        note = "".join(
            name
            for name, old, network in zip("gd", before, (self.generator, self.discriminator), strict=True)
            if moved(old, network)
        )
        self.__dict__.setdefault("moves", []).append(note)
        return bad

    def generate(self, batch):
        self.__dict__["forwards"] = self.__dict__.get("forwards", 0) + 1
        return super().generate(batch)


@pytest.mark.parametrize(
    ("options", "moves"),
    [
        ({}, ["d", "g", "d", "g", "d", "g", "d", "g"]),
        ({"d_steps": 2}, ["d", "d", "g", "d", "d", "g"]),
        ({"d_steps": 3}, ["d", "d", "d", "g", "d"]),
        ({"accumulate": 2}, ["d", "g", "d", "g"]),
        ({"accumulate": 3}, ["d", "g", "d", "g"]),  # the last window is the remaining batch
    ],
)
def test_who_moved(fit, options, moves):
    system = Watched(**{**vars_of(pix2pix()), **options})
    trainer = fit(system, TinyPairs(n_train=8, batch_size=2))
    assert system.moves == moves
    assert system.updates == {"d": moves.count("d"), "g": moves.count("g")}
    assert trainer.global_step == len(moves)
    assert system.images_seen == 8
    if "accumulate" not in options:
        assert system.forwards == 4  # one a batch, shared by both networks


def vars_of(system: Pix2Pix) -> dict:
    """The constructor's arguments of a system, to build a subclass of it."""
    d, g = system.players
    return {
        "generator": system.generator,
        "discriminator": system.discriminator,
        "objective": system.objective,
        "optimizer_g": g.optimizer,
        "optimizer_d": d.optimizer,
        "schedule_g": g.schedule,
        "schedule_d": d.schedule,
    }


def test_steps_equal_a_plain_pytorch_loop(fit):
    """pix2pix as one would write it without Lightning: the same loss terms in each of four steps, the same weights."""
    optimizer = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
    system = pix2pix(norm="batch", optimizer=optimizer, ink_weight=10.0)
    generator, discriminator = copy.deepcopy(system.generator), copy.deepcopy(system.discriminator)
    logged = Rows(system)
    data = TinyPairs(n_train=8, batch_size=2)
    seen = []
    system.on_train_batch_start = lambda batch, index: seen.append(copy.deepcopy(batch))
    fit(system, data)

    optimizer_g, optimizer_d = optimizer(generator.parameters()), optimizer(discriminator.parameters())
    for batch, row in zip(seen, logged.rows, strict=True):
        source, target = batch["source"], batch["target"]
        fake = generator(source)
        real_logits = discriminator(torch.cat([source, target], 1))
        fake_logits = discriminator(torch.cat([source, fake.detach()], 1))
        d_loss = 0.5 * (
            binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
            + binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
        )
        optimizer_d.zero_grad()
        d_loss.backward()
        optimizer_d.step()
        logits = discriminator(torch.cat([source, fake], 1))
        adversarial = binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        l1 = 100 * ((fake - target).abs() * (1 + 9 * (1 - target) / 2)).mean()
        optimizer_g.zero_grad()
        (adversarial + l1).backward()
        optimizer_g.step()
        assert row["train/d/adv"] == pytest.approx(d_loss.item(), rel=1e-6, abs=1e-6)
        assert row["train/g/adv"] == pytest.approx(adversarial.item(), rel=1e-6, abs=1e-6)
        assert row["train/g/l1"] == pytest.approx(l1.item(), rel=1e-6, abs=1e-6)
    assert len(seen) == 4
    for ours, plain in ((system.generator, generator), (system.discriminator, discriminator)):
        for a, b in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_accumulating_two_batches_equals_one_of_twice_the_size(fit):
    results = []
    for batch_size, accumulate in ((8, 1), (4, 2), (2, 4)):
        system = pix2pix(accumulate=accumulate, ema_half_life=10)
        fit(system, TinyPairs(n_train=16, batch_size=batch_size), max_epochs=2)
        results.append(system)
    for other in results[1:]:
        assert other.updates["g"] == results[0].updates["g"] == 4
        for name, value in results[0].state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_accumulation_repeats_neither_noise_nor_statistics(fit):
    """With dropout and batch norm, the repeated forward must see the noise of the first and leave the statistics."""
    system = pix2pix(accumulate=2)
    torch.manual_seed(0)
    system.generator = UNet(in_channels=1, out_channels=1, size=32, base_channels=4, depth=3, norm="batch")
    norms = [module for module in system.generator.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    fit(system, TinyPairs(n_train=8, batch_size=2))
    assert {int(norm.num_batches_tracked) for norm in norms} == {4}  # one a batch, not two


def test_gradient_clipping_is_per_network(fit):
    system = pix2pix(clip_g=1e-6, optimizer=partial(torch.optim.SGD, lr=1.0))
    before = weights(system.generator), weights(system.discriminator)
    fit(system, TinyPairs(n_train=2, batch_size=2))
    step = [
        torch.cat([(new - old).flatten() for old, new in zip(olds, network.parameters(), strict=True)]).norm().item()
        for olds, network in zip(before, (system.generator, system.discriminator), strict=True)
    ]
    assert step[0] == pytest.approx(1e-6, rel=0.05)  # the clipped norm times the learning rate
    assert step[1] > 1e-3


def test_the_schedule_follows_the_images_seen(fit):
    system = pix2pix(schedule_g=ConstantThenLinear(decay_from=0.5))
    logged = Rows(system)
    fit(system, TinyPairs(n_train=8, batch_size=2), max_epochs=2)
    rates = [row["lr/g"] / 0.1 for row in logged.rows]
    assert rates == pytest.approx([1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
    assert all(row["lr/d"] == pytest.approx(0.1) for row in logged.rows)


def test_the_moving_average_is_that_of_the_images_seen_however_they_come(fit):
    """A constant that jumps counts half after the half-life, for small batches and for large ones."""
    for batch_size in (2, 8):
        system = pix2pix(ema_half_life=16)
        system.images_seen = 10_000  # the average is not at its start
        with torch.no_grad():
            weight, average = (next(network.parameters()) for network in (system.generator, system.generator_ema))
            weight.fill_(1.0)
            average.fill_(0.0)
        for _ in range(16 // batch_size):
            system._update_averages(system.players[1], batch_size)
        torch.testing.assert_close(average, torch.full_like(average, 0.5))


def test_the_moving_average_follows_the_generator_and_its_running_statistics(fit):
    def averaged(network):
        running = [value.clone() for name, value in network.named_buffers() if "running" in name]
        assert running
        return [*weights(network), *running]

    system = pix2pix(norm="batch", ema_half_life=10)
    expected = averaged(system.generator)
    history = []
    update = system._update_averages

    def note(player, images):
        if player.name == "g":
            history.append(averaged(system.generator))
            assert images == 2
        update(player, images)

    system._update_averages = note
    fit(system, TinyPairs(n_train=8, batch_size=2))
    for count, step in enumerate(history, start=1):
        decay = 0.5 ** (2 / min(10, 0.08 * 2 * count))
        expected = [decay * average + (1 - decay) * value for average, value in zip(expected, step, strict=True)]
    for average, value in zip(averaged(system.generator_ema), expected, strict=True):
        torch.testing.assert_close(average, value)
    buffers = zip(system.generator_ema.named_buffers(), system.generator.buffers(), strict=True)
    assert all(torch.equal(mine, value) == ("running" not in name) for (name, mine), value in buffers)
    assert system.inference_network("generator") is system.generator_ema


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_steps": 0}, r"model\.d_steps=0"),
        ({"accumulate": -1}, r"model\.accumulate=-1"),
        ({"clip_d": 0}, r"model\.clip_d=0"),
        ({"ema_half_life": -1}, r"model\.ema_half_life=-1"),
        ({"l1_weight": -100}, r"model\.l1_weight=-100"),
        ({"norm_mode": "eval"}, r"model\.norm_mode='eval'"),
    ],
)
def test_absurd_numbers_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        pix2pix(**options)
