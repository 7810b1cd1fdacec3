"""Is the game healthy? A collapsed generator, a discriminator that has won, numbers that are none."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl

from ganforge.errors import require

_COLLAPSED = (
    "a larger data.batch_size, a lower model.optimizer_d.lr, model.discriminator.minibatch_std=true, an R1 penalty "
    "(model.penalties.r1=5), or model=wgan_gp"
)
_WON = (
    "a lower model.optimizer_d.lr, model.label_smoothing=0.1, noise on what the discriminator sees "
    "(model.input_noise.std=0.1), an R1 penalty (model.penalties.r1=5), augmentation (model/augment=diff), or a "
    "smaller discriminator"
)
_WON_BY_PATCHES = (
    "a lower model.optimizer_d.lr, an R1 penalty (model.penalties.r1=5), or a smaller discriminator (its base_channels)"
)
_NOT_FINITE = (
    "lower model.optimizer_g.lr and model.optimizer_d.lr, model.clip_g=1 and model.clip_d=1, or trainer.precision=32"
)


@dataclass
class _Episode:
    """Rows in a row in which something was wrong."""

    rows: int = 0
    since: int = 0  # images seen at the first of them
    told: bool = False


class Health(pl.Callback):
    """Says in words when the game goes wrong, once an episode, and when it is right again; keeps it in `warnings`.

    At every row that the module logs (a new `module.latest`, averaged over the ranks):

    - the generator has collapsed: `batch_diversity` below `diversity`, or `batch_duplicates` above `duplicates`, in
      `patience` rows one after another;
    - the discriminator, or one of several, has won: its accuracy is above `accuracy` on real and on generated images
      (patches, where it judges these), in as many. Critics have no accuracy, and it is no fault of theirs that they
      tell the two apart: it is not logged for them. The accuracy alone decides, because what remains of the generator's
      gradient may be tiny (saturating objectives) or large and useless; it is told with the rest. 1 switches this off;
    - a number is NaN or infinite, or updates were left out because of one (`model.on_nonfinite=skip`): at once. At
      precision 16-mixed, which tries its scale, what is left out is not told.

    What is not logged is not checked. on_collapse: "warn", or "stop" to end the training after any of the three, with
    the validation and the test that follow a training.
    """

    def __init__(
        self,
        *,
        on_collapse: str = "warn",
        patience: int = 10,
        diversity: float = 0.1,
        duplicates: float = 0.5,
        accuracy: float = 0.99,
    ):
        require(
            on_collapse in ("warn", "stop"), f"callbacks.health.on_collapse={on_collapse}: choose one of warn, stop"
        )
        require(
            isinstance(patience, int) and patience >= 1,
            f"callbacks.health.patience={patience}: a whole number of logged rows, 1 or more",
        )
        for name, share in (("diversity", diversity), ("duplicates", duplicates), ("accuracy", accuracy)):
            require(0 <= share <= 1, f"callbacks.health.{name}={share}: between 0 and 1")
        self.on_collapse, self.patience = on_collapse, patience
        self.diversity, self.duplicates, self.accuracy = diversity, duplicates, accuracy
        self.warnings: list[str] = []
        self._latest: dict[str, float] = {}
        self._episodes = {name: _Episode() for name in ("collapse", "not finite")}
        self._largest_gradient = 0.0  # of the generator
        self._skipped = 0  # updates, up to the row before

    def state_dict(self) -> dict[str, Any]:
        episodes = {name: asdict(episode) for name, episode in self._episodes.items()}
        return {"warnings": self.warnings, "episodes": episodes, "largest_gradient": self._largest_gradient}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.warnings = list(state["warnings"])
        self._episodes = {name: _Episode(**episode) for name, episode in state["episodes"].items()}
        self._largest_gradient = state["largest_gradient"]

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        latest = getattr(module, "latest", {})
        if not latest or latest is self._latest:
            return
        self._latest = latest
        # The averages over the ranks: each says the same and stops at the same batch.
        values = {name.removeprefix("train/"): float(value) for name, value in latest.items()}
        self._check_finite(trainer, module, values)
        # What is no number says nothing of the game, neither that it is lost nor that it is well again.
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        self._check_generator(trainer, module, values)
        for name in list(values):
            if name.startswith("d/accuracy_real"):
                self._check_discriminator(trainer, module, values, name.removeprefix("d/accuracy_real"))

    def _check_finite(self, trainer: pl.Trainer, module: pl.LightningModule, values: dict[str, float]) -> None:
        bad = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        skipped, self._skipped = self._skipped, getattr(module, "skipped_updates", 0)
        if self._skipped > skipped and trainer.precision != "16-mixed":
            bad.append(f"{self._skipped - skipped} updates were left out, because a loss or a gradient was not")
        self._judge(
            trainer,
            module,
            "not finite",
            wrong=bool(bad),
            what=f"Numbers of the training are not finite: {', '.join(bad)}",
            remedy=_NOT_FINITE,
            right="All numbers are finite again",
        )

    def _check_generator(self, trainer: pl.Trainer, module: pl.LightningModule, values: dict[str, float]) -> None:
        diversity, duplicates = values.get("g/batch_diversity"), values.get("g/batch_duplicates")
        facts, wrong = [], False
        if diversity is not None:
            wrong |= diversity < self.diversity
            facts.append(f"its images differ {diversity:.3f} times as much as real ones (alarm below {self.diversity})")
        if duplicates is not None:
            wrong |= duplicates > self.duplicates
            facts.append(
                f"{duplicates:.0%} of them have a near-identical other one (alarm above {self.duplicates:.0%})"
            )
        if facts:
            self._judge(
                trainer,
                module,
                "collapse",
                wrong=wrong,
                what=f"The generator has collapsed: {' and '.join(facts)}",
                remedy=_COLLAPSED,
                right=f"The generator draws different images again: {' and '.join(facts)}",
            )

    def _check_discriminator(
        self, trainer: pl.Trainer, module: pl.LightningModule, values: dict[str, float], which: str
    ) -> None:
        """which: how the names of its numbers end, such as _a where there are several."""
        real, fake = (values.get(f"d/accuracy_{kind}{which}") for kind in ("real", "fake"))
        gradient = values.get("g/grad_norm")
        if real is None or fake is None:
            return
        facts = f"it recognises {real:.1%} of the real and {fake:.1%} of the generated images"
        logits = [values[name] for kind in ("real", "fake") if (name := f"d/logit_{kind}{which}") in values]
        if len(logits) == 2:
            facts += f" (mean logits {logits[0]:.3g} and {logits[1]:.3g})"
        if gradient is not None:
            self._largest_gradient = max(self._largest_gradient, gradient)
            gone = " and has vanished" if gradient < 0.01 * self._largest_gradient else ""
            facts += f", and the generator's gradient norm is {gradient:.3g}{gone}"
        named = f" of {which[1:].upper()}" if which else ""
        self._judge(
            trainer,
            module,
            f"won{which}",
            wrong=real > self.accuracy and fake > self.accuracy,
            what=f"The discriminator{named} has won: {facts} (alarm above {self.accuracy:.1%} for both)",
            remedy=_WON if hasattr(module, "label_smoothing") else _WON_BY_PATCHES,
            right=f"The generator deceives the discriminator again: {facts}",
        )

    def _judge(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        name: str,
        *,
        wrong: bool,
        what: str,
        remedy: str,
        right: str,
    ) -> None:
        """Count this row; say `what` when it has lasted long enough, and `right` when it is over after that."""
        episode = self._episodes.setdefault(name, _Episode())
        if not wrong:
            if episode.told:
                self._say(module, f"{right}, at {module.images_seen} images seen.")
            self._episodes[name] = _Episode()
            return
        if not episode.rows:
            episode.since = module.images_seen
        episode.rows += 1
        if episode.told or episode.rows < (1 if name == "not finite" else self.patience):
            return
        episode.told = True
        rows = "" if episode.rows == 1 else f", in {episode.rows} logged rows one after another"
        message = f"{what}; since {episode.since} images seen{rows}. Try {remedy}."
        if self.on_collapse == "stop":
            message += " The training ends here (callbacks.health.on_collapse=stop); what there is will be evaluated."
            trainer.should_stop = True
        self._say(module, message)

    def _say(self, module: pl.LightningModule, message: str) -> None:
        self.warnings.append(message)
        module.print(f"\n{message}")  # above the progress bar, on one rank
