"""Time and peak memory of a training step of CycleGAN, CUT and FastCUT, beside each other.

    python benchmarks/translation.py [--size 256] [--base-channels 64] [--rounds 5] [--steps 3] [--blurred]

Each model trains in a process of its own, on random pictures and with the networks of its config, through its own
`training_step` without a Trainer's callbacks and loggers. The processes take turns, a few steps each, and which goes
first changes from round to round: a machine that slows down favours none. Printed are the seconds of a step (the median
of the rounds) and the most memory that its process held beyond what it held before its networks were made, with their
shares of CycleGAN's. --blurred: CycleGAN with the blurred networks of the others, as in the CUT paper's own table.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from multiprocessing.connection import Connection
from types import SimpleNamespace

import hydra
import torch
from hydra import compose, initialize_config_dir

from ganforge import CONF
from ganforge.game.safeguard import Safeguard
from ganforge.hardware.choice import precision
from ganforge.settings import quiet

MODELS = ("cyclegan", "cut", "fastcut")
WARMUP = 2  # steps


def overrides(model: str, options: argparse.Namespace) -> list[str]:
    generator, critic = ("a_to_b", "critic_a") if model == "cyclegan" else ("generator", "discriminator")
    chosen = [f"model={model}", "data=unpaired", f"data.size={options.size}", "name=benchmark", "run_dir=."]
    chosen += [f"model.{network}.base_channels={options.base_channels}" for network in (generator, critic)]
    if model == "cyclegan" and options.blurred:
        chosen += [f"model.{generator}.upsample=blur"]
        chosen += [f"model.{network}.downsample=blur" for network in (generator, critic)]
    return chosen


class Player:
    """A system and what its training step asks of a Trainer."""

    def __init__(self, model: str, options: argparse.Namespace):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", overrides=overrides(model, options))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.bf16 = (
            precision(config.trainer) == "bf16-mixed" if options.precision is None else options.precision == "bf16"
        )
        self.begun = memory(self.device)
        torch.manual_seed(0)
        system = hydra.utils.instantiate(config.model, _convert_="all")
        self.system = system.to(self.device, memory_format=torch.channels_last)
        optimizers = system.configure_optimizers()
        system.optimizers = lambda: optimizers
        system.safeguard = Safeguard(self.device, latches=True, skipped=0)
        system.manual_backward = lambda loss: loss.backward()
        system._trainer = SimpleNamespace(
            world_size=1, global_rank=0, is_last_batch=True, log_every_n_steps=10**9, max_epochs=10**6,
            num_training_batches=10**6, datamodule=SimpleNamespace(batch_size=1), precision_plugin=None,
            strategy=SimpleNamespace(root_device=self.device),
        )  # fmt: skip
        shape = (1, 3, options.size, options.size)
        self.batch = {side: (torch.rand(shape) * 2 - 1).to(self.device) for side in ("a", "b")}
        self.steps(WARMUP)

    def steps(self, count: int) -> float:
        """Seconds of a step, the mean of `count`."""
        synchronize(self.device)
        begun = time.perf_counter()
        for step in range(count):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                self.system.training_step(dict(self.batch), step)
        self.system.rows.columns = {}
        synchronize(self.device)
        return (time.perf_counter() - begun) / count


def memory(device: torch.device) -> int:
    """The most bytes so far: of this process, or on a GPU of its tensors."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def play(model: str, options: argparse.Namespace, told: Connection) -> None:
    """Answer each number of steps with the seconds of one; 0 with the bytes."""
    quiet()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    player = Player(model, options)
    told.send(str(player.device) + (", bf16" if player.bf16 else ", fp32"))
    while count := told.recv():
        told.send(player.steps(count))
    told.send(memory(player.device) - player.begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--base-channels", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="a round and model")
    parser.add_argument("--threads", type=int, help="of the CPU; by default as torch chooses")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="by default as a training would")
    parser.add_argument("--blurred", action="store_true", help="CycleGAN with blurred networks too")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    players = {}
    for model in MODELS:
        ours, theirs = context.Pipe()
        process = context.Process(target=play, args=(model, options, theirs), daemon=True)
        process.start()
        theirs.close()  # ours ends with the process
        players[model] = (process, ours)
        device = ours.recv()
    print(f"{device}, batches of 1 x {options.size} px, {options.base_channels} channels, {options.rounds} rounds")
    seconds = {model: [] for model in MODELS}
    for number in range(options.rounds):
        first = number % len(MODELS)
        for model in MODELS[first:] + MODELS[:first]:
            players[model][1].send(options.steps)
            seconds[model].append(players[model][1].recv())
        print(
            f"round {number + 1}: " + ", ".join(f"{model} {seconds[model][-1]:.3f} s" for model in MODELS), flush=True
        )
    held = {}
    for model, (process, told) in players.items():
        told.send(0)
        held[model] = told.recv()
        process.join()
    of_first = seconds[MODELS[0]]
    for model in MODELS:
        share = statistics.median(own / other for own, other in zip(seconds[model], of_first, strict=True))
        print(
            f"{model:9s} {statistics.median(seconds[model]):7.3f} s a step ({share:.2f} of CycleGAN's), "
            f"{held[model] / 2**20:7.0f} MiB ({held[model] / held[MODELS[0]]:.2f})"
        )


if __name__ == "__main__":
    main()
