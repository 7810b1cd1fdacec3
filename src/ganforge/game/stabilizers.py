"""What keeps the game in balance, apart from objectives, penalties and augmentations."""

import torch
from torch import Tensor

from ganforge.errors import require


class InputNoise:
    """Gaussian noise on what the discriminator sees, fading out linearly (Sønderby et al. 2017, section 3.2).

    std: at the start, on images in [-1, 1]. fade: share of the training after which there is none. images:
    "both", or "real" ones only.
    """

    def __init__(self, *, std: float, fade: float = 1.0, images: str = "both"):
        require(std >= 0, f"model.input_noise.std={std}: 0 or more")
        require(0 < fade <= 1, f"model.input_noise.fade={fade}: a share in (0, 1]")
        require(images in ("both", "real"), f"model.input_noise.images={images!r}: choose both or real")
        self.std, self.fade, self.images = std, fade, images

    def __call__(self, images: Tensor, progress: float, real: bool) -> Tensor:
        """images (B, C, H, W), with noise; progress: share of the training that is done."""
        std = self.std * max(0.0, 1 - progress / self.fade)
        if std == 0 or (self.images == "real" and not real):
            return images
        return images + std * torch.randn_like(images)
