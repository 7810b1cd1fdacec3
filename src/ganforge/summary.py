"""What a run says at its start and its end: tables in the terminal, results.json in its folder."""

import json
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich import box
from rich.console import Console
from rich.table import Table

from ganforge.data.module import DataModule
from ganforge.systems import Adversarial

TITLES = {"test": "Unseen networks", "shifted": "Unseen networks, drawn otherwise than those trained on"}


def opening(model: Adversarial, data: DataModule, trainer: pl.Trainer, run_dir: Path) -> None:
    """What is trained on what, in a few lines."""
    if not trainer.is_global_zero:
        return
    generator, discriminator = (
        sum(parameter.numel() for parameter in network.parameters()) / 1e6
        for network in (model.generator, model.discriminator)
    )
    counts = ", ".join(f"{len(pictures)} {name}" for name, pictures in data.sets.items())
    print(
        f"{type(model).__name__}: generator {generator:.2f} M, discriminator {discriminator:.2f} M parameters\n"
        f"{type(data).__name__}: {counts} pictures of {data.size} px, batches of {data.batch_size}\n"
        f"{trainer.num_devices} x {trainer.accelerator.__class__.__name__.removesuffix('Accelerator')}, "
        f"{trainer.precision}, {trainer.max_epochs} epochs\n"
        f"run folder: {run_dir}",
        *data.notes,
        sep="\n",
        flush=True,
    )


def write(results: dict[str, Any], path: Path) -> None:
    """results.json; a number that does not exist (no dot was found, so there is no shift) is null."""
    plain = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in results.items()}
    path.write_text(json.dumps(plain, indent=2) + "\n")


def closing(results: dict[str, Any], test_names: list[str]) -> None:
    """The tables at the end, and where everything was written."""
    console = Console()
    for name in test_names:
        if f"{name}/bond_f1" in results:
            console.print(_network_table(results, name))
    rest = Table(box=box.SIMPLE_HEAD)
    rest.add_column("")
    for name in test_names:
        rest.add_column(name, justify="right")
    for key in ("site_recall", "site_shift_px", "l1", "psnr", "ssim"):
        if f"{test_names[0]}/{key}" in results:
            rest.add_row(key, *(f"{results[f'{name}/{key}']:.4f}" for name in test_names))
    console.print(rest)
    console.print(
        f"{results['images_seen']} images in {results['duration_s']:.0f} s, "
        f"{results['images_per_second']:.1f} images/s while training"
    )
    for name in ("best_checkpoint", "last_checkpoint", "grid"):
        console.print(f"{name.replace('_', ' ')}: {results[name]}", soft_wrap=True)
    console.print(f"numbers: {Path(results['run_dir']) / 'results.json'}", soft_wrap=True)


def _network_table(results: dict[str, Any], name: str) -> Table:
    """Rows: the generator and the geometric baselines; columns: bond F1 and exact networks, of all and each lattice."""
    prefix = f"{name}/bond_f1/"
    lattices = [key.removeprefix(prefix) for key in results if key.startswith(prefix)]
    baselines = "" if name == "test" else f"{name}/"
    rows = {"generator": (f"{name}/bond_f1", f"{name}/network_exact")}
    for key in results:
        if key.startswith(f"{baselines}baseline/") and key.endswith("_f1"):
            rows[key.removeprefix(f"{baselines}baseline/").removesuffix("_f1")] = (key, key.replace("_f1", "_exact"))
    title = f"{TITLES.get(name, name)} ({results[f'{name}/networks']:.0f})"
    table = Table(title=f"{title}\nbond F1, and the share of networks without a wrong bond", box=box.SIMPLE_HEAD)
    table.add_column("")
    for lattice in ("all", *lattices):
        table.add_column(lattice, justify="right")
    for row, (f1, exact) in rows.items():
        cells = [
            f"{results[f1 + suffix]:.4f} {100 * results[exact + suffix]:3.0f} %"
            for suffix in ("", *(f"/{lattice}" for lattice in lattices))
        ]
        table.add_row(row.replace("_", " "), *cells, style="bold" if row == "generator" else None)
    return table
