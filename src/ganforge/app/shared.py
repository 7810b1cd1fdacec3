"""What all visitors of the page have together: loaded models, one at a time at work, and how errors are said."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from ganforge.errors import UserError
from ganforge.files.untrusted import printable

log = logging.getLogger(__name__)

MOST_MODELS = 3  # in memory
_WEIGHTS = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "best.ckpt", "last.ckpt", "model.safetensors")
# A network in use may be changed for a moment (its statistics), and two at once would only be slower.
WORKING = threading.Lock()


@contextmanager
def errors_said(where: Any = st) -> Iterator[None]:
    """What goes wrong within is a sentence on the page; what no user can mend goes to the log, too."""
    try:
        yield
    except UserError as error:
        where.error(sentence(error))
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


def generator(path: Path, output: str | None = None) -> Any:
    """The generator of a model, loaded once for all visitors, and again when its file changes."""
    return _generator(str(path), output, stamp(path))


@st.cache_resource(max_entries=MOST_MODELS, show_spinner="Loading the model …")
def _generator(path: str, output: str | None, stamp: tuple) -> Any:
    from ganforge.runs.opened import open_generator

    return open_generator(path, output)


def sampler(path: Path) -> Any:
    """The generator of a model that draws from noise."""
    return _sampler(str(path), stamp(path))


@st.cache_resource(max_entries=MOST_MODELS, show_spinner=False)
def _sampler(path: str, stamp: tuple) -> Any:
    from ganforge.commands.sample import as_sampler

    return as_sampler(_generator(path, None, stamp))


def stamp(path: Path) -> tuple:
    """Another one when a file of the model is another."""
    files = [path, *(path / name for name in _WEIGHTS)] if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_mtime_ns) for file in files if file.exists())
