"""The PatchGAN discriminator: real or fake for every patch of a picture."""

import torch
from torch import nn

from ganforge.errors import require
from ganforge.networks.layers import initialize, normalization
from ganforge.networks.resampling import BlurDown, check_downsample


class PatchGAN(nn.Module):
    """C64-C128-C256-C512 with 4 x 4 kernels (Isola et al. 2017, section 6.1.2).

    (B, in_channels, H, W) in [-1, 1] -> logits (B, 1, h, w), each of a 70 x 70 patch with 3 layers. For pairs the
    source and the (real or generated) target are concatenated. 2.77 M parameters for 6 channels. downsample: "strided"
    convolutions, or "blur" after others (Park et al. 2020). initial: see `initialize`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        base_channels: int = 64,
        layers: int = 3,
        norm: str = "batch",
        downsample: str = "strided",
        initial: str = "normal",
    ):
        super().__init__()
        require(base_channels >= 1, f"model.discriminator.base_channels={base_channels}: 1 or more")
        require(layers >= 1, f"model.discriminator.layers={layers}: 1 or more")
        check_downsample(downsample, "discriminator")
        bias, blurs = norm != "batch", downsample == "blur"
        width = base_channels
        chain = [nn.Conv2d(in_channels, width, 4, stride=1 if blurs else 2, padding=1), nn.LeakyReLU(0.2)]
        chain += [BlurDown()] if blurs else []
        for layer in range(1, layers + 1):
            before, width = width, base_channels * min(2**layer, 8)
            halves = layer < layers
            stride = 2 if halves and not blurs else 1
            chain += [nn.Conv2d(before, width, 4, stride=stride, padding=1, bias=bias), normalization(norm, width)]
            chain += [nn.LeakyReLU(0.2), *([BlurDown()] if halves and blurs else [])]
        chain += [nn.Conv2d(width, 1, 4, padding=1)]
        self.layers = nn.Sequential(*chain)
        initialize(self, initial)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)

    def activations(self, images: torch.Tensor) -> list[list[torch.Tensor]]:
        """What each convolution gives, after its activation; the logits last. A list for each scale, of which it has
        one.
        """
        found, x = [], images
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return [[*found, x]]
