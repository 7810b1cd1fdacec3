"""The rooms of src/ganforge: what each may load, and that a file is short enough to be read."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/ganforge"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("ganforge.networks", ["pytorch_lightning", "hydra", "scipy", "torchvision"]),
        ("ganforge.commands.sample", ["pytorch_lightning", "hydra", "optuna", "scipy", "torchvision", "torchmetrics"]),
        ("ganforge.commands.predict", ["pytorch_lightning", "hydra", "optuna", "scipy", "torchvision", "torchmetrics"]),
        ("ganforge.lattice", ["torch", "pytorch_lightning", "hydra"]),
        ("ganforge.runs.preflight", ["torch", "pytorch_lightning", "optuna"]),
        ("ganforge.cli", ["torch", "hydra"]),
    ],
)
def test_what_is_asked_for_often_loads_little(module, heavy):
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
