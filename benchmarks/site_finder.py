"""How well `find_sites` finds the sites of other people's pictures: recall, precision and error by kind of picture.

    python benchmarks/site_finder.py [--pictures 40] [--only jpeg]

Pictures of 256 px of disordered networks of the lattices of the table, drawn with eight times as many pixels a side and
averaged, or, hard, not averaged at all; then damaged. A site is found where a mark is within 2 px, one to one. Printed
are recall, precision, mean and 99th percentile of the distance in px, and the slowest picture.
"""

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from ganforge.lattice import LATTICES, disorder, find_sites, match_sites, patch

SIZE = 256
FINE = 8  # pixels of the drawing in one of the picture, a side
FAR = 2.0  # px


def sites_of(rng: np.random.Generator, apart: float, margin: float, touching: bool) -> np.ndarray:
    """Sites in px, the nearest two `apart`, or farther unless they are touching."""
    while True:
        name = list(LATTICES)[rng.integers(len(LATTICES))]  # of large cells no patch may fit at all
        network = disorder(patch(name, tuple(rng.integers(3, 9, size=2))), rng.uniform(0, 0.12), rng)
        away = np.linalg.norm(network.sites[:, None] - network.sites, axis=2)
        np.fill_diagonal(away, np.inf)
        span = np.ptp(network.sites, axis=0).max()
        most, least = (SIZE - 2 * margin) / span, apart / away.min()
        if least <= most:
            factor = least if touching else rng.uniform(least, most)
            sites = (network.sites - network.sites.min(axis=0)) * factor
            return sites + margin + rng.uniform(0, 1, 2) * (SIZE - 2 * margin - np.ptp(sites, axis=0))


def mark(dx: np.ndarray, dy: np.ndarray, radius: float, shape: str) -> np.ndarray:
    """Where a mark around (0, 0) is drawn."""
    if shape == "square":
        return np.maximum(np.abs(dx), np.abs(dy)) <= 0.9 * radius
    if shape == "cross":
        arm = np.minimum(np.abs(dx), np.abs(dy)) <= max(0.25 * radius, 0.6)
        return arm & (np.maximum(np.abs(dx), np.abs(dy)) <= radius)
    away = np.hypot(dx, dy)
    return (away <= radius) & ((away >= radius - max(0.3 * radius, 1.0)) | (shape != "ring"))


def coverage(sites: np.ndarray, radius: float, shape: str = "dot", hard: bool = False) -> np.ndarray:
    """(SIZE, SIZE) share of each pixel that marks cover."""
    fine = 1 if hard else FINE
    page = np.zeros((SIZE * fine, SIZE * fine), bool)
    for x, y in sites * fine:
        reach = int((radius + 1) * fine) + 1
        left, top = max(int(x) - reach, 0), max(int(y) - reach, 0)
        part = page[top : int(y) + reach + 1, left : int(x) + reach + 1]
        row, column = np.indices(part.shape)
        part |= mark((left + column + 0.5 - x) / fine, (top + row + 0.5 - y) / fine, radius, shape)
    return page.reshape(SIZE, fine, SIZE, fine).mean(axis=(1, 3))


def toned(ink: np.ndarray, paper=255.0, black=0.0) -> np.ndarray:
    return (np.asarray(paper) * (1 - ink) + np.asarray(black) * ink).clip(0, 255)


def grey(levels: np.ndarray) -> np.ndarray:
    return np.rint(levels.clip(0, 255)).astype(np.uint8)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def light(rng: np.random.Generator, depth: float) -> np.ndarray:
    """Smooth light, 1 at its brightest: a slope and a darker rim."""
    y, x = np.indices((SIZE, SIZE)) / SIZE - 0.5
    slope, angle = rng.uniform(0.5, 1) * depth, rng.uniform(0, 2 * np.pi)
    shade = 1 - slope * (0.5 + x * np.cos(angle) + y * np.sin(angle)) / 1.2 - depth * (x**2 + y**2)
    return shade / shade.max()


def photograph(ink: np.ndarray, sites: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A print seen from aside in uneven light, slightly out of focus, with noise, as JPEG; and where its sites are."""
    corners = np.array([[0, 0], [SIZE, 0], [SIZE, SIZE], [0, SIZE]], float)
    moved = corners + np.sign(SIZE / 2 - corners) * rng.uniform(0, 0.1, (4, 2)) * SIZE  # inwards
    rows = []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]]
    system = np.array(rows)
    matrix = np.append(np.linalg.solve(system[:, :8], system[:, 8]), 1).reshape(3, 3)
    back = np.linalg.inv(matrix)
    back /= back[2, 2]
    page = Image.fromarray(grey(toned(ink, 245, 30)))
    seen = page.transform(
        (SIZE, SIZE), Image.Transform.PERSPECTIVE, back.ravel()[:8], Image.Resampling.BICUBIC, fillcolor=245
    )
    levels = gaussian_filter(np.asarray(seen, float), 0.6) * light(rng, 0.4) * 0.95
    picture = jpeg(grey(levels + rng.normal(0, 4, levels.shape)), 85)
    at = np.concatenate([sites, np.ones((len(sites), 1))], axis=1) @ matrix.T
    return picture, at[:, :2] / at[:, 2:]


Kind = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def kinds() -> dict[str, Kind]:
    """What draws a picture and says where its sites are, by name."""

    def plain(radius=(1.2, 8.0), shape="dot", hard=False, touching=False, change=None) -> Kind:
        def make(rng):
            r = rng.uniform(*radius) if isinstance(radius, tuple) else radius
            apart = rng.uniform(1.9, 2.0) * r if touching else 2 * r + 3
            sites = sites_of(rng, apart, max(4.0, r + 2), touching)
            ink = coverage(sites, r, shape, hard)
            if change is photograph:
                return photograph(ink, sites, rng)
            return (grey(toned(ink)) if change is None else change(ink, rng)), sites

        return make

    def coloured(ink, rng):
        return grey(toned(ink[..., None], 255, rng.uniform(0, 200, 3) * (np.arange(3) != rng.integers(3))))

    def noisy(ink, rng):
        levels = gaussian_filter(toned(ink, rng.uniform(215, 245), rng.uniform(20, 60)), 0.5)
        return grey(levels + rng.normal(0, 12, levels.shape))

    def worn(quality):
        return lambda ink, rng: jpeg(grey(toned(ink)), quality)

    found = {f"radius {r}": plain(r) for r in (1.2, 1.7, 2.8, 3.6, 4.4, 6.0, 8.0)}
    found |= {f"hard {r}": plain(r, hard=True) for r in (1.2, 1.7, 2.8, 4.4, 8.0)}
    found["touching"] = plain((2.5, 8.0), touching=True)
    found |= {f"{shape}s": plain((2.5, 8.0), shape) for shape in ("ring", "square")}
    found["crosses"] = plain((3.0, 8.0), "cross")
    found["coloured"] = plain(change=coloured)
    found["light on dark"] = plain(change=lambda ink, rng: grey(toned(ink, rng.uniform(0, 60), rng.uniform(190, 255))))
    found["grey paper"] = plain(change=lambda ink, rng: grey(toned(ink, rng.uniform(120, 200), rng.uniform(0, 50))))
    found["uneven paper"] = plain(change=lambda ink, rng: grey(toned(ink, 240, 25) * light(rng, 0.5)))
    found["scanned"] = plain(change=noisy)
    found |= {f"jpeg {quality}": plain(change=worn(quality)) for quality in (30, 50, 70, 95)}
    found["photograph"] = plain((1.5, 8.0), change=photograph)
    found["photograph of rings"] = plain((3.0, 8.0), "ring", change=photograph)
    return found


def measured(make: Kind, pictures: int, seed: int = 0) -> dict[str, float]:
    hits = true = found = 0
    shifts, slowest = [], 0.0
    for index in range(pictures):
        picture, sites = make(np.random.default_rng([seed, index]))
        begun = time.perf_counter()
        seen = find_sites(picture)
        slowest = max(slowest, time.perf_counter() - begun)
        pairs = match_sites(seen, sites, FAR).pairs
        hits, true, found = hits + len(pairs), true + len(sites), found + len(seen)
        shifts.append(np.linalg.norm(seen[pairs[:, 0]] - sites[pairs[:, 1]], axis=1))
    shift = np.concatenate(shifts)
    return {
        "recall": hits / max(true, 1),
        "precision": hits / max(found, 1),
        "mean": float(shift.mean()) if len(shift) else np.nan,
        "99 %": float(np.quantile(shift, 0.99)) if len(shift) else np.nan,
        "seconds": slowest,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40, help="of each kind (default %(default)s)")
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    options = parser.parse_args()
    print(f"{'picture':22} {'recall':>8} {'precision':>9} {'mean px':>8} {'99 % px':>8} {'s':>6}")
    for name, make in kinds().items():
        if options.only in name:
            row = measured(make, options.pictures)
            print(
                f"{name:22} {row['recall']:8.4f} {row['precision']:9.4f} {row['mean']:8.3f} {row['99 %']:8.3f} "
                f"{row['seconds']:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
