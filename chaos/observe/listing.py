"""Long lists of vCenter, read page by page: each answer has a cursor while there is more.

An answer is one message, which has a limit. Changes between two pages are seen or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from protocol.messages.base import Reply, Request
from protocol.messages.vcenter import (
    ClusterInfo,
    CryptoKeyStatus,
    HostInfo,
    ListClusters,
    ListEvents,
    ListHosts,
    ListKeys,
    ListKmsClusters,
    ListTasks,
    ListVms,
    ProviderInfo,
    QueryCryptoKeyStatus,
    TaskInfo,
    VcEvent,
    VmInfo,
)
from protocol.terms import CryptoKeyId, NodeName

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
