"""pix2pix: paired image-to-image translation."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import ClassVar

import torch
from torch import Tensor

from ganforge.errors import require
from ganforge.game.objectives import Objective
from ganforge.game.players import Output
from ganforge.game.terms import Activations, Term
from ganforge.networks.layers import NORM_MODES, infer
from ganforge.systems.batches import Batch, Images, Terms
from ganforge.systems.two_players import TwoPlayers


def weighted_l1(
    generated: Tensor, target: Tensor, ink_weight: float, valid: Tensor | None = None, *, square_weight: float = 0.0
) -> Tensor:
    """Mean absolute difference of images in [-1, 1]; a black target pixel counts `ink_weight` times, a white one once.

    Thin dark lines on white paper cover few pixels: with equal weights a white page is a good answer for long.
    square_weight: of the squared difference beside the absolute one. The gradient of the latter is as large for an edge
    that lies a hair aside as for a line that is missing; squared, what is wholly wrong counts most.
    valid: (B, 1, H, W) of 0 and 1; at 0 there is no difference. The mean is over all pixels all the same: every valid
    one has the same weight in every batch, however batches are made.
    """
    difference = (generated - target).abs()
    if square_weight:
        difference = difference + square_weight * difference.square()
    if valid is not None:
        difference = difference * valid
    if ink_weight == 1:
        return difference.mean()
    ink = (1 - target) / 2
    return (difference * (1 + (ink_weight - 1) * ink)).mean()


def logits(judged: Activations) -> list[Tensor]:
    """The logits of each scale, float32."""
    return [scale[-1].float() for scale in judged]


class Pix2Pix(TwoPlayers):
    """Isola et al. 2017: a conditional GAN whose discriminator sees source and target together, plus an L1 term.

    objective: the adversarial losses. d_weight: factor of the discriminator's loss (the paper halves it).
    l1_weight: factor of the L1 term (100 in the paper). ink_weight, square_weight: see `weighted_l1` (1 and 0 in the
    paper).
    terms: further terms of the generator's loss by their names, see `ganforge.game.terms`.
    norm_mode: "running" statistics at inference, or the paper's "batch" statistics (and dropout) of each picture.
    """

    needs = frozenset({"paired"})
    outputs: ClassVar = {"translate": Output("generator", "picture")}

    def __init__(
        self,
        *,
        objective: Objective,
        d_weight: float = 0.5,
        l1_weight: float = 100.0,
        ink_weight: float = 1.0,
        square_weight: float = 0.0,
        terms: Mapping[str, Term] | None = None,
        norm_mode: str = "running",
        **base,
    ):
        super().__init__(**base)
        weights = {
            "d_weight": d_weight,
            "l1_weight": l1_weight,
            "ink_weight": ink_weight,
            "square_weight": square_weight,
        }
        for name, weight in weights.items():
            require(weight >= 0, f"model.{name}={weight}: 0 or more")
        require(norm_mode in NORM_MODES, f"model.norm_mode={norm_mode!r}: choose one of {', '.join(NORM_MODES)}")
        self.objective = objective
        self.d_weight, self.l1_weight, self.ink_weight = d_weight, l1_weight, ink_weight
        self.square_weight = square_weight
        self.norm_mode = norm_mode
        self.terms = dict(terms or {})
        self.matches = any(term.compares == "activations" for term in self.terms.values())

    def generate(self, batch: Batch) -> Images:
        return {"fake": self.generator(batch["source"])}

    def judged(self, batch: Batch, target: Tensor) -> Activations:
        """For each scale of the discriminator its logits for a target of the batch's sources, in a list.

        Where a term compares activations, they stand before the logits. Where no target was measured, it is shown 0 in
        real and generated targets alike.
        """
        target = target * batch["valid"] if "valid" in batch else target
        pair = torch.cat([batch["source"], target], dim=1)
        if self.matches:
            return self.discriminator.activations(pair)
        logits = self.discriminator(pair)
        return [[scale] for scale in logits] if isinstance(logits, tuple) else [[logits]]

    def d_losses(self, batch: Batch, images: Images) -> Terms:
        real, fake = self.judged(batch, batch["target"]), self.judged(batch, images["fake"])
        scales = zip(logits(real), logits(fake), strict=True)
        return {"adv": self.d_weight * sum(self.objective.d(*scale) for scale in scales)}

    def g_losses(self, batch: Batch, images: Images) -> Terms:
        fake = self.judged(batch, images["fake"])
        real = self.judged(batch, batch["target"]) if self.matches or self.objective.relativistic else fake
        scales = zip(logits(fake), logits(real), strict=True)
        terms = {"adv": sum(self.objective.g(*scale) for scale in scales), **self.pretraining_losses(batch, images)}
        for name, term in self.terms.items():
            if term.compares == "activations":
                terms[name] = term(fake, real)
            else:
                shown, generated = self.trainer.datamodule.compared(batch, images["fake"])
                terms[name] = term(generated, shown["target"])
        return terms

    def pretraining_losses(self, batch: Batch, images: Images) -> Terms:
        valid, square = batch.get("valid"), self.square_weight
        l1 = weighted_l1(images["fake"], batch["target"], self.ink_weight, valid, square_weight=square)
        return {"l1": self.l1_weight * l1}

    def infer(self, batch: Batch) -> Tensor:
        # As `ganforge predict` computes: the 8 bits of a bfloat16 are too few for measurements and for a and b.
        measures = any(self.card.get(name) is not None for name in ("sides", "colour_space"))
        with torch.autocast(self.device.type, enabled=False) if measures else nullcontext():
            return infer(self.inference_network("generator"), batch["source"], self.norm_mode)
