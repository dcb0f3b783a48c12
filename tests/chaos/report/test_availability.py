"""Availability: shares of phases, and why a VM did not run."""

from __future__ import annotations

from chaos.history import Record
from chaos.report.availability import Row, availability
from chaos.report.page import page
from chaos.report.phases import RunPhase
from chaos.report.story import Story
from tests.chaos.oracle.histories import Story as Told
from tests.chaos.report.tales import CUT, plan, story, verdict
from tests.chaos.report.test_lanes import back, locked, told_records

TITLES = {"R7": "Only vCenter could bring the key"}


def of(told: Told) -> Story:
    return story(told_records(told), verdict(), plan=plan(faults=(CUT,)), titles=TITLES)


def rows(told: Told) -> dict[str, Row]:
    return {row.vm: row for row in availability(of(told))[0]}


def test_a_vm_that_is_locked_to_the_end_says_which_key_is_missing_and_by_which_rule() -> None:
    row = rows(locked())["vm-01"]
    assert not row.back and not row.asked and row.last.states == ("locked",)
    assert "locked from " in row.why
    assert "EncryptionKeyRequired: required keys are not on esxi-001" in row.why
    assert 0 < row.whole < 1


def test_a_vm_that_came_back_says_until_when_it_did_not_run() -> None:
    row = rows(back("running"))["vm-01"]
    assert row.back and row.last.states != ("running",)
    assert row.why.startswith("esxi-001 was down from ")
    assert row.shares[RunPhase.BEFORE] == 1


def test_who_ran_all_the_time_is_counted_and_not_listed() -> None:
    found, always = availability(of(locked()))
    assert ([row.vm for row in found], always) == (["vm-01"], 1)


def test_one_that_is_off_on_its_own_behalf_is_told_apart_from_one_that_was_powered_off() -> None:
    left = rows(locked().vm("vm-01", "esxi-001", "off").passes(60))["vm-01"]
    assert "unlocked on esxi-001, and off: nobody has powered it on since" in left.why
    asked = rows(back("running").vm("vm-01", "esxi-001", "off", wanted=False).passes(60))["vm-01"]
    assert (left.asked, asked.asked, asked.back) == (False, True, False)
    assert asked.why.endswith("; powered off on esxi-001, as was asked")


def test_what_nobody_could_tell_before_the_first_look_counts_for_nothing() -> None:
    told = Told(persistence=True)
    assert told.rows[1][2] == "node", "its host is seen before it is"
    found, always = availability(of(told))
    assert (found, always) == ((), 2)


def test_one_that_was_off_for_a_while_runs_again_and_nobody_is_to_power_it_on() -> None:
    told = back("running").vm("vm-01", "esxi-001", "off").passes(5)
    row = rows(told.vm("vm-01", "esxi-001", "running").passes(60))["vm-01"]
    assert row.back and row.why.endswith("; unlocked on esxi-001 and off, until it was powered on")


def test_what_a_fault_does_while_it_is_being_made_is_not_before_it() -> None:
    """It is written down when it was seen to be there; hosts are off a moment earlier."""
    told = Told(persistence=True).coming("dark", "host.power_loss", nodes=["esxi-001"])
    told = told.node("esxi-001", "off").passes(3)
    told = told.came("dark", "host.power_loss", nodes=["esxi-001"]).passes(5)
    row = rows(told)["vm-01"]
    assert row.shares[RunPhase.BEFORE] == 1 and row.shares[RunPhase.FAULT] == 0.1, (
        "it went a second after that began"
    )


def test_those_that_are_meant_to_be_off_come_last() -> None:
    told = back("running").vm("vm-02", "esxi-002", "off", wanted=False).passes(60)
    assert [(row.vm, row.asked) for row in availability(of(told))[0]] == [
        ("vm-01", False),
        ("vm-02", True),
    ]


def test_a_host_that_stands_at_a_screen_says_what_is_on_it() -> None:
    told = told_records(back("running"))
    screen = {"state": "halted", "boot": 3, "screen": "Failed to <decrypt>"}
    seq = len(told) + 1
    told += [
        Record(seq=seq, t=seq, node="esxi-001", type="state", op="node", data=screen),
        Record(seq=seq + 1, t=seq + 60.0, node="", type="note", op="later", data={}),
    ]
    run = story(told, verdict())
    (row,) = availability(run)[0]
    assert row.why.split("; ")[-1] == "esxi-001 is halted, its screen says: Failed to <decrypt>"
    assert "its screen says: Failed to &lt;decrypt&gt;" in page(run)


def test_the_page_has_the_words_and_escapes_them() -> None:
    text = page(of(locked()))
    assert 'id="availability"' in text and "EncryptionKeyRequired" in text
    assert "✗ locked" in text
