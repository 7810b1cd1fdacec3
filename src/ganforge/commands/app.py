"""The page on which people who do not program use trained models and look at runs; needs Streamlit."""

import importlib.util
import ipaddress
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import ganforge
from ganforge.errors import UserError, require
from ganforge.files.untrusted import printable
from ganforge.runs import entries, from_url

PAGE = Path(ganforge.__file__).parent / "app" / "main.py"
LARGEST_UPLOAD = 400  # MB
_TRIES = 300  # to reach the server, ten a second


def app(
    runs: Sequence[str | Path] = (),
    *,
    model: str | None = None,
    sha256: str | None = None,
    cache: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8501,
) -> None:
    """Serve the page until it is interrupted.

    runs: runs, folders of runs, checkpoints; without any (and without model) those in lightning_logs. model: a URL, see
    `ganforge.runs.from_url.fetch`; it is fetched while the page is there, which says how far it is. host: where it
    listens; elsewhere than on this machine no visitor can name a path.
    """
    require(
        importlib.util.find_spec("streamlit") is not None,
        'ganforge app needs Streamlit, which is missing: pip install "ganforge[app]"',
    )
    _need_home()
    require(1 <= port <= 65535, f"--port {port}: 1 to 65535")
    require(sha256 is None or model is not None, "--sha256: is that of --model URL; give it too")
    paths = [Path(path) for path in runs]
    if not paths and model is None:
        require(
            Path(entries.DEFAULT).is_dir(),
            f"there is no folder {entries.DEFAULT} here; give runs, checkpoints, or --model URL",
        )
        paths = [Path(entries.DEFAULT)]
    if paths and not (paths == [Path(entries.DEFAULT)] and not runs):  # in which there may be no run yet
        entries.entries(paths)
    _check_port(host, port)
    if model is not None:
        from_url.under_way[model] = _fetching(model, sha256, cache)
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}  (Ctrl-C ends it)", flush=True)
    _serve([str(path.resolve()) for path in paths], model, host, port)


def is_local(host: str) -> bool:
    """Whether an address is heard on this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _fetching(url: str, sha256: str | None, cache: str | Path | None) -> from_url.Fetching:
    """A model on its way, with what the terminal says of it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    progress = Progress(*columns)
    task = progress.add_task(from_url.name_of(url), total=None)

    def tell(found: from_url.Fetching) -> None:
        progress.start()
        progress.update(task, completed=found.have, total=found.total)
        if found.path is not None or found.error is not None:
            progress.stop()
        if found.error is not None:
            print(f"ganforge app: {printable(found.error)}", file=sys.stderr, flush=True)

    return from_url.Fetching(url, sha256, cache, tell)


def _need_home() -> None:
    """Streamlit asks where the user's home is, and a user of a container may have none."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()


def _check_port(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on ({error.strerror or error}); choose another"
        ) from error


def _load(host: str, port: int) -> None:
    """While a browser fetches Streamlit's own pages: the code of this one, and pandas, which makes its tables."""
    for _ in range(_TRIES):
        with suppress(OSError), socket.create_connection((host, port), timeout=1):
            break
        time.sleep(0.1)
    import pandas  # noqa: F401

    import ganforge.app.pages  # noqa: F401


def _serve(paths: list[str], model: str | None, host: str, port: int) -> None:
    from streamlit.web import cli

    found = from_url.under_way.get(model or "")
    if found is not None and isinstance(found.error, UserError):  # while Streamlit was imported
        raise found.error
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.maxUploadSize": LARGEST_UPLOAD,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "global.developmentMode": False,
        "logger.hideWelcomeMessage": True,  # to say it, Streamlit asks a server for this machine's address
    }
    given = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]
    threading.Thread(target=_load, args=(host, port), daemon=True).start()
    page = json.dumps({"paths": paths, "is_local": is_local(host), "model": model})
    try:
        cli.main(["run", str(PAGE), *given, "--", page], prog_name="ganforge app", standalone_mode=False)
    except SystemExit as error:
        if error.code:
            sys.exit(error.code)
