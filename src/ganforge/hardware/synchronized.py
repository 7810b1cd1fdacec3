"""Batch norm over the whole batch of several processes, on any device."""

import torch
from pytorch_lightning.plugins import LayerSync
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce  # any number of times differentiable


class _Synchronized(nn.modules.batchnorm._BatchNorm):
    """In training, normalizes by mean and variance of the batches of all processes, which are equally large."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        world, rank = distributed.get_world_size(), distributed.get_rank()
        x = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        var, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
        # Every process fills in its row: the sum is a table of all of them.
        mine = torch.zeros(world, 1, 1, dtype=x.dtype, device=x.device)
        mine[rank] = 1
        means, variances = all_reduce(mine * torch.stack([mean, var])).unbind(1)
        mean = means.mean(0)
        var = variances.mean(0) + (means - mean).square().mean(0)
        if self.track_running_stats:
            with torch.no_grad():
                count = world * x.numel() // x.shape[1]
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
                self.running_var.lerp_((var * count / (count - 1)).to(self.running_var), self.momentum)
        shape = [1, -1, *[1] * (x.ndim - 2)]
        scale = (var + self.eps).rsqrt() if self.weight is None else self.weight * (var + self.eps).rsqrt()
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        return (x * scale.view(shape) + shift.view(shape)).to(inputs.dtype)


class SynchronizedBatchNorm1d(_Synchronized, nn.BatchNorm1d):
    """`BatchNorm1d` over all processes."""


class SynchronizedBatchNorm2d(_Synchronized, nn.BatchNorm2d):
    """`BatchNorm2d` over all processes."""


KINDS = {nn.BatchNorm1d: SynchronizedBatchNorm1d, nn.BatchNorm2d: SynchronizedBatchNorm2d}


class SynchronizedNorms(LayerSync):
    """Turns every batch norm of a model into the synchronized one, and back; weights and statistics stay.

    In place of torch.nn.SyncBatchNorm, which does not run on a CPU and whose gradient cannot be differentiated, as
    gradient penalties ask for.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        return _exchanged(model, KINDS)

    def revert(self, model: nn.Module) -> nn.Module:
        return _exchanged(model, {synchronized: plain for plain, synchronized in KINDS.items()})


def _exchanged(model: nn.Module, kinds: dict[type, type]) -> nn.Module:
    for module in model.modules():
        module.__class__ = kinds.get(type(module), type(module))
    return model
