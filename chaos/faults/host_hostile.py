"""``host.hostile``: an intruder controls a host, and has it ask vCenter for keys of others (C28).

Key ids stand in clear on datastores and in inventories, so an intruder knows many of them. The host
lists a VM of its own invention for each key that it knows, whoever the key belongs to, and VMs of
other clusters under their own names. Keys that it obtains are in its key cache, where the check
``only_given_keys`` looks for them. In everything else the host behaves as before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Notes, names, running, status_of
from chaos.faults.keys import locate_keys
from chaos.faults.nodes import NodesFault
from chaos.lab import REFUSALS, LabUnderTest, NodeEntry
from chaos.observe.look import INVENTED, all_clusters, all_vms, leaders
from chaos.oracle.effects import NOTHING, FaultEffect
from protocol.messages.agent import NodeRunState
from protocol.messages.host.session import ClaimedVm, HostClaim, QueryHostClaims
from protocol.messages.vcenter.vms import UnregisterVm, VmInfo
from protocol.terms import CryptoKeyId, NodeName, Role, VmName

MOST: Final = 64
"""Keys of key servers that a host claims at a time: of more, the newest."""


class HostHostile(NodesFault, frozen=True, kw_only=True):
    """A host lists VMs that it does not have, with keys of others. Each renewal of the lease adds
    the keys that were made since; a boot of the host ends its claims."""

    kind: ClassVar[str] = "host.hostile"
    example: ClassVar[str] = "on: esxi-001"
    drawn_roles: ClassVar[tuple[Role, ...]] = (Role.ESXI,)
    effect: ClassVar[FaultEffect] = NOTHING
    drawn: ClassVar[Drawn] = Drawn.APART
    role: ClassVar[Role | None] = Role.ESXI

    def summary(self) -> str:
        return f"an intruder controls {names(self.nodes)}"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"claims of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        for node in self.nodes:
            if not await running(lab, node):
                raise ChaosError("KS-CHAOS-106", f"{node} does not run")
        if not await list_keys(lab):
            text = "an intruder knows no key: no vCenter and no key server tells of one"
            raise ChaosError("KS-CHAOS-106", text)
        return {}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await self._claim(lab, again=False)

    async def renew(self, lab: LabUnderTest, until: float) -> None:
        await self._claim(lab, again=True)

    async def _claim(self, lab: LabUnderTest, *, again: bool) -> None:
        keys, vms = await list_keys(lab), await _list_vms(lab)
        there = {entry.node: entry for entry in lab.directory().nodes}
        for node in self.nodes:
            invented = [
                ClaimedVm(vm=VmName(f"{self._prefix}{node}-{number}"), keys=(key,))
                for number, key in enumerate(keys, 1)
            ]
            claims = (*invented, *_of_other_clusters(there[node], there.values(), vms))
            if await running(lab, node):
                await lab.ask(node, HostClaim(vms=claims, again=again))

    @property
    def _prefix(self) -> str:
        return f"{INVENTED}{self.id}-"

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each host that runs claims a VM."""
        for node in self.nodes:
            if await running(lab, node) and not (await lab.ask(node, QueryHostClaims())).vms:
                return f"{node} claims no VM"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        for node in self.nodes:
            if await _is_up(lab, node):
                await lab.ask(node, HostClaim())

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """No host claims anything, and every vCenter has lost the invented VMs: whoever runs the
        lab unregisters them."""
        for node in self.nodes:
            if await _is_up(lab, node) and (await lab.ask(node, QueryHostClaims())).vms:
                return f"{node} still claims VMs"
        for vcenter in leaders(lab):
            for vm in await all_vms(lab, vcenter):
                if vm.vm.startswith(self._prefix):
                    await lab.ask(vcenter, UnregisterVm(vm=vm.vm))
        return ""


async def _is_up(lab: LabUnderTest, node: NodeName) -> bool:
    """Whether the host has its memory, and the claims in it; paused or not. A process that is
    paused gives no status."""
    status = await status_of(lab, node)
    if status is not None:
        return status.state is NodeRunState.RUNNING
    try:
        return await lab.paused(node)
    except REFUSALS:
        return False


def _of_other_clusters(
    host: NodeEntry, nodes: Iterable[NodeEntry], vms: Iterable[VmInfo]
) -> list[ClaimedVm]:
    """VMs of other clusters of the host's vCenter. Those of another vCenter are left out: its own
    would take them for VMs of its own with the same names."""
    others = {
        entry.cluster
        for entry in nodes
        if entry.vcenter == host.vcenter and entry.cluster not in ("", None, host.cluster)
    }
    return [ClaimedVm(vm=vm.vm, keys=(vm.key,)) for vm in vms if vm.cluster in others and vm.key]


async def list_keys(lab: LabUnderTest) -> tuple[CryptoKeyId, ...]:
    """The keys of all clusters and VMs, and the newest ``MOST`` of those at key servers, in any
    state."""
    found: dict[CryptoKeyId, None] = {}
    for entry in lab.directory().nodes:
        if entry.role is Role.KMS and await running(lab, entry.node):
            ids = await locate_keys(lab, entry.node)
            found |= {CryptoKeyId(id, name): None for id in ids for name in entry.providers}
    used: dict[CryptoKeyId, None] = {}
    for vcenter in await _answering(lab):
        clusters = await all_clusters(lab, vcenter)
        used |= {one.host_key: None for one in clusters if one.host_key is not None}
    used |= {vm.key: None for vm in await _list_vms(lab) if vm.key is not None}
    return tuple(dict.fromkeys((*used, *[*found][-MOST:])))


async def _answering(lab: LabUnderTest) -> list[NodeName]:
    return [vcenter for vcenter in leaders(lab) if await running(lab, vcenter)]


async def _list_vms(lab: LabUnderTest) -> list[VmInfo]:
    found: list[VmInfo] = []
    for vcenter in await _answering(lab):
        found += [vm for vm in await all_vms(lab, vcenter) if not vm.vm.startswith(INVENTED)]
    return found
