"""`ganforge extractor`: trains the classifier whose features `evaluation=domain` compares pictures by."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ganforge.data.module import DataModule
from ganforge.errors import require
from ganforge.evaluation.extractor import (
    FORMAT,
    LEAST_ACCURACY,
    DomainExtractor,
    check_name,
    unit,
    weights_hash,
)
from ganforge.files.folders import make_writable, replace

LARGEST_SCALED = 5000  # training pictures that the scale of the features is taken from
LEAST_EPOCHS, LEAST_STEPS = 4, 500  # unless told otherwise: small sets need more epochs
LARGEST_DEFAULT_SIZE = 64  # px; larger pictures are shrunk by the extractor unless it is given a size


def train_extractor(
    data: DataModule,
    *,
    name: str,
    output: Path,
    epochs: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    size: int | None = None,
    device: str | None = None,
    least_accuracy: float = LEAST_ACCURACY,
    progress: bool = True,
) -> dict[str, Any]:
    """Train a classifier on data.labelled("train"), test it on data.labelled("test"), write `output`.

    Of labels (N,) it says the class; of labels (N, D) of 0 and 1 which of D attributes each picture has.
    name: stands in the names of its numbers, as in fd/NAME. epochs: None for 4, or as many as make 500 steps. size:
    pixels a side that it sees; None: those of the data, 64 at most. learning_rate: the peak of a one-cycle schedule of
    Adam. Training pictures are shifted by up to 7 %. least_accuracy: of the test pictures, in [0, 1]; below it there is
    a warning, now and wherever the extractor is used.

    Returns what the file says of the extractor: name, class_names, channels, size, test_accuracy in [0, 1] (by the
    float32 weights that are saved), test_images, least_accuracy, train_images, epochs, seed, data (its fingerprint),
    hash. Raises UserError, before the training, for data with fewer than two classes and for a wrong argument.
    """
    check_name(name, f"name={name}")
    require(epochs is None or (isinstance(epochs, int) and epochs >= 1), f"epochs={epochs}: 1 or more, or none")
    require(isinstance(batch_size, int) and batch_size >= 2, f"batch_size={batch_size}: 2 or more")
    require(size is None or (isinstance(size, int) and size >= 8), f"size={size}: 8 pixels or more, or none")
    require(
        isinstance(least_accuracy, int | float) and 0 <= least_accuracy <= 1,
        f"least_accuracy={least_accuracy}: a share, from 0 (never warn) to 1",
    )
    output = Path(output)
    require(not output.is_dir(), f"output={output}: is a folder; give the name of a file, such as {name}.pt")
    make_writable(output.parent, f"output={output}")
    classes = _check_classes(data)
    (train, train_labels), (test, test_labels) = data.labelled("train"), data.labelled("test")
    epochs = epochs or max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / max(1, len(train) // batch_size)))
    channels, *edges = train[0].shape
    size = size or min(max(edges), LARGEST_DEFAULT_SIZE)
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    images = _stack(train, size, "reading the training pictures", progress)
    labels = _labels(train_labels)
    card = {
        "name": name,
        "class_names": classes,
        "channels": channels,
        "size": size,
        "widths": [32, 64, 128, 128][: 3 if size <= 32 else 4],
        "attributes": labels.ndim == 2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extractor = DomainExtractor(card=card)
    _fit(extractor.to(target), images, labels, epochs, batch_size, learning_rate, seed, progress)
    extractor.eval().float()
    _scale_features(extractor, images[:LARGEST_SCALED], batch_size)
    accuracy = _accuracy(extractor, test, _labels(test_labels), batch_size)
    weights = {key: value.detach().cpu().contiguous() for key, value in extractor.state_dict().items()}
    card |= {
        "test_accuracy": accuracy,
        "test_images": len(test),
        "least_accuracy": float(least_accuracy),
        "train_images": len(train),
        "epochs": epochs,
        "seed": seed,
        "data": data.fingerprint(),
        "hash": weights_hash(weights),
    }
    with replace(output) as file:
        torch.save({"ganforge_extractor": FORMAT, **card, "weights": weights}, file)
    print(f"{name}: {100 * accuracy:.2f} % of {len(test):,} test pictures are classified right; written to {output}")
    if extractor.warning:
        print(f"warning: {extractor.warning}")
    return card


def _check_classes(data: DataModule) -> list[str]:
    """The names of the classes; UserError unless there are two or more, and pictures of each to train on."""
    classes, kind = list(data.class_names), type(data).__name__
    sets = {split: data.labelled(split) for split in ("train", "test")}
    require(
        len(classes) >= 1 + (data.domains is None) and all(values is not None for _, values in sets.values()),
        f"{kind} has {len(classes) or 'no'} classes; an extractor is a classifier, so it needs a data set with two or "
        "more, such as data=mnist",
    )
    for split, (pictures, values) in sets.items():
        require(
            len(values) == len(pictures) > 0,
            f"{kind} has {len(values)} labels for {len(pictures)} {split} pictures; each needs one",
        )
    known = sets["train"][1]
    there = [
        np.any(known[:, label] > 0) if known.ndim == 2 else np.any(known == label) for label in range(len(classes))
    ]
    empty = [name for name, some in zip(classes, there, strict=True) if not some]
    require(not empty, f"{kind} has no training pictures of {', '.join(empty[:5])}; leave out the class, or add some")
    return classes


def _labels(values: np.ndarray) -> Tensor:
    """Classes as int64 (N,), attributes as float32 (N, D)."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32 if np.ndim(values) == 2 else np.int64))


def _stack(dataset: Dataset, size: int, title: str, progress: bool) -> Tensor:
    """All pictures in memory as uint8 (N, C, size, size)."""
    rows, shown = [], None if progress else True
    for index in tqdm(range(len(dataset)), desc=title, unit=" pictures", leave=False, disable=shown):
        image = dataset[index]
        if image.shape[-2:] != (size, size):
            image = F.interpolate(image[None].float(), (size, size), mode="bilinear", antialias=True)[0]
            image = image.round().clamp(0, 255).to(torch.uint8)
        rows.append(image)
    return torch.stack(rows)


def _shift(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Move each of (B, C, S, S) by up to `most` pixels along both axes; the edge is repeated."""
    if most == 0:
        return images
    count, _, side, _ = images.shape
    padded = F.pad(images.float(), (most,) * 4, mode="replicate").to(images.dtype)
    top, left = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    rows, columns = top + torch.arange(side), left + torch.arange(side)
    return padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _fit(
    extractor: DomainExtractor,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: bool,
) -> None:
    device = extractor.head.weight.device
    generator = torch.Generator().manual_seed(seed)
    batch_size = min(batch_size, len(images))
    steps = len(images) // batch_size
    optimizer = torch.optim.Adam(extractor.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps)
    most = max(1, round(0.07 * extractor.size))
    extractor.train().to(memory_format=torch.channels_last)
    bar = tqdm(total=epochs * steps, desc=extractor.name, unit=" batches", disable=None if progress else True)
    with bar, torch.enable_grad():
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=generator)
            for rows in order[: steps * batch_size].split(batch_size):
                batch = _shift(images[rows], most, generator).to(device).contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=_fast_bfloat16(device)):
                    _, logits = extractor.layers(unit(batch, extractor.size))
                loss_of = F.binary_cross_entropy_with_logits if labels.ndim == 2 else F.cross_entropy
                loss = loss_of(logits.float(), labels[rows].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
                if bar.n % 20 == 0:
                    bar.set_postfix(loss=f"{loss.item():.3f}")
    extractor.to(memory_format=torch.contiguous_format)


@torch.inference_mode()
def _scale_features(extractor: DomainExtractor, images: Tensor, batch_size: int) -> None:
    """Make the mean square of the features 1, near that of Inception's, and leave the logits as they are.

    The cubic kernel of the kernel distance sees nothing but the largest features where all of them are large.
    """
    device = extractor.head.weight.device
    squares = [
        extractor.layers(unit(batch.to(device), extractor.size))[0].square().sum() for batch in images.split(batch_size)
    ]
    scale = (torch.stack(squares).sum() / (len(images) * extractor.hidden.out_features)).clamp(min=1e-12).rsqrt()
    extractor.hidden.weight.mul_(scale)
    extractor.hidden.bias.mul_(scale)
    extractor.head.weight.div_(scale)


def _accuracy(extractor: DomainExtractor, dataset: Dataset, labels: Tensor, batch_size: int) -> float:
    """The share of pictures whose class is right; of attributes the share of these, over all pictures."""
    device = extractor.head.weight.device
    right = 0
    with torch.inference_mode():
        for rows in torch.arange(len(dataset)).split(batch_size):
            images = torch.stack([dataset[index] for index in rows.tolist()]).to(device)
            logits = extractor.layers(unit(images, extractor.size))[1].cpu()
            found = (logits > 0).float() if labels.ndim == 2 else logits.argmax(dim=1)
            right += int((found == labels[rows]).sum())
    return right / labels.numel()


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(features.get("amx_bf16") or features.get("avx512_bf16"))
