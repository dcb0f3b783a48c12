"""Long lists of vCenter, read page by page: each answer says whether more is to come.

An answer is one message, and a message has a limit; ``lab`` is whoever can put a question to a
node. What changes between two pages is seen or not, as in any list that is read while it changes.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from protocol.messages.base import Reply, Request
from protocol.messages.vcenter import (
    CryptoKeyStatus,
    HostInfo,
    ListEvents,
    ListHosts,
    ListKmsClusters,
    ListVms,
    ProviderInfo,
    QueryCryptoKeyStatus,
    VcEvent,
    VmInfo,
)
from protocol.terms import CryptoKeyId, NodeName, ProviderId, VmName

R = TypeVar("R", bound=Reply)


class Asks(Protocol):
    """Whoever can put a question to a node and get its answer."""

    async def ask(self, node: NodeName, message: Request[R], *, within_s: float = ...) -> R:
        """The answer of ``node``, within that many lab seconds."""
        ...


async def all_hosts(
    lab: Asks, vcenter: NodeName, *, within_s: float = 30.0
) -> tuple[HostInfo, ...]:
    """Every host that vCenter knows, by name; ``within_s`` lab seconds for each page."""
    found: list[HostInfo] = []
    while True:
        after = found[-1].host if found else NodeName("")
        page = await lab.ask(vcenter, ListHosts(after=after), within_s=within_s)
        found += page.hosts
        if not page.more:
            return tuple(found)


async def all_vms(lab: Asks, vcenter: NodeName, *, within_s: float = 30.0) -> tuple[VmInfo, ...]:
    """Every VM that vCenter knows, by name; ``within_s`` lab seconds for each page."""
    found: list[VmInfo] = []
    while True:
        after = found[-1].vm if found else VmName("")
        page = await lab.ask(vcenter, ListVms(after=after), within_s=within_s)
        found += page.vms
        if not page.more:
            return tuple(found)


async def all_providers(
    lab: Asks, vcenter: NodeName, *, within_s: float = 30.0
) -> tuple[ProviderInfo, ...]:
    """Every key provider of vCenter, by name; ``within_s`` lab seconds for each page."""
    found: list[ProviderInfo] = []
    while True:
        after = found[-1].provider if found else ProviderId("")
        page = await lab.ask(vcenter, ListKmsClusters(after=after), within_s=within_s)
        found += page.providers
        if not page.more:
            return tuple(found)


async def all_events(
    lab: Asks,
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
    lab: Asks,
    vcenter: NodeName,
    keys: tuple[CryptoKeyId, ...] = (),
    *,
    within_s: float = 60.0,
) -> tuple[CryptoKeyStatus, ...]:
    """The status of these keys, which fit into one message, or of all that vCenter knows."""
    found: list[CryptoKeyStatus] = []
    while True:
        message = QueryCryptoKeyStatus(keys=keys, after=found[-1].key if found else None)
        page = await lab.ask(vcenter, message, within_s=within_s)
        found += page.keys
        if not page.more:
            return tuple(found)
