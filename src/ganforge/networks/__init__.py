"""Networks: nn.Module only, no losses, no Lightning. A checkpoint may name the GENERATORS, and nothing else."""

from ganforge.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from ganforge.networks.mlp import MLPDiscriminator, MLPGenerator
from ganforge.networks.patchgan import PatchGAN
from ganforge.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from ganforge.networks.resnet import ResNetGenerator
from ganforge.networks.unet import UNet

# From pictures to pictures, and from noise to pictures.
TRANSLATORS = {"ganforge.networks.UNet": UNet, "ganforge.networks.ResNetGenerator": ResNetGenerator}
SAMPLERS = {
    "ganforge.networks.MLPGenerator": MLPGenerator,
    "ganforge.networks.DCGANGenerator": DCGANGenerator,
    "ganforge.networks.R3GANGenerator": R3GANGenerator,
}
GENERATORS = {**TRANSLATORS, **SAMPLERS}

__all__ = [
    "GENERATORS",
    "SAMPLERS",
    "TRANSLATORS",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "MLPDiscriminator",
    "MLPGenerator",
    "PatchGAN",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "ResNetGenerator",
    "UNet",
]
