import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ganforge.errors import UserError
from ganforge.lattice import (
    BondScore,
    Distribution,
    Network,
    Style,
    bond_array,
    draw,
    find_sites,
    match_sites,
    patch,
    read,
    sample,
    score_bonds,
)
from ganforge.lattice.draw import dot_ink, grey, line_ink, strokes
from ganforge.lattice.sample import legible

FINE = Distribution(disorder=(0.0, 0.12))
THICK = Distribution(disorder=(0.0, 0.12), dot_radius=(3.0, 6.0), line_width=(0.8, 3.6), cells=(2, 6))


class Case:
    """A random network, drawn, with what it takes to draw it differently."""

    def __init__(self, index: int):
        self.size = (128, 256)[index % 2]
        distribution = (FINE, THICK)[index // 2 % 2]
        network, style = sample(distribution, self.size, np.random.default_rng([7, index]))
        drawing = draw(network, self.size, style)
        self.sites, self.bonds, self.lattice = drawing.network.sites, network.bonds, network.lattice
        self.source, self.target = drawing.source, drawing.target
        self.radius, self.width = strokes(style, self.size)
        self.black = 1 - style.line_grey
        self.rng = np.random.default_rng([8, index])

    def ink(self, bonds, width=None):
        return self.black * line_ink(Network(self.sites, bond_array(bonds)), width or self.width, self.size)

    def picture(self, lines):
        return grey(np.maximum(dot_ink(self.sites, self.radius, self.size), lines))

    def long_bond(self):
        """A random bond with at least 6 px between its dots, or None."""
        lengths = np.hypot(*(self.sites[self.bonds[:, 1]] - self.sites[self.bonds[:, 0]]).T)
        long = np.flatnonzero(lengths - 2 * self.radius >= 6)
        return int(self.rng.choice(long)) if len(long) else None


def cases(count, start=0):
    return [Case(index) for index in range(start, start + count)]


def compared(case, network, bonds):
    """False where the bonds read are the expected ones and the sites are there, else what is wrong."""
    match = match_sites(network.sites, case.sites, radius=2.0)
    if not match.recall == match.precision == 1.0:
        return f"{len(network.sites)} sites for {len(case.sites)}"
    true_index = np.empty(len(case.sites), dtype=int)
    true_index[match.pairs[:, 0]] = match.pairs[:, 1]
    score = score_bonds(bonds, true_index[network.bonds].reshape(-1, 2))
    return False if score.exact else score


def mistakes(case, drawn, bonds, sites=None):
    """`compared` for a picture, with the sites given or found; given ones may be drawn elsewhere."""
    network = read(drawn, sites)
    return compared(case, network if sites is None else Network(case.sites, network.bonds), bonds)


def check_truth(case):
    assert not mistakes(case, case.target, case.bonds, case.sites), case.lattice
    network = read(case.target)
    assert not compared(case, network, case.bonds), case.lattice
    found, true = match_sites(network.sites, case.sites, radius=2.0).pairs.T
    assert np.hypot(*(network.sites[found] - case.sites[true]).T).max() <= 0.3


@pytest.mark.slow
def test_drawings_are_read_without_a_mistake():
    seen = set()
    for case in cases(200):
        check_truth(case)
        seen.add((case.lattice, case.size))
    assert len(seen) == 2 * len(FINE.lattices)


@pytest.mark.slow
def test_three_thousand_drawings_are_read_without_a_mistake():
    for index in range(3000):
        check_truth(Case(index))


@pytest.mark.slow
def test_sources_have_their_sites_and_no_bonds():
    for case in cases(40):
        found = find_sites(case.source)
        match = match_sites(found, case.sites, radius=0.3)
        assert match.recall == match.precision == 1.0 and match.shift < 0.1
        assert len(read(case.source, case.sites).bonds) == 0
        assert len(read(case.source).bonds) == 0


def test_deleting_bonds_from_the_picture_deletes_exactly_those_from_the_reading():
    for case in cases(40, start=40):
        keep = case.rng.random(len(case.bonds)) < 0.7
        keep[case.rng.integers(len(keep))] = False
        drawn = case.picture(case.ink(case.bonds[keep]))
        assert not mistakes(case, drawn, case.bonds[keep], case.sites)
        assert mistakes(case, drawn, case.bonds, case.sites)  # the check itself can fail


def test_a_half_erased_bond_and_one_with_a_gap_are_no_bonds():
    tried = 0
    for case in cases(40, start=80):
        index = case.long_bond()
        if index is None:
            continue
        keep = np.arange(len(case.bonds)) != index
        first, second = case.sites[case.bonds[index]]
        along = second - first
        length = np.hypot(*along)
        unit = along / length
        free = length - 2 * case.radius
        erased = {
            "half": (length / 2, length),
            "gap": (case.radius + free / 2 - max(free / 8, 2.75), case.radius + free / 2 + max(free / 8, 2.75)),
        }
        for low, high in erased.values():
            pieces = [(first, first + low * unit), (first + high * unit, second)]
            pieces = [piece for piece in pieces if np.hypot(*(piece[1] - piece[0])) > case.radius]
            ends = Network(
                np.concatenate(pieces), bond_array([(2 * number, 2 * number + 1) for number in range(len(pieces))])
            )
            lines = np.maximum(case.ink(case.bonds[keep]), case.black * line_ink(ends, case.width, case.size))
            assert not mistakes(case, case.picture(lines), case.bonds[keep], case.sites)
            tried += 1
    assert tried >= 60


def test_an_extra_bond_is_found():
    tried = 0
    for case in cases(40, start=120):
        have = {tuple(bond) for bond in case.bonds.tolist()}
        away = np.sqrt(((case.sites[:, None] - case.sites) ** 2).sum(axis=2))
        shortest = away[away > 0].min()
        others = [pair for pair in np.argwhere(np.triu(away < 4 * shortest, 1)).tolist() if tuple(pair) not in have]
        case.rng.shuffle(others)
        for pair in others[:10]:
            bonds = bond_array([*case.bonds.tolist(), pair])
            if legible(Network(case.sites, bonds), case.radius, case.width):
                assert not mistakes(case, case.picture(case.ink(bonds)), bonds, case.sites)
                tried += 1
                break
    assert tried >= 15


@pytest.mark.parametrize("edged", [False, True])
def test_a_smear_instead_of_a_bond_is_no_bond(edged):
    tried = 0
    for case in cases(60, start=160):
        index = case.long_bond()
        if index is None:
            continue
        keep = np.arange(len(case.bonds)) != index
        first, second = case.sites[case.bonds[index]]
        centre, reach = (first + second) / 2, max(np.hypot(*(second - first)) / 2, 5.0)
        y, x = np.mgrid[: case.size, : case.size] + 0.5
        away = np.hypot(x - centre[0], y - centre[1])
        smear = 0.5 * case.black * ((away < reach) if edged else np.exp(-((away / reach) ** 2) / 2))
        ink = 1 - (1 - case.ink(case.bonds[keep])) * (1 - smear)
        # The lines that the smear covers keep standing out by half; those it ends beside are left open.
        middles = case.sites[case.bonds].mean(axis=1)
        beside = np.abs(np.hypot(*(middles - centre).T) - reach) < reach if edged else np.zeros(len(keep), bool)
        found = read(case.picture(ink), case.sites).bonds
        score = score_bonds(case.bonds[keep], found)
        assert case.bonds[index].tolist() not in found.tolist()
        assert score.fp == 0
        assert score_bonds(case.bonds[keep & ~beside], found).fn == 0
        tried += 1
    assert tried >= 40


def test_large_smears_invent_neither_sites_nor_bonds():
    # Darker ones hide the palest lines, and then there is no truth to read.
    for case in cases(40, start=220):
        y, x = np.mgrid[: case.size, : case.size] + 0.5
        smear = np.zeros((case.size, case.size))
        for _ in range(3):
            column, row = case.sites[case.rng.integers(len(case.sites))] + case.rng.normal(size=2) * 5
            reach = case.rng.uniform(0.06, 0.1) * case.size
            smear = np.maximum(smear, 0.2 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / reach**2 / 2))
        drawn = case.picture(1 - (1 - case.ink(case.bonds)) * (1 - smear))
        assert not mistakes(case, drawn, case.bonds, case.sites)
        assert read(case.picture(smear), case.sites).bonds.shape == (0, 2)


def jpeg(drawn, quality):
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


DAMAGES = {
    "jpeg": lambda drawn, rng: jpeg(drawn, 50),
    "noise": lambda drawn, rng: np.clip(drawn + rng.normal(size=drawn.shape) * 10, 0, 255).astype(np.uint8),
    "slight blur": lambda drawn, rng: gaussian_filter(drawn.astype(float), 0.5).astype(np.uint8),
    "blur": lambda drawn, rng: gaussian_filter(drawn.astype(float), 0.7).astype(np.uint8),
    "low contrast": lambda drawn, rng: (38 + 0.7 * drawn).astype(np.uint8),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_drawings_are_read_right(damage):
    for case in cases(30, start=300):
        drawn = DAMAGES[damage](case.target, case.rng)
        assert not mistakes(case, drawn, case.bonds, case.sites)
        assert not mistakes(case, drawn, case.bonds)
        lost = np.arange(len(case.bonds)) != case.rng.integers(len(case.bonds))
        drawn = DAMAGES[damage](case.picture(case.ink(case.bonds[lost])), case.rng)
        assert not mistakes(case, drawn, case.bonds[lost], case.sites)


def test_dots_drawn_a_pixel_off_keep_their_bonds():
    for case in cases(60, start=340):
        angle = case.rng.uniform(0, 2 * np.pi, len(case.sites))
        sites = case.sites + np.stack([np.cos(angle), np.sin(angle)], axis=1)
        assert not mistakes(case, case.target, case.bonds, sites)


def test_bonds_of_uneven_strength_are_all_read():
    for case in cases(30, start=400):
        strength = case.rng.choice([0.6, 0.8, 1.0], len(case.bonds))
        lines = np.zeros((case.size, case.size))
        for level in (0.6, 0.8, 1.0):
            lines = np.maximum(lines, level * case.ink(case.bonds[strength == level]))
        assert not mistakes(case, case.picture(lines), case.bonds, case.sites)


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_sites_on_a_straight_line_and_at_its_ends_are_found(size, shift):
    # Two bonds in a straight line at each inner dot, thick black lines: only a bulge tells where the dot is.
    chain = Network(np.array([[20.0 + 14 * k + shift, 40.0 + 7.3 * k] for k in range(6)]), bond_array([]))
    bonds = bond_array([(k, k + 1) for k in range(5)])
    radius, width = (2.0, 2.6) if size == 128 else (4.0, 5.2)
    sites = chain.sites * size / 128
    drawn = grey(np.maximum(dot_ink(sites, radius, size), line_ink(Network(sites, bonds), width, size)))
    network = read(drawn)
    pairs = match_sites(network.sites, sites, radius=0.3).pairs
    assert pairs.tolist() == [[k, k] for k in range(6)]
    assert network.bonds.tolist() == bonds.tolist()


def test_a_bond_past_a_dot_is_none_but_the_two_it_is_made_of():
    network = patch("kagome", (4, 4))  # full of straight lines of dots
    drawing = draw(network, 256, Style())
    assert score_bonds(network.bonds, read(drawing.target, drawing.network.sites).bonds) == BondScore(
        tp=len(network.bonds)
    )


def test_pictures_without_a_network_are_empty():
    blank = np.full((64, 64), 255, np.uint8)
    assert find_sites(blank).shape == (0, 2)
    assert read(blank).bonds.shape == (0, 2)
    sites = np.array([[10.0, 10.0], [40.0, 40.0]])
    assert read(blank, sites, "square").bonds.shape == (0, 2)
    for level in (0, 128):
        assert read(np.full((64, 64), level, np.uint8), sites).bonds.shape == (0, 2)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    read(noise)  # whatever it finds, it does not fail
    assert read(blank, np.zeros((0, 2))).sites.shape == (0, 2)
    assert read(blank, sites[:1]).bonds.shape == (0, 2)


def test_sites_off_the_page_are_no_trouble():
    case = Case(1)
    sites = np.concatenate([case.sites, [[-50.0, 10.0], [case.size + 99.0, case.size + 99.0]]])
    assert score_bonds(case.bonds, read(case.target, sites).bonds).exact


def test_wrong_input_is_said():
    for drawn in (np.zeros((64, 64)), np.zeros((64, 64, 3), np.uint8), np.zeros((4, 4), np.uint8)):
        with pytest.raises(UserError, match="drawn has shape"):
            read(drawn)
    for sites in (np.zeros((3, 3)), np.full((2, 2), np.inf)):
        with pytest.raises(UserError, match="sites has shape"):
            read(np.full((64, 64), 255, np.uint8), sites)


@pytest.mark.slow
def test_a_page_of_noise_takes_little_memory():
    """An untrained generator draws noise with hundreds of specks; reading it must not need gigabytes."""
    page = np.random.default_rng(0).integers(0, 256, (160, 160)).astype(np.uint8)
    tracemalloc.start()
    assert len(find_sites(page)) > 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6  # bytes; all pairs of specks against all specks would be over 2e9


@pytest.mark.parametrize("spread", [2.0, 3.0])
@pytest.mark.parametrize("edged", [False, True])
def test_a_band_broader_than_the_lines_is_no_bond(spread, edged):
    for case in cases(30, start=460):
        index = case.long_bond()
        if index is None:
            continue
        keep = np.arange(len(case.bonds)) != index
        first, second = case.sites[case.bonds[index]]
        along = (second - first) / np.hypot(*(second - first))
        y, x = np.mgrid[: case.size, : case.size] + 0.5
        forth = ((x - first[0]) * along[0] + (y - first[1]) * along[1]) / np.hypot(*(second - first))
        aside = (y - first[1]) * along[0] - (x - first[0]) * along[1]
        across = np.abs(aside) <= 1.5 * spread if edged else np.exp(-((aside / spread) ** 2) / 2)
        band = 0.7 * case.black * across * ((forth >= 0) & (forth <= 1))
        found = read(case.picture(1 - (1 - case.ink(case.bonds[keep])) * (1 - band)), case.sites).bonds.tolist()
        assert case.bonds[index].tolist() not in found
