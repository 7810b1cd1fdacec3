"""What patches of feature maps are compared by in a contrastive loss."""

from collections.abc import Mapping

from torch import Tensor, nn

from ganforge.errors import require
from ganforge.networks.layers import initialize


class PatchHeads(nn.Module):
    """For each layer of a generator, by name: C -> width, ReLU, width, and unit length (Park et al. 2020, section 3.2).

    channels: the channels C of each layer. width: of what patches are compared by (256 in the paper).
    """

    def __init__(self, channels: Mapping[str, int], *, width: int = 256):
        super().__init__()
        require(isinstance(width, int) and width >= 1, f"model.heads_width={width}: 1 or more")
        self.layers = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(count, width), nn.ReLU(), nn.Linear(width, width))
                for name, count in channels.items()
            }
        )
        initialize(self, "xavier")

    def forward(self, patches: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(B, P, C) of each layer -> (B, P, width), float32 of length 1."""
        projected = {name: self.layers[name](values).float() for name, values in patches.items()}
        # They begin at lengths of about 1e-3: a smaller floor than that of torch, or they would not be of length 1.
        return {name: values / (values.norm(dim=-1, keepdim=True) + 1e-7) for name, values in projected.items()}
