"""Messages between key servers that replicate: the two of a pair, and groups that replicate after
the answer (``async`` and ``forward``), with KMIP messages that one server forwards; and how a
checker learns whether servers have the same keys.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.attributes import Stamped
from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.terms import KeyId, KmipState, NodeName


class QueryDigests(Request["KeyDigests"], frozen=True, kw_only=True):
    """A digest of each key, in order of the ids, of the first keys behind the id ``after``; an
    operator's question. Who compares several servers asks all of them behind the same id."""

    after: KeyId = KeyId("")


class KeyDigest(msgspec.Struct, frozen=True, kw_only=True):
    """SHA-256 over all that servers which replicate must agree upon about a key: not how each of
    them keeps it."""

    key_id: KeyId
    digest: bytes


class KeyDigests(Reply, frozen=True, kw_only=True):
    """Where ``more`` is set, there are keys behind the last of these."""

    keys: tuple[KeyDigest, ...]
    more: bool = False


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """A key as the other server of the pair has it.

    ``origin`` is the server that made it. ``digest`` is SHA-256 of its bytes. ``index`` points into
    the sealed field; None: it is destroyed, or there never was material.
    """

    key_id: KeyId
    scope: str
    operation_id: str
    origin: NodeName
    algorithm: str
    length: int
    usage_mask: int
    state: KmipState
    initial_date: float
    activation_date: float | None = None
    deactivation_date: float | None = None
    compromise_date: float | None = None
    destroy_date: float | None = None
    last_change_date: float = 0.0
    digest: bytes = b""
    attributes: tuple[Stamped, ...] = ()
    index: int | None = None


class ReplicateKeys(Request["KeysReplicated"], frozen=True, kw_only=True):
    """Keys that changed at the sender; ``last``: nothing else waits there for the receiver.

    States are merged upwards, so it does no harm to receive one late, twice or out of order.
    ``sequence`` and ``digest``: how far the sender has last seen the receiver's trail, see
    ``JoinPair``. ``end_sequence`` and ``end_digest``: the end of the sender's own trail, these
    changes in it.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    keys: tuple[Replica, ...]
    material: Sealed
    last: bool
    sequence: int
    digest: bytes
    end_sequence: int
    end_digest: bytes


class KeysReplicated(Reply, frozen=True, kw_only=True):
    """They are durable, but for ``refused``: ids that have another material here.

    ``sequence`` and ``digest``: the end of the receiver's trail now, see ``JoinPair``.
    ``everything``: it has lost some of what the sender saw, and wants all keys again.
    """

    refused: tuple[KeyId, ...] = ()
    sequence: int
    digest: bytes
    everything: bool = False


class JoinPair(Request["PairJoined"], frozen=True, kw_only=True):
    """The other server begins, or is back: where each of the two stands.

    ``sequence`` and ``digest``: how far the sender has last seen the receiver's trail. A receiver
    whose trail has no such row has lost some of it. ``waiting``: keys that the sender has for the
    receiver. ``everything``: the sender wants all keys again.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    sequence: int
    digest: bytes
    waiting: int
    everything: bool = False


class PairJoined(Reply, frozen=True, kw_only=True):
    """The same of the receiver."""

    sequence: int
    digest: bytes
    waiting: int
    everything: bool


class SharedName(msgspec.Struct, frozen=True, kw_only=True):
    """A Name that several keys of one scope have, as servers that were apart have given it."""

    name: str
    key_ids: tuple[KeyId, ...]


class QueryPair(Request["PairStatus"], frozen=True, kw_only=True):
    """How the server stands with the other of its pair; an operator's question."""


class PairStatus(Reply, frozen=True, kw_only=True):
    """``peer`` None: it is in no pair. ``waiting``: keys that the peer has not confirmed.

    ``down_since``: Unix seconds of this server's clock since when the peer is marked as down,
    None when it is not; ``why`` it is. ``names_shared``: how many Names several keys have;
    ``shared_names`` are the first of them.
    """

    peer: NodeName | None = None
    down_since: float | None = None
    why: str = ""
    waiting: int = 0
    names_shared: int = 0
    shared_names: tuple[SharedName, ...] = ()


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far somebody has the log of ``node``: everything up to number ``sequence`` of ``epoch``.

    Each life of a server begins an epoch, and so does one that finds that it has lost a part of its
    log, and tells all again. No two lives have the same one, whatever disk they have begun from.
    """

    node: NodeName
    epoch: int
    sequence: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server is when it speaks.

    ``marks``: what it has of each log, its own too. ``seen_sequence`` and ``seen_digest``: the end
    of the audit trail of who is spoken to when it last spoke; whose trail has no such row was put
    back to an older state. ``end_sequence`` and ``end_digest``: the end of the speaker's own trail.
    ``checked_sequence`` and ``checked_digest``: which end, told by who is spoken to, the speaker
    has looked for in its trail in this life; -1 before it has looked for any.
    ``everything``: it has lost something, and wants to be told of all keys. ``active``: in mode
    ``forward`` the server that takes changes, by the ``term``-th appointment that is known;
    ``appointed_at``: the stamp of that, in Unix seconds; unset when no operator has appointed any.
    ``total``: the checksum of all its keys (``services.kms.replication.checksums``); empty when the
    server does not send it.
    """

    marks: tuple[Mark, ...]
    seen_sequence: int
    seen_digest: bytes
    end_sequence: int
    end_digest: bytes
    checked_sequence: int = -1
    checked_digest: bytes = bytes(32)
    everything: bool = False
    active: NodeName | None = None
    term: int = 0
    appointed_at: float | msgspec.UnsetType = msgspec.UNSET
    total: bytes = b""


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the log of ``node``: it changed a key, at ``at`` of its clock (Unix seconds).

    ``index`` points into the keys of the message, where that key is as it is now.
    """

    node: NodeName
    epoch: int
    sequence: int
    at: float
    index: int


class TellChanges(Request["ChangesTaken"], frozen=True, kw_only=True):
    """Changes of keys, in order of each log; without any it tells where the sender stands.

    ``after``: what the sender takes the receiver to have of each log. Where the receiver has less,
    it takes the keys, and does not count the rows. Keys are merged, so it does no harm to receive
    them late, twice or out of order.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    entries: tuple[LogEntry, ...] = ()
    keys: tuple[Replica, ...] = ()
    material: Sealed
    after: tuple[Mark, ...] = ()
    standing: Standing


class ChangesTaken(Reply, frozen=True, kw_only=True):
    """They are durable, but for ``refused``: ids that have another material at the receiver."""

    refused: tuple[KeyId, ...] = ()
    standing: Standing


class MakeActive(Request["GroupStatus"], frozen=True, kw_only=True):
    """From now on this server takes the changes (mode ``forward``); its operator says so."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE


class QueryGroup(Request["GroupStatus"], frozen=True, kw_only=True):
    """How the server stands with those that it replicates with; an operator's question."""


class GroupPeer(msgspec.Struct, frozen=True, kw_only=True):
    """Another server of the group, as seen here.

    ``waiting``: keys that have changed here and whose change it has not confirmed; ``oldest_s``:
    for how long the first of them has waited. ``down_since``: since when it does not answer (Unix
    seconds), and ``why``; None when it does.
    """

    node: NodeName
    waiting: int = 0
    oldest_s: float = 0.0
    down_since: float | None = None
    why: str = ""


class GroupOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Whose changes came here: how many, and how long after they were made, in seconds between the
    stamp of the origin's clock and this server's at the commit; the last one and the longest."""

    node: NodeName
    applied: int
    lag_s: float
    worst_lag_s: float


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """An id that has one material here and another at ``peer``; first seen at ``at``."""

    key_id: KeyId
    peer: NodeName
    at: float


class GroupStatus(Reply, frozen=True, kw_only=True):
    """``mode`` empty: the server replicates with nobody after the answer.

    ``keys_at_risk`` were made and acknowledged here, and no other server has confirmed them;
    ``at_risk`` are the first of those, in order of the log.
    ``conflicts``: keys that were changed on two servers while neither knew of the other's change.
    ``stale_serves``: how often a key was given here after it was revoked or destroyed elsewhere.
    ``keys_breached``: ids with two materials; ``breaches`` are the first that were found.
    ``names_shared``: Names that several keys have; ``shared_names`` are the first of them.
    """

    mode: str = ""
    active: NodeName | None = None
    term: int = 0
    peers: tuple[GroupPeer, ...] = ()
    origins: tuple[GroupOrigin, ...] = ()
    keys_at_risk: int = 0
    at_risk: tuple[KeyId, ...] = ()
    conflicts: int = 0
    stale_serves: int = 0
    keys_breached: int = 0
    breaches: tuple[Breach, ...] = ()
    names_shared: int = 0
    shared_names: tuple[SharedName, ...] = ()


class HandOnMessage(Request["MessageHandedOn"], frozen=True, kw_only=True):
    """Do what this message of KMIP says, for a client that the sender has at its own endpoint.

    ``who``, ``role`` and ``scope`` are what the sender's table has of that client: believed of a
    server that replicates with the receiver, and of nobody else. ``message`` is its bytes (TTLV) as
    one key, for there may be keys in them. ``NotConnected``: the receiver takes no changes. What a
    second one does is what it does in KMIP: a Create makes another key, so it is never sent again.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    who: str
    role: str
    scope: str
    message: Sealed


class MessageHandedOn(Reply, frozen=True, kw_only=True):
    """``answer``: the bytes of the answer, as one key. ``until``: how far the receiver's own log is
    with it; who has that much of it reads what the message has changed."""

    answer: Sealed
    until: Mark
