"""A replay as JUnit XML: a suite for each phase, and a case for each check at each server."""

from __future__ import annotations

from typing import Final

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from lab.kmip.replay.findings import FindingLevel
from lab.kmip.replay.reporting import SKIPPED
from lab.schema.answers.replay import ReplayCheck, ReplayFinding, ReplayPhase, ReplayReport
from protocol.printable import printable

_PACKAGE: Final = "kmip.replay"


def replay_junit(report: ReplayReport) -> bytes:
    """The document in UTF-8.

    A finding is a failure whose type is its level: a pipeline that a notice may not break reads
    the type, or the exit code of the command. A check that was not made is skipped, and so is the
    one case of a phase that was not played.
    """
    document = JUnitXml("keystead kmip replay")
    for phase in report.phases:
        document.add_testsuite(_suite(report, phase))
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return text


def _suite(report: ReplayReport, phase: ReplayPhase) -> TestSuite:
    suite = TestSuite(phase.phase)
    for name, value in _properties(report, phase).items():
        suite.add_property(name, printable(str(value)))
    checks = [check for check in report.checks if check.phase == phase.phase]
    for check in checks:
        found = [
            one
            for one in report.findings
            if (one.phase, one.check, one.server) == (check.phase, check.check, check.server)
        ]
        suite.add_testcase(_case(check, found))
    if not checks:
        case = TestCase(phase.phase, _PACKAGE, phase.seconds)
        if phase.why:
            case.result = [Skipped(printable(phase.why))]
        suite.add_testcase(case)
    suite.time = phase.seconds
    return suite


def _properties(report: ReplayReport, phase: ReplayPhase) -> dict[str, object]:
    told: dict[str, object] = {
        "verdict": report.verdict,
        "date": report.date,
        "keystead": report.keystead,
        "vcenter": report.vcenter,
        "connection": report.connection,
    }
    for server in report.servers:
        told[f"server {server.address}"] = server.vendor or server.down or "no vendor is named"
    return told | dict(phase.measures)


def _case(check: ReplayCheck, found: list[ReplayFinding]) -> TestCase:
    case = TestCase(f"{check.check} [{check.server}]", f"{_PACKAGE}.{check.phase}", 0)
    if check.result == SKIPPED:
        case.result = [Skipped(printable(check.why))]
    elif found:
        case.result = [_failure(one) for one in found]
    return case


def _failure(found: ReplayFinding) -> Failure:
    failure = Failure(printable(f"{found.id}: {found.title}"), FindingLevel(found.level).value)
    failure.text = printable(
        f"at: {found.step}, {found.times} times\nseen: {found.seen}\n"
        f"vCenter: {found.vcenter}\nfix: {found.fix}\nsource: {found.source}"
    )
    return failure
