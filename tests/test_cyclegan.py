"""CycleGAN: its game against a plain loop, its pools, what is resumed, and what a user gets of it."""

import copy
import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import killing
from conftest import Rows
from ganforge.commands.evaluate import evaluate
from ganforge.commands.predict import predict
from ganforge.data.two_sides import TwoSides
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.objectives import hinge, least_squares, relativistic, vanilla, wasserstein
from ganforge.game.penalties import Penalties
from ganforge.game.pool import ImagePool
from ganforge.game.schedules import ConstantThenLinear
from ganforge.networks import PatchGAN, ResNetGenerator
from ganforge.pictures import images
from ganforge.runs import checkpoint
from ganforge.systems import CycleGAN

ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))


class TinySides(TwoSides):
    """Random pictures: three of B for two of A."""

    def __init__(self, *, n_train: int = 8, size: int = 32, batch_size: int = 2, channels=(3, 3)):
        names = dict(zip(("source_channels", "target_channels"), channels, strict=True))
        super().__init__(size=size, batch_size=batch_size, num_workers=0, seed=0, **names)
        self.n_train = n_train

    def pictures(self, split, side):
        n = {"train": self.n_train if side == "b" else 2 * self.n_train // 3}.get(split, 2)
        channels = self.channels["source_channels" if side == "a" else "target_channels"]
        rng = np.random.default_rng([len(split), ord(side)])
        return rng.integers(0, 256, (n, channels, self.size, self.size), dtype=np.uint8)

    def fingerprint(self):
        return f"{self.n_train}"


def cyclegan(channels=(3, 3), norm="instance", **options) -> CycleGAN:
    torch.manual_seed(0)
    a, b = channels
    translator = partial(ResNetGenerator, size=32, base_channels=4, depth=1, norm=norm, dropout=0.0)
    critic = partial(PatchGAN, base_channels=4, layers=2, norm=norm)
    settings = {"objective": least_squares, "pool_size": 3, "optimizer_g": ADAM, "optimizer_d": ADAM}
    schedules = dict.fromkeys(("schedule_g", "schedule_d"), ConstantThenLinear(decay_from=None))
    networks = {
        "a_to_b": translator(in_channels=a, out_channels=b),
        "b_to_a": translator(in_channels=b, out_channels=a),
        "critic_a": critic(in_channels=a),
        "critic_b": critic(in_channels=b),
    }
    return CycleGAN(**networks, **{**settings, **schedules, **options})


class PlainPool:
    """The pool as the paper's authors describe it; whether to exchange, and with which, is told."""

    def __init__(self, size: int):
        self.size, self.kept = size, []

    def __call__(self, images, drawn):
        out = []
        for image in images:
            if len(self.kept) < self.size:
                self.kept.append(image)
                out.append(image)
            elif drawn.random() < 0.5:
                place = int(drawn.integers(self.size))
                out.append(self.kept[place])
                self.kept[place] = image
            else:
                out.append(image)
        return torch.stack(out)


def test_every_step_equals_a_plain_loop_pools_included(fit):
    system = cyclegan()
    # In the memory format of a training: Adam makes much of the rounding in biases that instance norm takes out again.
    layout = {"memory_format": torch.channels_last}
    plain = {name: copy.deepcopy(getattr(system, name)).to(**layout) for name in system.network_names}
    logged, seen = Rows(system), []
    system.on_train_batch_start = lambda batch, index: seen.append(copy.deepcopy(batch))
    fit(system, TinySides(n_train=16), max_epochs=1)
    assert len(seen) == 8 and system.pools["a"].queries == 8

    g_ab, g_ba, d_a, d_b = plain.values()
    g = ADAM([*g_ab.parameters(), *g_ba.parameters()])
    d = ADAM([*d_a.parameters(), *d_b.parameters()])
    pools = {"a": PlainPool(3), "b": PlainPool(3)}
    mse, l1 = nn.MSELoss(), nn.L1Loss()
    old = 0
    for step, (batch, row) in enumerate(zip(seen, logged.rows, strict=True)):
        a, b = (batch[side].contiguous(**layout) for side in "ab")
        fake_b, fake_a = g_ab(a), g_ba(b)
        judged_b, judged_a = d_b(fake_b), d_a(fake_a)
        terms = {
            "g/adv_b": mse(judged_b, torch.ones_like(judged_b)),
            "g/adv_a": mse(judged_a, torch.ones_like(judged_a)),
            "g/cycle_a": 10 * l1(g_ba(fake_b), a),
            "g/cycle_b": 10 * l1(g_ab(fake_a), b),
            "g/identity_a": 5 * l1(g_ba(a), a),
            "g/identity_b": 5 * l1(g_ab(b), b),
        }
        g.zero_grad()
        sum(terms.values()).backward()
        g.step()
        d.zero_grad()
        for stream, (side, critic, real, fake) in enumerate((("a", d_a, a, fake_a), ("b", d_b, b, fake_b))):
            shown = pools[side](fake.detach(), np.random.default_rng([system.seed, 0, stream, step, 2]))
            old += not torch.equal(shown, fake)
            judged, faked = critic(real), critic(shown)
            loss = (mse(judged, torch.ones_like(judged)) + mse(faked, torch.zeros_like(faked))) * 0.5
            loss.backward()
            terms[f"d/adv_{side}"] = loss
        d.step()
        for name, value in terms.items():
            assert row[f"train/{name}"] == pytest.approx(value.item(), rel=1e-6, abs=1e-6), (step, name)
    assert old >= 5  # pictures of former steps were shown
    for name, network in plain.items():
        for ours, theirs in zip(getattr(system, name).parameters(), network.parameters(), strict=True):
            if ours.ndim > 1:  # instance norm takes biases out again: Adam moves them by rounding
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_how_each_critic_judges_is_logged(fit):
    system = cyclegan(pool_size=0)
    logged, seen = Rows(system), []
    note = system.judged
    system.judged = lambda side, images: seen.append((side, note(side, images))) or seen[-1][1]
    fit(system, TinySides(n_train=2))
    (row,), judged = logged.rows, seen[-4:]  # of A real and generated, then of B
    assert [side for side, _ in judged] == ["a", "a", "b", "b"]
    for side, (real, fake) in (("a", judged[:2]), ("b", judged[2:])):
        assert row[f"train/d/accuracy_real_{side}"] == pytest.approx((real[1] > 0.5).float().mean().item())
        assert row[f"train/d/accuracy_fake_{side}"] == pytest.approx((fake[1] < 0.5).float().mean().item())
        assert row[f"train/d/logit_real_{side}"] == pytest.approx(real[1].mean().item(), rel=1e-5)


def test_a_pool_keeps_all_at_first_and_then_exchanges_half():
    pool, returned = ImagePool(size=50), []
    for step in range(2050):
        image = torch.full((1, 1, 2, 2), float(step))
        returned.append(pool.query(image, seed=1).flatten()[0].item())
    assert returned[:50] == list(range(50))
    exchanged = [was for step, was in enumerate(returned) if step >= 50 and was != step]
    assert 0.46 < len(exchanged) / 2000 < 0.54
    kept = {picture.mean().item() for picture in pool.pictures}
    assert len(kept) == 50 and set(returned) | kept == set(range(2050))  # none is lost
    other = ImagePool(size=0)
    assert torch.equal(other.query(image, seed=1), image) and other.pictures == []


def test_a_pool_is_saved_and_restored_bit_for_bit():
    pool, other, rng = ImagePool(size=3), ImagePool(size=3), torch.Generator().manual_seed(0)
    batches = [torch.rand(2, 3, 4, 4, generator=rng) for _ in range(12)]
    for batch in batches[:6]:
        pool.query(batch.contiguous(memory_format=torch.channels_last), seed=1, rank=2)
    other.load_state_dict(pool.state_dict(), torch.device("cpu"))
    for batch in batches[6:]:
        assert torch.equal(pool.query(batch, seed=1, rank=2), other.query(batch, seed=1, rank=2))
    with pytest.raises(ValueError, match="3 pictures for a pool of 2"):
        ImagePool(size=2).load_state_dict(pool.state_dict(), torch.device("cpu"))
    with pytest.raises(ValueError, match=r"pictures \[1, 4, 4\] for a pool of \[3, 4, 4\]"):
        pool.query(batch[:, :1], seed=1)


def test_it_is_resumed_bit_for_bit_with_its_pools(fit, tmp_path):
    options = {"ema_half_life": 20}
    whole, stopped, resumed = (cyclegan(**options) for _ in range(3))
    rows = [Rows(system) for system in (whole, stopped, resumed)]
    fit(whole, TinySides(n_train=10), max_epochs=3, every=3)
    stopped.on_train_batch_end = lambda outputs, batch, index: (
        stopped.trainer.save_checkpoint(tmp_path / "x.ckpt") if stopped.images_seen == 14 else None
    )
    fit(stopped, TinySides(n_train=10), max_epochs=3, every=3)
    fit(resumed, TinySides(n_train=10), max_epochs=3, every=3, ckpt_path=tmp_path / "x.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert rows[2].rows == rows[0].rows[-len(rows[2].rows) :]
    for side, pool in whole.pools.items():
        assert pool.queries == resumed.pools[side].queries == 15
        assert all(map(torch.equal, pool.pictures, resumed.pools[side].pictures))


def test_sides_of_different_channels_have_no_identity_term_and_it_says_so(fit, capsys):
    system = cyclegan((1, 3), pool_size=50)
    logged = Rows(system)
    fit(system, TinySides(channels=(1, 3)))
    assert "no identity term: A and B have 1 and 3 channels" in capsys.readouterr().out
    assert not any("identity" in name for name in logged.rows[0]) and "train/g/cycle_a" in logged.rows[0]
    off = cyclegan(identity_weight=0.0)
    logged = Rows(off)
    fit(off, TinySides())
    assert not any("identity" in name for name in logged.rows[0])


@pytest.mark.parametrize("objective", [vanilla, hinge, relativistic, wasserstein])
def test_other_objectives_and_penalties(fit, objective):
    system = cyclegan(objective=objective, penalties=Penalties(wgan_gp=10.0, r1=0.5))
    logged = Rows(system)
    fit(system, TinySides())
    named = {"train/d/r1_a", "train/d/r1_b", "train/d/wgan_gp_a", "train/d/wgan_gp_b"}
    assert named <= logged.rows[-1].keys() and all(np.isfinite(list(logged.rows[-1].values())))
    assert system.differentiated_twice == {"critic_a", "critic_b"}


def test_each_player_moves_its_own_networks(fit):
    system, moves = cyclegan(accumulate=2), []
    move = system._move

    def watched(player, *arguments):
        before = {name: copy.deepcopy(getattr(system, name).state_dict()) for name in system.network_names}
        bad = move(player, *arguments)
        after = {name: getattr(system, name).state_dict() for name in system.network_names}
        same = {name: all(map(torch.equal, before[name].values(), after[name].values())) for name in before}
        moves.append((player.name, [name for name in same if not same[name]]))
        return bad

    system._move = watched
    fit(system, TinySides(n_train=8))
    assert moves == [("g", ["a_to_b", "b_to_a"]), ("d", ["critic_a", "critic_b"])] * 2


def test_accumulating_two_batches_equals_one_of_twice_the_size_without_pools(fit):
    results = []
    for batch_size, accumulate in ((8, 1), (4, 2)):
        sgd = dict.fromkeys(("optimizer_g", "optimizer_d"), partial(torch.optim.SGD, lr=0.1))
        system = cyclegan(accumulate=accumulate, pool_size=0, **sgd).double()  # instance norm amplifies rounding
        fit(system, TinySides(n_train=16, batch_size=batch_size), precision="64-true")
        results.append(system.state_dict())
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_pairs_are_refused_with_what_fits(configured):
    with pytest.raises(
        UserError, match=r"model=cyclegan needs unpaired data, .*use data=coloured_digits or data=unpair"
    ):
        run(configured(["model=cyclegan", "data=lattice"]))


def settings(folders, *more: str) -> list[str]:
    return [*killing.overrides("unpaired", folders), "data.num_workers=0", "trainer.max_epochs=1", *more]


def test_the_whole_way_to_pictures_of_either_direction(configured, folders, tmp_path):
    run(configured(settings(folders, "data.source_channels=1")))
    results = json.loads((tmp_path / "run/results.json").read_text())
    # Every file of testA has its namesake in testB.
    for key in ("test/psnr", "BtoA/psnr", "floor/psnr", "floor/BtoA/psnr", "baseline/histogram/psnr", "floor/swd"):
        assert np.isfinite(results[key]), key
    picture = folders / "unpaired/testA/3.png"
    found = {}
    for direction, channels in (("AtoB", 3), ("BtoA", 1)):
        predict(tmp_path / "run", [picture], tmp_path / direction, direction=direction)
        found[direction] = images.read(tmp_path / direction / "3.png", 3)
        assert found[direction].shape == (40, 36, 3)
        grey = bool((found[direction] == found[direction][..., :1]).all())
        assert grey == (channels == 1)
    with pytest.raises(UserError, match="has no output CtoA; choose one of AtoB, BtoA"):
        predict(tmp_path / "run", [picture], tmp_path / "none", direction="CtoA")


@pytest.mark.slow
def test_other_networks_train_both_ways_and_a_mixture_that_cannot_is_one_sentence(configured, folders, tmp_path):
    unet = ["model/generator@model.a_to_b=unet", "model.a_to_b.depth=3"]
    run(configured(settings(folders, *unet, "model.penalties.r1=0.5", "model/objective=vanilla")))
    networks = checkpoint.load(tmp_path / "run")["ganforge"]["networks"]
    assert [network["_target_"] for network in networks.values()] == ["ganforge.networks.UNet"] * 2
    config = configured(settings(folders, *unet, "model/generator@model.b_to_a=resnet"), "mixed")
    with pytest.raises(UserError, match=r"generator@model\.b_to_a=resnet does not fit .* use .*b_to_a=unet"):
        run(config)


@pytest.mark.slow
def test_blurred_networks_are_loaded_from_a_checkpoint(configured, folders, tmp_path):
    blurred = [f"model.{name}.downsample=blur" for name in ("a_to_b", "critic_a")]
    run(configured(settings(folders, *blurred, "model.a_to_b.upsample=blur", "model.ema_half_life=10")))
    predict(tmp_path / "run", [folders / "unpaired/testA/3.png"], tmp_path / "out", direction="BtoA")
    assert (tmp_path / "out/3.png").is_file()


def test_a_critic_that_takes_no_such_pictures_is_refused_by_name(configured, folders):
    config = configured(settings(folders, "model.critic_a.layers=6"))
    with pytest.raises(UserError, match=r"^model\.critic_a: PatchGAN takes no such pictures .* 32×32 px; a larg"):
        run(config)


def test_a_run_is_evaluated_again(configured, folders, tmp_path):
    run(configured(settings(folders)))
    before = json.loads((tmp_path / "run/results.json").read_text())
    assert evaluate(tmp_path / "run")["test/psnr"] == pytest.approx(before["test/psnr"], rel=1e-4)


BREAKS = {
    "more pictures than the pool holds": lambda pool: pool.update(pictures=torch.zeros(9, 3, 32, 32)),
    "pictures of another size": lambda pool: pool.update(pictures=torch.zeros(2, 3, 16, 16)),
    "pictures of other channels": lambda pool: pool.update(pictures=torch.zeros(2, 1, 32, 32)),
    "whole numbers": lambda pool: pool.update(pictures=torch.zeros(2, 3, 32, 32, dtype=torch.int64)),
    "too few axes": lambda pool: pool.update(pictures=torch.zeros(2, 3)),
    "a word": lambda pool: pool.update(pictures="all"),
    "a count that is none": lambda pool: pool.update(queries=-1),
    "no count": lambda pool: pool.pop("queries"),
}


@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS)
def test_a_checkpoint_whose_pools_were_changed_is_refused_by_name(configured, folders, tmp_path, broken):
    run(configured(settings(folders, "model.pool_size=5")))
    last = tmp_path / "run/checkpoints/last.ckpt"
    contents = torch.load(last, weights_only=True)
    assert len(contents["ganforge_state"][0]["pools"]["b"]["pictures"]) == 5
    BREAKS[broken](contents["ganforge_state"][0]["pools"]["b"])
    torch.save(contents, tmp_path / "changed.ckpt")
    longer = [f"ckpt_path={tmp_path / 'changed.ckpt'}", "trainer.max_epochs=2", "model.pool_size=5"]
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "changed.ckpt"))):
        run(configured(settings(folders, *longer, "resume=force"), "again"))


def test_pools_of_another_model_are_refused(fit, tmp_path):
    system = cyclegan()
    fit(system, TinySides())
    system.trainer.save_checkpoint(tmp_path / "x.ckpt")
    assert checkpoint.COUNTERS  # a card was written
    other = cyclegan()
    other.pools = {}
    with pytest.raises(ValueError, match=r"pools \['a', 'b'\] for a model with \[\]"):
        fit(other, TinySides(), max_epochs=2, ckpt_path=tmp_path / "x.ckpt")


@pytest.mark.slow
def test_a_training_that_is_killed_ends_bit_for_bit_as_if_it_had_not_been(folders, tmp_path):
    """With the default data workers."""
    overrides = killing.overrides("unpaired", folders)
    _, seconds = killing.stopped_until_it_ends(tmp_path / "whole", [*overrides, "data.num_workers=0"])
    sent, _ = killing.stopped_until_it_ends(tmp_path / "killed", overrides, seed=1, longest=0.6 * seconds)
    assert sent.total() >= 1
    killing.same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_other_networks_are_not_resumed_even_by_force(configured, folders, tmp_path):
    run(configured(settings(folders)))
    other = [f"ckpt_path={tmp_path / 'run'}", "model.critic_a.layers=2", "trainer.max_epochs=2", "resume=force"]
    with pytest.raises(UserError, match=r"cannot be resumed with other networks: model\.critic_a\.layers=2 but 3"):
        run(configured(settings(folders, *other), "again"))
