"""One thin LightningModule a GAN, over one base that owns when which network moves."""

from ganforge.systems.adversarial import Adversarial
from ganforge.systems.pix2pix import Pix2Pix

__all__ = ["Adversarial", "Pix2Pix"]
