"""How fast our training step is beside a bare PyTorch loop, and where its time goes.

    python benchmarks/step_time.py [--rounds 5] [--batches 30] [OVERRIDE ...]

Both train the networks of `python train.py OVERRIDE ...` on the same pictures, with the same batch, precision, memory
format and moving average, in turns within one process: ours through the Trainer with its progress bar and metrics.csv,
the bare loop with nothing around it. Printed are images/s of each round and the median of the rounds' ratios.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import hydra
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.profilers import SimpleProfiler
from torch.utils.data import DataLoader

from ganforge import CONF
from ganforge.callbacks import Progress
from ganforge.data.module import EpochBatches
from ganforge.hardware.choice import arguments, precision
from ganforge.settings import quiet
from ganforge.systems import Pix2Pix


class BareLoop:
    """pix2pix as one would write it without Lightning."""

    def __init__(self, system: Pix2Pix, data, device: torch.device, bf16: bool):
        self.system, self.device, self.bf16 = system.to(device, memory_format=torch.channels_last), device, bf16
        self.generator, self.discriminator = system.generator, system.discriminator
        self.optimizer_g, self.optimizer_d = system.configure_optimizers()
        self.loader = DataLoader(
            data.sets["train"],
            batch_sampler=EpochBatches(len(data.sets["train"]), data.batch_size, seed=1, position=lambda: (0, 0)),
            num_workers=data.num_workers,
            persistent_workers=data.num_workers > 0,
        )
        self.batches = iter(self.loader)

    def step(self) -> int:
        batch = next(self.batches)
        source, target = (
            batch[name].to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            for name in ("source", "target")
        )
        system, generator, discriminator = self.system, self.generator, self.discriminator
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)
        with autocast:
            fake = generator(source)
            real_logits = discriminator(torch.cat([source, target], 1))
            fake_logits = discriminator(torch.cat([source, fake.detach()], 1))
            loss = system.d_weight * system.objective.d(real_logits, fake_logits)
        self.optimizer_d.zero_grad()
        loss.backward()
        self.optimizer_d.step()
        discriminator.requires_grad_(False)
        with autocast:
            loss = sum(system.g_losses({"source": source, "target": target}, {"fake": fake}).values())
        self.optimizer_g.zero_grad()
        loss.backward()
        self.optimizer_g.step()
        discriminator.requires_grad_(True)
        if system.generator_ema is not None:
            with torch.no_grad():
                averages, weights = system.generator_ema.parameters(), generator.parameters()
                torch._foreach_lerp_(list(averages), list(weights), 1e-3)
        return len(source)

    def run(self, batches: int) -> float:
        """Images a second over `batches` batches."""
        _synchronize()
        begun = time.perf_counter()
        images = sum(self.step() for _ in range(batches))
        _synchronize()
        return images / (time.perf_counter() - begun)


class Clock(pl.Callback):
    """Times the batches of a fit but for the first few, which warm up."""

    def __init__(self, warmup: int):
        self.warmup = warmup

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        _synchronize()
        if batch_idx + 1 == self.warmup:
            self.begun, self.images = time.perf_counter(), module.images_seen
        self.rate = None
        if batch_idx + 1 > self.warmup:
            self.rate = (module.images_seen - self.images) / (time.perf_counter() - self.begun)


def ours(config, system: Pix2Pix, data, batches: int, profiler: SimpleProfiler | None = None) -> float:
    """Images a second of `batches` batches through the Trainer, as train.py runs it."""
    warmup = 3
    clock = Clock(warmup)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator=config.trainer.accelerator,
            **arguments(config.trainer),
            max_epochs=1,
            limit_train_batches=batches + warmup,
            limit_val_batches=0,
            log_every_n_steps=config.trainer.log_every_n_steps,
            logger=CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1),
            callbacks=[clock, Progress()],
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            profiler=profiler,
        )
        trainer.fit(system, datamodule=data)
    return clock.rate


@contextmanager
def timed_parts(system: Pix2Pix):
    """Seconds spent in the parts of our step, by name; backward passes count to the network that they are for."""
    seconds = defaultdict(float)
    phase = ["discriminator"]

    def wrap(owner, name, part):
        method = getattr(owner, name)

        def timed(*arguments, **options):
            _synchronize()
            begun = time.perf_counter()
            result = method(*arguments, **options)
            _synchronize()
            seconds[part() if callable(part) else part] += time.perf_counter() - begun
            return result

        object.__setattr__(owner, name, timed)
        return lambda: object.__delattr__(owner, name)

    def losses(name, network):
        method = getattr(system, name)

        def switched(*arguments):
            phase[0] = network
            return method(*arguments)

        object.__setattr__(system, name, switched)
        undo_time = wrap(system, name, network)
        return undo_time

    undo = [
        wrap(system, "generate", "generator"),
        losses("d_losses", "discriminator"),
        losses("g_losses", "generator"),
        wrap(system, "manual_backward", lambda: phase[0]),
        wrap(system, "_update_averages", "moving average"),
        wrap(system.rows, "log", "logging"),
    ]
    make = system.configure_optimizers

    def optimizers():
        made = make()
        for optimizer in made:
            step = optimizer.step

            def timed_step(closure=None, step=step):
                _synchronize()
                begun = time.perf_counter()
                result = step(closure)
                _synchronize()
                seconds["optimizers"] += time.perf_counter() - begun
                return result

            optimizer.step = timed_step
        return made

    object.__setattr__(system, "configure_optimizers", optimizers)
    try:
        yield seconds
    finally:
        for back in undo:
            back()
        object.__delattr__(system, "configure_optimizers")


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=30, help="batches a round and side")
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    options = parser.parse_args()
    quiet()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        needed = (options.rounds + 2) * (options.batches + 3)
        config = compose("train", overrides=["name=benchmark", "run_dir=.", *options.overrides])
    config.data.n_train = needed * config.data.batch_size
    data = hydra.utils.instantiate(config.data)
    system = hydra.utils.instantiate(config.model)
    device = torch.device("cuda" if torch.cuda.is_available() and config.trainer.accelerator != "cpu" else "cpu")
    bare = BareLoop(copy.deepcopy(system), data, device, precision(config.trainer) == "bf16-mixed")
    print(
        f"{device}, {precision(config.trainer)}, batches of {data.batch_size} x {data.size} px, "
        f"{options.rounds} rounds of {options.batches} batches a side"
    )
    bare.run(3)
    ratios = []
    for number in range(options.rounds):
        # Which side goes first alternates, so that a machine that slows down favours neither.
        if number % 2:
            theirs = bare.run(options.batches)
            rate = ours(config, system, data, options.batches)
        else:
            rate = ours(config, system, data, options.batches)
            theirs = bare.run(options.batches)
        ratios.append(rate / theirs)
        print(f"round {number + 1}: ours {rate:7.1f} images/s, bare loop {theirs:7.1f}, ratio {ratios[-1]:.3f}")
    print(f"median ratio ours / bare: {statistics.median(ratios):.3f}")

    profiler = SimpleProfiler(dirpath=Path(tempfile.gettempdir()), filename="step_time")
    with timed_parts(system) as seconds:
        begun = time.perf_counter()
        ours(config, system, data, options.batches, profiler)
        total = sum(profiler.recorded_durations["run_training_batch"])
        waits = profiler.recorded_durations["[_TrainingEpochLoop].train_dataloader_next"]
    # The first wait is the start of the workers.
    seconds["data (waiting)"] = sum(waits[1:])
    total += seconds["data (waiting)"]
    seconds["rest (Lightning, callbacks)"] = total - sum(seconds.values())
    print("where the time of our step goes:")
    for part, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {part:28s} {100 * spent / total:5.1f} %")
    print(f"(measured in {time.perf_counter() - begun:.0f} s)")


if __name__ == "__main__":
    main()
