"""vCenter's event log."""

from __future__ import annotations

from protocol.events import EventTypeId
from protocol.messages.base import Event, Reply, Request
from protocol.terms import CryptoKeyId, NodeName, ProviderId, VmName


class VcEvent(Event, frozen=True, kw_only=True):
    """One entry of vCenter's event log, as stored and as broadcast."""

    sequence: int
    at: float
    event: EventTypeId
    text: str
    host: NodeName | None = None
    vm: VmName | None = None
    provider: ProviderId | None = None
    keys: tuple[CryptoKeyId, ...] = ()


class ListEvents(Request["EventList"], frozen=True, kw_only=True):
    """Events with a sequence above ``after``, oldest first, at most ``limit``, as many as fit."""

    after: int = 0
    limit: int = 1000


class EventList(Reply, frozen=True, kw_only=True):
    """``more``: there are later events; ask again with the last sequence as ``after``."""

    events: tuple[VcEvent, ...]
    more: bool = False
