"""The table of a run again, or of any two folders of pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ganforge import evaluation as rooms
from ganforge import images, summary
from ganforge.callbacks import Evaluation
from ganforge.checkpoint import Generator, is_plain, load_generator
from ganforge.data.image_folder import ImageFolderData
from ganforge.data.lattice import LatticeData
from ganforge.data.mnist import MnistData
from ganforge.data.module import DataModule
from ganforge.data.pairs import PairsData
from ganforge.errors import UserError, require
from ganforge.evaluation.extractor import load_extractor
from ganforge.evaluation.fidelity import Fidelity, compare
from ganforge.evaluation.measures import METRICS
from ganforge.networks import SAMPLERS
from ganforge.networks.layers import infer
from ganforge.noise import latents
from ganforge.sample import draw

# What a checkpoint may name; anything else in it is not built.
DATA = {f"{kind.__module__}.{kind.__name__}": kind for kind in (ImageFolderData, LatticeData, MnistData, PairsData)}
METRIC_CLASSES = {f"ganforge.evaluation.{name}": getattr(rooms, name) for name in rooms.__all__}


class Folder(Dataset):
    """The pictures of a folder as uint8 (channels, H, W)."""

    def __init__(self, folder: str | Path, channels: int):
        self.files, self.channels = images.list_images(folder), channels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(images.read(self.files[index], self.channels).transpose(2, 0, 1)))


def evaluate(
    subject: str | Path,
    *,
    against: str | Path | None = None,
    pictures: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    extractor: str | None = None,
    weights: str | None = None,
    n: int | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Print the table of `subject` and return its numbers.

    subject: a run or checkpoint, whose data and metrics are those it was trained with; or a folder of pictures,
    compared with those of the folder `against`. pictures: a folder of pictures to judge in place of what the model
    generates. metrics (of fid, kid, is, precision, recall), extractor, weights: in place of the run's. n: how many are
    generated; None for as many as at the end of the run. output: a JSON file for the numbers.
    """
    unknown = [name for name in metrics or [] if name not in METRICS]
    require(not unknown, f"--metrics {','.join(metrics or [])}: choose from {', '.join(METRICS)}")
    if output is not None:
        require(overwrite or not Path(output).exists(), f"--output {output}: is already there; or --overwrite")
    fidelity = {"metrics": list(metrics or METRICS), "extractor": extractor, "weights": weights}
    if against is not None:
        results = of_folders(subject, against, fidelity)
    else:
        own = fidelity if metrics or extractor or weights else None
        results = of_run(subject, pictures, own, n)
    summary.tables(results, ["test"], Console())
    if output is not None:
        summary.write(results, Path(output))
        print(f"numbers: {output}")
    return results


def of_folders(generated: str | Path, real: str | Path, fidelity: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one folder of pictures against another; all pictures must be of one size."""
    channels = 3 if fidelity["extractor"] is None else load_extractor(fidelity["extractor"]).channels
    values, said = compare(Folder(generated, channels), Folder(real, channels), **fidelity, reference=str(real))
    return {**{f"test/{key}": value for key, value in values.items()}, "evaluation": {"test/fidelity": said}}


def of_run(
    checkpoint: str | Path, pictures: str | Path | None, fidelity: dict[str, Any] | None, n: int | None
) -> dict[str, Any]:
    """The numbers of a run's generator, or of a folder of pictures, on the run's test set."""
    generator = load_generator(checkpoint)
    data = rebuild_data(generator, n)
    evaluation = Evaluation(metrics=rebuild_metrics(generator, fidelity))
    evaluation.choose(data)
    dataset = data.sets["test"]
    drawn = None
    if pictures is not None:
        channels = data.real("test")[0].shape[0]
        drawn = Folder(pictures, channels)
        require("paired" not in data.provides, f"--images {pictures}: only for models that draw from noise")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator.network.to(device)
    evaluation.begin("test", ["test"], device)
    count = len(dataset) if drawn is None else len(drawn)
    for batch in track(list(_batches(dataset, count, 64)), description="evaluating"):
        batch = batch()
        if generator.card["generator"].get("n_classes"):
            batch["asked_label"] = batch["label"]
        generated = _generate(generator, batch) if drawn is None else _read(drawn, batch["index"])
        evaluation.update("test", batch, generated, dataset)
    return {**evaluation.compute("test"), "evaluation": evaluation.descriptions, "checkpoint": str(generator.path)}


def rebuild_data(generator: Generator, n: int | None = None) -> DataModule:
    """The data module that a checkpoint names: one of DATA, with plain values. Raises UserError for anything else."""
    config = dict(generator.card["config"].get("data") or {})
    if n is not None:
        config["n_test"] = n
    kind = DATA.get(config.pop("_target_", None))
    require(
        kind is not None, f"{generator.path}: names data that is not built from a checkpoint ({', '.join(DATA)} are)"
    )
    require(is_plain(config), f"{generator.path}: its data settings are not plain values")
    try:
        return kind(**config)
    except TypeError as error:
        raise UserError(f"{generator.path}: its data does not fit this version of ganforge ({error})") from error


def rebuild_metrics(generator: Generator, fidelity: dict[str, Any] | None) -> dict[str, Any]:
    """The metrics that a checkpoint names, of METRIC_CLASSES; or `Fidelity` with these settings alone."""
    if fidelity is not None:
        return {"fidelity": Fidelity(**fidelity)}
    metrics = {}
    for name, node in (generator.card["config"].get("evaluation") or {}).get("metrics", {}).items():
        config = dict(node)
        target = config.pop("_target_", None)
        require(
            target in METRIC_CLASSES and is_plain(config),
            f"{generator.path}: names the metric {target!r}; only {', '.join(METRIC_CLASSES)} are built from a "
            "checkpoint, with plain values; use --metrics",
        )
        if "folder" in config:
            config["folder"] = str(generator.path.parent.parent / "evaluation")
        try:
            metrics[name] = METRIC_CLASSES[target](**config)
        except TypeError as error:
            raise UserError(f"{generator.path}: its metric {name} does not fit this version ({error})") from error
    return metrics


@torch.no_grad()
def _generate(generator: Generator, batch: dict[str, Tensor]) -> Tensor:
    if isinstance(generator.network, tuple(SAMPLERS.values())):
        z = latents(batch["index"].tolist(), generator.network.latent_dim, seed=0)
        return draw(generator, z, batch["label"] if generator.card["generator"].get("n_classes") else None)
    device = next(generator.network.parameters()).device
    return infer(generator.network, batch["source"].to(device), generator.card["norm_mode"]).cpu()


def _read(folder: Folder, indices: Tensor) -> Tensor:
    return torch.stack([folder[index] for index in indices.tolist()]).float() / 127.5 - 1


def _batches(dataset: Dataset, count: int, size: int) -> Iterator[Any]:
    for begin in range(0, count, size):
        indices = list(range(begin, min(begin + size, count)))
        if hasattr(dataset, "__getitems__"):
            yield lambda indices=indices: dataset.__getitems__(indices)
        else:
            yield lambda indices=indices: default_collate([dataset[index] for index in indices])
