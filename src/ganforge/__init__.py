"""ganforge: experiment management for GANs on PyTorch Lightning and Hydra."""

import os
from pathlib import Path

__version__ = "0.1.0"

CONF = Path(__file__).parent / "conf"  # in a clone a link

# Before torch is loaded: OpenMP threads that spin while they wait lose up to ten times the speed where another process
# (a data worker, a neighbour on a shared machine) wants the core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
