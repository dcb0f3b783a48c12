"""Loads as stored runs, as pages, and beside each other."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from junitparser import JUnitXml

from chaos.load.histogram import decode_histogram, percentile_file, value_ms
from lab.cli.invocation import Format
from lab.cli.loads.load import LoadFiles, _keep_report
from lab.cli.main import run
from lab.cli.options import Options
from lab.load.page import load_junit, page, pair
from lab.load.stored_loads import begin, compare_loads, keep, load_of
from lab.runs import store
from lab.schema.answers.load import LoadReport
from lab.schema.errors import KeysteadError
from tests.lab.load.play import Stalling, load

pytestmark = pytest.mark.sim


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    return tmp_path


class Seen(HTMLParser):
    """What a page would load, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and not (value or "").startswith(("#", "data:")):
                self.outside.append(f"{tag} {name} {value}")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.slow
def test_a_load_is_kept_and_told_again_by_every_command(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = keep(load(Stalling(), "get.p99 < 100ms", rate="20/s", duration="30s"), begin(1))
    second = keep(load(Stalling(stall=0.0), rate="20/s", duration="30s"), begin(1))
    assert (first.run, second.run) == ("load-kmip-1", "load-kmip-1-2")
    assert load_of(first.run) == first
    text = (home / "runs" / first.run / "get.hgrm").read_bytes()
    assert text == percentile_file(decode_histogram(first.items[0].histogram))
    assert value_ms(decode_histogram(first.items[0].histogram), 99.0) == first.items[0].p99_ms
    assert run(["runs", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["items"]
    assert [(one["run"], one["verdict"]) for one in listed] == [
        (first.run, "fail"),
        (second.run, "none"),
    ]
    assert run(["describe", "run", first.run]) == 0
    out = capsys.readouterr().out
    assert f"20/s at arithmetic: {first.items[-1].ok} of" in out and "fail (exit 1)" in out
    for words, tag in (([first.run], "1"), ([first.run, second.run], "2")):
        made = home / f"{tag}.html"
        assert run(["report", *words, "-o", str(made)]) == 0
        assert first.run in made.read_text()
    capsys.readouterr()
    assert run(["load", "compare", first.run, second.run, "-o", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["kind"] == "LoadComparison" and answer["items"][-1]["operation"] == "all"
    assert 0 < answer["items"][0]["p99_ratio"] < 0.01
    assert run(["load", "compare", first.run, second.run]) == 0
    assert run(["load", "compare", first.run, first.run]) == 64
    assert run(["load", "compare", first.run, "nope"]) == 64
    assert "KS-RUN-001" in capsys.readouterr().err


def test_what_was_not_the_same_to_begin_with_is_told() -> None:
    a = msgspec.structs.replace(load(Stalling(), duration="5s"), run="a")
    b = msgspec.structs.replace(load(Stalling(), duration="10s", seed=2, mix={"put": 1}), run="b")
    answer = compare_loads(a, b)
    assert {one.what for one in answer.conditions} == {"mix", "seed", "seconds"}
    assert [one.operation for one in answer.items] == ["get", "put", "all"]
    assert answer.items[0].b_ok_per_s is None and answer.items[1].a_p99_ms is None


@pytest.mark.slow
def test_a_page_loads_nothing_and_has_the_figures() -> None:
    report = msgspec.structs.replace(
        load(Stalling(), "get.p99 < 100ms", mix={"get": 9, "put": 1}), run="one"
    )
    text = page(report)
    seen = Seen(text)
    assert seen.outside == [] and "default-src 'none'" in text
    words = " ".join(" ".join(seen.words).split())
    for item in report.items:
        assert f"{item.operation} {item.offered} {item.ok} {item.failed}" in words
    assert "get.p99 < 100ms" in words and str(report.thresholds[0].value) in words
    assert seen.tags.count("svg") == 3 + 3 + 3 + 3, "three pictures, and the keys of their lines"
    offered = re.findall(r"<title>offered: ([0-9.e+]+)/s", text)
    assert len(offered) == len(report.moments), "the plot has every moment"
    other = msgspec.structs.replace(report, run="two")
    both = Seen(pair(report, other, compare_loads(report, other)))
    assert both.outside == [] and "two" in "".join(both.words)


def test_a_load_of_which_nothing_was_measured_has_a_page_too() -> None:
    async def fail(number: int) -> str:
        return "Refused"

    report = load(fail, "get.p99 < 1s", duration="2s")
    text = page(report)
    assert "nothing to measure" in text and "Refused" in text


def test_a_name_that_is_markup_stays_text() -> None:
    report = msgspec.structs.replace(
        load(Stalling(), duration="2s"), target="<img src=x onerror=1>"
    )
    assert "<img" not in page(report)


def test_where_a_run_cannot_be_kept_its_figures_are_told_all_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour of load is not measured again because the disk was full at its end."""

    def full(path: Path, data: bytes, *, durable: bool) -> None:
        if path.name == "load.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(data)

    folder = begin(1)
    monkeypatch.setattr(store, "replace_file", full)
    files, report = (
        LoadFiles(html=home / "load.html"),
        load(Stalling(), rate="20/s", duration="10s"),
    )
    with pytest.raises(KeysteadError) as both:
        _keep_report(
            report, folder, Options(output=Format.JSON), LoadFiles(html=home / "nowhere" / "x.html")
        )
    assert both.value.id == "KS-LAB-005"
    assert "KS-OUT-001" in capsys.readouterr().err, "what is not written is told as well"
    with pytest.raises(KeysteadError) as caught:
        _keep_report(report, folder, Options(output=Format.JSON), files)
    assert caught.value.id == "KS-LAB-005"
    told = msgspec.json.decode(capsys.readouterr().out, type=LoadReport)
    assert told == report and "<svg" in (home / "load.html").read_text()
    left = {path.name for path in folder.path.iterdir()}
    assert left == {"lock", "run.json"}, "nothing half is left"
    monkeypatch.undo()
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(home))
    assert run(["describe", "run", folder.run]) == 0
    assert "nothing of it was kept" in capsys.readouterr().out


def no_items(report: dict[str, Any]) -> None:
    report["items"] = []


def no_sum(report: dict[str, Any]) -> None:
    del report["items"][-1]


def no_histogram(report: dict[str, Any]) -> None:
    report["items"][0]["histogram"] = "HISTFAAAA=x"


def no_length(report: dict[str, Any]) -> None:
    report["seconds"] = -5.0


def far_moment(report: dict[str, Any]) -> None:
    report["moments"][0]["at"] = 1e300


@pytest.mark.slow
@pytest.mark.parametrize("damage", [no_items, no_sum, no_histogram, no_length, far_moment])
def test_a_kept_load_that_is_damaged_is_one_message(
    damage: Callable[[dict[str, Any]], None], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keep(load(Stalling(), rate="20/s", duration="10s"), begin(1))
    file = home / "runs" / kept.run / "load.json"
    report = json.loads(file.read_bytes())
    damage(report)
    file.write_text(json.dumps(report))
    for words in (
        ["describe", "run", kept.run],
        ["report", kept.run, "-o", str(home / "page.html")],
        ["load", "compare", kept.run, "other"],
    ):
        assert run(words) == 4
        out, err = capsys.readouterr()
        assert out == "" and "error KS-RUN-004: " in err and "load.json" in err


@pytest.mark.slow
def test_a_pipeline_reads_the_thresholds_of_a_load_as_cases(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ("get.p99 < 100ms", "get.max < 10s", "all.errors < 1%")
    red = keep(load(Stalling(), *limits, rate="20/s", duration="30s"), begin(1))
    assert run(["report", red.run, "--junit", str(home / "red.xml")]) == 0
    suite = JUnitXml.fromfile(str(home / "red.xml"))
    assert (suite.tests, suite.failures, suite.errors) == (4, 1, 0)
    assert run(["report", red.run, "--hgrm", str(home / "out.hgrm")]) == 0
    kept = home / "runs" / red.run / "get.hgrm"
    assert (home / "out-get.hgrm").read_bytes() == kept.read_bytes()
    ended = msgspec.structs.replace(red, verdict="interrupted")
    late = msgspec.structs.replace(red, verdict="unknown")
    counts = [
        [JUnitXml.fromstring(load_junit(one, strict=strict)) for strict in (False, True)]
        for one in (ended, late)
    ]
    assert [(one.failures, one.errors, one.skipped) for pair_ in counts for one in pair_] == [
        (1, 1, 0),
        (1, 1, 0),
        (0, 0, 1),
        (0, 1, 0),
    ]
    assert run(["report", red.run, "--github"]) == 64
    assert f"KS-USE-003: {red.run} is a load on no lab" in capsys.readouterr().err
