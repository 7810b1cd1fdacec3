"""ganforge: experiment management for GANs on PyTorch Lightning and Hydra.

From Python: `train`, `load` and `compose`; see `ganforge.api`. Nothing heavy is imported before one of them is used.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganforge.api import Run, compose, load, train
    from ganforge.errors import UserError

__all__ = ["Run", "UserError", "compose", "load", "train"]
__version__ = "0.1.0"

CONF = Path(__file__).parent / "conf"  # in a clone a link

# Before torch is loaded: OpenMP threads that spin while they wait lose up to ten times the speed where another process
# (a data worker, a neighbour on a shared machine) wants the core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ganforge import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
