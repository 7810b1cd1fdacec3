"""Translates pictures with a trained generator; the checkpoint alone is enough."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from ganforge.commands.sources import Source, check, find
from ganforge.errors import require
from ganforge.files.folders import make_writable, plain_name
from ganforge.files.untrusted import printable
from ganforge.networks.layers import infer
from ganforge.pictures import images
from ganforge.runs.generators import Generator, check_size, load_generator


def predict(
    checkpoint: str | Path,
    pictures: Sequence[str | Path],
    output: str | Path,
    *,
    direction: str | None = None,
    norm_mode: str | None = None,
    full_size: bool = False,
    recursive: bool = False,
    skip_broken: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write the translation of every picture (files, or all of folders) to `output`; returns the files written.

    direction: which output of a model that has several, such as AtoB; None for the first. recursive: also of folders in
    the folders, into folders of the same names. skip_broken: pictures that do not decode are left out, and said.
    Everything that can be wrong (a picture that does not decode, two of one name, a file that is already there) raises
    UserError before the first picture is translated. Names are kept, unless they are none for a file of `output`;
    formats that are read and not written (GIF) become PNG. Of several pages or frames the first is translated.
    """
    generator = load_generator(checkpoint, direction)
    require(
        generator.output.fed == "picture",
        f"{generator.path}: this model draws pictures from noise; use ganforge sample",
    )
    reads_networks = "networks" in generator.card["provides"]
    if reads_networks:
        from ganforge.commands import bonds  # other translations need none of SciPy

    channels, size = generator.channels, generator.card["size"]
    sources, notes = find(pictures, recursive)
    shapes, broken = check(sources, channels)
    hint = "; --skip-broken leaves them out" if shapes else ""
    require(not broken or (skip_broken and bool(shapes)), "; ".join(broken) + hint)
    output = Path(output)
    targets = {source: _files(output, source, reads_networks) for source in shapes}
    written = [file for files in targets.values() for file in files]
    _check_targets(output, written, overwrite)
    for height, width in dict.fromkeys(shapes.values()) if full_size else [(size, size)]:
        if reads_networks:
            bonds.check_size(height, width)
        check_size(generator, (1, channels, height, width), said=f"a picture of {width}×{height} px")
    for folder in {output, *(file.parent for file in written)}:
        make_writable(folder, f"--output {folder}")

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator.network.to(device)
    for source, (target, *network_files) in track(list(targets.items()), description="translating"):
        picture = images.read(source.file, channels)
        fitted, covered = (picture, picture.shape[:2]) if full_size else fit(picture, generator.card)
        generated = translate(generator, fitted, norm_mode)
        images.write(target, images.resize(generated[: covered[0], : covered[1]], picture.shape[:2]))
        if reads_networks:
            network = bonds.between(fitted, generated, np.divide(picture.shape[:2], covered)[::-1])
            bonds.write(network, *network_files)
    print(f"{len(targets)} pictures translated with {generator.path}, written to {output}")
    several = [source.file.name for source in targets if images.pages(source.file) > 1]
    notes += [f"of several pages the first was translated: {', '.join(several)}"] if several else []
    notes += [f"left out {len(broken)} broken pictures:", *broken] if broken else []
    print(*(printable(note) for note in notes), sep="\n", end="\n" if notes else "")
    return written


def translate(generator: Generator, picture: np.ndarray, norm_mode: str | None = None) -> np.ndarray:
    """uint8 (H, W, C) -> uint8 (H, W, C') by the generator at this very size."""
    device = next(generator.network.parameters()).device
    source = torch.from_numpy(images.to_unit(picture))[None].to(device)
    generated = infer(generator.network, source, norm_mode or generator.card["norm_mode"])
    return images.from_unit(generator.checked(generated[0]).cpu().numpy())


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


def _files(output: Path, source: Source, network: bool) -> list[Path]:
    """What is written for a picture: the translation under its name, and the two files of a network."""
    suffix = source.file.suffix if source.file.suffix.lower() in images.SUFFIXES else ".png"
    folder = output.joinpath(*map(plain_name, source.below.parts))
    return [folder / plain_name(source.file.stem, end) for end in [suffix, *([".json", ".graphml"] if network else [])]]


def _check_targets(output: Path, written: list[Path], overwrite: bool) -> None:
    require(
        not output.exists() or output.is_dir(), f"--output {output}: is a file; give a folder, it is made if missing"
    )
    repeated = sorted({str(file.relative_to(output)) for file in written if written.count(file) > 1})
    require(not repeated, f"pictures of one name would overwrite each other: {', '.join(repeated)}")
    existing = [str(file.relative_to(output)) for file in written if file.exists()]
    require(
        overwrite or not existing,
        f"--output {output}: already holds {', '.join(existing[:5])}{' ...' if len(existing) > 5 else ''}; choose "
        "another folder, or --overwrite",
    )
