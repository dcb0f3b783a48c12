"""What the two servers of a pair tell each other."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.attributes import Stamped
from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.terms import KeyId, KmipState, NodeName


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
