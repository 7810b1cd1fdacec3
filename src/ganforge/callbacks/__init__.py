"""What happens around the training: evaluation, sample grids, progress, a clean end."""

from ganforge.callbacks.dashboard import Dashboard
from ganforge.callbacks.evaluation import Evaluation
from ganforge.callbacks.grids import SampleGrid
from ganforge.callbacks.health import Health
from ganforge.callbacks.interrupt import Interrupt, Interrupted
from ganforge.callbacks.progress import Progress, Speed
from ganforge.callbacks.pruning import Pruning
from ganforge.callbacks.run_checkpoint import RunCheckpoint

__all__ = [
    "Dashboard",
    "Evaluation",
    "Health",
    "Interrupt",
    "Interrupted",
    "Progress",
    "Pruning",
    "RunCheckpoint",
    "SampleGrid",
    "Speed",
]
