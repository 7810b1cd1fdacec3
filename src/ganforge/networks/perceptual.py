"""How different two pictures look: by the features of a network that was trained to recognise things."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganforge.errors import UserError, require
from ganforge.files.folders import open_file
from ganforge.files.untrusted import first_line
from ganforge.networks.squeezenet import WIDTHS, SqueezeNet, read_squeezenet

_TINY = 1e-10  # of a length, as in LPIPS
_ALIKE = 1 / 15  # of every channel, by which distances of photographs are about as large as with LPIPS's weights


class PerceptualDistance(nn.Module):
    """LPIPS's formula (Zhang et al. 2018, eq. 1) on the features of a SqueezeNet that is never trained.

    Two pictures (B, 1 or 3, H, W) in [-1, 1] -> (B,): the features of every place of seven layers are brought to length
    1; their squared differences are weighted by channel, summed over channels, averaged over places, summed over
    layers. heads: float32 (C,) for each layer, the weights; None: 1/15 each. Differentiable; computed in float32
    whatever autocast says. With other weights of the network than LPIPS used, its numbers are not LPIPS's.
    """

    def __init__(self, network: SqueezeNet, heads: Sequence[Tensor] | None = None):
        super().__init__()
        self.network = network
        heads = [torch.full((width,), _ALIKE) for width in WIDTHS] if heads is None else heads
        for layer, head in enumerate(heads):
            self.register_buffer(f"head_{layer}", head)
        self.requires_grad_(False).eval()

    def __deepcopy__(self, memo: dict) -> "PerceptualDistance":
        return self  # never changed after it was loaded

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        with torch.autocast(one.device.type, enabled=False):
            maps = [self.network.maps((pictures.float() + 1) * 127.5) for pictures in (one, other)]
            total = one.new_zeros(len(one), dtype=torch.float32)
            for layer, pair in enumerate(zip(*maps, strict=True)):
                a, b = (x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + _TINY) for x in pair)
                weights = getattr(self, f"head_{layer}")[:, None, None]
                total = total + ((a - b).square() * weights).sum(dim=1).mean(dim=(1, 2))
            return total


def read_distance(weights: str | Path, heads: str | Path | None, argument: str) -> PerceptualDistance:
    """The distance with the network in `weights` (of torch.save) and the layers' weights in `heads` (.npz), or None.

    argument: what the two settings begin with, for errors. Nothing that a file contains is run. Raises UserError for
    files that are missing or anything else.
    """
    network = read_squeezenet(Path(weights).expanduser(), f"{argument}.weights")
    return PerceptualDistance(network, None if heads is None else read_heads(Path(heads), f"{argument}.heads={heads}"))


def read_heads(path: Path, said: str) -> list[Tensor]:
    """LPIPS's weights of the channels of SqueezeNet's layers, (C,) each, of a .npz file. Raises UserError."""
    try:
        with open_file(path.expanduser()) as file, zipfile.ZipFile(file) as archive:
            return [_head(archive, layer, width) for layer, width in enumerate(WIDTHS)]
    except Exception as error:  # readers of damaged files raise nearly anything
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(
            f"{said}: cannot be read ({reason}); give a .npz file of LPIPS's weights for SqueezeNet, "
            "lin0.model.1.weight to lin6.model.1.weight in float32, or null"
        ) from error


def _head(archive: zipfile.ZipFile, layer: int, width: int) -> Tensor:
    name = f"lin{layer}.model.1.weight"
    with archive.open(f"{name}.npy") as entry:
        # Before anything is read, what the header asks for is compared with what is needed.
        version = np.lib.format.read_magic(entry)
        form = np.lib.format.read_array_header_1_0(entry) if version == (1, 0) else None
        require(form == ((1, width, 1, 1), False, np.dtype("<f4")), f"{name} is not float32 (1, {width}, 1, 1)")
        values = np.frombuffer(entry.read(4 * width), dtype="<f4")
    require(len(values) == width and bool((values >= 0).all() & np.isfinite(values).all()), f"{name} is damaged")
    return torch.from_numpy(values.copy())
