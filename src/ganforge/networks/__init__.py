"""Networks: nn.Module only, no losses, no Lightning. A checkpoint may name these, and nothing else."""

from ganforge.networks.biggan import BigGANDiscriminator, BigGANGenerator
from ganforge.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from ganforge.networks.mlp import MLPDiscriminator, MLPGenerator
from ganforge.networks.multiscale import MultiScalePatchGAN
from ganforge.networks.patchgan import PatchGAN
from ganforge.networks.progan import ProGANDiscriminator, ProGANGenerator
from ganforge.networks.projected import ProjectedDiscriminator
from ganforge.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from ganforge.networks.resnet import ResNetGenerator
from ganforge.networks.stargan import StarGANCritic, StarGANGenerator
from ganforge.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganforge.networks.unet import UNet

__all__ = [
    "BigGANDiscriminator",
    "BigGANGenerator",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "MLPDiscriminator",
    "MLPGenerator",
    "MultiScalePatchGAN",
    "PatchGAN",
    "ProGANDiscriminator",
    "ProGANGenerator",
    "ProjectedDiscriminator",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "ResNetGenerator",
    "StarGANCritic",
    "StarGANGenerator",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "UNet",
]
