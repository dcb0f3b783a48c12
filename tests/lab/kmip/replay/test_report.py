"""The report of a replay, as a document, as HTML and as JUnit XML."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import msgspec
import pytest

from lab.kmip.replay.page import page
from lab.kmip.replay.reporting import build_report, replay_junit
from lab.kmip.replay.running import ReplayPlan
from lab.schema.answers.kmip import ReplayReport
from lab.schema.tables import document_of
from protocol.kmip.enums import ResultReason
from tests.chaos.report.test_page import HOSTILE, Read
from tests.lab.kmip.replay.rig import played
from tests.services.keyservers.scripted import ScriptedServer


async def report_of(server: ScriptedServer, *, cleanup: bool = False) -> ReplayReport:
    journal = await played(server, plan=ReplayPlan(keys=1, hosts=2, cleanup=cleanup))
    return build_report(
        journal,
        began=1_796_156_870.0,
        seconds=2.5,
        keystead="1.2.3",
        connection="faithful",
        vcenter="8.0",
    )


def sick() -> ScriptedServer:
    return ScriptedServer(refuses={"AddAttribute": ResultReason.PERMISSION_DENIED})


async def test_a_document_says_when_what_and_by_whom() -> None:
    made = await report_of(ScriptedServer())
    document = json.loads(json.dumps(document_of(made)))
    assert msgspec.convert(document, ReplayReport) == made
    assert document["kind"] == "ReplayReport"
    assert (document["date"], document["keystead"]) == ("2026-12-01T20:27:50Z", "1.2.3")
    assert (document["verdict"], document["vcenter"]) == ("works", "8.0")
    [server] = document["servers"]
    assert (server["address"], server["vendor"]) == ("kms-1:5696", "scripted")
    assert (server["versions"], server["tls"]) == (["1.1"], "TLSv1.3")
    assert server["certificate"]["names"] == ["kms-1", "kms-2", "127.0.0.1"]
    assert [phase["phase"] for phase in document["phases"]] == [
        "trust",
        "flow",
        "failover",
        "isolation",
        "storm",
    ]
    results = {phase["phase"]: phase["result"] for phase in document["phases"]}
    assert results["flow"] == results["storm"] == "passed"
    assert results["failover"] == results["isolation"] == "skipped"


async def test_keys_that_are_left_are_named() -> None:
    server = ScriptedServer()
    made = await report_of(server)
    assert {key.id for key in made.left} == set(server.keys)
    assert len(made.left) == made.keys
    clean = await report_of(ScriptedServer(), cleanup=True)
    assert (clean.left, clean.keys) == ((), made.keys)


async def test_a_check_has_the_result_of_its_worst_finding() -> None:
    made = await report_of(sick())
    results = {check.check: check.result for check in made.checks}
    assert results["keys are tagged"] == "notice"
    assert results["keys are made"] == "passed"
    phases = {phase.phase: phase.result for phase in made.phases}
    assert (phases["flow"], phases["storm"]) == ("notice", "passed")
    broken = await report_of(ScriptedServer(refuses={"Create": ResultReason.PERMISSION_DENIED}))
    assert {phase.phase: phase.result for phase in broken.phases}["flow"] == "error"
    skipped = [check for check in broken.checks if check.why]
    assert {check.result for check in skipped} == {"skipped"}


def cases(report: ReplayReport) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(replay_junit(report))  # noqa: S314 - our own
    return {
        f"{case.get('classname')}: {case.get('name')}": case
        for suite in root.findall("testsuite")
        for case in suite.findall("testcase")
    }


async def test_each_check_is_a_case_for_pipelines() -> None:
    made = await report_of(sick())
    found = cases(made)
    assert len(found) == len(made.checks) + 2  # and two phases that were not played
    [failure] = found["kmip.replay.flow: keys are tagged [kms-1:5696]"]
    assert (failure.tag, failure.get("type")) == ("failure", "notice")
    assert "tag-failed" in (failure.get("message") or "")
    assert "Permission Denied" in (failure.text or "") and "fix: " in (failure.text or "")
    [why] = found["kmip.replay: failover"]
    assert (why.tag, "--server" in (why.get("message") or "")) == ("skipped", True)
    assert len(found["kmip.replay.flow: keys are made [kms-1:5696]"]) == 0


async def test_a_suite_says_against_what_it_was_played() -> None:
    root = ElementTree.fromstring(replay_junit(await report_of(sick())))  # noqa: S314 - our own
    told = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert told["verdict"] == "works with notices"
    assert told["server kms-1:5696"] == "scripted"
    assert (told["keystead"], told["date"]) == ("1.2.3", "2026-12-01T20:27:50Z")
    assert told["hosts"] == "2"  # of the storm


@pytest.mark.parametrize("server", [ScriptedServer, sick])
async def test_a_page_tells_everything_and_asks_nobody(server: type[ScriptedServer]) -> None:
    made = await report_of(server())
    read = Read(page(made))
    assert made.verdict in read.said and "kms-1:5696" in read.said
    for id in [*(one.id for one in made.findings), *(one.id for one in made.left)]:
        assert id in read.said
    for check in made.checks:
        assert check.check in read.said
    assert all(link.startswith(("#", "data:")) for link in read.links)
    assert not read.handlers


async def test_nothing_that_a_server_says_becomes_a_part_of_the_page() -> None:
    made = await report_of(sick())
    server = msgspec.structs.replace(made.servers[0], vendor=HOSTILE, down=HOSTILE)
    finding = msgspec.structs.replace(made.findings[0], seen=HOSTILE, server=HOSTILE)
    made = msgspec.structs.replace(made, servers=(server,), findings=(finding,))
    read = Read(page(made))
    assert "img" not in read.names and read.names.count("script") == 1
    assert not read.handlers and "\x1b" not in read.said
    ElementTree.fromstring(replay_junit(made))  # noqa: S314 - our own
