"""What a witness is read from: the course of an event, and what was sent and recorded in it:
requests to key servers and what they gave, and when a host mounted its disk groups. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from chaos.conversation import Said
from chaos.observe.audit import asker
from protocol.messages.agent import NodeRecord
from protocol.messages.kms.keys import AuditRow
from protocol.terms import CryptoKeyId, NodeName


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A key server was asked for a key; ``t``: when, in lab seconds.

    ``usable``: whether it gave a value that may be used (STD-19); None: no answer about that was
    seen.
    """

    t: float
    server: NodeName
    by: str
    key: str
    usable: bool | None


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a key server's audit trail; ``t``: its time in lab seconds."""

    t: float
    server: NodeName
    row: AuditRow


_GET: Final = "Get"
_SUCCESS: Final = "Success"
_ENDS: Final = ("Revoke", "Destroy")
"""Operations after which a key is not to be used any more, whatever else is done to it."""


def requests_on_bus(said: Sequence[Said], servers: Iterable[NodeName]) -> Iterator[KeyRequest]:
    """What these servers were asked over the bus."""
    asked = frozenset(servers)
    replies = {(one.src, one.id): one for one in said if one.kind == "reply"}
    for one in said:
        if one.kind != "request" or one.dst not in asked:
            continue
        values = _values(replies.get((one.dst, one.id)))
        for key in one.body.get("key_ids", ()):
            found = [_usable(value) for value in values if value.get("key_id") == key]
            usable = found[0] if found else None
            yield KeyRequest(t=one.t, server=NodeName(one.dst), by=one.src, key=key, usable=usable)


def _values(reply: Said | None) -> Sequence[Mapping[str, Any]]:
    return () if reply is None else reply.body.get("values", ())


def _usable(value: Mapping[str, Any]) -> bool:
    return value.get("index") is not None and value.get("state") in ("Active", "Pre-Active")


def requests_in_trail(trail: Sequence[Audited]) -> Iterator[KeyRequest]:
    """What the servers of this trail, which is that of all servers from their beginning, gave or
    refused by their own rows. A key that is revoked is still given, and may not be used."""
    ended: dict[str, float] = {}
    for one in trail:
        if one.row.operation in _ENDS and one.row.result == _SUCCESS:
            ended[one.row.key_id] = min(one.t, ended.get(one.row.key_id, one.t))
    for one in trail:
        row = one.row
        if row.operation != _GET or not row.key_id:
            continue
        usable = row.result == _SUCCESS and not ended.get(row.key_id, one.t + 1.0) <= one.t
        yield KeyRequest(t=one.t, server=one.server, by=asker(row), key=row.key_id, usable=usable)


def find_answering_server(
    asked: Iterable[KeyRequest], key: str, *, usable: bool
) -> NodeName | None:
    """Who was asked for this key, and gave a value that may be used, or none that may (STD-19)."""
    return next((one.server for one in asked if one.key == key and one.usable is usable), None)


def not_mounted(records: Sequence[NodeRecord], spoke: float | None) -> str:
    """Empty when a host's disk groups were mounted before it spoke with others."""
    mounted = [one.at for one in records if one.kind == "vsan.mounted"]
    if not mounted:
        return "its boot mounted no disk group"
    if spoke is not None and spoke < max(mounted):
        return "it spoke before its disk groups were mounted"
    return ""


class EventCourse(msgspec.Struct, frozen=True, kw_only=True):
    """When things happened in an event, in lab seconds, on the host that it is about.

    ``power_on``: of the boot that is judged, None when there is none. ``asked`` and ``ended``: of
    the request that decided, or of the window. ``keys`` are those that it needs. ``known``:
    vCenter knew the host before. ``makes_key``: it takes a new key. ``proved``: when a host was
    seen to be safe, just after its boot and less what a look may take; None when it was not.
    ``mounts``: it is about the disk groups of the host; the first of ``keys`` opens them.
    """

    host: NodeName
    asked: float
    ended: float
    power_on: float | None = None
    keys: tuple[CryptoKeyId, ...] = ()
    known: bool = True
    makes_key: bool = False
    proved: float | None = None
    mounts: bool = False

    @property
    def began(self) -> float:
        """From when on something counts."""
        return self.asked if self.power_on is None else self.power_on


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked for because of a reason, whether it was there, and what was seen."""

    reason: int
    held: bool
    seen: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader is given: the course, and everything that was heard and recorded in it.

    ``said``: what the host has sent and was sent over the bus; ``asked``: what vCenter has asked
    key servers for, and ``asked_by_host`` the host, by either transport. ``unread``: key servers of
    which it is not known whether they were asked. ``records``: the lines of the host's own log.
    ``alarmed``: vCenter has told that the host's TPM does not say what it said before.
    ``earlier``: what the host has sent and was sent over the bus from the beginning of the fault to
    that of the course. ``trust``: the services of a Trust Authority.
    """

    course: EventCourse
    letter: str
    said: Sequence[Said]
    asked: Sequence[KeyRequest]
    records: Sequence[NodeRecord]
    servers: frozenset[NodeName]
    asked_by_host: Sequence[KeyRequest] = ()
    unread: Sequence[NodeName] = ()
    alarmed: bool = False
    earlier: Sequence[Said] = ()
    trust: frozenset[NodeName] = frozenset()


Found = tuple[bool, str]


def keys_to(about: Account) -> Iterator[Said]:
    """Messages that carried keys of objects to the host, in the time that counts: what a stream is
    sealed with is none of them (MOB-01)."""
    course = about.course
    for one in about.said:
        if one.name in ("HostPrepareMigration", "HostMigrateVm"):
            continue
        if one.dst == course.host and one.boxes and course.began <= one.t <= course.ended:
            yield one
