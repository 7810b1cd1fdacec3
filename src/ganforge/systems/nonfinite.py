"""Numbers that are not finite: updates that are left out, and the end of a training, with what is said of it."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from ganforge.errors import UserError
from ganforge.files.finite import listed, spoiled
from ganforge.runs import checkpoint


def check(module: pl.LightningModule, contents: Mapping[str, Any]) -> None:
    """Raise UserError, on every rank alike, where the contents of a checkpoint to be written are not finite.

    An update whose gradients were finite can leave weights and moments that are not, or weights with which nothing can
    be computed any more.
    """
    bad = spoiled(contents)
    if module.trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
        what = f"weights or moments are not finite, or too large ({listed(bad) or 'on another process'})"
        raise ended(module, what, "without a checkpoint of them")


def check_pictures(module: pl.LightningModule, finite: bool) -> None:
    """Raise UserError, on every rank alike, where the pictures of a validation or a test are not finite."""
    if module.trainer.strategy.reduce_boolean_decision(not finite, all=False):
        raise ended(module, "generated pictures are not finite", "without a checkpoint of what draws them")


def ended(
    module: pl.LightningModule, what: str, consequence: str, remedy: str = "", moment: int | None = None
) -> UserError:
    """The error of a training that ends because of `what`, at so many images seen (None: at this moment)."""
    good = last_finite(module.trainer)
    again = f" (ckpt_path={good} resume=force goes on from it, with other settings)" if good else ""
    moment = module.images_seen if moment is None else moment
    return UserError(
        f"{what} at {moment} images seen: the training ends {consequence}. The last good checkpoint: "
        f"{good or 'none yet'}{again}. Try lower model.optimizer_g.lr and model.optimizer_d.lr, model.clip_g=1 and "
        f"model.clip_d=1, or trainer.precision=32{remedy}"
    )


def last_finite(trainer: pl.Trainer) -> Path | None:
    """The newest checkpoint of this run that a training can go on from and that is finite throughout."""
    folders = {Path(callback.dirpath) for callback in trainer.callbacks if isinstance(callback, ModelCheckpoint)}
    files = [file for folder in folders for file in folder.glob("*.ckpt")]
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        with suppress(UserError):
            contents = checkpoint.load(file)
            if checkpoint.is_resumable(contents) and not spoiled(contents):
                return file
    return None


def tell_all_ranks(gradients: list[Tensor], terms: Mapping[str, Tensor]) -> None:
    """Make the first gradient NaN where a term is not finite: the mean of the gradients tells it to every rank, which
    all leave the update out alike, without an exchange of their own.
    """
    gradients[0].add_(sum(terms.values()) * 0)


def statistics(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Statistics and the like, and what they are now."""
    return [(buffer, buffer.clone()) for buffer in module.buffers() if buffer.is_floating_point()]


@torch.no_grad()
def restore(before: Iterable[tuple[Tensor, Tensor]], bad: Tensor) -> None:
    """Give buffers their former values where an update was left out: they have seen it too."""
    for buffer, value in before:
        # As data: the generator's backward, still to come, is not disturbed.
        buffer.data.copy_(torch.where(bad > 0, value, buffer))
