"""The classifier of a study: trained for a number of steps, whatever the number of pictures."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganforge.errors import require
from ganforge.pictures.tensors import to_unit
from ganforge.studies.arms import Labelled

STRENGTHS = ("light", "medium", "strong")
# Of the side, degrees, share: how far pictures are shifted, turned and changed in brightness and contrast at most.
_LIMITS = {"light": (0.05, 5.0, 0.1), "medium": (0.1, 15.0, 0.25), "strong": (0.15, 30.0, 0.4)}
_CHUNK = 256


class Block(nn.Module):
    """Two 3 x 3 convolutions around an identity, which takes every second pixel where the block is strided."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        same = F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu(same + self.layers(x))


class ResNet(nn.Module):
    """The network for CIFAR of He et al. 2016 (section 4.2): depth = 6 n + 2 layers in three stages.

    channels, size: of the pictures, (B, channels, size, size) in [-1, 1]; above 32 px the first layer halves them,
    above 64 px it quarters them. classes: logits (B, classes). width: channels of the first stage. 75 thousand
    parameters at the default depth for 3 channels and 10 classes.
    """

    def __init__(self, *, channels: int, classes: int, size: int, depth: int = 8, width: int = 16):
        super().__init__()
        require(depth >= 8 and depth % 6 == 2, f"classifier.depth={depth}: 8, 14, 20, ... (6 n + 2)")
        require(width >= 1, f"classifier.width={width}: 1 or more channels")
        stride = max(1, 2 ** math.ceil(math.log2(size / 32)))
        stem = [nn.Conv2d(channels, width, 3 + 2 * (stride > 1), stride=stride, padding=1 + (stride > 1), bias=False)]
        layers, inputs = [*stem, nn.BatchNorm2d(width), nn.ReLU()], width
        for stage in range(3):
            for block in range((depth - 2) // 6):
                outputs = width * 2**stage
                layers.append(Block(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def fit(
    network: nn.Module,
    pictures: Labelled,
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    strength: str | None = None,
    mirrored: bool = True,
    balanced: bool = False,
    seed: int = 0,
    done: Callable[[int], None] = lambda steps: None,
) -> nn.Module:
    """Train a network of logits in place, by AdamW on a one-cycle schedule; returned in evaluation mode.

    strength: of classic augmentation, one of STRENGTHS, or None; mirrored: whether that mirrors too. balanced: classes
    equally often. The order of the pictures is drawn by the seed alone, in turns: each comes once before any comes
    again (unless balanced). done: called every few steps.
    """
    require(strength is None or strength in STRENGTHS, f"strength={strength}: choose one of {', '.join(STRENGTHS)}")
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(pictures.images), torch.from_numpy(pictures.labels)
    weights = 1 / torch.bincount(labels).clamp(min=1)[labels].double() if balanced else None
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    network.train().to(memory_format=torch.channels_last)
    order = torch.empty(0, dtype=torch.int64)
    with torch.enable_grad():
        for step in range(steps):
            if weights is not None:
                rows = torch.multinomial(weights, batch_size, replacement=True, generator=generator)
            else:
                while len(order) < batch_size:
                    order = torch.cat([order, torch.randperm(len(labels), generator=generator)])
                rows, order = order[:batch_size], order[batch_size:]
            batch = to_unit(images[rows].float())
            if strength is not None:
                batch = changed(batch, strength, mirrored, generator)
            batch = batch.to(device).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(network(batch).float(), labels[rows].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 20 == 19 or step + 1 == steps:
                done(step + 1)
    return network.eval()


def changed(images: Tensor, strength: str, mirrored: bool, generator: torch.Generator) -> Tensor:
    """Classic augmentation of (B, C, H, W) in [-1, 1]: each shifted, turned, mirrored and lit at random."""
    shift, degrees, light = _LIMITS[strength]
    count = len(images)
    left, top, turn, contrast, brightness, side = (2 * torch.rand(6, count, generator=generator) - 1).unbind()
    angle, sign = math.radians(degrees) * turn, (side.sign() + (side == 0) if mirrored else torch.ones(count))
    rows = (
        torch.stack([angle.cos() * sign, -angle.sin(), 2 * shift * left]),
        torch.stack([angle.sin() * sign, angle.cos(), 2 * shift * top]),
    )
    grid = F.affine_grid(torch.stack(rows).permute(2, 0, 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    scale, offset = (1 + light * contrast).view(-1, 1, 1, 1), (light * brightness).view(-1, 1, 1, 1)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    return ((moved - mean) * scale + mean + offset).clamp(-1, 1)


@torch.inference_mode()
def outputs(network: nn.Module, images: np.ndarray) -> Tensor:
    """float32 (N, K) of uint8 (N, C, H, W), on the CPU."""
    device = next(network.parameters()).device
    parts = [
        network(to_unit(torch.from_numpy(images[begin : begin + _CHUNK]).float().to(device))).float()
        for begin in range(0, len(images), _CHUNK)
    ]
    return torch.cat(parts).cpu()


def probabilities(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """float32 (N, K) of uint8 (N, C, H, W)."""
    return outputs(network, images).softmax(dim=1).numpy()


def scores(found: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, object]:
    """accuracy, macro_f1 in [0, 1], and recall: that of each class (None where it has no picture), of labels (N,)."""
    recall, f1 = [], []
    for label in range(classes):
        own, said = labels == label, found == label
        both = int((own & said).sum())
        recall.append(both / int(own.sum()) if own.any() else None)
        if own.any():
            f1.append(2 * both / int(own.sum() + said.sum()))
    return {"accuracy": float((found == labels).mean()), "macro_f1": float(np.mean(f1)), "recall": recall}
