"""What vCenter shows KMIP servers: a certificate and its key for each provider (STD-04).

The key lies in the inventory wrapped under vCenter's own key (``symkey``), bound to its provider
and certificate. Making another certificate replaces the earlier one at once: the servers refuse
vCenter until they are told to trust the new one.
"""

from __future__ import annotations

import hashlib
from typing import Final

from protocol.crypto import certificates
from protocol.errors import CryptographicFailure, InvalidArgument, InvalidState
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId
from services.runtime.ports import Clock, Rng
from services.runtime.streams import TlsIdentity
from services.vcenter.providers.symkey import Symkey
from services.vcenter.tables import ProviderRow
from services.vcenter.wrapped import ClientCertificate

LIFETIME_S: Final = 3_650 * 86_400.0
"""For how long a certificate that vCenter has signed itself is good."""
EARLIER_S: Final = 86_400.0
"""It is good since so long before, when nobody says for how long: clocks of servers differ, and a
lab's may be a fast one."""


class ClientCertificates:
    """Makes and opens them. ``name``: of the vCenter, their common name."""

    def __init__(self, symkey: Symkey, rng: Rng, clock: Clock, name: str) -> None:
        self._symkey, self._rng, self._clock, self._name = symkey, rng, clock, name

    async def generated(
        self, provider: ProviderId, good_for_s: float | None = None
    ) -> ClientCertificate:
        """A new key with a certificate that it has signed itself; ``SaveFailed``, and
        ``InvalidArgument`` for a time that no certificate is good for."""
        lifetime_s = certificates.lifetime(good_for_s, LIFETIME_S)
        key = certificates.new_key(KeyMaterial(self._rng.token(certificates.SEED_SIZE)))
        serial, at = self._rng.token(certificates.SERIAL_SIZE), self._clock.now()
        start = at - EARLIER_S if good_for_s is None else at
        made = certificates.self_signed(self._name, key, serial, start, at + lifetime_s)
        return await self.kept(provider, (made,), key)

    async def kept(
        self, provider: ProviderId, chain: tuple[bytes, ...], key: KeyMaterial
    ) -> ClientCertificate:
        """A chain, own certificate first, and its key as they lie in the inventory.

        ``InvalidArgument`` when they do not belong together, ``SaveFailed``.
        """
        digest = hashlib.sha256(certificates.public_key(key)).digest()
        if not chain or certificates.key_digest(chain[0]) != digest:
            raise InvalidArgument("private_key: it is not that of the certificate")
        wrapped = await self._symkey.wrapped(key, _aad(provider, chain[0]))
        return ClientCertificate(chain=chain, wrapped=wrapped)

    def identity(self, row: ProviderRow) -> TlsIdentity:
        """What is shown to the servers of that provider, and what is believed of theirs.

        ``InvalidState`` when there is nothing to show, or its key cannot be opened any more.
        """
        client = row.client
        if client is None:
            raise InvalidState(f"vCenter has no certificate for key provider {row.name}")
        try:
            key = self._symkey.opened(client.wrapped, _aad(row.name, client.chain[0]))
        except CryptographicFailure as error:
            raise InvalidState(
                f"the private key for key provider {row.name} cannot be opened: {error}"
            ) from None
        return TlsIdentity(client.chain, key, row.trusted)


def _aad(provider: ProviderId, certificate: bytes) -> bytes:
    digest = hashlib.sha256(certificate).hexdigest()
    return f"keystead kmip client|{provider}|{digest}".encode()
