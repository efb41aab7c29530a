"""A headless Chromium that opens local pages and does what a reader does; driven by its own protocol over two pipes.

Nothing but Debian's package `chromium` is needed: Chrome DevTools Protocol, messages of JSON that end with a zero byte,
read from file 3 and written to file 4 (`--remote-debugging-pipe`).
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

PROGRAM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(not PROGRAM, reason="needs a browser: Debian's package chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",  # it runs as root in CI, and opens our own files only
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
WIDE, PHONE = (1400, 900), (390, 844)  # windows in CSS pixels
SECONDS = 60.0  # to wait for a page on a busy machine


class Browser:
    """One page. `errors`: messages of its console of level error, uncaught exceptions, and what could not be loaded;
    `asked`: the address of every request that is no `data:` or `blob:` address."""

    def __init__(self) -> None:
        assert PROGRAM
        self._folder = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        plumbing = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", plumbing, "bash", PROGRAM, *FLAGS, f"--user-data-dir={self._folder.name}"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read), os.close(to_write)
        self._number, self._rest, self._session = 0, b"", None
        self.errors: list[str] = []
        self.asked: list[str] = []
        self._loaded = False
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)  # it ends by itself when nobody is there to drive it
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._folder.cleanup()

    def window(self, size: tuple[int, int]) -> None:
        """The window's width and height, CSS pixels; one of a phone's width behaves like a phone's."""
        width, height = size
        mobile = width < 600
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, page: Path) -> None:
        """Opens a file and waits until it is loaded."""
        self._loaded = False
        self._send("Page.navigate", url=page.resolve().as_uri())
        self._until(lambda: self._loaded, f"{page} to load")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page; a promise is awaited."""
        result = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{script}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, script: str) -> None:
        """Waits until the expression is true."""
        self._until(lambda: self.run(script), script)

    def click(self, script: str) -> None:
        """Waits for the element that the expression gives, and clicks it."""
        self.wait(f"!!({script})")
        self.run(f"({script}).click()")

    def screenshot(self, output: Path) -> None:
        """The window as a PNG."""
        output.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", format="png")["data"]))

    def _until(self, true: Any, what: str) -> None:
        end = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < end, f"waited {SECONDS:.0f} s for {what}; errors: {self.errors}"
            self._send("Runtime.evaluate", expression="new Promise(go => setTimeout(go, 50))", awaitPromise=True)

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and gives its result; what happens in the meantime is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer.get("method", ""), answer.get("params", {}))
        raise AssertionError(f"{method}: the browser ended")

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            while b"\0" in self._rest:
                message, self._rest = self._rest.split(b"\0", 1)
                yield json.loads(message)
            if not (more := os.read(self._read, 1 << 20)):
                return
            self._rest += more

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(one.get("value", one.get("description"))) for one in event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.errors.append(f"{event['entry']['text']} {event['entry'].get('url', '')}"[:300])
        elif method == "Network.requestWillBeSent":
            address = event["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.asked.append(address)


@contextmanager
def opened(page: Path, size: tuple[int, int]) -> Iterator[Browser]:
    """A fresh browser with the page in a window of `size`."""
    with Browser() as browser:
        browser.window(size)
        browser.open(page)
        yield browser
