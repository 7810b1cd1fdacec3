"""The table of a run again, or of any two folders of pictures."""

import itertools
import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset, default_collate

import ganforge.data
import ganforge.evaluation
from ganforge.commands.directions import by_test_set, most_cases, other, shown
from ganforge.commands.picture_folder import Folder
from ganforge.commands.sample import check_drawing, draw
from ganforge.data.module import DataModule
from ganforge.errors import UserError, require
from ganforge.evaluation import pixels
from ganforge.evaluation.domains import DomainMetrics
from ganforge.evaluation.features import open_network
from ganforge.evaluation.fidelity import Fidelity, compare
from ganforge.evaluation.measures import METRICS
from ganforge.evaluation.partners import source_of
from ganforge.evaluation.pixels import NUMBERS
from ganforge.evaluation.running import RunningMetrics
from ganforge.files.folders import make_writable
from ganforge.game.latents import latents
from ganforge.networks.layers import infer
from ganforge.pictures import sketches
from ganforge.pictures.tensors import to_unit
from ganforge.runs import summary
from ganforge.runs.checkpoint import sides_in
from ganforge.runs.classes import NOT_THERE, classes, named
from ganforge.runs.generators import Generator, check_size, is_plain, load_generator

_BATCH = 64
_MOST = 10**6  # pictures, resamples and the like that a checkpoint may ask for
_FREE = ("seed", "split_seed", "cache_bytes")  # numbers that are no amounts of work
_METRIC = ("stages", "monitor", "update", "compute", "reset")


def evaluate(
    subject: str | Path,
    *,
    against: str | Path | None = None,
    pictures: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    extractor: str | None = None,
    weights: str | None = None,
    n: int | None = None,
    norm_mode: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Print the table of `subject` and return its numbers.

    subject: a run or checkpoint, whose data and metrics are those it was trained with; or a folder of pictures,
    compared with those of the folder `against`. pictures: a folder of pictures to judge in place of what the model
    generates. metrics (of fid, kid, is, precision, recall; swd, diversity, duplicates need no weights), extractor,
    weights: in place of the run's. n: how many are generated; None for as many as at the end of the run. norm_mode:
    running or batch statistics of the normalization, in place of the run's. output: a JSON file for the numbers; of
    translations also a folder beside it, NAME_pictures, for those that came out worst.
    """
    unknown = [name for name in metrics or [] if name not in (*METRICS, *NUMBERS)]
    require(
        not unknown,
        f"--metrics {','.join(metrics or [])}: choose from {', '.join(METRICS)}, or of those that need no weights "
        f"{', '.join(NUMBERS)}",
    )
    by_features = [name for name in metrics or METRICS if name in METRICS]
    in_pixels = [name for name in metrics or [] if name in NUMBERS]
    for name, file in (("extractor", extractor), ("weights", weights)):
        require(
            file is None or bool(by_features), f"--{name} {file}: not needed for {', '.join(in_pixels)}; leave it out"
        )
    folder = None
    if output is not None:
        folder = Path(output).with_name(f"{Path(output).stem}_pictures")
        for path in (Path(output), folder):
            require(overwrite or not path.exists(), f"--output {output}: {path} is already there; or --overwrite")
        make_writable(Path(output).parent, f"--output {output}")
    fidelity = {"metrics": by_features, "extractor": extractor, "weights": weights} if by_features else None
    own = (fidelity, in_pixels) if metrics or extractor or weights else None
    try:
        if against:
            results = of_folders(subject, against, fidelity, in_pixels)
        else:
            results = of_run(subject, pictures, own, n, folder, norm_mode)
    except UserError as error:
        raise UserError(_as_options(str(error))) from error
    summary.tables(results, summary.test_names(results) or ["test"], Console())
    if output is not None:
        summary.write(results, Path(output))
        print(f"numbers: {output}")
    return results


def _as_options(message: str) -> str:
    """A sentence about settings of a training with the options of the command."""
    message = message.replace("add evaluation=pixels", "add --metrics swd")
    return re.sub(r"evaluation\.metrics\.fidelity\.(metrics|extractor|weights)=", r"--\1 ", message)


def of_folders(
    generated: str | Path, real: str | Path, fidelity: dict[str, Any] | None, in_pixels: Sequence[str]
) -> dict[str, Any]:
    """The numbers of one folder of pictures against another; all pictures must be of one size.

    fidelity: settings of `ganforge.evaluation.fidelity.compare`; in_pixels: of `ganforge.evaluation.pixels.NUMBERS`.
    """
    values, said = {}, {}
    if fidelity:
        channels = None if fidelity["extractor"] is None else open_network(fidelity["extractor"], None).channels
        channels = channels or 3
        values, about = compare(Folder(generated, channels), Folder(real, channels), **fidelity, reference=str(real))
        said["test/fidelity"] = about
    if in_pixels:
        found, said["test/pixels"] = pixels.compare(Folder(generated, 3), Folder(real, 3), reference=str(real))
        values |= {name: found[name] for name in in_pixels}
    return {**{f"test/{key}": value for key, value in values.items()}, "evaluation": said}


def of_run(
    checkpoint: str | Path,
    pictures: str | Path | None,
    own: tuple[dict[str, Any] | None, Sequence[str]] | None,
    n: int | None,
    folder: Path | None = None,
    norm_mode: str | None = None,
) -> dict[str, Any]:
    """The numbers of a run's generator, or of a folder of pictures, on the run's test set; of both directions.

    own: what is computed in place of the run's metrics, as for `of_folders`. folder: for the worst pictures.
    """
    generator = load_generator(checkpoint)
    generator.card["norm_mode"] = norm_mode or generator.card["norm_mode"]
    try:
        data = rebuild_data(generator, n)
        require(
            own is None or not own[1] or "paired" not in data.provides,
            f"--metrics {','.join(own[1] if own else ())}: are of pictures from noise, and this run translates; "
            "without --metrics its own numbers are computed again",
        )
        evaluation = RunningMetrics(metrics=rebuild_metrics(generator, own), worst=most_cases(generator), folder=folder)
        evaluation.choose(data)
        generators = by_test_set(generator, data)
    except (UserError, OSError):
        raise
    except Exception as error:  # settings of any type, from anyone
        raise UserError(
            f"{generator.path}: its data or metrics cannot be made again ({type(error).__name__}: {error})"
        ) from error
    drawn = None
    if pictures is not None:
        channels = data.real("test")[0].shape[0]
        drawn = Folder(pictures, channels)
        translates = {"paired", "domains"} & data.provides
        require(not translates, f"--images {pictures}: only for models that draw from noise")
    if drawn is None and generator.output.fed == "latent":
        check_drawing(generator)
    else:
        for own_generator in generators.values() if drawn is None else ():
            shape = (_BATCH, own_generator.channels, data.size, data.size)
            labels = [] if own_generator.domains is None else [(_BATCH, len(own_generator.domains.names))]
            check_size(own_generator, shape, *labels, said=f"{_BATCH} of its pictures")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for each in generators.values():
        each.network.to(device)
    evaluation.card = generator.card
    evaluation.begin("test", list(generators), device)
    values = {}
    for name, (there, back) in {name: (own, other(generators, name)) for name, own in generators.items()}.items():
        dataset = data.sets[name]
        count = len(dataset) if drawn is None else len(drawn)
        for batch in track(list(_batches(dataset, count, _BATCH)), description="evaluating"):
            batch = batch()
            if there.told_label:
                batch["asked_label"] = batch["label"]
            generated = _generate(there, batch) if drawn is None else _read(drawn, batch["index"])
            if back is not None:
                batch["back"] = _translate(back, generated)
            evaluation.update(name, batch, generated, dataset, partial(shown, data, batch, generated))
        values |= evaluation.compute(name)
    for name in NUMBERS if own else ():
        if name not in own[1]:
            values.pop(f"test/{name}", None)
    return {**values, "evaluation": evaluation.descriptions, "checkpoint": str(generator.path)}


def known_data() -> dict[str, type]:
    """Path -> class, of the data sets in `ganforge.data`."""
    return classes(ganforge.data, lambda kind: issubclass(kind, DataModule) and kind is not DataModule)


def known_metrics() -> dict[str, type]:
    """Path -> class, of the metrics in `ganforge.evaluation`: see `ganforge.evaluation.running.RunningMetrics`."""
    return classes(ganforge.evaluation, lambda kind: all(hasattr(kind, name) for name in _METRIC))


def rebuild_data(generator: Generator, n: int | None = None) -> DataModule:
    """The data module that a checkpoint names: one of `known_data`, with plain values; else UserError.

    It is read as in the training, but what is decoded is kept where it is by default: a checkpoint names no place to
    write to.
    """
    path, card = generator.path, generator.card
    node = card["config"].get("data")
    sketch = node.get("sketch") if isinstance(node, dict) else None
    config = _settings(node if sketch is None else {**node, "sketch": None}, f"{path}: its data")
    if sketch is not None and config.get("source") == "sketch":
        config["sketch"] = sketches.of_card(sketch)
    for key in ("size", "channels", "source_channels", "target_channels"):
        require(config.get(key) == card.get(key), f"{path}: data.{key} contradicts what it says of itself")
    if n is not None:
        config["n_test"] = n
    known = known_data()
    kind = known.get(config.pop("_target_"))
    require(
        kind is not None,
        f"{path}: names data that is not built from a checkpoint; only those of ganforge.data are ({named(known)})"
        + NOT_THERE,
    )
    if "cache_dir" in config:
        config["cache_dir"] = str(_cache("pictures"))
    config |= {name: value for name, value in (("download", False), ("num_workers", 0)) if name in config}
    try:
        data = kind(**config)
    except TypeError as error:
        raise UserError(f"{path}: its data does not fit this version of ganforge ({error})") from error
    data.adopt(sides_in(card))
    data.serve(card["outputs"])
    told = generator.told_label or generator.domains is not None
    require(
        not told or list(data.class_names) == card["class_names"],
        f"{path}: was told the classes {reprlib.repr(card.get('class_names'))} in training, but its data has "
        f"{reprlib.repr(list(data.class_names))}; give the data that it was trained with",
    )
    return data


def _settings(node: Any, said: str) -> dict[str, Any]:
    """A checkpoint's arguments of one class: plain values that do not ask for work without end."""
    config = dict(node) if isinstance(node, dict) else {}
    target = config.pop("_target_", None)
    require(is_plain(config), f"{said} settings are not plain values")
    absurd = [
        f"{name}={value}"
        for name, value in config.items()
        if name not in _FREE and isinstance(value, int | float) and not abs(value) <= _MOST  # NaN neither
    ]
    require(not absurd, f"{said} has settings beyond {_MOST:,}: {', '.join(absurd)}")
    return {"_target_": target if isinstance(target, str) else None, **config}


def _cache(name: str) -> Path:
    return Path(os.environ.get("GANFORGE_CACHE") or "~/.cache/ganforge") / name


def _new_folder() -> Path:
    """Where one stands, `evaluation` or a name like it that is not there."""
    names = itertools.chain(["evaluation"], (f"evaluation_{n}" for n in itertools.count(2)))
    return next(folder for folder in map(Path, names) if not folder.exists())


def rebuild_metrics(generator: Generator, own: tuple[dict[str, Any] | None, Sequence[str]] | None) -> dict[str, Any]:
    """The metrics that a checkpoint names, of `known_metrics`; or those that `own` asks for."""
    if own is not None:
        fidelity, in_pixels = own
        if generator.domains is not None:
            return {"domains": DomainMetrics(extractor=(fidelity or {}).get("extractor"))}
        chosen = {"fidelity": Fidelity(**fidelity, cache_dir=_cache("features"))} if fidelity else {}
        return chosen | ({"pixels": pixels.PixelMetrics()} if in_pixels else {})
    evaluation = generator.card["config"].get("evaluation")
    nodes = evaluation.get("metrics") if isinstance(evaluation, dict) else None
    metrics, known = {}, known_metrics()
    for name, node in nodes.items() if isinstance(nodes, dict) else ():
        if node is None:  # left out
            continue
        target = node.get("_target_") if isinstance(node, dict) else None
        require(
            isinstance(target, str)
            and target in known
            and is_plain({key: node[key] for key in node if key != "_target_"}),
            f"{generator.path}: names the metric {reprlib.repr(target)}; only those of "
            f"ganforge.evaluation are built from a checkpoint, with plain values ({named(known)}){NOT_THERE}; or "
            "use --metrics",
        )
        config = _settings(node, f"{generator.path}: its metric {name}")
        del config["_target_"]
        if "folder" in config:
            config["folder"] = str(_new_folder())
        if "cache_dir" in config:
            config["cache_dir"] = str(_cache("features"))
        try:
            metrics[name] = known[target](**config)
        except TypeError as error:
            raise UserError(f"{generator.path}: its metric {name} does not fit this version ({error})") from error
    return metrics


@torch.no_grad()
def _generate(generator: Generator, batch: dict[str, Tensor]) -> Tensor:
    if generator.output.fed == "latent":
        z = latents(batch["index"].tolist(), generator.network.latent_dim, seed=0)
        return draw(generator, z, batch["label"] if generator.told_label else None)
    if generator.domains is None:
        return _translate(generator, source_of(batch))
    network, device = generator.network.eval(), next(generator.network.parameters()).device
    generated = generator.checked(network(batch["source"].to(device), batch["target_labels"].to(device)))
    batch["back"] = network(generated, batch["labels"].to(device)).cpu()
    return generated.cpu()


@torch.no_grad()
def _translate(generator: Generator, pictures: Tensor) -> Tensor:
    device = next(generator.network.parameters()).device
    return generator.checked(infer(generator.network, pictures.to(device), generator.card["norm_mode"])).cpu()


def _read(folder: Folder, indices: Tensor) -> Tensor:
    return to_unit(torch.stack([folder[index] for index in indices.tolist()]))


def _batches(dataset: Dataset, count: int, size: int) -> Iterator[Any]:
    for begin in range(0, count, size):
        indices = list(range(begin, min(begin + size, count)))
        if hasattr(dataset, "__getitems__"):
            yield lambda indices=indices: dataset.__getitems__(indices)
        else:
            yield lambda indices=indices: default_collate([dataset[index] for index in indices])
