"""Runs that the rules allow pass; each way of breaking them is found, at its record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chaos.checks.no_needless_outage import no_needless_outage
from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.truth_table import truth_table
from chaos.history import Record
from tests.chaos.oracle import (
    act_runs,
    bad_runs,
    fold_runs,
    goes_on_runs,
    good_runs,
    kmip_runs,
    knob_runs,
    lying_runs,
    moved_runs,
    namesake_runs,
    native_runs,
    placed_runs,
    realm_runs,
    start_runs,
    trusted_runs,
    vsan_runs,
)
from tests.chaos.oracle.histories import Story

RUNS = (
    act_runs,
    bad_runs,
    goes_on_runs,
    good_runs,
    kmip_runs,
    knob_runs,
    fold_runs,
    lying_runs,
    moved_runs,
    namesake_runs,
    native_runs,
    placed_runs,
    realm_runs,
    start_runs,
    trusted_runs,
    vsan_runs,
)
GOOD: dict[str, Callable[[], Story]] = {
    name: made for runs in RUNS for name, made in getattr(runs, "GOOD", {}).items()
}
BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    name: made for runs in RUNS for name, made in getattr(runs, "BAD", {}).items()
}
OUTAGES: set[str] = set().union(*(getattr(runs, "OUTAGES", ()) for runs in RUNS))

PASS, FAIL, UNKNOWN = CheckOutcome.PASS, CheckOutcome.FAIL, CheckOutcome.UNKNOWN


def records(story: Story) -> list[Record]:
    return [
        Record(seq=n, t=float(n), node=node, type=type, op=op, data=data)
        for n, (node, type, op, data) in enumerate(story.rows, start=1)
    ]


def held(story: Story) -> Finding:
    return truth_table(records(story))


def blamed(story: Story) -> Record:
    """The record that the first breach names."""
    found = truth_table(records(story))
    assert found.result is FAIL, found.text
    return records(story)[found.records[0] - 1]


@pytest.mark.parametrize("name", GOOD)
def test_what_the_rules_allow_passes(name: str) -> None:
    found = held(GOOD[name]())
    assert found.result is PASS, found.text


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_what_they_do_not_is_found_at_its_record(name: str) -> None:
    story, node, reason, seen = BAD[name]
    made = story()
    first = blamed(made)
    assert first.node == node, held(made).text
    text = held(made).text
    assert f" is {seen} at " in text and reason in text


@pytest.mark.parametrize("name", BAD)
def test_an_outage_is_a_vm_that_is_down_or_locked(name: str) -> None:
    found = no_needless_outage(records(BAD[name][0]()))
    assert (found.result is FAIL) == (name in OUTAGES), found.text


def test_a_breach_tells_the_faults_of_the_moment() -> None:
    text = held(BAD["persisted, and it stays down"][0]()).text
    assert "running is allowed by R36; faults: wan (link.cut)" in text
    assert (
        "no fault"
        in held(Story(persistence=True).passes(40).vm("vm-01", "esxi-001", "off").passes(40)).text
    )


def test_a_run_without_looks_or_faults_proves_nothing() -> None:
    assert truth_table([]).result is UNKNOWN
    assert held(Story(persistence=True)).result is UNKNOWN
    assert no_needless_outage(records(Story(persistence=True))).result is UNKNOWN


def reconnected(kind: str, **named: Any) -> Story:
    """A host was off for as long as it was asked for. If that came to nothing, nobody connects it
    any more, or brings it keys (vSAN, seed 1068)."""
    story = Story(persistence=False).op("invoke", "vm-01", "host.reconnect")
    story.fault("dark", "host.power_loss", nodes=["esxi-001"]).node("esxi-001", "off").passes(300)
    story.op(kind, "vm-01", "host.reconnect", **named)
    story.boot("esxi-001").heal("dark").host("esxi-001", "prepared")
    return story.vm("vm-01", "esxi-001", "locked").passes(200)


def test_a_host_that_vcenter_may_leave_alone_for_good_may_lack_keys() -> None:
    assert held(reconnected("ok", host="esxi-001")).result is FAIL
    story = reconnected("info", host="esxi-001")
    assert held(story).result is PASS
    story.op("ok", "vm-01", "host.reconnect", host="esxi-001").passes(20)
    assert held(story).result is PASS


def test_when_it_is_not_told_which_host_that_is_nothing_more_is_judged() -> None:
    story = reconnected("info")
    assert held(story).result is UNKNOWN and "host.reconnect" in held(story).text


def test_a_vm_that_was_to_be_started_and_never_made_is_held_against_nothing() -> None:
    story = Story(persistence=True).cut().op("invoke", "ghost", "vm.on", n=7)
    story.op("fail", "ghost", "vm.on", n=7, error="NotFound").passes(40)
    assert held(story).result is PASS
    assert no_needless_outage(records(story)).result is PASS
