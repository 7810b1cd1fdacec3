"""What a run says before it trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ganforge.data.module import DataModule
    from ganforge.systems import Adversarial


def opening(model: Adversarial, data: DataModule, trainer: pl.Trainer, run_dir: Path, monitor: tuple[str, str]) -> None:
    """What is trained on what, in a few lines. monitor: the number that decides which checkpoint is best, and how."""
    if not trainer.is_global_zero:
        return
    sizes = {
        name: sum(parameter.numel() for parameter in getattr(model, name).parameters()) / 1e6
        for name in model.network_names
    }
    parameters = ", ".join(f"{name.replace('_', ' ')} {size:.2f} M" for name, size in sizes.items())
    print(
        f"{type(model).__name__}: {parameters} parameters\n"
        f"{type(data).__name__}: {_counts(data)}\n"
        f"{trainer.num_devices} x {trainer.accelerator.__class__.__name__.removesuffix('Accelerator')}, "
        f"{trainer.precision}, {trainer.max_epochs} epochs\n"
        f"best checkpoint: the one with the {'lowest' if monitor[1] == 'min' else 'highest'} {monitor[0]}, of "
        f"{len(data.sets['val'])} pictures\n"
        f"run folder: {run_dir}",
        *data.notes,
        *_phases(model),
        sep="\n",
        flush=True,
    )


def _phases(model: Adversarial) -> list[str]:
    images = model.pretrain.images
    return [f"pre-training: the first {images:,} images without critics, then the game"] if images else []


def _counts(data: DataModule) -> str:
    """How many pictures there are of each split; of pictures from noise all but those of `train` are generated."""
    counts = {name: len(pictures) for name, pictures in data.sets.items()}
    form = f"pictures of {data.size} px, batches of {data.batch_size}"
    if "image" not in data.provides:
        return ", ".join(f"{count} {name}" for name, count in counts.items()) + f" {form}"
    judged = ", ".join(f"{counts[name]} for the {name}" for name in data.test_names)
    return f"{counts['train']} training {form}; {counts['val']} are generated at each validation, {judged}"
