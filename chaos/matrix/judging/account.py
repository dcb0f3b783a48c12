"""What a witness is read from: the course of an event, what was heard and recorded in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from chaos.conversation import Said
from chaos.matrix.judging.given import KeyRequest
from protocol.messages.agent import NodeRecord
from protocol.terms import CryptoKeyId, NodeName


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
