"""What several runs make of the same latents or the same pictures, for a page that shows them beside each other."""

from collections.abc import Sequence

import numpy as np

from ganforge.errors import UserError
from ganforge.files import untrusted
from ganforge.report.side import MOST_PICTURES
from ganforge.runs.folder import Run

SEED = 0  # of the latents
CHECKPOINTS = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")


def draw(runs: Sequence[Run], sources: Sequence[np.ndarray] | None) -> list[list[np.ndarray] | str]:
    """Of each run its pictures, uint8 (H, W, C), or a sentence why there are none.

    sources: pictures to translate, uint8 (H, W, 3); None: pictures of the latents 0, 1, ... of seed 0.
    """
    return [_drawn(run, sources) for run in runs]


def _drawn(run: Run, sources: Sequence[np.ndarray] | None) -> list[np.ndarray] | str:
    if not any(untrusted.is_file(run.folder, name) for name in CHECKPOINTS):
        return "its checkpoint is no longer there"
    from ganforge import api

    try:
        model = api.load(run.folder)
        if sources is None:
            return list(model.sample(MOST_PICTURES, seed=SEED))
        return [model.translate(source, as_drawn=True) for source in sources]
    except UserError as error:
        return str(error)
    except Exception as error:  # a checkpoint of someone else, on which the page does not depend
        return f"it could not be drawn ({untrusted.first_line(error)})"
