"""Pictures that generators drew before, for the critics: a history against which they do not swing with each update."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DRAWN = 2  # tells what a pool draws from other numbers that are drawn with the same seed


class ImagePool:
    """Up to `size` generated pictures of this process (Shrivastava et al. 2017; Zhu et al. 2017, section 4).

    While it is not full, each picture is kept and returned. Then with probability 1/2 a picture that was kept, drawn at
    random, is returned and the new one takes its place; else the new one is returned. size=0: always the new ones.
    stream: tells its random numbers from those of the other pools of a system.
    """

    def __init__(self, *, size: int, stream: int = 0):
        self.size, self.stream = size, stream
        self.pictures: list[Tensor] = []  # (C, H, W)
        self.queries = 0

    def query(self, images: Tensor, seed: int, rank: int = 0) -> Tensor:
        """Pictures to judge in place of new ones (B, C, H, W), as data; a function of them, seed, rank and history.

        Raises ValueError for pictures of another shape than those that are kept.
        """
        if not self.size:
            return images.detach()
        if self.pictures and self.pictures[0].shape != images.shape[1:]:
            raise ValueError(f"pictures {list(images.shape[1:])} for a pool of {list(self.pictures[0].shape)}")
        drawn = np.random.default_rng([seed, rank, self.stream, self.queries, _DRAWN])
        self.queries += 1
        chosen = []
        # Copies, and all in one memory format: equal bits after a resume, and no batch is kept for one picture of it.
        for image in images.detach().clone(memory_format=torch.contiguous_format):
            if len(self.pictures) < self.size:
                self.pictures.append(image.clone())
                chosen.append(image)
            elif drawn.random() < 0.5:
                place = int(drawn.integers(self.size))
                chosen.append(self.pictures[place])
                self.pictures[place] = image.clone()
            else:
                chosen.append(image)
        return torch.stack(chosen).contiguous(memory_format=torch.channels_last)

    def state_dict(self) -> dict[str, Any]:
        pictures = torch.stack(self.pictures).cpu() if self.pictures else torch.empty(0)
        return {"pictures": pictures, "queries": self.queries}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Raises ValueError for more pictures than it holds."""
        pictures = state["pictures"]
        if len(pictures) > self.size:
            raise ValueError(f"{len(pictures)} pictures for a pool of {self.size}")
        self.pictures, self.queries = [picture.to(device) for picture in pictures], state["queries"]
