"""Who may do what at a Key Provider Service. Pure.

| token of a host that asks for a key, or for a provider's health | answer |
|---|---|
| none, malformed, altered, of an issuer that is not accepted | 401 ``Unauthenticated`` |
| of another host than the one that sends it | 401 |
| of another group than this service's, or than its issuer's | 401 |
| not valid yet, or not any more, by more than the leeway of clocks | 401 |
| good, and for another audience: a reporting token | 403 ``NoPermission`` |
| good | allowed |

Configuration and services information are for the Trust Authority vCenter, and for an administrator
at the service's own console. The broker authenticates the sender of a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from protocol.crypto.tokens import AUDIENCE, AttestationClaims, TokenRefused, verify_token
from protocol.errors import NoPermission, Unauthenticated
from protocol.messages.base import Request
from protocol.messages.keyprovider import (
    DecryptWrappedKey,
    GenerateWrappedKey,
    KeyProviderConfiguration,
    QueryTrustedKeyProviderHealth,
)
from protocol.terms import NodeName
from protocol.trust import AcceptedAttestationService, TokenType

_FOR_HOSTS: Final = (GenerateWrappedKey, DecryptWrappedKey, QueryTrustedKeyProviderHealth)


def admit(message: Request[Any], sender: NodeName, vcenter: NodeName, *, local: bool) -> None:
    """``NoPermission`` when the message is not for this sender; ``authorize`` judges tokens."""
    if local or isinstance(message, _FOR_HOSTS) or (vcenter and sender == vcenter):
        return
    raise NoPermission(f"{sender} is not the vCenter of this Key Provider Service")


def authorize(
    token: bytes,
    host: NodeName,
    configuration: KeyProviderConfiguration,
    *,
    now: float,
    leeway_s: float,
) -> AttestationClaims:
    """The claims of a token with which ``host`` may have keys, by the table above.

    ``now`` in Unix seconds of this service's clock.
    """
    if not token:
        raise Unauthenticated("no token: attest first")
    group = configuration.group
    claims = _verify_issuer(
        token, [s for s in configuration.attestation_services if s.group == group]
    )
    if claims.group != group:
        raise Unauthenticated("token: of another group")
    if claims.sub != host:
        raise Unauthenticated("token: of another host")
    if now + leeway_s < claims.nbf or now + leeway_s < claims.iat:
        raise Unauthenticated("token: not valid yet")
    if now - leeway_s >= claims.exp:
        raise Unauthenticated("token: expired")
    if claims.typ is not TokenType.KMS_AUTH_JWT or claims.aud != AUDIENCE:
        raise NoPermission("token: a document of that type authorizes nothing")
    return claims


def _verify_issuer(
    token: bytes, accepted: Iterable[AcceptedAttestationService]
) -> AttestationClaims:
    """The claims of a token that one of the accepted services has signed in its own name."""
    why = "its issuer is unknown"
    for service in accepted:
        try:
            claims = verify_token(token, (service.certificate,), AttestationClaims)
        except TokenRefused as refusal:
            why = str(refusal)
            continue
        if claims.iss == service.node:
            return claims
        why = "it was signed in the name of another service"
    raise Unauthenticated(f"token: {why}")
