"""A load as one HTML file, or two beside each other (rates and latency over time, latency by
percentile); a load as JUnit XML, with a case for each threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from chaos.load.histogram import decode_histogram, value_us
from chaos.load.planned import ALL
from chaos.report.filling import fill_template
from chaos.report.shapes import Axis, Dot, Picture, Rect, ShapeLine, Text, moment, span
from lab.schema.answers.load import LoadComparison, LoadMoment, LoadReport, LoadThreshold
from protocol.printable import printable

LEFT: Final = 70.0
WIDTH: Final = 1100.0
TOP, HEIGHT = 8.0, 150.0
LOOKS: Final = 6
_NINES: Final = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_STEPS_OF_CURVE: Final = 120

Value = Callable[[LoadMoment], float | None]


class Curve(NamedTuple):
    """A line of a picture: its name, its look, and points that go from left to right; a gap where a
    point has no value."""

    name: str
    look: str
    points: Sequence[tuple[float, float | None]]


def rates(report: LoadReport) -> Picture:
    """What was offered, what went well and what failed, a second."""
    moments, piece = report.moments, _piece(report)
    told = "operations a second: offered, ok and failed, by when they were due"
    values = (("offered", "line-5"), ("ok", "line-1"), ("failed", "line-bad"))
    curves = [
        Curve(name, look, [(m.at, getattr(m, name) / piece) for m in moments])
        for name, look in values
        if name != "failed" or any(m.failed for m in moments)
    ]
    most = max((y or 0.0 for curve in curves for _, y in curve.points), default=0.0) or 1.0
    picture, axis = _over_time(report, told)
    step = 10 ** math.floor(math.log10(most))
    step = next(s for s in (step / 5, step / 2, step, step * 2) if most / s <= 6)
    top = step * math.ceil(most / step)
    for n in range(round(top / step) + 1):
        _level(picture, TOP + HEIGHT * (1 - n * step / top), f"{n * step:g}/s")
    for curve in curves:
        _draw(picture, curve, axis.x, lambda y: TOP + HEIGHT * (1 - y / top), _per_second)
    return picture


def latency(report: LoadReport) -> Picture:
    """The median, the 99th percentile and the longest of each piece of the time."""
    values: tuple[tuple[str, str, Value], ...] = (
        ("p50", "line-1", lambda m: m.p50_ms),
        ("p99", "line-0", lambda m: m.p99_ms),
        ("max", "line-2", lambda m: m.max_ms),
    )
    curves = [Curve(n, look, [(m.at, of(m)) for m in report.moments]) for n, look, of in values]
    picture, axis = _over_time(report, "latency of all operations by when they were due")
    scale = _scale(picture, curves)
    for curve in curves:
        _draw(picture, curve, axis.x, scale, _took)
    return picture


def lines(reports: Mapping[str, LoadReport]) -> list[tuple[str, str, str]]:
    """Of ``percentiles``: name, look and histogram of each line. Of one report each operation has
    one, of several all operations together; those of which nothing was measured have none."""
    found = []
    for name, report in reports.items():
        one = len(reports) == 1
        for item in report.items if one else report.items[-1:]:
            twice = one and item.operation == ALL and len(report.items) == 2
            if item.p50_ms is not None and not twice:
                found.append((item.operation if one else name, item.histogram))
    return [(name, f"line-{n % LOOKS}", text) for n, (name, text) in enumerate(found)]


def percentiles(reports: Mapping[str, LoadReport]) -> Picture:
    """Latency by percentile, each further nine as far as the one before."""
    curves = [
        Curve(name, look, _curve(decode_histogram(text))) for name, look, text in lines(reports)
    ]
    picture = Picture(WIDTH, TOP + HEIGHT + 18.0, "latency by percentile")
    scale = _scale(picture, curves)
    far = max([x for curve in curves for x, _ in curve.points], default=1.0)
    axis = Axis(far, LEFT, WIDTH - 12.0)
    for share in _NINES:
        if (x := _nines(share)) <= far:
            _moment(picture, axis.x(x), f"{share:g} %")
    for curve in curves:
        _draw(picture, curve, axis.x, scale, _took)
    return picture


# ---- parts ---------------------------------------------------------------------------------------


def _piece(report: LoadReport) -> float:
    """Seconds of each piece of the time."""
    if len(report.moments) > 1:
        return report.moments[1].at - report.moments[0].at
    return max(report.seconds, 0.25)


def _over_time(report: LoadReport, told: str) -> tuple[Picture, Axis]:
    """With the warm-up as a band, round moments below, and a line where its rate was changed."""
    picture = Picture(WIDTH, TOP + HEIGHT + 18.0, told)
    axis = Axis(max(report.warmup + report.seconds, 0.1), LEFT, WIDTH - 12.0)
    if report.warmup:
        end = axis.x(report.warmup)
        picture.add(Rect(x=LEFT, y=TOP, w=end - LEFT, h=HEIGHT, look="warmup", tip="warm-up"))
    for t, name in axis.ticks():
        _moment(picture, axis.x(t), name)
    for change in report.changes:
        x, tip = axis.x(change.at), f"the rate is {change.rate} from {moment(change.at)} on"
        picture.add(ShapeLine(x=x, y=TOP, x2=x, y2=TOP + HEIGHT, look="changed", tip=tip))
    return picture, axis


def _moment(picture: Picture, x: float, name: str) -> None:
    bottom = TOP + HEIGHT
    picture.add(
        ShapeLine(x=x, y=TOP, x2=x, y2=bottom, look="grid"),
        Text(x=x, y=bottom + 13.0, text=name, look="tick", anchor="middle"),
    )


def _level(picture: Picture, y: float, name: str) -> None:
    picture.add(
        ShapeLine(x=LEFT, y=y, x2=WIDTH - 12.0, y2=y, look="grid"),
        Text(x=LEFT - 6.0, y=y + 3.5, text=name, look="tick-end", anchor="end"),
    )


def _scale(picture: Picture, curves: Sequence[Curve]) -> Callable[[float], float]:
    """Powers of ten that hold all milliseconds, drawn; where a value lies."""
    values = [y for curve in curves for _, y in curve.points if y]
    low = math.floor(math.log10(min(values, default=1.0)))
    decades = max(1, math.ceil(math.log10(max(values, default=10.0)) - 1e-9) - low)
    for n in range(decades + 1):
        _level(picture, TOP + HEIGHT * (1 - n / decades), span(10.0 ** (low + n) / 1000))

    def y(value: float) -> float:
        part = (math.log10(max(value, 10.0**low)) - low) / decades
        return round(TOP + HEIGHT * (1 - part), 2)

    return y


def _draw(
    picture: Picture,
    curve: Curve,
    x: Callable[[float], float],
    y: Callable[[float], float],
    told: Callable[[float, float], str],
) -> None:
    before: tuple[float, float] | None = None
    for at, value in curve.points:
        if value is None:
            before = None
            continue
        here = x(at), y(value)
        tip = f"{curve.name}: {told(at, value)}"
        if before is not None:
            x1, y1 = before
            picture.add(ShapeLine(x=x1, y=y1, x2=here[0], y2=here[1], look=curve.look, tip=tip))
        else:
            picture.add(Dot(x=here[0], y=here[1], r=1.6, look=curve.look, tip=tip))
        before = here


def _per_second(at: float, value: float) -> str:
    return f"{value:.4g}/s at {moment(at)}"


def _took(at: float, value: float) -> str:
    return span(value / 1000)


def _nines(percentile: float) -> float:
    """0 at the median; each further nine is one further."""
    return -math.log10(2 * (1 - percentile / 100))


def _curve(made: Any) -> list[tuple[float, float | None]]:
    """From the median to the last share that so many operations can tell apart."""
    end = math.log10(max(made.get_total_count() / 2, 10))
    points: list[tuple[float, float | None]] = []
    for n in range(_STEPS_OF_CURVE + 1):
        x = end * n / _STEPS_OF_CURVE
        points.append((x, value_us(made, 100 * (1 - 10**-x / 2)) / 1000))
    return points


def page(report: LoadReport) -> str:
    """The report of one load."""
    own = report.generator
    facts: dict[str, Any] = {
        "run": report.run or "not kept",
        "target": report.target,
        "rate": report.rate,
        "mix": ", ".join(f"{name} {weight}" for name, weight in report.mix.items()),
        "arrivals": f"{report.spread}, seed {report.seed}",
        "measured": f"{report.seconds:g} s",
        "drawn": f"{own.drawn} ({own.drawn_per_s:g}/s)",
        "begun late": f"{own.late} (p99 {own.late_p99_ms:g} ms, max {own.late_max_ms:g} ms)",
        **report.facts,
    }
    if own.outstanding:
        facts["held"] = f"{own.held} by {own.outstanding} under way"
    if report.changes:
        facts["rate changed"] = "; ".join(
            f"to {one.rate} at {moment(one.at)}" for one in report.changes
        )
    if own.cpu_share is not None:
        facts["own CPU"] = f"{own.cpu_share * 100:.0f} % of a core"
    values = {"report": report, "facts": facts, "load": parts(report)}
    return fill_template(
        "load.html", values, title=f"{report.run or report.target}: {report.verdict}"
    )


def parts(report: LoadReport) -> dict[str, Any]:
    """The values of the sections that a load has on any page."""
    one = {report.run or report.target: report}
    return {
        "report": report,
        "rates": rates(report),
        "latency": latency(report),
        "percentiles": percentiles(one),
        "lines": lines(one),
    }


def pair(a: LoadReport, b: LoadReport, compared: LoadComparison) -> str:
    """Two loads beside each other."""
    both = {a.run: a, b.run: b}
    values = {
        "reports": [{"report": r, "rates": rates(r), "latency": latency(r)} for r in (a, b)],
        "compared": compared,
        "percentiles": percentiles(both),
        "lines": lines(both),
    }
    return fill_template("load-pair.html", values, title=f"{a.run} and {b.run}")


_OWN: Final = "it may be by what the generator did late itself"
_NOTHING: Final = "there was nothing to measure"


def load_junit(report: LoadReport, *, strict: bool = False) -> bytes:
    """The document in UTF-8.

    A threshold that does not hold is a failure; one of which nobody can tell is skipped, or with
    ``strict`` an error. A load that was interrupted has an error of its own, so that no pipeline
    takes it for a good one.
    """
    suite = TestSuite("load")
    told = {"run": report.run, "target": report.target, "rate": report.rate, **report.facts}
    for name, value in told.items():
        suite.add_property(name, printable(value))
    for one in report.thresholds:
        suite.add_testcase(_case(one, report.verdict, strict))
    every = report.items[-1]
    whole = TestCase("the load", "load.run", report.seconds)
    whole.system_out = f"{every.ok} of {every.offered} operations went well"
    if report.verdict == "interrupted":
        whole.result = [Error(whole.system_out, "interrupted")]
    suite.add_testcase(whole)
    suite.time = report.warmup + report.seconds
    document = JUnitXml("keystead")
    document.add_testsuite(suite)
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return text


def _case(one: LoadThreshold, verdict: str, strict: bool) -> TestCase:
    case = TestCase(printable(one.threshold), "load.threshold", 0)
    measured = _NOTHING if one.value is None else f"measured {one.value:g}"
    if one.holds:
        case.system_out = measured
    elif one.holds is False and verdict != "unknown":
        case.result = [Failure(measured, "threshold")]
    else:
        said = measured if one.holds is None else f"{measured}; {_OWN}"
        case.result = [Error(said, "unknown") if strict else Skipped(said, "unknown")]
    return case
