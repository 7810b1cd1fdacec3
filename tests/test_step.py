"""A training step does not wait for the device: nothing is read on the host between two logged rows."""

import traceback
from collections import Counter

import hydra
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ganforge.settings  # noqa: F401  the resolvers of conf/
from conftest import ROOT, TinyImages, TinyPairs, overrides_for_model
from test_cyclegan import TinySides

MODELS = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml") if path.stem != "stargan")  # of domains
VARIANTS = {
    "ada": ("dcgan", ["model/augment=ada"]),
    "diff": ("dcgan", ["model/augment=diff"]),
    "accumulated": ("dcgan", ["model.accumulate=2", "model.clip_d=1"]),
    "penalties": ("hinge", ["model.penalties={r1: 1, r2: 1, wgan_gp: 1, dragan: 1, every: 2}"]),
    "stabilizers": ("sngan", ["model.input_noise.std=0.1", "model.label_flip=0.1", "model.discriminator.dropout=0.2"]),
    "skip": ("pix2pix", ["model.on_nonfinite=skip", "model.ema_half_life=20", "model.clip_g=1"]),
    "terms": (
        "pix2pix",
        [
            *("model/discriminator=multiscale", "model.discriminator.scales=2", "model.discriminator.layers=1"),
            "model/terms=[feature_matching]",
        ],
    ),
    "adamw": ("pix2pix", ["model/optimizer=adamw"]),
}
READING = ("tolist", "numpy", "cpu", "item", "__bool__", "__float__", "__int__", "__index__", "nonzero")


class HostReads(TorchDispatchMode):
    """Counts what would make the host wait for a device; torch's own counters of steps are left out."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        # Of index_select the second argument is an axis, of index_put the places.
        places = arguments[1] if name.startswith(("index", "_index")) and not isinstance(arguments[1], int) else ()
        masks = any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in places or ())
        if name in ("_local_scalar_dense", "nonzero", "masked_select") or masks:
            self.note(name)
        return function(*arguments, **(keywords or {}))

    def note(self, name):
        lines = [frame for frame in traceback.extract_stack() if "ganforge" in frame.filename]
        if not any("torch/optim" in frame.filename for frame in traceback.extract_stack()):
            self.found[f"{name} at {lines[-1].filename.rpartition('/')[2]}:{lines[-1].lineno}"] += 1


@pytest.fixture
def reads(configured, fit, monkeypatch):
    """reads(overrides) -> what was read on the host in the training steps but the first, and the number of steps."""

    def count(model: str, overrides: list[str], accelerator: str = "cpu") -> tuple[Counter, int]:
        unpaired = dict.fromkeys(("cyclegan", "cut", "fastcut"), "coloured_digits")
        data = {"pix2pix": "lattice", "colorize": "lattice", **unpaired}.get(model, "mnist")
        config = configured([*overrides_for_model(model, 28), f"data={data}", *overrides])
        if data == "lattice":
            config.data.size = 32
        elif data == "mnist":
            config.data.n_classes = 4
        system = hydra.utils.instantiate(config.model, _convert_="all")
        step, mode, steps = system.training_step, HostReads(), []

        def watched(batch, batch_idx):
            steps.append(batch_idx)
            if len(steps) == 1:
                return step(batch, batch_idx)
            if accelerator == "gpu":
                torch.cuda.set_sync_debug_mode("error")
                try:
                    return step(batch, batch_idx)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
            with monkeypatch.context() as patch, mode:
                for name in READING:
                    plain = getattr(torch.Tensor, name)
                    patch.setattr(
                        torch.Tensor, name, lambda *a, plain=plain, name=name, **k: mode.note(name) or plain(*a, **k)
                    )
                return step(batch, batch_idx)

        system.training_step = watched
        pictures, size, classes = {
            "lattice": (TinyPairs, 32, {}),
            "coloured_digits": (TinySides, 32, {}),
            "mnist": (TinyImages, 28, {"classes": 4}),
        }[data]
        fit(system, pictures(n_train=24, size=size, batch_size=2, **classes), every=1000, accelerator=accelerator)
        return mode.found, len(steps)

    return count


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_read_between_rows(reads, model):
    found, steps = reads(model, [])
    assert steps == 12
    if model == "wgan":  # RMSprop has no form that leaves an update out by itself: one check an update
        assert all("at safeguard.py" in place for place in found)
        assert set(found.values()) == {13}  # 11 updates of the critic, 2 of the generator
    else:
        assert not found


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_read_by_options(reads, variant):
    found, steps = reads(*VARIANTS[variant])
    assert steps == 12
    assert not found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("model", [model for model in MODELS if model != "wgan"])
def test_a_gpu_is_not_waited_for(reads, model):
    _, steps = reads(model, [], accelerator="gpu")
    assert steps == 12
