"""A scene in overlapping windows and back: against the whole scene."""

import itertools
import tracemalloc

import numpy as np
import pytest

from ganforge.errors import UserError
from ganforge.pictures.tiling import Mosaic, Tiling


def rebuilt(scene: np.ndarray, tiling: Tiling, function=lambda part: part, order=None) -> np.ndarray:
    """function of each window, put together again; every row must come once, in order."""
    windows, mosaic, rows = list(tiling), Mosaic(tiling, scene.shape[2]), []
    for index in order if order is not None else range(len(windows)):
        for top, finished in mosaic.add(index, function(windows[index].of(scene))):
            assert top == sum(map(len, rows))
            rows.append(finished)
    return np.concatenate(rows)


SIZES = [(1, 1), (7, 64), (64, 7), (64, 64), (65, 127), (128, 130), (201, 333)]


@pytest.mark.parametrize("step", [1, 4, 16])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75, 0.9])
def test_the_windows_cover_every_size_and_give_the_scene_back(overlap, step):
    for height, width in SIZES:
        tiling = Tiling(height, width, 64, overlap, step)
        windows = list(tiling)
        assert len(windows) == len(tiling)
        assert all(window.top % step == window.left % step == 0 for window in windows)
        total = np.zeros((height, width))
        for window in windows:
            window.of(total)[:] += tiling.weights(window)
        np.testing.assert_allclose(total, 1, atol=1e-6)
        for before, after in itertools.pairwise(tiling.tops):
            assert before < after <= before + max(step, round(64 * (1 - overlap)))
        scene = np.random.default_rng(0).normal(size=(height, width, 2)).astype(np.float32)
        np.testing.assert_allclose(rebuilt(scene, tiling), scene, atol=1e-5)


def box(part: np.ndarray) -> np.ndarray:
    """The mean of 5 × 5 pixels; what lies beyond an edge is 0, as in a network."""
    padded = np.pad(part, ((2, 2), (2, 2), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1)).mean(axis=(-1, -2))


def test_a_local_filter_of_the_windows_is_that_of_the_scene_up_to_its_own_edges():
    scene = np.random.default_rng(0).normal(size=(150, 210, 3)).astype(np.float32)
    whole = box(scene)
    np.testing.assert_allclose(rebuilt(scene, Tiling(150, 210, 64, 0.25), box), whole, atol=1e-5)
    # Without an overlap the edges of the windows show, so this is no test of nothing.
    assert np.abs(rebuilt(scene, Tiling(150, 210, 64, 0), box) - whole).max() > 0.1


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.75])
def test_the_order_of_the_windows_does_not_matter_bit_for_bit(overlap):
    rng = np.random.default_rng(0)
    scene = rng.normal(size=(150, 210, 3)).astype(np.float32)
    tiling = Tiling(150, 210, 64, overlap)
    noise = {window: rng.normal(size=(window.height, window.width, 3)).astype(np.float32) for window in tiling}
    parts = list(noise.values())

    def drawn(order):
        mosaic, rows = Mosaic(tiling, 3), []
        for index in order:
            rows += [finished for _, finished in mosaic.add(index, parts[index])]
        return np.concatenate(rows)

    expected = drawn(range(len(tiling)))
    assert expected.shape == scene.shape
    for _ in range(3):
        np.testing.assert_array_equal(drawn(rng.permutation(len(tiling))), expected)


def test_what_is_held_does_not_grow_with_the_height_of_the_scene():
    def peak(height: int) -> int:
        tiling = Tiling(height, 256, 64)
        tracemalloc.start()
        mosaic = Mosaic(tiling, 2)
        for index, window in enumerate(tiling):
            for _ in mosaic.add(index, np.ones((window.height, window.width, 2), dtype=np.float32)):
                pass
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    assert peak(4096) < 1.5 * peak(512)


def test_what_does_not_fit_is_refused():
    for overlap in (-0.1, 0.95, 64, float("nan")):
        with pytest.raises(UserError, match="a share of the tile"):
            Tiling(100, 100, 64, overlap)
    with pytest.raises(UserError, match="--tile 100: a multiple of 16, such as 96"):
        Tiling(100, 100, 100, 0.5, 16)
    mosaic = Mosaic(Tiling(100, 100, 64), 1)
    list(mosaic.add(0, np.zeros((64, 64, 1))))
    with pytest.raises(ValueError, match="came twice"):
        list(mosaic.add(0, np.zeros((64, 64, 1))))
    with pytest.raises(ValueError, match="for Window"):
        list(mosaic.add(1, np.zeros((3, 64, 1))))
