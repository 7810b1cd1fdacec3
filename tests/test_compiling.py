"""trainer.compile: the same training through torch.compile, and what it cannot do is said."""

import csv

import pytest

from conftest import overrides_for, overrides_for_model
from ganforge.experiment import run
from ganforge.runs import checkpoint

ARGUMENTS = [
    "model.penalties.r1=0.5",
    "trainer.precision=32",
    "trainer.log_every_n_steps=1",
    "data.n_train=8",
    "data.n_val=4",
    "data.n_test=4",
]


@pytest.mark.slow
def test_a_compiled_training_computes_the_same(configured, folders, tmp_path, capsys):
    rows, states = [], []
    for compiled in ("false", "true"):
        arguments = [*overrides_for_model("gan"), *overrides_for("image_folder", folders), *ARGUMENTS]
        run(configured([*arguments, f"trainer.compile={compiled}"], compiled))
        states.append(checkpoint.load(tmp_path / compiled / "checkpoints/last.ckpt")["state_dict"])
        written = csv.DictReader((tmp_path / compiled / "metrics.csv").open())
        rows.append([row for row in written if row["train/d/adv"]])
    said = capsys.readouterr().out
    assert "the discriminator runs as it is, because its gradients are differentiated" in said
    assert "trainer.compile: 1 graphs of 1 functions compiled" in said
    assert states[0].keys() == states[1].keys()
    # Not the weights: Adam makes full steps of gradients that are rounding alone, as those of a bias before a norm.
    assert len(rows[0]) == len(rows[1]) > 1
    for plain, made in zip(*rows, strict=True):
        for name in ("train/d/adv", "train/d/r1", "train/g/adv"):
            assert float(made[name]) == pytest.approx(float(plain[name]), rel=1e-2), name


def test_what_is_no_choice_is_said(configured):
    with pytest.raises(Exception, match=r"trainer\.compile=yes_please: true or false"):
        run(configured(["trainer.compile=yes_please"]))
