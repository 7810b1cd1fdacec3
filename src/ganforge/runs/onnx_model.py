"""A generator that ONNX Runtime computes: the file is data of anyone, and PyTorch is not loaded."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ganforge.errors import UserError, require
from ganforge.files import onnx_file
from ganforge.files.folders import plain_name
from ganforge.files.untrusted import first_line
from ganforge.game.domains import Domains
from ganforge.game.outputs import Output
from ganforge.runs import card as cards
from ganforge.runs import exported
from ganforge.runs.engine import Draw

INSTALL = 'pip install "ganforge[export]"'
_SYMMETRIES = 8  # of the square; see `ganforge.networks.symmetry`
_LAYERS_HELD = 3  # outputs of a layer that are in memory at once, at least


@dataclass(frozen=True)
class OnnxGenerator:
    """See `ganforge.runs.engine.Generator`. labels: what is told beside a picture, (D,)."""

    session: Any
    card: dict[str, Any]
    path: Path
    output: Output
    labels: np.ndarray | None = field(default=None, repr=False)

    @property
    def domains(self) -> Domains | None:
        return Domains.from_card(self.card["domains"]) if self.output.told == "labels" else None

    @property
    def section(self) -> dict[str, Any]:
        return self.card[exported.SECTION]

    def asked(self, labels: np.ndarray) -> "OnnxGenerator":
        names = ", ".join(self.domains.names)
        require(
            not np.isnan(labels).any(),
            f"{self.path}: give all of {names} by --set NAME=1 or =0; only the checkpoint reads them in a picture",
        )
        return replace(self, labels=labels.astype(np.float32))

    def engine(self, norm_mode: str, tta: bool) -> "OnnxEngine":
        require(
            norm_mode == "running",
            f"--norm-mode {norm_mode}: {self.path} has the statistics of the training; give the checkpoint",
        )
        return OnnxEngine(self, tta)

    def check_size(self, *shapes: tuple[int, ...], said: str) -> None:
        """Raise UserError where pictures (B, C, H, W) need more memory than there is."""
        step = self.section["step"]
        batch, _, height, width = shapes[0]
        pixels = batch * -(-height // step) * -(-width // step) * step**2
        needed = _LAYERS_HELD * 4 * self.section["numbers_per_pixel"] * pixels
        require(
            needed <= _memory(),
            f"{self.path}: {said} would need more than {needed / 1e9:,.0f} GB, and there are {_memory() / 1e9:,.0f}; "
            "give smaller pictures, or use a machine with more memory",
        )


class OnnxEngine:
    """See `ganforge.runs.engine.Engine`. tta: the mean over the symmetries of the square."""

    def __init__(self, generator: OnnxGenerator, tta: bool):
        self.generator, self._tta, section = generator, tta, generator.section
        self.halvings, self.has_own_statistics = section["halvings"], section["has_own_statistics"]

    def draw(self, sources: np.ndarray) -> np.ndarray:
        if not self._tta:
            return self._drawn(sources)
        total = np.zeros(1, np.float32)
        for symmetry in range(_SYMMETRIES):
            turned = np.rot90(sources, symmetry % 4, (2, 3))
            drawn = self._drawn(turned[..., ::-1] if symmetry >= 4 else turned)
            total = total + np.rot90(drawn[..., ::-1] if symmetry >= 4 else drawn, -symmetry % 4, (2, 3))
        return total / _SYMMETRIES

    @contextmanager
    def with_statistics(self, sample: np.ndarray) -> Iterator[Draw]:
        raise UserError(
            f"{self.generator.path}: in tiles its network needs the statistics of the whole picture, which only a "
            "checkpoint can be given; use the checkpoint, or --full-size"
        )
        yield self.draw

    def _drawn(self, sources: np.ndarray) -> np.ndarray:
        """Pictures of any size: their border is repeated to a multiple of the network's step, and cut off again."""
        generator, (height, width), step = self.generator, sources.shape[2:], self.generator.section["step"]
        below, right = -height % step, -width % step
        padded = np.pad(sources, ((0, 0), (0, 0), (0, below), (0, right)), mode="edge") if below or right else sources
        first, *more = generator.session.get_inputs()
        feed = {first.name: np.ascontiguousarray(padded, np.float32)}
        if more:
            feed[more[0].name] = np.tile(generator.labels, (len(sources), 1))
        try:
            (drawn,) = generator.session.run(None, feed)
        except Exception as error:  # the runtime's own classes of errors have no base of their own
            raise UserError(
                f"{generator.path}: cannot take pictures of {width}×{height} px ({first_line(error)}); give other sizes"
            ) from error
        wanted = (len(sources), generator.section["out_channels"], *padded.shape[2:])
        require(
            drawn.shape == wanted and drawn.dtype == np.float32,
            f"{generator.path}: gives {drawn.dtype} {drawn.shape} for pictures of {width}×{height} px; {wanted} is "
            "expected, so it was changed",
        )
        require(bool(np.isfinite(drawn).all()), f"{generator.path}: it draws a picture that is not finite")
        return drawn[..., :height, :width]


def load_onnx(path: Path, output: str | None = None) -> OnnxGenerator:
    """The generator in an .onnx file of `ganforge export`. Raises UserError for any other, before it runs."""
    require(path.is_file(), f"{path}: no such file")
    content, metadata = onnx_file.read(path)
    card = _card(path, metadata)
    outputs = card["outputs"]
    name = next(iter(outputs)) if output is None else output
    require(name in outputs, f"{path}: has no output {name}; it was exported as {', '.join(map(plain_name, outputs))}")
    chosen = Output(**{key: value for key, value in outputs[name].items() if key != "averaged"})
    session = _opened(path, content)
    generator = OnnxGenerator(session, card, path, chosen)
    _check_ends(generator)
    return generator


def _card(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    text = metadata.get(exported.KEY)
    require(
        text is not None,
        f"{path}: was not written by ganforge export, so nobody knows what its numbers mean",
    )
    require(len(text) <= exported.MOST_CARD, f"{path}: says {len(text):,} characters of itself; it was changed")
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: what it says of itself is no JSON; it was changed") from error
    cards.check(card, path)
    exported.check(card.get(exported.SECTION), path)
    return card


def _check_ends(generator: OnnxGenerator) -> None:
    """Raise UserError where the inputs and results of the graph are not those of which the card speaks."""
    card, output, session = generator.card, generator.output, generator.session
    config = card["networks"].get(output.network, {})
    inputs = [(one.type, len(one.shape), one.shape[1:2]) for one in session.get_inputs()]
    results = [(one.type, len(one.shape)) for one in session.get_outputs()]
    number = "tensor(float)"
    if output.fed == "picture":
        wanted = [(number, 4, [config.get("in_channels")])]
        if output.told == "labels":
            wanted += [(number, 2, [len(generator.domains.names) if card.get("domains") else None])]
    else:
        wanted = [(number, 2, [config.get("latent_dim")]), *([("tensor(int64)", 1, [])] if output.told else [])]
    channels = generator.section.get("out_channels")
    require(
        inputs == wanted
        and results == [(number, 4)]
        and channels == config.get("out_channels")
        and cards.is_band_count(channels)
        and (output.fed == "latent" or cards.is_band_count(config.get("in_channels"))),
        f"{generator.path}: takes {inputs} and gives {results}, and says of itself {wanted}; it was changed",
    )


def _opened(path: Path, content: bytes) -> Any:
    try:
        return session_of(content)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: ONNX Runtime does not open it ({first_line(error)})") from error


def session_of(content: bytes) -> Any:
    """A session of ONNX Runtime on the CPU, in memory that has a bound. Raises UserError where it is not installed."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what it raises is enough
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: one a core
    options.add_session_config_entry("session.use_env_allocators", "1")
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@cache
def _runtime() -> ModuleType:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it sends what it does to its makers; read when loaded
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"an .onnx file is computed by ONNX Runtime, which is not installed: {INSTALL}") from error
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(4)
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    # A file from someone else may ask for more than there is.
    settings = onnxruntime.OrtArenaCfg({"max_mem": _memory() * 3 // 4, "arena_extend_strategy": 1})
    with suppress(Exception):  # a program that uses the runtime beside ganforge has bounded it itself
        onnxruntime.create_and_register_allocator(info, settings)
    return onnxruntime


def _memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
