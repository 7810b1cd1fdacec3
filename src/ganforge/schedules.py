"""Learning rate schedules: pure functions of the share of a training that is done.

A schedule has no state, so a resumed training continues at the rate where it stopped, and a longer one is stretched.
"""

from collections.abc import Callable

from ganforge.errors import require

Schedule = Callable[[float], float]


class ConstantThenLinear:
    """1 until `decay_from` (a share of the training), then linear to 0 (pix2pix: 0.5); None: 1 throughout."""

    def __init__(self, *, decay_from: float | None = 0.5):
        require(
            decay_from is None or 0 <= decay_from < 1,
            f"model.schedule_g.decay_from={decay_from}: a share in [0, 1), or null for a constant rate",
        )
        self.decay_from = decay_from

    def __call__(self, progress: float) -> float:
        if self.decay_from is None:
            return 1.0
        return min(1.0, max(0.0, (1 - progress) / (1 - self.decay_from)))
