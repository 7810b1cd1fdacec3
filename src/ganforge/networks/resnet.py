"""The residual generator of Johnson et al. 2016, as pix2pix and CycleGAN use it."""

import torch
from torch import nn

from ganforge.errors import require
from ganforge.networks.layers import initialize, last_layer, normalization
from ganforge.networks.resampling import BlurDown, ReflectionPad, check_downsample, upsampled


class ResidualBlock(nn.Module):
    """Two reflection-padded 3 x 3 convolutions around an identity; dropout between them."""

    def __init__(self, channels: int, norm: str, dropout: float):
        super().__init__()
        bias = norm != "batch"
        layers = [ReflectionPad(1), nn.Conv2d(channels, channels, 3, bias=bias), normalization(norm, channels)]
        layers += [nn.ReLU()]
        if dropout:
            layers += [nn.Dropout(dropout)]
        layers += [ReflectionPad(1), nn.Conv2d(channels, channels, 3, bias=bias), normalization(norm, channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class ResNetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x depth, u128, u64, c7s1 (Zhu et al. 2017, section 7.2).

    depth: residual blocks; None for the paper's 9 from 256 px and 6 below. output: see `last_layer`. upsample: see
    `upsampled`; downsample: "strided" convolutions, or "blur" after others (Park et al. 2020).

    Input and output (B, C, H, W) in [-1, 1]; training sizes are multiples of 4, others are cropped from a padded
    picture. 11.4 M parameters for 3 -> 3 channels with 9 blocks and 64 base channels.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        size: int,
        base_channels: int = 64,
        depth: int | None = None,
        norm: str = "batch",
        dropout: float = 0.5,
        output: str | None = None,
        upsample: str = "transposed",
        downsample: str = "strided",
    ):
        super().__init__()
        require(base_channels >= 1, f"model.generator.base_channels={base_channels}: 1 or more")
        require(depth is None or depth >= 1, f"model.generator.depth={depth}: 1 or more residual blocks, or null")
        require(0 <= dropout < 1, f"model.generator.dropout={dropout}: a probability in [0, 1)")
        require(
            size % 4 == 0, f"data.size={size} is not a multiple of 4 (two halvings); use {max(8, 4 * round(size / 4))}"
        )
        check_downsample(downsample, "generator")
        bias, blurs = norm != "batch", downsample == "blur"
        width = base_channels
        layers = [ReflectionPad(3), nn.Conv2d(in_channels, width, 7, bias=bias), normalization(norm, width)]
        layers += [nn.ReLU()]
        for _ in range(2):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=1 if blurs else 2, padding=1, bias=bias)]
            layers += [normalization(norm, 2 * width), nn.ReLU(), *([BlurDown(2 * width)] if blurs else [])]
            width *= 2
        layers += [ResidualBlock(width, norm, dropout) for _ in range(depth or (9 if size >= 256 else 6))]
        for _ in range(2):
            half = width // 2
            layers += [*upsampled(upsample, width, half, bias), normalization(norm, half), nn.ReLU()]
            width = half
        layers += [ReflectionPad(3), nn.Conv2d(width, out_channels, 7), last_layer(output)]
        self.layers = nn.Sequential(*layers)
        initialize(self)

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        height, width = source.shape[-2:]
        padded = nn.functional.pad(source, (0, -width % 4, 0, -height % 4), mode="replicate")
        return self.layers(padded)[..., :height, :width]
