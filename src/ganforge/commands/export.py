"""Writes a trained generator for other runtimes: one .onnx or .pt2 file, or a folder for the Hugging Face Hub."""

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ganforge.commands import graphs
from ganforge.commands.graphs import Graph
from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable, replace
from ganforge.files.untrusted import printable
from ganforge.networks.layers import NORM_MODES
from ganforge.runs import exported
from ganforge.runs.generators import Generator, load_generator
from ganforge.runs.onnx_model import INSTALL
from ganforge.runs.torch_engine import halvings

FORMATS = ("onnx", "pt2", "safetensors")
_PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": (), "safetensors": ("safetensors",)}


def export(
    checkpoint: str | Path,
    output: str | Path,
    *,
    format: str,
    direction: str | None = None,
    norm_mode: str | None = None,
    license: str = exported.UNKNOWN_LICENCE,
    push: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the generator that users get (moving average, statistics of the training) to `output`; returns it.

    format: "onnx" or "pt2": a file, which is compared with PyTorch at three shapes before it is written, or
    "safetensors": a folder with model.safetensors, config.json and README.md, that `ganforge.load` opens. direction: of
    a model that has several outputs, which; a folder holds all. norm_mode: "running" freezes a generator that
    takes the statistics and the dropout of each batch. push: the repository on the Hub to which a folder is uploaded.

    Raises UserError, with nothing left behind, for what cannot be exported, and where the results differ by more than
    `ganforge.runs.exported` allows.
    """
    require(format in FORMATS, f"--format {format}: choose one of {', '.join(FORMATS)}")
    require(push is None or format == "safetensors", "--push: uploads a folder; use --format safetensors")
    require(license.isprintable() and 0 < len(license) <= 100, "--license: a short name, such as mit or cc-by-4.0")
    _check_packages(format, push)
    output, is_folder = Path(output), format == "safetensors"
    _check_output(output, is_folder, overwrite)
    require(direction is None or not is_folder, "--direction: a folder of safetensors holds all of them; leave it out")
    generator = load_generator(checkpoint, direction)
    _check_mode(generator, norm_mode)
    if is_folder:
        from ganforge.commands import hub_folder

        hub_folder.write(generator, output, license)
        if push is not None:
            hub_folder.push(output, push)
        return output
    card, parity = _graph(generator, direction, output, format, license)
    for one in parity:
        print(
            f"{one['shape']}: differs from PyTorch by {one['largest_difference']:.2g}, {one['grey_levels']} grey levels"
        )
    said = [f"{card[exported.SECTION]['model']}, {', '.join(card['outputs'])}", f"{output.stat().st_size:,} bytes"]
    print(printable(f"{output}: {'; '.join(said)}"))
    return output


def _graph(
    generator: Generator, direction: str | None, output: Path, format: str, license: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write a file of one graph; returns its card and how far it is from PyTorch."""
    make_writable(output.resolve().parent, f"--output {output}")
    generator.network.cpu()
    graph = Graph(generator)
    name = direction or next(iter(generator.card["outputs"]))
    card = exported.card_of(generator.card, [name])
    card["norm_mode"] = "running"
    section = card[exported.SECTION] = said_of(generator, name, format, license)
    if format == "onnx":
        plain = graph.onnx()
        parity = graph.measured(graphs.onnx_draw(plain, graph.inputs), "ONNX Runtime")
    else:
        program = graph.program()
        parity = graph.measured(graphs.pt2_draw(graphs.saved(program, {})), "torch.export")
    section |= {"numbers_per_pixel": graph.numbers_per_pixel, "parity": parity}
    if format == "onnx":
        content = graphs.with_metadata(plain, metadata(card))
        _check_own(content, output)
    else:
        content = graphs.saved(program, metadata(card))
    with replace(output) as file:
        file.write(content)
    return card, parity


def said_of(generator: Generator, name: str, format: str, license: str) -> dict[str, Any]:
    """What an export says of itself; see `ganforge.runs.exported.check`."""
    config, network = generator.card["config"], generator.network
    packages = [*_PACKAGES[format], "torch", "ganforge"]
    return {
        "format": format,
        "model": str(config.get("name") or type(network).__name__),
        "output": name,
        "network": type(network).__name__,
        "value_range": "[-1, 1]" if generator.card.get("sides") is None else "as sides.normalization says",
        "step": halvings(network) if generator.output.fed == "picture" else 1,
        "halvings": halvings(network),
        "has_own_statistics": any(isinstance(module, nn.InstanceNorm2d) for module in network.modules()),
        "out_channels": generator.card["networks"][generator.output.network].get("out_channels"),
        "license": license,
        "weights_sha256": graphs.weights_hash(network),
        "versions": {name: _version(name) for name in packages},
    }


def metadata(card: dict[str, Any]) -> dict[str, str]:
    """The card for a file, whole as JSON and its parts in plain words for readers other than ganforge."""
    section, sides = card[exported.SECTION], card.get("sides")
    plain = {
        "model": section["model"],
        "output": section["output"],
        "value_range": section["value_range"],
        "step": str(section["step"]),
        "license": section["license"],
        "data_fingerprint": str(card.get("data_fingerprint")),
        "weights_sha256": section["weights_sha256"],
        "bands": json.dumps(None if sides is None else {side: own["bands"] for side, own in sides.items()}),
        "domains": json.dumps(card.get("domains")),
        "classes": json.dumps(card.get("class_names")),
        "colour_space": str(card.get("colour_space")),
        "versions": json.dumps(section["versions"]),
        "parity": json.dumps(section["parity"]),
    }
    return {exported.KEY: json.dumps(card, allow_nan=False), **plain}


def _check_own(content: bytes, output: Path) -> None:
    """Raise UserError where what would be written would not be opened again."""
    import tempfile

    from ganforge.runs.onnx_model import load_onnx

    with tempfile.TemporaryDirectory(prefix="ganforge-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(content)
        try:
            load_onnx(file)
        except UserError as error:
            raise UserError(f"{output}: is not written, as it could not be opened again: {error}") from error


def _check_mode(generator: Generator, norm_mode: str | None) -> None:
    """Raise UserError for a generator that takes the statistics of its batch, unless it is to be frozen."""
    require(norm_mode in (None, *NORM_MODES), f"--norm-mode {norm_mode}: choose one of {', '.join(NORM_MODES)}")
    trained = generator.card["norm_mode"]
    dropout = any(isinstance(module, nn.Dropout) and module.p > 0 for module in generator.network.modules())
    what = "the statistics of each picture" + (" and dropout as noise" if dropout else "")
    require(
        (norm_mode or trained) == "running",
        f"{generator.path}: its generator uses {what} (norm_mode=batch), which no exported file does; --norm-mode "
        "running exports it frozen, with the statistics of the training and without noise, so that it draws otherwise",
    )
    if trained != "running":
        print(f"frozen: the statistics of the training in place of {what}; it draws otherwise than the checkpoint does")


def _check_output(output: Path, is_folder: bool, overwrite: bool) -> None:
    require(
        is_folder or not output.is_dir(),
        f"--output {output}: is a folder; give a file, such as {output / 'model'}.onnx",
    )
    require(not is_folder or not output.is_file(), f"--output {output}: is a file; give a folder, made if missing")
    there = any(output.iterdir()) if output.is_dir() else output.exists()
    require(overwrite or not there, f"--output {output}: is already there; choose another name, or --overwrite")


def _check_packages(format: str, push: str | None) -> None:
    wanted: Sequence[str] = [*_PACKAGES[format], *(["huggingface_hub"] if push else [])]
    missing = [name for name in wanted if _version(name) == "missing"]
    require(not missing, f"--format {format}: needs {', '.join(missing)}, which is not installed: {INSTALL}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
