"""Progressive GAN: networks that grow while they are trained."""

import torch

from ganforge.errors import require
from ganforge.game.growth import Growth
from ganforge.networks.progan import Growing
from ganforge.systems.batches import Batch
from ganforge.systems.latent import LatentGAN


class ProgressiveGAN(LatentGAN):
    """Karras et al. 2018: a `LatentGAN` whose networks begin at 4 px and double, faded in, by images seen.

    growth: when. At each new level both optimizers begin anew, as in the authors' code. The rest: see `LatentGAN`.
    """

    def __init__(self, *, growth: Growth, **base):
        super().__init__(**base)
        for name in ("generator", "discriminator"):
            network = getattr(self, name)
            require(
                isinstance(network, Growing),
                f"model.{name}: {type(network).__name__} does not grow; use model/{name}=progan",
            )
        self.growth = growth
        self._grow_to(*growth.at(0, self.generator.levels))

    def on_train_start(self) -> None:
        full, trainer = self.growth.full_from(self.generator.levels), self.trainer
        batches = trainer.max_epochs * trainer.num_training_batches
        total = batches * trainer.datamodule.batch_size * trainer.world_size
        self.print(f"grows from {self.generator.start} px to {self.generator.size} px, whole from image {full:,} on")
        if total <= full:
            self.print(
                f"warning: this training sees {total:,} images, so it does not come that far; raise "
                "trainer.max_epochs, or lower model.growth.fade and model.growth.stable"
            )

    def with_latents(self, batch: Batch) -> Batch:
        if self.between_updates:
            level, alpha = self.growth.at(self.images_seen, self.generator.levels)
            if level > self.generator.now()[0]:
                for optimizer in self.trainer.optimizers:
                    optimizer.state.clear()
            self._grow_to(level, alpha)
        return super().with_latents(batch)

    @torch.no_grad()
    def _grow_to(self, level: int, alpha: float) -> None:
        for network in (self.generator, self.discriminator, self.inference_network("generator")):
            network.grow(level, alpha)

    def before_row(self) -> None:
        super().before_row()
        level, alpha = self.generator.now()
        pixels = self.generator.start * 2**level
        self.log_mean("g/resolution", torch.tensor(float(pixels)))
        self.log_mean("g/faded_in", torch.tensor(alpha))
