"""The vCenter of a host, a VM or a cluster."""

from __future__ import annotations

from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.listing import all_vms
from chaos.observe.look import nodes_of
from protocol.errors import NotFound
from protocol.terms import NodeName, Role


async def vcenter_of(lab: LabUnderTest, subject: str = "", *, within_s: float = 30.0) -> NodeName:
    """The vCenter that has the host, VM or cluster ``subject``; each is queried if there are
    several. The lab's first vCenter for any other subject. ``NotFound`` when none has it."""
    vcenters = nodes_of(lab, Role.VCENTER)
    if not vcenters:
        raise NotFound("the lab has no vCenter")
    if len(vcenters) == 1 or not subject:
        return vcenters[0]
    for entry in lab.directory().nodes:
        if subject in (entry.node, entry.cluster) and entry.vcenter is not None:
            return entry.vcenter
    for vcenter in leaders(lab):
        try:
            listed = await all_vms(lab, vcenter, within_s=within_s)
        except REFUSALS:
            continue
        if any(vm.vm == subject for vm in listed):
            return vcenter
    return vcenters[0]


def leaders(lab: LabUnderTest) -> tuple[NodeName, ...]:
    """The vCenters that have hosts, in order of the lab's directory."""
    found = {entry.vcenter for entry in lab.directory().nodes}
    return tuple(vcenter for vcenter in nodes_of(lab, Role.VCENTER) if vcenter in found)
