"""Metrics, CloudEvents, and stored runs on the page's server."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import run
from lab.cli.watch.scene import KeyCount
from lab.local.stored.runs import runs
from lab.play.prepare import begin, prepare
from lab.runs.store import RunFolder
from protocol.terms import NodeName
from tests.lab.cli.web.asking import Answered, Server, server_for, simulated
from tests.lab.cli.web.canned import CannedLab
from tests.tidy.tree import ROOT

LABEL = r'[a-z]+="[A-Za-z0-9_.+]+"'
ROW = re.compile(rf"keystead_[a-z_]+(\{{{LABEL}(,{LABEL})?\}})? [0-9.e+]+")


async def test_metrics_have_few_labels_however_large_the_lab_is() -> None:
    counts = []
    for hosts in (10, 500):
        server = server_for(CannedLab(hosts))
        answer = await server.ask("/metrics")
        assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain")
        rows = [line for line in answer.text.splitlines() if not line.startswith("#")]
        assert all(ROW.fullmatch(row) for row in rows), answer.text
        counts.append(len(rows))
        assert f'keystead_hosts{{state="safe"}} {hosts - 1}' in rows
        assert 'keystead_vm_locks{state="locked"} 1' in rows
        assert 'keystead_faults_active{kind="link.cut"} 1' in rows
        assert {f'keystead_keys{{where="{one.name}"}}' for one in fields(KeyCount)} == {
            row.split()[0] for row in rows if row.startswith("keystead_keys")
        }
    assert counts[0] == counts[1]


async def test_the_board_asks_for_metrics_that_there_are() -> None:
    board = (ROOT / "examples" / "grafana" / "keystead.json").read_text()
    panels = json.loads(board)["panels"]
    asked = {name for one in panels for name in re.findall(r"keystead_\w+", str(one["targets"]))}
    lab = CannedLab(3)
    lab.count(NodeName("vcenter"), kms_within_1ms=1, kms_total_us=700)
    text = (await server_for(lab).ask("/metrics")).text
    told = set(re.findall(r"^(\w+)(?:\{| )", text, re.M))
    assert len(panels) == 8 and len(asked) == 9
    assert asked <= told, asked - told


async def test_the_latency_of_key_servers_is_a_histogram_by_the_role_of_who_asks() -> None:
    lab = CannedLab(500)
    lab.count(
        NodeName("vcenter"), kms_within_1ms=3, kms_within_50ms=2, kms_beyond=1,
        kms_total_us=20_000_000, kms_failed=4, requests=9,
    )  # fmt: skip
    for host in ("esxi-003", "esxi-004"):
        lab.count(NodeName(host), kms_within_5ms=1, kms_total_us=2_500)
    text = (await server_for(lab).ask("/metrics")).text
    rows = [line for line in text.splitlines() if line.startswith("keystead_kms")]
    assert all(ROW.fullmatch(row) for row in rows), rows
    name = "keystead_kms_request_seconds"
    told = dict(row.rsplit(" ", 1) for row in rows)
    buckets = [
        int(count)
        for row, count in told.items()
        if row.startswith(f'{name}_bucket{{role="vcenter"')
    ]
    assert buckets == [3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5, 6]
    assert told[f'{name}_bucket{{role="esxi",le="0.001"}}'] == "0"
    assert told[f'{name}_bucket{{role="esxi",le="0.005"}}'] == "2"
    assert (told[f'{name}_sum{{role="vcenter"}}'], told[f'{name}_count{{role="vcenter"}}']) == (
        "20",
        "6",
    )
    assert told[f'{name}_sum{{role="esxi"}}'] == "0.005"
    assert told['keystead_kms_requests_failed_total{role="vcenter"}'] == "4"
    assert len(rows) == 2 * (13 + 2 + 1), "as many series for 500 hosts as for one"


@pytest.mark.slow
@pytest.mark.sim
async def test_the_latency_of_a_slow_key_server_is_seen() -> None:
    async with simulated(hosts=1, vms=1, tpm="none") as server:
        before = await latency(server)
        assert (
            await server.do("fault link.delay 'between=[vcenter, kms]' base=400ms --for 10m")
        ).json["ok"]
        await server.looker.lab.sleep(400)
        after = await latency(server)
    count, seconds = (after[n] - before[n] for n in ("count", "sum"))
    assert count > 0 and seconds / count > 0.8
    assert after['bucket,le="0.5"'] - before['bucket,le="0.5"'] == 0


async def latency(server: Server) -> dict[str, float]:
    """What vCenter counted of its key servers."""
    text = (await server.ask("/metrics")).text
    rows = re.findall(
        r'^keystead_kms_request_seconds_(\w+)\{role="vcenter"(.*)\} (.*)$', text, re.M
    )
    return {name + more: float(value) for name, more, value in rows}


async def test_metrics_of_a_lab_that_is_away() -> None:
    server = server_for(CannedLab(10, away=True))
    assert (await server.ask("/metrics")).status == 503
    page = await server.ask("/")
    assert page.status == 200 and "KS-LAB-001" in page.text


@pytest.mark.slow
@pytest.mark.sim
async def test_events_are_cloud_events_and_none_is_lost_or_told_twice() -> None:
    async with simulated(hosts=1, vms=1, tpm="none") as server:
        first = events((await server.ask("/events", None, b"nothing new")).body)
        assert first and all(one["specversion"] == "1.0" for one in first)
        encrypted = next(one for one in first if one.get("subject") == "vm-01")
        assert encrypted["type"].startswith("com.vmware.") and encrypted["time"].endswith("Z")
        assert encrypted["source"] == "urn:keystead:lab:default"
        numbers = [int(one["id"]) for one in first]
        assert numbers == sorted(set(numbers))
        seen = str(numbers[0])
        again = await server.ask("/events", None, b"nothing new", last_event_id=seen)
        assert [int(one["id"]) for one in events(again.body)] == numbers[1:]
        assert (await server.ask("/events?after=x")).status == 400


def events(body: bytes) -> list[dict[str, Any]]:
    """The CloudEvents of a stream, whose ids are those of their messages."""
    found = []
    for message in body.decode().split("\n\n"):
        values = dict(line.split(": ", 1) for line in message.splitlines() if line[0] != ":")
        if "data" in values:
            found.append(json.loads(values["data"]))
            assert found[-1]["id"] == values["id"] and values["event"] == "cloudevent"
    return found


@pytest.mark.slow
@pytest.mark.sim
def test_stored_runs_are_listed_reported_and_stepped_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    assert "None." in get("/runs").text
    assert run(["chaos", "run", "edge-outage-reboot", "--mode", "sim", "-q"]) == 0
    name = "edge-outage-reboot-sim-7"
    listed = get("/runs").text
    assert f'href="/runs/{name}/watch#t=0"' in listed and f"keystead chaos replay {name}" in listed
    assert "Availability" in get(f"/runs/{name}").text
    page = get(f"/runs/{name}/watch").text
    assert 'data-moments="0 ' in page and 'id="scrub"' in page and "data-line" not in page
    early, later = get(f"/runs/{name}/at?t=1").json, get(f"/runs/{name}/at?t=90").json
    assert "None." in early["parts"]["faults"] and "(8)" in later["parts"]["faults"]
    assert "8 hosts: 8 booting" in later["parts"]["summary"] and later["time"] == 90
    assert (get("/runs/nothing").status, get("/runs/nothing/watch").status) == (404, 404)
    assert {get(f"/runs/{name}/at?t={t}").status for t in ("x", "nan")} == {400}
    folder = RunFolder(name)
    folder.history.write_bytes(b"damaged")
    assert get(f"/runs/{name}/at?t=1").status == 404, "what was read before is not shown again"


@pytest.mark.sim
def test_a_run_that_is_removed_while_runs_are_listed_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    for seed in (1, 2):
        begin(prepare("edge-outage-reboot", seed, {}), "sim").release()
    whole = runs

    def list_and_lose(**named: Any) -> Any:
        found = whole(**named)
        RunFolder("edge-outage-reboot-sim-1").remove()
        return found

    monkeypatch.setattr("lab.cli.watch.web.runs.runs", list_and_lose)
    answer = get("/runs")
    assert answer.status == 200 and "edge-outage-reboot-sim-2" in answer.text


def get(path: str) -> Answered:
    return asyncio.run(server_for(None).ask(path))
