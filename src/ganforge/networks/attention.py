"""Self-attention over the places of feature maps."""

import torch
from torch import nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """x (B, channels, H, W) -> x + gamma * attention(x) (Zhang et al. 2019, eq. 1 to 3): every place looks at all.

    gamma, a number, starts at 0, so that the layer begins as the identity. As in the authors' code keys and values are
    the largest of 2 x 2 places, which takes a quarter of the memory: H W * (H / 2) (W / 2) numbers a picture.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, inner[0], 1, bias=False)
        self.key = nn.Conv2d(channels, inner[0], 1, bias=False)
        self.value = nn.Conv2d(channels, inner[1], 1, bias=False)
        self.output = nn.Conv2d(inner[1], channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query = self.query(x).flatten(2)
        key, value = (functional.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        # Not scaled, as in the paper. torch's fused attention cannot be differentiated twice, as penalties ask for.
        weights = (query.transpose(1, 2) @ key).softmax(dim=2)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.output(attended)
