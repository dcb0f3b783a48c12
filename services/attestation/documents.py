"""The documents of an attested host (ATT-03): short-lived, for one group, one per audience."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, assert_never

from protocol.crypto.tokens import AUDIENCE, REPORTING_AUDIENCE, AttestationClaims, Signer
from protocol.messages.attestation import AttestationDocument
from protocol.terms import NodeName
from protocol.tpm.structures import PublicArea
from protocol.trust import TokenType

NUMBER_SIZE: Final = 16


@dataclass(frozen=True)
class Subject:
    """The attested host, and the evidence."""

    host: NodeName
    ek: PublicArea
    image: str
    secure_boot: bool
    reset_count: int


def issue(
    signer: Signer,
    issuer: NodeName,
    group: str,
    subject: Subject,
    types: Iterable[TokenType],
    *,
    at: float,
    until: float,
    number: bytes,
) -> tuple[AttestationDocument, ...]:
    """Documents of these types, in order, each once. ``at`` and ``until`` in Unix seconds;
    ``number`` identifies this attestation."""
    return tuple(
        AttestationDocument(
            type=kind,
            token=signer.sign_claims(
                AttestationClaims(
                    iss=issuer,
                    sub=subject.host,
                    aud=audience(kind),
                    typ=kind,
                    group=group,
                    iat=at,
                    nbf=at,
                    exp=until,
                    jti=number.hex(),
                    ek=hashlib.sha256(subject.ek.raw).hexdigest(),
                    base_image=subject.image,
                    secure_boot=subject.secure_boot,
                    reset_count=subject.reset_count,
                )
            ),
        )
        for kind in dict.fromkeys(types)
    )


def audience(kind: TokenType) -> str:
    """The audience of a document of that type."""
    match kind:
        case TokenType.KMS_AUTH_JWT:
            return AUDIENCE
        case TokenType.REPORTING_JWT:
            return REPORTING_AUDIENCE
        case _:
            assert_never(kind)
