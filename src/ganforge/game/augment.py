"""Augmentations of what the discriminator sees, real and generated images alike.

Modules (B, C, H, W) in [-1, 1] -> the same shape and type, differentiable twice with respect to the images. Randomness
is that of torch's global generator of the images' device, drawn for every image on its own. Results may leave [-1, 1].
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, distributed, nn

from ganforge.errors import require

POLICIES = ("color", "translation", "cutout")
GEOMETRIC = ("flip", "quarter_turn", "translation", "scaling", "rotation")
COLOURS = ("brightness", "contrast", "saturation")
TRANSFORMATIONS = (*GEOMETRIC, *COLOURS)

_OBSERVATIONS = 4


class Unchanged(nn.Module):
    """No augmentation: the discriminator sees the images as they are."""

    def forward(self, images: Tensor) -> Tensor:
        return images

    def observe(self, real_logits: Tensor) -> None:
        """Nothing adapts."""


class DiffAugment(nn.Module):
    """Differentiable augmentation (Zhao et al. 2020), always on.

    policy: words of the paper separated by commas, applied in this order. color: brightness by up to ±0.5, saturation
    by 0 to 2 (nothing for grey), contrast by 0.5 to 1.5. translation: by up to an eighth of each side, cutout: a
    rectangle of half of each side around a random pixel; both fill with 0 (mid grey), as in the paper.
    """

    def __init__(self, *, policy: str = "color,translation,cutout"):
        super().__init__()
        self.policy = [word.strip() for word in policy.split(",")]
        unknown = [word for word in self.policy if word not in POLICIES]
        require(
            not unknown,
            f"model.augment.policy={policy!r}: {', '.join(map(repr, unknown))} is unknown; "
            f"give one or more of {', '.join(POLICIES)}, separated by commas",
        )

    def forward(self, images: Tensor) -> Tensor:
        operations = {"color": _colour, "translation": _translate, "cutout": _cut_out}
        return _exactly(images, [operations[word] for word in self.policy])

    def observe(self, real_logits: Tensor) -> None:
        """Nothing adapts."""


class AdaptiveAugment(nn.Module):
    """Adaptive discriminator augmentation (Karras et al. 2020): each transformation happens with probability p.

    `observe` moves p so that the mean sign of the real images' logits, taken over the last 4 observations (1 when the
    discriminator knows every training image), stays at `target`. The logits are those above the objective's boundary;
    for a critic, whose logits have none, those above a generated image's. speed_images: how many images p takes from 0
    to 1. p: the initial probability, max_p the largest. The state, p included, is saved with the module.

    transformations, in the order in which they are applied, with the paper's strengths; leave out what makes another
    picture of yours (a flipped or turned digit):

    - flip (left to right) and quarter_turn (0 to 3): uniform, so that half and a quarter of them change nothing;
    - translation by whole pixels up to an eighth of each side, scaling by 2^N(0, 0.2), rotation by any angle;
    - brightness + N(0, 0.2), contrast * 2^N(0, 0.5), saturation * 2^N(0, 1) (nothing for grey).

    The geometric ones become one affine map, sampled bilinearly from the image reflected at its border pixels. With
    p = 0 no image changes.
    """

    def __init__(
        self,
        *,
        target: float = 0.6,
        speed_images: int = 500_000,
        p: float = 0.0,
        max_p: float = 0.85,
        transformations: Sequence[str] = TRANSFORMATIONS,
    ):
        super().__init__()
        require(-1 < target < 1, f"model.augment.target={target}: a mean sign of logits, between -1 and 1")
        require(speed_images > 0, f"model.augment.speed_images={speed_images}: 1 or more images")
        require(0 < max_p <= 1, f"model.augment.max_p={max_p}: a probability above 0")
        require(0 <= p <= max_p, f"model.augment.p={p}: from 0 to model.augment.max_p={max_p}")
        unknown = [name for name in transformations if name not in TRANSFORMATIONS]
        require(
            len(transformations) > 0 and not unknown,
            f"model.augment.transformations={list(transformations)}: give one or more of {', '.join(TRANSFORMATIONS)}",
        )
        self.target, self.speed_images, self.max_p = target, speed_images, max_p
        self.transformations = tuple(transformations)
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("signs", torch.zeros(_OBSERVATIONS))  # mean signs of the logits, newest first
        self.register_buffer("observations", torch.tensor(0))

    def forward(self, images: Tensor) -> Tensor:
        moves = any(name in self.transformations for name in GEOMETRIC)
        return _exactly(images, [self._move, self._recolour] if moves else [self._recolour])

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        """Adapt p after a discriminator update to its logits of real images (B, ...); over all ranks, if there are."""
        logits = real_logits.float()
        seen = torch.stack([logits.sign().sum(), logits.new_tensor(logits.numel()), logits.new_tensor(len(logits))])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(seen)
        self.signs.copy_(torch.cat([(seen[0] / seen[1])[None], self.signs[:-1]]))
        self.observations += 1
        overfitting = self.signs.sum() / self.observations.clamp(max=_OBSERVATIONS)
        direction = (overfitting - self.target).sign()
        self.p.add_(direction * seen[2] / self.speed_images).clamp_(0, self.max_p)

    def _happen(self, name: str, values: Tensor, neutral: float) -> Tensor:
        """values (B, n) where the transformation happens to the image, `neutral` elsewhere."""
        if name not in self.transformations:
            return torch.full_like(values, neutral)
        return torch.where(torch.rand(len(values), 1, device=values.device) < self.p, values, neutral)

    def _move(self, images: Tensor) -> Tensor:
        n, (height, width) = len(images), images.shape[-2:]
        options = {"dtype": images.dtype, "device": images.device}
        # Where each pixel comes from, so the inverse of each transformation; each is as likely as its inverse.
        flip = self._happen("flip", 1 - 2 * torch.randint(2, (n, 1), **options), 1)
        turns = self._happen("quarter_turn", torch.randint(4, (n, 1), device=images.device), 0)
        eighths = torch.cat([torch.full((1,), side / 8, **options) for side in (width, height)])
        shift = self._happen("translation", ((2 * torch.rand(n, 2, **options) - 1) * eighths).round(), 0)
        scale = self._happen("scaling", torch.exp2(0.2 * torch.randn(n, 1, **options)), 1)
        angle = self._happen("rotation", (2 * torch.rand(n, 1, **options) - 1) * math.pi, 0)

        # Quarter turns have exact cosines and sines, so that whole pixels stay whole.
        turn = tuple(
            (turns == once).to(images.dtype) - (turns == again).to(images.dtype) for once, again in ((0, 2), (1, 3))
        )
        cos, sin = _turned(scale * angle.cos(), scale * angle.sin(), *turn)
        shift_x, shift_y = _turned(shift[:, :1], shift[:, 1:], *turn)
        flip, cos, sin, shift_x, shift_y = (value[..., None] for value in (flip, cos, sin, shift_x, shift_y))

        # From the centre, in pixels: x (W,), y (H, 1).
        x = torch.arange(width, **options) - (width - 1) / 2
        y = torch.arange(height, **options)[:, None] - (height - 1) / 2
        from_x = flip * (cos * x - sin * y + shift_x) + (width - 1) / 2
        from_y = sin * x + cos * y + shift_y + (height - 1) / 2
        return _sample(images, from_x, from_y)

    def _recolour(self, images: Tensor) -> Tensor:
        brightness, contrast, saturation = torch.randn(3, len(images), 1, dtype=images.dtype, device=images.device)
        brightness = self._happen("brightness", 0.2 * brightness, 0)[..., None, None]
        contrast = self._happen("contrast", torch.exp2(0.5 * contrast), 1)[..., None, None]
        saturation = self._happen("saturation", torch.exp2(saturation), 1)[..., None, None]
        images = (images + brightness) * contrast
        return images + (images - images.mean(1, keepdim=True)) * (saturation - 1)


def _exactly(images: Tensor, operations: list[Callable[[Tensor], Tensor]]) -> Tensor:
    """The operations one after the other in float32 (float64 stays), in the images' type at last."""
    x = images.to(torch.promote_types(images.dtype, torch.float32))
    for operation in operations:
        x = operation(x)
    return x.to(images.dtype)


def _turned(x: Tensor, y: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    return cos * x - sin * y, sin * x + cos * y


def _colour(images: Tensor) -> Tensor:
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, dtype=images.dtype, device=images.device)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * 2 * saturation
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translate(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    x = _positions(images, width, -((width + 4) // 8), (width + 4) // 8)[:, None, :]
    y = _positions(images, height, -((height + 4) // 8), (height + 4) // 8)[:, :, None]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return _pick(images, x.clamp(0, width - 1), y.clamp(0, height - 1)) * inside[:, None]


def _cut_out(images: Tensor) -> Tensor:
    covered = []
    for side in images.shape[-2:]:
        cut = (side + 1) // 2
        # Within the rectangle, which may begin before the picture or end behind it.
        position = _positions(images, side, cut // 2 + cut % 2 - side, cut // 2)
        covered.append((position >= 0) & (position < cut))
    return images * ~(covered[0][:, :, None] & covered[1][:, None, :])[:, None]


def _positions(images: Tensor, side: int, low: int, high: int) -> Tensor:
    """(B, side): 0 ... side - 1, moved by an integer in [low, high] for each image."""
    move = torch.randint(low, high + 1, (len(images), 1), device=images.device)
    return torch.arange(side, device=images.device) + move


def _sample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear values of images (B, C, H, W) at the pixel coordinates x and y (B, H, W), reflected at the borders.

    In place of grid_sample, which not every version of torch differentiates twice, and whose coordinates from -1 to 1
    are rounded, so that it changes images that are not moved.
    """
    height, width = images.shape[-2:]
    x, y = _reflect(x, width), _reflect(y, height)
    left, top = x.floor(), y.floor()
    right_share, bottom_share = (x - left)[:, None], (y - top)[:, None]
    left, top = left.long(), top.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    upper = _pick(images, left, top) * (1 - right_share) + _pick(images, right, top) * right_share
    lower = _pick(images, left, bottom) * (1 - right_share) + _pick(images, right, bottom) * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


def _reflect(position: Tensor, side: int) -> Tensor:
    """Fold positions into [0, side - 1] at the centres of the border pixels."""
    last = side - 1
    return last - (position.remainder(2 * last) - last).abs()


def _pick(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """images[b, :, y, x] for integer x and y that broadcast to (B, H, W)."""
    index = (y * images.shape[-1] + x).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).unflatten(2, images.shape[-2:])
