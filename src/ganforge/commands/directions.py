"""What the test sets of a checkpoint are translated by, and how their pictures are shown."""

from torch import Tensor

from ganforge.data.module import DataModule
from ganforge.evaluation.partners import source_of
from ganforge.evaluation.worst import MOST
from ganforge.runs.generators import Generator, load_generator

WORST = 8


def most_cases(generator: Generator) -> int:
    """How many of the worst pictures the run kept; a run of an earlier version does not say."""
    evaluation = generator.card["config"].get("evaluation")
    asked = evaluation.get("worst", WORST) if isinstance(evaluation, dict) else None
    return asked if isinstance(asked, int) and 0 <= asked <= MOST else 0


def by_test_set(generator: Generator, data: DataModule) -> dict[str, Generator]:
    """The generator of each test set: the first output's "test", and of unpaired data one that has an output's name."""
    others = [name for name in data.test_names if name in generator.card["outputs"]]
    return {"test": generator} | {name: load_generator(generator.path, name) for name in others}


def other(generators: dict[str, Generator], name: str) -> Generator | None:
    """The generator of the way back, where there are two ways."""
    return next((own for other, own in generators.items() if other != name), None) if len(generators) == 2 else None


def shown(data: DataModule, batch: dict[str, Tensor], generated: Tensor, rows: Tensor) -> dict[str, Tensor]:
    """Rows of a batch for `WorstCases`."""
    batch, generated = data.compared(batch, generated)
    columns = {"source": data.view("source", source_of(batch)[rows]), "result": data.view("target", generated[rows])}
    if "back" in batch:
        columns["round trip"] = batch["back"][rows]
    return {**columns, "target": data.view("target", batch["target"][rows])} if "target" in batch else columns
