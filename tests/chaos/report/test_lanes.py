"""Lanes: what was seen beside what the rules allow, of runs that keep them and runs that do not."""

from __future__ import annotations

import pytest

from chaos.history import Record
from chaos.report.compare import apart
from chaos.report.story import Lane, lanes
from tests.chaos.oracle.histories import Story, dark


def told_records(story: Story) -> list[Record]:
    return [
        Record(seq=n, t=float(n), node=node, type=type, op=op, data=data)
        for n, (node, type, op, data) in enumerate(story.rows, start=1)
    ]


def told(story: Story) -> dict[str, Lane]:
    return {lane.name: lane for lane in lanes(told_records(story))}


def states(lane: Lane) -> list[str]:
    return [segment.states[0] for segment in lane.actual]


def locked() -> Story:
    story = dark(persistence=False)
    return story.host("esxi-001", "prepared").vm("vm-01", "esxi-001", "locked").passes(60)


def back(seen: str, crypto: str = "safe") -> Story:
    story = dark(persistence=True)
    return story.host("esxi-001", crypto).vm("vm-01", "esxi-001", seen).passes(60)


def test_each_host_has_a_lane_and_its_vms_stand_under_it() -> None:
    found = told(back("running"))
    assert list(found) == ["esxi-001", "vm-01", "esxi-002", "vm-02"]
    assert [lane.host for lane in found.values()] == ["", "esxi-001", "", "esxi-002"]
    assert [lane.vm for lane in found.values()] == [False, True, False, True]


def test_a_lane_goes_through_what_was_seen() -> None:
    found = told(locked())
    assert states(found["esxi-001"])[1:] == ["safe", "off", "booting", "unknown", "prepared"]
    assert states(found["vm-01"]) == ["running", "down", "unknown", "locked"]
    assert states(found["vm-02"]) == ["running"] and not found["vm-02"].changes


def test_segments_follow_each_other_without_a_gap_and_name_their_record() -> None:
    for lane in told(locked()).values():
        for strip in (lane.actual, lane.expected):
            ends = [segment.end for segment in strip]
            assert [segment.begin for segment in strip[1:]] == ends[:-1]
            assert all(segment.begin < segment.end for segment in strip)
        assert all(segment.seq == segment.begin for segment in lane.actual)


def test_what_was_seen_last_goes_on_as_long_as_is_wanted() -> None:
    story = locked().vm("vm-01", "esxi-001", "off", wanted=False)
    records = told_records(story)
    assert [lane.actual[-1].states for lane in lanes(records) if lane.name == "vm-01"] == [
        ("locked",)
    ], "what the last record shows has no width"
    wider = {lane.name: lane for lane in lanes(records, records[-1].t + 5.0)}
    assert wider["vm-01"].actual[-1].states == ("off",)
    assert {lane.actual[-1].end for lane in wider.values()} == {records[-1].t + 5.0}


def test_what_is_expected_has_its_reasons() -> None:
    last = told(locked())["vm-01"].expected[-1]
    assert last.states == ("locked",) and last.because.startswith("R")


@pytest.mark.parametrize(
    "story", [locked(), back("running"), Story(persistence=True)], ids=["locked", "back", "quiet"]
)
def test_a_run_that_keeps_the_rules_has_nothing_odd_that_lasts(story: Story) -> None:
    assert [odd for lane in told(story).values() for odd in lane.odd() if not odd.late] == []


def test_a_vm_that_is_locked_though_its_key_is_persisted_is_odd() -> None:
    found = told(back("locked", crypto="prepared"))
    odd = [odd for odd in found["vm-01"].odd() if not odd.late]
    assert [(one.seen, one.allowed.states) for one in odd] == [("locked", ("running",))]
    assert odd[0].end - odd[0].begin > 30.0


def test_a_history_without_states_has_no_lanes() -> None:
    assert lanes(()) == ()
    assert lanes([Record(seq=1, t=0.0, node="vm-01", type="invoke", op="key.create")]) == ()


def test_runs_part_where_a_vm_goes_another_way_whenever_that_was() -> None:
    one, other = (tuple(told(story).values()) for story in (locked(), back("running")))
    assert apart(one, one) == ()
    found = {one.name: one for one in apart(one, other)}
    assert set(found) == {"esxi-001", "vm-01"}
    vm = found["vm-01"]
    assert vm.a is not None and vm.a.states == ("locked",)
    assert vm.b is None, "it ran as before"
    assert vm.t == vm.a.begin
