"""The directions of a latent space in which the pictures of a generator change most (Härkönen et al. 2020)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganforge.commands.interpolate import one_class, shown
from ganforge.commands.latent_files import targets
from ganforge.commands.sample import CHUNK, load_sampler
from ganforge.errors import require
from ganforge.files.folders import replace
from ganforge.game.latents import latents
from ganforge.pictures import films
from ganforge.pictures.grids import save, table
from ganforge.runs.generators import Generator

COLUMNS = 7  # of the sheet
FRAMES = 16  # of the film, from one end to the other
MOST = 64
_LEAST_LATENTS, _MOST_LATENTS = 1024, 2048
_HARDLY = 2  # times the share of any directions
_MOST_FEATURES = 2**16  # of the activations of a latent; of more every second one, or third, ...


@dataclass(frozen=True)
class Directions:
    """vectors: float32 (count, latent_dim) of length 1, so that steps along them are in standard deviations of latents.
    shares: float32 (count,), of the variance of the first layer's activations, in falling order.
    """

    vectors: np.ndarray
    shares: np.ndarray


def directions(
    checkpoint: str | Path,
    output: str | Path | None = None,
    *,
    count: int | None = None,
    strength: float = 3.0,
    picture: int = 0,
    class_name: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Draw an image (its number, as `sample` writes it) moved along each of the first `count` directions of `find`.

    Writes directions.png (a row a direction, from -strength to +strength standard deviations of the latents, with its
    share of the variance), a film of all, and directions.json, into `output`; None: the folder latent of the run.
    """
    generator = load_sampler(checkpoint)
    require(0 < strength <= 100, f"--strength {strength}: above 0 and at most 100 standard deviations")
    require(picture >= 0 and seed >= 0, f"--picture {picture} --seed {seed}: 0 or more")
    label = one_class(generator, class_name)
    count = _checked(generator, count)
    sheet, numbers, film = targets(
        generator, output, ["directions.png", "directions.json"], overwrite, films=["directions"]
    )
    found = find(generator, count, class_name=class_name, seed=seed)
    start = latents([picture], generator.network.latent_dim, seed)

    def moved(steps: Tensor) -> Tensor:
        """(count, steps, C, H, W)"""
        z = start + steps[None, :, None] * torch.from_numpy(found.vectors)[:, None]
        return shown(generator, z.flatten(0, 1), label, count).unflatten(0, z.shape[:2])

    steps = torch.linspace(-strength, strength, COLUMNS)
    names = [f"{place}: {100 * share:.1f} %" for place, share in enumerate(found.shares, 1)]
    save(table(moved(steps), [f"{step:+.3g}" if step else "0" for step in steps.tolist()], names), sheet)
    frames = [films.frame(pictures) for pictures in moved(torch.linspace(-strength, strength, FRAMES)).transpose(0, 1)]
    written = [sheet, numbers, *films.write([*frames, *frames[-2:0:-1]], film)]
    said = {
        "checkpoint": str(generator.path),
        "class": None if label is None else generator.card["class_names"][int(label)],
        "seed": seed,
        "picture": picture,
        "shares": [round(float(share), 6) for share in found.shares],
        "directions": [[round(float(value), 6) for value in vector] for vector in found.vectors],
    }
    with replace(numbers) as file:
        file.write(json.dumps(said).encode())
    print(f"{count} directions explain {found.shares.sum():.0%} of the first layer's variance: ", end="")
    print(", ".join(map(str, written)))
    if found.shares.sum() < _HARDLY * count / start.numel():
        print(
            f"these are hardly more than the {count / start.numel():.0%} of any {count} of {start.numel()}: the first "
            "layer has no preferred directions; --strength makes the steps larger"
        )
    return written


@torch.no_grad()
def find(generator: Generator, count: int | None = None, *, class_name: str | None = None, seed: int = 0) -> Directions:
    """Principal components of the first layer's activations, brought back to latents by regression (Härkönen et al.
    2020, section 2.2). count: None for 8, or as many as the latents have dimensions.

    Of 1,024 to 2,048 latents, four times as many as they have dimensions. The largest value of each is positive.
    The first layer's activations are what the first convolution is given, or of a network without one the second linear
    layer.
    """
    count = _checked(generator, count)
    network, dim = generator.network, generator.network.latent_dim
    label = one_class(generator, class_name)
    device = next(network.parameters()).device
    z = latents(range(min(max(_LEAST_LATENTS, 4 * dim), _MOST_LATENTS)), dim, seed)
    activations: list[Tensor] = []
    for chunk in z.split(CHUNK):
        told = None if label is None else label.expand(len(chunk)).to(device)
        features = _first_activations(network, chunk.to(device), told)
        activations.append(features[:, :: -(-features.shape[1] // _MOST_FEATURES)].float().cpu())
    y = generator.checked(torch.cat(activations))
    z, y = z - z.mean(dim=0), y - y.mean(dim=0)
    largest = y.abs().max()
    require(
        bool(largest > 0),
        f"{generator.path}: what its first layer gives does not depend on the latents, so there are no directions",
    )
    y = y / largest  # whose squares are finite
    # Of the two matrices with the same eigenvalues the smaller one: activations are often more than latents.
    narrow = y.shape[1] <= len(y)
    values, vectors = torch.linalg.eigh((y.T @ y if narrow else y @ y.T).double())
    values, vectors = values.flip(0)[:count].clamp_min(0), vectors.flip(1)[:, :count].float()
    scores = y @ vectors if narrow else vectors
    # Regressed on the latents, and not the latents on them, it is the same but for the noise of the latents' sample.
    found = torch.linalg.lstsq(z, scores).solution.T
    found = found / found.norm(dim=1, keepdim=True).clamp_min(1e-12)
    found = found * found.gather(1, found.abs().argmax(dim=1, keepdim=True)).sign()
    return Directions(found.numpy(), (values / y.double().square().sum()).float().numpy())


def _checked(generator: Generator, count: int | None) -> int:
    most = min(MOST, generator.network.latent_dim)
    count = min(8, most) if count is None else count
    require(
        isinstance(count, int) and 1 <= count <= most,
        f"--count {count}: 1 to {most}, since the latents have {generator.network.latent_dim} dimensions",
    )
    return count


class _Enough(Exception):
    """Ends a network's computation where what is wanted of it is known."""


def _first_activations(network: nn.Module, z: Tensor, label: Tensor | None) -> Tensor:
    """(B, F); see `find`. Of a network of one layer alone its output."""
    seen: list[Tensor] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0])
        # What the very first layer is given are the latents.
        if len(seen) > 1 and (isinstance(layer, nn.modules.conv._ConvNd) or not has_convolution):
            raise _Enough

    has_convolution = any(isinstance(layer, nn.modules.conv._ConvNd) for layer in network.modules())
    hooks = [
        layer.register_forward_pre_hook(note)
        for layer in network.modules()
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    ]
    try:
        return network(z, label).flatten(1)
    except _Enough:
        return seen[-1].flatten(1)
    finally:
        for hook in hooks:
            hook.remove()
