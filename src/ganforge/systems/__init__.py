"""One thin LightningModule a GAN, over one base that owns when which player moves."""

from ganforge.systems.adversarial import Adversarial
from ganforge.systems.auxiliary import AuxiliaryClassifierGAN
from ganforge.systems.colorize import Colorize
from ganforge.systems.cut import CUT
from ganforge.systems.cyclegan import CycleGAN
from ganforge.systems.latent import ConditionalGAN, LatentGAN
from ganforge.systems.pix2pix import Pix2Pix
from ganforge.systems.progressive import ProgressiveGAN
from ganforge.systems.semi_supervised import SemiSupervisedGAN
from ganforge.systems.stargan import StarGAN
from ganforge.systems.style import StyleGAN2
from ganforge.systems.two_players import TwoPlayers

__all__ = [
    "CUT",
    "Adversarial",
    "AuxiliaryClassifierGAN",
    "Colorize",
    "ConditionalGAN",
    "CycleGAN",
    "LatentGAN",
    "Pix2Pix",
    "ProgressiveGAN",
    "SemiSupervisedGAN",
    "StarGAN",
    "StyleGAN2",
    "TwoPlayers",
]
