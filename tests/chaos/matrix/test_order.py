"""What vCenter tells, and in which order: another order, a gap or a word too many is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.matrix.evidence import EventSeen
from chaos.matrix.judging.event_order import wrong_order, wrongly_told
from chaos.oracle.terms import Block, TableEvent, TableFault
from protocol.events import EventTypeId as Id
from protocol.terms import NodeName, VmName

VM, HOST = VmName("e4-off"), NodeName("esxi-001")
OUTAGE = (Block.S10, TableFault.F1, TableEvent.E4)
DESTROYED = (Block.S00, TableFault.F8, TableEvent.E4)
PERSISTENT = (Block.S11, TableFault.F1, TableEvent.E4)


def seen(event: Id, **more: Any) -> EventSeen:
    return EventSeen(sequence=1, at=1.0, event=event, **more)


UNREACHABLE = seen(Id.KMS_UNREACHABLE)
REQUIRED = seen(Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR, host=HOST)
LOCKED = seen(Id.VM_LOCKED_KMS_CLUSTER_ERROR, host=HOST, vm=VM)
ENABLED = seen(Id.HOST_CRYPTO_ENABLED, host=HOST)
UNLOCKED = seen(Id.VM_UNLOCKED, host=HOST, vm=VM)
MISSING = seen(Id.VM_LOCKED_KEY_MISSING_ON_KMS, host=HOST, vm=VM)
WHOLE = [UNREACHABLE, REQUIRED, LOCKED, ENABLED, UNLOCKED]


def test_an_outage_is_told_in_its_order() -> None:
    elsewhere = seen(Id.VM_LOCKED_KMS_CLUSTER_ERROR, host="esxi-009", vm="another")
    assert wrong_order(OUTAGE, [elsewhere, *WHOLE, UNREACHABLE], VM, HOST) == ""
    for place in range(len(WHOLE)):
        assert wrong_order(OUTAGE, WHOLE[:place] + WHOLE[place + 1 :], VM, HOST)
    swapped = [UNREACHABLE, LOCKED, REQUIRED, ENABLED, UNLOCKED]
    assert "VMLocked.KMSClusterError" in wrong_order(OUTAGE, swapped, VM, HOST)
    others = [seen(e.event, host="esxi-009", vm="another") for e in WHOLE]
    assert wrong_order(OUTAGE, others, VM, HOST)


def test_a_destroyed_key_locks_its_vm_when_the_host_is_safe() -> None:
    assert wrong_order(DESTROYED, [ENABLED, MISSING], VM, HOST) == ""
    assert wrong_order(DESTROYED, [MISSING, ENABLED], VM, HOST)


@pytest.mark.parametrize("word", [REQUIRED, LOCKED, ENABLED])
def test_persistence_leaves_nothing_to_tell_of_host_and_vm(word: EventSeen) -> None:
    assert wrong_order(PERSISTENT, [UNREACHABLE], VM, HOST) == ""
    assert wrong_order(PERSISTENT, [UNREACHABLE, word], VM, HOST)
    assert wrong_order((Block.S11, TableFault.F2, TableEvent.E4), [word], VM, HOST) == ""


@pytest.mark.parametrize(
    "fault", [TableFault.F1, TableFault.F2, TableFault.F4, TableFault.F7, TableFault.F8]
)
def test_a_lock_is_told_with_its_cause_and_taken_back(fault: TableFault) -> None:
    right, other = (MISSING, LOCKED) if fault is TableFault.F8 else (LOCKED, MISSING)
    elsewhere = seen(other.event, host=HOST, vm="another")

    def locked(*told: EventSeen) -> str:
        return wrongly_told(Block.S10, fault, "LK", told, VM, HOST)

    assert locked(right, elsewhere, UNLOCKED) == ""
    assert locked(right, UNLOCKED, right, UNLOCKED) == ""
    for told in (
        (),
        (UNLOCKED,),
        (right,),
        (UNLOCKED, right),
        (right, UNLOCKED, right),
        (other, UNLOCKED),
        (right, other, UNLOCKED),
    ):
        assert locked(*told)


def test_a_lock_of_a_trusted_key_is_told_with_a_cause_of_its_own() -> None:
    away = seen(Id.VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE, vm=VM, host=HOST)
    lacking = seen(Id.VM_LOCKED_TA_KEY_MISSING_ON_HOST, vm=VM, host=HOST)

    def locked(fault: TableFault, *told: EventSeen) -> str:
        return wrongly_told(Block.T10, fault, "LK", told, VM, HOST)

    for fault in (TableFault.F1, TableFault.F3, TableFault.F8):
        assert locked(fault, away, UNLOCKED) == ""
        assert locked(fault, LOCKED, UNLOCKED)
    assert locked(TableFault.F1, lacking, UNLOCKED) == ""
    assert locked(TableFault.F3, lacking, UNLOCKED)
    assert wrongly_told(Block.T10, TableFault.F1, "UNSAFE", [], VM, HOST) == ""


def test_nothing_is_told_of_a_lock_that_was_none() -> None:
    assert (
        wrongly_told(Block.S10, TableFault.F7, "OK", [UNREACHABLE, REQUIRED, UNLOCKED], VM, HOST)
        == ""
    )
    assert wrongly_told(Block.S10, TableFault.F7, "OK", [LOCKED, UNLOCKED], VM, HOST)
    assert wrongly_told(Block.S10, TableFault.F5A, "NO", [], VM, HOST) == ""


def test_a_host_that_is_not_safe_is_told_of_with_its_cause() -> None:
    for fault in (TableFault.F1, TableFault.F7):
        assert wrongly_told(Block.S10, fault, "UNSAFE", [REQUIRED], VM, HOST) == ""
        for told in ([], [UNREACHABLE], [seen(REQUIRED.event, host="esxi-009")]):
            assert wrongly_told(Block.S10, fault, "UNSAFE", told, VM, HOST)
    assert wrongly_told(Block.S10, TableFault.F2, "UNSAFE", [], VM, HOST) == ""
    assert wrongly_told(Block.S10, TableFault.F1, "UNSAFE", [ENABLED], VM, HOST)


def test_what_is_told_of_another_host_or_vm_is_not_of_this_one() -> None:
    other = seen(REQUIRED.event, host="esxi-009")
    assert wrong_order(OUTAGE, [UNREACHABLE, other, LOCKED, ENABLED, UNLOCKED], VM, HOST)
    assert (
        wrong_order(PERSISTENT, [other, seen(LOCKED.event, host=HOST, vm="another")], VM, HOST)
        == ""
    )


def test_a_lock_of_a_derived_key_is_of_the_host_that_cannot_derive_it() -> None:
    here = seen(Id.VM_LOCKED_KEY_MISSING_ON_HOST, host=HOST, vm=VM)
    assert wrongly_told(Block.N0X, TableFault.F1, "LK", [here, UNLOCKED], VM, HOST) == ""
    assert wrongly_told(Block.N0X, TableFault.F1, "LK", [LOCKED, UNLOCKED], VM, HOST)


def test_a_fault_that_locks_nothing_has_no_cause_of_a_lock() -> None:
    told = wrongly_told(Block.S10, TableFault.F5A, "LK", [LOCKED, UNLOCKED], VM, HOST)
    assert told == "told of the lock: vm.Crypto.VMLocked.KMSClusterError"


def test_what_else_is_told_of_the_vm_may_come_after_its_unlock() -> None:
    other = seen(Id.HOST_CRYPTO_ENABLED, host=HOST, vm=VM)
    assert wrongly_told(Block.S10, TableFault.F1, "LK", [LOCKED, UNLOCKED, other], VM, HOST) == ""
