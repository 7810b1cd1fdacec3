"""The folders that `Export Training Data For Deep Learning` of ArcGIS Pro writes for arcgis.learn, as they are."""

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path

from ganforge.data.pair_files import Naming
from ganforge.errors import UserError, require
from ganforge.files.folders import open_file
from ganforge.pictures.normalization import Normalization

DEFINITION = "esri_model_definition.emd"

# Pictures, and pictures of an additional raster; classes, and pictures. The statistics of each folder by its name.
_SIDES = (("images", "images2"), ("labels", "images"))
_STATISTICS = {"images": "AllTilesStats", "images2": "AllTilesStats2"}
_LARGEST = 2**26  # bytes


def find_naming(root: Path) -> Naming | None:
    """The names of the two folders of an export; None where root holds none."""
    exported = (root / DEFINITION).is_file() or (root / "esri_accumulated_stats.json").is_file()
    for source, target in _SIDES:
        if (root / source).is_dir() and (root / target).is_dir() and (exported or target == "images2"):
            return Naming(source_dir=source, target_dir=target)
    return None


def exported_normalization(root: Path, folder: str, bands: Sequence[str]) -> Normalization:
    """From the extremes of all tiles of a folder (training and validation), as arcgis.learn takes them.

    bands: by the names of the export, or all of them in order. Raises UserError where there are none.
    """
    path, name = root / DEFINITION, _STATISTICS.get(folder)
    try:
        with open_file(path) as file:
            contents = json.loads(file.read(_LARGEST).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); choose another data.*_normalization than emd") from error
    found = contents.get(name) if isinstance(contents, dict) else None
    require(
        isinstance(found, list) and all(isinstance(band, dict) for band in found),
        f"{path}: has no statistics of the pictures in {folder} ({name}); choose another data.*_normalization than emd",
    )
    names = [str(band.get("BandName")) for band in found]
    if set(bands) <= set(names):
        found = [found[names.index(band)] for band in bands]
    require(
        len(found) == len(bands),
        f"{path}: {name} is of {len(found)} bands ({reprlib.repr(names)}), and {folder} holds {len(bands)} "
        f"({reprlib.repr(list(bands))}); choose another data.*_normalization than emd",
    )
    ends = {"kind": "minmax", "low": [band.get("Min") for band in found], "high": [band.get("Max") for band in found]}
    return Normalization.from_card(ends, f"{path}: {name}")
