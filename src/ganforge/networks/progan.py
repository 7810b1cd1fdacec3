"""The growing networks of Karras et al. 2018, of which only the levels up to the present one are used."""

import math

import torch
from torch import nn
from torch.nn import functional

from ganforge.errors import require
from ganforge.networks.conditioning import with_minibatch_std
from ganforge.networks.dcgan import doublings

_PAPER = 16384  # channels times pixels a side, where there are fewer than 512 channels


class EqualizedConv(nn.Conv2d):
    """A convolution with weights of N(0, 1), which are scaled by gain / sqrt(inputs) at each use.

    So all weights have the same dynamic range under Adam (Karras et al. 2018, section 4.1).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, gain: float = math.sqrt(2), bias: bool = True):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.scale = gain / math.sqrt(inputs * kernel**2)
        nn.init.normal_(self.weight)
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class EqualizedLinear(nn.Linear):
    """The same of a linear layer. rate: of its learning rate; bias: that it begins with."""

    def __init__(self, inputs: int, outputs: int, gain: float = math.sqrt(2), rate: float = 1.0, bias: float = 0.0):
        super().__init__(inputs, outputs)
        self.scale, self.rate = gain * rate / math.sqrt(inputs), rate
        nn.init.normal_(self.weight, std=1 / rate)
        nn.init.constant_(self.bias, bias / rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight * self.scale, self.bias * self.rate)


def widths(size: int, base_channels: int | None, max_channels: int, network: str, paper: int) -> tuple[int, list[int]]:
    """Pixels a side of the coarsest resolution, and the channels of all, from there to `size`.

    base_channels: of the finest; each coarser one has twice as many, up to max_channels. None: paper / size.
    """
    base_channels = base_channels or max(1, paper // size)
    require(base_channels >= 1, f"model.{network}.base_channels={base_channels}: 1 or more, or null for the paper's")
    require(max_channels >= 1, f"model.{network}.max_channels={max_channels}: 1 or more")
    start, doubled = doublings(size)
    return start, [min(max_channels, base_channels * 2 ** (doubled - level)) for level in range(doubled + 1)]


def pixel_norm(x: torch.Tensor) -> torch.Tensor:
    """Each pixel's features (B, C, ...) divided by their root mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class Growing(nn.Module):
    """Networks with a level and a share alpha of it, which are in their state dict: see `grow`.

    levels: from the coarsest, of 4 or 7 px, to the whole size. widths: channels of each.
    """

    def __init__(self, size: int, base_channels: int | None, max_channels: int, network: str):
        super().__init__()
        self.start, self.widths = widths(size, base_channels, max_channels, network, _PAPER)
        self.levels = len(self.widths)
        self.register_buffer("phase", torch.tensor([self.levels - 1, 1.0], dtype=torch.float64))
        self._phase: tuple[int, float] | None = None

    def grow(self, level: int, alpha: float) -> None:
        """Use the levels up to this one, of which alpha counts, and 1 - alpha of the one before."""
        self._phase = level, alpha
        self.phase[0], self.phase[1] = level, alpha

    def now(self) -> tuple[int, float]:
        """The level and alpha; read from the buffer once, since that may be on a GPU."""
        if self._phase is None:
            level, alpha = self.phase.tolist()
            self._phase = min(max(int(level), 0), self.levels - 1), min(max(alpha, 0.0), 1.0)
        return self._phase

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._phase = None


class ProGANGenerator(Growing):
    """z (B, latent_dim) -> images (B, out_channels, size, size), about [-1, 1]: the output is linear.

    Of the present level, enlarged to the whole size by repeating pixels. base_channels: of the finest level; each
    coarser one has twice as many, up to max_channels. null: the paper's 16384 / size. 23.1 M parameters at 1024 px.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        out_channels: int,
        size: int,
        base_channels: int | None = None,
        max_channels: int = 512,
    ):
        super().__init__(size, base_channels, max_channels, "generator")
        self.latent_dim, self.size = latent_dim, size
        first = self.widths[0]
        self.project = EqualizedLinear(latent_dim, first * self.start**2, gain=math.sqrt(2) / 4)
        self.blocks = nn.ModuleList([nn.ModuleList([EqualizedConv(first, first)])])
        for before, after in zip(self.widths, self.widths[1:], strict=False):
            self.blocks.append(nn.ModuleList([EqualizedConv(before, after), EqualizedConv(after, after)]))
        self.to_images = nn.ModuleList(EqualizedConv(width, out_channels, 1, gain=1.0) for width in self.widths)

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        level, alpha = self.now()
        x = self.project(pixel_norm(z)).unflatten(1, (-1, self.start, self.start))
        x = pixel_norm(functional.leaky_relu(x, 0.2))
        before = x
        for number, layers in enumerate(self.blocks[: level + 1]):
            before, x = x, (_doubled(x) if number else x)
            for layer in layers:
                x = pixel_norm(functional.leaky_relu(layer(x), 0.2))
        images = self.to_images[level](x)
        if alpha < 1:
            images = alpha * images + (1 - alpha) * _doubled(self.to_images[level - 1](before))
        return functional.interpolate(images, (self.size, self.size)) if level < self.levels - 1 else images


class ProGANDiscriminator(Growing):
    """images (B, in_channels, size, size) -> logits (B,); what it sees of them is as coarse as the present level.

    The generator's mirror image, with the standard deviation over groups of images as one more feature of the coarsest
    level. While a level is faded in, images are alpha fine and 1 - alpha coarse, real ones too.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        base_channels: int | None = None,
        max_channels: int = 512,
    ):
        super().__init__(size, base_channels, max_channels, "discriminator")
        first = self.widths[0]
        self.from_images = nn.ModuleList(EqualizedConv(in_channels, width, 1) for width in self.widths)
        self.blocks = nn.ModuleList([nn.ModuleList([EqualizedConv(first + 1, first)])])
        for before, after in zip(self.widths, self.widths[1:], strict=False):
            self.blocks.append(nn.ModuleList([EqualizedConv(after, after), EqualizedConv(after, before)]))
        self.hidden = EqualizedLinear(first * self.start**2, first)
        self.head = EqualizedLinear(first, 1, gain=1.0)

    def forward(self, images: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        level, alpha = self.now()
        images = functional.avg_pool2d(images, 2 ** (self.levels - 1 - level)) if level < self.levels - 1 else images
        if alpha < 1:
            coarse = functional.avg_pool2d(images, 2)
            images = alpha * images + (1 - alpha) * _doubled(coarse)
        x = functional.leaky_relu(self.from_images[level](images), 0.2)
        for number in range(level, 0, -1):
            for layer in self.blocks[number]:
                x = functional.leaky_relu(layer(x), 0.2)
            x = functional.avg_pool2d(x, 2)
            if number == level and alpha < 1:
                skipped = functional.leaky_relu(self.from_images[level - 1](coarse), 0.2)
                x = alpha * x + (1 - alpha) * skipped
        x = functional.leaky_relu(self.blocks[0][0](with_minibatch_std(x)), 0.2)
        return self.head(functional.leaky_relu(self.hidden(x.flatten(1)), 0.2)).squeeze(1)


def _doubled(images: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(images, scale_factor=2)
