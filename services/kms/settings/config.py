"""Configuration of a key server: the role and scope of each identity.

Objects belong to a *scope*, not to the client that made them, so a renewed client keeps its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from protocol import names
from protocol.errors import InvalidArgument
from protocol.terms import NodeName, RootKind
from services.kms.objects.identifiers import IdScheme

DEFAULT_SCOPE = "default"


class KmsRole(StrEnum):
    """``client`` uses keys (vCenter); ``operator`` governs their life and never sees material.

    ``vsan`` is a host of an encrypted vSAN: it reads the values of keys whose ids it was given.
    ``peer`` is a server that this one replicates with. ``kps`` is a Key Provider
    Service: it reads keys and does nothing else. ``owner`` is any KMIP client that does all with
    its own keys.
    """

    CLIENT = "client"
    OPERATOR = "operator"
    PEER = "peer"
    VSAN = "vsan"
    KPS = "kps"
    OWNER = "owner"


class Replication(StrEnum):
    """When other servers learn of a change (``peer``), and which servers take changes.

    ``sync-pair``: before the answer. ``async``: after it, and every server takes changes.
    ``forward``: after it; one server is active, and the others forward changes to it.
    """

    SYNC_PAIR = "sync-pair"
    ASYNC = "async"
    FORWARD = "forward"


class KmsTransport(StrEnum):
    """How clients reach a key server of a lab: over the bus, or only by KMIP under TLS."""

    BUS = "bus"
    KMIP = "kmip"


class Auditing(StrEnum):
    """When the row of the trail for a read key is durable.

    ``durable``: before the key leaves. ``buffered``: at most the knob ``audit_buffer_s`` later, so
    that a crash loses the rows of that time. Rows of changes are durable with the change; their
    anchor may be as late.
    """

    DURABLE = "durable"
    BUFFERED = "buffered"


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The role and scope of one identity."""

    role: KmsRole = KmsRole.CLIENT
    scope: str = DEFAULT_SCOPE


class KmsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``identities``: node name -> grant; nodes that are not listed may do nothing (STD-03).

    ``local_scope``: the scope of keys that the operator makes at the server's own console.
    ``replication`` applies when there are peers. ``active``: the server of mode ``forward`` that
    takes changes until an operator appoints another. ``ids``: how new keys are named. ``root``: the
    root of a new server's key ring; later its disk says which it is. ``transport``: with ``kmip``
    the console admits clients, and only peers use the bus.
    """

    identities: dict[NodeName, Grant] = {}
    local_scope: str = DEFAULT_SCOPE
    root: RootKind = RootKind.KEYFILE
    replication: Replication = Replication.SYNC_PAIR
    active: NodeName | None = None
    ids: IdScheme = IdScheme.RANDOM
    transport: KmsTransport = KmsTransport.BUS
    audit: Auditing = Auditing.DURABLE

    @property
    def peers(self) -> tuple[NodeName, ...]:
        """The servers that this one replicates with."""
        return tuple(n for n, g in self.identities.items() if g.role is KmsRole.PEER)

    @property
    def peer(self) -> NodeName | None:
        """The other server of a pair; None when there is none."""
        return next(iter(self.peers), None) if self.pairs else None

    @property
    def pairs(self) -> bool:
        """Whether a peer, if there is one, learns of a change before the answer."""
        return self.replication is Replication.SYNC_PAIR


def kms_config(values: Mapping[str, Any]) -> KmsConfig:
    """Settings from a node's ``config`` map; ``InvalidArgument`` names what is wrong and where."""
    try:
        made = msgspec.convert(dict(values), KmsConfig)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"key server: {error}") from None
    for scope in (made.local_scope, *(grant.scope for grant in made.identities.values())):
        if fault := names.SCOPE.fault(scope):
            raise InvalidArgument(f"key server: {fault}")
    if made.pairs and len(made.peers) > 1:
        raise InvalidArgument("key server: a pair has two servers, so there is one peer at most")
    if (made.replication is Replication.FORWARD) != (made.active is not None):
        raise InvalidArgument("key server: `active` names a server in mode forward, and only there")
    if made.transport is KmsTransport.KMIP and len(made.peers) < len(made.identities):
        # A client revoked at the KMIP endpoint would have another way in.
        raise InvalidArgument("key server: transport kmip allows only peers as bus identities")
    return made
