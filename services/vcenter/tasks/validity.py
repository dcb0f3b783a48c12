"""LOCK-02: a VM that lacks the key of its home is invalid, and few tasks are allowed on it.

``authorization.needs`` lists them. Every task on a VM is checked here before it begins. As for a
power-on, keys that are available by now are first delivered to the VM's host.
"""

from __future__ import annotations

from protocol.errors import InvalidVmState
from protocol.terms import PowerState, VmConnectionState, VmName
from services.vcenter.hosts.session import HostSession
from services.vcenter.locks import shows_invalid
from services.vcenter.tables import VmRow
from services.vcenter.vcenter import VCenter


async def check_valid(vc: VCenter, name: VmName, *, operation: str = "") -> None:
    """``InvalidVmState`` for a VM whose host lacks its home key and cannot be given it.

    No error for a VM that is valid, runs (LOCK-04), or is not in the inventory, nor for a repeat of
    a recorded ``operation``: it may be done already.
    """
    row = vc.inventory.vms.get(name)
    if row is None or not _lacks_home_key(row, vc.sessions.find_connected(row.host)):
        return
    if operation and await vc.inventory.operation(operation) is not None:
        return
    if (session := vc.sessions.find_connected(row.host)) is not None:
        await vc.remediation.restore(session, name, may_unlock=vc.node.knobs.auto_unlock)
        row = vc.inventory.vms.get(name)
    if row is None or not _is_marked_invalid(row):
        return
    missing = ", ".join(str(key) for key in row.missing)
    raise InvalidVmState(
        f"{name} is locked and invalid: it can be unlocked once its keys can be had, removed from "
        f"the inventory, and registered again; missing: {missing}",
        row.missing,
    )


def _lacks_home_key(row: VmRow, session: HostSession | None) -> bool:
    """By its mark, or by its host's report if no pass has judged that yet."""
    if not row.keys or row.power is PowerState.ON:
        return False
    if _is_marked_invalid(row):
        return True
    listed = () if session is None or session.summary is None else session.summary.vms
    reported = next((vm for vm in listed if vm.vm == row.name), None)
    return (
        reported is not None
        and reported.crypto is not None
        and (reported.connection is VmConnectionState.INVALID)
    )


def _is_marked_invalid(row: VmRow) -> bool:
    on = row.power is PowerState.ON
    return not on and shows_invalid(row.keys, row.lock_event, row.missing)
