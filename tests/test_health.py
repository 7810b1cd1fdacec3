"""Trainings whose numbers are scripted: what is said of them, when, how often, and when they end."""

import copy
import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from ganforge.callbacks.health import Health
from ganforge.errors import UserError
from ganforge.game.diversity import batch_diversity, batch_duplicates

pytestmark = pytest.mark.filterwarnings("ignore:.*will run with no optimizer.*")

GOOD = {"train/g/batch_diversity": 0.9, "train/g/batch_duplicates": 0.02}
ALIKE = {"train/g/batch_diversity": 0.03, "train/g/batch_duplicates": 0.1}
TWINS = {"train/g/batch_diversity": 0.5, "train/g/batch_duplicates": 0.8}
BALANCED = {"train/d/accuracy_real": 0.8, "train/d/accuracy_fake": 0.7, "train/g/grad_norm": 2.0}
WON = {
    "train/d/accuracy_real": 0.995,
    "train/d/accuracy_fake": 1.0,
    "train/d/logit_real": 9.0,
    "train/d/logit_fake": -11.5,
    "train/g/grad_norm": 0.001,
}


class Scripted(pl.LightningModule):
    """Logs the next row of `rows` at every second batch of 4 images."""

    label_smoothing = 0.0

    def __init__(self, rows: list[dict[str, float]]):
        super().__init__()
        self.automatic_optimization = False
        self.rows, self.latest, self.images_seen = rows, {}, 0

    def training_step(self, batch: torch.Tensor, batch_index: int) -> None:
        self.images_seen += len(batch)
        if batch_index % 2:
            self.latest = dict(self.rows[batch_index // 2])

    def validation_step(self, batch: torch.Tensor, batch_index: int) -> None:
        self.validated_at = self.images_seen

    def configure_optimizers(self) -> None:
        return None

    def train_dataloader(self) -> DataLoader:
        return DataLoader(torch.zeros(8 * len(self.rows), 1), batch_size=4)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(torch.zeros(4, 1), batch_size=4)


@pytest.fixture
def watched(tmp_path):
    """watched(rows, **options) -> (the callback, the module) after a training of one epoch with these rows."""

    def train(rows: list[dict[str, float]], **options) -> tuple[Health, Scripted]:
        health, module = Health(**options), Scripted(rows)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            callbacks=[health],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=tmp_path,
        )
        trainer.fit(module)
        return health, module

    return train


def test_a_healthy_game_is_not_commented(watched, capsys):
    health, module = watched([{**GOOD, **BALANCED}] * 12, patience=1)
    assert health.warnings == []
    assert module.images_seen == 12 * 8
    assert "images" not in capsys.readouterr().out


@pytest.mark.parametrize(("row", "numbers"), [(ALIKE, ["0.030 times", "10%"]), (TWINS, ["80% of them", "0.500 times"])])
def test_a_collapse_is_told_once_with_numbers(watched, capsys, row, numbers):
    health, module = watched([GOOD, *[row] * 5], patience=3)
    (message,) = health.warnings
    assert message.startswith("The generator has collapsed")
    assert "since 16 images seen, in 3 logged rows" in message
    assert "model.optimizer_d.lr" in message
    for number in numbers:
        assert number in message
    assert message in capsys.readouterr().out
    assert module.images_seen == 6 * 8  # only a warning


def test_patience_counts_rows_one_after_another(watched):
    assert watched([ALIKE, ALIKE, GOOD, ALIKE, ALIKE, GOOD], patience=3)[0].warnings == []
    assert len(watched([ALIKE, ALIKE, ALIKE], patience=3)[0].warnings) == 1


def test_recovery_and_a_second_collapse(watched):
    health, _ = watched([ALIKE, ALIKE, GOOD, GOOD, TWINS, TWINS, TWINS], patience=2)
    first, recovery, second = health.warnings
    assert recovery.startswith("The generator draws different images again")
    assert "0.900 times" in recovery
    assert recovery.endswith("at 24 images seen.")
    assert "since 8 images seen" in first
    assert "since 40 images seen" in second


def test_stop_ends_the_training_with_a_validation(watched):
    health, module = watched([GOOD, *[ALIKE] * 9], patience=3, on_collapse="stop")
    assert module.images_seen == module.validated_at == 4 * 8
    (message,) = health.warnings
    assert "The training ends here (callbacks.health.on_collapse=stop)" in message


def test_a_won_discriminator(watched):
    health, _ = watched([BALANCED, WON, WON, WON, BALANCED], patience=2)
    warning, recovery = health.warnings
    assert warning.startswith("The discriminator has won: it recognises 99.5% of the real and 100.0% of the generated")
    assert "mean logits 9 and -11.5" in warning
    assert "gradient norm is 0.001 and has vanished" in warning
    assert "model.label_smoothing=0.1" in warning
    assert recovery.startswith("The generator deceives the discriminator again")


@pytest.mark.parametrize(
    "row",
    [
        {**WON, "train/d/accuracy_fake": 0.98},  # one side is not enough
        {**WON, "train/d/accuracy_real": 0.98},
        {name: value for name, value in WON.items() if "accuracy" not in name},  # a critic
        {"train/d/adv": 0.0},
    ],
)
def test_what_is_no_victory(watched, row):
    assert watched([row] * 4, patience=2)[0].warnings == []


def test_accuracy_1_switches_the_check_off(watched):
    row = {"train/d/accuracy_real": 1.0, "train/d/accuracy_fake": 1.0}
    assert len(watched([row] * 4, patience=2)[0].warnings) == 1
    assert watched([row] * 4, patience=2, accuracy=1.0)[0].warnings == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_told_at_once(watched, value):
    health, module = watched([GOOD, {**GOOD, "train/d/adv": value}, GOOD, GOOD], on_collapse="stop")
    (message,) = health.warnings
    assert f"d/adv is {value}" in message
    assert "since 16 images seen." in message
    assert module.images_seen == 2 * 8


def test_a_diversity_that_is_no_number_is_no_recovery(watched):
    lost = {"train/g/batch_diversity": math.nan}
    health, _ = watched([ALIKE, ALIKE, lost, lost], patience=2)
    assert [message.split(":")[0] for message in health.warnings] == [
        "The generator has collapsed",
        "Numbers of the training are not finite",
    ]


def test_updates_that_were_left_out_are_told_but_for_a_scaled_loss(watched):
    for precision, count in (("16-mixed", 0), ("bf16-mixed", 1)):
        module, health = Scripted([]), Health()
        module.print = print
        for skipped in (0, 3, 3):
            module.latest, module.skipped_updates = dict(GOOD), skipped
            health.on_train_batch_end(SimpleNamespace(precision=precision), module, None, None, 0)
        assert len(health.warnings) == 2 * count  # and that it is well again
        assert all("3 updates were left out" in message for message in health.warnings[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_collapse": "panic"}, "callbacks.health.on_collapse=panic: choose one of warn, stop"),
        ({"patience": 0}, "callbacks.health.patience=0"),
        ({"diversity": 2.0}, "callbacks.health.diversity=2.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Health(**options)


def test_batch_diversity_is_a_ratio_of_mean_distances():
    """Constant images of known greys: pairs of 0, 0.3, 0.9 are 0.6 apart on average, of -1, 1 they are 2."""
    fake = torch.tensor([0.0, 0.3, 0.9]).view(3, 1, 1, 1).expand(3, 3, 40, 24)
    real = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 40, 24)
    assert batch_diversity(fake, real).item() == pytest.approx(0.6 / 2, rel=1e-4)
    assert batch_diversity(real, real).item() == 1
    assert batch_diversity(fake[:1].expand(5, -1, -1, -1), real).item() == pytest.approx(0, abs=1e-5)
    assert batch_diversity(fake[:1], real).item() == 1
    assert batch_diversity(fake.bfloat16().requires_grad_(), real).requires_grad is False


def test_batch_diversity_of_small_images_and_large_batches():
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = copy.deepcopy(images)
    other[64:] = 0  # beyond what is compared
    assert batch_diversity(other, images).item() == pytest.approx(1)
    assert batch_diversity(images, images / 2).item() == pytest.approx(2, rel=1e-4)


def test_batch_duplicates_counts_images_with_a_twin():
    images = torch.rand(10, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert batch_duplicates(images).item() == 0
    images[4] = images[7] + 0.015
    images[2] = images[8] + 0.03  # too far
    assert batch_duplicates(images).item() == pytest.approx(2 / 10)
    images[1] = images[4]
    assert batch_duplicates(images).item() == pytest.approx(3 / 10)
    assert batch_duplicates(images[:1]).item() == 0


def test_each_of_two_critics_is_watched(watched, monkeypatch):
    """CycleGAN's: one wins and loses again, the other never does; the remedies are settings that it has."""
    monkeypatch.delattr(Scripted, "label_smoothing")
    beaten = {f"{name}_b": value for name, value in BALANCED.items() if "grad" not in name}
    won = {f"{name}_a": value for name, value in WON.items() if "grad" not in name}
    well = {f"{name}_a": value for name, value in BALANCED.items() if "grad" not in name}
    health, _ = watched([{**well, **beaten}, *[{**won, **beaten}] * 3, {**well, **beaten}], patience=2)
    told, right = health.warnings
    assert told.startswith("The discriminator of A has won: it recognises 99.5% of the real and 100.0%")
    assert "mean logits 9 and -11.5" in told and "model.penalties.r1=5" in told and "label_smoothing" not in told
    assert right.startswith("The generator deceives the discriminator again")
    health, _ = watched([{**well, **{f"{name}_b": value for name, value in WON.items()}}] * 3, patience=2)
    assert health.warnings[0].startswith("The discriminator of B has won")
