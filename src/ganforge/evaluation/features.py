"""From images to features, by Inception as torch-fidelity has it or by a domain extractor; those of real ones kept."""

import hashlib
import io
import socket
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torch_fidelity import FeatureExtractorBase, FeatureExtractorInceptionV3
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.metric_fid import fid_features_to_statistics
from torchmetrics.utilities.distributed import gather_all_tensors
from tqdm import tqdm

from ganforge.data.module import DataModule
from ganforge.errors import UserError, require
from ganforge.evaluation.extractor import load_extractor, read_tensors, weights_hash
from ganforge.evaluation.squeezenet import is_squeezenet, load_squeezenet
from ganforge.files.folders import open_file, remove_abandoned, replace

INCEPTION = "inception-v3-compat"  # torch-fidelity's name for it
INCEPTION_LAYERS = ("2048", "logits_unbiased")  # its defaults for FID and KID, and for the Inception Score
PUBLISHED_SHA256 = "6726825d"  # first digits, as in the name of the file
_FILE = URL_INCEPTION_V3.rsplit("/", 1)[-1]
_ARGUMENT = "evaluation.metrics.fidelity.weights"
_EXTRACTOR = "evaluation.metrics.fidelity.extractor"
_SECONDS = 30  # without an answer, after which a download is given up


class FeatureNetwork:
    """A network that turns pictures into features and logits, and what must be said of it.

    name: None for Inception, else the domain extractor's, or squeezenet. hash: of its weights. dimensions: of a
    feature. class_names: of the logits, where it is a domain extractor. channels: 1 or 3 that it takes; None for both.
    """

    def __init__(self, module: FeatureExtractorBase, *, digest: str, origin: dict[str, Any]):
        self.module, self.hash, self.origin = module, digest, origin
        inception = isinstance(module, FeatureExtractorInceptionV3)
        self.name = None if inception else module.name
        self.channels = None if inception else module.channels
        self.class_names = () if inception else module.class_names
        self.dimensions = 2048 if inception else module.dimensions
        self.outputs = module.fc.out_features if inception else module.outputs

    def __deepcopy__(self, memo: dict) -> "FeatureNetwork":
        return self  # 91 MiB, never changed

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, D) and logits (B, K), float32, of uint8 (B, C, H, W), on the images' device.

        Outside autocast, with torch's own defaults for the GPU, so that numbers are those of torch-fidelity's command
        line whatever the training uses. Grey pictures are given to Inception three times.
        """
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                torch.autocast(images.device.type, enabled=False),
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=True),
            ):
                self.module.to(images.device)
                if self.name is None and images.shape[1] == 1:
                    images = images.repeat(1, 3, 1, 1)
                return self.module(images)
        finally:
            torch.set_float32_matmul_precision(precision)

    def check_channels(self, channels: int, what: str) -> None:
        """Raise UserError where pictures of so many channels are not for this network."""
        kinds = {1: "grey", 3: "RGB"}
        require(
            self.channels in (None, channels),
            f"evaluation.metrics.fidelity.extractor: {self.name} was trained on {kinds.get(self.channels)} pictures "
            f"({self.channels} channels), but {what} has {kinds.get(channels)} ones ({channels}); train an extractor "
            "on this data with `ganforge extractor`",
        )

    def resizer(self, height: int, width: int) -> str:
        """How pictures of this size are brought to the network's."""
        if self.name is None:
            return "bilinear as in TensorFlow 1, without antialiasing, to 299x299 (torch-fidelity)"
        return self.module.resizer(height, width)

    def describe(self) -> dict[str, Any]:
        return {"extractor": self.name or INCEPTION, "extractor_hash": self.hash, **self.origin}


def open_network(
    extractor: str | Path | None, weights: str | Path | None, class_names: Sequence[str] = ()
) -> FeatureNetwork:
    """The domain extractor in a file, or SqueezeNet with the weights in it; with None Inception, with `weights` or
    those that torch-fidelity downloads.

    class_names: of the data, see `load_extractor`.
    Nothing that a file contains is run. Raises UserError where weights are missing and cannot be downloaded, and for
    files that are damaged or something else.
    """
    if extractor is not None and Path(extractor).is_file():
        contents = read_tensors(Path(extractor), _EXTRACTOR)
        if is_squeezenet(contents):
            squeezenet = load_squeezenet(contents, Path(extractor), f"{_EXTRACTOR}={extractor}")
            origin = {"weights": str(extractor), "channel_order": "BGR" if squeezenet.bgr else "RGB"}
            return FeatureNetwork(squeezenet, digest=weights_hash(squeezenet.state_dict()), origin=origin)
    if extractor is not None:
        module = load_extractor(extractor, class_names=class_names)
        origin = {"extractor_file": str(extractor)}
        for key in ("test_accuracy", "test_images", "data"):
            origin[f"extractor_{key}"] = module.card.get(key)
        if module.warning:
            origin["extractor_warning"] = module.warning
        return FeatureNetwork(module, digest=module.card["hash"], origin=origin)
    path = _find_inception(weights)
    state = read_tensors(path, _ARGUMENT)
    # torch-fidelity would load a file with whatever code it contains, so it is handed the tensors that were read.
    safe = io.BytesIO()
    torch.save(state, safe)
    safe.seek(0)
    try:
        module = FeatureExtractorInceptionV3(INCEPTION, [*INCEPTION_LAYERS], feature_extractor_weights_path=safe)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(
            f"{_ARGUMENT}={path}: are not the weights of Inception in torch-fidelity's layout "
            f"({str(error).splitlines()[0]}); {_remedy()}"
        ) from error
    published = hashlib.sha256(path.read_bytes()).hexdigest().startswith(PUBLISHED_SHA256)
    origin = {"weights": str(path), "weights_as_published": published}
    return FeatureNetwork(module, digest=weights_hash(module.state_dict()), origin=origin)


def _find_inception(weights: str | Path | None) -> Path:
    """The file of weights: the given one, or torch-fidelity's download, tried here so that it fails before training."""
    if weights is not None:
        require(Path(weights).is_file(), f"{_ARGUMENT}={weights}: no such file; {_remedy()}")
        return Path(weights)
    path = Path(torch.hub.get_dir()) / "checkpoints" / _FILE
    if path.is_file():
        return path
    rank_zero_only(print)(f"downloading the weights of Inception, 91 MB, to {path.parent}", flush=True)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=PUBLISHED_SHA256)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"FID and its like need the weights of Inception, 91 MB, which could not be downloaded ({_reason(error)}); "
            f"{_remedy()}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return path


def _reason(error: Exception) -> str:
    """Of a download, in a few words."""
    reason = getattr(error, "reason", None) or error
    return getattr(reason, "strerror", None) or (str(reason).splitlines() or [type(reason).__name__])[0]


def _remedy() -> str:
    return (
        f"add evaluation=pixels, which needs none, or {_ARGUMENT}=FILE with {_FILE}, or {_EXTRACTOR}=FILE with the "
        "weights of SqueezeNet or of `ganforge extractor`"
    )


def extract(
    dataset: Dataset,
    network: FeatureNetwork,
    *,
    batch_size: int,
    device: torch.device,
    indices: Sequence[int] | None = None,
    num_workers: int = 0,
    title: str = "features",
    progress: bool = True,
) -> tuple[Tensor, Tensor]:
    """Features (N, D) and logits (N, K), float32 on the CPU, of a data set of uint8 (C, H, W), or of some of its rows.

    Raises UserError where the pictures differ in size.
    """
    rows = dataset if indices is None else Subset(dataset, indices)
    features, logits = [torch.empty(0, network.dimensions)], [torch.empty(0, network.outputs)]
    loader = DataLoader(rows, batch_size=batch_size, num_workers=num_workers, collate_fn=list) if len(rows) else ()
    with tqdm(total=len(rows), desc=title, unit=" images", leave=False, disable=None if progress else True) as bar:
        for images in loader:
            found = network(_together(images).to(device))
            features.append(found[0].cpu())
            logits.append(found[1].cpu())
            bar.update(len(images))
    return torch.cat(features), torch.cat(logits)


def _together(images: list[Tensor]) -> Tensor:
    shapes = list(dict.fromkeys(tuple(image.shape) for image in images))
    if len(shapes) > 1:
        found = ", ".join("x".join(map(str, shape)) for shape in shapes[:3])
        raise UserError(f"the pictures to compare differ in size (channels x height x width: {found}); make them equal")
    return torch.stack(images)


class Reference:
    """Features of the real pictures of each split of `data`, taken once, by all ranks together, and kept in a folder.

    Kept under the data's fingerprint, the split, the number and size of its pictures and the network's hash; a file
    that is damaged is made again. Copies share it.
    """

    def __init__(self, data: DataModule, network: FeatureNetwork, *, folder: Path, batch_size: int):
        self.data, self.network, self.folder, self.batch_size = data, network, folder, batch_size
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._known: dict[str, Tensor] = {}
        self._statistics: dict[str, dict[str, np.ndarray]] = {}

    def __deepcopy__(self, memo: dict) -> "Reference":
        return self

    def split_of(self, dataset: Dataset) -> str:
        """The name of a data set of `data` that is evaluated."""
        return next(name for name, own in self.data.sets.items() if own is dataset)

    def features(self, split: str, device: torch.device) -> Tensor:
        """float32 (N, D) on the CPU; called by all ranks at once."""
        if split not in self._known:
            pictures = self.data.real(split)
            self.shapes[split] = tuple(pictures[0].shape)
            key = [self.data.fingerprint(), split, len(pictures), self.shapes[split]]
            key = repr([*key, self.network.name or INCEPTION, self.network.hash])
            digest = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
            path = self.folder / f"{self.network.name or INCEPTION}-{split}-{len(pictures)}-{digest}.npz"
            found = read_features(path, key)
            if found is not None and found.shape != (len(pictures), self.network.dimensions):
                found = None  # somebody else's
            if not _on_all_ranks(found is not None, device):
                fresh = self._extract(pictures, split, device)
                if found is None:
                    remove_abandoned(self.folder, "*.npz")
                    with replace(path) as file:
                        np.savez(file, key=np.array(key), features=fresh.numpy())
                found = fresh
            self._known[split] = found
        return self._known[split]

    def statistics(self, split: str) -> dict[str, np.ndarray]:
        """Mean and covariance of `features(split)` as torch-fidelity takes them for FID."""
        if split not in self._statistics:
            self._statistics[split] = fid_features_to_statistics(self._known[split])
        return self._statistics[split]

    def _extract(self, pictures: Dataset, split: str, device: torch.device) -> Tensor:
        rank, ranks = _rank()
        share, _ = extract(
            pictures,
            self.network,
            batch_size=self.batch_size,
            device=device,
            indices=range(rank, len(pictures), ranks),
            num_workers=self.data.num_workers,
            title=f"features of the real pictures ({split})",
            progress=rank == 0,
        )
        if ranks == 1:
            return share
        features = share.new_empty(len(pictures), self.network.dimensions)
        for other, part in enumerate(gather_all_tensors(share.to(device))):
            features[other::ranks] = part.cpu()
        return features


def read_features(path: Path, key: str) -> Tensor | None:
    """Features that were kept under `key`; None where there are none, or the file is damaged or of something else."""
    try:
        with open_file(path) as stored, np.load(stored, allow_pickle=False) as file:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in file.zip.infolist()):
                return None  # nothing of ours, and perhaps as large as the memory
            if str(file["key"]) != key:
                return None
            features = torch.from_numpy(file["features"])
    except Exception:  # readers of damaged files raise nearly anything
        return None
    return features if features.dtype == torch.float32 and bool(features.isfinite().all()) else None


def _rank() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _on_all_ranks(here: bool, device: torch.device) -> bool:
    if _rank()[1] == 1:
        return here
    flag = torch.tensor(int(here), device=device)
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MIN)
    return bool(flag)


def chunks(buffer: list[Tensor], size: int) -> Iterator[Tensor]:
    """Whole batches of `size` from the front of a list of image batches, which keeps the rest."""
    while sum(map(len, buffer)) >= size:
        together = torch.cat(buffer)
        buffer[:] = [together[size:]] if len(together) > size else []
        yield together[:size]
