"""CUT and FastCUT: their game against a plain loop, what is contrasted where, what is resumed, what a user gets."""

import copy
import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import killing
from conftest import Rows
from ganforge.commands.predict import predict
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.contrastive import drawn_places, mirrored, patch_nce, patches_at
from ganforge.game.objectives import hinge, least_squares, relativistic, vanilla, wasserstein
from ganforge.game.penalties import Penalties
from ganforge.game.schedules import ConstantThenLinear
from ganforge.networks import PatchGAN, ResNetGenerator, UNet
from ganforge.pictures import images
from ganforge.runs import checkpoint
from ganforge.systems import CUT
from test_cyclegan import ADAM, TinySides

RATE = 1e-5  # the first gradients are large: heads begin with short vectors
SGD = partial(torch.optim.SGD, lr=RATE)
LAYERS = ["input", "down1", "down2", "block1"]


def cut(norm="instance", channels=(3, 3), **options) -> CUT:
    torch.manual_seed(0)
    settings = {"objective": least_squares, "optimizer_g": ADAM, "optimizer_d": ADAM, "nce_layers": LAYERS}
    schedules = dict.fromkeys(("schedule_g", "schedule_d"), ConstantThenLinear(decay_from=None))
    blurred = {"norm": norm, "downsample": "blur", "initial": "xavier", "base_channels": 4}
    ends = dict(zip(("in_channels", "out_channels"), channels, strict=True))
    generator = ResNetGenerator(**ends, size=32, depth=1, dropout=0.0, upsample="blur", **blurred)
    discriminator = PatchGAN(in_channels=channels[1], layers=2, **blurred)
    numbers = {"patches": 20, "heads_width": 8}
    networks = {"generator": generator, "discriminator": discriminator}
    return CUT(**{**networks, **settings, **schedules, **numbers, **options})


def plain_nce(system: CUT, heads, layers, source, translation, places, flips: bool) -> torch.Tensor:
    """The contrast as the paper's authors compute it: one picture, a layer after the other, -10 on the diagonal."""
    losses = []
    for name, keys, queries in zip(system.nce_layers, layers(source), layers(translation), strict=True):
        queries = queries.flip(-1) if flips else queries
        own = [f.permute(0, 2, 3, 1).flatten(1, 2)[0, places[name]] for f in (queries, keys)]
        q, k = (heads[name](patches) for patches in own)
        q, k = (x / (x.norm(dim=1, keepdim=True) + 1e-7) for x in (q, k))
        k = k.detach()
        others = (q @ k.T).masked_fill(torch.eye(len(q), dtype=torch.bool), -10.0)
        logits = torch.cat([(q * k).sum(1, keepdim=True), others], dim=1) / 0.07
        losses.append(functional.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("fast", "batch_size"), [(False, 1), (False, 2), (True, 2)])
def test_a_step_on_given_weights_equals_a_plain_loop(fit, fast, batch_size):
    options = {"nce_weight": 10.0, "identity_nce": False, "flip_equivariance": True} if fast else {}
    system = cut(optimizer_g=SGD, optimizer_d=SGD, **options)
    logged, seen = Rows(system), []
    system.on_train_batch_start = lambda batch, index: seen.append(copy.deepcopy([batch, *of(system).values()]))
    fit(system, TinySides(n_train=8 * batch_size, batch_size=batch_size), max_epochs=1)
    seen.append([None, *of(system).values()])
    mse, turned = nn.MSELoss(), 0
    for step, row in enumerate(logged.rows):
        batch, g, heads, d = seen[step]
        heads, after = heads.layers, seen[step + 1]
        drawn = np.random.default_rng([system.seed, batch_size * step, 3])
        flips = fast and drawn.random() < 0.5
        turned += flips
        sizes = {"input": (38, 38), "down1": (32, 32), "down2": (16, 16), "block1": (8, 8)}
        sides = ("a",) if fast else ("a", "b")
        places = {side: {name: drawn_places(drawn, size, 20) for name, size in sizes.items()} for side in sides}
        drawings = {side: g(batch[side].flip(-1) if flips else batch[side]) for side in sides}
        fake = drawings["a"]
        real_logits, fake_logits = d(batch["b"]), d(fake.detach())
        loss = (mse(real_logits, torch.ones_like(real_logits)) + mse(fake_logits, torch.zeros_like(fake_logits))) * 0.5
        judged = after[3](fake)  # by the discriminator after its move
        terms = {"d/adv": loss, "g/adv": mse(judged, torch.ones_like(judged))}
        for side in sides:
            pictures = zip(batch[side].split(1), drawings[side].split(1), strict=True)
            layers = partial(plain_layers, g)
            contrast = [plain_nce(system, heads, layers, *pair, places[side], flips) for pair in pictures]
            terms[f"g/nce_{side}"] = (10.0 if fast else 0.5) * sum(contrast) / len(contrast)
        for name, value in terms.items():
            assert row[f"train/{name}"] == pytest.approx(value.item(), rel=1e-6, abs=1e-6), (step, name)
        moved = sum(term for name, term in terms.items() if name.startswith("g/"))
        for total, network, then in ((moved, g, after[1]), (moved, heads, after[2].layers), (loss, d, after[3])):
            slopes = torch.autograd.grad(total, list(network.parameters()), retain_graph=True)
            steps = [(p - q) / RATE for p, q in zip(network.parameters(), then.parameters(), strict=True)]
            wrong, whole = (torch.cat([x.flatten() for x in xs]).norm() for xs in (
                [x - y for x, y in zip(slopes, steps, strict=True)], slopes))  # fmt: skip
            rounding = 1e-7 * torch.cat([p.flatten() for p in network.parameters()]).norm() / RATE
            assert wrong < 5e-2 * whole + 2 * rounding, (step, type(network))
    assert 0 < turned < 8 if fast else turned == 0


def of(system: CUT) -> dict[str, nn.Module]:
    return {name: getattr(system, name) for name in ("generator", "heads", "discriminator")}


def plain_layers(g: ResNetGenerator, pictures: torch.Tensor) -> list[torch.Tensor]:
    """The padded pictures, both convolutions that make them smaller, the first block: by their places in the chain."""
    found, x = [], pictures
    for place, layer in enumerate(g.layers[:13]):
        x = layer(x)
        found += [x] if place in (0, 4, 8, 12) else []
    return found


def test_each_player_moves_its_own_networks_and_the_heads_are_the_generators(fit, tmp_path):
    system, moves = cut(), []
    move = system._move

    def watched(player, *arguments):
        before = {name: copy.deepcopy(getattr(system, name).state_dict()) for name in system.network_names}
        bad = move(player, *arguments)
        after = {name: getattr(system, name).state_dict() for name in system.network_names}
        same = {name: all(map(torch.equal, before[name].values(), after[name].values())) for name in before}
        moves.append((player.name, [name for name in same if not same[name]]))
        return bad

    system._move = watched
    trainer = fit(system, TinySides(n_train=4))
    assert moves == [("d", ["discriminator"]), ("g", ["generator", "heads"])] * 2
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    saved = torch.load(tmp_path / "x.ckpt", weights_only=True)
    for name in LAYERS:  # before the first step, and in the file
        weights = f"heads.layers.{name}.0.weight"
        assert weights in cut().state_dict() and torch.equal(saved["state_dict"][weights], system.state_dict()[weights])
    moments = saved["optimizer_states"][1]["state"]
    assert len(moments) == len(list(system.generator.parameters())) + len(list(system.heads.parameters()))


def test_layers_are_named_whatever_lies_between_them():
    for upsample, downsample, sizes in (("transposed", "strided", (16, 8)), ("blur", "blur", (32, 16))):
        network = ResNetGenerator(
            in_channels=3, out_channels=1, size=32, base_channels=4, depth=2, upsample=upsample, downsample=downsample
        ).eval()
        picture = torch.rand(1, 3, 32, 32)
        shapes = {name: tuple(f.shape[1:]) for name, f in network.features(picture, network.feature_channels).items()}
        assert shapes == {
            "input": (3, 38, 38),
            "down1": (8, sizes[0], sizes[0]),
            "down2": (16, sizes[1], sizes[1]),
            "block1": (16, 8, 8),
            "block2": (16, 8, 8),
            "output": (1, 32, 32),
        }
        assert {name: shape[0] for name, shape in shapes.items()} == network.feature_channels
        assert torch.equal(network.features(picture, ["output", "down1"])["output"], network(picture))
        assert list(network.features(picture, ["down2"])) == ["down2"]
    odd = torch.rand(1, 3, 30, 33)
    assert network(odd).shape == network.features(odd, ["output"])["output"].shape == (1, 1, 30, 33)


def test_places_are_different_ones_and_their_mirror_images():
    places = drawn_places(np.random.default_rng(0), (9, 7), 50)
    assert len(set(places.tolist())) == 50 and places.max() < 63
    assert sorted(drawn_places(np.random.default_rng(0), (3, 2), 50)) == list(range(6))
    maps = torch.rand(4, 5, 9, 7)
    both = torch.from_numpy(np.stack([places, places[::-1].copy()]))
    found = patches_at(maps, both)
    assert found.shape == (4, 50, 5)
    assert torch.equal(found[3, 4], maps[3, :, both[1, 4] // 7, both[1, 4] % 7])
    assert torch.equal(patches_at(maps.flip(-1), mirrored(both, 7)), found)


def test_contrast_by_hand():
    keys = torch.eye(3)[None]
    assert patch_nce(keys, keys, 1.0).item() == pytest.approx(np.log(np.e + 2) - 1)
    assert patch_nce(keys[:, [1, 0, 2]], keys, 1.0).item() == pytest.approx((3 * np.log(np.e + 2) - 1) / 3)
    queries, keys = (functional.normalize(torch.randn(2, 5, 4), dim=-1).requires_grad_() for _ in range(2))
    patch_nce(queries, keys).sum().backward()
    assert queries.grad.abs().sum() > 0 and keys.grad is None  # the sources are data


@pytest.mark.parametrize("objective", [vanilla, hinge, relativistic, wasserstein])
def test_other_objectives_and_penalties(fit, objective):
    system = cut(objective=objective, penalties=Penalties(wgan_gp=10.0, r1=0.5), ema_half_life=20)
    logged = Rows(system)
    fit(system, TinySides())
    assert {"train/d/r1", "train/d/wgan_gp", "train/g/nce_b"} <= logged.rows[-1].keys()
    assert all(np.isfinite(list(logged.rows[-1].values()))) and system.differentiated_twice == {"discriminator"}


def test_without_contrast_it_is_a_plain_gan(fit):
    system = cut(nce_weight=0.0)
    logged = Rows(system)
    fit(system, TinySides(n_train=4))
    assert not any("nce" in name for name in logged.rows[0]) and not list(system.heads.parameters())


def test_accumulating_two_batches_equals_one_of_twice_the_size(fit):
    results = []
    for batch_size, accumulate in ((4, 1), (2, 2)):
        system = cut(accumulate=accumulate, optimizer_g=SGD, optimizer_d=SGD).double()
        system.with_latents = lambda batch: {**batch, "moment": np.asarray(0)}  # the same places
        fit(system, TinySides(n_train=8, batch_size=batch_size), precision="64-true")
        results.append(system.state_dict())
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-5, atol=1e-8)


def test_it_is_resumed_bit_for_bit(fit, tmp_path):
    options = {"ema_half_life": 20, "flip_equivariance": True, "accumulate": 2}
    whole, stopped, resumed = (cut(**options) for _ in range(3))
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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"nce_layers": ["block1", "block5"]},
            r"ResNetGenerator has no block5; choose of input, down1, down2, block1, o",
        ),
        ({"nce_layers": []}, r"model\.nce_layers=\[\]: one or more, each once"),
        ({"nce_layers": ["down1", "down1"]}, "one or more, each once"),
        (
            {"channels": (1, 3)},
            r"data\.source_channels=1, data\.target_channels=3: this model encodes its translations",
        ),
        ({"patches": 1}, r"model\.patches=1: 2 or more"),
        ({"temperature": 0}, r"model\.temperature=0: above 0"),
        ({"nce_weight": -1.0}, r"model\.nce_weight=-1\.0: 0 or more"),
        ({"heads_width": 0}, r"model\.heads_width=0: 1 or more"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        cut(**options)


def settings(folders, *more: str) -> list[str]:
    return [*killing.overrides("cut", folders), "data.num_workers=0", "trainer.max_epochs=1", *more]


def test_the_whole_way_to_pictures(configured, folders, tmp_path):
    run(configured(settings(folders)))
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert np.isfinite(results["test/psnr"]) and np.isfinite(results["floor/psnr"])
    assert not any(key.startswith(("BtoA/", "floor/BtoA")) for key in results)  # it goes one way
    assert list(checkpoint.load(tmp_path / "run")["ganforge"]["outputs"]) == ["AtoB"]
    picture = folders / "unpaired/testA/3.png"
    predict(tmp_path / "run", [picture], tmp_path / "AtoB", direction="AtoB")
    assert images.read(tmp_path / "AtoB/3.png", 3).shape == (40, 36, 3)
    with pytest.raises(UserError, match=r"has no output BtoA; choose one of AtoB$"):
        predict(tmp_path / "run", [picture], tmp_path / "none", direction="BtoA")
    grid = images.read(next((tmp_path / "run/samples").glob("images_*.png")), 3)
    assert grid.shape[1] // (32 + 4) == 4  # A, A to B, B, and what becomes of B


def test_a_generator_that_does_not_name_its_layers_is_refused_with_one_that_does():
    unet = UNet(in_channels=3, out_channels=3, size=32, base_channels=4)
    with pytest.raises(UserError, match=r"model\.generator: UNet does not name its layers.*use model/generator=resnet"):
        cut(generator=unet)


def test_the_recipes_of_the_paper(configured):
    data = ["data=unpaired", "data.root=x"]
    config = configured(["model=cut", *data])
    model = config.model
    assert (model.nce_weight, model.identity_nce, model.flip_equivariance, model.patches) == (1, True, False, 256)
    assert (model.schedule_g.decay_from, config.data.jitter_until, config.trainer.max_epochs) == (0.5, 0.5, 400)
    assert model.generator.upsample == model.generator.downsample == model.discriminator.downsample == "blur"
    config = configured(["model=fastcut", *data])
    model = config.model
    assert (model.nce_weight, model.identity_nce, model.flip_equivariance) == (10, False, True)
    assert (model.schedule_g.decay_from, config.data.jitter_until, config.trainer.max_epochs) == (0.75, 0.75, 200)
    assert model.schedule_d.decay_from == 0.75
    config = configured(["model=cyclegan", *data])
    assert config.data.jitter_until is None


@pytest.mark.slow
def test_a_training_that_is_killed_ends_bit_for_bit_as_if_it_had_not_been(folders, tmp_path):
    """With the default data workers; the pictures are no longer cut at random from the middle on."""
    overrides = killing.overrides("cut", folders)
    _, seconds = killing.stopped_until_it_ends(tmp_path / "whole", [*overrides, "data.num_workers=0"])
    sent, _ = killing.stopped_until_it_ends(tmp_path / "killed", overrides, seed=1, longest=0.6 * seconds)
    assert sent.total() >= 1
    killing.same(tmp_path / "whole", tmp_path / "killed")
