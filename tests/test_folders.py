"""Names and files of somebody else: a name is one file's, a pipe is no file."""

import os
from pathlib import Path

import pytest

from ganforge.files.folders import open_file, plain_name

HOSTILE = [
    "../../outside",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "a\nb",
    "a\0b",
    "\x1b[31mred",
    "\ud800",
    "x" * 254,
    "x" * 10_000,
    "ü" * 130,
]


def test_plain_names_stay():
    for name in ("plain", "Été 3", "a.b", "...x", ".hidden", "-rf", "図", "x" * 251):
        assert plain_name(name, ".png") == f"{name}.png"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("suffix", ["", ".graphml"])
def test_any_other_name_becomes_one_of_a_file_of_its_folder(tmp_path, name, suffix):
    plain = plain_name(name, suffix)
    file = tmp_path / plain
    assert file.parent == tmp_path and file.resolve().parent == tmp_path.resolve()
    file.touch()
    assert [entry.name for entry in tmp_path.iterdir()] == [plain]
    assert plain.endswith(suffix) and plain.isprintable()


def test_different_names_stay_different():
    names = [*HOSTILE, "a_b", "x" * 9_999, "ü" * 129 + "v", "__"]
    assert len({plain_name(name, ".png") for name in names}) == len(names)


def test_only_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with open_file(tmp_path / "file") as file:
        assert file.read() == b"x"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"no file|directory"):
            open_file(path)
