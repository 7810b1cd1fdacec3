"""Translates pictures with a trained generator; the checkpoint alone is enough."""

import json
from collections.abc import Sequence
from pathlib import Path

import networkx
import numpy as np
import torch
from rich.progress import track

from ganforge import images
from ganforge.checkpoint import Generator, load_generator
from ganforge.errors import UserError, require
from ganforge.folders import make_writable
from ganforge.lattice import Network, find_sites, read
from ganforge.networks import TRANSLATORS
from ganforge.networks.layers import infer


def predict(
    checkpoint: str | Path,
    pictures: Sequence[str | Path],
    output: str | Path,
    *,
    norm_mode: str | None = None,
    full_size: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write the translation of every picture (files, or all of folders) to `output`; returns the files written.

    Everything that can be wrong (a picture that does not decode, two of one name, a file that is already there) raises
    UserError before the first picture is translated.
    """
    generator = load_generator(checkpoint)
    require(
        isinstance(generator.network, tuple(TRANSLATORS.values())),
        f"{generator.path}: this model draws pictures from noise; use ganforge sample",
    )
    reads_networks = "networks" in generator.card["provides"]
    channels = generator.card["source_channels"]
    sources = _sources(pictures)
    output = Path(output)
    targets = [output / source.name for source in sources]
    written = [file for target in targets for file in _files(target, reads_networks)]
    _check(sources, channels, output, written, overwrite)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator.network.to(device)
    for source, target in track(list(zip(sources, targets, strict=True)), description="translating"):
        picture = images.read(source, channels)
        fitted, covered = (picture, picture.shape[:2]) if full_size else fit(picture, generator.card)
        generated = translate(generator, fitted, norm_mode)
        images.write(target, images.resize(generated[: covered[0], : covered[1]], picture.shape[:2]))
        if reads_networks:
            _write_network(target, _network(fitted, generated, np.divide(picture.shape[:2], covered)[::-1]))
    print(f"{len(sources)} pictures translated with {generator.path}, written to {output}")
    return written


def translate(generator: Generator, picture: np.ndarray, norm_mode: str | None = None) -> np.ndarray:
    """uint8 (H, W, C) -> uint8 (H, W, C') by the generator at this very size."""
    device = next(generator.network.parameters()).device
    source = torch.from_numpy(images.to_unit(picture))[None].to(device)
    generated = infer(generator.network, source, norm_mode or generator.card["norm_mode"])
    return images.from_unit(generated[0].cpu().numpy())


def fit(picture: np.ndarray, card: dict) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture at the size the model was trained with, and the height and width that it takes there.

    As in training: squashed to the square; or, for drawings, in proportion, with white paper added to the square.
    """
    size = card["size"]
    if card["fit_to_size"] == "squash":
        return images.resize(picture, (size, size)), (size, size)
    height, width = picture.shape[:2]
    factor = size / max(height, width)
    covered = (max(1, round(height * factor)), max(1, round(width * factor)))
    page = np.full((size, size, picture.shape[2]), 255, dtype=np.uint8)
    page[: covered[0], : covered[1]] = images.resize(picture, covered)
    return page, covered


def _network(source: np.ndarray, generated: np.ndarray, factors: np.ndarray) -> Network:
    """The network between the dots of the source, in pixels of the picture, `factors` (x, y) times as large."""
    found = read(generated[..., 0], find_sites(source[..., 0]))
    return Network(found.sites * factors, found.bonds)


def _write_network(target: Path, network: Network) -> None:
    json_file, graph_file = _files(target, True)[1:]
    plain = {"sites": network.sites.round(3).tolist(), "bonds": network.bonds.tolist()}
    json_file.write_text(json.dumps(plain) + "\n")
    graph = networkx.Graph()
    graph.add_nodes_from((i, {"x": x, "y": y}) for i, (x, y) in enumerate(plain["sites"]))
    graph.add_edges_from(network.bonds.tolist())
    networkx.write_graphml(graph, graph_file)


def _files(target: Path, network: bool) -> list[Path]:
    return [target, target.with_suffix(".json"), target.with_suffix(".graphml")] if network else [target]


def _sources(pictures: Sequence[str | Path]) -> list[Path]:
    found = []
    for path in map(Path, pictures):
        require(path.exists(), f"{path}: no such picture or folder")
        found += images.list_images(path) if path.is_dir() else [path]
    return found


def _check(sources: list[Path], channels: int, output: Path, written: list[Path], overwrite: bool) -> None:
    require(
        not output.exists() or output.is_dir(), f"--output {output}: is a file; give a folder, it is made if missing"
    )
    repeated = sorted({file.name for file in written if written.count(file) > 1})
    require(not repeated, f"pictures of one name would overwrite each other: {', '.join(repeated)}")
    existing = [file.name for file in written if file.exists()]
    require(
        overwrite or not existing,
        f"--output {output}: already holds {', '.join(existing[:5])}{' ...' if len(existing) > 5 else ''}; choose "
        "another folder, or --overwrite",
    )
    broken = []
    for source in sources:
        try:
            images.read(source, channels)
        except UserError as error:
            broken.append(str(error))
    require(not broken, "; ".join(broken))
    make_writable(output, f"--output {output}")
