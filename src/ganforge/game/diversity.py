"""How different the images of one batch are: cheap enough to look at during training."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

NEAR_IDENTICAL = 0.02  # RMS difference on [-1, 1] of images reduced to 16 x 16: two or three grey levels
_COMPARED = 64  # images of a batch
_SIDE = 16  # px


@torch.no_grad()
def batch_diversity(fake: Tensor, real: Tensor) -> Tensor:
    """Mean distance of two generated images over that of two real ones, a scalar: 1 is right, 0 a collapse.

    Both (B, C, H, W) in [-1, 1]; the first 64 of each are compared, averaged down to at most 16 x 16. 1 where there is
    nothing to compare: one image, or equal real images and equal generated ones.
    """
    if min(len(fake), len(real)) < 2:
        return fake.new_ones((), dtype=torch.float32)
    spreads = [distances.sum() / (len(distances) * (len(distances) - 1)) for distances in map(_rms, (fake, real))]
    return (spreads[0] + 1e-6) / (spreads[1] + 1e-6)


@torch.no_grad()
def batch_duplicates(fake: Tensor) -> Tensor:
    """Share of the images that have a near-identical other one in the batch, a scalar.

    (B, C, H, W) in [-1, 1]; the first 64, averaged down to at most 16 x 16, where an RMS difference below 0.02 is near
    identical. 0 for one image.
    """
    if len(fake) < 2:
        return fake.new_zeros((), dtype=torch.float32)
    return (_rms(fake).fill_diagonal_(torch.inf).amin(dim=1) < NEAR_IDENTICAL).float().mean()


def _rms(images: Tensor) -> Tensor:
    """RMS differences (B, B) of the first images, reduced."""
    size = [min(_SIDE, side) for side in images.shape[-2:]]
    vectors = adaptive_avg_pool2d(images[:_COMPARED].float(), size).flatten(1)
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    return distances / vectors.shape[1] ** 0.5
