"""trainer.compile: the same training through torch.compile, and what it cannot do is said."""

import pytest
import torch

from conftest import overrides_for, overrides_for_model
from ganforge.experiment import run
from ganforge.runs import checkpoint

ARGUMENTS = ["model.penalties.r1=0.5", "trainer.precision=32", "data.n_val=4", "data.n_test=4"]


@pytest.mark.slow
def test_a_compiled_training_computes_the_same(configured, folders, tmp_path, capsys):
    states = []
    for compiled in ("false", "true"):
        arguments = [*overrides_for_model("gan"), *overrides_for("image_folder", folders), *ARGUMENTS]
        run(configured([*arguments, f"trainer.compile={compiled}"], compiled))
        states.append(checkpoint.load(tmp_path / compiled / "checkpoints/last.ckpt")["state_dict"])
    said = capsys.readouterr().out
    assert "the discriminator runs as it is, because its gradients are differentiated" in said
    assert "trainer.compile: 1 graphs of 1 functions compiled" in said
    plain, made = states
    assert plain.keys() == made.keys()
    for name, value in plain.items():
        assert torch.allclose(value.float(), made[name].float(), atol=1e-4), name


def test_what_is_no_choice_is_said(configured):
    with pytest.raises(Exception, match=r"trainer\.compile=yes_please: true or false"):
        run(configured(["trainer.compile=yes_please"]))
