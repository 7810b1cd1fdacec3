import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ganforge.lattice import LATTICES, read
from ganforge.lattice.__main__ import main


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_pairs_and_what_they_are_are_written(tmp_path, capsys):
    folder = tmp_path / "new" / "pairs"
    assert main([str(folder), "-n", "3", "--size", "128", "--seed", "5", "--lattices", "kagome"]) == 0
    assert str(folder) in capsys.readouterr().out
    stems = ("0001", "0002", "0003")
    assert sorted(contents(folder)) == sorted(
        f"{stem}{end}" for stem in stems for end in ("_source.png", "_target.png", ".json")
    )
    for index, stem in enumerate(stems):
        said = json.loads((folder / f"{stem}.json").read_text())
        source, target = (np.asarray(Image.open(folder / f"{stem}_{kind}.png")) for kind in ("source", "target"))
        assert source.shape == target.shape == (128, 128) and source.dtype == np.uint8
        assert (said["lattice"], said["seed"], said["index"], said["size"]) == ("kagome", 5, index, 128)
        sites = np.array(said["sites"])
        assert read(target, sites).bonds.tolist() == said["bonds"]
        assert (source >= target).all() and (source > target).any()
        assert 0 <= said["style"]["line_grey"] <= 0.5


def test_equal_options_write_equal_bytes_and_more_pairs_keep_the_first(tmp_path):
    options = ["--size", "64", "--seed", "1"]
    for name, more in (("one", ["-n", "2"]), ("two", ["-n", "2"]), ("more", ["-n", "4"]), ("other", ["-n", "2"])):
        options_ = ["--size", "64", "--seed", "2"] if name == "other" else options
        assert main([str(tmp_path / name), *more, *options_]) == 0
    one, more = contents(tmp_path / "one"), contents(tmp_path / "more")
    assert one == contents(tmp_path / "two")
    assert len(more) == 12 and one == {name: more[name] for name in one}
    other = contents(tmp_path / "other")
    assert all(one[name] != other[name] for name in one)


def test_ranges_are_kept(tmp_path):
    options = ["--cells", "2", "2", "--line-grey", "0.3", "0.4", "--disorder", "0", "0", "--lattices", "square"]
    assert main([str(tmp_path), "-n", "2", *options, "--no-symmetries"]) == 0
    said = json.loads((tmp_path / "0002.json").read_text())
    assert len(said["sites"]) == 4 and 0.3 <= said["style"]["line_grey"] <= 0.4
    assert said["sites"][0] == pytest.approx(np.min(said["sites"], axis=0))


def test_existing_files_are_kept(tmp_path, capsys):
    assert main([str(tmp_path), "-n", "1", "--size", "64"]) == 0
    before = contents(tmp_path)
    assert main([str(tmp_path), "-n", "2", "--size", "64", "--seed", "9"]) == 2
    assert contents(tmp_path) == before
    assert "already holds pair 0001" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, said",
    [
        (["--lattices", "penrose"], "penrose"),
        (["--disorder", "0.2", "0.1"], "disorder="),
        (["-n", "0"], "number=0"),
        (["--size", "8"], "size=8"),
        (["--seed", "-1"], "seed=-1"),
        (["--size", "32", "--cells", "20", "20"], "size=32 px is too small"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_writes_nothing(tmp_path, capsys, options, said):
    folder = tmp_path / "pairs"
    assert main([str(folder), *options]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file"), "-n", "1"]) == 2
    assert main([str(tmp_path / "file" / "below"), "-n", "1"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all("cannot be written" in error for error in errors)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_sentence(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert main([str(tmp_path), "-n", "1", "--size", "64"]) == 2
    assert "cannot be written: Permission denied" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_runs_and_helps(tmp_path):
    command = [sys.executable, "-m", "ganforge.lattice"]
    wide = {**os.environ, "COLUMNS": "500"}  # no name is divided
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, env=wide).stdout
    for word in (*LATTICES, "--seed", "--disorder", "--breathing", "_target.png", "default"):
        assert word in helped
    wrong = subprocess.run([*command, str(tmp_path), "--lattices", "x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr
