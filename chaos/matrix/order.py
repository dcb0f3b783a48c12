"""The order in which vCenter tells of things, where the table's page fixes it. Pure.

KMS lost, then a reboot without persistence; the same with a destroyed key; and with persistence,
where nothing is to be told of the host and its VM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.matrix.evidence import EventSeen
from chaos.oracle.terms import Block, Event, Fault
from protocol.events import EventTypeId as Id
from protocol.terms import NodeName, VmName

_WITHOUT: Final = (Block.S00, Block.S10)
_ORDERS: Final[dict[tuple[Block, Fault, Event], tuple[Id, ...]]] = {
    **{
        (block, Fault.F1, Event.E4): (
            Id.KMS_UNREACHABLE,
            Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR,
            Id.VM_LOCKED_KMS_CLUSTER_ERROR,
            Id.HOST_CRYPTO_ENABLED,
            Id.VM_UNLOCKED,
        )
        for block in _WITHOUT
    },
    **{
        (block, Fault.F8, Event.E4): (Id.HOST_CRYPTO_ENABLED, Id.VM_LOCKED_KEY_MISSING_ON_KMS)
        for block in _WITHOUT
    },
}
_SILENT: Final = ((Block.S11, Fault.F1, Event.E4),)


def wrong_order(
    place: tuple[Block, Fault, Event], told: Sequence[EventSeen], vm: VmName, host: NodeName
) -> str:
    """Empty when vCenter told in the order that is fixed for this cell, or none is. ``told``: its
    log from the beginning of the fault to the end of the aftermath."""
    mine = [e for e in told if e.vm in (None, vm) and e.host in (None, host)]
    if place in _SILENT:
        of_them = [e.event for e in mine if e.vm == vm or (e.host == host and e.vm is None)]
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
