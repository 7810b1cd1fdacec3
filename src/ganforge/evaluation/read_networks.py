"""Networks as they were read from generated pictures, drawn with what is doubtful of them and with their mechanics."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ganforge.errors import UserError
from ganforge.lattice import Network, score_bonds
from ganforge.lattice.mechanics import analyse, springs_of, zero_modes
from ganforge.lattice.probability import Candidates
from ganforge.lattice.rigidity import EXACT
from ganforge.lattice.show import picture

SIDE = 640  # px


@dataclass(frozen=True, eq=False)
class ReadNetwork:
    """A network of the test as it was read, and as it is; candidates: None where there are no probabilities."""

    true: Network
    found: Network
    candidates: Candidates | None

    def draw(self) -> tuple[Image.Image, str]:
        """RGB, with doubtful pairs in colour and the softest mode as arrows, and what it shows in words.

        Raises UserError for a network whose mechanics cannot be counted.
        """
        softest = analyse(self.found, modes=1)
        score = score_bonds(self.true.bonds, self.found.bonds)
        said = [f"{len(self.found.bonds)} bonds read, {score.fn} missing, {score.fp} false"]
        if self.candidates is not None:
            doubtful, bonds = self.candidates.is_doubtful, self.candidates.is_bond
            said.append(f"{(doubtful & bonds).sum()} doubtful (orange), {(doubtful & ~bonds).sum()} further pairs that "
                        "may be bonds (blue)")  # fmt: skip
        said.append(f"zero modes beyond rigid motions: {softest.zero_modes} (truly {_counted(self.true)})")
        if len(softest.modes):
            frequency = softest.frequencies[0]
            said.append(f"arrows: the softest, of frequency {frequency if frequency > EXACT else 0:.2g}")
        mode = softest.modes[0] if len(softest.modes) else None
        return picture(springs_of(self.found), mode, self.candidates, side=SIDE), "; ".join(said)


def _counted(network: Network) -> str:
    try:
        return str(zero_modes(network))
    except UserError:
        return "not counted"


def of_pairs(true: Network, pairs: np.ndarray, probabilities: np.ndarray) -> ReadNetwork:
    """What `ganforge predict` reads: pairs that are more likely bonds than not, by calibrated probabilities."""
    candidates = Candidates(pairs, probabilities, calibrated=True)
    return ReadNetwork(true, Network(true.sites, pairs[candidates.is_bond]), candidates)
