"""What vCenter tells, and in which order: another order, a gap or a word too many is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.matrix.evidence import EventSeen
from chaos.matrix.order import wrong_order
from chaos.oracle.terms import Block, Event, Fault
from protocol.events import EventTypeId as Id
from protocol.terms import NodeName, VmName

VM, HOST = VmName("e4-off"), NodeName("esxi-001")
OUTAGE = (Block.S10, Fault.F1, Event.E4)
DESTROYED = (Block.S00, Fault.F8, Event.E4)
PERSISTENT = (Block.S11, Fault.F1, Event.E4)


def seen(event: Id, **more: Any) -> EventSeen:
    return EventSeen(sequence=1, at=1.0, event=event, **more)


UNREACHABLE = seen(Id.KMS_UNREACHABLE)
REQUIRED = seen(Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR, host=HOST)
LOCKED = seen(Id.VM_LOCKED_KMS_CLUSTER_ERROR, host=HOST, vm=VM)
ENABLED = seen(Id.HOST_CRYPTO_ENABLED, host=HOST)
UNLOCKED = seen(Id.VM_UNLOCKED, host=HOST, vm=VM)
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
    locked = seen(Id.VM_LOCKED_KEY_MISSING_ON_KMS, host=HOST, vm=VM)
    assert wrong_order(DESTROYED, [ENABLED, locked], VM, HOST) == ""
    assert wrong_order(DESTROYED, [locked, ENABLED], VM, HOST)


@pytest.mark.parametrize("word", [REQUIRED, LOCKED, ENABLED])
def test_persistence_leaves_nothing_to_tell_of_host_and_vm(word: EventSeen) -> None:
    assert wrong_order(PERSISTENT, [UNREACHABLE], VM, HOST) == ""
    assert wrong_order(PERSISTENT, [UNREACHABLE, word], VM, HOST)
    assert wrong_order((Block.S11, Fault.F2, Event.E4), [word], VM, HOST) == ""
