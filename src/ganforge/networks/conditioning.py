"""What goes into a generator from noise, and what comes out of its discriminator, with or without classes."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ganforge.errors import require


class ClassInput(nn.Module):
    """z (B, latent_dim) -> z; with classes: z and an embedding of the label (B,), concatenated."""

    def __init__(self, *, latent_dim: int, n_classes: int | None, embedding_dim: int = 50):
        super().__init__()
        require(isinstance(latent_dim, int) and latent_dim >= 1, f"model.latent_dim={latent_dim}: 1 or more")
        require(n_classes is None or n_classes >= 2, f"model.generator.n_classes={n_classes}: 2 or more, or null")
        self.embedding = nn.Embedding(n_classes, embedding_dim) if n_classes else None
        if n_classes:
            # As long as a one-hot vector: with N(0, 1) the class would drown the latents.
            nn.init.normal_(self.embedding.weight, 0.0, embedding_dim**-0.5)
        self.out_features = latent_dim + (embedding_dim if n_classes else 0)

    def forward(self, z: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        return z if self.embedding is None else torch.cat([z, self.embedding(label)], dim=1)


class Head(nn.Module):
    """The end of a discriminator: features (B, F) or (B, F, h, w), label (B,) or None -> logits (B,).

    positions: h * w. minibatch_std: one more feature, the standard deviation over groups of up to 4 images (Karras et
    al. 2018), by which copies give themselves away. n_classes: the projection of Miyato and Koyama 2018, the inner
    product of the features, summed over positions, with an embedding of the label, divided by the square root of their
    number F. outputs: more than 1 gives (B, outputs).
    """

    def __init__(
        self, *, features: int, positions: int, minibatch_std: bool, n_classes: int | None = None, outputs: int = 1
    ):
        super().__init__()
        require(n_classes is None or n_classes >= 2, f"model.discriminator.n_classes={n_classes}: 2 or more, or null")
        require(outputs >= 1, f"model.discriminator.outputs={outputs}: 1 or more")
        self.minibatch_std = minibatch_std
        self.linear = nn.Linear((features + minibatch_std) * positions, outputs)
        self.embedding = nn.Embedding(n_classes, features) if n_classes else None
        nn.init.normal_(self.linear.weight, 0.0, 0.02)
        nn.init.zeros_(self.linear.bias)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, 0.02)

    def forward(self, features: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        seen = with_minibatch_std(features) if self.minibatch_std else features
        logits = self.linear(seen.flatten(1))
        if self.embedding is not None:
            pooled = features.flatten(2).sum(2) if features.ndim > 2 else features
            # Divided as in attention: without it the embedding, at the learning rate of all other weights, moves the
            # logits faster than the rest of the network, and the discriminator wins by the labels alone.
            logits = logits + (pooled * self.embedding(label)).sum(1, keepdim=True) / pooled.shape[1] ** 0.5
        return logits.squeeze(1) if logits.shape[1] == 1 else logits

    @staticmethod
    def normalize(network: nn.Module, *kinds: type[nn.Module]) -> None:
        """Spectral norm (Miyato et al. 2018) on every layer of these kinds, in place; of none on every convolution,
        linear layer and embedding."""
        for module in list(network.modules()):
            if isinstance(module, kinds or (nn.Conv2d, nn.Linear, nn.Embedding)):
                spectral_norm(module)


def with_minibatch_std(features: torch.Tensor, group: int = 4) -> torch.Tensor:
    """(B, F, ...) -> (B, F + 1, ...): the last feature is the mean standard deviation within the image's group."""
    batch = len(features)
    size = next(n for n in range(min(group, batch), 0, -1) if batch % n == 0)
    groups = features.float().unflatten(0, (size, batch // size))
    deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().flatten(1).mean(1)
    plane = deviation.repeat(size).reshape(batch, 1, *[1] * (features.ndim - 2)).expand(batch, 1, *features.shape[2:])
    return torch.cat([features, plane.to(features.dtype)], dim=1)
