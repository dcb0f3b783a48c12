"""Contexts of attestations: the service's memory of one that was begun, kept by the host.

A context is closed under a key of this life of the service and bound to the host and its boot, so
nobody reads or changes it, no other host or life can bring it, and it opens nothing after a
restart. A context that was finished is remembered until its time is over: it serves once. So is,
of each TPM, when the one was begun whose counters were taken last: what was begun before it and
comes later has counters that are behind, and proves nothing of a TPM that was set back.
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
"""Finished contexts that are remembered at a time; then the service is busy."""


class BegunAttestation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is in a context. ``until``: lab seconds of the monotonic clock."""

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
        """The context for that life of that host; ``nonce``: 12 bytes, never used before."""
        return nonce + self._cipher.encrypt(nonce, _encode(begun), _aad(host, boot))

    def open_context(
        self, context: bytes, host: NodeName, boot: int, now: float
    ) -> BegunAttestation:
        """What was begun; it counts as finished from here on. ``InvalidState``: see the module."""
        if not NONCE_SIZE < len(context) <= CONTEXT_LIMIT:
            raise InvalidState("context: it is none of this service; begin again")
        nonce, box = context[:NONCE_SIZE], context[NONCE_SIZE:]
        try:
            begun = _decoder.decode(self._cipher.decrypt(nonce, box, _aad(host, boot)))
        except (InvalidTag, msgspec.DecodeError, ValueError):
            raise InvalidState("context: it is none of this service; begin again") from None
        if now > begun.until:
            raise InvalidState("context: its time is over; begin again")
        self._forget(now)
        if begun.number in self._finished:
            raise InvalidState("context: it was finished already; begin again")
        if len(self._finished) >= FINISHED_LIMIT:
            raise Busy("too many attestations are finished at a time")
        self._finished[begun.number] = begun.until
        return begun

    def take(self, ek: bytes, begun: BegunAttestation) -> None:
        """The counters of the TPM with that endorsement key (its digest) are taken of ``begun``.

        ``InvalidState`` when they were taken of one that was begun later. Only for keys that are
        trusted: as many of them are remembered.
        """
        if begun.until < self._taken.get(ek, begun.until):
            raise InvalidState("context: a later one of this TPM was finished; begin again")
        self._taken[ek] = begun.until

    def _forget(self, now: float) -> None:
        """Those whose time is over are refused for that; they were finished in about its order."""
        for number, until in list(self._finished.items()):
            if until >= now:
                break
            del self._finished[number]


def _aad(host: NodeName, boot: int) -> bytes:
    return _encode(("keystead attestation context", host, boot))
