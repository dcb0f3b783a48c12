"""TA-08 broken: a Key Provider Service takes tokens of its issuers whatever their group is."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.crypto.tokens import AttestationClaims, verify_token
from services.keyprovider import service
from tests.mutations.bugs.planting import plant


def _of_any_group(original: Any) -> Any:
    def authorize(token: bytes, host: Any, configuration: Any, **times: Any) -> Any:
        issuers = configuration.attestation_services
        try:
            claims = verify_token(token, [i.certificate for i in issuers], AttestationClaims)
        except ValueError:
            return original(token, host, configuration, **times)
        same = tuple(msgspec.structs.replace(i, group=claims.group) for i in issuers)
        believed = msgspec.structs.replace(
            configuration, group=claims.group, attestation_services=same
        )
        return original(token, host, believed, **times)

    return authorize


plant(service, "authorize", _of_any_group)
