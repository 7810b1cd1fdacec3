"""Exports of ArcGIS for arcgis.learn are read as they are."""

import json

import numpy as np
import pytest

from conftest import overrides_for_model
from ganforge.data.pairs import PairsData
from ganforge.data.splits import find_splits
from ganforge.errors import UserError
from ganforge.experiment import run
from ganforge.pictures import rasters
from ganforge.pictures.normalization import Normalization
from ganforge.pictures.rasters import Georeference, Raster
from ganforge.runs.checkpoint import load, sides_in


@pytest.fixture
def export(tmp_path):
    """Pix2Pix's layout: three bands of 16 bits, one of float32, and what ArcGIS writes beside them."""
    root = tmp_path / "export"
    for folder, bands, dtype in (("images", 3, "uint16"), ("images2", 1, "float32")):
        (root / folder).mkdir(parents=True)
        for number in range(12):
            values = np.random.default_rng(number).integers(100, 900, (32, 32, bands)).astype(dtype)
            place = Georeference("EPSG:32631", (10.0, 0.0, 5e5 + 320.0 * number, 0.0, -10.0, 5e6))
            tile = Raster(values, tuple(str(band + 1) for band in range(bands)), place=place)
            rasters.write(root / folder / f"{number:012d}.tif", tile)
            (root / folder / f"{number:012d}.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")
    definition = {
        "AllTilesStats": [
            {"BandName": name, "Min": low, "Max": 2000, "Mean": 500.5, "StdDev": 230.1}
            for name, low in (("Red", 1), ("Green", 2), ("NearInfrared", 3))
        ],
        "AllTilesStats2": [{"BandName": "", "Min": -5.5, "Max": 1200.25, "Mean": 500.5, "StdDev": 230.1}],
    }
    (root / "esri_model_definition.emd").write_text(json.dumps(definition), encoding="utf-8-sig")
    (root / "map.txt").write_text("images\\000000000000.tif images2\\000000000000.tif\n")
    return root


def test_an_export_is_paired_by_name_and_not_by_order(export):
    (export / "images/000000000003.tif").unlink()
    (export / "images2/000000000007.tif").unlink()
    splits = find_splits(export)
    pairs = [pair for pair in (*splits.train, *splits.val, *splits.test) if pair.a.exists() and pair.b.exists()]
    assert len(pairs) == 10 and all(pair.a.name == pair.b.name for pair in pairs)
    assert all(pair.a.parent.name == "images" and pair.b.parent.name == "images2" for pair in pairs)
    assert any("an export of ArcGIS" in note for note in splits.notes)
    with pytest.raises(UserError, match=r"000000000003\.tif: missing"):
        PairsData(root=export, cache_dir=export.parent / "cache").datasets()


def test_labels_are_the_source_of_the_other_layout(export):
    (export / "images2").rename(export / "labels")
    splits = find_splits(export)
    assert {(pair.a.parent.name, pair.b.parent.name) for pair in splits.train} == {("labels", "images")}
    (export / "esri_model_definition.emd").unlink()
    with pytest.raises(UserError, match="cannot tell how the pairs lie"):  # any two folders of these names
        find_splits(export)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_its_statistics_are_the_normalization_where_asked_for(export, configured, tmp_path, direction):
    kinds = [f"data.{side}_normalization=emd" for side in ("source", "target")]
    data = ["data=pairs", f"data.root={export}", f"data.cache_dir={tmp_path / 'cache'}", f"data.direction={direction}"]
    run(configured([*overrides_for_model("pix2pix"), *data, *kinds]))
    card = load(tmp_path / "run/checkpoints/best.ckpt")["ganforge"]
    sides = sides_in(card)
    images, additional = ("source", "target") if direction == "AtoB" else ("target", "source")
    assert sides[images].normalization == Normalization("minmax", (1.0, 2.0, 3.0), (2000.0,) * 3)
    assert sides[additional].normalization == Normalization("minmax", (-5.5,), (1200.25,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "has no statistics"),
        ('{"AllTilesStats": [{"Min": 0, "Max": 1}]}', "is of 1 bands"),
        ('{"AllTilesStats": [{}, {}, {}]}', "it was changed"),
        ('{"AllTilesStats": [{"Min": 5, "Max": 1}, {"Min": 0, "Max": 1}, {"Min": 0, "Max": 1}]}', "it was changed"),
    ],
)
def test_statistics_that_are_none_are_refused(export, text, message):
    definition = export / "esri_model_definition.emd"
    definition.unlink() if text is None else definition.write_text(text)
    data = PairsData(root=export, source_normalization="emd", cache_dir=export.parent / "cache", num_workers=0)
    with pytest.raises(UserError, match=message):
        data.datasets()
