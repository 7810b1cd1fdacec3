"""Convolutional networks for images from noise (Radford et al. 2015), from 16 px up."""

import torch
from torch import nn

from ganforge.errors import require
from ganforge.networks.conditioning import ClassInput, Head
from ganforge.networks.layers import flat_normalization, initialize, normalization
from ganforge.networks.resampling import upsampled


def doublings(size: int) -> tuple[int, int]:
    """(start, n) with size = start * 2**n and start 4 or 7; raises UserError for a size that is neither."""
    for start in (4, 7):
        n = (size // start).bit_length() - 1
        if n >= 1 and start * 2**n == size:
            return start, n
    possible = sorted(start * 2**n for start in (4, 7) for n in range(1, 9))
    near = min(possible, key=lambda other: abs(other - size))
    require(False, f"data.size={size}: these networks grow from 4 or 7 px by doubling; use data.size={near}")


class DCGANGenerator(nn.Module):
    """z (B, latent_dim), label (B,) or None -> images (B, out_channels, size, size) in [-1, 1].

    z is projected to 4 x 4 (or 7 x 7), then transposed convolutions double the size and halve the width, down to
    base_channels before the last one; batch norm, ReLU, tanh. 64 px, 64 base channels: 1024 px of the paper become 512,
    as in the authors' and PyTorch's code (3.6 M parameters for RGB).

    kernel_size: 4 or 5. refine: one more convolution before the first doubling (with kernel_size 5, 28 px and 64 base
    channels: 7 x 7 x 256, 7 x 7 x 128, 14 x 14 x 64, 28 x 28). hidden: width of a fully connected layer before the
    projection (1024 in the networks for MNIST of Chen et al. 2016). n_classes: an embedding is concatenated to z.
    upsample: "transposed" convolutions; "nearest" or "blur" without their checkerboards, in twice the time: see
    `upsampled`.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        out_channels: int,
        size: int,
        base_channels: int = 64,
        kernel_size: int = 4,
        refine: bool = False,
        hidden: int | None = None,
        norm: str = "batch",
        upsample: str = "transposed",
        n_classes: int | None = None,
    ):
        super().__init__()
        require(base_channels >= 1, f"model.generator.base_channels={base_channels}: 1 or more")
        require(kernel_size in (4, 5), f"model.generator.kernel_size={kernel_size}: 4 or 5")
        start, n = doublings(size)
        self.latent_dim = latent_dim
        self.input = ClassInput(latent_dim=latent_dim, n_classes=n_classes)
        strides = [1] * refine + [2] * n
        width = base_channels * 2 ** (len(strides) - 1)
        bias = norm != "batch"
        before, chain = self.input.out_features, []
        if hidden is not None:
            require(hidden >= 1, f"model.generator.hidden={hidden}: 1 or more, or null")
            chain += [nn.Linear(before, hidden, bias=bias), flat_normalization(norm, hidden), nn.ReLU()]
            before = hidden
        self.project = nn.Sequential(*chain, nn.Linear(before, width * start * start, bias=bias))
        self.start = (width, start, start)
        chain = [normalization(norm, width), nn.ReLU()]
        for step, stride in enumerate(strides):
            last = step == len(strides) - 1
            after = out_channels if last else width // 2
            if stride == 1 or upsample == "transposed":
                chain += [_up(width, after, kernel_size, stride, bias=bias or last)]
            else:
                chain += upsampled(upsample, width, after, bias=bias or last)
            chain += [nn.Tanh()] if last else [normalization(norm, after), nn.ReLU()]
            width = after
        self.layers = nn.Sequential(*chain)
        initialize(self)

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return self.layers(self.project(self.input(z, label)).unflatten(1, self.start))


def _up(before: int, after: int, kernel_size: int, stride: int, bias: bool) -> nn.Module:
    if stride == 1:
        return nn.Conv2d(before, after, 5 if kernel_size == 5 else 3, padding="same", bias=bias)
    odd = kernel_size % 2
    return nn.ConvTranspose2d(
        before, after, kernel_size, stride=2, padding=(kernel_size - 1) // 2, output_padding=odd, bias=bias
    )


class DCGANDiscriminator(nn.Module):
    """images (B, in_channels, size, size), label (B,) or None -> logits (B,).

    Convolutions of stride 2 double the width from base_channels until 4 x 4 (or 7 x 7); LeakyReLU 0.2, batch norm but
    for the first. hidden: width of a fully connected layer after them. norm: batch, instance or none; None for batch,
    and with spectral_norm for none. dropout: of single activations, after each layer. For minibatch_std, n_classes and
    outputs see `Head`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        base_channels: int = 64,
        kernel_size: int = 4,
        norm: str | None = None,
        hidden: int | None = None,
        dropout: float = 0.0,
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        n_classes: int | None = None,
        outputs: int = 1,
    ):
        super().__init__()
        require(base_channels >= 1, f"model.discriminator.base_channels={base_channels}: 1 or more")
        require(kernel_size in (4, 5), f"model.discriminator.kernel_size={kernel_size}: 4 or 5")
        require(0 <= dropout < 1, f"model.discriminator.dropout={dropout}: a probability in [0, 1)")
        norm = norm or ("none" if spectral_norm else "batch")
        start, n = doublings(size)
        chain, before = [], in_channels
        for step in range(n):
            width = base_channels * 2**step
            plain = step == 0 or norm == "none"
            padding = (kernel_size - 1) // 2
            chain += [nn.Conv2d(before, width, kernel_size, stride=2, padding=padding, bias=plain or norm != "batch")]
            chain += [] if plain else [normalization(norm, width)]
            chain += [nn.LeakyReLU(0.2)]
            chain += [nn.Dropout(dropout)] if dropout else []
            before = width
        positions = start * start
        if hidden is not None:
            require(hidden >= 1, f"model.discriminator.hidden={hidden}: 1 or more, or null")
            chain += [nn.Flatten(), nn.Linear(before * positions, hidden, bias=norm != "batch")]
            chain += [flat_normalization(norm, hidden), nn.LeakyReLU(0.2)]
            chain += [nn.Dropout(dropout)] if dropout else []
            before, positions = hidden, 1
        self.features = nn.Sequential(*chain)
        self.head = Head(
            features=before, positions=positions, minibatch_std=minibatch_std, n_classes=n_classes, outputs=outputs
        )
        initialize(self)
        if spectral_norm:
            self.head.normalize(self)

    def forward(self, images: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.features(images), label)
