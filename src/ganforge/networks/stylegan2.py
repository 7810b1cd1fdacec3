"""The networks of Karras et al. 2020 ("Analyzing and improving the image quality of StyleGAN"), configuration F."""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from ganforge.errors import require
from ganforge.networks.conditioning import with_minibatch_std
from ganforge.networks.progan import EqualizedConv, EqualizedLinear, pixel_norm, widths

_PAPER = 32768  # channels times pixels a side, where there are fewer than max_channels
_TAPS = (1.0, 3.0, 3.0, 1.0)  # of the low-pass filter
_MEAN_STYLE = 0.005  # share of each batch in the running mean of the styles


class StyleGAN2Generator(nn.Module):
    """z (B, latent_dim) -> images (B, out_channels, size, size), about [-1, 1]: the output is linear.

    A mapping network turns z into a style, which scales the inputs of every convolution; the images of all resolutions
    are added up. Each convolution adds noise, drawn anew while it is trained and always the same afterwards.
    base_channels: of the finest resolution; each coarser one has twice as many, up to max_channels. null: the paper's
    32768 / size. mapping_layers: of latent_dim features, with a hundredth of the learning rate. 30.4 M parameters at
    1024 px.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        out_channels: int,
        size: int,
        base_channels: int | None = None,
        max_channels: int = 512,
        mapping_layers: int = 8,
    ):
        super().__init__()
        require(mapping_layers >= 1, f"model.generator.mapping_layers={mapping_layers}: 1 or more")
        self.latent_dim, self.size = latent_dim, size
        start, self.widths = widths(size, base_channels, max_channels, "generator", _PAPER)
        self.mapping = nn.ModuleList(
            EqualizedLinear(latent_dim, latent_dim, gain=1.0, rate=0.01) for _ in range(mapping_layers)
        )
        self.register_buffer("mean_style", torch.zeros(latent_dim))
        self.const = nn.Parameter(torch.randn(self.widths[0], start, start))
        self.layers = nn.ModuleList([StyledConv(latent_dim, self.widths[0], self.widths[0], start)])
        for number, (before, after) in enumerate(pairwise(self.widths), 1):
            pixels = start * 2**number
            self.layers.append(StyledConv(latent_dim, before, after, pixels, up=True))
            self.layers.append(StyledConv(latent_dim, after, after, pixels))
        self.to_images = nn.ModuleList(ToImage(latent_dim, width, out_channels) for width in self.widths)

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None, truncation: float = 1.0) -> torch.Tensor:
        """truncation: styles are that much nearer to their mean, in (0, 1] (Karras et al. 2019)."""
        style = self.style(z)
        if truncation < 1:
            style = self.mean_style.lerp(style.to(self.mean_style.dtype), truncation)
        return self.synthesize(style.unsqueeze(1).expand(-1, self.n_styles, -1))

    @property
    def n_styles(self) -> int:
        """How many styles an image takes: one a convolution, and one for the last image."""
        return len(self.layers) + 1

    def style(self, z: torch.Tensor) -> torch.Tensor:
        """(B, latent_dim) -> (B, latent_dim)."""
        w = pixel_norm(z)
        for layer in self.mapping:
            w = _activated(layer(w))
        if self.training:
            self.mean_style.lerp_(w.detach().mean(0).to(self.mean_style.dtype), _MEAN_STYLE)
        return w

    def synthesize(self, styles: torch.Tensor) -> torch.Tensor:
        """Styles (B, n_styles, latent_dim) -> images."""
        x = self.layers[0](self.const.expand(len(styles), -1, -1, -1), styles[:, 0])
        images = self.to_images[0](x, styles[:, 1])
        for number in range(1, len(self.widths)):
            for layer in (2 * number - 1, 2 * number):
                x = self.layers[layer](x, styles[:, layer])
            images = _doubled(images) + self.to_images[number](x, styles[:, 2 * number + 1])
        return images


class StyledConv(nn.Module):
    """A 3 x 3 convolution of inputs that are scaled by the style, to outputs that are scaled to unit variance.

    Then noise is added and a leaky ReLU taken. up: to twice the size. pixels: a side of what comes out.
    """

    def __init__(self, latent_dim: int, inputs: int, outputs: int, pixels: int, up: bool = False):
        super().__init__()
        self.up, self.scale = up, 1 / math.sqrt(inputs * 9)
        self.affine = EqualizedLinear(latent_dim, inputs, gain=1.0, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(pixels, pixels))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        scales = self.affine(style)
        weight = self.weight * self.scale
        # The weights differ from image to image by factors of inputs and outputs, which scale those instead.
        variance = scales.square() @ weight.square().sum((2, 3)).T
        x = x * scales[:, :, None, None]
        if self.up:
            x = _filtered(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2), pad=1, gain=4.0)
        else:
            x = functional.conv2d(x, weight, padding=1)
        x = x * (variance + 1e-8).rsqrt()[:, :, None, None]
        noise = torch.randn_like(x[:, :1]) if self.training else self.noise.to(x.dtype)
        return _activated(x + noise * self.noise_strength + self.bias[:, None, None])


class ToImage(nn.Module):
    """Channels of an image from features (B, C, H, W), by a 1 x 1 convolution whose inputs are scaled by the style."""

    def __init__(self, latent_dim: int, inputs: int, channels: int):
        super().__init__()
        self.affine = EqualizedLinear(latent_dim, inputs, gain=1.0, bias=1.0)
        self.conv = EqualizedConv(inputs, channels, 1, gain=1.0)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        return self.conv(x * self.affine(style)[:, :, None, None])


class StyleGAN2Discriminator(nn.Module):
    """images (B, in_channels, size, size) -> logits (B,): residual blocks with low-pass filters before each halving.

    base_channels, max_channels: as in the generator. 29.0 M parameters at 1024 px.
    """

    def __init__(self, *, in_channels: int, size: int, base_channels: int | None = None, max_channels: int = 512):
        super().__init__()
        start, own = widths(size, base_channels, max_channels, "discriminator", _PAPER)
        own = own[::-1]
        self.from_images = EqualizedConv(in_channels, own[0], 1, gain=1.0)
        self.blocks = nn.ModuleList(
            nn.ModuleList([
                EqualizedConv(before, before, gain=1.0),
                EqualizedConv(before, after, gain=1.0),
                EqualizedConv(before, after, 1, gain=1.0, bias=False),
            ])
            for before, after in pairwise(own)
        )  # fmt: skip
        self.conv = EqualizedConv(own[-1] + 1, own[-1], gain=1.0)
        self.hidden = EqualizedLinear(own[-1] * start**2, own[-1], gain=1.0)
        self.head = EqualizedLinear(own[-1], 1, gain=1.0)

    def forward(self, images: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        x = _activated(self.from_images(images))
        for first, second, skip in self.blocks:
            beside = skip(_filtered(x, pad=1)[:, :, ::2, ::2])
            x = _filtered(_activated(first(x)), pad=2)
            x = functional.conv2d(x, second.weight * second.scale, second.bias, stride=2)
            x = (_activated(x) + beside) / math.sqrt(2)
        x = _activated(self.conv(with_minibatch_std(x)))
        return self.head(_activated(self.hidden(x.flatten(1)))).squeeze(1)


def _activated(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, 0.2) * math.sqrt(2)


def _filtered(x: torch.Tensor, pad: int, gain: float = 1.0) -> torch.Tensor:
    """Low-pass filtered (B, C, H, W), with so many zeros around it: 2 pad - 3 pixels larger a side."""
    taps = x.new_tensor(_TAPS) / sum(_TAPS)
    kernel = (gain * torch.outer(taps, taps)).expand(x.shape[1], 1, -1, -1)
    return functional.conv2d(x, kernel, padding=pad, groups=x.shape[1])


def _doubled(images: torch.Tensor) -> torch.Tensor:
    taps = images.new_tensor(_TAPS) / sum(_TAPS)
    kernel = (4 * torch.outer(taps, taps)).expand(images.shape[1], 1, -1, -1)
    return functional.conv_transpose2d(images, kernel, stride=2, padding=1, groups=images.shape[1])
