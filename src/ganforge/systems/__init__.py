"""One thin LightningModule a GAN, over one base that owns when which network moves."""

from ganforge.systems.adversarial import Adversarial
from ganforge.systems.latent import ConditionalGAN, LatentGAN
from ganforge.systems.pix2pix import Pix2Pix
from ganforge.systems.semi_supervised import SemiSupervisedGAN

__all__ = ["Adversarial", "ConditionalGAN", "LatentGAN", "Pix2Pix", "SemiSupervisedGAN"]
