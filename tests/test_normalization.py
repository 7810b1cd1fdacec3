"""Values of bands to the numbers of networks and back, and statistics in one pass."""

import json
import math

import numpy as np
import pytest

from ganforge.errors import UserError
from ganforge.pictures import normalization
from ganforge.pictures.normalization import KINDS, Accumulator, Normalization
from ganforge.pictures.sides import Side


def pictures(dtype: str, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = [(5, 7), (1, 1), (20, 30), (8, 3)]
    values = [rng.normal([300, 1000, -20], [40, 3, 0.5], (*size, 3)) for size in sizes]
    return [np.rint(value).astype(dtype) if dtype != "float32" else value.astype(dtype) for value in values]


def accumulated(values: list[np.ndarray], valid: list[np.ndarray | None]) -> Accumulator:
    total = Accumulator(values[0].shape[-1])
    for number, (picture, mask) in enumerate(zip(values, valid, strict=True)):
        total.merge(Accumulator.of(picture, mask, number))
    return total


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_statistics_in_one_pass_are_those_of_all_valid_pixels(dtype):
    values = pictures(dtype)
    masks = [np.random.default_rng(9).random(value.shape[:2]) < 0.7 for value in values]
    masks[1][:] = False  # nowhere valid
    found = accumulated(values, masks).statistics()
    pixels = np.concatenate([value[mask] for value, mask in zip(values, masks, strict=True)]).astype(np.float64)
    assert found.count == len(pixels)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, pixels.std(axis=0), rtol=1e-9)
    assert found.minimum == tuple(pixels.min(axis=0)) and found.maximum == tuple(pixels.max(axis=0))
    np.testing.assert_array_equal([found.lower, found.upper], np.percentile(pixels, [1, 99], axis=0))


def test_a_mean_far_from_zero_does_not_eat_the_deviation():
    values = [1e4 + pictures("float32")[2] % 1 for _ in range(3)]
    pixels = np.concatenate(values).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(accumulated(values, [None] * 3).statistics().deviation, pixels.std(axis=0), rtol=1e-9)


def test_percentiles_of_many_pixels_take_a_bounded_sample_that_does_not_depend_on_how_they_are_merged(monkeypatch):
    monkeypatch.setattr(normalization, "_SAMPLE", 2000)
    rng = np.random.default_rng(1)
    values = [rng.uniform(0, 100, (50, 60, 2)).astype(np.float32) for _ in range(10)]
    forwards = accumulated(values, [None] * 10)
    backwards = Accumulator(2)
    for number in reversed(range(10)):
        backwards.merge(Accumulator.of(values[number], None, number))
    found = forwards.statistics()
    assert sum(map(len, forwards._pixels)) == 2000
    assert (found.lower, found.upper) == (backwards.statistics().lower, backwards.statistics().upper)
    np.testing.assert_allclose(found.lower, 1, atol=1)  # standard error 0.22
    np.testing.assert_allclose(found.upper, 99, atol=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_the_inverse_is_exact(kind, dtype):
    values = np.abs(pictures(dtype)[2]) if dtype == "uint16" else pictures(dtype)[2]
    statistics = Accumulator.of(values, None, 0).statistics()
    chosen = normalization.normalization(kind, dtype, statistics)
    encoded = chosen.encode(values)
    assert encoded.dtype == np.float32 and encoded.shape == (3, 20, 30)
    back = chosen.decode(encoded)
    assert back.dtype == np.float32
    expected = values.astype(np.float64)
    if kind == "percentiles":
        expected = expected.clip(chosen.low, chosen.high)
    if dtype != "float32" and kind != "percentiles":
        assert np.array_equal(np.rint(back), expected)
    np.testing.assert_allclose(back, expected, atol=np.abs(chosen.scale).max() * 2e-7, rtol=2e-7)
    if kind == "minmax":
        assert encoded.min() == -1 and encoded.max() == 1
    if kind == "deviation":
        np.testing.assert_allclose(encoded.mean(axis=(1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(encoded.std(axis=(1, 2)), 1, atol=1e-5)


def test_every_16_bit_level_comes_back():
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256, 1)
    for kind in ("range", "minmax", "deviation"):
        chosen = normalization.normalization(kind, "uint16", Accumulator.of(levels, None, 0).statistics())
        assert np.array_equal(np.rint(chosen.decode(chosen.encode(levels))).astype(np.uint16), levels)


@pytest.mark.parametrize("kind", ["minmax", "percentiles", "deviation"])
def test_a_constant_band_stays_finite_and_comes_back(kind):
    for value in (7, 0.1, 1e20, -1e20):  # the mean of 0.1 is rounded
        values = np.full((40, 41, 1), value, dtype=np.float32)
        statistics = Accumulator.of(values, None, 0).statistics()
        assert statistics.constant() == [0]
        chosen = normalization.normalization(kind, "float32", statistics)
        assert Normalization.from_card(json.loads(json.dumps(chosen.to_card())), "FILE") == chosen
        assert np.abs(chosen.encode(values)).max() <= 1 and np.array_equal(chosen.decode(chosen.encode(values)), values)


def test_where_percentiles_coincide_the_extremes_count():
    values = np.zeros((100, 100, 1), dtype=np.float32)
    values[0, :5] = 8
    chosen = normalization.normalization("percentiles", "float32", Accumulator.of(values, None, 0).statistics())
    assert (chosen.low, chosen.high) == ((0.0,), (8.0,))


def test_nothing_valid_is_an_error():
    with pytest.raises(UserError, match="no pixel is valid"):
        Accumulator.of(np.zeros((2, 2, 1)), np.zeros((2, 2), dtype=bool), 0).statistics()


def test_a_side_survives_a_checkpoint_and_invalid_pixels_become_the_middle():
    side = Side(("VV", "VH"), "float32", math.nan, Normalization("minmax", (-30.0, -40.0), (10.0, 0.0)))
    back = Side.from_card(json.loads(json.dumps(side.to_card())), "FILE")
    assert back.bands == side.bands and back.normalization == side.normalization and math.isnan(back.nodata)
    values = np.array([[[10, 0], [math.nan, math.inf]]], dtype=np.float32)
    encoded = back.encode(values, np.array([[True, False]]))
    assert encoded[:, 0].tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "exec", "low": [0], "high": [1]},
        {"kind": "minmax", "low": [0, 0], "high": [1]},
        {"kind": "minmax", "low": [1.0], "high": [1.0]},
        {"kind": "deviation", "low": [1.0], "high": [0.0]},
        {"kind": "minmax", "low": [math.nan], "high": [1.0]},
        {"kind": "minmax", "low": [True], "high": [2]},
        {"kind": "minmax", "low": [], "high": []},
        {"kind": ["minmax"], "low": [0], "high": [1]},
        {"kind": "minmax", "low": [10**400], "high": [10**401]},
        [],
        None,
    ],
)
def test_a_changed_card_is_refused(changed):
    with pytest.raises(UserError, match=r"^FILE: is no normalization"):
        Normalization.from_card(changed, "FILE")


def test_cached_statistics_are_found_again_and_damaged_ones_are_not(tmp_path):
    found = Accumulator.of(pictures("float32")[0], None, 0).statistics()
    path = tmp_path / "cache" / "key.json"
    assert normalization.stored(path, (3,)) is None
    normalization.store(path, [found])
    assert normalization.stored(path, (3,)) == (found,)
    assert normalization.stored(path, (2,)) is None and normalization.stored(path, (3, 3)) is None
    text = path.read_text()
    side = json.loads(text)[0]
    changed = json.dumps([{**side, "minimum": side["maximum"], "maximum": side["minimum"]}])
    for damaged in (text[:-9], "[" * 10**5, '[{"count": 1}]', text.replace('"count": 35', '"count": -1'), changed):
        path.write_text(damaged)
        assert normalization.stored(path, (3,)) is None
