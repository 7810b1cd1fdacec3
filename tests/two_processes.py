"""The same trainings in one process and in two, for test_distributed.py: [torchrun] two_processes.py FOLDER."""

import sys
import tempfile
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import distributed

from conftest import ROOT, TINY_PIX2PIX, Rows, TinyImages, TinyPairs, composed, overrides_for_model
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.game.penalties import Penalties
from ganforge.game.pretraining import Pretraining
from ganforge.game.schedules import ConstantThenLinear
from ganforge.game.terms import FeatureMatching, Perceptual
from ganforge.hardware import choice as hardware
from ganforge.networks import MultiScalePatchGAN
from ganforge.networks.squeezenet import SqueezeNet
from ganforge.systems import Adversarial
from test_adversarial import pix2pix
from test_cyclegan import TinySides, cyclegan
from test_fidelity import of_one, of_one_of_two
from test_latent import latent_gan
from test_players import Toy, networks

BATCH = 8  # of all processes together
STEPS = 20
ADAM = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
SGD = partial(torch.optim.SGD, lr=1e-3)
PLAIN = {"norm": "none"}
DECAY = ConstantThenLinear(decay_from=0.5)


def with_terms() -> Adversarial:
    """pix2pix with two scales and every further term, a frozen network of random weights among them."""
    torch.manual_seed(3)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(SqueezeNet(bgr=False).state_dict(), Path(folder) / "squeezenet.pth")
        terms = {
            "feature_matching": FeatureMatching(),
            "perceptual": Perceptual(weights=Path(folder) / "squeezenet.pth"),
        }
    critic = MultiScalePatchGAN(in_channels=2, scales=2, base_channels=4, layers=2, norm="none")
    return pix2pix("none", SGD, discriminator=critic, terms=terms)


# name -> (system, the data set's class); what each shares over the processes beside the gradients.
CASES = {
    "pix2pix": (partial(pix2pix, "none", ADAM, ema_half_life=20, schedule_g=DECAY), TinyPairs),
    "pix2pix_pretrained": (partial(pix2pix, "none", ADAM, ema_half_life=20, pretrain=Pretraining(84)), TinyPairs),
    "pix2pix_batch_norm": (partial(pix2pix, "batch", ADAM), TinyPairs),
    "dcgan": (partial(latent_gan, generator=PLAIN, discriminator=PLAIN, optimizer=ADAM, ema_half_life=20), TinyImages),
    "dcgan_batch_norm_r1": (partial(latent_gan, optimizer=ADAM, penalties=Penalties(r1=0.1)), TinyImages),
    "dcgan_accumulated": (
        partial(latent_gan, generator=PLAIN, discriminator=PLAIN, optimizer=ADAM, accumulate=3, clip_d=0.5),
        TinyImages,
    ),
    "pix2pix_terms": (with_terms, TinyPairs),
    # Each process has its own pools: with them two are not like one. Instance norm lets rounding errors grow.
    "cyclegan": (
        partial(cyclegan, norm="none", pool_size=0, ema_half_life=20, optimizer_g=SGD, optimizer_d=SGD),
        TinySides,
    ),
    "toy": (lambda: Toy(**networks(), optimizer=partial(torch.optim.SGD, lr=1e-3), ema_half_life=20), TinyPairs),
}
# Five validation pictures: the processes do not have equally many.
RUNS = {
    "lattice": [
        *(setting for setting in TINY_PIX2PIX if not setting.startswith(("data.n_", "data.batch"))),
        "data.size=64",
        "data.cells=[2,3]",
        "data.shifted=null",
        "model.generator.depth=3",
        "model.generator.dropout=0",
        "model.discriminator.norm=instance",
        "data.n_train=16",
        "data.n_val=5",
        "data.n_test=3",
        "trainer.max_epochs=2",
        "callbacks.progress.refresh_rate=0",
    ],
    "bands": [
        *(setting for setting in TINY_PIX2PIX if not setting.startswith(("data.n_", "data.batch"))),
        "data=pairs",
        "data.layout=folders",
        "data.source_dir=s1",
        "data.target_dir=s2",
        "data.val_fraction=0.18",  # five pictures
        "data.test_fraction=0.11",
        "model/generator=unet",
        "model.generator.dropout=0",
        "model.generator.norm=instance",
        "model.discriminator.norm=instance",
        "model.discriminator.layers=2",
        "trainer.max_epochs=2",
        "callbacks.progress.refresh_rate=0",
    ],
    "colour": [
        *(setting for setting in TINY_PIX2PIX if not setting.startswith(("data.n_", "data.batch"))),
        "model=colorize",
        "data=colour",
        "data.size=32",
        "data.val_fraction=0.18",  # five pictures
        "data.test_fraction=0.11",
        "model.pretrain.images=16",
        "model.generator.depth=3",
        "model.generator.dropout=0",
        "model.generator.norm=instance",
        "model.discriminator.norm=instance",
        "model.discriminator.layers=2",
        "trainer.max_epochs=2",
        "callbacks.progress.refresh_rate=0",
    ],
    "digits": [
        *(setting for setting in overrides_for_model("dcgan", 28) if not setting.startswith(("data.n_", "data.batch"))),
        "data=mnist",
        "data.n_heldout=20",
        "evaluation=pixels",
        "data.n_train=32",
        "data.n_val=5",
        "data.n_test=5",
        "trainer.max_epochs=3",
        "trainer.check_val_every_n_epoch=2",  # and after the third
        "callbacks.progress.refresh_rate=0",
    ],
}


def trained(system: Adversarial, data: TinyPairs, epochs: int = 2) -> pl.Trainer:
    world = data.processes
    config = {"accelerator": "cpu", "devices": world, "num_nodes": 1, "precision": "32", "sync_batchnorm": True}
    trainer = pl.Trainer(
        **hardware.arguments(OmegaConf.create(config)),
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
    )
    pl.seed_everything(1, verbose=False)
    trainer.fit(system, datamodule=data)
    return trainer


def gathered(value: object, world: int) -> list:
    values = [value] * world
    if world > 1:
        distributed.all_gather_object(values, value)
    return values


def train(name: str, world: int) -> dict:
    make, kind = CASES[name]
    system = make()
    # Weights of N(0, 0.02) let the signal of networks so small vanish, and Adam makes whole steps of rounding errors.
    torch.manual_seed(2)
    for network in system.network_names:
        getattr(system, network).apply(
            lambda module: module.reset_parameters() if hasattr(module, "reset_parameters") else None
        )
    data = kind(n_train=BATCH * STEPS // 2, size=system_size(name), batch_size=BATCH // world)
    data.processes = world
    logged, used, noise = Rows(system), [], []
    system.on_train_batch_start = lambda batch, index: used.extend(batch["index"].tolist())
    system.on_train_start = lambda: noise.append(torch.rand(1).item())
    trainer = trained(system, data)
    return {
        "state": system.state_dict(),
        "rows": logged.rows,
        "images_seen": system.images_seen,
        "progress": system.progress,
        "updates": list(system.updates.values()),
        "reduced_bytes": getattr(trainer.strategy, "reduced_bytes", 0),
        "used": gathered(used, world),
        "noise": gathered(noise, world),
    }


def system_size(name: str) -> int:
    return 16 if CASES[name][1] is TinyImages else 32


def spoiled(world: int) -> list[str]:
    """What each process says when the last one gets a picture with a NaN at its third step."""
    system = pix2pix()
    data = TinyPairs(n_train=BATCH * 5, batch_size=BATCH // world)
    data.processes = world

    def spoil(batch, index):
        if index == 2 and system.global_rank == world - 1:
            batch["target"][0, 0, 0, 0] = torch.nan

    system.on_train_batch_start = spoil
    try:
        trained(system, data, epochs=1)
    except UserError as error:
        return gathered(str(error), world)
    return gathered("nothing", world)


def main(folder: Path, world: int) -> None:
    folder.mkdir(exist_ok=True)
    found = {name: train(name, world) for name in CASES}
    scores = {}
    for name, overrides in RUNS.items():
        here = [f"data.batch_size={BATCH // world}", f"trainer.devices={world}"]
        if name == "digits":
            here.append(f"data.root={folder.parent / 'mnist'}")
        if name == "colour":
            here.append(f"data.root={folder.parent / 'colour'}")
        if name == "bands":
            here += [f"data.root={folder.parent / 'scenes'}", f"data.cache_dir={folder / 'cache'}"]
        scores[name] = gathered(run(composed([*overrides, *here], folder / name)), world)
    found = {**found, "scores": scores, "spoiled": spoiled(world)}
    found["fidelity"] = gathered(of_one_of_two(distributed.get_rank(), folder), 2) if world == 2 else of_one(folder)
    if world == 1 or distributed.get_rank() == 0:
        torch.save(found, folder / "found.pt")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
