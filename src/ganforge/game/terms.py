"""Further terms of a translator's loss, beside the adversarial one and L1; chosen by name in conf/model/terms/.

A term has `compares`: "activations" of the discriminator, or "pictures"; it is called with those of the generated and
of the target pictures and gives a weighted scalar. check(discriminator, data) raises UserError before the training
where it cannot be computed.
"""

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ganforge.errors import require
from ganforge.networks.perceptual import read_distance

Activations = list[list[Tensor]]  # of a discriminator: for each scale those of each layer, the logits last


class Term(Protocol):
    compares: str

    def __call__(self, generated: Any, target: Any) -> Tensor: ...

    def check(self, discriminator: nn.Module, data: Any) -> None: ...


class FeatureMatching:
    """L1 between what the discriminator's layers give for generated and for target pictures (Wang et al. 2018, eq. 5).

    The mean over all values of a layer; of the layers before the logits 4 times the mean, which is the paper's sum for
    its 4 of them; the mean over the scales: as the authors' code has it. weight: 10 in the paper. The targets'
    activations are constants.
    """

    compares = "activations"

    def __init__(self, *, weight: float = 10.0):
        require(weight >= 0, f"model.terms.feature_matching.weight={weight}: 0 or more")
        self.weight = weight

    def __call__(self, generated: Activations, target: Activations) -> Tensor:
        scales = [
            torch.stack([(a.float() - b.detach().float()).abs().mean() for a, b in zip(one[:-1], other, strict=False)])
            for one, other in zip(generated, target, strict=True)
        ]
        return self.weight * 4 * torch.stack([layers.mean() for layers in scales]).mean()

    def check(self, discriminator: nn.Module, data: Any) -> None:
        require(
            hasattr(discriminator, "activations"),
            f"model.terms.feature_matching: {type(discriminator).__name__} has no method activations; use "
            "model/discriminator=patchgan or multiscale, or leave this term out",
        )


class Perceptual:
    """The mean `PerceptualDistance` of generated and target pictures, by the features of a frozen SqueezeNet.

    weights: a file of the network's weights; heads: one of LPIPS's weights of its channels, or None for all alike. The
    network is neither trained nor part of a checkpoint. Numbers by the same network (perceptual/squeezenet,
    fd/squeezenet) flatter what was trained with it: let another one judge.
    """

    compares = "pictures"

    def __init__(self, *, weights: str | Path | None, heads: str | Path | None = None, weight: float = 10.0):
        require(weight >= 0, f"model.terms.perceptual.weight={weight}: 0 or more")
        require(
            weights is not None,
            "model.terms.perceptual.weights: is not given; give a file of SqueezeNet 1.1's weights, with torchvision's "
            "names, or leave this term out",
        )
        self.weight = weight
        self.distance = read_distance(weights, heads, "model.terms.perceptual")

    def __call__(self, generated: Tensor, target: Tensor) -> Tensor:
        if self.distance.head_0.device != generated.device:
            self.distance.to(generated.device)
        return self.weight * self.distance(generated, target).mean()

    def check(self, discriminator: nn.Module, data: Any) -> None:
        require(
            data.sides is None and data.compared_channels[-1] in (1, 3),
            "model.terms.perceptual: compares grey or RGB pictures, and the targets of these data are measurements or "
            "have other bands; leave it out",
        )
