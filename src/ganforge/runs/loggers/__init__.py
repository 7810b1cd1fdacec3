"""Where the rows of a run go, also when the run goes on after it was stopped. Only rank 0 writes."""

from ganforge.runs.loggers.media import MediaLogger
from ganforge.runs.loggers.rows import RunCSV
from ganforge.runs.loggers.tensorboard import RunTensorBoard
from ganforge.runs.loggers.wandb import RunWandB, ending

__all__ = ["MediaLogger", "RunCSV", "RunTensorBoard", "RunWandB", "ending"]
