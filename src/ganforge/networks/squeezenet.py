"""SqueezeNet 1.1: its features stand in for Inception's where only its weights are at hand, and tell pictures apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganforge.errors import require
from ganforge.files import tensor_files

NAME = "squeezenet"
FIRST = "features.0.weight"  # of torchvision's layout, by which its weights are known

# Channels of the squeeze layers and of each half of the expand layers, by torchvision's places of the fire modules.
_FIRES = {
    3: (16, 64),
    4: (16, 64),
    6: (32, 128),
    7: (32, 128),
    9: (48, 192),
    10: (48, 192),
    11: (64, 256),
    12: (64, 256),
}
_POOLS = (2, 5, 8)
_STAGES = (1, 4, 7, 9, 10, 11, 12)  # places after which `maps` takes the features, as LPIPS does
WIDTHS = (64, 128, 256, 384, 384, 512, 512)  # channels of these
_MEAN = (123.0, 117.0, 104.0)  # of ImageNet's R, G and B, in [0, 255]
_STD = (58.395, 57.12, 57.375)
_LEAST, _MOST = 64, 224  # px a side that it is given
_SCALE = 10.7  # root mean square of the features of photographs, by the weights for BGR


class _Fire(nn.Module):
    """Iandola et al. 2016, section 3.1."""

    def __init__(self, inputs: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class SqueezeNet(nn.Module):
    """uint8 (B, 1 or 3, H, W) -> the means of its last 512 feature maps, and 1,000 logits of ImageNet's classes.

    Sides below 64 px are enlarged to it, above 224 px reduced to that. bgr: whether its weights were trained on BGR in
    [0, 255] less the mean, and not on RGB of unit variance as torchvision's; the features are then divided by 10.7, so
    that their mean square is about 1: the cubic kernel of the kernel distance sees nothing but the largest ones else.
    """

    name, channels, class_names, dimensions, outputs = NAME, None, (), 512, 1000

    def __init__(self, *, bgr: bool):
        super().__init__()
        layers: dict[str, nn.Module] = {"0": nn.Conv2d(3, 64, 3, stride=2), "1": nn.ReLU()}
        inputs = 64
        for place in range(2, 13):
            if place in _POOLS:
                layers[str(place)] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
            else:
                squeezed, expanded = _FIRES[place]
                layers[str(place)], inputs = _Fire(inputs, squeezed, expanded), 2 * expanded
        self.features = nn.Sequential()
        for name, layer in layers.items():
            self.features.add_module(name, layer)
        self.classifier = nn.Sequential()
        self.classifier.add_module("1", nn.Conv2d(512, 1000, 1))
        self.bgr = bgr

    def __deepcopy__(self, memo: dict) -> "SqueezeNet":
        return self  # never changed after it was loaded

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.features(self._normalized(images, fitted(*images.shape[2:])))
        features = maps.mean(dim=(2, 3)) / (_SCALE if self.bgr else 1.0)
        return features, F.relu(self.classifier(maps)).mean(dim=(2, 3))

    def maps(self, images: Tensor, least: int = _LEAST) -> list[Tensor]:
        """Its features in seven depths, (B, C, h, w) with the channels of WIDTHS, of (B, 1 or 3, H, W) in [0, 255].

        At the pictures' own size; sides below `least` px are enlarged to it. Differentiable.
        """
        x = self._normalized(images, tuple(max(side, least) for side in images.shape[2:]))
        found = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in _STAGES:
                found.append(x)
        return found

    def _normalized(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Pictures as its weights expect them, float32 (B, 3, *size)."""
        pictures = images.float()
        pictures = pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
        if size != tuple(pictures.shape[2:]):
            pictures = F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)
        pictures = pictures - pictures.new_tensor(_MEAN)[:, None, None]
        return pictures.flip(1) if self.bgr else pictures / pictures.new_tensor(_STD)[:, None, None]

    def resizer(self, height: int, width: int) -> str:
        """How pictures of this size are brought to what it is given."""
        size = fitted(height, width)
        return "none" if size == (height, width) else f"bilinear with antialiasing to {size[0]}x{size[1]} (PyTorch)"


def fitted(height: int, width: int) -> tuple[int, int]:
    """The sides that pictures of this size are brought to."""
    return tuple(min(max(side, _LEAST), _MOST) for side in (height, width))


def is_squeezenet(contents: Any) -> bool:
    """Whether these are the weights of a SqueezeNet, as torchvision names them."""
    return (
        isinstance(contents, Mapping) and isinstance(contents.get(FIRST), Tensor) and "classifier.1.weight" in contents
    )


def load_squeezenet(weights: Mapping[str, Any], path: Path, said: str) -> SqueezeNet:
    """With these weights, for BGR where the name of their file says bgr. UserError for weights of another network."""
    floats = {key: value.float() if isinstance(value, Tensor) else value for key, value in weights.items()}
    network = tensor_files.fitted(lambda: SqueezeNet(bgr="bgr" in path.name.lower()), floats, said)
    return network.requires_grad_(False)


def read_squeezenet(path: Path, argument: str) -> SqueezeNet:
    """As `load_squeezenet`, of a file of torch.save. UserError for a file that is missing or anything else."""
    said = f"{argument}={path}"
    require(path.is_file(), f"{said}: no such file; give a file of SqueezeNet 1.1's weights, with torchvision's names")
    contents = tensor_files.read(path, said, legacy=True)
    require(
        is_squeezenet(contents), f"{said}: holds no weights of SqueezeNet 1.1, with torchvision's names; give these"
    )
    return load_squeezenet(contents, path, said)
