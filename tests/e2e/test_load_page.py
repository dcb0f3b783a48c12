"""The pages of a load, of a load on a lab and of two loads, opened in a real browser and looked at.
Skipped, and counted, where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos.report.shapes import span
from lab.cli.main import run
from lab.load.stored_loads import begin, keep
from lab.schema.answers.load import LoadChange
from tests.e2e.chromium import BROWSER, Page
from tests.lab.load.play import Stalling, load

pytestmark = [
    pytest.mark.sim,
    pytest.mark.timeout(300),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]
LAB = "load run --mode sim --hosts 2 --vms 4 --rate 2/s --duration 20s --threshold all.p99<5s"
COLUMNS = ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three pages, made as people make them: ``lab.html``, ``kmip.html``, ``two.html``."""
    made = tmp_path_factory.mktemp("load")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYSTEAD_STATE_HOME", str(made / "state"))
        patch.chdir(made)
        assert run([*LAB.split(), "--html", "lab.html"]) == 0
        stalling = load(Stalling(), "get.p99 < 100ms", rate="50/s", duration="40s")
        stalling = msgspec.structs.replace(
            stalling, changes=(LoadChange(at=20.0, rate="<img src=x onerror=window.struck=1>"),)
        )
        runs = [
            keep(stalling, begin(1)).run,
            keep(load(Stalling(stall=0.0), rate="50/s", duration="40s"), begin(1)).run,
        ]
        assert run(["report", runs[0], "-o", "kmip.html"]) == 0
        assert run(["load", "compare", *runs, "--html", "two.html"]) == 0
        yield made


def stored(folder: Path, run: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "state" / "runs" / run / "load.json").read_bytes())
    return told


def cells(page: Page, section: str) -> list[list[str]]:
    """The body of the table of a section, as it is read."""
    rows = f"[...document.querySelectorAll('#{section} tbody tr')]"
    found: list[list[str]] = page.run(f"{rows}.map(r => [...r.cells].map(c => c.textContent))")
    return found


@pytest.mark.parametrize("name", ["lab.html", "kmip.html", "two.html"])
def test_a_page_of_a_load_opens_without_a_word_on_the_console_and_asks_nobody(
    opened: Callable[[str], Page], folder: Path, name: str
) -> None:
    page = opened(name)
    assert page.problems == []
    assert set(page.asked) - {"data:,"} == {(folder / name).as_uri()}
    assert page.run("window.struck") is None and page.run("document.images.length") == 0
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.run(overflow) == 0
    assert len(page.picture()) > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "run"), [("lab.html", "load-sim-1"), ("kmip.html", "load-kmip-1")]
)
def test_its_table_has_the_figures_that_were_measured(
    opened: Callable[[str], Page], folder: Path, name: str, run: str
) -> None:
    page, told = opened(name), stored(folder, run)
    shown = cells(page, "load-operations")
    assert [row[0] for row in shown] == [item["operation"] for item in told["items"]]
    for row, item in zip(shown, told["items"], strict=True):
        assert row[1:4] == [str(item[what]) for what in ("offered", "ok", "failed")]
        assert row[6:11] == [span(item[what] / 1000) for what in COLUMNS]
    [threshold] = cells(page, "load-thresholds")
    held = told["thresholds"][0]
    assert threshold[:2] == [held["threshold"], str(held["value"])]
    assert threshold[2] == ("yes" if held["holds"] else "no")


@pytest.mark.parametrize("name", ["lab.html", "kmip.html"])
def test_its_plots_and_its_percentile_curve_can_be_seen(
    opened: Callable[[str], Page], name: str
) -> None:
    page = opened(name)
    for section, least in (("load-rates", 20), ("load-latency", 20), ("load-percentiles", 100)):
        drawn = f"document.querySelectorAll('#{section} svg.wide line[class^=line-]').length"
        assert page.run(drawn) >= least, section
        box = f"document.querySelector('#{section} svg.wide').getBoundingClientRect()"
        assert page.run(f"{box}.width") > 900 and page.run(f"{box}.height") > 100
        line = f"document.querySelector('#{section} svg.wide line[class^=line-]')"
        colour = f"getComputedStyle({line}).stroke"
        assert page.run(colour) not in ("none", "", "rgba(0, 0, 0, 0)")
    names = "[...document.querySelectorAll('#load-percentiles text')].map(t => t.textContent)"
    assert {"50 %", "90 %"} <= set(page.run(names))


@pytest.mark.slow
def test_the_page_of_a_load_on_a_lab_has_what_the_lab_did(opened: Callable[[str], Page]) -> None:
    page = opened("lab.html")
    hosts = "[...document.querySelectorAll('#timeline text.host-name')].map(t => t.textContent)"
    assert page.run(hosts) == ["esxi-001", "esxi-002"]
    assert page.run("document.querySelectorAll('#checks tbody tr').length") > 10


def test_a_changed_rate_is_a_line_that_can_be_seen(opened: Callable[[str], Page]) -> None:
    page = opened("kmip.html")
    style = "getComputedStyle(document.querySelector('#load-rates line.changed'))"
    assert page.run(f"{style}.strokeDasharray") not in ("none", "")
    assert page.run("document.querySelectorAll('#load-rates line.changed').length") == 1


def test_two_loads_have_one_curve_each_and_the_ratio_of_their_p99(
    opened: Callable[[str], Page], folder: Path
) -> None:
    page = opened("two.html")
    first, second = (stored(folder, run)["items"][-1] for run in ("load-kmip-1", "load-kmip-1-2"))
    row = cells(page, "operations")[-1]
    assert row[0] == "all" and float(row[-1]) == pytest.approx(
        second["p99_ms"] / first["p99_ms"], abs=0.001
    )
    assert row[7:9] == [span(first["p99_ms"] / 1000), span(second["p99_ms"] / 1000)]
    looks = (
        "new Set([...document.querySelectorAll('#percentiles svg.wide line[class^=line-]')]"
        ".map(l => l.getAttribute('class'))).size"
    )
    assert page.run(looks) == 2
    assert page.run("document.querySelectorAll('svg.wide').length") == 5
