"""Settings of an Attestation Service; what it trusts comes from its vCenter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.errors import InvalidArgument
from protocol.terms import NodeName


class AttestationServiceConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """``vcenter``: the Trust Authority vCenter, the only node that configures the service; empty:
    only an administrator at its console does."""

    vcenter: NodeName = NodeName("")


def attestation_config(values: Mapping[str, Any]) -> AttestationServiceConfig:
    """Settings from a node's ``config`` map; ``InvalidArgument`` names what is wrong."""
    try:
        return msgspec.convert(dict(values), AttestationServiceConfig)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"Attestation Service: {error}") from None
