"""Networks as pictures for people: bonds, doubtful ones in colour, and a mode as arrows."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganforge.lattice.probability import Candidates
from ganforge.lattice.rigidity import Springs

SIDE = 1200  # px, longer side of a picture
FINER = 2  # drawn so many times larger, then averaged
LONGEST_ARROW = 0.9  # of the mean bond
BOND, SITE, PINNED, ARROW = "#9a9a9a", "#222222", "#1f77b4", "#d62728"
DOUBTFUL_BOND, DOUBTFUL_PAIR = (230, 110, 0), (40, 110, 220)  # orange: more likely a bond than not; blue: less


def picture(
    springs: Springs,
    mode: np.ndarray | None = None,
    candidates: Candidates | None = None,
    *,
    side: int = SIDE,
    window: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """The network, y pointing down as in pixels, in RGB.

    mode: (N, 2) displacements, drawn as arrows, the longest nearly as long as a bond. candidates: pairs of its sites;
    the doubtful ones are coloured, with their probability beside them. side: px, the longer one. window: left, top,
    right and bottom of what is shown, in the unit of the sites; None: all sites.
    """
    network = springs.network
    length = float(springs.lengths.mean()) if len(springs.bonds) else 1.0
    if window is None:
        low, high = network.sites.min(axis=0) - 1.25 * length, network.sites.max(axis=0) + 1.25 * length
    else:
        low, high = np.array(window[:2], dtype=float), np.array(window[2:], dtype=float)
    scale = FINER * side / (high - low).max()
    page = Image.new("RGB", tuple(int(s) for s in np.ceil(np.maximum((high - low) * scale, 16 * FINER))), "white")
    pen = ImageDraw.Draw(page)
    places = (network.sites - low) * scale
    unit = length * scale
    thick = max(1, round(unit / 20))
    colours = {}
    if candidates is not None:
        doubtful, bonds = candidates.pairs[candidates.is_doubtful], candidates.is_bond[candidates.is_doubtful]
        colours = {
            pair: DOUBTFUL_BOND if is_bond else DOUBTFUL_PAIR
            for pair, is_bond in zip(map(tuple, doubtful.tolist()), bonds.tolist(), strict=True)
        }
    for pair, vector in zip(map(tuple, network.bonds.tolist()), springs.vectors * scale, strict=True):
        pen.line([tuple(places[pair[0]]), tuple(places[pair[0]] + vector)], fill=colours.get(pair, BOND), width=thick)
    for pair in colours.keys() - set(map(tuple, network.bonds.tolist())):
        pen.line([tuple(places[end]) for end in pair], fill=colours[pair], width=max(1, thick // 2))
    radius = max(1.0, unit / 14)
    for (x, y), held in zip(places.tolist(), springs.pinned.tolist(), strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=PINNED if held else SITE)
    if mode is not None:
        arrows = mode * (LONGEST_ARROW * unit / max(float(np.sqrt((mode**2).sum(axis=1)).max()), 1e-12))
        for start, arrow in zip(places, arrows, strict=True):
            draw_arrow(pen, start, arrow, thick)
    if candidates is not None:
        font = ImageFont.load_default(max(10 * FINER, round(0.3 * unit)))
        known = zip(map(tuple, candidates.pairs.tolist()), candidates.probabilities.tolist(), strict=True)
        for pair, probability in known:
            if pair in colours:
                middle = tuple(places[list(pair)].mean(axis=0))
                pen.text(middle, f"{probability:.2f}", fill=colours[pair], font=font, anchor="mm", stroke_width=FINER,
                         stroke_fill="white")  # fmt: skip
    return page.resize((max(page.width // FINER, 1), max(page.height // FINER, 1)), Image.Resampling.BOX)


def draw_arrow(pen: ImageDraw.ImageDraw, start: np.ndarray, arrow: np.ndarray, thick: int) -> None:
    """An arrow in px; one shorter than its own thickness is left out."""
    length = float(np.hypot(*arrow))
    if length < 2 * thick:
        return
    along = arrow / length
    head = min(length / 2, 5 * thick)
    neck, tip = start + arrow - along * head, start + arrow
    aside = np.array([-along[1], along[0]]) * head / 2
    pen.line([tuple(start), tuple(neck)], fill=ARROW, width=thick)
    pen.polygon([tuple(tip), tuple(neck + aside), tuple(neck - aside)], fill=ARROW)
