"""A page in a real browser: Chromium without a window, spoken to over its debugging pipe.

The protocol (Chrome DevTools Protocol) is JSON with a zero byte after each message; the browser
reads descriptor 3 and writes descriptor 4, so that no port is opened.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER: Final = next(filter(None, map(shutil.which, NAMES)), None)
WITHIN_S: Final = 60.0
_QUIET: Final = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)

_DESCRIPTORS: Final = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    "os.execv(sys.argv[3], sys.argv[3:])"
)


class Page:
    """One tab. ``problems`` are errors and warnings of its console and its scripts, ``asked`` the
    addresses that it wanted."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._pending = b""
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.asked: list[str] = []
        self._loaded = False

    def begin(self) -> None:
        """Open the tab, without a network."""
        made = self.call("Target.createTarget", url="about:blank")
        joined = self.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        self._session = joined["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        nothing = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.call("Network.emulateNetworkConditions", offline=True, **nothing)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Have the browser do something; its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == self._number:
                assert "error" not in heard, heard
                answer: dict[str, Any] = heard["result"]
                return answer

    def open(self, address: str) -> None:
        """Go there, and wait until the page is loaded."""
        self._loaded = False
        self.call("Page.navigate", url=address)
        while not self._loaded:
            self._hear()

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def becomes(self, script: str, value: Any, within_s: float = 20.0) -> bool:
        """Whether an expression comes to this value: pages move when they next draw."""
        until = time.monotonic() + within_s
        while self.run(script) != value:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def point(self, selector: str, *, click: bool = False) -> None:
        """Bring the first element that fits into sight, and the pointer over it."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        x, y = place
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.call(
                    "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
                )

    def picture(self) -> bytes:
        """What is seen now, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def _hear(self) -> dict[str, Any]:
        until = time.monotonic() + WITHIN_S
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._reads], [], [], until - time.monotonic())
            assert ready, "the browser says nothing"
            data = os.read(self._reads, 1 << 16)
            assert data, "the browser has gone"
            self._pending += data
        raw, _, self._pending = self._pending.partition(b"\0")
        heard: dict[str, Any] = json.loads(raw)
        self._note(heard.get("method", ""), heard.get("params", {}))
        return heard

    def _note(self, event: str, about: dict[str, Any]) -> None:
        match event:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.asked.append(about["request"]["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(str(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.problems.append(str(about["args"]))
            case "Log.entryAdded":
                self.problems.append(about["entry"]["text"])


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with a profile of its own; it has ended when this returns."""
    assert BROWSER is not None
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out)]
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    words = (BROWSER, *_QUIET, *root, f"--user-data-dir={profile}", "--window-size=1320,1000")
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _DESCRIPTORS, *map(str, high), *words],
        pass_fds=high,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for fd in (theirs_in, theirs_out, *high):
        os.close(fd)
    try:
        page = Page(ours_in, ours_out)
        page.begin()
        yield page
    finally:
        os.close(ours_out)  # it ends when nobody speaks to it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)
