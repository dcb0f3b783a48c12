"""Contexts of attestations: the state of an attestation in progress, kept by the host.

A context is encrypted under a key of this life of the service and bound to the host and its boot:
nobody can read or change it, no other host or life can use it, and it is void after a restart.
Finished contexts are remembered until they expire, so that each serves once. For each TPM the
service also remembers when the attestation began whose counters it took last: an attestation that
began earlier and finishes later has older counters, which do not prove a rollback of the TPM.
"""

from __future__ import annotations

from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import Busy, InvalidState
from protocol.messages.attestation import CONTEXT_LIMIT
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from protocol.tpm.structures import PublicArea

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
