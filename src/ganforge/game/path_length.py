"""Path length regularization of a generator with styles."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganforge.errors import require


class PathLength(nn.Module):
    """A step of a style should change the image by a constant length, whatever the style and the direction.

    The mean over images of (length - mean length)^2, where length is the root mean square over the styles of the norm
    of the gradient of (image * noise / pixels a side) with respect to a style, and the mean length is a running one
    (Karras et al. 2020, section 3.2 and appendix B). weight: of the term. every: it is computed at one generator
    update of so many, and counts `every` times there. share: of the batch by which it is computed.
    """

    def __init__(self, *, weight: float = 2.0, every: int = 4, share: float = 0.5, decay: float = 0.01):
        super().__init__()
        require(weight >= 0, f"model.path_length.weight={weight}: 0 or more")
        require(isinstance(every, int) and every >= 1, f"model.path_length.every={every}: 1 or more generator updates")
        require(0 < share <= 1, f"model.path_length.share={share}: of the batch, above 0 and at most 1")
        require(0 < decay <= 1, f"model.path_length.decay={decay}: above 0 and at most 1")
        self.weight, self.every, self.share, self.decay = weight, every, share, decay
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, synthesize: Callable[[Tensor], Tensor], styles: Tensor, noise: Tensor | None = None) -> Tensor:
        """The weighted term, a scalar. styles: (B, L, D), part of a graph; noise: (B, C, H, W) of N(0, 1), or drawn."""
        with torch.autocast(styles.device.type, enabled=False):
            styles = styles.float()
            images = synthesize(styles)
            noise = torch.randn_like(images) if noise is None else noise
            changed = (images * noise).sum() / (images.shape[2] * images.shape[3]) ** 0.5
            (slopes,) = torch.autograd.grad(changed, styles, create_graph=True)
            lengths = slopes.square().sum(2).mean(1).sqrt()
            mean = self.mean.lerp(lengths.detach().mean(), self.decay)
            self.mean.copy_(mean)
            return self.weight * self.every * (lengths - mean).square().mean()
