"""``host.hostile``: an intruder holds a host, and has it ask vCenter for keys of others (C28).

Key ids stand in clear on datastores and in inventories, so the intruder knows many: those of VMs of
other clusters and other vCenters, old ones, destroyed ones, host keys. The host claims a VM for each
of them, and VMs of other clusters under their own names. What it obtains by that lies in its key
cache, where the check ``only_given_keys`` looks. Nothing else of the host changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import REFUSALS, Fault, Notes, Targets, names, running
from chaos.faults.power import NodesFault, NodesParams, some_of
from chaos.lab import Directory, Lab, NodeEntry
from chaos.observe.listing import all_clusters, all_vms
from chaos.observe.vcenters import leaders
from protocol.messages.host import ClaimedVm, HostClaim, QueryHostClaims
from protocol.messages.kms import Locate
from protocol.messages.vcenter import UnregisterVm, VmInfo
from protocol.terms import CryptoKeyId, KeyId, NodeName, ProviderId, Role, VmName

SPY: Final = "spy-"
"""With this the names begin of VMs that an intruder makes up."""
MOST: Final = 40
"""Keys that it asks for at a time; of more, those that were made last."""


def is_spy(vm: str) -> bool:
    """Whether an intruder has made this VM up."""
    return vm.startswith(SPY)


class HostHostile(NodesFault, frozen=True, kw_only=True):
    """A host lists VMs that it does not have, with keys of others. It looks again for keys each time
    that its lease is renewed, and claims again what a boot has ended."""

    kind: ClassVar[str] = "host.hostile"
    example: ClassVar[str] = "on: esxi-001"
    role: ClassVar[Role | None] = Role.ESXI

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.chosen(params, targets))

    @classmethod
    def drawn(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, (Role.ESXI,))

    def summary(self) -> str:
        return f"{names(self.nodes)} in the hands of an intruder"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"claims of {node}" for node in self.nodes)

    async def survey(self, lab: Lab) -> Notes:
        for node in self.nodes:
            if not await running(lab, node):
                raise ChaosError("KS-CHAOS-106", f"{node} does not run")
        stolen = await known_keys(lab)
        return {"stolen": [[str(key.provider_id), str(key.key_id)] for key in stolen]}

    def found(self, notes: Notes) -> dict[str, Any]:
        return {"stolen": [f"{provider}/{key}" for provider, key in notes.get("stolen", ())]}

    async def begin(self, lab: Lab, until: float, notes: Notes) -> None:
        stolen = [
            CryptoKeyId(KeyId(key), ProviderId(provider)) for provider, key in notes["stolen"]
        ]
        vms = await _known_vms(lab)
        for node in self.nodes:
            await lab.ask(node, HostClaim(vms=self._claims(lab, node, stolen, vms)))

    def _claims(
        self, lab: Lab, node: NodeName, stolen: Iterable[CryptoKeyId], vms: Iterable[VmInfo]
    ) -> tuple[ClaimedVm, ...]:
        there = {entry.node: entry for entry in lab.directory().nodes}
        mine = there[node]
        of_clusters = {entry.cluster: entry for entry in there.values() if entry.cluster}
        made_up = [
            ClaimedVm(vm=VmName(f"{SPY}{self.id}-{node}-{number}"), keys=(key,))
            for number, key in enumerate(stolen, 1)
        ]
        return (*made_up, *_of_others(mine, of_clusters, vms))

    async def renew(self, lab: Lab, until: float) -> None:
        for node in self.nodes:
            if await running(lab, node):
                claims = self._claims(lab, node, await known_keys(lab), await _known_vms(lab))
                await lab.ask(node, HostClaim(vms=claims))

    async def bites(self, lab: Lab, notes: Notes) -> str:
        """Each host that runs claims something; a boot may have ended that meanwhile."""
        for node in self.nodes:
            if await running(lab, node) and not (await lab.ask(node, QueryHostClaims())).vms:
                return f"{node} tells the truth"
        return ""

    async def heal(self, lab: Lab, notes: Notes) -> None:
        for node in self.nodes:
            if await running(lab, node):
                await lab.ask(node, HostClaim())

    async def healed(self, lab: Lab, notes: Notes) -> str:
        """Each host that runs tells the truth, and no vCenter that answers has a made-up VM: who
        runs the lab takes those out of the inventory."""
        for node in self.nodes:
            if await running(lab, node) and (await lab.ask(node, QueryHostClaims())).vms:
                return f"{node} still claims VMs"
        left = []
        for vcenter in leaders(lab):
            left += await self._tidied(lab, vcenter)
        return f"in the inventory: {', '.join(left[:5])}" if left else ""

    async def _tidied(self, lab: Lab, vcenter: NodeName) -> list[str]:
        """Take made-up VMs of this fault out of an inventory; those that are left."""
        if not await running(lab, vcenter):
            return []
        left = []
        for vm in await all_vms(lab, vcenter):
            if not vm.vm.startswith(f"{SPY}{self.id}-"):
                continue
            try:
                await lab.ask(vcenter, UnregisterVm(vm=vm.vm))
            except REFUSALS:
                left.append(str(vm.vm))
        return left


def _of_others(
    mine: NodeEntry, of_clusters: Mapping[Any, NodeEntry], vms: Iterable[VmInfo]
) -> list[ClaimedVm]:
    """VMs of other clusters of the host's vCenter, which does not believe that they are here. One of
    another vCenter would be taken for another VM of that name."""
    found = []
    for vm in vms:
        there = of_clusters.get(vm.cluster)
        other = vm.cluster != mine.cluster and there is not None and there.vcenter == mine.vcenter
        if other and vm.key is not None:
            found.append(ClaimedVm(vm=vm.vm, keys=(vm.key,)))
    return found


async def known_keys(lab: Lab) -> tuple[CryptoKeyId, ...]:
    """Ids of keys as an intruder may know them, at most ``MOST``: of VMs and hosts by the
    inventories, and of all else that key servers have."""
    found: dict[CryptoKeyId, None] = {}
    for entry in lab.directory().nodes:
        if entry.role is not Role.KMS or not entry.providers or not await running(lab, entry.node):
            continue
        after = KeyId("")
        while True:
            located = await lab.ask(entry.node, Locate(after=after))
            found |= {
                CryptoKeyId(key, provider): None
                for key in located.key_ids
                for provider in entry.providers
            }
            if not located.key_ids or len(found) >= located.total * len(entry.providers):
                break
            after = located.key_ids[-1]
    for vm in await _known_vms(lab):
        if vm.key is not None:
            found.setdefault(vm.key)
    for vcenter in leaders(lab):
        if await running(lab, vcenter):
            for cluster in await all_clusters(lab, vcenter):
                if cluster.host_key is not None:
                    found.setdefault(cluster.host_key)
    return tuple(found)[-MOST:]


async def _known_vms(lab: Lab) -> list[VmInfo]:
    found: list[VmInfo] = []
    for vcenter in leaders(lab):
        if await running(lab, vcenter):
            found += await all_vms(lab, vcenter)
    return [vm for vm in found if not is_spy(vm.vm)]
