"""How long ganforge app takes from the command to a page that can be used, and to the first translation.

    python benchmarks/app_start.py [--rounds 3] [--size 128] [--base-channels 64] [--beside FOLDER]

A pix2pix (U-Net) that was trained for one step, in a headless Chromium that is there before. Twice a round the page is
started: with a folder of runs, where their list is waited for, then a model is chosen, and given its first picture some
seconds later; and with one run alone, which is given a picture as soon as it takes one. --beside: `src` of another
version, which takes turns with this one. Printed are the medians in seconds, their ratios, and the load of the machine.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from predict import checkpoint

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests"))
from browser import CHROMIUM, Page, browser  # noqa: E402

_LOOKED = 8  # s, that a visitor looks at the page of a model before a picture is dropped


@contextmanager
def page(source: Path, run: Path) -> Iterator[tuple[str, float]]:
    """The address of a server, and when its command was given."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begun = time.monotonic()
    server = subprocess.Popen(
        [sys.executable, "-m", "ganforge.cli", "app", str(run), "--port", str(port)],
        env={**os.environ, "PYTHONPATH": str(source)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}", begun
    finally:
        server.terminate()
        server.wait(60)


def measured(source: Path, root: Path, tab: Page) -> dict[str, float]:
    taken = {}

    def note(what: str, since: float) -> float:
        now = time.monotonic()
        taken[what] = now - since
        return now

    def translate(what: str, file: Path) -> None:
        begun = time.monotonic()
        tab.give("input[type=file]", file)
        tab.wait_for(f"Download {file.name}")
        note(what, begun)

    with page(source, root / "runs") as (address, begun):
        note("server answers", begun)
        tab.open(address)
        tab.wait_for("Click at the left")
        tab.wait("document.querySelector('canvas')")
        shown = note("list of runs", begun)
        tab.open(f"{address}/?run=a&page=Use the model")
        tab.wait("document.querySelector('input[type=file]')")
        note("from the list to a model", shown)
        time.sleep(_LOOKED)
        translate("first translation", root / "first.png")
        translate("second translation", root / "second.png")
    with page(source, root / "runs/a") as (address, begun):
        tab.open(address)
        tab.wait("document.querySelector('input[type=file]')")
        note("a model takes pictures", begun)
        tab.give("input[type=file]", root / "first.png")
        tab.wait_for("Download first.png")
        note("translated, dropped at once", begun)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--base-channels", type=int, default=64)
    parser.add_argument("--beside", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("there is no Chromium")
    sources = {"now": HERE / "src", **({"beside": options.beside.resolve()} if options.beside else {})}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in sources}
    with tempfile.TemporaryDirectory() as temporary:
        root, rng = Path(temporary), np.random.default_rng(0)
        run = checkpoint(root, options.base_channels, options.size)
        for name in ("a", "b"):
            shutil.copytree(run, root / "runs" / name, ignore=shutil.ignore_patterns("last.ckpt"))
        for name in ("first", "second"):
            values = rng.integers(0, 256, (options.size, options.size, 3), dtype=np.uint8)
            Image.fromarray(values).save(root / f"{name}.png")
        for turn in range(options.rounds):
            for name in list(sources)[:: 1 if turn % 2 == 0 else -1]:
                with browser() as tab:
                    for what, seconds in measured(sources[name], root, tab).items():
                        found[name].setdefault(what, []).append(seconds)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {options.rounds} rounds")
    for what, taken in found["now"].items():
        line = f"{what:30}" + "".join(f"{name} {statistics.median(own[what]):6.2f} s  " for name, own in found.items())
        if options.beside:
            ratios = [now / before for now, before in zip(taken, found["beside"][what], strict=True)]
            line += f"ratio {statistics.median(ratios):.2f}"
        print(line)


if __name__ == "__main__":
    main()
