"""What happens around the training: evaluation, sample grids, progress, a clean end."""

from ganforge.callbacks.evaluation import Evaluation
from ganforge.callbacks.grids import SampleGrid
from ganforge.callbacks.health import Health
from ganforge.callbacks.interrupt import Interrupt, Interrupted
from ganforge.callbacks.progress import Progress

__all__ = ["Evaluation", "Health", "Interrupt", "Interrupted", "Progress", "SampleGrid"]
