"""The picture of a trained generator that is nearest to a real one, found by optimization of its latent."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional

from ganforge.commands.latent_files import targets
from ganforge.commands.sample import CHUNK, class_labels, load_sampler
from ganforge.commands.sources import check, find
from ganforge.data.decoded import Fit
from ganforge.errors import require
from ganforge.files.folders import replace
from ganforge.game.latents import latents
from ganforge.networks.perceptual import PerceptualDistance, read_heads
from ganforge.networks.squeezenet import read_squeezenet
from ganforge.pictures import images
from ganforge.pictures.grids import reduced, save, table
from ganforge.runs.generators import Generator

CANDIDATES = 256  # latents that are looked at before the optimization
RATE, WARM, COOL = 0.1, 0.05, 0.25  # of Adam; shares of the steps (Karras et al. 2020, appendix D)
LONGER = 2.0  # than the mean length: one in a thousand latents of N(0, 1) is
SHOWN = 256  # px, of a picture on the sheet, at most
MOST_SHOWN, MOST_STEPS, MOST_RESTARTS = 32, 100_000, 64
_LEAST_SIDE = 4  # px, of the coarsest scale


@dataclass(frozen=True)
class Projection:
    """picture, drawn: uint8 (H, W, C), the real one at the model's size and the nearest that the model draws.

    distance: between them, see `project`. nearest: the least to any of CANDIDATES random pictures, before the
    optimization; typical: the mean of these. latent: float32 (latent_dim,). class_name: None of a model without.
    """

    picture: np.ndarray
    drawn: np.ndarray
    distance: float
    nearest: float
    typical: float
    latent: np.ndarray
    class_name: str | None


class PixelDistance(nn.Module):
    """Mean absolute difference of pictures (B, C, H, W) in [-1, 1], averaged over scales that halve down to 4 px.

    -> (B,). The coarse scales say which way to go where the fine structures do not overlap yet.
    """

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        difference, found = one - other, []
        while True:
            found.append(difference.abs().mean(dim=(1, 2, 3)))
            if min(difference.shape[2:]) < 2 * _LEAST_SIDE:
                return torch.stack(found).mean(dim=0)
            difference = functional.avg_pool2d(difference, 2)


def project(
    checkpoint: str | Path,
    pictures: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    steps: int = 200,
    restarts: int = 4,
    class_name: str | None = None,
    weights: str | Path | None = None,
    heads: str | Path | None = None,
    seed: int = 0,
    skip_broken: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Find the latent of each picture (files, or all of folders) whose image is nearest to it; see `projected`.

    Writes projection.png (a row a picture: it, the nearest image, their absolute difference) and projection.json (the
    distances, classes and latents) into `output`; None: the folder latent of the run. weights, heads: see
    `distance_of`. Raises UserError before the first is sought.
    """
    generator = load_sampler(checkpoint)
    _check(generator, steps, restarts, class_name, seed)
    distance, said = distance_of(generator, weights, heads)
    fit = fit_of(generator)
    found, broken = check(find(pictures)[0], lambda source: fit(source.file))
    require(
        skip_broken or not broken,
        f"{len(broken)} of the pictures cannot be read, the first: {broken[0] if broken else ''}; mend them, or "
        "--skip-broken",
    )
    require(bool(found), "none of the pictures can be read")
    sheet, numbers = targets(generator, output, ["projection.png", "projection.json"], overwrite)
    print(f"distance: {said}" + "".join(f"\nleft out: {text}" for text in broken))
    rows = []
    with Progress() as progress:
        task = progress.add_task("projecting", total=len(found) * steps)
        for source, picture in found.items():
            options = {"steps": steps, "restarts": restarts, "class_name": class_name, "seed": seed}
            nearest = projected(generator, picture, distance, **options, tick=lambda: progress.advance(task))
            rows.append((str(source.file), nearest))
    for file, own in rows:
        of_class = f", class {own.class_name}" if own.class_name is not None else ""
        print(
            f"{file}: {own.distance:.4f}{of_class} (of {CANDIDATES} random pictures the nearest {own.nearest:.4f}, the "
            f"mean {own.typical:.4f})"
        )
    save(_sheet(rows[:MOST_SHOWN]), sheet)
    contents = {"checkpoint": str(generator.path), "distance": said, "seed": seed, "steps": steps, "restarts": restarts}
    contents["pictures"] = [
        {
            "picture": file,
            "distance": round(own.distance, 6),
            "nearest_random": round(own.nearest, 6),
            "mean_random": round(own.typical, 6),
            "class": own.class_name,
            "latent": [round(float(value), 6) for value in own.latent],
        }
        for file, own in rows
    ]
    with replace(numbers) as file:
        file.write(json.dumps(contents).encode())
    more = f" (the first {MOST_SHOWN})" if len(rows) > MOST_SHOWN else ""
    print(f"{len(rows)} pictures: {sheet}{more}, {numbers}")
    return [sheet, numbers]


def distance_of(generator: Generator, weights: str | Path | None, heads: str | Path | None) -> tuple[nn.Module, str]:
    """How far two pictures are apart, and what that is called: LPIPS's formula on the features of a SqueezeNet, where
    a file of its weights is given (heads: LPIPS's weights of its channels, .npz), else `PixelDistance`.
    """
    require(heads is None or weights is not None, f"--heads {heads}: are of --weights FILE, which is not given")
    if weights is None:
        return (
            PixelDistance(),
            "mean absolute difference of pixels in [-1, 1], over scales (no --weights FILE is given)",
        )
    device = next(generator.network.parameters()).device
    formula = "LPIPS's formula on SqueezeNet's features, " + (
        "its channels alike" if heads is None else "LPIPS's heads"
    )
    network = read_squeezenet(Path(weights).expanduser(), "--weights")
    found = PerceptualDistance(network, None if heads is None else read_heads(Path(heads), f"--heads {heads}"))
    return found.to(device), f"{formula}, weights {weights}"


def fit_of(generator: Generator) -> Fit:
    """How pictures are brought to the size of a generator: as those that it was trained on."""
    config = generator.card["config"].get("data")
    config = config if isinstance(config, dict) else {}
    background = config.get("background")
    return Fit(
        size=generator.card["size"],
        channels=generator.card["channels"],
        crop=config.get("crop") is not False,
        background=background if isinstance(background, str) else "white",
    )


def projected(
    generator: Generator,
    picture: np.ndarray,
    distance: nn.Module,
    *,
    steps: int = 200,
    restarts: int = 4,
    class_name: str | None = None,
    seed: int = 0,
    tick: object = lambda: None,
) -> Projection:
    """The image of the generator that is nearest to a picture, uint8 (C, H, W) of its size.

    From the `restarts` nearest of CANDIDATES random images Adam goes down the distance, and the best of all is kept. A
    latent never gets longer than one that is drawn, or it would leave what the generator has learned. Of a conditional
    model without class_name each start keeps the class that it was drawn with.
    """
    _check(generator, steps, restarts, class_name, seed)
    network, device = generator.network, next(generator.network.parameters()).device
    network.requires_grad_(False)
    target = torch.from_numpy(images.to_unit(picture.transpose(1, 2, 0)))[None].to(device)
    z = latents(range(CANDIDATES), network.latent_dim, seed).to(device)
    labels = class_labels(generator, class_name, CANDIDATES)
    labels = None if labels is None else labels.to(device)

    def apart(z: Tensor, labels: Tensor | None) -> Tensor:
        """(B,), differentiable"""
        drawn = generator.checked(network(z, labels).float())
        return distance(drawn, target.expand(len(z), -1, -1, -1))

    with torch.no_grad():
        told = [None] * CANDIDATES if labels is None else labels.split(CHUNK)
        at_first = torch.cat([apart(*both) for both in zip(z.split(CHUNK), told, strict=False)])
    best = at_first.argsort()[:restarts]
    z, labels = z[best].clone().requires_grad_(), None if labels is None else labels[best]
    longest = network.latent_dim**0.5 + LONGER
    kept, least = z.detach().clone(), at_first[best].clone()
    optimizer = torch.optim.Adam([z], betas=(0.9, 0.999))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * _schedule(step / steps)
        optimizer.zero_grad()
        apart(z, labels).sum().backward()
        optimizer.step()
        with torch.no_grad():
            z *= (longest / z.norm(dim=1, keepdim=True)).clamp_max(1)
            now = apart(z, labels)
            better = now < least
            least = torch.where(better, now, least)
            kept = torch.where(better[:, None], z, kept)
        tick()
    chosen = int(least.argmin())
    with torch.no_grad():
        label = None if labels is None else labels[chosen : chosen + 1]
        drawn = network(kept[chosen : chosen + 1], label)[0].float().clamp(-1, 1)
    return Projection(
        picture=np.ascontiguousarray(picture.transpose(1, 2, 0)),
        drawn=images.from_unit(drawn.cpu().numpy()),
        distance=float(least[chosen]),
        nearest=float(at_first.min()),
        typical=float(at_first.mean()),
        latent=kept[chosen].cpu().numpy(),
        class_name=None if label is None else str(generator.card["class_names"][int(label)]),
    )


def _schedule(progress: float) -> float:
    """Of the rate: rises from 0, and falls to 0 with a cosine at the end."""
    fall = min(1.0, (1 - progress) / COOL)
    return (0.5 - 0.5 * np.cos(np.pi * fall)) * min(1.0, (progress + 1e-3) / WARM)


def _check(generator: Generator, steps: int, restarts: int, class_name: str | None, seed: int) -> None:
    require(1 <= steps <= MOST_STEPS, f"--steps {steps}: 1 to {MOST_STEPS:,}")
    require(1 <= restarts <= MOST_RESTARTS, f"--restarts {restarts}: 1 to {MOST_RESTARTS}")
    require(seed >= 0, f"--seed {seed}: 0 or more")
    class_labels(generator, class_name, 1)


def _sheet(rows: Iterable[tuple[str, Projection]]) -> Tensor:
    """A row for each: the picture, the nearest image, and how far they are apart, from black (equal) to white."""
    page, names = [], []
    for file, own in rows:
        one, other = (torch.from_numpy(images.to_unit(picture)) for picture in (own.picture, own.drawn))
        page.append(reduced(torch.stack([one, other, (one - other).abs() - 1]), SHOWN))
        names.append(f"{Path(file).stem:.20}: {own.distance:.3f}")
    return table(torch.stack(page), ["picture", "nearest", "difference"], names)
