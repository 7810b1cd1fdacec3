"""How fast training is in one process and in two, beside a bare PyTorch loop; what logging costs; what a GPU gives.

    python benchmarks/scaling.py [--rounds 5] [--batches 30] [OVERRIDE ...]

Ours is what `python train.py OVERRIDE ...` does, through the Trainer with its progress bar and metrics.csv; the bare
loop trains the same networks on the same pictures, in two processes with one DistributedDataParallel a network. Sides
take turns, so that a machine that slows down favours none. Printed for each comparison are the smallest, the median
and the largest ratio of the rounds. On a GPU also bf16 beside fp32 and compiled networks beside eager ones, with the
share of the rate at which this GPU multiplies large matrices.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable

import hydra
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from step_time import BareLoop, Clock
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from ganforge import CONF
from ganforge.callbacks import Progress
from ganforge.hardware import choice as hardware
from ganforge.hardware.processes import launch
from ganforge.settings import quiet

WARMUP = 3
SIDE = 8192  # of the matrices
MIB = 2**20


class Side:
    """One of the ways to train that are compared: rate(batches) -> images a second over all processes."""

    def __init__(self, name: str, rate: Callable[[int], float]):
        self.name, self.rate = name, rate


def ours(name: str, config: DictConfig, system: pl.LightningModule, data, log_every: int = 10) -> Side:
    """The Trainer as train.py has it. The last number of bytes reduced in an iteration is noted in `side.bytes`."""

    def rate(batches: int) -> float:
        clock = Clock(WARMUP)
        with tempfile.TemporaryDirectory() as folder:
            logger = hydra.utils.instantiate(config.logger.csv, folder=folder)
            trainer = pl.Trainer(
                **hardware.arguments(config.trainer),
                accelerator=config.trainer.accelerator,
                num_nodes=1,
                max_epochs=1,
                limit_train_batches=batches + WARMUP,
                limit_val_batches=0,
                log_every_n_steps=log_every,
                logger=logger,
                callbacks=[clock, Progress()],
                enable_checkpointing=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            trainer.fit(system, datamodule=data)
        side.bytes = getattr(trainer.strategy, "reduced_bytes", 0) / (batches + WARMUP)
        return clock.rate

    side = Side(name, rate)
    return side


def bare(name: str, config: DictConfig, system: pl.LightningModule, data, world: int = 1) -> Side:
    """The loop without Lightning."""
    device = torch.device("cuda" if hardware.on_gpu(config.trainer) else "cpu", launch().rank if launch() else 0)
    loop = BareLoop(copy.deepcopy(system), data, device, hardware.precision(config.trainer) == "bf16-mixed")
    if world > 1:
        # The generator's loss goes through the discriminator of the system, which is not wrapped.
        options = {"broadcast_buffers": False}
        loop.generator = DistributedDataParallel(loop.generator, **options)
        loop.discriminator = DistributedDataParallel(loop.discriminator, **options)

    def rate(batches: int) -> float:
        if world > 1:
            distributed.barrier()
        return loop.run(batches) * world

    loop.run(WARMUP)
    return Side(name, rate)


def compare(first: Side, second: Side, rounds: int, batches: int, show: bool = True) -> list[float]:
    """Ratios of the rates, first / second, of so many rounds."""
    rates: dict[Side, list[float]] = {first: [], second: []}
    for number in range(rounds):
        for side in (first, second) if number % 2 else (second, first):
            rates[side].append(side.rate(batches))
    ratios = [a / b for a, b in zip(rates[first], rates[second], strict=True)]
    if show:
        for side, found in rates.items():
            print(f"  {side.name:32s} {min(found):8.1f} {statistics.median(found):8.1f} {max(found):8.1f} images/s")
        print(
            f"  ratio {first.name} / {second.name}: smallest {min(ratios):.3f}, "
            f"median {statistics.median(ratios):.3f}, largest {max(ratios):.3f}",
            flush=True,
        )
    return ratios


def matrix_rate(dtype: torch.dtype) -> float:
    """Floating point operations a second of multiplying two large matrices."""
    a, b = (torch.randn(SIDE, SIDE, device="cuda", dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2 * SIDE**3 / best


def on_a_gpu(config: DictConfig, system: pl.LightningModule, data, options: argparse.Namespace) -> None:
    """bf16 beside fp32, compiled beside eager, and how much of the matrix rate each is."""
    sides, peaks = {}, {}
    for precision, dtype in (("bf16-mixed", torch.bfloat16), ("32", torch.float32)):
        peaks[precision] = matrix_rate(dtype)
        print(f"matrices of {SIDE} x {SIDE}, {dtype}: {peaks[precision] / 1e12:.1f} TFLOP/s")
        chosen = copy.deepcopy(config)
        chosen.trainer.precision = precision
        for way in ("eager", "compiled"):
            own = copy.deepcopy(system)
            if way == "compiled":
                own.generator.compile()
                own.discriminator.compile()
            sides[precision, way] = ours(f"{precision}, {way}", chosen, own, data)
            sides[precision, way].rate(WARMUP)  # compiles
    loop = BareLoop(copy.deepcopy(system), data, torch.device("cuda"), bf16=False)
    with FlopCounterMode(display=False) as counter:
        images = loop.step()
    operations = counter.get_total_flops() / images
    for (precision, way), side in sides.items():
        rate = statistics.median(side.rate(options.batches) for _ in range(options.rounds))
        share = rate * operations / peaks[precision]
        print(f"  {precision}, {way}: {rate:.1f} images/s, {100 * share:.1f} % of the matrix rate")
    for first, second in (
        (("bf16-mixed", "eager"), ("32", "eager")),
        (("bf16-mixed", "compiled"), ("bf16-mixed", "eager")),
        (("32", "compiled"), ("32", "eager")),
    ):
        compare(sides[first], sides[second], options.rounds, options.batches)


def measure(options: argparse.Namespace, world: int) -> None:
    """All comparisons with so many processes, of which this is one."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["name=benchmark", "run_dir=.", f"trainer.devices={world}", *options.overrides]
        config = compose("train", overrides=overrides)
    config.data.n_train = (options.rounds + 2) * (options.batches + WARMUP) * config.data.batch_size * world
    data = hydra.utils.instantiate(config.data)
    system = hydra.utils.instantiate(config.model, _convert_="all")
    first = launch() is None or launch().rank == 0
    if first:
        print(
            f"{world} x {'GPU' if hardware.on_gpu(config.trainer) else 'CPU'}, {hardware.precision(config.trainer)}, "
            f"batches of {world} x {data.batch_size} x {data.size} px, {options.rounds} rounds of {options.batches}"
        )
    mine = ours("ours", config, system, data)
    mine.rate(WARMUP)  # also joins the processes
    theirs = bare("bare loop", config, system, data, world)
    compare(mine, theirs, options.rounds, options.batches, show=first)
    if world > 1:
        # As in the bare loop, batch statistics of each process's own pictures.
        config.trainer.sync_batchnorm = False
        own = ours("ours, own statistics", config, system, data)
        compare(own, theirs, options.rounds, options.batches, show=first)
    if world > 1 and first:
        once = sum(p.nbytes for n in (system.generator, system.discriminator) for p in n.parameters()) / MIB
        print(f"  reduced an iteration: {mine.bytes / MIB:.3f} MiB; G once and D once: {once:.3f} MiB", flush=True)
    if world > 1:
        return
    every = ours("logging every step", config, system, data, log_every=1)
    never = ours("logging nothing", config, system, data, log_every=10**9)
    ratios = compare(every, never, options.rounds, options.batches)
    print(f"  logging every step costs {100 * (1 - statistics.median(ratios)):.1f} %", flush=True)
    if hardware.on_gpu(config.trainer):
        on_a_gpu(config, system, data, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=30, help="batches a round and side")
    parser.add_argument("--processes", type=int, default=2, help="beside one; 1: only one")
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    options = parser.parse_args()
    quiet()
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
    if launch() is not None:
        measure(options, launch().processes)
        return
    measure(options, 1)
    if options.processes > 1:
        # With a core or a GPU each; the bare loop and ours then have equally many threads.
        count = str(options.processes)
        run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count]
        subprocess.run([*run, *sys.argv], check=True)


if __name__ == "__main__":
    main()
