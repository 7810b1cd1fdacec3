"""The rooms of src/ganforge: which of them know each other, what they load, and that a file can be read in one go."""

import ast
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
        ("ganforge.app.pages", ["torch", "hydra", "scipy", "pandas"]),
        ("ganforge.runs.checkpoint", ["torch"]),
    ],
)
def test_what_is_asked_for_often_loads_little(module, heavy):
    if module.startswith("ganforge.app"):
        pytest.importorskip("streamlit", reason="the extra app is not installed")
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def imported(file: Path) -> set[str]:
    """The rooms (or files beside them) that a file imports when it is loaded."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module == "ganforge":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganforge."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ganforge.")}
    return names


def test_no_room_needs_another_one_that_needs_it():
    needs: dict[str, set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        needs.setdefault(room, set()).update(imported(file) - {room})

    def reached(room: str) -> set[str]:
        found, new = set(), {room}
        while new:
            new = set().union(*(needs.get(one, set()) for one in new)) - found
            found |= new
        return found

    assert len(needs) > 10
    assert [room for room in needs if room in reached(room)] == []
    assert not any("pytorch_lightning" in file.read_text() for file in (SOURCE / "networks").glob("*.py"))
    torch_free = [file for file in (SOURCE / "lattice").glob("*.py") if "import torch" in file.read_text()]
    assert torch_free == [] and needs["lattice"] == {"errors"}


def test_every_file_can_be_read_in_one_go():
    lengths = {file.relative_to(SOURCE): len(file.read_text().splitlines()) for file in SOURCE.rglob("*.py")}
    assert {file: length for file, length in lengths.items() if length > 350} == {}
