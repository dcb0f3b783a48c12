"""STD-03 broken: vCenter goes on with the private key that it has lost."""

from __future__ import annotations

from typing import Any

import msgspec

from services.vcenter.providers.client_certificates import ClientCertificates
from tests.mutations.bugs.planting import plant

_seen: dict[bytes, bytes] = {}
"""What was wrapped with a certificate, by that one."""


def _remembered(original: Any) -> Any:
    def identity(certificates: Any, row: Any) -> Any:
        client = row.client
        if client is not None and client.wrapped:
            _seen[client.chain[0]] = client.wrapped
        elif client is not None and client.chain[0] in _seen:
            client = msgspec.structs.replace(client, wrapped=_seen[client.chain[0]])
        return original(certificates, msgspec.structs.replace(row, client=client))

    return identity


plant(ClientCertificates, "identity", _remembered)
