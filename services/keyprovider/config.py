"""Settings of a Key Provider Service; providers and accepted issuers come from its vCenter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.errors import InvalidArgument
from protocol.terms import NodeName


class KeyProviderServiceConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """``vcenter``: the Trust Authority vCenter, the only node that configures the service; empty:
    only an administrator at its console does."""

    vcenter: NodeName = NodeName("")


def keyprovider_config(values: Mapping[str, Any]) -> KeyProviderServiceConfig:
    """Settings from a node's ``config`` map; ``InvalidArgument`` names what is wrong."""
    try:
        return msgspec.convert(dict(values), KeyProviderServiceConfig)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"Key Provider Service: {error}") from None
