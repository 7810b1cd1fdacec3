"""Reads a drawn network back: where the dots are, and which of them are joined by a line.

This is the ruler that generated pictures are measured with, so it looks for lines and not for darkness: a bond is a
ridge, darker than the paper on both of its sides, that runs from dot to dot without a gap and past no third dot.
"""

import numpy as np

from ganforge.errors import require
from ganforge.lattice.bonds import lines_between
from ganforge.lattice.draw import grey
from ganforge.lattice.ink import SMALLEST, page_of
from ganforge.lattice.marks import marks, may_be_joined
from ganforge.lattice.network import Network
from ganforge.lattice.paper import frame_of, ink_of
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
    """(N, 2) float64 centres of the marks in px: dots, rings, squares or crosses, of whatever colour on whatever paper.

    drawn: uint8 (H, W), or (H, W, C) in colour. Where marks are joined by lines it has to be a picture as `read` takes.
    """
    drawn = np.asarray(drawn)
    require(
        drawn.ndim in (2, 3) and drawn.dtype == np.uint8 and min(drawn.shape[:2]) >= SMALLEST,
        f"drawn has shape {drawn.shape} and type {drawn.dtype}; accepted is (H, W) or (H, W, C) uint8 of at least "
        f"{SMALLEST} x {SMALLEST} px.",
    )
    frame = frame_of(drawn)
    if frame and min(drawn.shape[:2]) - 2 * frame >= SMALLEST:
        return _sites_of(drawn[frame:-frame, frame:-frame]) + frame
    return _sites_of(drawn)


def _sites_of(drawn: np.ndarray) -> np.ndarray:
    ink = ink_of(drawn)
    if ink is None:
        return np.zeros((0, 2))
    found, are_all = marks(ink)
    if not are_all and may_be_joined(ink):
        sites, bonds = dots(page_of(grey(ink.clip(0, 1))))
        if len(bonds) > len(sites) / 2:
            return sites
    return found


def find_dots(drawn: np.ndarray) -> np.ndarray:
    """(N, 2) centres of the dots in px of a picture as `read` takes it, with lines or without."""
    return dots(page_of(drawn))[0]
