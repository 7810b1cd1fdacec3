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
    tables(results, test_names, console)
    console.print(
        f"{results['images_seen']} images in {results['duration_s']:.0f} s, "
        f"{results['images_per_second']:.1f} images/s while training"
    )
    for warning in results["warnings"]:
        console.print(f"warning: {warning}", soft_wrap=True)
    for name in ("best_checkpoint", "last_checkpoint", "grid"):
        console.print(f"{name.replace('_', ' ')}: {results[name]}", soft_wrap=True)
    console.print(f"numbers: {Path(results['run_dir']) / 'results.json'}", soft_wrap=True)


def tables(results: dict[str, Any], test_names: list[str], console: Console) -> None:
    """The numbers of the test sets, with intervals, and what is behind them."""
    for name in test_names:
        if f"{name}/bond_f1" in results:
            console.print(_network_table(results, name))
    console.print(_numbers(results, test_names))
    for name, said in results["evaluation"].items():
        if name == f"{test_names[0]}/fidelity":
            console.print(
                f"{said['images']:,} generated pictures against {said['reference_images']:,} real ones "
                f"({said['reference']}), by {said['extractor']} ({said['extractor_hash']}), resizer: "
                f"{said['resizer']}; in brackets 95 % intervals",
                soft_wrap=True,
            )
            if said.get("advice"):
                console.print(said["advice"], soft_wrap=True)
        if said.get("memorized/picture") and name.startswith(test_names[0]):
            console.print(f"beside their nearest training pictures: {said['memorized/picture']}", soft_wrap=True)


def _numbers(results: dict[str, Any], names: list[str]) -> Table:
    """A row a number; columns: the best weights on each test set, and the final weights on the first."""
    columns = {name: f"{name}/" for name in names}
    if any(key.startswith("final/") for key in results):
        columns = {f"{names[0]}, best": f"{names[0]}/", f"{names[0]}, final": f"final/{names[0]}/"} | {
            name: f"{name}/" for name in names[1:]
        }
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    rows = [key.removeprefix(f"{names[0]}/") for key in results if key.startswith(f"{names[0]}/")]
    in_other_table = ("bond_", "network", "baseline/", "classes/")
    details = ("/low", "/high", "/std", "/images", "generated_images")
    for row in rows:
        if not row.startswith(in_other_table) and not row.endswith(details):
            table.add_row(row, *(_cell(results, prefix + row) for prefix in columns.values()))
    for group in dict.fromkeys("/".join(row.split("/")[:2]) for row in rows if row.startswith("classes/")):
        cells = []
        for prefix in columns.values():
            keys = [key for key in results if key.startswith(f"{prefix}{group}/") and not key.endswith(details)]
            shares = [100 * results[key] for key in keys]
            cells.append(f"{min(shares):.1f} to {max(shares):.1f} %" if shares else "")
        table.add_row(group, *cells)
    return table


def _cell(results: dict[str, Any], key: str) -> str:
    if results.get(key) is None:
        return ""
    value = f"{results[key]:.4f}"
    if f"{key}/low" in results:
        value += f" [{results[f'{key}/low']:.4f}, {results[f'{key}/high']:.4f}]"
    return value


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
