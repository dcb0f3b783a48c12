"""Which vCenter a command about VMs goes to that names none."""

from __future__ import annotations

from chaos.observe.listing import all_vms
from lab.serve.session import LabSession
from protocol.errors import ProductError
from protocol.messages.vcenter import VmInfo
from protocol.terms import NodeName, VmName


async def at_vm(session: LabSession, vm: VmName) -> LabSession:
    """The session at the vCenter that has ``vm``; the session as it is when there is no choice,
    or none of those that answer has it."""
    vcenters = session.vcenters()
    if len(vcenters) == 1:
        return session.at(vcenters[0])
    for vcenter in vcenters:
        try:
            listed = await all_vms(session, vcenter)
        except ProductError:
            continue
        if any(found.vm == vm for found in listed):
            return session.at(vcenter)
    return session


async def list_all_vms(session: LabSession) -> list[tuple[NodeName, VmInfo]]:
    """Every VM with the vCenter that has it, by name.

    The lab knows them from then on: some came by no command, as after ``HostRollback``.
    """
    found = [(v, vm) for v in session.vcenters() for vm in await all_vms(session, v)]
    known = set(session.lab.directory().vms)
    for _, vm in found:
        if vm.vm not in known:
            session.lab.know_vm(vm.vm)
    return sorted(found, key=lambda one: one[1].vm)
