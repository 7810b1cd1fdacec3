"""Fully connected networks, for small pictures."""

from collections.abc import Sequence

import torch
from torch import nn

from ganforge.errors import require
from ganforge.networks.conditioning import ClassInput, Head


class MLPGenerator(nn.Module):
    """Goodfellow et al. 2014, with batch norm: latent 100-256-512-1024-pixels, LeakyReLU 0.2, tanh.

    z (B, latent_dim), label (B,) or None -> images (B, out_channels, size, size) in [-1, 1]. 1.49 M parameters for
    28 px grey. n_classes: a class embedding is concatenated to z.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        out_channels: int,
        size: int,
        widths: Sequence[int] = (256, 512, 1024),
        norm_momentum: float = 0.8,
        n_classes: int | None = None,
    ):
        super().__init__()
        require(all(width >= 1 for width in widths), f"model.generator.widths={list(widths)}: 1 or more each")
        require(0 <= norm_momentum < 1, f"model.generator.norm_momentum={norm_momentum}: in [0, 1)")
        self.latent_dim = latent_dim
        self.shape = (out_channels, size, size)
        self.input = ClassInput(latent_dim=latent_dim, n_classes=n_classes)
        chain, before = [], self.input.out_features
        for layer, width in enumerate(widths):
            chain += [nn.Linear(before, width)]
            if layer > 0:
                # The share that is kept, as Keras counts; PyTorch counts the share that is new.
                chain += [nn.BatchNorm1d(width, momentum=1 - norm_momentum)]
            chain += [nn.LeakyReLU(0.2)]
            before = width
        self.layers = nn.Sequential(*chain, nn.Linear(before, out_channels * size * size), nn.Tanh())

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return self.layers(self.input(z, label)).unflatten(1, self.shape)


class MLPDiscriminator(nn.Module):
    """Pixels-512-256-1 with LeakyReLU 0.2: images (B, in_channels, size, size), label (B,) or None -> logits (B,).

    For the options see `Head`. 0.53 M parameters for 28 px grey.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        widths: Sequence[int] = (512, 256),
        dropout: float = 0.0,
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        n_classes: int | None = None,
        outputs: int = 1,
    ):
        super().__init__()
        require(all(width >= 1 for width in widths), f"model.discriminator.widths={list(widths)}: 1 or more each")
        require(0 <= dropout < 1, f"model.discriminator.dropout={dropout}: a probability in [0, 1)")
        chain, before = [nn.Flatten()], in_channels * size * size
        for width in widths:
            chain += [nn.Linear(before, width), nn.LeakyReLU(0.2)]
            if dropout:
                chain += [nn.Dropout(dropout)]
            before = width
        self.features = nn.Sequential(*chain)
        self.head = Head(
            features=before, positions=1, minibatch_std=minibatch_std, n_classes=n_classes, outputs=outputs
        )
        if spectral_norm:
            self.head.normalize(self)

    def forward(self, images: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.features(images), label)
