"""What a host holds of its attestation: the encrypted context of one in progress, bound to the host
and its boot, and afterwards its documents (ATT-03): short-lived, for one group, one per
audience.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, assert_never

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.tokens import AUDIENCE, REPORTING_AUDIENCE, AttestationClaims, Signer
from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import Busy, InvalidState
from protocol.messages.attestation import CONTEXT_LIMIT, AttestationDocument
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from protocol.tpm.structures import PublicArea
from protocol.trust import TokenType

FINISHED_LIMIT: Final = 20_000
"""Finished contexts that are remembered at a time; beyond that the service is busy."""


class BegunAttestation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The content of a context. ``until``: lab seconds of the monotonic clock."""

    number: bytes
    ek: PublicArea
    certificate: bytes
    ak: PublicArea
    voucher: bytes
    nonce: bytes
    secret: bytes
    until: float


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(BegunAttestation)


class Contexts:
    """The contexts of one life of the service, under ``key`` (32 random bytes)."""

    def __init__(self, key: KeyMaterial) -> None:
        self._cipher = AESGCM(key.reveal())
        self._finished: dict[bytes, float] = {}  # number -> until, in order of finishing
        self._taken: dict[bytes, float] = {}  # digest of an endorsement key -> until

    def seal_context(
        self, begun: BegunAttestation, host: NodeName, boot: int, nonce: bytes
    ) -> bytes:
        """The context for that life of that host; ``nonce``: 12 bytes never used before."""
        return nonce + self._cipher.encrypt(nonce, _encode(begun), _aad(host, boot))

    def open_context(
        self, context: bytes, host: NodeName, boot: int, now: float
    ) -> BegunAttestation:
        """The attestation in the context, which counts as finished from now on. ``InvalidState``:
        see the module."""
        if not NONCE_SIZE < len(context) <= CONTEXT_LIMIT:
            raise InvalidState("context: not issued by this service; begin again")
        nonce, box = context[:NONCE_SIZE], context[NONCE_SIZE:]
        try:
            begun = _decoder.decode(self._cipher.decrypt(nonce, box, _aad(host, boot)))
        except (InvalidTag, msgspec.DecodeError, ValueError):
            raise InvalidState("context: not issued by this service; begin again") from None
        if now > begun.until:
            raise InvalidState("context: expired; begin again")
        self._forget(now)
        if begun.number in self._finished:
            raise InvalidState("context: finished already; begin again")
        if len(self._finished) >= FINISHED_LIMIT:
            raise Busy("too many attestations were finished in a short time")
        self._finished[begun.number] = begun.until
        return begun

    def take(self, ek: bytes, begun: BegunAttestation) -> None:
        """Take the counters of the TPM with that endorsement key (digest) from ``begun``.

        ``InvalidState`` when they were taken from an attestation that began later. Only for trusted
        keys, which bounds the number of remembered ones.
        """
        if begun.until < self._taken.get(ek, begun.until):
            raise InvalidState("context: a later attestation of this TPM was finished; begin again")
        self._taken[ek] = begun.until

    def _forget(self, now: float) -> None:
        """Forget contexts that have expired; they were finished in about the order of their
        expiry."""
        for number, until in list(self._finished.items()):
            if until >= now:
                break
            del self._finished[number]


def _aad(host: NodeName, boot: int) -> bytes:
    return _encode(("keystead attestation context", host, boot))


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
