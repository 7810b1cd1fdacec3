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
