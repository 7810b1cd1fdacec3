"""A headless Chromium that is told what to do, by its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """A tab."""

    def __init__(self, socket: Any):
        self._socket, self._number = socket, 0
        for domain in ("Page", "Runtime", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        return self.value("document.body.innerText")

    def wait(self, expression: str, seconds: float = 60) -> float:
        """Until a JavaScript expression holds; the seconds that it took."""
        begin = time.monotonic()
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() - begin < seconds, (
                f"{expression}: not within {seconds} s; the page says: {self.text()}"
            )
            time.sleep(0.05)
        return time.monotonic() - begin

    def wait_for(self, text: str, seconds: float = 60) -> float:
        return self.wait(f"document.body.innerText.includes({json.dumps(text)})", seconds)

    def give(self, selector: str, *files: Path) -> None:
        """Files to the input for files."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def click(self, text: str) -> None:
        """The first label, button or tab of this text."""
        found = f"[...document.querySelectorAll('label,button')].find(e => e.innerText.trim() === {json.dumps(text)})"
        self.wait(found)
        self.value(f"{found}.click()")

    def screenshot(self, file: Path, whole: bool = True) -> None:
        options: dict[str, Any] = {}
        if whole:  # Streamlit scrolls within the page
            inner = "document.querySelector('[data-testid=stMain]')"
            size = self.value(f"[window.innerWidth, Math.max(window.innerHeight, {inner}.scrollHeight)]")
            self.call(
                "Emulation.setDeviceMetricsOverride", width=size[0], height=min(size[1], 6000), deviceScaleFactor=1,
                mobile=size[0] < 600,
            )  # fmt: skip
            time.sleep(0.7)
        content = self.call("Page.captureScreenshot", format="png", **options)["data"]
        file.write_bytes(base64.b64decode(content))


@contextmanager
def browser() -> Iterator[Page]:
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0",
            f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen([CHROMIUM, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port, begin = Path(profile) / "DevToolsActivePort", time.monotonic()
            while not port.is_file() or len(port.read_text().splitlines()) < 2:
                assert time.monotonic() - begin < 60 and process.poll() is None, "Chromium did not start"
                time.sleep(0.05)
            address = f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list"
            yield from _tab(address, connect)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _tab(address: str, connect: Any) -> Iterator[Page]:
    import urllib.request

    with urllib.request.urlopen(address, timeout=20) as response:
        tabs = json.load(response)
    tab = next(tab for tab in tabs if tab["type"] == "page")
    with connect(tab["webSocketDebuggerUrl"], max_size=2**28, open_timeout=30) as socket:
        yield Page(socket)
