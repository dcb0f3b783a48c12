"""Long lists of vCenter, read page by page: each answer says whether more is to come.

An answer is one message, and a message has a limit; ``lab`` is whoever can put a question to a
node. What changes between two pages is seen or not, as in any list that is read while it changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

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
R = TypeVar("R", bound=Reply)
T = TypeVar("T")


class NodeAsker(Protocol):
    """Whoever can put a question to a node and get its answer."""

    async def ask(self, node: NodeName, message: Request[R], *, within_s: float = ...) -> R:
        """The answer of ``node``, within that many lab seconds."""
        ...


async def _whole(page: Callable[[T | None], Awaitable[tuple[Sequence[T], bool]]]) -> tuple[T, ...]:
    """All pages of a list. ``page`` asks for what comes after an item (None: for the first page),
    and gives the items and whether more are to come.
    """
    found: list[T] = []
    while True:
        items, more = await page(found[-1] if found else None)
        found += items
        if not more:
            return tuple(found)


async def all_hosts(
    lab: NodeAsker, vcenter: NodeName, *, within_s: float = 30.0
) -> tuple[HostInfo, ...]:
    """Every host that vCenter knows, by name; ``within_s`` lab seconds for each page."""

    async def page(last: HostInfo | None) -> tuple[Sequence[HostInfo], bool]:
        message = ListHosts(after=last.host) if last else ListHosts()
        answer = await lab.ask(vcenter, message, within_s=within_s)
        return answer.hosts, answer.more

    return await _whole(page)


async def all_vms(
    lab: NodeAsker, vcenter: NodeName, *, within_s: float = 30.0
) -> tuple[VmInfo, ...]:
    """Every VM that vCenter knows, by name; ``within_s`` lab seconds for each page."""

    async def page(last: VmInfo | None) -> tuple[Sequence[VmInfo], bool]:
        message = ListVms(after=last.vm) if last else ListVms()
        answer = await lab.ask(vcenter, message, within_s=within_s)
        return answer.vms, answer.more

    return await _whole(page)


async def all_providers(
    lab: NodeAsker, vcenter: NodeName, *, within_s: float = 30.0
) -> tuple[ProviderInfo, ...]:
    """Every key provider of vCenter, by name; ``within_s`` lab seconds for each page."""

    async def page(last: ProviderInfo | None) -> tuple[Sequence[ProviderInfo], bool]:
        message = ListKmsClusters(after=last.provider) if last else ListKmsClusters()
        answer = await lab.ask(vcenter, message, within_s=within_s)
        return answer.providers, answer.more

    return await _whole(page)


async def all_clusters(lab: NodeAsker, vcenter: NodeName) -> tuple[ClusterInfo, ...]:
    """Every cluster of vCenter, by name."""

    async def page(last: ClusterInfo | None) -> tuple[Sequence[ClusterInfo], bool]:
        message = ListClusters(after=last.cluster) if last else ListClusters()
        answer = await lab.ask(vcenter, message)
        return answer.clusters, answer.more

    return await _whole(page)


async def all_tasks(lab: NodeAsker, vcenter: NodeName) -> tuple[TaskInfo, ...]:
    """Every task that vCenter remembers, in the order in which they began."""

    async def page(last: TaskInfo | None) -> tuple[Sequence[TaskInfo], bool]:
        answer = await lab.ask(vcenter, ListTasks(after=last.number if last else 0))
        return answer.tasks, answer.more

    return await _whole(page)


async def all_known_keys(lab: NodeAsker, vcenter: NodeName) -> tuple[CryptoKeyId, ...]:
    """Every key id that vCenter knows, by provider and id."""

    async def page(last: CryptoKeyId | None) -> tuple[Sequence[CryptoKeyId], bool]:
        answer = await lab.ask(vcenter, ListKeys(after=last))
        return answer.keys, answer.more

    return await _whole(page)


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
    """The status of these keys, which fit into one message, or of all that vCenter knows."""

    async def page(last: CryptoKeyStatus | None) -> tuple[Sequence[CryptoKeyStatus], bool]:
        message = QueryCryptoKeyStatus(keys=keys, after=last.key if last else None)
        answer = await lab.ask(vcenter, message, within_s=within_s)
        return answer.keys, answer.more

    return await _whole(page)
