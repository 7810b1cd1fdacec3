"""Networks: nn.Module only, no losses, no Lightning. A checkpoint may name the GENERATORS, and nothing else."""

from ganforge.networks.patchgan import PatchGAN
from ganforge.networks.resnet import ResNetGenerator
from ganforge.networks.unet import UNet

GENERATORS = {"ganforge.networks.UNet": UNet, "ganforge.networks.ResNetGenerator": ResNetGenerator}

__all__ = ["GENERATORS", "PatchGAN", "ResNetGenerator", "UNet"]
