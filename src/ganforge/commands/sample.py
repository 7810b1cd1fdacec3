"""New images from a trained generator; the checkpoint alone is enough."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable, plain_name
from ganforge.game.latents import latents
from ganforge.pictures import images
from ganforge.pictures.grids import by_class, save
from ganforge.runs.generators import Generator, check_size, load_generator

# The network always sees this many at once: its last bits may depend on it, and equal seeds shall give equal files.
CHUNK = 8
IN_GRID = 64
PIXELS_IN_GRID = 2**26  # at most; of large pictures there are fewer


def sample(
    checkpoint: str | Path,
    n: int,
    output: str | Path,
    *,
    class_name: str | None = None,
    truncation: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    overwrite: bool = False,
) -> list[Path]:
    """Write images 0 to n - 1 of a seed as `output`/000000.png, ..., and a grid of the first 64 beside the folder.

    Of a conditional generator all are of the class `class_name`; without it the classes take turns, each with a folder
    of its own name in `output` (see `plain_name`). Image i is the same for any n and batch_size. truncation: see
    `latents`. Raises UserError before the first image is drawn; returns the files of the images.
    """
    generator = load_sampler(checkpoint)
    require(batch_size >= 1, f"--batch-size {batch_size}: 1 or more")
    drawn = pictures(generator, n, class_name=class_name, truncation=truncation, seed=seed, batch_size=batch_size)
    labels = class_labels(generator, class_name, n)
    output = Path(output)
    names = generator.card.get("class_names", [])
    files = [
        output / (plain_name(names[labels[i]]) if labels is not None and class_name is None else "") / f"{i:06d}.png"
        for i in range(n)
    ]
    beside = output if output.name.strip(".") else output.resolve()
    grid = beside.parent / plain_name(beside.name, "_grid.png")
    existing = [str(file) for file in [*files, grid] if file.exists()]
    require(
        overwrite or not existing,
        f"--output {output}: {', '.join(existing[:3])}{' ...' if len(existing) > 3 else ''} is already there; choose "
        "another folder, or --overwrite",
    )
    for folder in {output, *(file.parent for file in files)}:
        make_writable(folder, f"--output {folder}")

    first: list[np.ndarray] = []
    for index, picture in enumerate(track(drawn, total=n, description="drawing", disable=n <= batch_size)):
        images.write(files[index], picture)
        if index < max(1, min(IN_GRID, PIXELS_IN_GRID // picture[..., 0].size)):
            first.append(images.to_unit(picture))
    shown = torch.from_numpy(np.stack(first))
    save(by_class(shown, labels[: len(shown)] if labels is not None and class_name is None else None, names), grid)
    print(f"{n} images of {generator.path}, seed {seed}, written to {output}\ngrid: {grid}")
    return files


def pictures(
    generator: Generator,
    n: int,
    *,
    class_name: str | None = None,
    truncation: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
) -> Iterator[np.ndarray]:
    """Images 0 to n - 1 of a seed, uint8 (H, W, C), drawn batch_size at a time; see `sample`.

    Raises UserError before the first is drawn.
    """
    require(n >= 1, f"-n {n}: 1 or more images")
    require(seed >= 0, f"--seed {seed}: 0 or more")
    of_styles = "truncation" in inspect.signature(generator.network.forward).parameters
    check_truncation(generator, truncation, of_styles)
    of_latents, of_styles = (1.0, truncation) if of_styles else (truncation, 1.0)
    labels = class_labels(generator, class_name, n)

    def drawn() -> Iterator[np.ndarray]:
        for begin in range(0, n, batch_size):
            indices = range(begin, min(begin + batch_size, n))
            z = latents(indices, generator.network.latent_dim, seed, of_latents)
            told = None if labels is None else labels[indices.start : indices.stop]
            for picture in draw(generator, z, told, of_styles):
                yield images.from_unit(picture.numpy())

    return drawn()


def load_sampler(checkpoint: str | Path) -> Generator:
    """A trained generator from noise; raises UserError for one that translates pictures."""
    return as_sampler(load_generator(checkpoint))


def as_sampler(generator: Generator) -> Generator:
    """A generator that was loaded, on the device that draws; raises UserError as `load_sampler`."""
    require(
        isinstance(generator, Generator),
        f"{generator.path}: pictures are drawn from noise with a checkpoint; give that of the run",
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    require(
        generator.output.fed == "latent",
        f"{generator.path}: this model translates pictures; use ganforge predict",
    )
    check_drawing(generator)
    generator.network.to(device)
    return generator


def check_drawing(generator: Generator) -> None:
    """Raise UserError where a generator from noise needs more memory than there is."""
    labels = [(CHUNK,)] if generator.told_label else []
    check_size(generator, (CHUNK, generator.network.latent_dim), *labels, said=f"{CHUNK} pictures of it")


def check_truncation(generator: Generator, truncation: float, of_styles: bool = False) -> None:
    """Raise UserError for one outside (0, 1], and of latents where the generator draws the same of shorter ones."""
    require(
        0 < truncation <= 1,
        f"--truncation {truncation}: above 0 (where all are alike) and at most 1 (as in the training)",
    )
    if truncation == 1 or of_styles:
        return
    z = latents(range(2), generator.network.latent_dim, seed=0)
    labels = class_labels(generator, None, len(z))
    difference = (draw(generator, z, labels) - draw(generator, truncation * z, labels)).abs().max()
    require(
        bool(difference > 1e-3),
        f"--truncation {truncation}: {generator.path} draws the same whatever the length of its latents (its network "
        "normalizes them, as ProGAN and StyleGAN do); leave it out",
    )


def class_labels(generator: Generator, class_name: str | None, n: int) -> Tensor | None:
    """Labels (n,) for a conditional generator: all of one class, or the classes in turn; None for any other."""
    names = generator.card.get("class_names", [])
    if not generator.told_label:
        require(class_name is None, f"--class {class_name}: {generator.path} was not told classes in training")
        return None
    if class_name is None:
        return torch.arange(n) % len(names)
    if class_name not in names:
        raise UserError(f"--class {class_name}: no such class; choose one of {', '.join(names)}")
    return torch.full((n,), names.index(class_name))


@torch.no_grad()
def draw(generator: Generator, z: Tensor, labels: Tensor | None, truncation: float = 1.0) -> Tensor:
    """Images (B, C, H, W) in [-1, 1], on the CPU, of latents (B, latent_dim). truncation: of styles, if it has them."""
    told = {"truncation": truncation} if truncation < 1 else {}
    device = next(generator.network.parameters()).device
    drawn = []
    for begin in range(0, len(z), CHUNK):
        chunk, label = z[begin : begin + CHUNK], None if labels is None else labels[begin : begin + CHUNK]
        missing = CHUNK - len(chunk)
        chunk = torch.cat([chunk, chunk[:1].expand(missing, -1)]).to(device)
        label = None if label is None else torch.cat([label, label[:1].expand(missing)]).to(device)
        drawn.append(generator.network(chunk, label, **told)[: CHUNK - missing].float().cpu())
    return generator.checked(torch.cat(drawn)).clamp(-1, 1)
