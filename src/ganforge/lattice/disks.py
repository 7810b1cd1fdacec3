"""Marks that touch each other, as disks of one radius that together are all the ink there is.

Where marks touch, a blob that stands out may be a mark, the gap between three or half a patch. So several guesses are
put to the test: each is a set of disks that is fitted to the ink, loses those that explain none and gains one where
ink is left over; what remains unexplained says which guess is right, and whether the marks are disks at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

ALL_INK = 0.1  # of the ink, what disks may leave unexplained that are all of it; where lines join them it is 0.14
GOOD = 0.05  # the same, of a guess after which no other is looked for
HOPELESS = 0.3  # the same, of a guess that is not looked at any further
REFINED = 4  # guesses, the best of all, that are fitted
ROUNDS = 4  # of fitting, losing and gaining
STEPS = 4  # of Gauss-Newton
RIMS = (1.0, 1.5, 2.0)  # px over which a disk's ink falls to none
RADII = np.linspace(0.6, 1.6, 41)  # of the guess
ENOUGH = 4000  # pixels that the radius is fitted to
LEAST_GAIN = 0.3  # of a disk's area, that it explains alone
LEAST_REST = 0.3  # of full ink, in the middle of what is left over
LEAST_SHARED = 0.6  # of what a disk or the ink around it covers, what both do
MOST_OF_DISKS, LEAST_OTHER = 0.2, 0.5  # of a mark's ink, what a disk of its area leaves unexplained
APART = 1.6  # radii between two disks, at least: closer ones would do for a line


@dataclass(frozen=True)
class Disks:
    """sites: (N, 2) in px. radius, rim: px. miss: share of the ink that they leave unexplained, or make up."""

    sites: np.ndarray
    radius: float
    rim: float
    miss: float


class Pixels:
    """The pixels of (H, W) ink that disks may explain."""

    def __init__(self, ink: np.ndarray):
        self.shape = ink.shape
        self.row, self.column = np.nonzero(binary_dilation(ink > 0.1, np.ones((3, 3)), 2))
        self.places = np.stack([self.column, self.row], axis=1) + 0.5
        self.ink = ink[self.row, self.column].clip(0, 1)

    def fitted(self, sites: np.ndarray, radius: float) -> Disks:
        """Disks at these sites of the radius, about that one, which explains the ink best."""
        step = max(1, len(self.ink) // ENOUGH)
        ink, away = self.ink[::step], cKDTree(sites).query(self.places[::step])[0]
        total = max(float(ink.sum()), 1e-6)
        miss, best, rim = min(
            (float(np.abs(ink - cover(away, r, rim)).sum()) / total, r, rim) for rim in RIMS for r in radius * RADII
        )
        return Disks(sites, best, rim, miss)

    def refined(self, disks: Disks) -> Disks:
        """Disks moved, left out and added until they explain the ink as well as they may."""
        for _ in range(ROUNDS):
            moved = self.lost(self.moved(disks))
            gained = self.gained(moved)
            disks = self.fitted(gained, moved.radius)
            if len(gained) == len(moved.sites):
                break
        return disks

    def moved(self, disks: Disks) -> Disks:
        """Least squares over the sites; each pixel is explained by the disk that is nearest."""
        sites, radius, rim = disks.sites, disks.radius, disks.rim
        for _ in range(STEPS):
            away, owner = cKDTree(sites).query(self.places)
            miss = self.ink - cover(away, radius, rim)
            on_rim = np.abs(radius - away) < rim / 2 + 0.5
            slope = (self.places - sites[owner]) * (on_rim / rim / np.maximum(away, 1e-6))[:, None]
            columns = [slope[:, 0] ** 2, slope[:, 0] * slope[:, 1], slope[:, 1] ** 2, *(slope * miss[:, None]).T]
            xx, xy, yy, bx, by = (np.bincount(owner, column, len(sites)) for column in columns)
            xx, yy = xx + 0.3, yy + 0.3  # where no rim tells, stay
            shift = np.stack([yy * bx - xy * by, xx * by - xy * bx], axis=1) / (xx * yy - xy * xy)[:, None]
            sites = sites + np.clip(shift, -1, 1)
        return Disks(sites, radius, rim, disks.miss)

    def lost(self, disks: Disks) -> Disks:
        """Without those that explain little alone; of some near each other the least one goes first."""
        sites = disks.sites
        while len(sites) > 2:
            away, owner = cKDTree(sites).query(self.places, k=2)
            without, now = (np.abs(self.ink - cover(away[:, k], disks.radius, disks.rim)) for k in (1, 0))
            gain = np.bincount(owner[:, 0], without - now, len(sites)) / (np.pi * disks.radius**2)
            near = cKDTree(sites).query_ball_point(sites, 2 * disks.radius)
            keep = np.array(
                [gain[one] > LEAST_GAIN or gain[one] > gain[others].min() for one, others in enumerate(near)]
            )
            if keep.all() or keep.sum() < 2:
                break
            sites = sites[keep]
        return Disks(sites, disks.radius, disks.rim, disks.miss)

    def told(self, disks: Disks) -> Disks:
        """Without those that share too little with the ink there, where most are disks: letters, pieces of lines."""
        away, owner = cKDTree(disks.sites).query(self.places)
        own = cover(away, disks.radius, disks.rim)
        shared, all_of = (np.bincount(owner, of(self.ink, own), len(disks.sites)) for of in (np.minimum, np.maximum))
        return replace(disks, sites=disks.sites[shared > LEAST_SHARED * all_of])

    def gained(self, disks: Disks) -> np.ndarray:
        """(N, 2) its sites, and one more wherever the middle of a disk is left over."""
        rest = np.zeros(self.shape)
        rest[self.row, self.column] = self.ink - cover(
            cKDTree(disks.sites).query(self.places)[0], disks.radius, disks.rim
        )
        rest = gaussian_filter(rest, disks.radius / 2)
        row, column = np.nonzero((rest >= maximum_filter(rest, 2 * int(disks.radius) + 1)) & (rest > LEAST_REST))
        return np.concatenate([disks.sites, np.stack([column, row], axis=1) + 0.5])


def are_others(ink: np.ndarray, sites: np.ndarray, radius: float) -> np.ndarray:
    """(N,) what are no marks where most marks are disks, of any radius about this one: letters."""
    pixels = Pixels(ink)
    away, owner = cKDTree(sites).query(pixels.places)
    near = away < 1.5 * radius
    away, owner, ink = away[near], owner[near], pixels.ink[near]
    mass = np.maximum(np.bincount(owner, ink, len(sites)), 1e-6)
    own = cover(away, np.sqrt(mass / np.pi)[owner], RIMS[0])
    miss = np.bincount(owner, np.abs(ink - own), len(sites)) / mass
    return (miss > LEAST_OTHER) & (np.median(miss) < MOST_OF_DISKS)


def cover(away: np.ndarray, radius: float, rim: float) -> np.ndarray:
    """Ink at a distance from the middle of a disk."""
    return np.clip((radius - away) / rim + 0.5, 0, 1)


def disks_of(ink: np.ndarray, guesses: Iterable[tuple[np.ndarray, float]]) -> Disks | None:
    """The disks that are all of (H, W) ink, from guesses (sites (N, 2) in px, radius); None where none are."""
    pixels = Pixels(ink)
    found = sorted((pixels.fitted(*guess) for guess in guesses if len(guess[0]) > 1), key=lambda disks: disks.miss)
    best = None
    for guess in found[:REFINED]:
        if guess.miss > HOPELESS:
            break
        disks = pixels.refined(guess)
        if best is None or disks.miss < best.miss:
            best = disks
        if best.miss < GOOD:
            break
    if best is None or best.miss > ALL_INK:
        return None
    best = pixels.told(best)
    if len(best.sites) < 2:
        return None
    apart = cKDTree(best.sites).query(best.sites, k=2)[0][:, 1]
    return best if np.quantile(apart, 0.2) > APART * best.radius else None
