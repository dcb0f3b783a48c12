"""The page of `keystead watch --web` in a real browser. Skipped, with a count, where none is."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.cli.watch.web.app import serve
from tests.e2e.chromium import BROWSER, Page
from tests.lab.cli.web.asking import TOKEN, Server, server_for, simulated
from tests.lab.cli.web.canned import CannedLab
from tests.tidy.tree import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sim,
    pytest.mark.timeout(300),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]
HOSTILE = "<img src=x onerror=window.struck=1>"
CONTRAST = """
(() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(e).backgroundColor);
      if (a > 0.99 && r !== undefined) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.disabled || !e.checkVisibility()) continue;
    if (/SCRIPT|TITLE/i.test(e.tagName)) continue;
    const style = getComputedStyle(e), drawn = e instanceof SVGElement;
    const ink = luminance(numbers(drawn ? style.fill : style.color));
    const paper = luminance(behind(drawn ? document.body : e));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const what = `${e.tagName} ${e.getAttribute("class")} ${e.textContent.slice(0, 30)}`;
    if (ratio < 4.5) poor.push(`${what} ${ratio.toFixed(2)}`);
  }
  return poor;
})()
"""
FOCUSED = "document.activeElement.getAttribute('href') || document.activeElement.id"


@contextmanager
def served(make: Callable[[], AbstractAsyncContextManager[Server]]) -> Iterator[str]:
    """The address of a page that a thread serves."""
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    ready, loop, stopped = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def play() -> None:
        async with make() as server:
            server.listen_on(port)
            ready.set()
            await serve(server.app, bound, stopped)

    thread = threading.Thread(target=lambda: loop.run_until_complete(play()))
    thread.start()
    try:
        assert ready.wait(60)
        yield f"http://127.0.0.1:{port}/"
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(60)
        loop.close()


def canned(hosts: int, odd: str = "") -> Callable[[], AbstractAsyncContextManager[Server]]:
    @asynccontextmanager
    async def make() -> AsyncIterator[Server]:
        server = server_for(CannedLab(hosts, odd=odd))
        yield server
        server.looker.stop()

    return make


def show(browser: Page, address: str, how: str = "live") -> Page:
    """The page at an address on loopback, live, or as it says."""
    limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.call("Network.emulateNetworkConditions", offline=False, **limits)
    browser.open("about:blank")
    browser.problems.clear()
    browser.open(address)
    assert browser.becomes("document.getElementById('link').textContent", how)
    return browser


def press(page: Page, key: str, code: int, text: str = "") -> None:
    for kind in ("keyDown", "keyUp"):
        typed = {"text": text} if text and kind == "keyDown" else {}
        page.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **typed)


@pytest.fixture(scope="module")
def small() -> Iterator[str]:
    with served(canned(6, HOSTILE)) as address:
        yield address


@pytest.mark.parametrize("width", [400, 700, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_at_every_width_and_in_both_themes(
    browser: Page, small: str, scheme: str, width: int
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    try:
        page = show(browser, f"{small}#host:esxi-003")
        assert page.becomes("document.getElementById('drawer').hidden", False)
        assert page.run(CONTRAST) == []
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.run(overflow) == 0
        assert page.run("window.struck") is None and HOSTILE in page.run("document.body.innerText")
        assert page.problems == []
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
        browser.call("Emulation.setEmulatedMedia", features=[])


def test_five_hundred_hosts_are_drawn_in_under_a_second(browser: Page) -> None:
    with served(canned(500)) as address:
        page = show(browser, address)
        assert page.run("document.querySelectorAll('#p-hosts .tile').length") == 500
        assert page.run("document.querySelectorAll('#p-vms .tile').length") == 1000
        paints = "performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)"
        drawn = page.run(f"Math.max(...{paints})")
        assert 0 < drawn < 1000
        again = page.run(
            "(() => { const began = performance.now(), p = document.getElementById('p-vms');"
            "put(p, p.innerHTML); p.getBoundingClientRect(); return performance.now() - began; })()"
        )
        assert again < 1000


def test_without_the_token_no_button_can_be_pressed(browser: Page, small: str) -> None:
    page = show(browser, small)
    page.run("sessionStorage.clear()")
    page = show(browser, f"{small}#link:kms,vcenter")
    assert page.becomes("document.querySelectorAll('#drawer button[data-line]').length > 0", True)
    assert page.run("[...document.querySelectorAll('button[data-line]')].every(b => b.disabled)")
    assert page.run("document.getElementById('may').textContent").startswith("Read-only")


def test_a_link_is_cut_and_healed_by_the_keyboard_alone(browser: Page) -> None:
    with served(lambda: simulated(hosts=2, vms=2, tpm="model")) as address:
        page = show(browser, f"{address}#token={TOKEN}")
        assert TOKEN not in page.run("location.href")
        page.run("document.querySelector('a[href=\"#link:kms,vcenter\"]').focus()")
        press(page, "Enter", 13, "\r")
        assert page.becomes("document.getElementById('drawer').hidden", False)
        assert page.becomes(FOCUSED, "h-drawer")
        press(page, "Tab", 9)
        cut = "document.activeElement.dataset.line"
        assert page.run(cut) == "link cut kms vcenter --for 5m"
        press(page, "Enter", 13, "\r")
        faults = "document.getElementById('p-faults').innerText.includes('cut kms')"
        assert page.becomes(faults, True)
        assert page.becomes("document.querySelectorAll('#p-topology .link-broken').length", 1)
        heal = "[...document.querySelectorAll('#inside button')].map(b => b.textContent)[0]"
        assert page.becomes(heal, "Heal link-cut-1")
        press(page, "Escape", 27)
        assert page.becomes("document.getElementById('drawer').hidden", True)
        assert page.becomes(FOCUSED, "#link:kms,vcenter")
        press(page, "/", 191, "/")
        assert page.becomes(FOCUSED, "filter")
        page.call("Input.insertText", text="vm-02")
        shown = "[...document.querySelectorAll('#p-vms .tile:not([hidden])')].length"
        assert page.becomes(shown, 1)
        page.run("document.querySelector('#p-faults button').focus()")
        press(page, " ", 32, " ")
        assert page.becomes(faults, False)
        assert page.run("document.querySelectorAll('#p-done li').length") == 2
        assert page.problems == []


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a stored run's page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        assert run(["chaos", "run", "edge-outage-reboot", "--mode", "sim", "-q"]) == 0
        with served(canned(3)) as address:
            yield f"{address}runs/edge-outage-reboot-sim-7/watch"


DRAWN = "text "  # its colours are tested with the report, where it knows what is behind it
BOTH = "document.querySelectorAll('#p-both svg').length"
STEP = "document.getElementById('fork-step').textContent"


def test_a_run_is_forked_by_the_keyboard_alone(browser: Page, stored: str) -> None:
    page = show(browser, f"{stored}#token={TOKEN}&t=240", "a stored run")
    assert page.becomes("location.hash", "#t=240")
    assert page.becomes("document.getElementById('fork').disabled", False)
    page.run("document.getElementById('fork-kind').focus()")
    press(page, "l", 76, "l")
    fields = "[...document.querySelectorAll('[data-field]')].map(f => f.dataset.field).join()"
    assert page.becomes(fields, "between,between,dir")
    press(page, "Tab", 9)
    assert page.run("document.activeElement.dataset.field") == "between"
    page.run("document.activeElement.select()")
    page.call("Input.insertText", text="esxi-002")
    press(page, "Tab", 9)
    words = "link.cut 'between=[esxi-002,kms]' --at 240s --for 30s"
    line = f"keystead chaos fork edge-outage-reboot-sim-7 {words}"
    assert page.run("document.getElementById('fork-line').textContent") == line
    press(page, "Enter", 13, "\r")
    assert page.becomes("document.getElementById('fork-stop').hidden", False) or page.run(BOTH)
    assert page.becomes(BOTH, 2, 60), page.run(STEP)
    assert page.becomes(FOCUSED, "h-both")
    told = page.run("document.querySelector('#p-both .told').innerText")
    assert "Until 4:00 both runs are the same." in told and "cut esxi-002 <-> kms" in told
    report = "document.querySelector('#p-both a').href"
    assert page.run(report).endswith("/edge-outage-reboot-sim-7/beside/edge-outage-reboot-sim-7-2")
    assert readable(page) and page.problems == []


def readable(page: Page) -> bool:
    """Whether a page is within its width and has contrast, at every width and in both themes."""
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.call("Emulation.setEmulatedMedia", features=features)
        for width in (400, 700, 1400):
            size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
            page.call("Emulation.setDeviceMetricsOverride", **size)
            shown = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.run(shown) == 0, (scheme, width)
            poor = [one for one in page.run(CONTRAST) if not one.startswith(DRAWN)]
            assert poor == [], (scheme, width)
    page.call("Emulation.clearDeviceMetricsOverride")
    page.call("Emulation.setEmulatedMedia", features=[])
    return True


def test_without_the_token_no_fork_can_be_begun(browser: Page, stored: str) -> None:
    page = show(browser, stored, "a stored run")
    page.run("sessionStorage.clear()")
    page = show(browser, f"{stored}#t=240", "a stored run")
    assert page.becomes("document.getElementById('fork-at').textContent", "4:00")
    assert page.run("document.getElementById('fork').disabled")
    assert page.run("document.getElementById('may').textContent").startswith("Read-only")


def test_a_moment_without_faults_is_refused_on_the_page(browser: Page, stored: str) -> None:
    page = show(browser, f"{stored}#token={TOKEN}&t=0", "a stored run")
    assert page.becomes("document.getElementById('fork-at').textContent", "0:00")
    assert page.run("document.getElementById('fork').disabled")
    assert page.run("document.getElementById('fork-when').textContent").startswith("Faults begin")


@pytest.fixture
def beside_the_apis(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of the page of ``keystead serve --page``, with its token, and that of the API."""
    words = ["serve", "--sim", "default", "--seed", "7", "--listen", "127.0.0.1:0", "--page", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "KEYSTEAD_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "lab.cli.main", *words]
    serving = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert serving.stderr is not None
        said = [serving.stderr.readline() for _ in range(3)]
        found = [re.search(r"https?://\S+", line) for line in said]
        page, _, api = (one[0] if one else "" for one in found)
        yield page, api
        serving.send_signal(signal.SIGINT)
        assert serving.wait(30) == 0
    finally:
        serving.kill()
        serving.communicate()


def test_the_page_is_served_beside_the_apis(
    browser: Page, beside_the_apis: tuple[str, str]
) -> None:
    address, api = beside_the_apis
    page = show(browser, address)
    assert readable(page)
    time = "document.getElementById('clock').textContent"
    began = page.run(time)
    page.run("document.querySelector('#p-topology a[href=\"#server:vcenter\"]').focus()")
    press(page, "Enter", 13, "\r")
    assert page.becomes(FOCUSED, "h-drawer")
    press(page, "Tab", 9)
    assert page.run("document.activeElement.dataset.line") == ("host power-loss vcenter --stay-off")
    assert reaches(api)
    press(page, "Enter", 13, "\r")
    off = "document.getElementById('p-problems').innerText.includes('vcenter off')"
    assert page.becomes(off, True), "the page is there while the port of the API is closed"
    assert not reaches(api)
    assert page.becomes(FOCUSED, "h-drawer"), "the button that was pressed has gone"
    press(page, "Tab", 9)
    assert page.run("document.activeElement.dataset.line") == "host power-on vcenter"
    page.run("openDrawer(false).then(() => { window.drawn = true; })")
    assert page.becomes("window.drawn", True)
    assert page.run("document.activeElement.dataset.line") == "host power-on vcenter"
    press(page, "Enter", 13, "\r")
    assert page.becomes(off, False)
    assert reaches(api) and page.problems == []
    assert page.run(time) >= began


def reaches(address: str) -> bool:
    """Whether somebody listens there, at once: an API server sees what the page does."""
    host, port = address.removeprefix("https://").partition("/")[0].split(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except ConnectionRefusedError:
        return False
    return True
