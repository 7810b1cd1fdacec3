"""Layers that change the size of feature maps, and what is put around these."""

import torch
from torch import nn

from ganforge.errors import require

UPSAMPLE = ("transposed", "nearest", "blur")
DOWNSAMPLE = ("strided", "blur")


def reflected(x: torch.Tensor, width: int) -> torch.Tensor:
    """(B, C, H, W) with `width` rows and columns reflected at each edge, by taking rows and columns one by one."""
    for axis in (-2, -1):
        last = x.shape[axis] - 1
        places = torch.arange(-width, last + 1 + width, device=x.device).abs()
        x = x.index_select(axis, last - (last - places).abs())
    return x


class ReflectionPad(nn.ReflectionPad2d):
    """torch's; on a GPU with trainer.deterministic a slower one, since torch's gradient has no equal bits there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_cuda and torch.are_deterministic_algorithms_enabled():
            return reflected(x, self.padding[0])
        return super().forward(x)


class BlurDown(nn.Module):
    """Half the size, every second pixel after a blur by [1, 2, 1], reflected at the edges (Zhang 2019)."""

    def __init__(self):
        super().__init__()
        self.pad = ReflectionPad(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Computed where it is needed: a network that is made of its weights alone has no other tensors.
        row = (2 - (torch.arange(3, dtype=x.dtype, device=x.device) - 1).abs()) / 4
        kernel = row.outer(row).expand(x.shape[1], 1, 3, 3)
        return nn.functional.conv2d(self.pad(x), kernel, stride=2, groups=x.shape[1])


def upsampled(kind: str, channels: int, outputs: int, bias: bool) -> list[nn.Module]:
    """Layers to twice the size and another number of channels.

    kind: "transposed" convolution (Zhu et al. 2017); "nearest": repeated pixels and a convolution, without the
    checkerboards of the former (Odena et al. 2016); "blur": the same with a blur by [1, 3, 3, 1] (Park et al. 2020),
    which is bilinear interpolation.
    """
    require(kind in UPSAMPLE, f"model.generator.upsample={kind}: choose one of {', '.join(UPSAMPLE)}")
    if kind == "transposed":
        return [nn.ConvTranspose2d(channels, outputs, 3, stride=2, padding=1, output_padding=1, bias=bias)]
    if kind == "nearest":
        return [nn.Upsample(scale_factor=2), ReflectionPad(1), nn.Conv2d(channels, outputs, 3, bias=bias)]
    bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return [bilinear, nn.Conv2d(channels, outputs, 3, padding=1, bias=bias)]


def check_downsample(kind: str, network: str) -> None:
    """Raise UserError unless a network can be made smaller by "strided" convolutions, or by a "blur" after them."""
    require(kind in DOWNSAMPLE, f"model.{network}.downsample={kind}: choose one of {', '.join(DOWNSAMPLE)}")
