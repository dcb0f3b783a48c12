"""A load on something that is no lab as JUnit XML: a suite, and a case for each threshold."""

from __future__ import annotations

from typing import Final

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from lab.schema.answers.load import LoadReport, LoadThreshold
from protocol.printable import printable

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
