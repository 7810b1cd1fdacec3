"""Walks between the pictures of a trained generator, as a sheet and a film."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganforge.commands.latent_files import numbers, targets
from ganforge.commands.sample import CHUNK, check_truncation, class_labels, draw, load_sampler
from ganforge.errors import require
from ganforge.game.latents import latents, slerp
from ganforge.pictures import films, images
from ganforge.pictures.grids import MOST_CLASSES, reduced, save, table
from ganforge.runs.generators import Generator

FRAMES = 24  # of the film from one picture to the next, at least
MOST_KEYS, MOST_STEPS = 32, 32
PAGE = 512  # px that pictures beside each other in a film have, about


def interpolate(
    checkpoint: str | Path,
    output: str | Path | None = None,
    *,
    walk: Sequence[int] | str = (0, 1, 2, 3),
    steps: int = 8,
    class_name: str | None = None,
    truncation: float = 1.0,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Walk between the latents of some images (numbers as `sample` writes them, or "0,5,7"), on a sphere (see `slerp`).

    Writes walk.png, a row of images from each to the next in `steps` steps, and the film walk.gif (walk.mp4), which
    returns to the start, into `output`; None: the folder latent of the run. Of a conditional generator without
    class_name all classes walk beside each other: a row of the sheet for each. truncation: see `latents`.
    """
    if isinstance(walk, str):
        walk = numbers(walk, f"--walk {walk}")
    generator = load_sampler(checkpoint)
    labels = classes(generator, class_name)
    keys = _keys(generator, walk, steps, truncation, seed)
    sheet, film = targets(generator, output, ["walk.png"], overwrite, films=["walk"])
    finer = -(-FRAMES // steps)
    pictures = torch.stack(
        [shown(generator, _path(keys, steps * finer, back=True), label, len(labels)) for label in labels]
    )
    n = (len(keys) - 1) * steps  # from the first to the last, which the film passes on its way back
    seen = pictures[:, ::finer][:, : n + 1]
    names = _said_of(generator, class_name)
    if len(labels) > 1:
        above = [f"{walk[place // steps]}" if place % steps == 0 else "" for place in range(n + 1)]
        save(table(seen, above, names), sheet)
    else:
        legs = [seen[0, leg * steps : (leg + 1) * steps + 1] for leg in range(len(keys) - 1)]
        names_of = [f"{start} to {end}" for start, end in pairwise(walk)]
        save(table(torch.stack(legs), [""] * (steps + 1), names_of), sheet)
    written = [sheet, *films.write([films.frame(moment) for moment in pictures.transpose(0, 1)], film)]
    said = f", {f'class {class_name}' if class_name is not None else 'each class'}" if names else ""
    print(f"images {', '.join(map(str, walk))} of seed {seed}{said}: " + ", ".join(map(str, written)))
    return written


def walked(generator: Generator, walk: Sequence[int], steps: int, truncation: float, seed: int) -> Tensor:
    """The latents (N, D) of a walk from the first to the last, `steps` from each to the next."""
    return _path(_keys(generator, walk, steps, truncation, seed), steps, back=False)


def drawn(generator: Generator, z: Tensor | np.ndarray, class_name: str | None) -> np.ndarray:
    """The images, uint8 (N, H, W, C), of latents (N, D) and of a class, without a name the first one."""
    z = torch.as_tensor(z, dtype=torch.float32)
    dim = generator.network.latent_dim
    require(z.ndim == 2 and z.shape[1] == dim, f"latents {list(z.shape)}: this model takes (n, {dim})")
    label = one_class(generator, class_name)
    pictures = draw(generator, z, None if label is None else label.expand(len(z)))
    return np.stack([images.from_unit(picture.numpy()) for picture in pictures])


def classes(generator: Generator, class_name: str | None) -> list[Tensor | None]:
    """The labels (1,) of the classes that are drawn: the one that is asked, all without it; [None]: it is told none."""
    if not generator.told_label or class_name is not None:
        return [class_labels(generator, class_name, 1)]
    names = generator.card["class_names"]
    require(
        len(names) <= MOST_CLASSES,
        f"{generator.path}: {len(names)} classes are more than {MOST_CLASSES} that fit on a sheet; choose one by "
        "--class NAME",
    )
    return list(torch.arange(len(names)).split(1))


def one_class(generator: Generator, class_name: str | None) -> Tensor | None:
    """The label (1,) of a class, without a name that of the first; None for a generator that is told none."""
    if class_name is None and generator.told_label:
        class_name = generator.card["class_names"][0]
    return class_labels(generator, class_name, 1)


def _said_of(generator: Generator, class_name: str | None) -> list[str]:
    if class_name is not None:
        return [class_name]
    return [str(name) for name in generator.card["class_names"]] if generator.told_label else []


def _keys(generator: Generator, walk: Sequence[int], steps: int, truncation: float, seed: int) -> Tensor:
    said = ",".join(map(str, walk[: MOST_KEYS + 1]))
    require(
        2 <= len(walk) <= MOST_KEYS and min(walk) >= 0,
        f"--walk {said}: two or more image numbers, and {MOST_KEYS} at most",
    )
    require(2 <= steps <= MOST_STEPS, f"--steps {steps}: 2 to {MOST_STEPS}")
    require(seed >= 0, f"--seed {seed}: 0 or more")
    check_truncation(generator, truncation)
    return latents(walk, generator.network.latent_dim, seed, truncation)


def _path(keys: Tensor, steps: int, back: bool) -> Tensor:
    """Latents (N, D) from each key to the next, on to the first again or ending with the last."""
    legs = [
        torch.stack([slerp(start, end, step / steps) for step in range(steps)])
        for start, end in zip(keys if back else keys[:-1], keys.roll(-1, 0), strict=back)
    ]
    return torch.cat(legs if back else [*legs, keys[-1:]])


def shown(generator: Generator, z: Tensor, label: Tensor | None, n: int) -> Tensor:
    """Images (B, C, H, W) in [-1, 1] of latents (B, D), made so small that n of them fit beside each other."""
    most = max(32, PAGE // math.ceil(max(n, 4) ** 0.5))
    chunks = []
    for chunk in z.split(CHUNK):
        drawn = draw(generator, chunk, None if label is None else label.expand(len(chunk)))
        chunks.append(reduced(drawn, most))
    return torch.cat(chunks)
