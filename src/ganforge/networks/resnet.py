"""The residual generator of Johnson et al. 2016, as pix2pix and CycleGAN use it."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from ganforge.errors import require
from ganforge.networks.layers import initialize, last_layer, normalization
from ganforge.networks.resampling import BlurDown, ReflectionPad, check_downsample, upsampled


class ResidualBlock(nn.Module):
    """Two reflection-padded 3 x 3 convolutions around an identity; dropout between them. dilation: of both."""

    def __init__(self, channels: int, norm: str, dropout: float, dilation: int = 1):
        super().__init__()
        bias = norm != "batch"
        layers = [ReflectionPad(dilation), nn.Conv2d(channels, channels, 3, dilation=dilation, bias=bias)]
        layers += [normalization(norm, channels), nn.ReLU()]
        if dropout:
            layers += [nn.Dropout(dropout)]
        layers += [ReflectionPad(dilation), nn.Conv2d(channels, channels, 3, dilation=dilation, bias=bias)]
        layers += [normalization(norm, channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class ResNetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x depth, u128, u64, c7s1 (Zhu et al. 2017, section 7.2).

    depth: residual blocks; None for the paper's 9 from 256 px and 6 below. dilations: of the blocks, in turn; with more
    than 1 pixels see farther at the same cost (Yu and Koltun 2016). output: see `last_layer`. upsample: see
    `upsampled`; downsample: "strided" convolutions, or "blur" after others (Park et al. 2020). initial: see
    `initialize`.

    feature_channels: the layers that `features` knows by name, and how many channels each has: "input" (the padded
    picture), "down1" and "down2" (the convolutions that make it smaller, before they are normalized), "block1" and so
    on, and "output".

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
        dilations: Sequence[int] = (1,),
        output: str | None = None,
        upsample: str = "transposed",
        downsample: str = "strided",
        initial: str = "normal",
    ):
        super().__init__()
        require(base_channels >= 1, f"model.generator.base_channels={base_channels}: 1 or more")
        require(depth is None or depth >= 1, f"model.generator.depth={depth}: 1 or more residual blocks, or null")
        require(0 <= dropout < 1, f"model.generator.dropout={dropout}: a probability in [0, 1)")
        require(
            size % 4 == 0, f"data.size={size} is not a multiple of 4 (two halvings); use {max(8, 4 * round(size / 4))}"
        )
        dilations = list(dilations)
        require(
            len(dilations) > 0 and all(isinstance(number, int) and 1 <= number < size // 4 for number in dilations),
            f"model.generator.dilations={dilations}: whole numbers from 1, below a quarter of the {size} px",
        )
        check_downsample(downsample, "generator")
        bias, blurs = norm != "batch", downsample == "blur"
        width = base_channels
        self.feature_channels, self._places = {"input": in_channels}, {"input": 0}
        layers = [ReflectionPad(3), nn.Conv2d(in_channels, width, 7, bias=bias), normalization(norm, width)]
        layers += [nn.ReLU()]
        for number in (1, 2):
            self._name(f"down{number}", 2 * width, len(layers))
            layers += [nn.Conv2d(width, 2 * width, 3, stride=1 if blurs else 2, padding=1, bias=bias)]
            layers += [normalization(norm, 2 * width), nn.ReLU(), *([BlurDown()] if blurs else [])]
            width *= 2
        for number in range(1, (depth or (9 if size >= 256 else 6)) + 1):
            self._name(f"block{number}", width, len(layers))
            layers += [ResidualBlock(width, norm, dropout, dilations[(number - 1) % len(dilations)])]
        for _ in range(2):
            half = width // 2
            layers += [*upsampled(upsample, width, half, bias), normalization(norm, half), nn.ReLU()]
            width = half
        layers += [ReflectionPad(3), nn.Conv2d(width, out_channels, 7), last_layer(output)]
        self._name("output", out_channels, len(layers) - 1)
        self.layers = nn.Sequential(*layers)
        initialize(self, initial)

    def _name(self, name: str, channels: int, place: int) -> None:
        self.feature_channels[name], self._places[name] = channels, place

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        return self.features(source, ["output"])["output"]

    def features(self, source: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """What layers give for `source`, each (B, C, h, w), by their names in `feature_channels`.

        Those after the last of them are not computed. "output" is what the network returns. Raises KeyError for others.
        """
        height, width = source.shape[-2:]
        x = nn.functional.pad(source, (0, -width % 4, 0, -height % 4), mode="replicate")
        wanted, found = {self._places[name]: name for name in names}, {}
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place in wanted:
                found[wanted[place]] = x
            if len(found) == len(wanted):
                break
        if "output" in found:
            found["output"] = found["output"][..., :height, :width]
        return found
