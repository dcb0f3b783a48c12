"""When a VM has to run again after the last fault: not before an operation put it on, and even
where its key came late, as long as its host was still to start it."""

from __future__ import annotations

from chaos.checks.recovery_bound import BOUND_S, RESTARTED_S, recovery_bound
from chaos.checks.result import CheckOutcome, Finding
from tests.chaos.oracle.histories import Story, dark
from tests.chaos.oracle.knob_runs import unlocked_early
from tests.chaos.oracle.moved_runs import taken_over
from tests.chaos.oracle.test_truth_table_check import records

LATE = int(BOUND_S) + 30


def bound(story: Story) -> Finding:
    return recovery_bound(records(story))


def test_a_key_that_came_within_the_window_is_a_demand() -> None:
    found = bound(unlocked_early().passes(LATE))
    assert found.result is CheckOutcome.FAIL and "vm-01 had to run by" in found.text
    started = unlocked_early().passes(5).vm("vm-01", "esxi-001", "running")
    assert bound(started.passes(LATE)).result is CheckOutcome.PASS


def halfway(end: str) -> Story:
    """An operation that ended without known end leaves vm-01 off, until another puts it on."""
    story = Story(persistence=True).cut().op("invoke", "vm-01").op("info", "vm-01", off=True)
    story.vm("vm-01", "esxi-001", "off", wanted=False).heal("wan").passes(2 * LATE)
    return story.op("invoke", "vm-01", n=2).op(end, "vm-01", n=2)


def test_a_vm_that_an_operation_left_off_has_its_time_from_when_it_was_put_on() -> None:
    running = halfway("ok").vm("vm-01", "esxi-001", "running")
    assert bound(running.passes(LATE)).result is CheckOutcome.PASS
    found = bound(halfway("ok").passes(LATE))
    assert found.result is CheckOutcome.FAIL and "did never" in found.text


def test_a_vm_that_an_operation_left_off_need_not_run() -> None:
    found = bound(halfway("info").passes(LATE))
    assert found.result is CheckOutcome.PASS and found.text.startswith("1 VMs")


def test_after_an_action_that_the_oracle_cannot_follow_nobody_has_to_run() -> None:
    story = unlocked_early().op("invoke", "p", "provider.set-default", n=9, action="other")
    story.op("ok", "p", "provider.set-default", n=9, action="other")
    found = bound(story.passes(LATE))
    assert found.result is not CheckOutcome.FAIL, found.text


def test_a_host_that_lists_a_vm_which_runs_elsewhere_owes_nothing() -> None:
    story = taken_over()
    for _ in range(LATE):
        story.vm("vm-01", "esxi-002", "running").vm("vm-01", "esxi-001", "off").passes(1)
    found = bound(story)
    assert found.result is CheckOutcome.PASS and found.text.startswith("2 VMs"), found.text


def stopped(*, ha: bool) -> Story:
    """esxi-001 stays at its screen; its VM runs on esxi-002 after a while."""
    story = Story(persistence=True, ha=ha).fault("dark", "host.power_loss", nodes=["esxi-001"])
    story.node("esxi-001", "off").passes(5).node("esxi-001", "halted").heal("dark")
    return story.passes(LATE + 60).vm("vm-01", "esxi-002", "running").passes(LATE)


def test_agents_have_their_time_to_find_that_a_host_has_failed() -> None:
    assert bound(stopped(ha=True)).result is CheckOutcome.PASS
    assert bound(stopped(ha=False)).result is CheckOutcome.FAIL


def put_on(*, locked: bool) -> Story:
    """Somebody starts vm-01 long after the heal: it was locked all the time, or just off."""
    story = Story(persistence=not locked).cut().boot("esxi-001")
    story.host("esxi-001", "prepared" if locked else "safe")
    story.vm("vm-01", "esxi-001", "locked" if locked else "off").heal("wan").passes(2 * LATE)
    story.op("invoke", "vm-01", "vm.on").op("ok", "vm-01", "vm.on").host("esxi-001", "safe")
    return story.passes(5).vm("vm-01", "esxi-001", "running").passes(LATE)


def test_a_vm_that_was_locked_has_its_time_from_when_somebody_started_it() -> None:
    """Unlocking powers nothing on (LOCK-06)."""
    assert bound(put_on(locked=True)).result is CheckOutcome.PASS
    found = bound(put_on(locked=False))
    assert found.result is CheckOutcome.FAIL and "vm-01 had to run by" in found.text


def left_off(healed: str = "wan") -> Story:
    """vm-01 is off since its host booted, though it could run; the cut heals."""
    story = dark(persistence=True).host("esxi-001", "safe").vm("vm-01", "esxi-001", "off")
    return story.heal(healed)


def test_only_the_heal_of_a_fault_that_was_there_begins_the_bound() -> None:
    assert bound(left_off().passes(LATE)).result is CheckOutcome.FAIL
    assert bound(left_off("ghost").passes(LATE)).result is CheckOutcome.UNKNOWN
    calm = Story(persistence=True).heal("ghost").passes(LATE)
    assert bound(calm).text == "no fault was there, or not all were seen gone"


def test_the_bound_is_met_at_its_last_second_and_not_a_second_later() -> None:
    """Each record is a second after the one before; the look that sees it run counts."""
    for seconds, result in ((0, CheckOutcome.PASS), (1, CheckOutcome.FAIL)):
        story = left_off().passes(int(BOUND_S) - 2 + seconds)
        found = bound(story.vm("vm-01", "esxi-001", "running").passes(LATE))
        assert found.result is result, found.text


def test_only_an_operation_that_began_here_excuses_a_vm() -> None:
    assert bound(left_off().op("note", "vm-01").passes(LATE)).result is CheckOutcome.FAIL
    story = left_off().passes(LATE).op("ok", "vm-01").passes(5)
    found = bound(story.vm("vm-01", "esxi-001", "running").passes(5))
    assert found.result is CheckOutcome.FAIL and "and did at" in found.text


def test_a_vm_that_was_off_at_the_first_look_need_not_run() -> None:
    story = Story(persistence=True)
    for n, row in enumerate(story.rows):
        if row[0] == "vm-01":
            story.rows[n] = (*row[:3], row[3] | {"power": "poweredOff", "wanted": "poweredOff"})
    found = bound(story.cut().heal("wan").passes(LATE))
    assert found.result is CheckOutcome.PASS and found.text.startswith("1 VMs")


def test_without_a_vm_that_has_to_run_nothing_is_known() -> None:
    story = Story(persistence=True).cut()
    for vm, host in (("vm-01", "esxi-001"), ("vm-02", "esxi-002")):
        story.op("invoke", vm).op("info", vm, off=True).vm(vm, host, "off", wanted=False)
    found = bound(story.heal("wan").passes(LATE))
    assert found == Finding(CheckOutcome.UNKNOWN, "there is no VM that has to run at the end")


def stays_dark(seconds: int) -> Story:
    """esxi-001 stays at its screen in a cluster with HA, and nobody restarts its VM."""
    story = Story(persistence=True, ha=True).fault("dark", "host.power_loss", nodes=["esxi-001"])
    return (
        story.node("esxi-001", "off")
        .passes(5)
        .node("esxi-001", "halted")
        .heal("dark")
        .passes(seconds)
    )


def test_agents_have_their_time_and_no_more_than_that() -> None:
    assert bound(stays_dark(LATE)).text == (
        "the run ended before the bound, and vm-01 did not run yet"
    )
    found = bound(stays_dark(LATE + int(RESTARTED_S)))
    assert found.result is CheckOutcome.FAIL and "did never" in found.text
