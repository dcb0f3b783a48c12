"""Settings of a key server: which identity has which role in which scope.

Objects belong to a *scope*, not to who made them, so a renewed client keeps its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from protocol.errors import InvalidArgument
from protocol.terms import NodeName

DEFAULT_SCOPE = "default"


class KmsRole(StrEnum):
    """``client`` uses keys (vCenter); ``operator`` governs their life and never sees material.

    ``vsan`` is a host of an encrypted vSAN: it reads the values of keys whose ids it was given.
    ``peer`` is the other server of a pair: what one has, both have. ``kps`` is a Key Provider
    Service: it reads keys and does nothing else. ``owner`` is any KMIP client that does all with
    its own keys.
    """

    CLIENT = "client"
    OPERATOR = "operator"
    PEER = "peer"
    VSAN = "vsan"
    KPS = "kps"
    OWNER = "owner"


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one identity is here."""

    role: KmsRole = KmsRole.CLIENT
    scope: str = DEFAULT_SCOPE


class KmsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``identities``: node name -> grant; who is not listed may do nothing (STD-03).

    ``local_scope``: where keys go that the operator makes at the server's own console.
    """

    identities: dict[NodeName, Grant] = {}
    local_scope: str = DEFAULT_SCOPE

    @property
    def peer(self) -> NodeName | None:
        """The other server of the pair; None when there is none."""
        return next((n for n, g in self.identities.items() if g.role is KmsRole.PEER), None)


def kms_config(values: Mapping[str, Any]) -> KmsConfig:
    """Settings from a node's ``config`` map; ``InvalidArgument`` says what is wrong and where."""
    try:
        made = msgspec.convert(dict(values), KmsConfig)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"key server: {error}") from None
    if not made.local_scope or not all(grant.scope for grant in made.identities.values()):
        raise InvalidArgument("key server: a scope has a name")
    if sum(grant.role is KmsRole.PEER for grant in made.identities.values()) > 1:
        raise InvalidArgument("key server: a pair has two servers, so there is one peer at most")
    return made
