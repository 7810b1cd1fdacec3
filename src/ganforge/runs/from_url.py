"""A model by its URL: a checkpoint, an .onnx file, or model.safetensors, fetched once, checked and kept."""

import os
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from ganforge.errors import require
from ganforge.files import fetched
from ganforge.files.folders import plain_name, replace
from ganforge.runs import hub_folder

FORMATS = (".ckpt", ".onnx", ".safetensors")  # that hold no code


def name_of(url: str) -> str:
    """What a model's file is called. Raises UserError for formats that may run code."""
    name = unquote(PurePosixPath(urlsplit(url).path).name)
    require(
        PurePosixPath(name).suffix.lower() in FORMATS,
        f"--model {url}: a model is fetched as {', '.join(FORMATS)}; other formats may run code, so export it first "
        "(ganforge export RUN --format safetensors)",
    )
    return plain_name(name)


def fetch(
    url: str, sha256: str | None, cache: str | Path | None = None, progress: fetched.Progress = lambda *_: None
) -> Path:
    """The model of a URL, from the cache where it was fetched before; what `open_generator` takes.

    sha256: None for what stands in URL.sha256. Of model.safetensors config.json is fetched from beside it. Raises
    UserError for what is not to be had, other formats, and another SHA-256.
    """
    name = name_of(url)
    is_hub = name.lower().endswith(".safetensors")
    digest = fetched.expected(url, sha256)
    folder = (_cache() if cache is None else Path(cache)) / digest[:32]
    path = fetched.fetch(url, folder, hub_folder.WEIGHTS if is_hub else name, digest, progress)
    if not is_hub:
        return path
    config = folder / hub_folder.CONFIG
    if not config.is_file():
        parts = urlsplit(url)
        beside = parts._replace(path=str(PurePosixPath(parts.path).with_name(hub_folder.CONFIG))).geturl()
        content = fetched.small(beside)
        require(content is not None, f"{beside}: is not there; beside model.safetensors stands what it is")
        with replace(config) as file:
            file.write(content)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganforge" / "models"


class Fetching:
    """A model on its way, in a thread of its own. See `fetch`; raises UserError for what it would refuse at once.

    have, total: bytes; total is None as long as it is not known. path: of the model, once it is there. error: why it is
    not; `again` goes on then. tell: called with this whenever there is something new.
    """

    def __init__(
        self,
        url: str,
        sha256: str | None,
        cache: str | Path | None = None,
        tell: Callable[["Fetching"], None] = lambda _: None,
    ):
        self.name, self.have = name_of(url), 0
        self.total: int | None = None
        self.path: Path | None = None
        self.error: Exception | None = None
        # A server elsewhere may later say another one.
        self._asked = url, fetched.expected(url, sha256), cache
        self._tell, self._beginning = tell, threading.Lock()
        self._begin()

    @property
    def sentence(self) -> str:
        """What went wrong, without the address, in which there may be a password."""
        url = self._asked[0]
        return str(self.error).replace(url, self.name).replace(f"?{urlsplit(url).query}", "")

    def again(self) -> None:
        with self._beginning:
            if self.error is not None:
                self._begin()

    def _begin(self) -> None:
        self.error = None
        threading.Thread(target=self._fetch, daemon=True).start()

    def _fetch(self) -> None:
        def progress(have: int, total: int | None) -> None:
            self.have, self.total = have, total
            self._tell(self)

        try:
            self.path = fetch(*self._asked, progress)
        except Exception as error:  # which the page says
            self.error = error
        self._tell(self)


under_way: dict[str, Fetching] = {}  # URL -> what all visitors of a page wait for
