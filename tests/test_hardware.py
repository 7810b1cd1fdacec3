"""Hardware as a choice, precision, and what happens where numbers are none."""

import copy
import math
import os
from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import distributed

from conftest import Rows, TinyPairs
from ganforge.errors import UserError
from ganforge.hardware import choice as hardware
from ganforge.hardware import processes
from ganforge.hardware.choice import ScaledPrecision, check_shares, check_trainer
from ganforge.hardware.strategy import GANStrategy, _buckets
from ganforge.hardware.synchronized import SynchronizedNorms
from ganforge.runs import preflight
from test_adversarial import pix2pix, weights

LAUNCHERS = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID")


@pytest.fixture
def environment(monkeypatch):
    """environment(NAME=value, ...): as a launcher would leave it."""
    for name in (*LAUNCHERS, "SLURM_NTASKS", "SLURM_PROCID", "SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, str(value)) for name, value in values.items()]


def torchrun(run: str, rank: int, count: int = 4, per_machine: int = 2) -> dict[str, object]:
    return {
        "TORCHELASTIC_RUN_ID": run,
        "RANK": rank,
        "LOCAL_RANK": rank % per_machine,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": per_machine,
    }


SLURM = {
    "SLURM_NTASKS": 4,
    "SLURM_NTASKS_PER_NODE": 2,
    "SLURM_PROCID": 3,
    "SLURM_JOB_ID": 71,
    "SLURM_STEP_ID": 0,
    "SLURM_JOB_NAME": "gan",
}


@pytest.mark.parametrize("choice", ["default", "cpu", "ddp_cpu", "multinode"])
@pytest.mark.parametrize("devices", [None, 1, 3])
def test_devices_alone_choose_the_strategy(configured, environment, monkeypatch, choice, devices):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = [f"trainer={choice}", "trainer.precision=32"] + [f"trainer.devices={devices}"] * bool(devices)
    chosen = hardware.arguments(configured(settings).trainer)
    count = devices or {"ddp_cpu": 2}.get(choice, 1)
    assert chosen["devices"] == count
    several = count > 1 or choice == "multinode"
    assert isinstance(chosen["strategy"], GANStrategy) if several else chosen["strategy"] == "auto"
    assert [type(plugin) for plugin in chosen["plugins"]] == [SynchronizedNorms] * several


@pytest.mark.parametrize("devices", ["auto", "-1"])
def test_all_gpus_of_a_machine(configured, environment, monkeypatch, devices):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    trainer = configured(["trainer=ddp", f"trainer.devices={devices}", "trainer.precision=16-mixed"]).trainer
    check_trainer(trainer)
    assert hardware.processes(trainer) == 4
    chosen = hardware.arguments(trainer, plugins=["given"])
    assert chosen["precision"] is None
    given, scaled, norms = chosen["plugins"]
    assert (given, scaled.precision, scaled.device, type(norms)) == ("given", "16-mixed", "cuda", SynchronizedNorms)


@pytest.mark.parametrize(
    ("settings", "launcher", "message"),
    [
        (["trainer.devices=0"], {}, r"trainer\.devices=0: a number of devices"),
        (["trainer.devices=many"], {}, r"trainer\.devices=many: a number of devices"),
        (["trainer.num_nodes=0"], {}, r"trainer\.num_nodes=0: a number of machines"),
        (["trainer.precision=8"], {}, r"trainer\.precision=8: choose one of auto, 32"),
        (["trainer=multinode"], {}, r"trainer\.num_nodes=2: start the same command on 2 machines with torchrun"),
        (["trainer=cpu"], torchrun("a", 0), r"torchrun started 4 processes, 2 on this machine; use trainer\.devices=2"),
        (["trainer.num_nodes=3", "trainer.devices=2"], SLURM, r"srun started 4 .* trainer\.devices=2 trainer\.num_nod"),
    ],
)
def test_impossible_hardware_is_refused(configured, environment, settings, launcher, message):
    environment(**launcher)
    with pytest.raises(UserError, match=message):
        check_trainer(configured(["trainer.accelerator=cpu", *settings]).trainer)


@pytest.mark.parametrize("launcher", [torchrun("a", 3), SLURM])
def test_processes_of_a_launcher_are_taken(configured, environment, launcher):
    environment(**launcher)
    trainer = configured(["trainer=multinode", "trainer.accelerator=cpu"]).trainer
    check_trainer(trainer)
    assert (hardware.devices(trainer), hardware.processes(trainer), processes.rank()) == (2, 4, 3)


def test_every_process_needs_pictures(configured):
    trainer = configured(["trainer=ddp_cpu"]).trainer
    check_shares(trainer, TinyPairs(n_train=8, batch_size=4))
    with pytest.raises(UserError, match=r"7 train pictures for 2 processes .*: 8 or more are needed"):
        check_shares(trainer, TinyPairs(n_train=7, batch_size=4))
    trainer.devices = 3
    with pytest.raises(UserError, match="2 val pictures for 3 processes"):
        check_shares(trainer, TinyPairs(n_train=80, batch_size=4))


def folders(overrides: list[str]):
    config = {"overrides": {"hydra": overrides}, "run": {"dir": "runs/now"}, "output_subdir": ".hydra"}
    config = OmegaConf.create({"hydra": config})
    OmegaConf.set_readonly(config.hydra, True)
    preflight.share_folder(config)
    return config.hydra.run.dir, config.hydra.output_subdir


def test_all_processes_of_a_launch_use_one_folder(environment):
    assert folders([]) == ("runs/now", ".hydra")
    environment(**torchrun("none", 0))
    assert folders(["hydra.run.dir=runs/now"]) == ("runs/now", ".hydra")
    with pytest.raises(SystemExit, match=r"torchrun started 4 processes.*give hydra.run.dir=FOLDER, or --rdzv-id=NAME"):
        folders([])
    environment(**torchrun("seven", 0))
    assert folders([]) == ("runs/seven", ".hydra")
    environment(**torchrun("seven", 2))
    assert folders([]) == ("runs/seven", None)


def test_slurm_steps_have_folders_of_their_own(environment):
    environment(**SLURM)
    assert folders([]) == ("runs/slurm_71_0", None)


def test_a_process_that_lightning_starts_is_not_the_first(environment):
    assert processes.rank() == 0
    environment(LOCAL_RANK=1)
    assert processes.rank() == 1
    environment(LOCAL_RANK=0, NODE_RANK=2)
    assert processes.rank() == 2


def test_buckets_keep_the_order_and_the_type():
    tensors = [torch.zeros(n, dtype=kind) for n, kind in ((3, torch.float32), (2, torch.float32), (9, torch.float64))]
    tensors += [torch.zeros(1), torch.zeros(1)]
    found = list(_buckets(tensors, size=20))
    assert [[len(tensor) for tensor in bucket] for bucket in found] == [[3, 2], [9], [1, 1]]


def scaled(fit, batches: int, scale: float, **options):
    """A training in fp16 on the CPU whose scaler begins with `scale`: the system, and the scale after each update."""
    system, plugin, scales = pix2pix(**options), ScaledPrecision("cpu"), []
    plugin.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
    update = plugin.scaler.update
    plugin.scaler.update = lambda: (update(), scales.append(plugin.scaler.get_scale()))
    fit(system, TinyPairs(n_train=2 * batches, batch_size=2), plugins=[plugin])
    return system, scales


def test_fp16_unscales_before_clipping_and_updates_the_scaler_once_an_iteration(fit):
    system = pix2pix()
    before = weights(system.generator), weights(system.discriminator)
    options = {"clip_g": 1e-4, "clip_d": 1e-4, "optimizer": partial(torch.optim.SGD, lr=1.0)}
    system, scales = scaled(fit, batches=1, scale=2.0**10, **options)
    assert scales == [2.0**10]
    for old, network in zip(before, (system.generator, system.discriminator), strict=True):
        step = torch.cat([(new - o).flatten() for o, new in zip(old, network.parameters(), strict=True)]).norm().item()
        assert step == pytest.approx(1e-4, rel=0.05)  # the clipped norm times the learning rate


def test_fp16_finds_its_scale_without_a_step_on_infinite_gradients(fit):
    system, scales = scaled(fit, batches=24, scale=2.0**30, optimizer=partial(torch.optim.SGD, lr=1e-3))
    assert len(scales) == 24
    halvings = [2.0**30 / 2**count for count in range(1, 25)]
    found = scales.index(scales[-1]) + 1  # iterations till no gradient was infinite
    assert scales[:found] == halvings[:found]
    assert 2 < found < 24
    assert system.skipped_updates >= found
    assert all(torch.isfinite(weight).all() for weight in system.parameters())


class Spoiled(TinyPairs):
    """The third batch holds a NaN."""

    def on_after_batch_transfer(self, batch, index):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            batch["target"][0, 0, 0, 0] = torch.nan
        return batch


def test_a_loss_that_is_none_stops_before_the_step(fit):
    system, states = pix2pix("batch"), []
    logged = Rows(system)
    system.on_train_batch_start = lambda batch, index: states.append((weights(system), batch))
    with pytest.raises(UserError) as stopped:
        fit(system, Spoiled(n_train=20, batch_size=2))
    message = str(stopped.value)
    assert message.startswith("d/adv is nan at 6 images seen: the training ends before this update. The last good ch")
    assert all(torch.equal(old, new) for old, new in zip(states[2][0], system.parameters(), strict=True))
    assert len(logged.rows) == 2 and system.skipped_updates == 0


def test_a_gradient_that_is_none_is_named_and_so_is_the_checkpoint(fit, tmp_path):
    system, written = pix2pix(), ModelCheckpoint(tmp_path)
    output = {"network": "generator", "fed": "picture", "told": None, "averaged": False}
    card = {"networks": {}, "outputs": {"translate": output}, "norm_mode": "running", "size": 32, "config": {}}
    card |= {"fit_to_size": "squash", "provides": ["paired"]}
    whole = {"ganforge": card, "optimizer_states": []}
    for name, value in (("last", 1.0), ("newer", math.nan)):  # the newer one is no good one
        torch.save({**whole, "state_dict": {"weight": torch.tensor(value)}}, tmp_path / f"{name}.ckpt")
    os.utime(tmp_path / "last.ckpt", (0, 0))
    # Shortly before, so that it does not write one itself.
    system.on_train_batch_start = lambda batch, index: system.trainer.callbacks.extend([written] * (index == 2))
    weight = next(system.generator.parameters())
    weight.register_hook(lambda slope: slope * torch.inf if system.images_seen > 4 else slope)
    with pytest.raises(UserError, match=r"g/grad_norm is (nan|inf) at 6 images seen: .* checkpoint: .*last\.ckpt "):
        fit(system, TinyPairs(n_train=20, batch_size=2))


def test_an_update_that_is_none_can_be_left_out(fit):
    system = pix2pix("batch", on_nonfinite="skip", ema_half_life=20)
    logged = Rows(system)
    fit(system, Spoiled(n_train=20, batch_size=2))
    assert system.skipped_updates == 2  # of both networks
    assert system.images_seen == 20
    assert all(torch.isfinite(value).all() for value in system.state_dict().values())  # running statistics, too
    assert [row.get("train/skipped_updates", 0) for row in logged.rows] == [0, 0] + [2] * 8
    assert "train/d/adv" not in logged.rows[2] and "train/d/adv" in logged.rows[3]
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in logged.rows)


def test_a_discriminator_update_is_left_out_before_the_generator_s_backward(fit):
    system = pix2pix("batch", on_nonfinite="skip")
    weight = next(system.generator.parameters())
    before = system.on_train_batch_start

    def spoil(batch, index):
        before(batch, index)
        with torch.no_grad():
            weight[0].fill_(torch.nan if index == 2 else 0.1)

    system.on_train_batch_start = spoil
    fit(system, TinyPairs(n_train=12, batch_size=2))
    assert system.skipped_updates == 2  # of both networks, at the third batch
    assert all(value.isfinite().all() for value in system.state_dict().values())


def test_what_happens_to_numbers_that_are_none_is_one_of_two():
    with pytest.raises(UserError, match=r"model\.on_nonfinite=ignore: choose one of stop, skip"):
        pix2pix(on_nonfinite="ignore")


@pytest.mark.parametrize("affine", [True, False])  # False: of norms whose gain and bias depend on the class
def test_synchronized_norms_of_one_process_are_batch_norms(tmp_path, affine):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        plain, x = torch.nn.BatchNorm2d(3, affine=affine), torch.randn(4, 3, 5, 5)
        synchronized = SynchronizedNorms().apply(copy.deepcopy(plain))
        torch.testing.assert_close(synchronized(x), plain(x))
        torch.testing.assert_close(synchronized.running_var, plain.running_var)
    finally:
        distributed.destroy_process_group()
