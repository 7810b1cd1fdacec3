"""Reads a drawn network back: where the dots are, and which of them are joined by a line.

This is the ruler that generated pictures are measured with, so it looks for lines and not for darkness: a bond is a
ridge, darker than the paper on both of its sides, that runs from dot to dot without a gap and past no third dot.
"""

import numpy as np

from ganforge.errors import require
from ganforge.lattice.bonds import lines_between
from ganforge.lattice.ink import page_of
from ganforge.lattice.network import Network
from ganforge.lattice.sites import anchored, dots


def read(drawn: np.ndarray, sites: np.ndarray | None = None, lattice: str = "") -> Network:
    """The network in a picture, in pixels (x right, y down, pixel centres at +0.5).

    drawn: (H, W) uint8, dark dots and lines on light paper. sites: (N, 2) in pixels where they are known; then only
    the bonds are read, else the sites are found as well (`find_sites`). lattice: name to give the network.
    Raises UserError for any other picture or sites.
    """
    page = page_of(drawn)
    if sites is None:
        sites, bonds = dots(page)
    else:
        sites = np.asarray(sites, dtype=np.float64)
        require(
            sites.ndim == 2 and sites.shape[1] == 2 and bool(np.isfinite(sites).all()),
            f"sites has shape {sites.shape}; accepted is (N, 2) of finite pixels.",
        )
        bonds = lines_between(page, *anchored(page, sites)).bonds
    return Network(sites, bonds, lattice)


def find_sites(drawn: np.ndarray) -> np.ndarray:
    """(N, 2) float64 centres of the dots in px, of a picture as `read` takes it, with lines or without."""
    if np.ndim(drawn) == 3:
        drawn = np.asarray(drawn)[..., 0]
    return dots(page_of(drawn))[0]
