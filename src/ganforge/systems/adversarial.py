"""The game: whose turn it is, and what a move is. What the terms are belongs to each GAN."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint as recompute

from ganforge.errors import require
from ganforge.game import ema
from ganforge.game.players import Output, Player, held
from ganforge.game.pool import ImagePool
from ganforge.game.pretraining import Pretraining
from ganforge.game.safeguard import Safeguard
from ganforge.game.schedules import Strength, extremes
from ganforge.networks.layers import unchanged_statistics
from ganforge.systems import nonfinite, saved
from ganforge.systems.batches import Batch, Images, Terms, channels_last, detached, drawn_by, length
from ganforge.systems.rows import Rows


class Adversarial(pl.LightningModule):
    """Base of all GANs: at each turn every player makes a move, in their order.

    A GAN gives these methods over dict batches of images (B, C, H, W) in [-1, 1]:

    - generate(batch) -> named images that several moves share, in training;
    - NAME_losses(batch, images) for each player -> named scalar terms, already weighted; their sum is minimised. What
      only one loss needs is made there;
    - infer(batch) -> images as a user of the trained model gets them, for validation and test.

    networks: by the names of their attributes. players: in the order of their moves.
    averaged: the networks that have a moving average NAME_ema, which is used at inference. ema_half_life: the images
    after which weights count half in it (at the start less, so that the initial weights are soon forgotten), or None
    for no averages.
    pretrain: see `Pretraining`; for systems that define `pretraining_losses`, the terms of the player that moves then.
    accumulate: batches an update; equal to one batch that is `accumulate` times larger (but for batch statistics).
    on_nonfinite: an update with a loss term or gradient that is NaN or infinite is left out; then the training stops
    ("stop"), or goes on ("skip"), and `skipped_updates` counts these. With fp16 an infinite gradient is no fault: the
    scale is being found.
    """

    # What a batch must hold: a subset of the data module's `provides`.
    needs: frozenset[str] = frozenset()
    # What a user gets from a trained model, by name.
    outputs: ClassVar[Mapping[str, Output]] = {}
    # Networks whose gradients are differentiated once more: torch.compile cannot do that.
    differentiated_twice: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        networks: Mapping[str, nn.Module],
        players: Sequence[Player],
        averaged: Sequence[str] = (),
        accumulate: int = 1,
        ema_half_life: Strength | None = None,
        pretrain: Pretraining | None = None,
        on_nonfinite: str = "stop",
    ):
        super().__init__()
        require(accumulate >= 1, f"model.accumulate={accumulate}: 1 or more batches an update")
        require(
            ema_half_life is None or extremes(ema_half_life)[0] >= 0,
            f"model.ema_half_life={ema_half_life}: images, 0 or more, or null for no average",
        )
        require(on_nonfinite in ("stop", "skip"), f"model.on_nonfinite={on_nonfinite}: choose one of stop, skip")
        self.pretrain = pretrain or Pretraining()
        if type(self).pretraining_losses is Adversarial.pretraining_losses:
            self.pretrain.refuse(type(self).__name__)
        self.automatic_optimization = False
        for name, network in networks.items():
            setattr(self, name, network)
        for name in averaged:
            average = copy.deepcopy(networks[name]).requires_grad_(False).eval() if ema_half_life is not None else None
            setattr(self, f"{name}_ema", average)
        self.network_names, self.players, self.averaged = tuple(networks), tuple(players), tuple(averaged)
        self.accumulate, self.ema_half_life, self.on_nonfinite = accumulate, ema_half_life, on_nonfinite

        self.images_seen = 0  # over all ranks
        self.turns = 0
        self.updates = {player.name: 0 for player in players}
        self.skipped_updates = 0  # of all players, up to the row that was logged last
        self.seed = 0  # of what is drawn for a whole batch, equal on all ranks
        self.card: dict[str, Any] = {}  # what a checkpoint says of itself
        self.latest: dict[str, float] = {}  # the row of terms that was logged last
        self.on_the_bar: dict[str, float] = {}  # of it the loss terms
        self.pools: dict[str, ImagePool] = {}  # of this process, saved with it
        self.rows = Rows(self)
        self.safeguard: Safeguard | None = None
        self._window: list[Batch] = []
        self._rates: dict[str, list[float]] = {}  # of each player's parameter groups, before the schedule
        self._resumed: list[dict[str, Any]] | None = None  # what the checkpoint holds that training goes on from

    def generate(self, batch: Batch) -> Images:
        raise AssertionError(f"{type(self).__name__} must define generate()")

    def pretraining_losses(self, batch: Batch, images: Images) -> Terms:
        raise AssertionError(f"{type(self).__name__} has no pretraining_losses()")

    def infer(self, batch: Batch) -> Tensor:
        raise AssertionError(f"{type(self).__name__} must define infer()")

    def panels(self, batch: Batch, generated: Tensor) -> Images:
        """The pictures (B, C, H, W) side by side in a sample grid, one row an item, by the names of their columns.

        Of translations the source is the first and the result the second; of GANs from noise there is the result alone.
        The batch may be one of the validation or of a test set.
        """
        if "source" not in batch:
            return {"result": generated}
        data = self.trainer.datamodule
        batch, generated = data.compared(batch, generated)
        shown = {"source": data.view("source", batch["source"]), "result": data.view("target", generated)}
        return {**shown, "target": data.view("target", batch["target"])} if "target" in batch else shown

    def round_trip(self, batch: Batch, generated: Tensor) -> Tensor | None:
        """The translations of a test batch translated back, which should be its sources; None without a way back."""
        return None

    def with_latents(self, batch: Batch) -> Batch:
        """The batch with what the generator starts from, where that is drawn at random: see `draw_normal`."""
        return batch

    def draw_normal(self, batch: Batch, *shape: int) -> Tensor:
        """(B, *shape) of N(0, 1), by `draw`."""
        return self.draw(batch, lambda drawn, count: drawn.standard_normal((count, *shape), dtype="float32"))

    def draw(self, batch: Batch, rows: Callable[[Any, int], Any]) -> Tensor:
        """This rank's of rows(generator, count), which one process would draw for the batches of all ranks: a function
        of the seed and the images seen, so that N processes train like one."""
        world, rank = self.trainer.world_size, self.global_rank
        mine = torch.from_numpy(rows(drawn_by([self.seed, self.images_seen]), length(batch) * world)[rank::world])
        # Only from pinned memory the copy does not wait for the device.
        return (mine.pin_memory() if self.on_gpu else mine).to(self.device, non_blocking=True)

    def inference_network(self, name: str) -> nn.Module:
        """The network that a user gets: the moving average where there is one."""
        average = getattr(self, f"{name}_ema", None)
        return getattr(self, name) if average is None else average

    def parameters_of(self, player: Player) -> list[nn.Parameter]:
        return [parameter for name in player.networks for parameter in getattr(self, name).parameters()]

    # The game

    def training_step(self, batch: Batch, batch_index: int) -> None:
        batch = self.with_latents(batch)
        self.images_seen += length(batch) * self.trainer.world_size
        self._window.append(channels_last(batch))
        if len(self._window) < self.accumulate and not self.trainer.is_last_batch:
            return
        batches, self._window = self._window, []
        self.turns += 1
        playing = self.pretrain.players(self.players) if self.pretrains else self.players
        moving = [player for player in playing if self.turns % player.every == 0]
        before = nonfinite.statistics(self) if self.on_nonfinite == "skip" else []
        images = [self._shared_images(batch, moving, only=len(batches) == 1) for batch in batches]
        for player in moving:
            bad = self._move(player, batches, images)
            nonfinite.restore(before, bad)
            self._update_averages(player, sum(map(length, batches)) * self.trainer.world_size * player.every)
        if self._scaler is not None:
            self._scaler.update()  # once for all: its state counts iterations
        if (batch_index + 1) % self.trainer.log_every_n_steps < len(batches):
            self.before_row()
            self.rows.log()

    def _shared_images(self, batch: Batch, moving: list[Player], only: bool) -> Images:
        drawing = [player for player in moving if player.generates]
        if not drawing:
            with torch.no_grad():
                return self.generate(batch)
        if only:
            return self.generate(batch)
        # Every player must have seen all batches of the window before the next one moves. Instead of keeping every
        # graph till then, the forward is repeated in the backward: same noise, same statistics.
        networks = [getattr(self, name) for name in drawing[0].networks]
        again = lambda: (nullcontext(), unchanged_statistics(*networks))  # noqa: E731
        return recompute(self.generate, batch, use_reentrant=False, context_fn=again)

    def _move(self, player: Player, batches: list[Batch], images: list[Images]) -> Tensor:
        """One step of a player's optimizer on the sum of its losses, each batch with its share of the pictures.

        Returns whether it was left out, () of 0 or 1.
        """
        optimizer = self._optimizer(player)
        factor = player.schedule(self.progress)
        for group, rate in zip(optimizer.param_groups, self._rates[player.name], strict=True):
            group["lr"] = rate * factor
        optimizer.zero_grad()
        noted = self.rows.mark()
        total, means = sum(map(length, batches)), {}
        losses = self.pretraining_losses if self.pretrains else getattr(self, f"{player.name}_losses")
        with held(self._others(player)):
            for batch, drawn in zip(batches, images, strict=True):
                share = length(batch) / total
                terms = losses(batch, drawn if player.generates else detached(drawn))
                self.manual_backward(sum(terms.values()) * share)
                for name, term in terms.items():
                    means[name] = means.get(name, 0) + term.detach().float() * share
        parameters = self.parameters_of(player)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        nonfinite.tell_all_ranks(gradients, means)
        getattr(self.trainer.strategy, "reduce_gradients", lambda parameters: None)(parameters)
        if self._scaler is not None:
            self._scaler.unscale_(optimizer.optimizer)
        norm = get_total_norm(gradients)
        bad = self.safeguard.step(optimizer, gradients, norm, player.clip)
        for name, mean in means.items():
            self.rows.term(f"{player.name}/{name}", mean)
        self.log_mean(f"{player.name}/grad_norm", norm)
        if not self.safeguard.latches:
            self.rows.leave_out(noted, bad)
        # Autocast keeps low-precision copies of the weights until the step ends: they are old now.
        torch.clear_autocast_cache()
        if player.after_step is not None:
            player.after_step([parameter for parameter in parameters if parameter.requires_grad])
        self.updates[player.name] += 1
        return bad

    def _others(self, player: Player) -> list[nn.Parameter]:
        """What other players move, and this one does not."""
        mine = {id(parameter) for parameter in self.parameters_of(player)}
        every = [parameter for other in self.players for parameter in self.parameters_of(other)]
        return [parameter for parameter in every if id(parameter) not in mine]

    def _update_averages(self, player: Player, images: int) -> None:
        """images: seen since the player's last update, over all ranks."""
        for name in player.networks:
            average = getattr(self, f"{name}_ema", None)
            if average is not None:
                ema.update(average, getattr(self, name), self.ema_half_life, images, self.images_seen)

    def _optimizer(self, player: Player) -> Any:
        """Lightning's wrapper, which counts steps and knows the precision."""
        optimizers = self.optimizers()
        names = [own.name for own in self.players]
        return optimizers[names.index(player.name)] if isinstance(optimizers, list) else optimizers

    @property
    def _scaler(self) -> torch.amp.GradScaler | None:
        """Of the losses, at precision 16-mixed."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1, by images seen."""
        trainer = self.trainer
        batches = trainer.max_epochs * trainer.num_training_batches
        total = batches * trainer.datamodule.batch_size * trainer.world_size
        return min(1.0, self.images_seen / total)

    @property
    def pretrains(self) -> bool:
        """Whether the newest batch belongs to the pre-training."""
        return self.pretrain.covers(self.images_seen)

    @property
    def between_updates(self) -> bool:
        """Whether no batch waits to be accumulated with the next ones."""
        return not self._window

    # What is logged

    def log_mean(self, name: str, value: Tensor) -> None:
        """Log the mean of a number that is no loss term, as train/NAME, with the terms of this interval."""
        self.rows.number(name, value)

    def before_row(self) -> None:
        """Called before a row is logged: for numbers that are of this moment alone."""

    def log_row(self, values: Mapping[str, Tensor | float]) -> None:
        """Write one row to every logger; its step is the number of images seen."""
        numbers = {name: float(value) for name, value in values.items()}
        for logger in self.loggers:
            logger.log_metrics({**numbers, "images": self.images_seen}, step=self.images_seen)

    # What Lightning asks for

    def configure_optimizers(self) -> list[Optimizer]:
        optimizers = []
        for player in self.players:
            groups = self.parameters_of(player)
            if isinstance(player.networks, Mapping):
                groups = [
                    {"params": list(getattr(self, name).parameters()), **own} for name, own in player.networks.items()
                ]
            optimizers.append(player.optimizer(groups))
            self._rates[player.name] = [group["lr"] for group in optimizers[-1].param_groups]
        return optimizers

    def on_fit_start(self) -> None:
        self.to(memory_format=torch.channels_last)
        # With fp16 an infinite gradient is no fault; terms are looked at when they are logged.
        latches = self.on_nonfinite == "stop" and self._scaler is None
        self.safeguard = Safeguard(self.device, latches, self.skipped_updates)
        self.seed = torch.initial_seed()
        if self.global_rank:  # every rank starts from the same seed: without this, from the same noise
            torch.manual_seed(self.seed + 7919 * self.global_rank)

    def on_validation_start(self) -> None:
        # Here too: metrics fail in many ways at pictures that are not finite, before a checkpoint would be written.
        self.rows.check()
        nonfinite.check(self, {"state_dict": self.state_dict()})

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        # The last epoch is validated, whatever the interval. Here, where each callback may have ended the training.
        if self.trainer.should_stop or self.trainer.current_epoch + 1 == self.trainer.max_epochs:
            self.trainer.check_val_every_n_epoch = 1

    def on_train_end(self) -> None:
        self.rows.check()
        nonfinite.check(self, {"state_dict": self.state_dict()})

    # In float32 at any precision: what is made of them is made where autocast has ended.
    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        return self.infer(channels_last(batch)).float()

    def test_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> Tensor:
        return self.infer(channels_last(batch)).float()

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        if self._resumed is not None:
            saved.go_on(self, self._resumed)
            self._resumed = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.rows.check()
        nonfinite.check(self, checkpoint)
        for logger in self.loggers:
            logger.save()  # the rows that this checkpoint counts on must outlive a power cut too
        saved.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = saved.load(self, checkpoint)
