"""StarGAN: one generator that translates between many domains, told to which."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ganforge.errors import require
from ganforge.game.domains import Domains
from ganforge.game.objectives import Objective
from ganforge.game.penalties import wgan_gp_at
from ganforge.game.players import Output
from ganforge.systems.batches import Batch, Images, Terms
from ganforge.systems.two_players import TwoPlayers


class StarGAN(TwoPlayers):
    """Choi et al. 2018: generator(pictures, labels) -> pictures; discriminator(pictures) -> (logits, labels' logits).

    The discriminator learns to name the domain of real pictures, the generator to be named what was asked; and its
    translation, translated back to the labels of the source, must be the source. Which labels are asked of an item in
    training is drawn from those of the training pictures (the authors permute those of a batch, which draws from the
    same distribution).

    objective: the adversarial losses. gp_weight: of the gradient penalty of WGAN-GP (10 in the paper; 0: without).
    class_weight: of the domains' cross-entropy (1), for attributes that of each summed, as in the authors' code.
    reconstruction_weight: of the L1 term of the way there and back (10). d_steps: 5. The rest: see `TwoPlayers`.
    """

    needs = frozenset({"domains"})
    outputs: ClassVar = {"translate": Output("generator", "picture", told="labels", reader="discriminator")}

    def __init__(
        self,
        *,
        objective: Objective,
        gp_weight: float = 10.0,
        class_weight: float = 1.0,
        reconstruction_weight: float = 10.0,
        **base,
    ):
        super().__init__(**base)
        weights = {"gp_weight": gp_weight, "class_weight": class_weight, "reconstruction_weight": reconstruction_weight}
        for name, weight in weights.items():
            require(weight >= 0, f"model.{name}={weight}: 0 or more")
        self.objective, self.gp_weight = objective, gp_weight
        self.class_weight, self.reconstruction_weight = class_weight, reconstruction_weight
        if gp_weight:
            self.differentiated_twice = frozenset({"discriminator"})
        self._known: Tensor | None = None  # the labels of the training pictures, (N, D)

    @property
    def domains(self) -> Domains:
        return self.trainer.datamodule.domains

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self._known = torch.from_numpy(self.trainer.datamodule.labels("train")).to(self.device)

    def with_latents(self, batch: Batch) -> Batch:
        """The batch with the labels that are asked for, and the share of the translation in the penalty's mixtures."""
        drawn = self.draw(batch, lambda generator, count: generator.random((count, 2), dtype=np.float32))
        rows = (drawn[:, 0] * len(self._known)).long().clamp(max=len(self._known) - 1)
        return {**batch, "target_labels": self._known[rows], "share": drawn[:, 1, None, None, None]}

    def generate(self, batch: Batch) -> Images:
        return {"fake": self.generator(batch["source"], batch["target_labels"])}

    def judged(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's logits, and those of the labels; float32."""
        logits, named = self.discriminator(images)
        return logits.float(), named.float()

    def class_loss(self, named: Tensor, labels: Tensor) -> Tensor:
        """Of logits (B, D) for labels (B, D): their cross-entropy, of each picture, averaged over the pictures."""
        if self.domains.one_of_many:
            return cross_entropy(named, labels.argmax(dim=1))
        return binary_cross_entropy_with_logits(named, labels.float(), reduction="sum") / len(labels)

    def d_losses(self, batch: Batch, images: Images) -> Terms:
        (real, named), (fake, _) = self.judged(batch["source"]), self.judged(images["fake"])
        terms = {
            "adv": self.objective.d(real, fake),
            "class": self.class_weight * self.class_loss(named, batch["labels"]),
        }
        if self.gp_weight:
            penalty = wgan_gp_at(lambda x: self.judged(x)[0], batch["source"], images["fake"], batch["share"])
            terms["wgan_gp"] = self.gp_weight * penalty
        return terms

    def g_losses(self, batch: Batch, images: Images) -> Terms:
        fake, named = self.judged(images["fake"])
        real = self.judged(batch["source"])[0] if self.objective.relativistic else None
        back = self.generator(images["fake"], batch["labels"])
        return {
            "adv": self.objective.g(fake, real),
            "class": self.class_weight * self.class_loss(named, batch["target_labels"]),
            "reconstruction": self.reconstruction_weight * (back - batch["source"]).abs().mean(),
        }

    @torch.no_grad()
    def translated(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """What a user gets of these pictures for these labels (B, D)."""
        network = self.inference_network("generator")
        was_training = network.training
        try:
            return network.eval()(pictures, labels)
        finally:
            network.train(was_training)

    def infer(self, batch: Batch) -> Tensor:
        return self.translated(batch["source"], batch["target_labels"])

    def round_trip(self, batch: Batch, generated: Tensor) -> Tensor:
        return self.translated(generated, batch["labels"])

    def panels(self, batch: Batch, generated: Tensor) -> Images:
        """The source, and it in each domain, or with each attribute changed; in the test, there and back."""
        source, labels = batch["source"], batch["labels"]
        if "back" in batch:
            return {"source": source, "result": generated, "there and back": batch["back"]}
        named = enumerate(self.domains.names)
        domains = {name: self.translated(source, self.domains.asked(labels, index)) for index, name in named}
        return {"source": source, **domains}
