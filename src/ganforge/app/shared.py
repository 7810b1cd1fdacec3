"""What all visitors of the page have together: loaded models, one at a time at work, and how errors are said."""

import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from ganforge.errors import UserError
from ganforge.files.untrusted import printable
from ganforge.runs import checkpoint
from ganforge.runs.opened import is_onnx

log = logging.getLogger(__name__)

MOST_MODELS = 3  # in memory
_WEIGHTS = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "best.ckpt", "last.ckpt", "model.safetensors")
# A network in use may be changed for a moment (its statistics), and two at once would only be slower.
WORKING = threading.Lock()
_BEFORE_PYTORCH = 2  # s after the first page, in which its parts reach the browser
_loader = ThreadPoolExecutor(1, "model")
_models: OrderedDict[tuple, Future] = OrderedDict()
_choosing = threading.Lock()


@contextmanager
def errors_said(where: Any = st, without: str = "") -> Iterator[None]:
    """What goes wrong within is a sentence on the page; what no user can mend goes to the log, too.

    without: a part of it that is left out, such as a folder of the server.
    """
    try:
        yield
    except UserError as error:
        where.error(sentence(str(error).replace(without, "")))
    except MemoryError:
        where.error("There is not enough memory for this; give smaller pictures or fewer at a time.")
    except OSError as error:
        log.exception("ganforge app")
        where.error(f"A file could not be read or written ({error.strerror or type(error).__name__}).")
    except Exception as error:
        if type(error).__module__.startswith("streamlit"):  # how it ends or begins a page again
            raise
        log.exception("ganforge app")
        where.error(f"This failed in a way that was not foreseen ({type(error).__name__}); the server's log says more.")


def sentence(error: object) -> str:
    """A message as text: nothing in it is taken for Markdown."""
    return escaped(printable(error, lines=True))


def escaped(text: str) -> str:
    """Text that Streamlit shows as it is."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]()<>#+-.!|~$:" else character for character in text)


def card(path: Path) -> dict[str, Any]:
    """What a model says of itself, which is there before PyTorch and the model are."""
    return generator(path).card if is_onnx(path) else _card(str(path), stamp(path))


@st.cache_data(max_entries=100, show_spinner=False)
def _card(path: str, stamp: tuple) -> dict[str, Any]:
    return checkpoint.card_of(path)


def begin(path: Path, output: str | None = None) -> Future:
    """Let a generator be loaded, once for all visitors, and again when its file changes."""
    key = str(path), output, stamp(path)
    with _choosing:
        found = _models.get(key)
        if found is None or (found.done() and not isinstance(found.exception(), UserError | None)):
            found = _models[key] = _loader.submit(_opened, path, output)
        _models.move_to_end(key)
        while len(_models) > MOST_MODELS:
            _models.popitem(last=False)
    return found


def generator(path: Path, output: str | None = None) -> Any:
    """The generator of a model; the page says so while it waits for it."""
    found = begin(path, output)
    if not found.done():
        what = "the model" if "torch" in sys.modules or is_onnx(path) else "PyTorch and the model"
        with st.spinner(f"Loading {what} …"):
            return found.result()
    return found.result()


def sampler(path: Path) -> Any:
    """The generator of a model that draws from noise."""
    from ganforge.commands.sample import as_sampler

    return as_sampler(begin(path).result())


def _opened(path: Path, output: str | None) -> Any:
    """A generator, and with it the code that its first picture needs."""
    from ganforge.commands import predict  # noqa: F401
    from ganforge.runs.opened import open_generator

    found = open_generator(path, output)
    if "networks" in found.card["provides"]:
        from ganforge.commands import redrawn  # noqa: F401
    if found.output.fed == "latent":
        from ganforge.commands import sample  # noqa: F401
    return found


@cache
def load_pytorch() -> None:
    """Let PyTorch, which takes seconds, be there when a visitor chooses a model, and not before the page is."""

    def load() -> None:
        import ganforge.runs.generators  # noqa: F401

    timer = threading.Timer(_BEFORE_PYTORCH, _loader.submit, [load])
    timer.daemon = True
    timer.start()


def stamp(path: Path) -> tuple:
    """Another one when a file of the model is another."""
    files = [path, *(path / name for name in _WEIGHTS)] if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_mtime_ns) for file in files if file.exists())
