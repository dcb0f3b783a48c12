"""What the runner makes of figures: bars, repeats, what could not run, the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import pytest

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, NotMeasured, Report, Sense
from benchmarks.machine import describe
from benchmarks.order import BENCHMARKS, select_benchmarks
from benchmarks.runner import CANNOT_RUN, Outcome, exit_code, row, run
from benchmarks.scale.building import Growth
from benchmarks.scale.plot import growth
from benchmarks.scale.rows import ROWS
from lab.cli.main import run as command
from lab.schema.errors import KeysteadError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "home"))
    return tmp_path


class Given(Benchmark):
    """Gives the figures it was made with, one a run."""

    name = "given"
    measures = "nothing"
    unit = "s"
    bar: ClassVar[Bar] = Bar(Sense.BELOW, 2.0)
    figures: ClassVar[tuple[float, ...]] = (3.0, 1.0, 2.5)

    def __init__(self, *, quick: bool = False) -> None:
        super().__init__(quick=quick)
        self._left: Iterator[float] = iter(self.figures)

    async def run(self, report: Report) -> Figures:
        value = next(self._left)
        return Figures(value, {"twice": 2 * value})


class Broken(Given):
    name = "broken"
    error: ClassVar[Callable[[], Exception]] = lambda: CannotRun("a part is missing")

    async def run(self, report: Report) -> Figures:
        raise type(self).error()


class Elsewhere(Given):
    name = "elsewhere"

    async def run(self, report: Report) -> Figures:
        raise NotMeasured("by hand")


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize(
    ("sense", "below", "at", "above"),
    [
        (Sense.BELOW, True, False, False),
        (Sense.AT_MOST, True, True, False),
        (Sense.AT_LEAST, False, True, True),
    ],
)
def test_a_bar_knows_its_side(sense: Sense, below: bool, at: bool, above: bool) -> None:
    bar = Bar(sense, 10.0)
    assert [bar.met(v) for v in (9.9, 10.0, 10.1)] == [below, at, above]


async def test_the_median_is_judged_and_the_best_beside_it() -> None:
    results, machine = await run([Given()], 3, quiet)
    made = row(results[0])
    assert (made.min, made.median, made.max) == (1.0, 2.5, 3.0)
    assert made.values == (3.0, 1.0, 2.5)
    assert made.details == {"twice": 5.0}
    assert (made.met, made.met_at_best) == (False, True)
    assert exit_code(results) == 0  # slow is no error
    assert machine.load_at_start >= 0 and machine.load_at_end >= 0


@pytest.mark.parametrize(
    "error",
    [
        lambda: CannotRun("a part is missing"),
        lambda: KeysteadError("KS-BROKER-001", "there is no nats-server"),
        lambda: OSError(28, "No space left on device"),
        lambda: ExceptionGroup("unhandled", [RuntimeError("inside a group")]),
        lambda: ValueError("a defect"),
    ],
)
async def test_one_that_cannot_run_ends_alone_with_exit_5(error: Callable[[], Exception]) -> None:
    class Failing(Broken):
        pass

    Failing.error = error
    results, _ = await run([Failing(), Given()], 1, quiet)
    assert [r.outcome for r in results] == [Outcome.CANNOT_RUN, Outcome.MEASURED]
    assert exit_code(results) == CANNOT_RUN == 5
    made = row(results[0])
    assert made.text and made.met is None and made.median is None


async def test_an_error_inside_a_group_is_told_by_its_own_text() -> None:
    class Failing(Broken):
        error = lambda: ExceptionGroup("unhandled", [RuntimeError("inside")])  # noqa: E731

    results, _ = await run([Failing()], 1, quiet)
    assert row(results[0]).text == "RuntimeError: inside"


async def test_what_is_measured_elsewhere_is_no_failure() -> None:
    results, _ = await run([Elsewhere()], 1, quiet)
    assert (results[0].outcome, results[0].text) == (Outcome.NOT_MEASURED, "by hand")
    assert exit_code(results) == 0


def test_names_choose_and_a_wrong_one_is_told_with_the_right_ones() -> None:
    assert select_benchmarks(()) == BENCHMARKS
    assert [b.name for b in select_benchmarks(("host-boot", "up-3"))] == ["up-3", "host-boot"]
    assert select_benchmarks(("scale",)) == ROWS
    assert [b.name for b in select_benchmarks(("pushes", "up-3"))] == ["up-3", "pushes"]
    with pytest.raises(KeysteadError, match="no benchmark up-4") as error:
        select_benchmarks(("up-4",))
    assert error.value.id == "KS-USE-002" and "up-3" in error.value.fix


def test_names_are_unique_and_every_benchmark_says_what_it_measures() -> None:
    every = (*BENCHMARKS, *ROWS)
    assert len({"scale", *(b.name for b in every)}) == len(every) + 1
    assert all(b.measures and b.unit and b.bar.limit > 0 for b in every)


def test_the_machine_is_described(tmp_path: Path) -> None:
    machine = describe(tmp_path)
    assert machine.cores >= 1 and machine.memory_mib > 0 and machine.cpu and machine.code
    assert machine.file_system and machine.kernel and machine.python


def test_the_document_holds_machine_and_items(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.order.BENCHMARKS", (Given, Elsewhere))
    assert command(["bench", "--repeat", "2", "-o", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["repeat"]) == ("BenchmarkReport", 2)
    assert [i["benchmark"] for i in document["items"]] == ["given", "elsewhere"]
    assert document["items"][0]["bar"] == "< 2"
    assert document["machine"]["load_at_end"] >= 0


def test_the_table_says_what_is_met(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.order.BENCHMARKS", (Given, Elsewhere, Broken))
    assert command(["bench", "--repeat", "3"]) == 5
    said = capsys.readouterr().out
    assert "no (at best)" in said and "not measured here: by hand" in said
    assert "cannot run: a part is missing" in said and "cpu:" in said


def test_the_list_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["bench", "--list", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == [b.name for b in BENCHMARKS]


@pytest.mark.parametrize("repeat", ["0", "101"])
def test_repeats_have_bounds(repeat: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["bench", "--repeat", repeat]) == 64
    assert "KS-USE-003" in capsys.readouterr().err


async def test_bars_of_details_are_kept_too() -> None:
    class Bound(Given):
        also: ClassVar[dict[str, Bar]] = {"twice": Bar(Sense.BELOW, 3.0)}
        figures = (1.9, 1.4)

    results, _ = await run([Bound()], 2, quiet)
    made = row(results[0])
    assert made.bar == "< 2; twice < 3"
    assert (made.median, made.details) == (1.65, {"twice": 3.3})
    assert (made.met, made.met_at_best) == (False, True)


async def test_a_benchmark_says_itself_how_often_it_is_run() -> None:
    class Long(Given):
        repeats = 2

    results, _ = await run([Long(), Given()], None, quiet)
    assert [len(r.values) for r in results] == [2, 3]


class Grown(Growth):
    """Two labs that nobody builds."""

    async def run(self, report: Report) -> Figures:
        return Figures(
            1.0, {"build_50_s": 0.5, "build_1000_s": 12.0, "idle_50_s": 0.1, "idle_1000_s": 2.0}
        )


def test_growth_is_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr("benchmarks.order.ROWS", (Grown,))
    monkeypatch.setattr("benchmarks.command.Growth", Grown)
    assert command(["bench", "scale", "--svg", str(home / "growth.svg")]) == 0
    root = ElementTree.parse(home / "growth.svg").getroot()  # noqa: S314
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    dots = [t.text for c in root.iter(f"{space}circle") for t in c]
    assert dots == [
        "50 hosts: 0.5 s",
        "1000 hosts: 12 s",
        "50 hosts: 0.1 s",
        "1000 hosts: 2 s",
    ]
    words = [t.text for t in root.iter(f"{space}text")]
    assert words.count("hosts") == words.count("CPU seconds") == 2
    assert {"50", "1000", "0.5", "20"} <= set(words)  # ticks at the ends of both axes
    assert "drawn:" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["pushes", "--svg", "g.svg"], ["scale", "--svg", "no/g.svg"]])
def test_a_picture_of_nothing_or_nowhere_is_refused_before_anything_runs(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["bench", *words]) == 64
    assert "KS-USE-003" in capsys.readouterr().err


@pytest.mark.parametrize("points", [[(50.0, 3.0)], [(10.0, 1.0), (20.0, 1.0)], [(1.0, 1e-6)]])
def test_a_picture_has_room_for_any_points(points: list[tuple[float, float]]) -> None:
    root = ElementTree.fromstring(growth({"a <cost>": points}, "a & b"))  # noqa: S314
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for dot in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 < float(dot.attrib["cx"]) < width and 0 < float(dot.attrib["cy"]) < height
