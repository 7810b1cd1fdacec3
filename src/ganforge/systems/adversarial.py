"""The alternating game: when which network moves. What the terms are belongs to each GAN."""

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint as recompute

from ganforge import randomness
from ganforge.errors import UserError, require
from ganforge.networks.layers import unchanged_statistics
from ganforge.schedules import Schedule

COUNTERS = ("images_seen", "g_updates", "d_updates", "skipped_updates")

_DRAWN = 1  # tells the noise of a training from other numbers that are drawn with the same seed

Batch = dict[str, Tensor]
Terms = dict[str, Tensor]


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within it the network's parameters take no gradients, though gradients pass through it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class Adversarial(pl.LightningModule):
    """Base of all GANs: one generator forward a batch, `d_steps` discriminator updates a generator update.

    A GAN gives four methods over dict batches of images (B, C, H, W) in [-1, 1]:

    - generate(generator, batch) -> images, in training;
    - d_losses(batch, fake) and g_losses(batch, fake) -> named scalar terms, already weighted; their sum is minimised;
    - infer(batch) -> images as a user of the trained generator gets them.

    generator, discriminator: the two networks.
    optimizer_g, optimizer_d: functions of parameters that return an optimizer.
    schedule_g, schedule_d: factor of the learning rate as a function of the share of the training that is done.
    accumulate: batches an update; equal to one batch that is `accumulate` times larger (but for batch statistics).
    clip_g, clip_d: largest gradient norm of a network, or None.
    ema_decay: per generator update, of a moving average of the generator, used at inference; None for no average.
    on_nonfinite: a loss term or gradient that is NaN or infinite stops the training before the update ("stop"), or
    leaves the update out ("skip"); `skipped_updates` counts these. With fp16 an infinite gradient is no fault: the
    scale is being found, and the update is left out.
    """

    # What a batch must hold: a subset of the data module's `provides`.
    needs: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        generator: nn.Module,
        discriminator: nn.Module,
        optimizer_g: Callable[..., Optimizer],
        optimizer_d: Callable[..., Optimizer],
        schedule_g: Schedule,
        schedule_d: Schedule,
        d_steps: int = 1,
        accumulate: int = 1,
        clip_g: float | None = None,
        clip_d: float | None = None,
        ema_decay: float | None = None,
        on_nonfinite: str = "stop",
    ):
        super().__init__()
        require(d_steps >= 1, f"model.d_steps={d_steps}: 1 or more discriminator updates a generator update")
        require(accumulate >= 1, f"model.accumulate={accumulate}: 1 or more batches an update")
        for name, clip in (("clip_g", clip_g), ("clip_d", clip_d)):
            require(clip is None or clip > 0, f"model.{name}={clip}: a gradient norm above 0, or null")
        require(ema_decay is None or 0 < ema_decay < 1, f"model.ema_decay={ema_decay}: between 0 and 1, or null")
        require(on_nonfinite in ("stop", "skip"), f"model.on_nonfinite={on_nonfinite}: choose one of stop, skip")
        self.automatic_optimization = False
        self.generator, self.discriminator = generator, discriminator
        self.generator_ema = copy.deepcopy(generator).requires_grad_(False).eval() if ema_decay else None
        self.make_optimizers = (optimizer_g, optimizer_d)
        self.schedules = (schedule_g, schedule_d)
        self.clips = (clip_g, clip_d)
        self.d_steps, self.accumulate, self.ema_decay = d_steps, accumulate, ema_decay
        self.on_nonfinite = on_nonfinite

        self.images_seen = 0  # over all ranks
        self.g_updates = 0
        self.d_updates = 0
        self.skipped_updates = 0  # of both networks
        self.seed = 0  # of what is drawn for a whole batch, equal on all ranks
        self.card: dict[str, Any] = {}  # what a checkpoint says of itself
        self.latest: dict[str, float] = {}  # the row of terms that was logged last
        self.on_the_bar: dict[str, float] = {}  # of it the loss terms
        self._window: list[Batch] = []
        self._buffers_before: list[Tensor] = []  # the window that is being computed
        self._resumed: dict[str, Any] | None = None  # what the checkpoint holds that training goes on from
        self._terms: dict[str, list[Tensor]] = {}  # since the last logged row
        self._notes: dict[str, list[Tensor]] = {}

    def generate(self, generator: nn.Module, batch: Batch) -> Tensor:
        raise AssertionError(f"{type(self).__name__} must define generate()")

    def d_losses(self, batch: Batch, fake: Tensor) -> Terms:
        raise AssertionError(f"{type(self).__name__} must define d_losses()")

    def g_losses(self, batch: Batch, fake: Tensor) -> Terms:
        raise AssertionError(f"{type(self).__name__} must define g_losses()")

    def infer(self, batch: Batch) -> Tensor:
        raise AssertionError(f"{type(self).__name__} must define infer()")

    def draw(self, batch: Batch) -> Batch:
        """The batch with what the generator starts from, where that is drawn at random: see `draw_normal`."""
        return batch

    def draw_normal(self, batch: Batch, *shape: int) -> Tensor:
        """(B, *shape) of N(0, 1): this rank's rows of what one process would draw for the batches of all ranks.

        A function of the seed and of the number of images seen, so that N processes train like one.
        """
        world, rank = self.trainer.world_size, self.global_rank
        generator = np.random.default_rng([self.seed, self.images_seen, _DRAWN])
        rows = generator.standard_normal((_length(batch) * world, *shape), dtype=np.float32)
        return torch.from_numpy(rows[rank::world]).to(self.device, non_blocking=True)

    @property
    def best_generator(self) -> nn.Module:
        """The generator that a user gets: the moving average where there is one."""
        return self.generator if self.generator_ema is None else self.generator_ema

    # The game

    def training_step(self, batch: Batch, batch_index: int) -> None:
        batch = self.draw(batch)
        self.images_seen += _length(batch) * self.trainer.world_size
        self._window.append(_channels_last(batch))
        if len(self._window) < self.accumulate and not self.trainer.is_last_batch:
            return
        batches, self._window = self._window, []
        total = sum(map(_length, batches))
        shares = [_length(batch) / total for batch in batches]
        generator_moves = (self.d_updates + 1) % self.d_steps == 0
        if self.on_nonfinite == "skip":
            self._buffers_before = [buffer.clone() for buffer in self.buffers()]

        fakes = [self._fake(batch, keep_graph=generator_moves, only=len(batches) == 1) for batch in batches]
        self._update(1, (self.d_losses(b, f.detach()) for b, f in zip(batches, fakes, strict=True)), shares)
        self.d_updates += 1
        if generator_moves:
            with frozen(self.discriminator):
                self._update(0, (self.g_losses(b, f) for b, f in zip(batches, fakes, strict=True)), shares)
            self.g_updates += 1
            self._update_ema()
        if self._scaler is not None:
            self._scaler.update()  # once for both: its state counts iterations
        if (batch_index + 1) % self.trainer.log_every_n_steps < len(batches):
            self._log_interval()

    def _fake(self, batch: Batch, keep_graph: bool, only: bool) -> Tensor:
        if not keep_graph:
            with torch.no_grad():
                return self.generate(self.generator, batch)
        if only:
            return self.generate(self.generator, batch)
        # The discriminator must have seen all batches of the window before the generator's losses are computed. Instead
        # of keeping every graph till then, the forward is repeated in the backward: same noise, same statistics.
        return recompute(
            self.generate,
            self.generator,
            batch,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), unchanged_statistics(self.generator)),
        )

    def _update(self, which: int, losses: Iterable[Terms], shares: list[float]) -> None:
        """One optimizer step of network `which` (0 generator, 1 discriminator) on the weighted sum of its losses."""
        optimizer = self.optimizers()[which]
        rate = optimizer.defaults["lr"] * self.schedules[which](self.progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        side, network = "gd"[which], (self.generator, self.discriminator)[which]
        noted = {name: len(values) for name, values in self._notes.items()}
        means: Terms = {}
        for terms, share in zip(losses, shares, strict=True):
            self.manual_backward(sum(terms.values()) * share)
            for name, term in terms.items():
                means[f"{side}/{name}"] = means.get(f"{side}/{name}", 0) + term.detach().float() * share
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        # Not finite where a term is not, and by the mean of the gradients so on every rank: all decide alike.
        gradients[0].add_(sum(means.values()) * 0)
        getattr(self.trainer.strategy, "reduce_gradients", _no_exchange)(network.parameters())
        if self._scaler is not None:
            self._scaler.unscale_(optimizer.optimizer)
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        if not math.isfinite(norm):
            self._not_finite(side, means, norm)
            self.skipped_updates += 1
            self._notes = {name: values[: noted[name]] for name, values in self._notes.items() if noted.get(name)}
            return
        for name, mean in means.items():
            self._terms.setdefault(f"train/{name}", []).append(mean)
        self.note(f"{side}/grad_norm", norm)
        if self.clips[which] is not None:
            torch._foreach_mul_(gradients, (self.clips[which] / (norm + 1e-6)).clamp(max=1))
        optimizer.step()
        # Autocast keeps low-precision copies of the weights until the step ends: they are old now.
        torch.clear_autocast_cache()

    @property
    def _scaler(self) -> torch.amp.GradScaler | None:
        """Of the losses, at precision 16-mixed."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    @torch.no_grad()
    def _not_finite(self, side: str, means: Terms, norm: Tensor) -> None:
        """Raise UserError that names the term which is not finite; or undo what it did, where updates may be skipped.

        Called on every rank alike.
        """
        values = self.trainer.strategy.reduce(torch.stack(list(means.values())), reduce_op="mean").tolist()
        bad = {name: value for name, value in zip(means, values, strict=True) if not math.isfinite(value)}
        if not bad and self._scaler is not None:
            return
        if self.on_nonfinite == "skip":
            for buffer, before in zip(self.buffers(), self._buffers_before, strict=True):
                if not buffer.isfinite().all():  # statistics and the like, that have seen it too
                    buffer.data.copy_(before)  # as data: the generator's backward, still to come, is not disturbed
            return
        bad = bad or {f"{side}/grad_norm": norm.item()}
        kept = [callback.best_model_path for callback in self.trainer.checkpoint_callbacks]
        kept = sorted(filter(os.path.isfile, kept), key=os.path.getmtime)
        raise UserError(
            f"{' and '.join(f'{name} is {value}' for name, value in bad.items())} at {self.images_seen} images seen: "
            f"the training ends before this update. The last good checkpoint: {kept[-1] if kept else 'none yet'}. Try "
            "lower model.optimizer_g.lr and model.optimizer_d.lr, model.clip_g=1 and model.clip_d=1, or "
            "trainer.precision=32; model.on_nonfinite=skip leaves such updates out"
        )

    @torch.no_grad()
    def _update_ema(self) -> None:
        if self.generator_ema is None:
            return
        # An average over no more than what was seen: the first updates are not dragged by the initial weights.
        decay = min(self.ema_decay, (1 + self.g_updates) / (10 + self.g_updates))
        averages, weights = list(self.generator_ema.parameters()), list(self.generator.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for average, value in zip(self.generator_ema.buffers(), self.generator.buffers(), strict=True):
            average.copy_(value)

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1, by images seen."""
        trainer = self.trainer
        batches = trainer.max_epochs * trainer.num_training_batches
        total = batches * trainer.datamodule.batch_size * trainer.world_size
        return min(1.0, self.images_seen / total)

    @property
    def between_updates(self) -> bool:
        """Whether no batch waits to be accumulated with the next ones."""
        return not self._window

    # What is logged

    def note(self, name: str, value: Tensor) -> None:
        """Log the mean of a number that is no loss term, as train/NAME, with the terms of this interval."""
        self._notes.setdefault(f"train/{name}", []).append(value.detach())

    def _log_interval(self) -> None:
        self.latest = self._means({**self._terms, **self._notes})
        self.on_the_bar = {name.removeprefix("train/"): self.latest[name] for name in self._terms}
        self._terms, self._notes = {}, {}
        rates = {f"lr/{name}": o.param_groups[0]["lr"] for name, o in zip("gd", self.optimizers(), strict=True)}
        skipped = {"train/skipped_updates": self.skipped_updates} if self.skipped_updates else {}
        self.record({**self.latest, **rates, **skipped})

    def _means(self, columns: dict[str, list[Tensor]]) -> dict[str, float]:
        """The mean of each column, over all ranks; one transfer from the device for all of them."""
        if not columns:
            return {}
        means = torch.stack([torch.stack(values).float().mean() for values in columns.values()])
        return dict(zip(columns, self.trainer.strategy.reduce(means, reduce_op="mean").tolist(), strict=True))

    def record(self, values: dict[str, Tensor | float]) -> None:
        """Write one row to every logger; its step is the number of images seen."""
        numbers = {name: float(value) for name, value in values.items()}
        for logger in self.loggers:
            logger.log_metrics({**numbers, "images": self.images_seen}, step=self.images_seen)

    # What Lightning asks for

    def configure_optimizers(self) -> list[Optimizer]:
        make_g, make_d = self.make_optimizers
        return [make_g(self.generator.parameters()), make_d(self.discriminator.parameters())]

    def on_fit_start(self) -> None:
        self.to(memory_format=torch.channels_last)
        self.seed = torch.initial_seed()
        if self.global_rank:  # every rank starts from the same seed: without this, from the same noise
            torch.manual_seed(self.seed + 7919 * self.global_rank)

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        return self.infer(_channels_last(batch))

    def test_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> Tensor:
        return self.infer(_channels_last(batch))

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        if self._resumed is None:
            return
        states, self._resumed = self._resumed, None
        # A rank that there was not begins with the numbers of the first: every rank logs the same ones.
        mine = states[self.global_rank if self.global_rank < len(states) else 0]
        self._terms, self._notes = (
            {name: [value.to(self.device) for value in values] for name, values in mine[which].items()}
            for which in ("terms", "notes")
        )
        if self.global_rank < len(states):
            randomness.restore(mine["randomness"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for logger in self.loggers:
            logger.save()  # the rows that this checkpoint counts on must outlive a power cut too
        counters = {name: getattr(self, name) for name in COUNTERS}
        checkpoint["ganforge"] = {**self.card, **counters}
        terms, notes = (
            {name: [value.cpu() for value in values] for name, values in columns.items()}
            for columns in (self._terms, self._notes)
        )
        mine = {"terms": terms, "notes": notes, "randomness": randomness.state()}
        ranks: list[Any] = [mine] * self.trainer.world_size
        if self.trainer.world_size > 1:
            distributed.all_gather_object(ranks, mine)
        checkpoint["ganforge_state"] = ranks

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in COUNTERS:
            setattr(self, name, checkpoint["ganforge"][name])
        self._resumed = checkpoint["ganforge_state"]


def _channels_last(batch: Batch) -> Batch:
    # Convolutions run faster on images in this memory format, on the CPU in bf16 about twice as fast.
    return {
        name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for name, value in batch.items()
    }


def _no_exchange(parameters: Iterable[nn.Parameter]) -> None:
    """Of gradients, where there is one process."""


def _length(batch: Batch) -> int:
    return len(next(iter(batch.values())))
