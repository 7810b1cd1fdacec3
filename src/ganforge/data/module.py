"""What every data module shares: which picture comes when, and how pictures become batches."""

import atexit
import multiprocessing
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.seed import pl_worker_init_function
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ganforge.errors import require
from ganforge.game.domains import Domains
from ganforge.pictures.sides import Side


class EpochBatches(Sampler[list[int]]):
    """Batches of the virtual indices of one epoch: epoch * n + i, in a seeded random order, every rank its share.

    A virtual index never repeats over a training, so a data set can draw all randomness of a sample (crop, flip, a
    fresh network) from (seed, virtual index) alone: the same pictures for any number of workers and ranks. The picture
    of a fixed set is virtual index % n. Every rank gets the same number of batches, all of them full; a remainder is
    left for the next epoch's order.

    position: gives (epoch, batches of it that were already used). It is asked when an iterator is made, and not when
    the first batch is taken from it: workers take batches in advance.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int,
        position: Callable[[], tuple[int, int]],
        rank: int = 0,
        world_size: int = 1,
    ):
        self.n, self.batch_size, self.seed, self.position = n, batch_size, seed, position
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[list[int]]:
        epoch, used = self.position()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.n, generator=generator).tolist()
        share = [epoch * self.n + index for index in order[self.rank :: self.world_size]]
        begins = range(used * self.batch_size, len(self) * self.batch_size, self.batch_size)
        return (share[begin : begin + self.batch_size] for begin in begins)

    def __len__(self) -> int:
        """Batches of a whole epoch, on each rank."""
        return self.n // self.world_size // self.batch_size


class RealPictures(Dataset):
    """n real pictures as uint8 (C, H, W) tensors; `picture(i)` gives them as arrays."""

    def __init__(self, n: int, picture: Callable[[int], np.ndarray]):
        self.n, self.picture = n, picture

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self.n:
            raise IndexError(f"picture {index} of {self.n}")
        return torch.from_numpy(np.array(self.picture(index)))


class DataModule(pl.LightningDataModule):
    """Batches the data sets of a subclass.

    A subclass states in `provides` what its batches hold ("paired": {"source", "target"}), and returns from
    `datasets()` a data set for "train", for "val" and for each test set ("test" first). Images are float32 (C, H, W) in
    [-1, 1]. Everything that can be wrong with the data raises UserError in `datasets()`, before training starts.
    """

    provides: frozenset[str] = frozenset()
    # How a picture of another size is brought to the model's at prediction: "squash" (as in training), or "pad"; "crop"
    # where training cut its pictures at their own scale.
    fit_to_size = "squash"
    # How pictures are resized to it, one of `images.INTERPOLATIONS`.
    source_interpolation = "bicubic"
    # What the numbers of "source" and "target" mean; None where they are 8 bits of ordinary pictures.
    sides: Mapping[str, Side] | None = None
    # `ganforge.pictures.colour.SPACE`, where "source" is lightness and "target" colour; None where they are pictures.
    colour_space: str | None = None
    # The name of each label; empty without classes.
    class_names: tuple[str, ...] = ()
    # What pictures can be translated to, where that is chosen for each.
    domains: Domains | None = None

    def __init__(self, *, size: int, batch_size: int, num_workers: int, seed: int, **channels: int):
        super().__init__()
        require(isinstance(size, int) and size >= 8, f"data.size={size}: a whole number of pixels, 8 or more")
        require(isinstance(batch_size, int) and batch_size >= 1, f"data.batch_size={batch_size}: 1 or more")
        require(isinstance(num_workers, int) and num_workers >= 0, f"data.num_workers={num_workers}: 0 or more")
        require(isinstance(seed, int) and seed >= 0, f"seed={seed}: a whole number, 0 or more")
        for name, count in channels.items():
            require(count in (1, 3), f"data.{name}={count}: 1 (grey) or 3 (RGB)")
        self.size, self.batch_size, self.num_workers, self.seed = size, batch_size, num_workers, seed
        self.channels = channels
        self._sets: dict[str, Dataset] | None = None

    def datasets(self) -> dict[str, Dataset]:
        """{"train": ..., "val": ..., "test": ..., further test sets}; raises UserError for whatever is wrong."""
        raise AssertionError(f"{type(self).__name__} must define datasets()")

    def fingerprint(self) -> str:
        """A short hash that is equal for equal data."""
        raise AssertionError(f"{type(self).__name__} must define fingerprint()")

    def real(self, split: str) -> Dataset:
        """The real pictures of a split that generated ones are compared with, each once, without augmentation.

        Items are uint8 (C, H, W) tensors; for paired data the targets.
        """
        raise AssertionError(f"{type(self).__name__} must define real(split)")

    def training_split(self, name: str) -> str:
        """The split of `real` with the training pictures of the kind that is generated for the data set `name`."""
        return "train"

    def real_labels(self, split: str) -> np.ndarray | None:
        """The labels of `real(split)`, int64 (N,); None without classes."""
        return None

    def adopt(self, sides: Mapping[str, Side] | None) -> None:
        """Take what a checkpoint says that numbers mean, where these data would find that out."""

    def serve(self, outputs: Collection[str]) -> None:
        """Take what a user gets of the model, by name: what is none of it is not tested."""

    def drawing(self) -> dict[str, Any] | None:
        """For the checkpoint's card: how sites are drawn (`ganforge.lattice.canonical.Look`); None for other data."""
        return None

    @property
    def settled(self) -> dict[str, Any]:
        """What became of settings of which the data decide, by name."""
        return {}

    def view(self, side: str, pictures: Tensor) -> Tensor:
        """Pictures (B, C, H, W) of "source" or "target" as they are shown: (B, 1 or 3, H, W) in [-1, 1]."""
        return pictures

    def compared(self, batch: dict[str, Tensor], generated: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """A batch and what was generated for it as they are compared and shown: as pictures."""
        return batch, generated

    @property
    def compared_channels(self) -> tuple[int, ...]:
        """Of source and target, or of pictures from noise, as `compared` gives them."""
        return tuple(self.channels.values())

    def labelled(self, split: str) -> tuple[Dataset, np.ndarray | None]:
        """What a classifier is trained on, or tested: pictures as `real` gives them, and their labels."""
        return self.real(split), self.real_labels(split)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided on the user's behalf, as sentences; shown at the start of a run."""
        return ()

    @property
    def sets(self) -> dict[str, Dataset]:
        """The data sets, made at the first use and checked against the batch size."""
        if self._sets is None:
            sets = self.datasets()
            count = len(sets["train"])
            require(
                count >= self.batch_size,
                f"data.batch_size={self.batch_size} but there are only {count} training pictures: "
                f"use data.batch_size={count} or less",
            )
            self._sets = sets
        return self._sets

    @property
    def test_names(self) -> list[str]:
        """The names of the test sets, in the order of `test_dataloader`."""
        return [name for name in self.sets if name not in ("train", "val")]

    def train_dataloader(self) -> DataLoader:
        dataset = self.sets["train"]
        batches = EpochBatches(
            len(dataset),
            self.batch_size,
            seed=self.seed,
            position=self._position,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self._loader(dataset, batch_sampler=batches, persistent_workers=self.num_workers > 0)

    def _position(self) -> tuple[int, int]:
        """The epoch that is to be trained next or goes on, and how many of its batches each rank has used."""
        epochs = self.trainer.fit_loop.epoch_progress.current
        batches = self.trainer.fit_loop.epoch_loop.batch_progress
        # As a checkpoint says it, too: one of an epoch's end was written before or after the epoch was counted.
        if batches.is_last_batch or epochs.processed == epochs.ready:
            return epochs.ready, 0
        return epochs.ready - 1, batches.current.processed

    def val_dataloader(self) -> DataLoader:
        return self._in_order(self.sets["val"])

    def test_dataloader(self) -> list[DataLoader]:
        return [self._in_order(self.sets[name]) for name in self.test_names]

    def _in_order(self, dataset: Dataset) -> DataLoader:
        indices = range(self.trainer.global_rank, len(dataset), self.trainer.world_size)
        return self._loader(dataset, sampler=indices, batch_size=self.batch_size)

    def _loader(self, dataset: Dataset, **options: Any) -> DataLoader:
        _end_workers_at_exit()
        return DataLoader(
            dataset,
            # A data set that makes whole batches has collated them; torch's fetcher asks for this method.
            collate_fn=_as_it_is if hasattr(dataset, "__getitems__") else None,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_begin_worker,
            # Its own: a loader that is made anew on resuming must not draw from the generator of the noise.
            generator=torch.Generator().manual_seed(self.seed),
            **options,
        )


@cache
def _end_workers_at_exit() -> None:
    """Python would ask them once by SIGTERM, and then wait."""
    atexit.register(lambda: [worker.kill() for worker in multiprocessing.active_children() if worker.daemon])


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(worker_id: int) -> None:
    pl_worker_init_function(worker_id)  # Python's, numpy's and torch's generators: others in each worker and rank
    # What asks a run to stop reaches every process of a terminal or of a scheduler's job; a worker that died of it
    # would break the batch that is being finished. The second SIGTERM ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))
