"""The networks of R3GAN: residual networks without normalization, for a regularized relativistic loss.

Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern Baseline GAN" (config E). Generator and discriminator
mirror each other: a resolution a stage, from 4 x 4 (or 7 x 7) up, each with `blocks` residual blocks.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.errors import require
from ganforge.networks.conditioning import ClassInput, Head, with_minibatch_std
from ganforge.networks.dcgan import doublings

_LEAK = 0.2
_GAIN = math.sqrt(2 / (1 + _LEAK**2))  # keeps the variance through a leaky ReLU (He et al. 2015)


class R3GANGenerator(nn.Module):
    """z (B, latent_dim), label (B,) or None -> images (B, out_channels, size, size).

    The output is linear, without tanh, as in the paper: it learns to lie in [-1, 1] and may leave it a little.
    size: 4 or 7 times a power of two. widths: channels of the stages from coarse to fine; None for 256 up to 16 px and
    half with every doubling from there (2.3 M parameters at 32 px, 2.4 M at 256 px). blocks: residual blocks a stage.
    expansion: how much wider a block is inside. group_width: channels in a group of its 3 x 3 convolution (16 in the
    paper). n_classes: an embedding of the label is concatenated to z.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        out_channels: int,
        size: int,
        widths: Sequence[int] | None = None,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        n_classes: int | None = None,
    ):
        super().__init__()
        start, widths = _stages("generator", size, widths, blocks, expansion, group_width)
        self.latent_dim = latent_dim
        self.input = ClassInput(latent_dim=latent_dim, n_classes=n_classes)
        self.base = nn.Parameter(torch.randn(1, widths[0], start, start))
        self.modulate = _scaled(nn.Linear(self.input.out_features, widths[0], bias=False))
        depth = blocks * len(widths)
        stages = []
        for before, width in zip([None, *widths], widths, strict=False):
            if before is not None:
                stages.append(Upsample(before, width))
            stages += [Block(width, depth, expansion, group_width) for _ in range(blocks)]
        self.stages = nn.Sequential(*stages)
        self.to_image = _scaled(nn.Conv2d(widths[-1], out_channels, 1))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        style = self.modulate(self.input(z, label))
        return self.to_image(self.stages(self.base * style[:, :, None, None]))


class R3GANDiscriminator(nn.Module):
    """images (B, in_channels, size, size), label (B,) or None -> logits (B,), each of its image alone.

    The generator backwards; see there for size, widths (from coarse to fine here too), blocks, expansion and
    group_width. n_classes: the logit is the inner product of the features with an embedding of the label, of
    `embedding_dim` numbers. The paper needs none of these: dropout, of the last features; spectral_norm, on every layer
    (residual branches then start small instead of at 0); minibatch_std, one more of the last features (see `Head`).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        widths: Sequence[int] | None = None,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        n_classes: int | None = None,
        embedding_dim: int = 64,
        dropout: float = 0.0,
        spectral_norm: bool = False,
        minibatch_std: bool = False,
    ):
        super().__init__()
        start, widths = _stages("discriminator", size, widths, blocks, expansion, group_width)
        require(n_classes is None or n_classes >= 2, f"model.discriminator.n_classes={n_classes}: 2 or more, or null")
        require(0 <= dropout < 1, f"model.discriminator.dropout={dropout}: a probability in [0, 1)")
        require(embedding_dim >= 1, f"model.discriminator.embedding_dim={embedding_dim}: 1 or more")
        widths = widths[::-1]
        self.from_image = _scaled(nn.Conv2d(in_channels, widths[0], 1))
        depth = blocks * len(widths)
        stages = []
        for width, after in zip(widths, [*widths[1:], None], strict=True):
            stages += [Block(width, depth, expansion, group_width) for _ in range(blocks)]
            if after is not None:
                stages.append(Downsample(width, after))
        self.stages = nn.Sequential(*stages)
        self.basis = _scaled(nn.Conv2d(widths[-1], widths[-1], start, groups=widths[-1], bias=False))
        self.dropout = nn.Dropout(dropout)
        self.minibatch_std = minibatch_std
        self.head = _scaled(nn.Linear(widths[-1] + minibatch_std, embedding_dim if n_classes else 1, bias=False))
        self.embedding = nn.Embedding(n_classes, embedding_dim) if n_classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, (embedding_dim * n_classes) ** -0.5)
        if spectral_norm:
            for block in self.stages:
                if isinstance(block, Block):
                    nn.init.normal_(block.branch[-1].weight, 0.0, 1e-2)  # what is 0 has no direction to keep
            Head.normalize(self)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        features = self.dropout(self.basis(self.stages(self.from_image(images))).flatten(1))
        features = self.head(with_minibatch_std(features) if self.minibatch_std else features)
        if self.embedding is None:
            return features.squeeze(1)
        return (features * self.embedding(label)).sum(1)


class Block(nn.Module):
    """x + a branch 1 x 1 -> grouped 3 x 3 -> 1 x 1 with leaky ReLU between, `expansion` times wider inside.

    In place of normalization (fix-up, Zhang et al. 2019) the branch starts at 0 and its first two convolutions are
    scaled down by depth^(-1/4), where depth is the number of blocks in the network.
    """

    def __init__(self, width: int, depth: int, expansion: int, group_width: int):
        super().__init__()
        inner = width * expansion
        gain = _GAIN * depth**-0.25
        self.branch = nn.Sequential(
            _scaled(nn.Conv2d(width, inner, 1), gain),
            nn.LeakyReLU(_LEAK),
            _scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group_width), gain),
            nn.LeakyReLU(_LEAK),
            _scaled(nn.Conv2d(inner, width, 1, bias=False), 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Upsample(nn.Module):
    """(B, before, H, W) -> (B, after, 2 H, 2 W): a 1 x 1 convolution where the width changes, then bilinear."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.mix = _mix(before, after)

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.mix(x), scale_factor=2, mode="bilinear", align_corners=False)


class Downsample(nn.Module):
    """(B, before, H, W) -> (B, after, H / 2, W / 2): low-pass filtered, then a 1 x 1 convolution for the width."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.mix = _mix(before, after)

    def forward(self, x: Tensor) -> Tensor:
        # Three means of two are the paper's filter, (1, 3, 3, 1) / 8 each way.
        smooth = functional.avg_pool2d(functional.avg_pool2d(x, 2, stride=1, padding=1), 2, stride=1)
        return self.mix(functional.avg_pool2d(smooth, 2))


def _mix(before: int, after: int) -> nn.Module:
    return nn.Identity() if before == after else _scaled(nn.Conv2d(before, after, 1, bias=False))


def _scaled(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Module:
    """Weights N(0, gain^2 / fan in), biases 0, in place."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _stages(
    network: str, size: int, widths: Sequence[int] | None, blocks: int, expansion: int, group_width: int
) -> tuple[int, list[int]]:
    """(start, widths from coarse to fine) of a network for size x size pictures; raises UserError for wrong values."""
    start, n = doublings(size)
    for name, value in (("blocks", blocks), ("expansion", expansion), ("group_width", group_width)):
        require(isinstance(value, int) and value >= 1, f"model.{network}.{name}={value}: 1 or more")
    if widths is None:
        sides = [start * 2**stage for stage in range(n + 1)]
        widths = [max(16, min(256, 4096 >> (side - 1).bit_length())) for side in sides]
    widths = list(widths)
    require(
        len(widths) == n + 1,
        f"model.{network}.widths={widths}: data.size={size} has {n + 1} stages ({start} to {size} px); "
        f"give {n + 1} widths, coarse to fine",
    )
    step = group_width // math.gcd(group_width, expansion)
    for width in widths:
        require(
            isinstance(width, int) and width >= 1 and width * expansion % group_width == 0,
            f"model.{network}.widths={widths}: {width} * expansion={expansion} is not a multiple of "
            f"group_width={group_width}; use multiples of {step}, or another model.{network}.group_width",
        )
    return start, widths
