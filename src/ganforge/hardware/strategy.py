"""Several processes train one GAN: each takes its share of the batch, and an update costs one exchange of gradients."""

from collections.abc import Iterable, Iterator

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed, nn

BUCKET_BYTES = 25 * 2**20


class GANStrategy(DDPStrategy):
    """Lightning's processes without DistributedDataParallel, which would reduce both networks at every backward.

    All processes begin with the weights of the first. `reduce_gradients` averages those of one network; the optimizers
    then make the same step everywhere. reduced_bytes: how much this process gave to be averaged so far.
    """

    def __init__(self, *, bucket_bytes: int = BUCKET_BYTES):
        super().__init__()
        self.bucket_bytes, self.reduced_bytes = bucket_bytes, 0

    def configure_ddp(self) -> None:
        # Lightning asks the first rank at every batch, and waits for the device, whether there was a SIGTERM:
        # `ganforge.callbacks.Interrupt` hears it.
        self.lightning_module.trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing_to_tell
        self._as_on_the_first([*self.model.parameters(), *self.model.buffers()])

    @torch.no_grad()
    def _as_on_the_first(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            whole = tensor.contiguous()  # other memory formats would be exchanged as they lie
            distributed.broadcast(whole, src=0)
            tensor.copy_(whole)

    @torch.no_grad()
    def reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes, which must all call this for the same network."""
        begun = []
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for bucket in _buckets(gradients, self.bucket_bytes):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket]).div_(self.world_size)
            self.reduced_bytes += flat.nbytes
            begun.append((bucket, flat, distributed.all_reduce(flat, async_op=True)))
        for bucket, flat, work in begun:
            work.wait()
            pieces = flat.split([gradient.numel() for gradient in bucket])
            torch._foreach_copy_(bucket, [piece.view(g.shape) for piece, g in zip(pieces, bucket, strict=True)])

    def on_validation_start(self) -> None:
        # A validation may use batch statistics of single pictures, and not every process has as many of them.
        if self._layer_sync is not None:
            self._layer_sync.revert(self.model)
        # Running statistics that are each process's own: those of the first are saved, so they are judged.
        self._as_on_the_first(self.model.buffers())

    def on_validation_end(self) -> None:
        if self._layer_sync is not None and self.lightning_module.trainer.state.fn == "fit":
            self._layer_sync.apply(self.model)


def _nothing_to_tell() -> None:
    pass


def _buckets(tensors: list[Tensor], size: int) -> Iterator[list[Tensor]]:
    """The tensors in order, in lists of one type and of at most `size` bytes (but for a larger single one)."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(t.nbytes for t in bucket) + tensor.nbytes > size):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
