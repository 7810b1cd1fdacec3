"""The GAN with an auxiliary classifier: the discriminator also names the class."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from ganforge.errors import require
from ganforge.systems.batches import Batch, Images, Terms
from ganforge.systems.latent import ConditionalGAN


class AuxiliaryClassifierGAN(ConditionalGAN):
    """Odena et al. 2017: generator(z, label) -> images; discriminator(images) -> logits (B, 1 + K): real, K classes.

    The discriminator is not told the class. It learns to name that of real and of generated images, and the generator
    to draw what is named as asked. class_weight: of the cross-entropy of the classes, the mean over both kinds in the
    discriminator's loss (1 in the paper). The rest: see `LatentGAN`.
    """

    def __init__(self, *, class_weight: float = 1.0, **latent):
        super().__init__(**latent)
        require(class_weight >= 0, f"model.class_weight={class_weight}: 0 or more")
        require(not self.unroll_steps, f"model.unroll_steps={self.unroll_steps}: not for the auxiliary classifier")
        self.class_weight = class_weight

    def real_logit(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(images).float()[:, 0]

    def logits_shape(self, pictures: int, classes: int) -> tuple[int, ...]:
        return (pictures, 1 + classes)

    def _named(self, images: Tensor, real: bool) -> Tensor:
        """The logits (B, K) of the classes."""
        return self.discriminator(self.d_input(images, real)).float()[:, 1:]

    def d_losses(self, batch: Batch, images: Images) -> Terms:
        terms = super().d_losses(batch, images)
        real, fake = self._named(batch["image"], real=True), self._named(images["fake"], real=False)
        self.log_mean("d/class_accuracy", (real.argmax(1) == batch["label"]).float().mean())
        both = (cross_entropy(real, batch["label"]) + cross_entropy(fake, batch["label"])) / 2
        return {**terms, "class": self.class_weight * both}

    def g_losses(self, batch: Batch, images: Images) -> Terms:
        named = self._named(images["fake"], real=False)
        return {**super().g_losses(batch, images), "class": self.class_weight * cross_entropy(named, batch["label"])}
