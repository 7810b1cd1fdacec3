"""Several discriminators on a picture and on smaller copies of it."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from ganforge.errors import require
from ganforge.networks.patchgan import PatchGAN


class MultiScalePatchGAN(nn.Module):
    """PatchGANs of equal form and weights of their own, on a picture, its half, its quarter, ... (Wang et al. 2018).

    (B, in_channels, H, W) in [-1, 1] -> a tuple of logits (B, 1, h, w), one a scale, the finest first: the coarsest
    judges the whole, the finest the details. Pictures are halved by means of 3 x 3. scales: how many; the rest: see
    `PatchGAN`. 8.3 M parameters with three scales of 6 channels.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        scales: int = 3,
        base_channels: int = 64,
        layers: int = 3,
        norm: str = "instance",
        downsample: str = "strided",
    ):
        super().__init__()
        require(isinstance(scales, int) and 1 <= scales <= 6, f"model.discriminator.scales={scales}: 1 to 6")
        own = {"base_channels": base_channels, "layers": layers, "norm": norm, "downsample": downsample}
        self.critics = nn.ModuleList(PatchGAN(in_channels=in_channels, **own) for _ in range(scales))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(critic(smaller) for critic, smaller in self._scales(images))

    def activations(self, images: torch.Tensor) -> list[list[torch.Tensor]]:
        """What each convolution gives, after its activation; the logits last. A list for each scale."""
        return [scale for critic, smaller in self._scales(images) for scale in critic.activations(smaller)]

    def _scales(self, images: torch.Tensor) -> Iterator[tuple[PatchGAN, torch.Tensor]]:
        for scale, critic in enumerate(self.critics):
            if scale:
                images = avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            yield critic, images
