"""What the networks share: normalization by name, initial weights, the receptive field, inference with a norm mode."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from ganforge.errors import require

NORMS = ("batch", "instance", "none")
NORM_MODES = ("running", "batch")
OUTPUTS = ("tanh", "linear")
INITIAL = ("normal", "xavier")


def normalization(name: str, channels: int) -> nn.Module:
    """The normalization layer `name` (batch, instance or none) for (B, channels, H, W)."""
    require(name in NORMS, f"norm={name!r}: choose one of {', '.join(NORMS)}")
    if name == "batch":
        return nn.BatchNorm2d(channels)
    return InstanceNorm(channels) if name == "instance" else nn.Identity()


class InstanceNorm(nn.InstanceNorm2d):
    """torch's; on a CPU, and of a single picture, as batch norm of each picture.

    There torch's gradient for a single picture is wrong where what follows hands it back in the memory format
    channels_last (torch 2.15), and for several it leaves that format, which takes three times as long.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_cuda and len(x) > 1:
            return super().forward(x)
        options = {"training": True, "eps": self.eps}
        alone = [functional.batch_norm(one, None, None, self.weight, self.bias, **options) for one in x.split(1)]
        return torch.cat(alone) if len(alone) > 1 else alone[0]


def flat_normalization(name: str, features: int) -> nn.Module:
    """The same for (B, features), where only "batch" normalizes: a vector has no instance statistics."""
    return nn.BatchNorm1d(features) if name == "batch" else nn.Identity()


def last_layer(output: str | None) -> nn.Module:
    """What a generator ends in: "tanh" (None), or "linear" for values that no range bounds."""
    require(output in (None, *OUTPUTS), f"model.generator.output={output}: choose one of {', '.join(OUTPUTS)}, or null")
    return nn.Identity() if output == "linear" else nn.Tanh()


def initialize(network: nn.Module, initial: str = "normal", std: float = 0.02) -> nn.Module:
    """Weights N(0, std), batch norm scales N(1, std), biases 0, in place (Isola et al. 2017, section 6.2).

    initial: "normal", or "xavier": weights of std times the deviation of Glorot and Bengio 2010 (Park et al. 2020).
    """
    require(initial in INITIAL, f"initial={initial!r}: choose one of {', '.join(INITIAL)}")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if initial == "normal":
                nn.init.normal_(module.weight, 0.0, std)
            else:
                nn.init.xavier_normal_(module.weight, gain=std)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return network


def layers_of(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each convolution or linear layer in their order, with those of the normalization after it."""
    layers: list[list[nn.Parameter]] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layers.append(list(module.parameters()))
        elif layers:
            layers[-1] += module.parameters(recurse=False)
    return layers


def receptive_field(network: nn.Module) -> int:
    """Side in pixels of the input square that one output of a chain of Conv2d layers sees."""
    field, jump = 1, 1
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            field += (module.kernel_size[0] - 1) * module.dilation[0] * jump
            jump *= module.stride[0]
    return field


@contextmanager
def unchanged_statistics(*networks: nn.Module) -> Iterator[None]:
    """Within it, batch norm in training mode uses the statistics of its batch and leaves the running ones alone."""
    modules = [module for network in networks for module in network.modules()]
    norms = [module for module in modules if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


@contextmanager
@torch.no_grad()
def fixed_statistics(network: nn.Module, sample: torch.Tensor) -> Iterator[None]:
    """Within it, batch and instance norm use the statistics of `sample` (B, C, H, W), of all its pictures together.

    In evaluation mode, so that a network without other ties between places gives every window of a scene what it gives
    there in the whole. The network's own mode and statistics stay as they were.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d)]
    statistics: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        if module not in statistics:
            values = x.float()
            statistics[module] = values.mean(dim=(0, 2, 3)), values.var(dim=(0, 2, 3), correction=0)
        return functional.batch_norm(x, *statistics[module], module.weight, module.bias, training=False, eps=module.eps)

    was_training, hooks = network.training, [norm.register_forward_hook(note) for norm in norms]
    try:
        network.eval()(sample)
        yield
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def infer(network: nn.Module, source: torch.Tensor, norm_mode: str) -> torch.Tensor:
    """The network's images for `source` (B, C, H, W), as at inference; its mode and statistics stay as they were.

    norm_mode "running": running statistics, no dropout. "batch": what the pix2pix paper does, each picture with its own
    statistics and with dropout as noise; pictures go through one by one, so that none depends on its neighbours, and
    with one seed, so that the same picture gives the same result.
    """
    require(norm_mode in NORM_MODES, f"norm_mode={norm_mode!r}: choose one of {', '.join(NORM_MODES)}")
    was_training = network.training
    try:
        if norm_mode == "running":
            return network.eval()(source)
        network.train()
        translated = []
        with unchanged_statistics(network), torch.random.fork_rng([source.device] if source.is_cuda else []):
            for picture in source.split(1):
                torch.manual_seed(0)
                translated.append(network(picture))
        return torch.cat(translated)
    finally:
        network.train(was_training)
