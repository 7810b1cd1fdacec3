"""A file from a URL: resumed where it was cut off, and used only if it is what its SHA-256 says."""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock, Timeout

from ganforge.errors import UserError, require
from ganforge.files.folders import make_writable
from ganforge.files.untrusted import first_line

MOST_BYTES = 2 * 10**10
MOST_SMALL = 4_000_000  # of a file beside it, such as a checksum or config.json
_PART = 2**20  # bytes that are read at a time, at most
_TIMEOUT = 30  # s without a byte
_TRIES = 4  # that end early, one after another
_AGAIN = "the same command goes on from there"
_HOME = ("127.0.0.1", "localhost", "::1")

Progress = Callable[[int, int | None], None]  # bytes that are there, and in all


def fetch(url: str, folder: Path, name: str, sha256: str, progress: Progress) -> Path:
    """The file of a URL as folder/name; taken from there if it was fetched before.

    What a broken connection left (name.part) is continued. Raises UserError where the file is not to be had, is larger
    than the disk has room for, or has another SHA-256; nothing is kept of that.
    """
    target, part = folder / name, folder / f"{name}.part"
    make_writable(folder, f"the cache {folder}")
    try:
        with FileLock(folder / f"{name}.lock", timeout=0):
            if target.is_file():
                if checksum(target) == sha256:
                    return target
                target.unlink()
            for _ in range(_TRIES):
                before = _size(part)
                if _continue(url, part, progress):
                    break
                require(_size(part) > before, f"{url}: the connection ended early; the same command goes on from there")
            else:
                raise UserError(
                    f"{url}: the connection ended early {_TRIES} times; the same command goes on from there"
                )
            found = checksum(part)
            if found != sha256:
                part.unlink()
                raise UserError(f"{url}: has the SHA-256 {found}, and {sha256} was expected; it was not kept")
            part.replace(target)
            return target
    except Timeout as error:
        raise UserError(f"{url}: another process is fetching it into {folder}; wait for that") from error


def expected(url: str, given: str | None) -> str:
    """The SHA-256 that a file shall have: the one given, or what stands in URL.sha256 beside it.

    Raises UserError where there is neither, and where the one beside it could have been changed on its way.
    """
    if given is not None:
        require(_digest(given) is not None, f"--sha256 {given}: 64 letters of 0 to 9 and a to f")
        return given.lower()
    parts = urlsplit(url)
    require(
        parts.scheme == "https" or parts.hostname in _HOME,
        f"{url}: what comes by http may be changed on its way; give its --sha256, or an address with https",
    )
    beside = _beside(url, ".sha256")
    found = small(beside)
    digest = (
        None if found is None else _digest(found.decode(errors="replace").split(maxsplit=1)[0] if found.strip() else "")
    )
    require(digest is not None, f"{url}: no SHA-256 of it stands in {beside}; give it by --sha256")
    return digest


def small(url: str) -> bytes | None:
    """The content of a small file; None where there is none."""
    try:
        with _open(url, {}) as response:
            content = response.read(MOST_SMALL + 1)
    except HTTPError as error:
        if error.code in (403, 404, 410):
            return None
        raise UserError(f"{url}: cannot be fetched (HTTP {error.code})") from error
    require(len(content) <= MOST_SMALL, f"{url}: has more than {MOST_SMALL:,} bytes")
    return content


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _by_parts(file)


def _by_parts(file: Any) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while part := file.read(_PART):
        digest.update(part)
    return digest.hexdigest()


def _continue(url: str, part: Path, progress: Progress) -> bool:
    """Fetch what is missing of a file; whether it is complete."""
    have = _size(part)
    try:
        with _open(url, {"Range": f"bytes={have}-"} if have else {}) as response:
            ranged = response.status == 206 and (response.headers.get("Content-Range") or "").startswith(
                f"bytes {have}-"
            )
            have = have if ranged else 0  # a server that knows no ranges begins again
            length = response.headers.get("Content-Length")
            total = have + int(length) if length is not None and length.isdigit() else None
            room = min(MOST_BYTES, have + shutil.disk_usage(part.parent).free)
            require(
                (total or 0) <= room,
                f"{url}: has {total or 0:,} bytes, and there is room for {room:,}; choose another --cache",
            )
            with part.open("ab" if have else "wb") as file:
                while content := response.read1(_PART):  # what has come
                    have += len(content)
                    require(have <= room, f"{url}: has more than {room:,} bytes; choose another --cache")
                    file.write(content)
                    progress(have, total)
            return total is None or have == total
    except HTTPError as error:
        if error.code == 416:  # nothing is missing
            return True
        raise UserError(f"{url}: cannot be fetched (HTTP {error.code} {error.reason})") from error
    except UserError:
        raise
    except (OSError, ValueError) as error:
        if _size(part) > 0 and not isinstance(error, URLError):
            return False
        raise UserError(f"{url}: cannot be fetched ({first_line(getattr(error, 'reason', error))})") from error


@contextmanager
def _open(url: str, headers: dict[str, str]) -> Iterator[Any]:
    parts = urlsplit(url)
    require(
        parts.scheme in ("http", "https") and bool(parts.hostname), f"{url}: give an address of http:// or https://"
    )
    request = Request(url, headers={"User-Agent": "ganforge", "Accept-Encoding": "identity", **headers})
    try:
        with build_opener(_WebOnly).open(request, timeout=_TIMEOUT) as response:
            yield response
    except HTTPError:
        raise
    except URLError as error:
        raise UserError(f"{url}: cannot be fetched ({first_line(error.reason)})") from error


class _WebOnly(HTTPRedirectHandler):
    """A server cannot send its visitor to files of this machine, or from https to http."""

    def redirect_request(
        self, request: Request, file: Any, code: int, message: str, headers: Any, url: str
    ) -> Request | None:
        accepted = ("https",) if request.full_url.startswith("https:") else ("http", "https")
        require(urlsplit(url).scheme in accepted, f"{request.full_url}: leads to {url}, which is not followed")
        return super().redirect_request(request, file, code, message, headers, url)


def _beside(url: str, end: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path}{end}").geturl()


def _digest(text: str) -> str | None:
    return text.lower() if re.fullmatch(r"[0-9a-fA-F]{64}", text) else None


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
