"""Grids of pictures, held against torchvision's."""

import pytest
import torch
from torchvision.utils import make_grid

from ganforge.pictures import grids


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_square_grid_is_that_of_torchvision(count, channels):
    pictures = torch.rand(count, channels, 6, 5) * 2 - 1
    expected = make_grid((pictures + 1) / 2, nrow=max(1, round(count**0.5)), padding=2, pad_value=0.6)
    assert torch.allclose(grids.square(pictures), expected, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("count", [1, 4])
def test_rows_are_those_of_torchvision(count, columns):
    pictures = [torch.rand(count, 1, 6, 6) * 2 - 1 for _ in range(columns)]
    together = torch.stack(pictures, 1).flatten(0, 1)
    expected = make_grid((together + 1) / 2, nrow=columns, padding=4, pad_value=0.6)
    assert torch.allclose(grids.rows(pictures), expected, atol=1e-6)


def test_the_pictures_of_a_file_are_those_of_its_grid(tmp_path):
    pictures = torch.randint(0, 256, (5, 3, 8, 8)) / 127.5 - 1
    grids.save(grids.square(pictures), tmp_path / "grid.png")
    assert torch.allclose(grids.cells(tmp_path / "grid.png", 8, 2)[:5], pictures, atol=1e-6)


@pytest.mark.parametrize("size", [8, 16, 64])
def test_named_columns_are_above_the_pictures_and_read_back(tmp_path, size):
    columns = [torch.randint(0, 256, (3, 3, size, size)) / 127.5 - 1 for _ in range(3)]
    names = ["source", "result", "A to B to A"]
    page, plain = grids.rows(columns, names), grids.rows(columns)
    grids.save(page, tmp_path / "grid.png")
    above = page.shape[1] - plain.shape[1]
    assert above > 8 and torch.equal(page[:, above:], plain)
    inked = (page[:, :above] < 0.5).any(dim=0).any(dim=0)
    assert all(inked[4 + column * (size + 4) :][:size].any() for column in range(3))
    assert torch.allclose(grids.cells(tmp_path / "grid.png", size, 4, names)[1::3], columns[1], atol=1e-6)


@pytest.mark.parametrize("size", [8, 13, 32])
@pytest.mark.parametrize("names", ["ab", ["crazing", "rolled-in_scale", "patches"], ["x" * 90, "\x1b[31m"]])
def test_a_grid_of_classes_has_a_named_column_for_each(tmp_path, names, size):
    names = list(names)
    pictures = torch.randint(0, 256, (11, 1, size, size)) / 127.5 - 1
    labels = torch.arange(11) % len(names)
    labels[3] = labels[2]  # unequally many of each
    page = grids.by_class(pictures, labels, names)
    longest, cell = int(labels.bincount().max()), size + 2
    assert page.shape[2] == len(names) * cell + 2 and page.shape[1] > longest * cell + 2
    over = page[:, : page.shape[1] - longest * cell - 2]
    for column in range(len(names)):  # something is written over each
        assert over[:, :, 2 + column * cell : 2 + (column + 1) * cell].min() < 0.3
    grids.save(page, tmp_path / "grid.png")
    found = grids.cells(tmp_path / "grid.png", size, 2, names).unflatten(0, (longest, len(names)))
    for label in range(len(names)):
        own = pictures[labels == label].expand(-1, 3, -1, -1)
        assert torch.allclose(found[: len(own), label], own, atol=1e-6)


def test_classes_that_are_not_there_have_no_column_and_too_many_no_names():
    pictures = torch.rand(6, 3, 8, 8) * 2 - 1
    labels = torch.tensor([0, 2, 0, 2, 0, 2])
    assert grids.by_class(pictures, labels, ["a", "b", "c"]).shape[2] == 2 * 10 + 2
    for names, known in ((["a"] * 7, labels), (["a", "b", "c"], None), ([], labels)):
        assert torch.equal(grids.by_class(pictures, known, names), grids.square(pictures))
