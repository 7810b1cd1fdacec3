"""Sites of other people's pictures: dots of any size, colour and sharpness, other marks, on paper of any kind."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ganforge.errors import UserError
from ganforge.lattice import Style, disorder, draw, find_sites, match_sites, patch

BENCHMARK = Path(__file__).parents[1] / "benchmarks/site_finder.py"
specification = importlib.util.spec_from_file_location("site_finder", BENCHMARK)
site_finder = importlib.util.module_from_spec(specification)
specification.loader.exec_module(site_finder)
KINDS = site_finder.kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_all_sites_are_found_and_no_others_within_a_third_of_a_pixel(kind):
    row = site_finder.measured(KINDS[kind], 2, seed=1)
    assert (row["recall"], row["precision"]) == (1, 1)
    assert row["mean"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_nearly_all_sites_of_many_pictures_are_found(kind):
    row = site_finder.measured(KINDS[kind], 40, seed=2)
    assert min(row["recall"], row["precision"]) >= 0.999 and row["mean"] < 0.3


def test_marks_of_several_colours_are_of_one_network():
    rng = np.random.default_rng(0)
    sites = 40 * patch("square", (5, 5)).sites + 40
    inks = [site_finder.coverage(sites[turn::3], 4.0) for turn in range(3)]
    colours = [(220, 30, 30), (20, 130, 40), (30, 60, 210)]
    picture = np.full((256, 256, 3), 250.0) + rng.normal(0, 2, (256, 256, 3))
    for ink, colour in zip(inks, colours, strict=True):
        picture = picture * (1 - ink[..., None]) + np.array(colour) * ink[..., None]
    match = match_sites(find_sites(site_finder.grey(picture)), sites, 0.3)
    assert match.recall == match.precision == 1


def test_lines_are_no_marks_with_dots_between_or_without():
    drawing = draw(patch("triangular", (6, 6)), 256, Style(dot_radius=4.0, line_width=2.0))
    match = match_sites(find_sites(255 - drawing.target), drawing.network.sites, 0.3)  # light on dark
    assert match.recall == match.precision == 1
    framed = drawing.source.copy()
    framed[3:5, 3:-3] = framed[-5:-3, 3:-3] = framed[3:-3, 3:5] = framed[3:-3, -5:-3] = 0
    match = match_sites(find_sites(framed), drawing.network.sites, 0.3)
    assert match.recall == match.precision == 1


@pytest.mark.parametrize(("kind", "seed", "index"), [("touching", 15, 28), ("touching", 14, 13), ("crosses", 10, 8)])
def test_a_patch_is_neither_taken_for_one_mark_nor_a_mark_for_several(kind, seed, index):
    """A small patch of touching dots looks like a large one, and each arm of a broad cross like a dot."""
    picture, sites = KINDS[kind](np.random.default_rng([seed, index]))
    match = match_sites(find_sites(picture), sites, 0.3)
    assert match.recall == match.precision == 1


def test_large_pictures_have_large_marks():
    network = disorder(patch("kagome", (9, 9)), 0.05, np.random.default_rng(0))
    for style in (Style(dot_radius=1.0, line_width=0.5), Style(dot_radius=3.0, line_width=0.5)):
        drawing = draw(network, 1200, style)
        match = match_sites(find_sites(drawing.source), drawing.network.sites, 0.3)
        assert match.recall == match.precision == 1


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_page_has_no_sites(value):
    assert find_sites(np.full((64, 90), value, np.uint8)).shape == (0, 2)
    noise = np.random.default_rng(0).normal(value, 4, (64, 90, 3)).clip(0, 255).astype(np.uint8)
    assert find_sites(noise).shape == (0, 2)


def test_what_is_no_picture_is_refused_and_a_page_of_noise_is_soon_done():
    for wrong in (np.zeros((64, 64)), np.zeros((8, 64), np.uint8), np.zeros((4, 64, 64, 3), np.uint8)):
        with pytest.raises(UserError, match="accepted is"):
            find_sites(wrong)
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    assert find_sites(noise).shape[1] == 2
