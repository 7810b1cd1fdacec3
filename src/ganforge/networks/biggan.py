"""The residual networks of SAGAN (Zhang et al. 2019) and BigGAN (Brock et al. 2019), told the class or not."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.errors import require
from ganforge.networks.attention import SelfAttention
from ganforge.networks.conditioning import Head
from ganforge.networks.dcgan import doublings

_FINEST_ATTENTION = 64  # px a side: beyond that its memory is that of the rest of the network, and more


class BigGANGenerator(nn.Module):
    """z (B, latent_dim), label (B,) or None -> images (B, out_channels, size, size) in [-1, 1].

    A linear layer to 4 x 4 (or 7 x 7), then a residual block for every doubling, normalized over the batch with gains
    and biases that depend on the class. multiples: widths from coarse to fine, in base_channels; None for 16, 16, 8, 4,
    2, 1, 1, ..., of which the paper has others at 256 px (16, 16, 8, 8, 4, 2, 1) and for CIFAR (4, 4, 4, 4).

    split_latent: the first piece of z begins the picture, each block is given one more, beside the class (BigGAN).
    embedding_dim: of the classes, from which linear layers make gains and biases (BigGAN); None for gains and biases
    of each class (SAGAN). attention: sides of the maps with self-attention; None for the finest up to half of size and
    64 px. n_classes: None for none: then gains and biases depend on the pieces of z, or on nothing.
    70,433,988 parameters for 1,000 classes at 128 px with 96 base channels and latent_dim=120.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        out_channels: int,
        size: int,
        base_channels: int = 96,
        multiples: Sequence[int] | None = None,
        attention: Sequence[int] | None = None,
        split_latent: bool = True,
        embedding_dim: int | None = 128,
        n_classes: int | None = None,
        spectral_norm: bool = True,
    ):
        super().__init__()
        start, n = doublings(size)
        widths = _widths("generator", base_channels, multiples, [16, 16, 8, 4, 2, *[1] * n][: n + 1])
        _check_classes("generator", n_classes)
        require(
            embedding_dim is None or embedding_dim >= 1,
            f"model.generator.embedding_dim={embedding_dim}: 1 or more, or null for gains of each class",
        )
        pieces = n + 1 if split_latent else 1
        require(
            latent_dim >= pieces and latent_dim % pieces == 0,
            f"model.latent_dim={latent_dim}: {size} px have {n} blocks, so it is split in {pieces}; use "
            f"model.latent_dim={max(1, round(latent_dim / pieces)) * pieces}, or model.generator.split_latent=false",
        )
        self.latent_dim, self.piece = latent_dim, latent_dim // pieces
        self.start = (widths[0], start, start)
        shared = n_classes is not None and embedding_dim is not None
        require(
            shared or n_classes is None or not split_latent,
            "model.generator.split_latent=true: the classes need an embedding beside the pieces of the latents; set "
            "model.generator.embedding_dim=128",
        )
        self.embedding = nn.Embedding(n_classes, embedding_dim) if shared else None
        told = (embedding_dim if shared else 0) + (self.piece if split_latent else 0)
        self.project = nn.Linear(self.piece, widths[0] * start**2)
        sides = [start * 2 ** (block + 1) for block in range(n)]
        seen = _attention("generator", attention, sides, size)
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleDict()
        for number, (before, after, side) in enumerate(zip(widths, widths[1:], sides, strict=False)):
            self.blocks.append(_Up(before, after, told, None if shared else n_classes))
            if side in seen:
                self.attention[str(number)] = SelfAttention(after)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.to_image = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        _initialize(self)
        if spectral_norm:
            Head.normalize(self, nn.Conv2d, nn.Linear)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        first, *pieces = z.split(self.piece, dim=1)
        told = label if self.embedding is None else self.embedding(label)
        x = self.project(first).unflatten(1, self.start)
        for number, block in enumerate(self.blocks):
            own = pieces[number] if pieces else None
            if own is not None and self.embedding is not None:
                own = torch.cat([told, own], dim=1)
            x = block(x, told if own is None else own)
            if str(number) in self.attention:
                x = self.attention[str(number)](x)
        return torch.tanh(self.to_image(functional.relu(self.norm(x))))


class BigGANDiscriminator(nn.Module):
    """images (B, in_channels, size, size), label (B,) or None -> logits (B,).

    A residual block for every halving down to 4 x 4 (or 7 x 7) and one more; the features, summed over places, give the
    logit, with classes also by their inner product with an embedding of the label (Miyato and Koyama 2018). multiples:
    widths from coarse to fine, in base_channels; None for ..., 16, 8, 4, 2, 1. attention: as in the generator.
    87,982,370 parameters for 1,000 classes at 128 px with 96 base channels.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        base_channels: int = 96,
        multiples: Sequence[int] | None = None,
        attention: Sequence[int] | None = None,
        n_classes: int | None = None,
        spectral_norm: bool = True,
    ):
        super().__init__()
        _, n = doublings(size)
        coarse_to_fine = [min(16, 2**block) for block in range(n, -1, -1)]
        widths = _widths("discriminator", base_channels, multiples, coarse_to_fine)[::-1]
        _check_classes("discriminator", n_classes)
        sides = [size // 2 ** (block + 1) for block in range(n)]
        seen = _attention("discriminator", attention, sides, size)
        chain = []
        for number, (before, after) in enumerate(zip([in_channels, *widths], widths, strict=False)):
            chain.append(_Down(before, after, first=number == 0, halve=number < n))
            if number < n and sides[number] in seen:
                chain.append(SelfAttention(after))
        self.layers = nn.Sequential(*chain)
        self.linear = nn.Linear(widths[-1], 1)
        self.embedding = nn.Embedding(n_classes, widths[-1]) if n_classes else None
        _initialize(self)
        if spectral_norm:
            Head.normalize(self)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        features = functional.relu(self.layers(images)).sum(dim=(2, 3))
        logits = self.linear(features).squeeze(1)
        return logits if self.embedding is None else logits + (features * self.embedding(label)).sum(dim=1)


class ConditionalNorm(nn.Module):
    """Batch norm whose gain and bias depend on numbers (B, features), or on classes (B,), or on nothing."""

    def __init__(self, channels: int, features: int, n_classes: int | None):
        super().__init__()
        self.told = bool(features or n_classes)
        self.norm = nn.BatchNorm2d(channels, affine=not self.told)
        if features:
            self.gain, self.bias = (nn.Linear(features, channels, bias=False) for _ in range(2))
        elif n_classes:
            self.gain, self.bias = (nn.Embedding(n_classes, channels) for _ in range(2))

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        x = self.norm(x)
        if not self.told:
            return x
        return x * (1 + self.gain(told))[:, :, None, None] + self.bias(told)[:, :, None, None]


class _Up(nn.Module):
    """(B, before, H, W) -> (B, after, 2 H, 2 W): Brock et al. 2019, figure 15 b."""

    def __init__(self, before: int, after: int, features: int, n_classes: int | None):
        super().__init__()
        self.norms = nn.ModuleList(ConditionalNorm(width, features, n_classes) for width in (before, after))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, after, 3, padding=1) for width in (before, after))
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        h = functional.interpolate(functional.relu(self.norms[0](x, told)), scale_factor=2)
        h = self.convolutions[1](functional.relu(self.norms[1](self.convolutions[0](h), told)))
        # Before it is enlarged, which gives the same in a quarter of the time.
        return h + functional.interpolate(self.skip(x), scale_factor=2)


class _Down(nn.Module):
    """(B, before, H, W) -> (B, after, H / 2, W / 2), or of the same size: Brock et al. 2019, figure 15 c."""

    def __init__(self, before: int, after: int, first: bool, halve: bool):
        super().__init__()
        self.first, self.halve = first, halve
        self.convolutions = nn.ModuleList(nn.Conv2d(width, after, 3, padding=1) for width in (before, after))
        self.skip = nn.Conv2d(before, after, 1) if halve or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.first else functional.relu(x)
        h = self.convolutions[1](functional.relu(self.convolutions[0](h)))
        return self._halved(h) + self.skip(self._halved(x))

    def _halved(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2) if self.halve else x


def _initialize(network: nn.Module) -> None:
    """Orthogonal weights, biases 0; gains and biases of each class 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(module.weight)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, ConditionalNorm) and module.told:
            for part in (module.gain, module.bias):
                if isinstance(part, nn.Embedding):
                    nn.init.zeros_(part.weight)


def _widths(network: str, base_channels: int, multiples: Sequence[int] | None, default: list[int]) -> list[int]:
    require(base_channels >= 1, f"model.{network}.base_channels={base_channels}: 1 or more")
    chosen = default if multiples is None else list(multiples)
    require(
        len(chosen) == len(default) and all(isinstance(one, int) and one >= 1 for one in chosen),
        f"model.{network}.multiples={chosen}: give {len(default)} numbers of 1 or more, coarse to fine, or null",
    )
    return [base_channels * one for one in chosen]


def _check_classes(network: str, n_classes: int | None) -> None:
    require(n_classes is None or n_classes >= 2, f"model.{network}.n_classes={n_classes}: 2 or more, or null")


def _attention(network: str, asked: Sequence[int] | None, sides: list[int], size: int) -> set[int]:
    """The sides of maps that are to have self-attention; raises UserError where there are no such maps."""
    if asked is None:
        return {max((side for side in sides if side <= min(_FINEST_ATTENTION, size // 2)), default=0)}
    require(
        set(asked) <= set(sides),
        f"model.{network}.attention={list(asked)}: sides of maps with self-attention, of {sorted(sides)}; or null",
    )
    return set(asked)
