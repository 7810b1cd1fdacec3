"""The U-Net of pix2pix: an encoder-decoder with skip connections between mirrored levels."""

import math

import torch
from torch import nn
from torch.nn import functional

from ganforge.errors import require
from ganforge.networks.layers import initialize, last_layer, normalization


def unet_depth(size: int, depth: int | None = None) -> int:
    """Levels of a U-Net for size x size pictures: `depth`, or as many as reach 1 px, but at most 8.

    Raises UserError where the size is no multiple of 2**depth.
    """
    require(depth is None or depth >= 2, f"model.generator.depth={depth}: 2 or more")
    levels = depth or min(8, int(math.log2(size)))
    step = 2**levels
    if size % step:
        near = max(step, round(size / step) * step)
        deepest = (size & -size).bit_length() - 1  # the largest power of two in size
        other = f" or model.generator.depth={deepest}" if deepest >= 2 else ""
        require(False, f"data.size={size} is not a multiple of {step} (U-Net depth {levels}); use {near}{other}")
    return levels


class UNet(nn.Module):
    """U-Net generator (Isola et al. 2017, section 6.1.1; layer for layer the authors' PyTorch code).

    size: side in pixels of the training pictures; the depth follows from it unless `depth` is given. Other sizes are
    padded to a multiple of 2**depth by their border and cropped again. Input and output (B, C, H, W) in [-1, 1].
    54.4 M parameters for 3 -> 3 channels at size 256 and 64 base channels.

    dropout: the probability in the inner decoder levels that the paper uses as noise (depth - 5 of them).
    output: see `last_layer`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        size: int,
        base_channels: int = 64,
        depth: int | None = None,
        norm: str = "batch",
        dropout: float = 0.5,
        output: str | None = None,
    ):
        super().__init__()
        require(base_channels >= 1, f"model.generator.base_channels={base_channels}: 1 or more")
        require(0 <= dropout < 1, f"model.generator.dropout={dropout}: a probability in [0, 1)")
        self.depth = unet_depth(size, depth)
        widths = [base_channels * min(2**level, 8) for level in range(self.depth)]
        # Batch norm has a bias of its own; instance norm (without scale and shift) has none.
        bias = norm != "batch"

        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, width in enumerate(widths):
            outermost, innermost = level == 0, level == self.depth - 1
            before = in_channels if outermost else widths[level - 1]
            encode = [nn.Conv2d(before, width, 4, stride=2, padding=1, bias=bias)]
            if not outermost:
                encode.insert(0, nn.LeakyReLU(0.2))
            if not outermost and not innermost:
                encode.append(normalization(norm, width))
            self.down.append(nn.Sequential(*encode))

            wide = width if innermost else 2 * width  # with the skip connection
            after = out_channels if outermost else widths[level - 1]
            decode = [nn.ReLU(), nn.ConvTranspose2d(wide, after, 4, stride=2, padding=1, bias=bias or outermost)]
            decode.append(last_layer(output) if outermost else normalization(norm, after))
            if dropout and 4 <= level < self.depth - 1:
                decode.append(nn.Dropout(dropout))
            self.up.insert(0, nn.Sequential(*decode))
        initialize(self)

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        height, width = source.shape[-2:]
        step = 2**self.depth
        right, below = -width % step, -height % step
        x = functional.pad(source, (0, right, 0, below), mode="replicate") if right or below else source
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.up[0](skips.pop())
        for up in self.up[1:]:
            x = up(torch.cat([skips.pop(), x], dim=1))
        return x[..., :height, :width]
