"""A lock that a host tells is one that vCenter must show, once it has had the time to see it."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks import CHECKS
from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.vms.lock_told import QUIET_S
from chaos.history import Record

VM = "vm-01"
PASS, FAIL, UNKNOWN = CheckOutcome.PASS, CheckOutcome.FAIL, CheckOutcome.UNKNOWN


def state(t: float, op: str, node: str = "", **data: Any) -> Record:
    return Record(seq=int(t) + 1, t=t, node=node, type="state", op=op, data=data)


def seen(t: float, crypto: str | None) -> Record:
    """How the VM's host has it."""
    return state(t, "vm", VM, host="esxi-001", power="poweredOff", crypto=crypto)


def at_end(t: float, **changes: Any) -> Record:
    """What vCenter, and the host, have of the VM at the end."""
    had = {"alarms": [], "marked": False, "connection": "connected"}
    had |= {"crypto": "locked", "power": "poweredOff"} | changes
    return state(t, "alarms", hosts={}, vms={VM: had})


def judged(*records: Record) -> Finding:
    return CHECKS["lock_told"].judge(records)


LONG = QUIET_S + 10


def test_a_lock_that_vcenter_never_shows_is_found_at_the_record_that_began_it() -> None:
    found = judged(seen(5, "unlocked"), seen(10, "locked"), at_end(10 + QUIET_S))
    assert (found.result, found.records) == (FAIL, (11,))
    assert found.text == "vm-01 is locked at its host for 120 s, and vCenter does not show it"


@pytest.mark.parametrize(
    "changes",
    [
        {"connection": "disconnected"},  # vCenter does not see its host
        {"connection": "orphaned"},  # nor does this host list it
        {"crypto": "unlocked"},
        {"crypto": None},
        {"power": "poweredOn"},
    ],
)
def test_what_vcenter_cannot_see_or_is_no_lock_any_more_is_not_asked_of_it(
    changes: dict[str, Any],
) -> None:
    assert judged(seen(10, "locked"), at_end(10 + LONG, **changes)).result is UNKNOWN


def test_a_lock_that_is_shown_is_held_against_its_events() -> None:
    marks = state(20, "marks", "vcenter", locked=[VM])
    told = state(LONG, "lock_events", told={VM: [True]}, locked=[VM], running=[])
    end = at_end(10 + LONG, marked=True)
    assert judged(seen(10, "locked"), marks, told, end).result is PASS


def test_vcenter_has_its_time_after_the_lock_and_after_every_fault_and_heal() -> None:
    def change(t: float, type: str) -> Record:
        return Record(seq=int(t) + 1, t=t, node="", type=type, op="link.cut", data={})

    end = at_end(300.0)
    assert judged(seen(300 - QUIET_S, "locked"), end).result is FAIL
    assert judged(seen(301 - QUIET_S, "locked"), end).result is UNKNOWN
    for type in ("fault", "heal"):
        assert judged(seen(10, "locked"), change(300 - QUIET_S, type), end).result is FAIL
        assert judged(seen(10, "locked"), change(301 - QUIET_S, type), end).result is UNKNOWN


def test_a_vm_that_was_unlocked_between_is_locked_anew() -> None:
    looks = (seen(10, "locked"), seen(200, "unlocked"), seen(210, "locked"))
    assert judged(*looks, at_end(300)).result is UNKNOWN
    assert judged(*looks, at_end(210 + QUIET_S)).records == (211,)


def test_it_does_not_say_that_nothing_was_locked_beside_a_host_that_says_so() -> None:
    assert judged(seen(10, "unlocked")).text == "no VM was locked in this run"
    found = judged(seen(10, "locked"))
    assert found.result is UNKNOWN
    assert found.text == "vCenter was not seen to mark vm-01, which a host had as locked"
