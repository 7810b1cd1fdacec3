"""The semi-supervised GAN: a classifier that learns from few labels, and from generated images what a digit is not."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganforge.errors import require
from ganforge.systems.batches import Batch, Images, Terms
from ganforge.systems.latent import LatentGAN


class SemiSupervisedGAN(LatentGAN):
    """The discriminator classifies K classes, and generated images as none of them (Salimans et al. 2016, section 5).

    discriminator(images) -> K logits; the logit for "real" is their logsumexp. Works with few labels: "labelled_image"
    and "labelled_label" of a batch, or "image" and "label" where all labels are known.

    class_weight: of the cross-entropy on labelled images. adv_weight: of the discriminator's adversarial loss; 0 leaves
    the same classifier on the labelled images alone. feature_matching: weight of the squared distance between the mean
    features of real and of generated images, a term of the generator's loss (section 3.1).
    """

    needs = frozenset({"image", "some_labels"})

    def __init__(self, *, class_weight: float = 1.0, adv_weight: float = 1.0, feature_matching: float = 0.0, **latent):
        super().__init__(**latent)
        weights = {"class_weight": class_weight, "adv_weight": adv_weight, "feature_matching": feature_matching}
        for name, weight in weights.items():
            require(weight >= 0, f"model.{name}={weight}: 0 or more")
        require(not self.unroll_steps, f"model.unroll_steps={self.unroll_steps}: not for the semi-supervised GAN")
        self.class_weight, self.adv_weight, self.feature_matching = class_weight, adv_weight, feature_matching

    def real_logit(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """(B,): positive where the images look like one of the classes."""
        return self.discriminator(images).float().logsumexp(dim=1)

    def logits_shape(self, pictures: int, classes: int) -> tuple[int, ...]:
        return (pictures, classes)

    def d_losses(self, batch: Batch, images: Images) -> Terms:
        terms = super().d_losses(batch, images)
        labelled = batch.get("labelled_image", batch["image"])
        labels = batch["labelled_label"] if "labelled_label" in batch else batch["label"]
        logits = self.discriminator(self.d_input(labelled, real=True))
        self.log_mean("d/class_accuracy", (logits.argmax(1) == labels).float().mean())
        terms["adv"] = self.adv_weight * terms["adv"]
        return {**terms, "class": self.class_weight * cross_entropy(logits.float(), labels)}

    def g_losses(self, batch: Batch, images: Images) -> Terms:
        terms = super().g_losses(batch, images)
        if self.feature_matching:
            real = self.discriminator.features(self.d_input(batch["image"], real=True)).flatten(1).mean(0)
            drawn = self.discriminator.features(self.d_input(images["fake"], real=False)).flatten(1).mean(0)
            terms["features"] = self.feature_matching * (real - drawn).float().square().mean()
        return terms

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """images (B, C, H, W) in [-1, 1] -> the most likely class of each (B,)."""
        return self.discriminator(images).argmax(dim=1)

    def labels_for_metrics(self, batch: Batch) -> Batch:
        return {"predicted_label": self.classify(batch["image"])}
