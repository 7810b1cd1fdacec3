"""Hardware as a choice: how many processes on what, in which precision; checked before the work."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.plugins import MixedPrecision, Precision

from ganforge.data.module import DataModule
from ganforge.errors import Stopped, require
from ganforge.files.folders import remedy
from ganforge.hardware.processes import launch
from ganforge.hardware.strategy import GANStrategy
from ganforge.hardware.synchronized import SynchronizedNorms

# How torch, CUDA, C++ and the system (of a data worker that it ended) say so in a RuntimeError.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory", "bad_alloc", "signal: Killed")

PRECISIONS = ("auto", "32", "32-true", "bf16-mixed", "16-mixed")


class ScaledPrecision(MixedPrecision):
    """fp16 with one scaler for both networks.

    The system unscales the gradients of an update before it looks at their norm (`scaler.unscale_`), leaves the update
    out if they are infinite, and updates the scaler once an iteration, after all of its updates.
    """

    def __init__(self, device: str):
        super().__init__("16-mixed", device, torch.amp.GradScaler(device))

    def optimizer_step(self, optimizer: Any, model: Any, closure: Callable[[], Any], **options: Any) -> Any:
        return Precision.optimizer_step(self, optimizer, model, closure, **options)  # without unscaling once more


def arguments(trainer: DictConfig, plugins: Sequence[Any] = ()) -> dict[str, Any]:
    """What the Trainer is given beside the config: devices, strategy, precision and, with `plugins`, its plugins."""
    chosen, several = precision(trainer), processes(trainer) > 1
    scaled = [ScaledPrecision("cuda" if on_gpu(trainer) else "cpu")] if chosen == "16-mixed" else []
    return {
        "devices": devices(trainer),
        "strategy": GANStrategy() if several else "auto",
        "precision": None if scaled else chosen,
        "sync_batchnorm": False,  # by a plugin of ours
        "plugins": [*plugins, *scaled, *([SynchronizedNorms()] if several and trainer.sync_batchnorm else [])],
    }


def on_gpu(trainer: DictConfig) -> bool:
    """Whether the Trainer would take CUDA GPUs."""
    return trainer.accelerator in ("gpu", "cuda") or (trainer.accelerator == "auto" and torch.cuda.is_available())


def devices(trainer: DictConfig) -> int:
    """Processes on this machine; trainer.devices=auto or -1: those of torchrun or srun, or one for every GPU."""
    if trainer.devices not in ("auto", -1):
        return trainer.devices
    started = launch()
    if started is not None:
        return started.per_machine
    return torch.cuda.device_count() if on_gpu(trainer) else 1


def processes(trainer: DictConfig) -> int:
    """Processes of the run, on all machines."""
    return devices(trainer) * trainer.num_nodes


def check_trainer(trainer: DictConfig) -> None:
    """Numbers and devices that the Trainer would misunderstand or refuse late."""
    epochs = trainer.max_epochs
    require(isinstance(epochs, int) and epochs >= 1, f"trainer.max_epochs={epochs}: a whole number, 1 or more")
    every = trainer.check_val_every_n_epoch
    require(
        isinstance(every, int) and 1 <= every <= epochs,
        f"trainer.check_val_every_n_epoch={every}: 1 to trainer.max_epochs={epochs}, or nothing would be evaluated",
    )
    require(
        str(trainer.precision) in PRECISIONS,
        f"trainer.precision={trainer.precision}: choose one of {', '.join(PRECISIONS)}",
    )
    require(isinstance(trainer.compile, bool), f"trainer.compile={trainer.compile}: true or false")
    count, nodes = trainer.devices, trainer.num_nodes
    require(
        count in ("auto", -1) or (isinstance(count, int) and count >= 1),
        f"trainer.devices={count}: a number of devices, 1 or more, or auto",
    )
    require(isinstance(nodes, int) and nodes >= 1, f"trainer.num_nodes={nodes}: a number of machines, 1 or more")
    available = torch.cuda.device_count()
    if on_gpu(trainer):
        require(
            1 <= devices(trainer) <= available,
            f"trainer.devices={count} with trainer.accelerator={trainer.accelerator}, but this machine has "
            f"{available} GPU{'s' * (available != 1)}; use "
            + (f"trainer.devices={available}" if available else "trainer=cpu"),
        )
    started = launch()
    if started is None:
        machines = "SLURM_JOB_ID" not in os.environ and "MASTER_ADDR" not in os.environ and nodes > 1
        require(
            not machines,
            f"trainer.num_nodes={nodes}: start the same command on {nodes} machines with torchrun or, in a SLURM job, "
            "with srun; for this machine alone, trainer.devices says how many processes there are",
        )
    else:
        require(
            processes(trainer) == started.processes,
            f"trainer.devices={devices(trainer)} and trainer.num_nodes={nodes}, but {started.by} started "
            f"{started.processes} processes, {started.per_machine} on this machine; use trainer.devices="
            f"{started.per_machine} trainer.num_nodes={started.processes // started.per_machine}",
        )


def check_shares(trainer: DictConfig, data: DataModule) -> None:
    """Raise UserError where there are not enough pictures for every process."""
    count = processes(trainer)
    if count == 1:
        return
    for name, pictures in data.sets.items():
        least = count * (data.batch_size if name == "train" else 1)
        require(
            len(pictures) >= least,
            f"{len(pictures)} {name} pictures for {count} processes (trainer.devices x trainer.num_nodes) with "
            f"data.batch_size={data.batch_size} each: {least} or more are needed",
        )


@contextmanager
def refusals() -> Iterator[None]:
    """What the machine refuses a run within it (memory, files) is one sentence, and the run can go on."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        cause: BaseException | None = error
        while cause is not None:  # what is cleaned up fails for lack of memory too
            if isinstance(cause, MemoryError) or any(words in str(cause) for words in OUT_OF_MEMORY):
                raise _out_of_memory(cause) from error
            cause = cause.__cause__ or cause.__context__
        if not isinstance(error, OSError) or error.errno is None or isinstance(error, ConnectionError):
            raise
        raise Stopped(
            f"{error.filename or 'a file of the run'}: {error.strerror}; {remedy(error)}, then go on with resume=true"
        ) from error


def _out_of_memory(error: BaseException) -> Stopped:
    lines = [line for line in str(error).splitlines() if "emory" in line] or [type(error).__name__]
    return Stopped(
        f"out of memory ({lines[-1].strip().rstrip('.')[:200]}): lower data.batch_size (model.accumulate keeps the "
        "size of an update), data.size, model.generator.base_channels, data.num_workers or evaluation.metrics, with "
        "resume=force where a checkpoint is to be gone on from; or make memory free and go on with resume=true"
    )


def precision(trainer: DictConfig) -> str:
    """trainer.precision in full; "auto": bf16-mixed where the hardware multiplies bf16 matrices, else 32-true.

    Decided by the hardware alone, so that equal machines compute alike whatever else runs on them.
    """
    if trainer.precision != "auto":
        return "32-true" if str(trainer.precision) == "32" else str(trainer.precision)
    if trainer.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # Older versions of torch do not tell.
    features = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if features.get("amx_bf16") or features.get("avx512_bf16") else "32-true"
