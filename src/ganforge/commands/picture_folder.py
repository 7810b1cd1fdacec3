"""A folder of pictures as a data set, to be judged or compared with."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganforge.commands.sources import find, is_picture
from ganforge.pictures import images


class Folder(Dataset):
    """The pictures of a folder, or of the folders in it (one a class), as uint8 (channels, H, W)."""

    def __init__(self, folder: str | Path, channels: int):
        below = any(path.is_dir() for path in Path(folder).glob("*")) and not any(
            map(is_picture, Path(folder).glob("*"))
        )
        self.files = [source.file for source in find([folder], recursive=below)[0]]
        self.channels = channels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(images.read(self.files[index], self.channels).transpose(2, 0, 1)))
