"""Reports, opened in a real browser and looked at. Skipped, and counted, where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.report.latency import figures, samples
from chaos.report.page import page as page_of
from lab.cli.main import run
from lab.local.stored.reports import story_of
from tests.chaos.report.test_page import hostile
from tests.e2e.chromium import BROWSER, Page

pytestmark = [
    pytest.mark.sim,
    pytest.mark.timeout(300),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]
FILE = """
apiVersion: keystead/v1
kind: Experiment
name: edge-without
title: "Without key persistence <img src=x onerror=window.struck=1>"
seed: 7
topology: {use: edge, with: {hosts: 2, vms: 4, key_persistence: false}}
workload: [{op: guest.challenge, rate: 1/s}]
hypothesis:
  during: [{probe: vm.running, is: ">= 50%"}]
  recover: {within: 20s}
  after: [{probe: vm.running, is: "== 100%"}]
guards: {lease: 120s, max_duration: 10m, blast_radius: {hosts: 100%, kms: 1, vcenter: 1}}
schedule:
  - {id: wan, at: 30s, for: 2m, fault: link.cut, between: [site:edge, [role:kms, role:vcenter]]}
  - {id: dark, after: wan + 20s, for: 15s, fault: host.power_loss, on: {site: edge, role: esxi}}
"""
RUN = "edge-without-sim-7"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A failed run with its report, its comparison and its JUnit file, made as people make them."""
    made = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYSTEAD_STATE_HOME", str(made / "state"))
        patch.chdir(made)
        Path("edge.yaml").write_text(FILE)
        line = "chaos run edge.yaml --mode sim --report one.html --junit one.xml"
        assert run(line.split()) == 1
        assert run(f"report {RUN} {RUN} -o two.html".split()) == 0
        assert run(f"report {RUN}".split()) == 0
        assert Path(f"{RUN}.html").read_bytes() == Path("one.html").read_bytes()
        Path("hostile.html").write_text(page_of(hostile()), "utf-8")
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one.html", "two.html", "hostile.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_opens_without_a_word_on_the_console_and_asks_nobody(
    opened: Callable[[str], Page], folder: Path, name: str, scheme: str
) -> None:
    page = opened(name)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.call("Emulation.setEmulatedMedia", features=features)
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 31)"}[scheme]
    assert page.problems == []
    assert set(page.asked) - {"data:,"} == {(folder / name).as_uri()}
    assert page.run("window.struck") is None
    assert page.run("document.images.length") == 0
    assert len(page.picture()) > 10_000


def test_lanes_pins_and_states_are_there(opened: Callable[[str], Page]) -> None:
    page = opened("one.html")
    names = "[...document.querySelectorAll('#timeline text.host-name')].map(t => t.textContent)"
    assert page.run(names) == ["esxi-001", "esxi-002"]
    vms = "[...document.querySelectorAll('#timeline text.vm-name')].map(t => t.textContent)"
    assert sorted(page.run(vms)) == ["vm-01", "vm-02", "vm-03", "vm-04"]
    locked = "[...document.querySelectorAll('#timeline text.t-locked')].map(t => t.textContent)"
    assert page.run(locked) == ["✕ locked"] * 4
    assert page.run("document.querySelector('.badge').textContent") == "✗ fail"


@pytest.mark.slow
def test_what_is_drawn_has_a_size_that_can_be_seen(opened: Callable[[str], Page]) -> None:
    page = opened("one.html")
    width = "Math.round(document.querySelector('#timeline svg.wide').getBoundingClientRect().width)"
    assert 1000 <= page.run(width) <= 1280
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.run(overflow) == 0


@pytest.mark.slow
def test_a_pin_leads_to_its_record(opened: Callable[[str], Page]) -> None:
    page = opened("one.html")
    wanted = page.run("document.querySelector('a:has(path.pin)').getAttribute('href')")
    page.point("path.pin", click=True)
    assert page.becomes("location.hash", wanted)
    assert page.run("document.querySelector(':target').cells[0].textContent") == wanted[2:]
    seen = (
        "(b => b.top >= 0 && b.bottom <= innerHeight)"
        "(document.querySelector(':target').getBoundingClientRect())"
    )
    assert page.becomes(seen, True)


def test_a_tip_follows_the_pointer_and_goes_with_it(opened: Callable[[str], Page]) -> None:
    page = opened("one.html")
    assert page.run("document.getElementById('tip').hidden") is True
    page.point("svg.wide rect.s.s-locked")
    assert page.becomes("document.getElementById('tip').hidden", False)
    tip = page.run("document.getElementById('tip').textContent")
    assert tip.startswith("vm-0") and "was locked" in tip
    page.point("h1")
    assert page.becomes("document.getElementById('tip').hidden", True)


@pytest.mark.slow
def test_records_are_found_by_their_words(opened: Callable[[str], Page]) -> None:
    page = opened("one.html")
    shown = "[...document.querySelectorAll('#records tbody tr')].filter(r => !r.hidden).length"
    every = page.run(shown)
    page.run(
        "(f => { f.value = 'FAULT wan'; f.dispatchEvent(new Event('input')); })"
        "(document.getElementById('filter'))"
    )
    assert 1 <= page.run(shown) < every
    assert page.run("document.getElementById('found').textContent").endswith(f"of {every}")
    page.run("location.hash = '#r1'")
    assert page.becomes(shown, every), "a link to a hidden record shows it"
    assert page.problems == []


def test_the_page_has_the_figures_of_the_history(
    opened: Callable[[str], Page], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(folder / "state"))
    page = opened("one.html")
    rows = page.run(
        "[...document.querySelectorAll('#latency tbody tr')]"
        ".map(r => [r.cells[0].textContent, r.cells[1].textContent, r.cells[2].textContent])"
    )
    found = figures(samples(story_of(RUN).records))
    assert [row[:2] for row in rows] == [[one.op, one.phase.value] for one in found]
    assert [int(row[2].split()[0]) for row in rows] == [one.ends.get("ok", 0) for one in found]


@pytest.mark.slow
def test_without_scripts_the_page_says_the_same(opened: Callable[[str], Page]) -> None:
    browser = opened("one.html")
    with_ = browser.run("document.querySelectorAll('section, tr, svg').length")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page = opened("one.html")
        assert page.run("document.querySelectorAll('section, tr, svg').length") == with_
        assert page.run("document.querySelectorAll('svg title').length") > 20, "tips are titles"
        assert page.run("document.querySelector('.search').hidden") is True
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.slow
def test_it_can_be_printed(opened: Callable[[str], Page]) -> None:
    page = opened("one.html")
    printed = page.call("Page.printToPDF", printBackground=True, landscape=True)
    assert len(printed["data"]) > 20_000
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        hidden = "getComputedStyle(document.getElementById('records')).display"
        assert page.run(hidden) == "none"
    finally:
        page.call("Emulation.setEmulatedMedia", media="")
