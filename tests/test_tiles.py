"""ganforge tiles: pairs of tiles, and splits by blocks of the ground that do not leak."""

import csv

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from conftest import overrides_for_model
from ganforge import cli
from ganforge.data.blocks import Ground, block_side, grounds, split_by_blocks
from ganforge.data.pair_files import Pair
from ganforge.data.splits import find_splits
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.pictures import rasters
from ganforge.pictures.rasters import Georeference, Raster
from ganforge.pictures.tiling import Tiling

PLACE = Georeference("EPSG:32631", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5e6))


def scene(path, bands: int = 1, size: tuple[int, int] = (192, 256), place=PLACE, holes: bool = False, seed: int = 0):
    values = np.random.default_rng(seed).integers(1, 1000, (*size, bands)).astype(np.uint16)
    valid = None
    if holes:
        valid = np.ones(size, dtype=bool)
        valid[:60, :90] = False
        values[~valid] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    rasters.write(path, Raster(values, tuple(f"B{i}" for i in range(bands)), 0 if holes else None, valid, place))
    return values


def cut(*arguments) -> int:
    return cli.main(["tiles", *map(str, arguments)])


@pytest.mark.slow
def test_pairs_of_tiles_lie_where_they_were_cut(tmp_path, capsys):
    source = scene(tmp_path / "s/one.tif", 2, holes=True)
    target = scene(tmp_path / "t/one.tif", 3, seed=1)
    scene(tmp_path / "s/two.tif", 2, place=PLACE.moved(0, 256))
    scene(tmp_path / "t/two.tif", 3, place=PLACE.moved(0, 256))
    out = tmp_path / "out"
    assert cut(tmp_path / "s", tmp_path / "t", "-o", out, "--size", 32) == 0
    said = capsys.readouterr().out
    with (out / "tiles.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert sorted(f"{row['name']}.tif" for row in rows) == sorted(path.name for path in (out / "a").iterdir())
    assert len(list((out / "b").iterdir())) == len(rows) and f"{len(rows)} tiles of 2 scenes" in said
    assert "of which less than 0.5 is valid" in said and "lie across blocks" in said
    for row in [row for row in rows if row["scene"] == "one"][::17]:
        top, left = int(row["top"]), int(row["left"])
        for side, values, bands in (("a", source, ("B0", "B1")), ("b", target, ("B0", "B1", "B2"))):
            tile = rasters.read(out / side / f"{row['name']}.tif")
            np.testing.assert_array_equal(tile.values, values[top : top + 32, left : left + 32])
            assert tile.place == PLACE.moved(top, left) and tile.bands == bands
        assert (source[top : top + 32, left : left + 32, 0] > 0).mean() >= 0.5
    assert not (out / "a/one_0_0.tif").exists()  # no pixel of it is valid


@pytest.mark.slow
def test_no_pixel_of_the_ground_is_on_two_sides_of_the_split(tmp_path):
    """Of two scenes that have a strip in common, too."""
    for name, shift in (("one", 0), ("two", 128)):
        scene(tmp_path / f"s/{name}.tif", place=PLACE.moved(0, shift))
        scene(tmp_path / f"t/{name}.tif", place=PLACE.moved(0, shift))
    for seed in range(2):
        out = tmp_path / f"out{seed}"
        assert cut(tmp_path / "s", tmp_path / "t", "-o", out, "--size", 32, "--split-seed", seed) == 0
        seen = {split: np.zeros((192, 384), dtype=bool) for split in ("train", "val", "test")}
        with (out / "tiles.csv").open() as file:
            for row in csv.DictReader(file):
                top, left = int(row["top"]), int(row["left"]) + (128 if row["scene"] == "two" else 0)
                seen[row["split"]][top : top + 32, left : left + 32] = True
        assert sum(mask.astype(int) for mask in seen.values()).max() == 1
        shares = {split: mask.mean() for split, mask in seen.items()}
        assert shares["train"] > 0.5 and min(shares.values()) > 0.03


@pytest.mark.slow
def test_the_manifest_splits_the_pairs_of_a_training(tmp_path, configured):
    scene(tmp_path / "s.tif", 2)
    scene(tmp_path / "t.tif", 3)
    out = tmp_path / "out"
    assert cut(tmp_path / "s.tif", tmp_path / "t.tif", "-o", out, "--size", 32) == 0
    with (out / "tiles.csv").open() as file:
        expected = {row["name"]: row["split"] for row in csv.DictReader(file)}
    splits = find_splits(out)
    found = {pair.name: split for split in ("train", "val", "test") for pair in getattr(splits, split)}
    assert found == expected and any("tiles.csv" in note for note in splits.notes)
    by_hash = find_splits(out, split="fraction")
    assert {pair.name for pair in by_hash.val} != {pair.name for pair in splits.val}
    data = ["data=pairs", f"data.root={out}", f"data.cache_dir={tmp_path / 'cache'}"]
    run(configured([*overrides_for_model("pix2pix"), *data]))
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "s.tif"), "-o", str(tmp_path / "p")]) == 0
    assert rasters.read(tmp_path / "p/s.tif").values.shape == (192, 256, 3)


@pytest.mark.parametrize(
    "text", ["", "name,split\n", "name,split\na,validation\n", "name,split\na,val\na,val\n", "x\0y\n"]
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text):
    for side in "ab":
        scene(tmp_path / side / "a.tif", size=(32, 32))
    (tmp_path / "tiles.csv").write_text(text)
    with pytest.raises(UserError, match=r"tiles\.csv"):
        find_splits(tmp_path)


def nearest(tiles: dict[str, list[tuple[np.ndarray, np.ndarray]]]) -> float:
    """RMSE of the predictor that gives each pixel of "val" the target of the most alike surroundings in "train"."""

    def patches(pairs):
        views = [np.lib.stride_tricks.sliding_window_view(source, (3, 3)).reshape(-1, 9) for source, _ in pairs]
        return np.concatenate(views), np.concatenate([target[1:-1, 1:-1].ravel() for _, target in pairs])

    (seen, known), (asked, truth) = patches(tiles["train"]), patches(tiles["val"])
    _, places = cKDTree(seen).query(asked)
    return float(np.sqrt(np.square(known[places] - truth).mean()))


def test_a_random_split_leaks_and_this_one_does_not(tmp_path):
    """What has nothing to do with the source is known where its overlapping neighbour was seen, and only there."""

    def ground(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        return gaussian_filter(rng.normal(size=(192, 192)), 1), gaussian_filter(rng.normal(size=(192, 192)), 3) * 10

    here, elsewhere = ground(0), ground(1)
    windows = list(Tiling(192, 192, 16))
    splits = split_by_blocks([(Ground("x"), w) for w in windows], 48, val_fraction=0.15, test_fraction=0)
    rng = np.random.default_rng(0)
    drawn = ["val" if chance < 0.15 else "train" for chance in rng.random(len(windows))]

    def tiles(chosen, split):
        return [(w.of(here[0]), w.of(here[1])) for w, own in zip(windows, chosen, strict=True) if own == split]

    unseen = [(w.of(elsewhere[0]), w.of(elsewhere[1])) for w in windows[::6]]
    spatial, at_random = ({split: tiles(chosen, split) for split in ("train", "val")} for chosen in (splits, drawn))
    honest = nearest({"train": tiles(splits, "train"), "val": unseen})  # on ground that nobody has seen
    assert nearest(at_random) < 0.3 * honest
    assert 0.8 * honest < nearest(spatial) < 1.25 * honest


def test_blocks_are_as_large_as_leaves_ten_of_them():
    assert block_side([(4096, 4096)], 256) == 1024
    assert block_side([(1024, 1024)], 256) == 256
    assert block_side([(1024, 1024)] * 10, 256) == 1024
    assert block_side([(300, 300)], 256) == 256


def test_scenes_of_one_grid_share_the_ground_and_others_do_not():
    found = grounds(
        {"a": PLACE, "b": PLACE.moved(30, -50), "c": Georeference("EPSG:32632", PLACE.transform), "d": None}
    )
    assert found["a"] == Ground(found["a"].name) and found["b"] == Ground(found["a"].name, 30, -50)
    assert len({ground.name for ground in found.values()}) == 3


def test_too_few_blocks_are_refused(tmp_path, capsys):
    scene(tmp_path / "s.tif", size=(70, 70))
    scene(tmp_path / "t.tif", size=(70, 70))
    assert cut(tmp_path / "s.tif", tmp_path / "t.tif", "-o", tmp_path / "out", "--size", 64) == 1
    assert "too few for 3 splits" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("place", "size", "message"),
    [
        (Georeference("EPSG:32632", PLACE.transform), (192, 256), "the coordinate systems differ"),
        (PLACE.moved(0, 1), (192, 256), "the transforms differ"),
        (Georeference(PLACE.crs, (20.0, 0.0, 500_000.0, 0.0, -20.0, 5e6)), (96, 128), "the transforms differ"),
        (PLACE, (192, 255), "the sizes differ, 256×192 and 255×192"),
        (None, (192, 256), "has no georeference"),
    ],
)
def test_scenes_that_do_not_lie_on_each_other_are_refused_with_the_tool_to_warp_with(
    tmp_path, capsys, place, size, message
):
    scene(tmp_path / "s.tif")
    scene(tmp_path / "t.tif", size=size, place=place)
    assert cut(tmp_path / "s.tif", tmp_path / "t.tif", "-o", tmp_path / "out", "--size", 32) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not (tmp_path / "out").exists()
    assert ("rio warp" in said and "--like" in said) or place is None


def test_mistakes_are_said_before_anything_is_written(tmp_path, capsys):
    scene(tmp_path / "s/one.tif")
    scene(tmp_path / "t/two.tif")
    scene(tmp_path / "t/one.tif")
    out = tmp_path / "out"
    for arguments, message in (
        ([tmp_path / "s", tmp_path / "t"], "1 scenes have no partner of the same name"),
        ([tmp_path / "s", tmp_path / "absent"], "no such scene or folder"),
        ([tmp_path / "s", tmp_path / "t", tmp_path / "s"], "3 scenes: give a source and a target"),
        ([tmp_path / "s/one.tif", tmp_path / "t/one.tif", "--overlap", "1"], "a share of the tile"),
        ([tmp_path / "s/one.tif", tmp_path / "t/one.tif", "--val-fraction", "1"], "--val-fraction 1.0"),
        ([tmp_path / "s/one.tif", tmp_path / "t/one.tif", "--size", "4"], "--size 4"),
    ):
        assert cut(*arguments, "-o", out) == 1
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1 and not out.exists()
    out.mkdir()
    (out / "mine").touch()
    assert cut(tmp_path / "s/one.tif", tmp_path / "t/one.tif", "-o", out) == 1
    assert "is not empty" in capsys.readouterr().err


def test_one_scene_holds_both_sides_as_bands(tmp_path):
    values = scene(tmp_path / "s.tif", 4)
    assert cut(tmp_path / "s.tif", "-o", tmp_path / "out", "--size", 32) == 0
    splits = find_splits(tmp_path / "out", "bands")
    pair: Pair = splits.train[0]
    top, left = map(int, pair.name.split("_")[1:])
    np.testing.assert_array_equal(rasters.read(pair.a).values, values[top : top + 32, left : left + 32])
