"""What a training says while it goes on: a bar in a terminal, lines in a file."""

import re

import pytest

from ganforge.experiment import run

TINY = [
    "model.generator.base_channels=4", "model.discriminator.base_channels=4", "data.size=32", "data.shifted=null",
    "data.cells=[2,2]", "data.n_train=16", "data.n_val=4", "data.n_test=4", "data.num_workers=0",
    "trainer.max_epochs=2", "trainer.log_every_n_steps=1",
]  # fmt: skip


@pytest.mark.slow
def test_a_log_file_holds_a_line_an_interval(configured, capfd):
    run(configured([*TINY, "callbacks.progress.seconds=0"]))
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("epoch ")]
    batches = 2 * 16 // 8
    assert len(lines) == batches + 2  # and after each validation
    for line in lines:
        assert re.fullmatch(r"epoch [12] of 2, [\d,]+ images, img/s [\d.]+, left (\d+:)?\d+:\d\d, .*g/l1 .*", line)
    assert "left 0:00" in lines[-1] and "val/bond_f1" in lines[-1]


@pytest.mark.slow
def test_a_terminal_shows_a_bar_with_what_is_left(configured, capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    run(configured([*TINY, "callbacks.progress.refresh_rate=1"]))
    shown = capfd.readouterr()
    assert "epoch 1 of 2" not in shown.err
    assert re.search(r"Epoch 1: 100%.*img/s=[\d.]+, left=\d+:\d\d", shown.err + shown.out)
