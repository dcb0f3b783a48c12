"""What vCenter tells of a cell, and in which order, where the table's page fixes it. Pure.

An order is fixed for a key server that is lost before a reboot without persistence; for the same
with a destroyed key; and with persistence, where nothing is to be told of the host and its VM.
Whatever the cell, a lock is told with the cause that the fault has, and taken back with an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.matrix.evidence import EventSeen
from chaos.matrix.terms import is_native, is_trusted
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.events import EventTypeId as Id
from protocol.terms import NodeName, VmName

_WITHOUT: Final = (Block.S00, Block.S10)
_ORDERS: Final[dict[tuple[Block, TableFault, TableEvent], tuple[Id, ...]]] = {
    **{
        (block, TableFault.F1, TableEvent.E4): (
            Id.KMS_UNREACHABLE,
            Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR,
            Id.VM_LOCKED_KMS_CLUSTER_ERROR,
            Id.HOST_CRYPTO_ENABLED,
            Id.VM_UNLOCKED,
        )
        for block in _WITHOUT
    },
    **{
        (block, TableFault.F8, TableEvent.E4): (
            Id.HOST_CRYPTO_ENABLED,
            Id.VM_LOCKED_KEY_MISSING_ON_KMS,
        )
        for block in _WITHOUT
    },
}
_SILENT: Final = ((Block.S11, TableFault.F1, TableEvent.E4),)
_LOCKS: Final = {
    TableFault.F1: Id.VM_LOCKED_KMS_CLUSTER_ERROR,
    TableFault.F2: Id.VM_LOCKED_KMS_CLUSTER_ERROR,
    TableFault.F4: Id.VM_LOCKED_KMS_CLUSTER_ERROR,
    TableFault.F7: Id.VM_LOCKED_KMS_CLUSTER_ERROR,
    TableFault.F8: Id.VM_LOCKED_KEY_MISSING_ON_KMS,
}
"""With what a lock is told under each fault: nobody could be asked, or who was asked has no key."""
_TRUST_AWAY: Final = frozenset({Id.VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE})
_OF_TRUST: Final = frozenset(id for id in Id if ".VMLocked.TA" in id)
_UNSAFE: Final = {
    TableFault.F1: Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR,
    TableFault.F7: Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR,
}
"""With what a vCenter that is up tells of a host that is not safe."""


def _locks_of(block: Block, fault: TableFault) -> frozenset[Id]:
    """With what a lock is told: where keys are derived, no key server could be asked; where they
    are a Trust Authority's, by one of its own causes, and when it is away by that."""
    if is_native(block):
        return frozenset({Id.VM_LOCKED_KEY_MISSING_ON_HOST})
    if is_trusted(block):
        return _OF_TRUST if fault not in (TableFault.F3, TableFault.F4) else _TRUST_AWAY
    return frozenset({_LOCKS[fault]} if fault in _LOCKS else ())


def wrongly_told(
    block: Block,
    fault: TableFault,
    letter: str,
    told: Sequence[EventSeen],
    vm: VmName,
    host: NodeName,
) -> str:
    """Empty when vCenter told what this letter needs, and nothing that it excludes. ``told``: its
    log from the beginning of the fault to the end of the aftermath."""
    locks = [e.event for e in told if e.vm == vm and e.locks]
    if letter == Letter.OK and locks:
        return f"told of a VM that nothing locked: {_names(locks)}"
    if letter == Letter.LOCKED:
        if others := [event for event in locks if event not in _locks_of(block, fault)]:
            return f"told of the lock: {_names(others)}"
        of_it = [e.event for e in told if e.vm == vm and (e.locks or e.event is Id.VM_UNLOCKED)]
        if not locks or of_it[-1] is not Id.VM_UNLOCKED:
            return f"told of the VM: {_names(of_it)}; that it is unlocked comes last"
    if letter == Letter.UNSAFE and fault in _UNSAFE and not is_trusted(block):
        if not any(e.host == host and e.event is _UNSAFE[fault] for e in told):
            return f"{_names([_UNSAFE[fault]])} not told of the host"
    return ""


def wrong_order(
    place: tuple[Block, TableFault, TableEvent],
    told: Sequence[EventSeen],
    vm: VmName,
    host: NodeName,
) -> str:
    """Empty when vCenter told in the order that is fixed for this cell, or none is. ``told``: its
    log from the beginning of the fault to the end of the aftermath."""
    mine = [e for e in told if e.vm in (None, vm) and e.host in (None, host)]
    if place in _SILENT:
        of_them = [e.event for e in mine if e.vm == vm or e.host == host]
        return f"told of the host or its VM: {_names(of_them)}" if of_them else ""
    wanted = list(_ORDERS.get(place, ()))
    left = list(wanted)
    for event in mine:
        if left and event.event is left[0]:
            left.pop(0)
    if left:
        return f"{_names(left)} not told after {_names(wanted[: -len(left)])}"
    return ""


def _names(events: Sequence[Id]) -> str:
    return ", ".join(event.value.removeprefix("com.vmware.vc.") for event in events) or "nothing"
