"""The networks of StarGAN: a generator that is told labels, and a critic that also says which labels it sees."""

import torch
from torch import nn
from torch.nn.functional import interpolate, pad

from ganforge.errors import require
from ganforge.networks.layers import InstanceNorm


def _norm(channels: int) -> nn.Module:
    # The authors' layers also keep running statistics, which neither their training nor their test uses.
    return InstanceNorm(channels, affine=True)


class _Block(nn.Module):
    """Two 3 x 3 convolutions around an identity."""

    def __init__(self, channels: int):
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.layers = nn.Sequential(first, _norm(channels), nn.ReLU(), second, _norm(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class StarGANGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x depth, u128, u64, c7s1 (Choi et al. 2018, table 4), of a picture and its labels.

    The labels (B, n_domains), 0 or 1, are n_domains more channels of the picture, each of one value. Convolutions pad
    with zeros: a channel of one value, padded by reflection, adds the same number everywhere, and instance norm takes
    that away again, so that the generator would not know its labels. What tells them is how they end at the border.

    Input and output (B, C, H, W) in [-1, 1]; training sizes are multiples of 4, others are cropped from a padded
    picture. 8.4 M parameters for 3 channels, 5 domains, 6 blocks and 64 base channels.
    """

    def __init__(
        self, *, in_channels: int, out_channels: int, size: int, n_domains: int, base_channels: int = 64, depth: int = 6
    ):
        super().__init__()
        require(base_channels >= 1, f"model.generator.base_channels={base_channels}: 1 or more")
        require(depth >= 1, f"model.generator.depth={depth}: 1 or more residual blocks")
        require(n_domains >= 1, f"model.generator.n_domains={n_domains}: 1 or more")
        require(
            size % 4 == 0, f"data.size={size} is not a multiple of 4 (two halvings); use {max(8, 4 * round(size / 4))}"
        )
        self.n_domains = n_domains
        width = base_channels
        layers = [nn.Conv2d(in_channels + n_domains, width, 7, padding=3, bias=False), _norm(width), nn.ReLU()]
        for _ in range(2):
            layers += [nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False), _norm(2 * width), nn.ReLU()]
            width *= 2
        layers += [_Block(width) for _ in range(depth)]
        for _ in range(2):
            half = width // 2
            layers += [nn.ConvTranspose2d(width, half, 4, stride=2, padding=1, bias=False), _norm(half), nn.ReLU()]
            width = half
        layers += [nn.Conv2d(width, out_channels, 7, padding=3, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, source: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        height, width = source.shape[-2:]
        padded = pad(source, (0, -width % 4, 0, -height % 4), mode="replicate")
        planes = labels.to(padded.dtype)[:, :, None, None].expand(-1, -1, *padded.shape[-2:])
        return self.layers(torch.cat([padded, planes], dim=1))[..., :height, :width]


class StarGANCritic(nn.Module):
    """`depth` convolutions of stride 2 from 64 channels on, and two heads (Choi et al. 2018, table 5).

    (B, in_channels, size, size) in [-1, 1] -> (B, 1, h, w), how real each patch is, and logits of the labels
    (B, n_domains). depth: None for the paper's 6, or as many as leave one pixel of a smaller picture. No normalization,
    which a gradient penalty does not go with. 44.8 M parameters for 3 channels, 5 domains, 128 px and 64 base channels.
    """

    def __init__(
        self, *, in_channels: int, size: int, n_domains: int, base_channels: int = 64, depth: int | None = None
    ):
        super().__init__()
        require(base_channels >= 1, f"model.discriminator.base_channels={base_channels}: 1 or more")
        most = size.bit_length() - 1
        depth = min(6, most) if depth is None else depth
        require(
            1 <= depth <= most, f"model.discriminator.depth={depth}: 1 to {most} halvings of data.size={size}, or null"
        )
        width = base_channels
        layers = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
        for _ in range(1, depth):
            layers += [nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
            width *= 2
        self.layers = nn.Sequential(*layers)
        self.realness = nn.Conv2d(width, 1, 3, padding=1, bias=False)
        self.classes = nn.Conv2d(width, n_domains, size // 2**depth, bias=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = self.layers(images)
        return self.realness(seen), self.classes(seen).flatten(1)


class Asked(nn.Module):
    """A generator that is told labels, with those that are asked for: pictures (B, C, H, W) to pictures.

    labels: (D,) of 0 and 1; where it is NaN, each picture keeps the label that the critic sees in it, at the size
    that it was trained with.
    """

    def __init__(self, generator: nn.Module, labels: torch.Tensor, critic: nn.Module | None, size: int):
        super().__init__()
        self.generator, self.critic, self.size = generator, critic, size
        self.register_buffer("labels", labels)

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        labels = self.labels.expand(len(source), -1)
        if self.critic is not None:
            seen = interpolate(source, (self.size, self.size), mode="bilinear", antialias=True)
            labels = torch.where(labels.isnan(), (self.critic(seen)[1] > 0).to(labels.dtype), labels)
        return self.generator(source, labels)
