"""CycleGAN: translation between two kinds of pictures without pairs."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganforge.errors import require
from ganforge.game.objectives import Objective
from ganforge.game.penalties import Penalties
from ganforge.game.players import Output, Player
from ganforge.game.pool import ImagePool
from ganforge.game.schedules import Schedule
from ganforge.networks.layers import NORM_MODES, infer
from ganforge.systems import verdicts
from ganforge.systems.adversarial import Adversarial
from ganforge.systems.batches import Batch, Images, Terms


class CycleGAN(Adversarial):
    """Zhu et al. 2017: two translators whose round trips must return, each against a critic of its target side.

    a_to_b, b_to_a: pictures to pictures, moved by one optimizer, first. critic_a, critic_b: pictures to logits of
    patches, moved by one optimizer, then. objective: the adversarial losses. d_weight: factor of a critic's loss (the
    authors' code halves it). cycle_weight: of the L1 term of each round trip (10 in the paper). identity_weight: of the
    L1 term of a translator at pictures that are of its target side already, as a share of cycle_weight (0.5 in the
    paper; 0: without); off where the sides have different channels. pool_size: pictures of each critic's `ImagePool`
    (50 in the paper; 0: without). penalties: further terms of the critics' losses, on their gradients. norm_mode: see
    `ganforge.networks.layers.infer`. The rest: see `Adversarial`.
    """

    needs = frozenset({"unpaired"})
    outputs: ClassVar = {"AtoB": Output("a_to_b", "picture"), "BtoA": Output("b_to_a", "picture")}

    def __init__(
        self,
        *,
        a_to_b: nn.Module,
        b_to_a: nn.Module,
        critic_a: nn.Module,
        critic_b: nn.Module,
        objective: Objective,
        optimizer_g: Callable[..., Optimizer],
        optimizer_d: Callable[..., Optimizer],
        schedule_g: Schedule,
        schedule_d: Schedule,
        clip_g: float | None = None,
        clip_d: float | None = None,
        penalties: Penalties | None = None,
        d_weight: float = 0.5,
        cycle_weight: float = 10.0,
        identity_weight: float = 0.5,
        pool_size: int = 50,
        norm_mode: str = "running",
        **base,
    ):
        super().__init__(
            networks={"a_to_b": a_to_b, "b_to_a": b_to_a, "critic_a": critic_a, "critic_b": critic_b},
            players=[
                Player("g", ["a_to_b", "b_to_a"], optimizer_g, schedule_g, clip_g, generates=True),
                Player("d", ["critic_a", "critic_b"], optimizer_d, schedule_d, clip_d),
            ],
            averaged=["a_to_b", "b_to_a"],
            **base,
        )
        weights = {"d_weight": d_weight, "cycle_weight": cycle_weight, "identity_weight": identity_weight}
        for name, weight in weights.items():
            require(weight >= 0, f"model.{name}={weight}: 0 or more")
        require(isinstance(pool_size, int) and pool_size >= 0, f"model.pool_size={pool_size}: pictures, 0 or more")
        require(norm_mode in NORM_MODES, f"model.norm_mode={norm_mode!r}: choose one of {', '.join(NORM_MODES)}")
        self.objective, self.penalties = objective, penalties or Penalties()
        self.d_weight, self.cycle_weight, self.identity_weight = d_weight, cycle_weight, identity_weight
        self.norm_mode = norm_mode
        self.pools = {side: ImagePool(size=pool_size, stream=stream) for stream, side in enumerate("ab")}
        if self.penalties.chosen:
            self.differentiated_twice = frozenset({"critic_a", "critic_b"})

    def on_fit_start(self) -> None:
        super().on_fit_start()
        channels = self.trainer.datamodule.channels
        if self.identity_weight and len(set(channels.values())) > 1:
            self.identity_weight = 0.0
            counts = " and ".join(map(str, channels.values()))
            self.print(f"no identity term: A and B have {counts} channels, and a translator takes those of one side")

    def generate(self, batch: Batch) -> Images:
        return {"a": self.b_to_a(batch["b"]), "b": self.a_to_b(batch["a"])}

    def judged(self, side: str, images: Tensor) -> Tensor:
        """The logits of a side's critic, float32."""
        return getattr(self, f"critic_{side}")(images).float()

    def g_losses(self, batch: Batch, images: Images) -> Terms:
        terms = {}
        for side in "ab":
            real_logits = self.judged(side, batch[side]) if self.objective.relativistic else None
            terms[f"adv_{side}"] = self.objective.g(self.judged(side, images[side]), real_logits)
        return terms | self.pretraining_losses(batch, images)

    def pretraining_losses(self, batch: Batch, images: Images) -> Terms:
        """The round trips and identity alone, which copying a picture minimises: the game then begins with copies."""
        terms = {}
        for side, back, there in (("a", self.b_to_a, "b"), ("b", self.a_to_b, "a")):
            real = batch[side]
            terms[f"cycle_{side}"] = self.cycle_weight * (back(images[there]) - real).abs().mean()
            if self.identity_weight:
                weight = self.cycle_weight * self.identity_weight
                terms[f"identity_{side}"] = weight * (back(real) - real).abs().mean()
        return terms

    def d_losses(self, batch: Batch, images: Images) -> Terms:
        terms = {}
        for side, pool in self.pools.items():
            real, fake = batch[side], pool.query(images[side], self.seed, self.global_rank)
            logits = self.judged(side, real), self.judged(side, fake)
            verdicts.note(self, self.objective, *logits, critic=side)
            terms[f"adv_{side}"] = self.d_weight * self.objective.d(*logits)
            added = self.penalties(
                lambda images, side=side: self.judged(side, images), real, fake, self.updates["d"], self.images_seen
            )
            terms |= {f"{name}_{side}": term for name, term in added.items()}
        return terms

    def translated(self, output: str, images: Tensor) -> Tensor:
        """What a user gets of these pictures by AtoB or BtoA."""
        return infer(self.inference_network(self.outputs[output].network), images, self.norm_mode)

    def infer(self, batch: Batch) -> Tensor:
        """Translations of "a" by AtoB; of batches without it, of "b" by BtoA."""
        return self.translated("AtoB", batch["a"]) if "a" in batch else self.translated("BtoA", batch["b"])

    @torch.no_grad()
    def round_trip(self, batch: Batch, generated: Tensor) -> Tensor:
        return self.translated("BtoA" if "a" in batch else "AtoB", generated)

    @torch.no_grad()
    def panels(self, batch: Batch, generated: Tensor) -> Images:
        """The round trips of those sides that the batch has: A, A to B, A to B to A, B, B to A, B to A to B."""
        shown = {}
        if "a" in batch:
            shown |= {"A": batch["a"], "A to B": generated, "A to B to A": self.round_trip(batch, generated)}
        if "b" in batch:
            b = {"b": batch["b"]}
            back = self.infer(b) if "a" in batch else generated
            shown |= {"B": batch["b"], "B to A": back, "B to A to B": self.round_trip(b, back)}
        return shown
