"""The certificates that vCenter presents to KMIP servers, with their keys, for each provider
(STD-04).

A key is in the inventory, wrapped under vCenter's own key (``symkey``), bound to its provider and
certificate. A new certificate replaces the earlier one at once: the servers refuse vCenter until
they trust the new one.
"""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from protocol.crypto import certificates
from protocol.errors import CryptographicFailure, InvalidArgument, InvalidState, NotFound
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId
from services.runtime.own_certificate import EARLIER_S, create_own_certificate
from services.runtime.ports import Clock, Rng
from services.runtime.streams import TlsIdentity
from services.vcenter.keys.wrapped import ClientCertificate
from services.vcenter.providers.symkey import Symkey
from services.vcenter.tables import ProviderRow


class ClientCertificates:
    """Creates and opens them. ``name``: of the vCenter, their common name; ``days``: the validity
    of self-signed ones."""

    def __init__(self, symkey: Symkey, rng: Rng, clock: Clock, name: str, days: int) -> None:
        self._symkey, self._rng, self._clock = symkey, rng, clock
        self._name, self._days = name, days

    async def create_self_signed(
        self, provider: ProviderId, good_for_s: float | None = None
    ) -> ClientCertificate:
        """A new key with a self-signed certificate; ``SaveFailed``, and ``InvalidArgument`` for an
        impossible validity."""
        own = create_own_certificate(
            self._rng,
            self._clock,
            self._name,
            self._days,
            good_for_s=good_for_s,
            earlier_s=EARLIER_S,
        )
        return await self.wrap_certificate(provider, (own.certificate,), own.key)

    async def wrap_certificate(
        self, provider: ProviderId, chain: tuple[bytes, ...], key: KeyMaterial
    ) -> ClientCertificate:
        """A chain, own certificate first, with its key, in the form of the inventory.

        ``InvalidArgument`` when they are invalid or do not belong together, ``SaveFailed``.
        """
        for certificate in chain:
            certificates.load(certificate)
        if not chain or certificates.key_digest(chain[0]) != _digest(key):
            raise InvalidArgument("private_key: it is not that of the certificate")
        wrapped = await self._symkey.wrap(key, _aad(provider, chain[0]))
        return ClientCertificate(chain=chain, wrapped=wrapped)

    async def create_signing_request(self, provider: ProviderId) -> ClientCertificate:
        """A new key with a signing request, and a self-signed certificate until that is answered;
        ``SaveFailed``."""
        own = create_own_certificate(
            self._rng, self._clock, self._name, self._days, earlier_s=EARLIER_S
        )
        kept = await self.wrap_certificate(provider, (own.certificate,), own.key)
        request = certificates.signing_request(self._name, own.key)
        return replace(kept, request=request)

    async def accept_signed_chain(
        self, row: ProviderRow, chain: tuple[bytes, ...]
    ) -> ClientCertificate:
        """The present key with a certificate that was issued for its request.

        ``NotFound`` without a request, ``InvalidArgument`` for a certificate of another key.
        """
        request = b"" if row.client is None else row.client.request
        if not request:
            raise NotFound(f"no signing request was made for key provider {row.name}")
        for certificate in chain:
            certificates.load(certificate)
        key = self.identity(row).key
        if not chain or certificates.key_digest(chain[0]) != _digest(key):
            raise InvalidArgument("chain: its first certificate is not of the request's key")
        return replace(await self.wrap_certificate(row.name, chain, key), request=request)

    def identity(self, row: ProviderRow) -> TlsIdentity:
        """The identity for the servers of that provider, and the certificates trusted for them.

        ``InvalidState`` when there is no certificate, or its key cannot be opened any more.
        """
        client = row.client
        if client is None:
            raise InvalidState(f"vCenter has no certificate for key provider {row.name}")
        if not client.wrapped:
            raise InvalidState(f"vCenter has lost its private key for key provider {row.name}")
        try:
            key = self._symkey.unwrap(client.wrapped, _aad(row.name, client.chain[0]))
        except CryptographicFailure as error:
            raise InvalidState(
                f"the private key for key provider {row.name} cannot be opened: {error}"
            ) from None
        return TlsIdentity(client.chain, key, row.trusted)


def _digest(key: KeyMaterial) -> bytes:
    """SHA-256 of the public key of a private key."""
    return hashlib.sha256(certificates.public_key(key)).digest()


def _aad(provider: ProviderId, certificate: bytes) -> bytes:
    digest = hashlib.sha256(certificate).hexdigest()
    return f"keystead kmip client|{provider}|{digest}".encode()
