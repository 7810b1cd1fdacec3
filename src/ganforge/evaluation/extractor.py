"""`evaluation=domain`: a small classifier of the user's own pictures, whose features stand in for Inception's."""

import hashlib
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from ganforge.errors import UserError, require
from ganforge.files import tensor_files
from ganforge.files.untrusted import printable
from ganforge.pictures.tensors import to_unit

FORMAT = 1  # of the file; raised when an older ganforge could not read it
LAYERS = ("features", "logits")

LEAST_ACCURACY = 0.8  # below which there is a warning, unless the file says otherwise
_ARGUMENT = "evaluation.metrics.fidelity.extractor"
_LONGEST_NAME = 64
_MOST_OTHERS = 20  # files that are looked at in place of one that is not there
_MOST = 4096  # px a side, channels of a block, classes

# What a file says of its extractor, and whether a value can be meant.
_CARD: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "class_names": lambda value: _are(str, value) and 1 <= len(value) == len(set(value)) <= _MOST,
    "channels": lambda value: type(value) is int and value in (1, 3),
    "size": lambda value: type(value) is int and 8 <= value <= _MOST,
    "widths": lambda value: _are(int, value) and all(1 <= width <= _MOST for width in value),
    "test_accuracy": lambda value: value is None or (type(value) is float and 0 <= value <= 1),
    "hash": lambda value: isinstance(value, str),
}
# What it may say beyond that; no other values go into results.
_MORE = {
    "test_images": int, "train_images": int, "epochs": int, "seed": int, "data": str, "least_accuracy": float,
    "attributes": bool,
}  # fmt: skip


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


class DomainExtractor(FeatureExtractorBase):
    """A classifier as torch-fidelity's feature extractor: uint8 (B, C, H, W) -> "features" (B, 128), "logits" (B, K).

    Blocks of convolution, batch norm, ReLU and 2×2 max pooling, then 3×3 averages and a hidden layer. Pictures of
    another size are resized by bilinear interpolation with antialiasing.

    card: what its file says of it: name, class_names, channels, size (px a side), widths (channels of the blocks),
    test_accuracy (None where it is not known), least_accuracy and more.
    """

    def __init__(self, *, card: dict[str, Any], features_list: tuple[str, ...] = LAYERS):
        super().__init__(card["name"], list(features_list))
        self.card = card
        self.class_names = tuple(card["class_names"])
        self.attributes = card.get(
            "attributes", False
        )  # whether the names are of attributes, which do not exclude others
        self.channels, self.size = card["channels"], card["size"]
        blocks, inputs = [], self.channels
        for width in card["widths"]:
            blocks += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            blocks.append(nn.MaxPool2d(2))
            inputs = width
        self.blocks = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.hidden = nn.Linear(9 * inputs, 128)
        self.head = nn.Linear(128, len(self.class_names))

    def __deepcopy__(self, memo: dict) -> "DomainExtractor":
        return self  # never changed after it was loaded

    @property
    def dimensions(self) -> int:
        return self.hidden.out_features

    @property
    def outputs(self) -> int:
        return self.head.out_features

    def resizer(self, height: int, width: int) -> str:
        """How pictures of this size are brought to its own."""
        size = self.size
        return "none" if height == width == size else f"bilinear with antialiasing to {size}x{size} (PyTorch)"

    @property
    def warning(self) -> str | None:
        """A sentence where its accuracy is below what its file calls the least."""
        accuracy, least = self.card["test_accuracy"], self.card.get("least_accuracy", LEAST_ACCURACY)
        if accuracy is None or accuracy >= least:
            return None
        return (
            f"the extractor {self.card['name']} is right in {accuracy:.1%} of its test pictures, of "
            f"{len(self.class_names)} classes, below {least:.0%}: its features tell little of such pictures, and by "
            "them a collapsed generator can look good; train it with more --epochs, on more pictures or on clearer "
            "classes, or compare by evaluation=pixels"
        )

    def layers(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 128) and logits (B, K) of float (B, channels, size, size) in [-1, 1]."""
        features = F.relu(self.hidden(self.blocks(images)))
        return features, self.head(features)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The layers of features_list, of uint8 (B, C, H, W).

        Grey pictures that were read as RGB, as torch-fidelity reads files, are accepted by a grey extractor. Raises
        ValueError for other channels and types.
        """
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError(f"{images.dtype} {tuple(images.shape)}: uint8 (B, C, H, W) is expected")
        if self.channels == 1 and images.shape[1] == 3 and bool((images == images[:, :1]).all()):
            images = images[:, :1]
        if images.shape[1] != self.channels:
            raise ValueError(f"{images.shape[1]} channels in colour; {self.name} was trained on {self.channels}")
        features, logits = self.layers(unit(images, self.size))
        values = {"features": features.float(), "logits": logits.float()}
        return tuple(values[name] for name in self.features_list)

    def get_name(self) -> str:
        """The name under which torch-fidelity caches: with the hash, since a name can be trained again."""
        return f"{self.name}-{self.card['hash']}"

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return LAYERS

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False


def unit(images: Tensor, size: int) -> Tensor:
    """uint8 (B, C, H, W) -> float32 (B, C, size, size) in [-1, 1]; bilinear with antialiasing."""
    images = images.float()
    if images.shape[-2:] != (size, size):
        images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return to_unit(images)


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that are equal for equal weights: names, types, shapes and values."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(state):
        value = state[name].detach().cpu()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_tensors(path: Path, argument: str) -> Any:
    """What a file of torch.save holds, tensors and plain values only; UserError for whatever else it is."""
    require(path.is_file(), f"{argument}={path}: no such file; give the path of a file")
    return tensor_files.read(path, f"{argument}={path}", legacy=True)


def load_extractor(path: str | Path, *, class_names: Sequence[str] = ()) -> DomainExtractor:
    """The extractor in a file of `ganforge extractor`, in evaluation mode; registered with torch-fidelity by its name.

    Loading runs nothing that the file contains. Raises UserError for a file that is missing, damaged, changed (its
    hash is checked) or of another program. class_names: of the data; where the file is missing, others beside it that
    know these classes are named.
    """
    argument = _ARGUMENT
    if not Path(path).is_file():
        raise UserError(
            f"{argument}={path}: no such file;{_others(Path(path).parent, class_names)} train it with `ganforge "
            f"extractor data=... --output {path}`, with the data set and settings of this training"
        )
    contents = read_tensors(Path(path), argument)
    name = f"{argument}={path}"
    remedy = "give a file that `ganforge extractor` wrote"
    require(
        isinstance(contents, dict) and "ganforge_extractor" in contents and isinstance(contents.get("weights"), dict),
        f"{name}: is a file of another program; {remedy}",
    )
    require(
        type(contents["ganforge_extractor"]) is int and contents["ganforge_extractor"] == FORMAT,
        f"{name}: is of format {reprlib.repr(contents['ganforge_extractor'])}, this ganforge reads {FORMAT}; train it "
        "again",
    )
    card = {key: contents.get(key) for key in _CARD}
    card |= {key: contents[key] for key, kind in _MORE.items() if type(contents.get(key)) is kind}
    strange = {key: card[key] for key, is_meant in _CARD.items() if not is_meant(card[key])}
    require(
        not strange,
        f"{name}: does not say its {', '.join(strange)} ("
        + ", ".join(f"{key}={reprlib.repr(value)}" for key, value in strange.items())
        + f"); {remedy}",
    )
    check_name(card["name"], name)
    weights = contents["weights"]
    named = all(isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items())
    whole = named and weights_hash(weights) == card["hash"]
    require(whole, f"{name}: was changed or damaged after it was written (its hash differs); copy or train it again")
    extractor = tensor_files.fitted(lambda: DomainExtractor(card=card), weights, name)
    _register(card["name"], Path(path).resolve())
    return extractor.requires_grad_(False)


def _others(folder: Path, class_names: Sequence[str]) -> str:
    """The extractors of a folder that know these classes, the most often right first, as one types them."""
    found = []
    for path in sorted(filter(Path.is_file, folder.glob("*.pt")))[:_MOST_OTHERS]:
        with suppress(UserError):
            card = load_extractor(path).card
            if set(class_names) <= set(card["class_names"]):
                found.append((-(card["test_accuracy"] or 0), f"{_ARGUMENT}={printable(path)}"))
    named = " or ".join(name for _, name in sorted(found))
    known = ", which knows the classes of these data" if len(found) == 1 and class_names else ""
    return f" there is {named}{known}; or" if named else ""


def _register(name: str, path: Path) -> None:
    """Make torch-fidelity's `feature_extractor=name` load the file at path."""

    class Registered(DomainExtractor):
        def __init__(self, name: str, features_list: list[str], **options: Any):
            # torch-fidelity hands all of its options to every extractor.
            loaded = load_extractor(path)
            super().__init__(card=loaded.card, features_list=tuple(features_list))
            self.load_state_dict(loaded.state_dict())

    FEATURE_EXTRACTORS_REGISTRY.pop(name, None)  # of ours: a name can be trained again
    register_feature_extractor(name, Registered)


def check_name(name: str, argument: str) -> None:
    """Raise UserError unless `name` can stand in the names of numbers and is no extractor of torch-fidelity's own."""
    require(
        isinstance(name, str)
        and len(name) <= _LONGEST_NAME
        and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) is not None,
        f"{argument}: the extractor's name {reprlib.repr(name)} must be of letters, digits, - and _, such as "
        f"mnist_cnn, and not longer than {_LONGEST_NAME}",
    )
    taken = FEATURE_EXTRACTORS_REGISTRY.get(name)
    require(
        taken is None or issubclass(taken, DomainExtractor),
        f"{argument}: the extractor's name {name} is one of torch-fidelity's own; choose another",
    )
