"""How two servers of a group compare: what each reports, and what the other concludes.

Functions here run inside ``Database.transact`` or ``query``.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

import msgspec

from protocol.messages.kms import replication as m
from protocol.terms import NodeName
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import TrailEnd
from services.kms.replication import checksums, oplog
from services.kms.replication.oplog import Active, LogPlace
from services.kms.sealing.vault import Vault

_NOT_LOOKED: Final = -1  # in place of the number of a row of the trail


class HeardStanding(NamedTuple):
    """Conclusions from a peer's standing. ``back``: it was marked as down. ``intact``: this server
    has everything that the peer has seen of it; otherwise it was restored to an older state.
    ``differs``: both have the same changes, but not the same keys. ``appointed``: the active
    server, when that is news."""

    back: bool
    intact: bool
    differs: bool
    appointed: Active | None


def describe_standing(
    connection: sqlite3.Connection,
    vault: Vault,
    me: NodeName,
    peer: NodeName,
    checked: TrailEnd | None,
    *,
    total: bool,
) -> tuple[m.Standing, tuple[m.Mark, ...]]:
    """The standing that is sent to a peer, and what the peer is assumed to have.

    ``checked``: the end, sent by the peer, that this life has looked for in its trail; None: none
    yet. ``total``: include the total over all keys.
    """
    known = next(one for one in oplog.peers(connection) if one.node == peer)
    end = audit_trail.head(connection, vault)
    active = oplog.active(connection)
    standing = m.Standing(
        marks=_marks(oplog.marks(connection, me)),
        seen_sequence=known.seen.sequence,
        seen_digest=known.seen.digest,
        end_sequence=end.sequence,
        end_digest=end.digest,
        checked_sequence=_NOT_LOOKED if checked is None else checked.sequence,
        checked_digest=audit_trail.EMPTY.digest if checked is None else checked.digest,
        everything=known.everything,
        active=active.node,
        term=active.term,
        appointed_at=active.at or msgspec.UNSET,
        total=checksums.total(connection, vault) if total else b"",
    )
    return standing, _marks(oplog.marks(connection, peer))


def _marks(places: dict[NodeName, LogPlace]) -> tuple[m.Mark, ...]:
    return tuple(
        m.Mark(node=node, epoch=place.epoch, sequence=place.sequence)
        for node, place in places.items()
    )


def looked(connection: sqlite3.Connection, peer: NodeName, reported: m.Standing) -> bool:
    """Whether the peer's life has looked for its trail's end as stored here."""
    known = next(one for one in oplog.peers(connection) if one.node == peer)
    return known.seen == TrailEnd(reported.checked_sequence, reported.checked_digest)


def record_standing(
    connection: sqlite3.Connection,
    vault: Vault,
    me: NodeName,
    peer: NodeName,
    reported: m.Standing,
    at: float,
    *,
    drawn: int,
    trusted: bool,
    compare: bool,
) -> HeardStanding:
    """Record the peer's standing, and send everything if that is needed.

    ``at`` in Unix seconds of this server's clock; ``drawn`` for a new epoch, as in ``oplog.begin``.
    ``trusted``: the peer knows by now whether it was restored itself. Until it does, the end by
    which it would notice is kept. ``compare``: whether to check if the two differ.
    """
    theirs = {mark.node: LogPlace(mark.epoch, mark.sequence) for mark in reported.marks}
    known = theirs.get(me, oplog.START)
    seen = TrailEnd(reported.seen_sequence, reported.seen_digest)
    intact = audit_trail.has(connection, seen) and oplog.has(connection, known)
    end = TrailEnd(reported.end_sequence, reported.end_digest) if trusted else None
    back = oplog.record_peer(connection, peer, theirs, end)
    differs = compare and _differs(connection, vault, me, theirs, reported.total)
    if not intact:
        oplog.begin_epoch(connection, me, known, at, drawn)
    elif reported.everything or differs:
        oplog.log_everything(connection, me, at)
    appointed = Active(reported.active, reported.term, reported.appointed_at or 0.0)
    news = oplog.record_active(connection, appointed)
    return HeardStanding(back, intact, differs, appointed if news else None)


def _differs(
    connection: sqlite3.Connection,
    vault: Vault,
    me: NodeName,
    theirs: dict[NodeName, LogPlace],
    total: bytes,
) -> bool:
    """An id with two materials is not a difference that sending could repair."""
    if not total or theirs != oplog.marks(connection, me) or oplog.count_breaches(connection):
        return False
    mine = checksums.total(connection, vault)
    return bool(mine) and mine != total
