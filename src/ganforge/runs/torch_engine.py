"""A generator that PyTorch computes, on arrays."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ganforge.networks.layers import fixed_statistics, infer
from ganforge.networks.resampling import BlurDown
from ganforge.networks.symmetry import SymmetryAverage


class TorchEngine:
    """See `ganforge.runs.engine.Engine`. checked: gives finite tensors back, raises for others."""

    def __init__(self, network: nn.Module, checked: Callable[[Tensor], Tensor], norm_mode: str, tta: bool):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = (SymmetryAverage(network) if tta else network).to(device)
        self._checked, self._norm_mode = checked, norm_mode
        self.halvings = halvings(network)
        instance = any(isinstance(module, nn.InstanceNorm2d) for module in network.modules())
        self.has_own_statistics = norm_mode == "batch" or instance

    def draw(self, sources: np.ndarray) -> np.ndarray:
        return self._drawn(sources, self._norm_mode)

    @contextmanager
    def with_statistics(self, sample: np.ndarray) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
        with fixed_statistics(self.network, self._tensor(sample)):
            yield lambda sources: self._drawn(sources, "running")

    def _drawn(self, sources: np.ndarray, norm_mode: str) -> np.ndarray:
        return self._checked(infer(self.network, self._tensor(sources), norm_mode).float()).cpu().numpy()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(next(self.network.parameters()).device)


def halvings(network: nn.Module) -> int:
    """How many px of a picture are one in the middle of a network."""
    kinds = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)
    strides = [np.ravel(module.stride)[0] for module in network.modules() if isinstance(module, kinds)]
    blurs = sum(isinstance(module, BlurDown) for module in network.modules())
    return int(math.prod(strides)) * 2**blurs
