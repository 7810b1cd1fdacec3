"""A trained generator as a graph that runs without its Python, ONNX or torch.export, compared with PyTorch."""

import contextlib
import copy
import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from ganforge.errors import UserError, require
from ganforge.files.untrusted import first_line
from ganforge.networks.layers import InstanceNorm, infer
from ganforge.runs.exported import LARGEST_ABSOLUTE, LARGEST_GREY
from ganforge.runs.generators import Generator
from ganforge.runs.torch_engine import halvings

_OPSET = 18
_LARGEST_FILE = 2**31  # bytes of a protobuf message

Inputs = tuple[Tensor, ...]


class Graph:
    """A generator with what is fed to it: names of the inputs, of the result, and the step of heights and widths."""

    def __init__(self, generator: Generator):
        self.generator, card, output = generator, generator.card, generator.output
        self.takes_pictures = output.fed == "picture"
        self.step = halvings(generator.network) if self.takes_pictures else 1
        if self.takes_pictures:
            self.inputs = ["source", *(["labels"] if output.told == "labels" else [])]
            self.result = "translated"
        else:
            self.inputs = ["z", *(["label"] if output.told == "label" else [])]
            self.result = "images"
        self.size = -(-card["size"] // self.step) * self.step
        self.network = _exportable(generator.network)
        self.numbers_per_pixel = 1.0

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """(B,) or (B, H, W) of the inputs by which it is compared: as trained, another batch, not square."""
        if not self.takes_pictures:
            return [(1,), (2,), (5,)]
        return [
            (1, self.size, self.size),
            (3, self.size, self.size),
            (1, self.size + self.step, self.size + 2 * self.step),
        ]

    def given(self, shape: tuple[int, ...], seed: int) -> Inputs:
        """Inputs of such a shape: coarse and fine noise in [-1, 1] (latents N(0, 1)), and labels in turn."""
        drawn = np.random.default_rng([seed, *shape])
        batch = shape[0]
        if not self.takes_pictures:
            z = torch.from_numpy(drawn.standard_normal((batch, self.generator.network.latent_dim), np.float32))
            count = len(self.generator.card.get("class_names") or []) or 1
            return (z, *((torch.arange(batch) % count,) if "label" in self.inputs else ()))
        channels = self.generator.channels
        noise = [
            nn.functional.interpolate(
                torch.from_numpy(drawn.uniform(-1, 1, (batch, channels, *size)).astype(np.float32)), shape[1:]
            )
            for size in ((3, 5), shape[1:])
        ]
        source = (0.8 * noise[0] + 0.4 * noise[1]).clamp(-1, 1)
        if "labels" not in self.inputs:
            return (source,)
        count = len(self.generator.card["domains"]["names"])
        return source, torch.eye(count)[torch.arange(batch) % count]

    @torch.no_grad()
    def expected(self, given: Inputs) -> np.ndarray:
        """What the checkpoint's generator draws of these."""
        network = self.generator.network
        drawn = infer(network, *given, "running") if len(given) == 1 else network(*given)
        return self.generator.checked(drawn.float()).numpy()

    def _traced(self) -> tuple[Inputs, tuple[dict[int, Any], ...]]:
        """The example by which it is traced, and which of its sides may be of any length."""
        with torch.no_grad():
            self.network(*self.given(self.shapes[0], 0))  # what it reads of its buffers once is no part of the graph
        batch, sides = Dim("batch"), {}
        if self.takes_pictures:
            sides = {2: self.step * Dim("height"), 3: self.step * Dim("width")}
        # Sizes of 1 and equal ones would be taken for constants.
        around = max(2, self.size // self.step)
        example = self.given((2, around * self.step, (around + 1) * self.step), 0)
        return example, tuple({0: batch, **(sides if one.ndim == 4 else {})} for one in example)

    def program(self) -> torch.export.ExportedProgram:
        example, shapes = self._traced()
        with self._said("torch.export"):
            program = torch.export.export(self.network, example, dynamic_shapes=shapes)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # which names the files of this machine
        return program

    def onnx(self) -> bytes:
        """An ONNX file."""
        example, shapes = self._traced()
        with self._said("torch.onnx"):
            exported = torch.onnx.export(
                self.network,
                example,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=self.inputs,
                output_names=[self.result],
                opset_version=_OPSET,
                external_data=False,
                verbose=False,
            )
            proto = exported.model_proto
            require(
                proto.ByteSize() < _LARGEST_FILE,
                f"{self.generator.path}: its network has 2 GB or more, which one .onnx file cannot hold; use --format "
                "pt2",
            )
            for node in proto.graph.node:
                node.doc_string = ""
                del node.metadata_props[:]
            return proto.SerializeToString()

    def measured(self, draw: Callable[[Inputs], np.ndarray], what: str) -> list[dict[str, Any]]:
        """How far `draw` is from the checkpoint, at each shape; raises UserError where that is too far."""
        found = []
        with self._layers():
            expected = [self.expected(self.given(shape, seed)) for seed, shape in enumerate(self.shapes)]
        for (seed, shape), wanted in zip(enumerate(self.shapes), expected, strict=True):
            with self._said(what):
                drawn = draw(self.given(shape, seed))
            require(
                drawn.shape == wanted.shape,
                f"{what} gives {drawn.shape} and PyTorch {wanted.shape}; nothing is written",
            )
            largest = float(np.abs(drawn.astype(np.float64) - wanted).max())
            levels = int(np.abs(_bytes(drawn) - _bytes(wanted)).max())
            found.append({"shape": [*map(int, wanted.shape)], "largest_difference": largest, "grey_levels": levels})
            require(
                largest <= LARGEST_ABSOLUTE and levels <= LARGEST_GREY,
                f"{self.generator.path}: {what} differs from PyTorch by {largest:.3g} (allowed {LARGEST_ABSOLUTE:g}) "
                f"and {levels} of 255 grey levels (allowed {LARGEST_GREY}) at {shape}; nothing is written",
            )
        return found

    @contextlib.contextmanager
    def _layers(self) -> Iterator[None]:
        """Within it the outputs of layers are looked at: how many numbers the largest has for each input pixel."""

        def note(module: nn.Module, inputs: Any, drawn: Tensor) -> None:
            if isinstance(drawn, Tensor) and isinstance(inputs[0], Tensor):
                pixels = self._pixels or 1
                self.numbers_per_pixel = max(self.numbers_per_pixel, drawn.numel() / pixels)

        def begin(module: nn.Module, inputs: Any) -> None:
            self._pixels = inputs[0].shape[0] * (inputs[0].shape[2] * inputs[0].shape[3] if inputs[0].ndim == 4 else 1)

        network = self.generator.network
        hooks = [network.register_forward_pre_hook(begin), *(m.register_forward_hook(note) for m in network.modules())]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextlib.contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """What libraries print and warn of while they work is not shown; what they raise is one sentence."""
        loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "torch.export", "torch._guards")]
        levels, quiet = [logger.level for logger in loggers], io.StringIO()
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(quiet):
                warnings.simplefilter("ignore")
                yield
        except UserError:
            raise
        except Exception as error:  # of compilers, which raise anything
            kind = type(self.generator.network).__name__
            raise UserError(
                f"{self.generator.path}: {kind} cannot be exported by {what} ({first_line(error)}); nothing is "
                "written; --format safetensors exports its weights"
            ) from error
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def weights_hash(network: nn.Module) -> str:
    """SHA-256 of the names and numbers of a network's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """An ONNX file that says this of itself."""
    import onnx

    proto = onnx.ModelProto.FromString(content)
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return proto.SerializeToString()


def saved(program: torch.export.ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """A .pt2 file that says this of itself, as `torch.export.load(file, extra_files=...)` gives it back."""
    written = io.BytesIO()
    torch.export.save(program, written, extra_files=dict(metadata))
    return written.getvalue()


def pt2_draw(content: bytes) -> Callable[[Inputs], np.ndarray]:
    """What PyTorch makes of a .pt2 file."""
    network = torch.export.load(io.BytesIO(content)).module()
    return lambda given: network(*given).numpy()


def onnx_draw(content: bytes, inputs: Sequence[str]) -> Callable[[Inputs], np.ndarray]:
    """What ONNX Runtime makes of a file on the CPU."""
    from ganforge.runs.onnx_model import session_of

    session = session_of(content)
    return lambda given: session.run(None, {n: one.numpy() for n, one in zip(inputs, given, strict=True)})[0]


def _exportable(network: nn.Module) -> nn.Module:
    """A copy whose instance norms are torch's, which work on a batch of any size."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, InstanceNorm):
                plain = nn.InstanceNorm2d(layer.num_features, eps=layer.eps, affine=layer.affine)
                plain.load_state_dict(layer.state_dict())
                setattr(module, name, plain.eval().requires_grad_(False))
    return network


def _bytes(drawn: np.ndarray) -> np.ndarray:
    return np.rint((drawn.astype(np.float64) + 1) * 127.5).clip(0, 255)
