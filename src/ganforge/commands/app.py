"""The page on which people who do not program use trained models and look at runs; needs Streamlit."""

import importlib.util
import ipaddress
import json
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import ganforge
from ganforge.errors import UserError, require
from ganforge.files import fetched
from ganforge.files.folders import plain_name, replace
from ganforge.runs import entries, hub_folder

PAGE = Path(ganforge.__file__).parent / "app" / "main.py"
LARGEST_UPLOAD = 400  # MB
FORMATS = (".ckpt", ".onnx", ".safetensors")  # that hold no code


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
    `fetch_model`. host: where it listens; elsewhere than on this machine no visitor can name a path.
    """
    require(
        importlib.util.find_spec("streamlit") is not None,
        'ganforge app needs Streamlit, which is missing: pip install "ganforge[app]"',
    )
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
        paths.append(fetch_model(model, sha256, cache))
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}  (Ctrl-C ends it)", flush=True)
    _serve([str(path.resolve()) for path in paths], host, port)


def fetch_model(url: str, sha256: str | None, cache: str | Path | None = None) -> Path:
    """The model of a URL, from the cache where it was fetched before: a checkpoint, .onnx, or model.safetensors.

    sha256: None for what stands in URL.sha256. Of model.safetensors config.json is fetched from beside it. Raises
    UserError for what is not to be had, other formats (which may run code), and another SHA-256.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    name = unquote(PurePosixPath(urlsplit(url).path).name)
    suffix = PurePosixPath(name).suffix.lower()
    require(
        suffix in FORMATS,
        f"--model {url}: a model is fetched as {', '.join(FORMATS)}; other formats may run code, so export it first "
        "(ganforge export RUN --format safetensors)",
    )
    digest = fetched.expected(url, sha256)
    folder = (_cache() if cache is None else Path(cache)) / digest[:32]
    name = hub_folder.WEIGHTS if suffix == ".safetensors" else plain_name(name)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=None)
        path = fetched.fetch(
            url, folder, name, digest, lambda have, total: progress.update(task, completed=have, total=total)
        )
    if suffix != ".safetensors":
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


def is_local(host: str) -> bool:
    """Whether an address is heard on this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_port(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on ({error.strerror or error}); choose another"
        ) from error


def _load() -> None:
    """The page's own code is there when the first visitor comes; and pandas, which makes Streamlit's tables."""
    import pandas  # noqa: F401

    import ganforge.app.pages  # noqa: F401


def _serve(paths: list[str], host: str, port: int) -> None:
    from streamlit.web import cli

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
    threading.Thread(target=_load, daemon=True).start()
    page = json.dumps({"paths": paths, "is_local": is_local(host)})
    try:
        cli.main(["run", str(PAGE), *given, "--", page], prog_name="ganforge app", standalone_mode=False)
    except SystemExit as error:
        if error.code:
            sys.exit(error.code)
