"""Sites of other people's pictures: dots of any size, colour and sharpness, other marks, on paper of any kind."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ganforge.errors import UserError
from ganforge.lattice import Style, disorder, draw, find_sites, match_sites, patch
from ganforge.lattice.draw import dot_ink, grey

BENCHMARK = Path(__file__).parents[1] / "benchmarks/site_finder.py"
specification = importlib.util.spec_from_file_location("site_finder", BENCHMARK)
site_finder = importlib.util.module_from_spec(specification)
specification.loader.exec_module(site_finder)
KINDS = site_finder.kinds()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_all_sites_are_found_and_no_others_within_a_third_of_a_pixel(kind):
    row = site_finder.measured(KINDS[kind], 2, seed=1)
    assert (row["recall"], row["precision"]) == (1, 1)
    assert row["mean"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_nearly_all_sites_of_many_pictures_are_found(kind):
    row = site_finder.measured(KINDS[kind], 40, seed=2)
    least = 0.97 if kind == "touching" else 0.999  # of small dots packed closely no gap is left
    assert min(row["recall"], row["precision"]) >= least and row["mean"] < 0.3


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


@pytest.mark.slow
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


def test_small_hard_dots_may_be_of_any_shape():
    picture, sites = KINDS["hard 1.2"](np.random.default_rng([100, 6]))
    match = match_sites(find_sites(picture), sites, 0.7)
    assert match.recall == match.precision == 1


def page_of(change):
    """400 px of 75 dots of 4.5 px, and what else `change` draws."""
    network = disorder(patch("kagome", (5, 5)), 0.06, np.random.default_rng(11))
    sites = network.sites - network.sites.min(axis=0)
    sites = sites * (260 / sites.max()) + 70
    page = Image.fromarray(grey(dot_ink(sites, 4.5, 400)))
    change(ImageDraw.Draw(page))
    return np.asarray(page), sites


def caption(pen):
    pen.text((60, 355), "Figure 3. Sites of a sample", fill=0, font=ImageFont.load_default(18))


def scale_bar(pen):
    pen.line([300, 380, 380, 380], fill=0, width=4)
    pen.text((310, 358), "100 um", fill=0, font=ImageFont.load_default(14))


def axes(pen):
    pen.line([40, 20, 40, 360, 370, 360], fill=0)
    for step in range(6):
        pen.line([40 + 60 * step, 360, 40 + 60 * step, 366], fill=0)
        pen.text((34 + 60 * step, 368), str(20 * step), fill=0, font=ImageFont.load_default(12))


def frame(pen):
    pen.rectangle([0, 0, 399, 399], outline=0, width=6)


@pytest.mark.parametrize("change", [caption, scale_bar, axes, frame])
def test_what_else_a_figure_shows_is_no_site(change):
    picture, sites = page_of(change)
    match = match_sites(find_sites(picture), sites, 0.3)
    assert match.recall == match.precision == 1


@pytest.mark.parametrize("radii", [(6.0, 3.5), (7.0, 2.5)])
def test_marks_of_two_sizes_are_all_sites(radii):
    _, sites = page_of(lambda pen: None)
    ink = np.maximum(*(dot_ink(sites[turn::2], radius, 400) for turn, radius in enumerate(radii)))
    match = match_sites(find_sites(grey(ink)), sites, 0.3)
    assert match.recall == match.precision == 1


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_is_no_picture_is_refused_and_a_page_of_noise_is_soon_done():
    for wrong in (np.zeros((64, 64)), np.zeros((8, 64), np.uint8), np.zeros((4, 64, 64, 3), np.uint8)):
        with pytest.raises(UserError, match="accepted is"):
            find_sites(wrong)
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    assert find_sites(noise).shape[1] == 2
