"""`init_from=`: weights alone, onto other data and settings; and layers of the discriminator that keep theirs."""

import os
import shutil
import signal
import subprocess
import sys
from functools import partial

import pytest
import torch

import killing
from conftest import ROOT, TINY_PIX2PIX, TinyPairs, overrides_for, overrides_for_model
from ganforge.callbacks import Interrupt, Interrupted
from ganforge.errors import UserError
from ganforge.experiment import build, run
from ganforge.networks import DCGANDiscriminator, MLPDiscriminator, PatchGAN, R3GANDiscriminator
from ganforge.networks.layers import layers_of
from ganforge.runs import checkpoint
from ganforge.systems import LatentGAN
from test_adversarial import pix2pix
from test_latent import images, latent_gan

OTHER = ["model.optimizer_d.lr=1e-3", "model.objective.path=ganforge.game.objectives.hinge", "seed=3"]


@pytest.fixture
def settings(folders):
    """A tiny DCGAN with a moving average, on pictures of 32 px."""
    return [*overrides_for_model("dcgan"), *overrides_for("image_folder", folders), "data.n_val=4", "data.n_test=4"]


@pytest.fixture
def source(configured, settings, tmp_path):
    """A run that others begin from."""
    run(configured([*settings, "trainer.max_epochs=2"], "source"))
    return tmp_path / "source"


def built(config):
    return build(config, Interrupt(path="last.ckpt")).model


def floating(state) -> dict:
    return {name: value.clone() for name, value in state.items() if value.is_floating_point()}


@pytest.mark.parametrize("how", ["run", "checkpoints", "best.ckpt", "last.ckpt", "relative"])
def test_a_training_begins_with_the_weights_alone(configured, settings, source, tmp_path, monkeypatch, capsys, how):
    monkeypatch.chdir(tmp_path)
    folder = source / "checkpoints"
    given = {"run": source, "checkpoints": folder, "relative": "source"}.get(how, folder / how)
    capsys.readouterr()
    model = built(configured([*settings, *OTHER, f"init_from={given}"]))
    contents = checkpoint.load(folder / ("last.ckpt" if how == "last.ckpt" else "best.ckpt"))
    theirs = contents["state_dict"]
    assert any(name.startswith("generator_ema.") for name in theirs)
    for name, value in floating(model.state_dict()).items():
        assert torch.equal(value, theirs[name]), name
    assert model.images_seen == model.turns == 0 and set(model.updates.values()) == {0}
    assert model.card["initial_weights"]["images_seen"] == contents["ganforge"]["images_seen"] > 0
    assert model.card["config"]["init_from"] == str(given)
    said = capsys.readouterr().out
    assert "init_from: " in said and "did not match" not in said
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_what_does_not_match_is_named_and_begins_anew(configured, settings, source, capsys):
    grey = [*settings, *OTHER, "data.channels=1"]
    fresh = floating(built(configured(grey)).state_dict())
    capsys.readouterr()
    begun = floating(built(configured([*grey, f"init_from={source}"], "begun")).state_dict())
    theirs = checkpoint.load(source)["state_dict"]
    different = [name for name in begun if not torch.equal(begun[name], theirs.get(name, torch.zeros(0)))]
    first, last = "discriminator.features.0.weight", [n for n in begun if n.startswith("generator.layers")][-2:]
    assert set(different) == {first, *last, *(name.replace("generator", "generator_ema") for name in last)}
    for name in different:
        assert torch.equal(begun[name], fresh[name]), name
    said = capsys.readouterr().out
    named = "; 3 did not match by name or shape and begin anew: "
    assert named in said
    assert set(said.split(named)[1].splitlines()[0].split(", ")) == {first, *last}


def test_an_average_that_is_not_there_begins_as_the_network(configured, settings, tmp_path):
    run(configured([*settings, "model.ema_half_life=null"], "source"))
    model = built(configured([*settings, f"init_from={tmp_path / 'source'}"]))
    theirs = checkpoint.load(tmp_path / "source")["state_dict"]
    for name, value in floating(model.state_dict()).items():
        assert torch.equal(value, theirs[name.replace("generator_ema", "generator")]), name


@pytest.mark.slow
def test_a_resumed_run_ends_where_the_whole_one_does(configured, settings, source, tmp_path, monkeypatch):
    """It does not need what it began from any more."""
    settings = [*settings, f"init_from={source}", "model.freeze_d=1", "trainer.max_epochs=3"]
    run(configured(settings, "whole"))
    step = LatentGAN.training_step

    def stopping(self, batch, index):
        step(self, batch, index)
        if self.images_seen == 6:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(LatentGAN, "training_step", stopping)
    with pytest.raises(Interrupted):
        run(configured(settings))
    monkeypatch.undo()
    theirs = checkpoint.load(source)["state_dict"]
    shutil.rmtree(source)
    run(configured([*settings, "resume=true"]))
    killing.same(tmp_path / "whole", tmp_path / "run")
    contents = checkpoint.load(tmp_path / "run/checkpoints/last.ckpt")
    frozen = "discriminator.features.0.weight"
    assert torch.equal(contents["state_dict"][frozen], theirs[frozen])
    assert contents["ganforge"]["initial_weights"]["path"] == str(source / "checkpoints/best.ckpt")
    # Going on elsewhere keeps it on record.
    shorter = [setting for setting in settings if not setting.startswith("init_from")]
    run(configured([*shorter, "trainer.max_epochs=4", f"ckpt_path={tmp_path / 'run'}"], "elsewhere"))
    card = checkpoint.load(tmp_path / "elsewhere/checkpoints/last.ckpt")["ganforge"]
    assert card["initial_weights"] == contents["ganforge"]["initial_weights"]


def spoiled(path, to, change):
    contents = torch.load(path, weights_only=True)
    change(contents["state_dict"])
    torch.save(contents, to)


@pytest.mark.slow
def test_what_cannot_be_begun_with_is_one_sentence(configured, settings, source, tmp_path):
    good, bad = source / "checkpoints/best.ckpt", tmp_path / "bad.ckpt"

    def refused(message, given, *more):
        with pytest.raises(UserError, match=message) as error:
            build(configured([*settings, f"init_from={given}", *more]), Interrupt(path="last.ckpt"))
        assert "\n" not in str(error.value) and len(str(error.value)) < 600

    refused(r"init_from=absent: \S+absent: no such file or folder", "absent")
    (tmp_path / "empty").mkdir()
    refused(r"init_from=\S+empty: \S+empty: no checkpoint in", tmp_path / "empty")
    refused(
        r"init_from=\S+ begins .*, and ckpt_path=\S+ goes on .*; give one of the two", source, f"ckpt_path={source}"
    )
    spoiled(good, bad, lambda state: state["discriminator.head.linear.bias"].fill_(float("nan")))
    refused(r"bad\.ckpt: its weights are not finite.*discriminator\.head\.linear\.bias.*give another", bad)
    spoiled(good, bad, lambda state: state.clear())
    refused(r"init_from=\S+bad\.ckpt: none of its tensors has the name and shape of .* such as generator\.", bad)
    spoiled(good, bad, lambda state: state.update({name: "x" for name in state}))
    refused(r"none of its tensors", bad)
    torch.save({"weights": torch.zeros(3)}, bad)
    refused(r"bad\.ckpt: is a file of another program", bad)
    bad.write_bytes(good.read_bytes()[:5000])
    refused(r"bad\.ckpt: cannot be read", bad)
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.slow
def test_a_relative_path_holds_in_the_jobs_of_a_sweep(settings, source, tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), "-m", *settings, "init_from=source", "seed=5"]
    command += ["hydra.sweep.dir=sweep", "callbacks.progress.refresh_rate=0"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    (last,) = tmp_path.glob("sweep/*/checkpoints/last.ckpt")
    said = checkpoint.load(last)["ganforge"]["initial_weights"]
    assert said["path"] == str(source / "checkpoints/best.ckpt") and said["not_matched"] == 0


def moved(system, fit, data) -> set[str]:
    before = floating(dict(system.named_parameters()))
    fit(system, data)
    return {name for name, value in system.named_parameters() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize(
    "options",
    [{}, {"clip_weights": 0.01}, {"unroll_steps": 2}, {"accumulate": 2}],
    ids=["plain", "clipped", "unrolled", "accumulated"],
)
def test_frozen_layers_keep_their_weights_and_no_others(fit, count, options):
    system = latent_gan(freeze_d=count, optimizer=partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1), **options)
    frozen = {"features.0.weight", "features.0.bias"} if count else set()
    frozen |= {"features.2.weight", "features.3.weight", "features.3.bias"} if count == 2 else set()
    found = moved(system, fit, images())
    every = {f"discriminator.{name}" for name, _ in system.discriminator.named_parameters()}
    assert {name for name in found if name.startswith("discriminator.")} == every - {
        f"discriminator.{n}" for n in frozen
    }
    assert any(name.startswith("generator.") for name in found)


def test_frozen_layers_of_pix2pix(fit):
    found = moved(pix2pix(freeze_d=1), fit, TinyPairs())
    assert not any(name.startswith("discriminator.layers.0.") for name in found)
    assert any(name.startswith("discriminator.layers.2.") for name in found)


def test_the_unrolled_discriminator_leaves_frozen_layers_too():
    """What the generator looks ahead at is the discriminator as it will be."""
    system = latent_gan(freeze_d=2, unroll_steps=3, unroll_rate=10.0)
    system.trainer = None
    z = torch.randn(4, 4)
    batch = {"image": torch.rand(4, 1, 16, 16) * 2 - 1, "z": z}
    seen = []
    layer = system.discriminator.features[2]
    layer.register_forward_hook(lambda module, inputs, output: seen.append(module.weight.detach().clone()))
    critic = system._unrolled(batch, system.generate(batch)["fake"])
    critic(batch["image"], None)
    assert len(seen) > 3 and all(torch.equal(weight, system.discriminator.features[2].weight) for weight in seen)


def test_too_many_frozen_layers_are_refused():
    for count in (-1, 3, 1.5):
        with pytest.raises(UserError, match=rf"model\.freeze_d={count}: 0 to 2 of the 3 layers"):
            latent_gan(freeze_d=count)


@pytest.mark.parametrize(
    "network",
    [
        partial(DCGANDiscriminator, in_channels=1, size=32, hidden=8, n_classes=3),
        partial(DCGANDiscriminator, in_channels=1, size=32, spectral_norm=True),
        partial(MLPDiscriminator, in_channels=1, size=32, widths=[8, 8], n_classes=3),
        partial(R3GANDiscriminator, in_channels=1, size=32, widths=[16, 32, 16, 16]),
        partial(PatchGAN, in_channels=1, base_channels=4),
    ],
)
def test_layers_are_counted_from_the_images_on(network):
    """In the order in which they are computed, and each parameter once."""
    network = network()
    order = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda module, *_: order.append({id(p) for p in module.parameters()}))
    classes = getattr(getattr(network, "head", None), "embedding", None) is not None
    network(torch.rand(2, 1, 32, 32), *([torch.tensor([0, 1])] if classes else []))
    layers = layers_of(network)
    assert len(layers) == len(order)
    for layer, computed in zip(layers, order, strict=True):
        assert computed <= {id(parameter) for parameter in layer}
    found = [id(parameter) for layer in layers for parameter in layer]
    assert len({*found}) == len(list(network.parameters()))


@pytest.mark.slow
def test_pairs_begin_from_other_pairs(configured, folders, tmp_path):
    pairs = [*overrides_for("pairs", folders), *TINY_PIX2PIX, "model.generator.depth=3"]
    run(configured(pairs, "source"))
    model = built(configured([*pairs, "seed=4", "data.direction=BtoA", f"init_from={tmp_path / 'source'}"]))
    theirs = checkpoint.load(tmp_path / "source")["state_dict"]
    for name, value in floating(model.state_dict()).items():
        assert torch.equal(value, theirs[name]), name
