"""The report of a replay, from its journal; the same as JUnit XML: a suite for each phase, and a
case for each check at each server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from lab.kmip.replay.findings import FindingLevel, PlayPhase, ServerFinding
from lab.kmip.replay.journal import Latency, PlayedPhase, ReplayJournal, ServerFacts
from lab.schema.answers.kmip import (
    ReplayCheck,
    ReplayFinding,
    ReplayKey,
    ReplayPhase,
    ReplayReport,
    ReplayServer,
    ReplayStep,
)
from protocol.printable import printable

PASSED: Final = "passed"
SKIPPED: Final = "skipped"
_WORST: Final = (FindingLevel.ERROR.value, FindingLevel.NOTICE.value, PASSED)


def build_report(
    journal: ReplayJournal,
    *,
    began: float,
    seconds: float,
    keystead: str,
    connection: str,
    vcenter: str,
) -> ReplayReport:
    """What there is until now; ``began`` in Unix seconds."""
    findings = journal.findings
    checks = tuple(_checks(journal, findings))
    return ReplayReport(
        verdict=journal.verdict.value,
        date=datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        keystead=keystead,
        vcenter=vcenter,
        connection=connection,
        seconds=round(seconds, 3),
        keys=len(journal.keys),
        servers=tuple(_server(name, facts) for name, facts in journal.servers.items()),
        phases=tuple(_phase(phase, journal.phases[phase], checks) for phase in _phases(journal)),
        checks=checks,
        findings=tuple(_finding(found) for found in findings),
        left=tuple(
            ReplayKey(id=key.uid, server=key.server, use=key.use, why=key.left)
            for key in journal.keys
            if key.left
        ),
        items=tuple(_step(*place, latency) for place, latency in journal.steps.items()),
    )


def _phases(journal: ReplayJournal) -> list[PlayPhase]:
    return [phase for phase in PlayPhase if phase in journal.phases]


def _checks(journal: ReplayJournal, findings: Iterable[ServerFinding]) -> Iterator[ReplayCheck]:
    found: dict[tuple[object, str], set[str]] = {}
    for one in findings:
        found.setdefault((one.kind.check, one.server), set()).add(one.kind.level.value)
    order = list(PlayPhase)
    for (check, server), why in sorted(
        journal.checks.items(), key=lambda entry: order.index(entry[0][0].phase)
    ):
        result = SKIPPED if why else _worst(found.get((check, server), set()))
        yield ReplayCheck(
            phase=check.phase.value, check=check.title, server=server, result=result, why=why
        )


def _worst(results: set[str]) -> str:
    return next((word for word in _WORST if word in results), PASSED)


def _phase(phase: PlayPhase, played: PlayedPhase, checks: Iterable[ReplayCheck]) -> ReplayPhase:
    results = {check.result for check in checks if check.phase == phase}
    return ReplayPhase(
        phase=phase.value,
        result=SKIPPED if played.skipped else _worst(results),
        seconds=round(played.seconds, 3),
        why=played.skipped,
        measures={name: round(value, 3) for name, value in played.measures.items()},
    )


def _server(name: str, facts: ServerFacts) -> ReplayServer:
    return ReplayServer(
        address=name,
        vendor=facts.vendor,
        versions=facts.versions,
        tls=facts.tls,
        cipher=facts.cipher,
        certificate=facts.certificate,
        down=facts.down,
    )


def _finding(found: ServerFinding) -> ReplayFinding:
    kind = found.kind
    return ReplayFinding(
        id=kind.id,
        level=kind.level.value,
        phase=kind.check.phase.value,
        check=kind.check.title,
        title=kind.title,
        server=found.server,
        step=found.step,
        times=found.times,
        seen=found.seen,
        vcenter=found.vcenter,
        fix=kind.fix,
        source=kind.source,
    )


def _step(phase: PlayPhase, server: str, step: str, latency: Latency) -> ReplayStep:
    def ms(percentile: float) -> float:
        return round(latency.percentile_s(percentile) * 1000, 3)

    return ReplayStep(
        phase=phase.value,
        server=server,
        step=step,
        times=len(latency.seconds),
        failed=latency.failed,
        p50_ms=ms(50),
        p99_ms=ms(99),
        worst_ms=ms(100),
    )


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
