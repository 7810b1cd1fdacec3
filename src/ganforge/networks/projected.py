"""The projected discriminator: small critics on the features of a network that has learnt to see and is not trained."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.errors import require
from ganforge.files.folders import open_file
from ganforge.networks.conditioning import Head
from ganforge.networks.squeezenet import WIDTHS, SqueezeNet, read_squeezenet

_DEPTHS = (0, 1, 2, 6)  # of SqueezeNet's maps, the last one of each resolution
# Root mean square of these features of pictures, by the weights for BGR: all depths shall count alike where they mix.
_SCALES = (50.0, 110.0, 90.0, 10.0)
_LEAST, _MOST = 64, 512  # px a side that the features are computed of
_COARSEST = 8  # px a side at which a critic judges: coarser maps are not halved any more
_CLASS_MAPS = 64  # numbers by which a class is compared with a place


class ProjectedDiscriminator(nn.Module):
    """images (B, 1 or 3, size, size) in [-1, 1], label (B,) or None -> logits (B, places). Sauer et al. 2021.

    The features of SqueezeNet in four depths are mixed by random weights, over channels (1 x 1 convolutions) and from
    coarse to fine over depths, and a small convolutional critic judges every place of each mixture; their losses are
    averaged over places. Features and mixtures are never trained, gradients go through them to the images. The mixing
    weights follow the seed and are saved; SqueezeNet's are read from a file and are no part of a checkpoint, which
    knows that file by its checksum.

    weights: a file of SqueezeNet 1.1's weights with torchvision's names; for BGR where its name says so. resolution:
    px a side at which features are computed (224 in the paper, where time is of no matter); None for that of the
    pictures, or 64. base_channels: of the finest mixture (64 in the paper). n_classes: critics are told the class, by
    projection. Raises UserError for a file that is missing or anything else.

    Distances on features of the same network (fd/squeezenet, kd/squeezenet) flatter what was trained with it: let
    another one judge.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        weights: str | Path | None,
        resolution: int | None = None,
        base_channels: int = 64,
        n_classes: int | None = None,
    ):
        super().__init__()
        argument = "model.discriminator.weights"
        require(
            weights is not None,
            f"{argument}: is not given; the projected discriminator sees by a network that is read from a file: give "
            "one of SqueezeNet 1.1's weights, with torchvision's names, or use model/discriminator=dcgan",
        )
        require(
            in_channels in (1, 3),
            f"model/discriminator=projected: its features are of grey or RGB pictures, and these have {in_channels} "
            "channels; use model/discriminator=dcgan",
        )
        require(base_channels >= 1, f"model.discriminator.base_channels={base_channels}: 1 or more")
        require(n_classes is None or n_classes >= 2, f"model.discriminator.n_classes={n_classes}: 2 or more, or null")
        self.resolution = max(_LEAST, size) if resolution is None else resolution
        require(
            isinstance(self.resolution, int) and max(_LEAST, size) <= self.resolution <= max(_MOST, size),
            f"model.discriminator.resolution={resolution}: px a side, from {max(_LEAST, size)} to {max(_MOST, size)}",
        )
        path = Path(weights).expanduser()
        self._frozen = [read_squeezenet(path, argument)]  # in a list, so that it is no part of this module
        with open_file(path) as file:
            checksum = hashlib.sha256(file.read()).digest()
        self._checksum, self._said = [*checksum, int(self._frozen[0].bgr)], f"{argument}={weights}"

        sides = _sides(self.resolution)
        mixed = [base_channels * 2**depth for depth in range(len(_DEPTHS))]
        blended = [base_channels, *mixed[:-1]]
        for depth, place in enumerate(_DEPTHS):
            for name, before, after in (("mix", WIDTHS[place], mixed[depth]), ("blend", mixed[depth], blended[depth])):
                self.register_buffer(f"{name}_{depth}", torch.randn(after, before, 1, 1) / before**0.5)
        self.critics = nn.ModuleList(
            _Critic(width, side, n_classes) for width, side in zip(blended, sides, strict=True)
        )
        self.places = sum(critic.places for critic in self.critics)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        projected = self.project(images)
        return torch.cat([critic(x, label) for critic, x in zip(self.critics, projected, strict=True)], dim=1)

    def project(self, images: Tensor) -> list[Tensor]:
        """The mixed features (B, C, h, w) of images, from fine to coarse; the same for equal weights and images."""
        maps = self._features(images).maps((images + 1) * 127.5, least=self.resolution)
        projected, coarser = [], None
        for depth in reversed(range(len(_DEPTHS))):
            x = functional.conv2d(maps[_DEPTHS[depth]], getattr(self, f"mix_{depth}") / _SCALES[depth])
            if coarser is not None:
                enlarged = functional.interpolate(coarser, x.shape[2:], mode="bilinear", align_corners=False)
                x = (x + enlarged) / 2**0.5
            coarser = functional.conv2d(x, getattr(self, f"blend_{depth}"))
            projected.append(coarser)
        return projected[::-1]

    def _features(self, images: Tensor) -> SqueezeNet:
        network = self._frozen[0]
        if images.is_meta:  # where shapes alone are asked for
            with torch.device("meta"):
                return SqueezeNet(bgr=network.bgr)
        return network.to(images.device)

    def _save_to_state_dict(self, state: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(state, prefix, keep_vars)
        state[f"{prefix}checksum"] = torch.tensor(self._checksum, dtype=torch.uint8)

    def _load_from_state_dict(self, state: dict, prefix: str, *arguments) -> None:
        known = state.pop(f"{prefix}checksum", None)
        require(
            known is None or known.tolist() == self._checksum,
            f"{self._said}: is not the file that this discriminator was trained with; give that one",
        )
        super()._load_from_state_dict(state, prefix, *arguments)


class _Critic(nn.Module):
    """(B, width, side, side) -> (B, places): convolutions with spectral and batch norm, halving down to 8 px."""

    def __init__(self, width: int, side: int, n_classes: int | None):
        super().__init__()
        chain: list[nn.Module] = []
        while side > _COARSEST:
            chain += _block(width, 2 * width, kernel=4, stride=2)
            width, side = 2 * width, side // 2
        if not chain:
            chain = _block(width, width, kernel=3, stride=1)
        self.layers = nn.Sequential(*chain)
        kernel = min(4, side)
        self.judge = nn.Conv2d(width, _CLASS_MAPS if n_classes else 1, kernel, bias=False)
        self.places = (side - kernel + 1) ** 2
        self.embedding = nn.Embedding(n_classes, _CLASS_MAPS) if n_classes else None
        Head.normalize(self, nn.Conv2d)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        judged = self.judge(self.layers(x))
        if self.embedding is not None:
            judged = (judged * self.embedding(label)[:, :, None, None]).sum(1) / _CLASS_MAPS**0.5
        return judged.flatten(1)


def _block(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]


def _sides(resolution: int) -> list[int]:
    """Of SqueezeNet's maps in each depth: a convolution of stride 2, then poolings that begin anew at the edge."""
    sides = [(resolution - 3) // 2 + 1]
    for _ in _DEPTHS[1:]:
        sides.append((sides[-1] - 2) // 2 + 1)
    return sides
