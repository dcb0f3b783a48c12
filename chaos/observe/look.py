"""One look at a lab, by requests to local consoles only.

A ``LabLook`` sends each request once, however many probes read the answer. Nodes that do not answer
are absent; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import chain
from typing import TypeVar

from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.listing import all_events, all_hosts, all_key_status, all_providers, all_vms
from protocol.messages.agent import NodeStatus
from protocol.messages.host import HostState, HostSummary, QueryHost, VmSummary
from protocol.messages.vcenter import (
    CryptoKeyStatus,
    HostInfo,
    ProviderInfo,
    VcEvent,
    VmInfo,
)
from protocol.pages import pages
from protocol.terms import CryptoKeyId, KeyUnavailableReason, NodeName, PowerState, Role, VmName

WITHIN_S = 10.0
T = TypeVar("T")


def nodes_of(lab: LabUnderTest, role: Role) -> tuple[NodeName, ...]:
    """The nodes of ``role``, in order of the lab's directory."""
    return tuple(entry.node for entry in lab.directory().nodes if entry.role is role)


class LabLook:
    """One look at a lab; make a new one for each moment."""

    def __init__(self, lab: LabUnderTest) -> None:
        self.lab = lab
        self._hosts: dict[NodeName, HostSummary] | None = None
        self._status: dict[NodeName, NodeStatus] | None = None

    async def status(self) -> dict[NodeName, NodeStatus]:
        """The status of every node that answers."""
        if self._status is None:
            self._status = await self.lab.statuses()
        return self._status

    async def hosts(self) -> dict[NodeName, HostSummary]:
        """Each host's own view, of those that answer."""
        if self._hosts is None:
            hosts = nodes_of(self.lab, Role.ESXI)
            answers = await self.lab.ask_each(hosts, QueryHost(), within_s=WITHIN_S)
            self._hosts = {
                host: answer.summary
                for host, answer in answers.items()
                if isinstance(answer, HostState)
            }
        return self._hosts

    async def vms(self) -> dict[VmName, tuple[NodeName, VmSummary]]:
        """Each VM as its host sees it; absent when no host that answers has it. If several hosts
        list a VM, the one that runs it counts."""
        found: dict[VmName, tuple[NodeName, VmSummary]] = {}
        for host, summary in (await self.hosts()).items():
            for vm in summary.vms:
                if vm.vm not in found or vm.power is PowerState.ON:
                    found[vm.vm] = (host, vm)
        return found

    async def vm(self, name: VmName, host: NodeName | None) -> tuple[NodeName, VmSummary] | None:
        """One VM as its host sees it: as ``host`` does if that has it, else as another one does.

        None when no host that answers has it.
        """
        if host is not None and self._hosts is None:
            answers = await self.lab.ask_each((host,), QueryHost(), within_s=WITHIN_S)
            answer = answers[host]
            for vm in answer.summary.vms if isinstance(answer, HostState) else ():
                if vm.vm == name:
                    return host, vm
        return (await self.vms()).get(name)

    async def vcenter_vms(self) -> dict[VmName, VmInfo]:
        """Each VM as its vCenter sees it; absent when that vCenter does not answer."""
        return {vm.vm: vm for listed in await self._list_each(all_vms) for vm in listed}

    async def event_logs(self) -> dict[NodeName, tuple[VcEvent, ...]] | None:
        """The whole event log of each vCenter; None when one does not answer."""
        found: dict[NodeName, tuple[VcEvent, ...]] = {}
        for vcenter in nodes_of(self.lab, Role.VCENTER):
            try:
                found[vcenter] = await all_events(self.lab, vcenter, within_s=WITHIN_S)
            except REFUSALS:
                return None
        return found

    async def vcenter_hosts(self) -> dict[NodeName, HostInfo]:
        """Each host as its vCenter sees it; absent when that vCenter does not answer."""
        return {host.host: host for listed in await self._list_each(all_hosts) for host in listed}

    async def providers(self) -> tuple[ProviderInfo, ...] | None:
        """All providers; None when no vCenter answers."""
        answers = await self._list_each(all_providers)
        return tuple(chain.from_iterable(answers)) if answers else None

    async def _list_each(
        self, fetch: Callable[..., Awaitable[tuple[T, ...]]]
    ) -> list[tuple[T, ...]]:
        """What ``fetch`` lists of each vCenter that answers."""
        found: list[tuple[T, ...]] = []
        for vcenter in nodes_of(self.lab, Role.VCENTER):
            with suppress(*REFUSALS):
                found.append(await fetch(self.lab, vcenter, within_s=WITHIN_S))
        return found

    async def key_status(
        self, keys: tuple[CryptoKeyId, ...]
    ) -> dict[CryptoKeyId, CryptoKeyStatus] | None:
        """What the vCenters get from the providers; None when one does not answer. Each vCenter has
        a scope of its own at the key servers. Of several answers about a key the one that has it
        counts, else that of a vCenter with the key's provider."""
        found: dict[CryptoKeyId, CryptoKeyStatus] = {}
        for vcenter in nodes_of(self.lab, Role.VCENTER):
            for page in pages(keys):
                try:
                    answer = await all_key_status(self.lab, vcenter, page)
                except REFUSALS:
                    return None
                for status in answer:
                    known = found.get(status.key)
                    invalid = known and known.reason is KeyUnavailableReason.CLUSTER_INVALID
                    if known is None or invalid or (is_there(status) and not is_there(known)):
                        found[status.key] = status
        return found


def is_there(status: CryptoKeyStatus) -> bool:
    """Whether the key server has the key. A key before its first use is not active, but not
    lost."""
    return status.available or status.reason is KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
