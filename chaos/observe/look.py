"""What is seen of a lab at one moment, by questions at local consoles only.

Long lists of vCenter are read page by page; each answer says whether more is to come.
``vcenter_of`` finds the vCenter of a host, a VM or a cluster. Of encrypted vSAN the hosts' disk
groups are seen, and what lies on them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

from chaos.lab import REFUSALS, LabUnderTest
from protocol.errors import GuestFault, NotFound
from protocol.messages.agent import NodeStatus
from protocol.messages.base import Reply, Request
from protocol.messages.host.session import HostState, HostSummary, QueryHost, VmSummary
from protocol.messages.host.vsan import QueryVsan, ReadVsanObject, VsanObjectAnswer, VsanState
from protocol.messages.vcenter.inventory import (
    ClusterInfo,
    HostInfo,
    ListClusters,
    ListEvents,
    ListHosts,
    ListTasks,
    TaskInfo,
    VcEvent,
)
from protocol.messages.vcenter.providers import (
    CryptoKeyStatus,
    ListKeys,
    ListKmsClusters,
    ProviderInfo,
    QueryCryptoKeyStatus,
)
from protocol.messages.vcenter.vms import ListVms, VmInfo
from protocol.pages import pages
from protocol.terms import CryptoKeyId, KeyUnavailableReason, NodeName, PowerState, Role, VmName
from protocol.vsan import ComponentKind

INVENTED: Final = "invented-"
"""The names of VMs that a host lists and that do not exist (``host.hostile``) begin with this."""
OWN: Final = "own-"
"""The names of VMs that an operation has for itself (``vm.live``) begin with this: looks at a lab
do not write them down."""
R = TypeVar("R", bound=Reply)
T = TypeVar("T")


class NodeAsker(Protocol):
    """Sends a request to a node and returns its reply."""

    async def ask(self, node: NodeName, message: Request[R], *, within_s: float = ...) -> R:
        """The reply of ``node``, within that many lab seconds."""
        ...


async def _fetch_all(
    lab: NodeAsker,
    vcenter: NodeName,
    message: Callable[[T | None], Request[R]],
    items: Callable[[R], Sequence[T]],
    within_s: float = 30.0,
) -> tuple[T, ...]:
    """All pages of a list. ``message`` asks for what comes after an item (None: for the first
    page), and ``items`` are those of an answer."""
    found: list[T] = []
    while True:
        answer: Any = await lab.ask(
            vcenter, message(found[-1] if found else None), within_s=within_s
        )
        found += items(answer)
        if not answer.more:
            return tuple(found)


async def all_hosts(
    lab: NodeAsker, vcenter: NodeName, *, within_s: float = 30.0
) -> tuple[HostInfo, ...]:
    """Every host of vCenter, by name; ``within_s`` lab seconds for each page."""

    def after(last: HostInfo | None) -> ListHosts:
        return ListHosts(after=last.host) if last else ListHosts()

    return await _fetch_all(lab, vcenter, after, lambda answer: answer.hosts, within_s)


async def all_vms(
    lab: NodeAsker, vcenter: NodeName, *, within_s: float = 30.0
) -> tuple[VmInfo, ...]:
    """Every VM of vCenter, by name; ``within_s`` lab seconds for each page."""

    def after(last: VmInfo | None) -> ListVms:
        return ListVms(after=last.vm) if last else ListVms()

    return await _fetch_all(lab, vcenter, after, lambda answer: answer.vms, within_s)


async def all_providers(
    lab: NodeAsker, vcenter: NodeName, *, within_s: float = 30.0
) -> tuple[ProviderInfo, ...]:
    """Every key provider of vCenter, by name; ``within_s`` lab seconds for each page."""

    def after(last: ProviderInfo | None) -> ListKmsClusters:
        return ListKmsClusters(after=last.provider) if last else ListKmsClusters()

    return await _fetch_all(lab, vcenter, after, lambda answer: answer.providers, within_s)


async def all_clusters(lab: NodeAsker, vcenter: NodeName) -> tuple[ClusterInfo, ...]:
    """Every cluster of vCenter, by name."""

    def after(last: ClusterInfo | None) -> ListClusters:
        return ListClusters(after=last.cluster) if last else ListClusters()

    return await _fetch_all(lab, vcenter, after, lambda answer: answer.clusters)


async def all_tasks(lab: NodeAsker, vcenter: NodeName) -> tuple[TaskInfo, ...]:
    """Every task that vCenter keeps, in the order in which they began."""

    def after(last: TaskInfo | None) -> ListTasks:
        return ListTasks(after=last.number if last else 0)

    return await _fetch_all(lab, vcenter, after, lambda answer: answer.tasks)


async def all_known_keys(lab: NodeAsker, vcenter: NodeName) -> tuple[CryptoKeyId, ...]:
    """Every key id of vCenter, by provider and id."""

    def after(last: CryptoKeyId | None) -> ListKeys:
        return ListKeys(after=last)

    return await _fetch_all(lab, vcenter, after, lambda answer: answer.keys)


async def all_events(
    lab: NodeAsker,
    vcenter: NodeName,
    *,
    after: int = 0,
    limit: int | None = None,
    within_s: float = 30.0,
) -> tuple[VcEvent, ...]:
    """Events above the sequence ``after``, oldest first, at most ``limit`` (None: all)."""
    found: list[VcEvent] = []
    while limit is None or len(found) < limit:
        wanted = 1000 if limit is None else limit - len(found)
        message = ListEvents(after=found[-1].sequence if found else after, limit=wanted)
        page = await lab.ask(vcenter, message, within_s=within_s)
        found += page.events
        if not page.more:
            break
    return tuple(found)


async def all_key_status(
    lab: NodeAsker,
    vcenter: NodeName,
    keys: tuple[CryptoKeyId, ...] = (),
    *,
    within_s: float = 60.0,
) -> tuple[CryptoKeyStatus, ...]:
    """The status of these keys, which must fit into one message, or of all of vCenter's keys."""

    def after(last: CryptoKeyStatus | None) -> QueryCryptoKeyStatus:
        return QueryCryptoKeyStatus(keys=keys, after=last.key if last else None)

    return await _fetch_all(lab, vcenter, after, lambda answer: answer.keys, within_s)


WITHIN_S = 10.0


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


VSAN_NONCE, VSAN_BLOCK = b"keystead vsan probe", 0


async def vsan_states(lab: LabUnderTest) -> dict[NodeName, VsanState]:
    """The vSAN of each host that answers and has a disk group."""
    hosts = nodes_of(lab, Role.ESXI)
    answers = await lab.ask_each(hosts, QueryVsan(), within_s=WITHIN_S)
    return {h: s for h, s in answers.items() if isinstance(s, VsanState) and s.groups}


def are_groups_mounted(state: VsanState) -> bool:
    """Whether every disk group of the host is mounted."""
    return all(group.mounted for group in state.groups)


async def read_vsan_block(lab: LabUnderTest, found: dict[NodeName, VsanState]) -> dict[str, bool]:
    """For each object on these hosts: whether a replica of it can be read from the disk now and no
    other one contradicts it. A host reads only what is as it was written (VSAN-04)."""
    places: dict[str, list[NodeName]] = {}
    for host, state in found.items():
        for group in state.groups:
            for part in group.components:
                if part.kind is ComponentKind.REPLICA and host not in places.get(part.object, ()):
                    places.setdefault(part.object, []).append(host)
    right = {}
    for name, hosts in sorted(places.items()):
        message = ReadVsanObject(object=name, nonce=VSAN_NONCE, blocks=(VSAN_BLOCK,))
        answers = await lab.ask_each(hosts, message, within_s=WITHIN_S)
        digests = {a.digest for a in answers.values() if isinstance(a, VsanObjectAnswer)}
        damaged = any(isinstance(a, GuestFault) for a in answers.values())
        right[name] = len(digests) == 1 and not damaged
    return right
