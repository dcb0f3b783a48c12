"""Secrets that vCenter stores in the inventory under a key of its own, which is in the file
``symkey.dat`` on its disk (NKP-08): user names and passwords for KMIP servers (STD-01), and the
certificates that it presents to them, with their private keys (STD-04).
"""

from __future__ import annotations

import hashlib
from typing import Final

from msgspec.structs import replace

from protocol.crypto import certificates
from protocol.crypto.derive import derive_key
from protocol.crypto.transfer import OneTimeKey
from protocol.crypto.wrap import KEK_SIZE, NONCE_SIZE, Wrapping
from protocol.errors import (
    CryptographicFailure,
    InvalidArgument,
    InvalidState,
    NotFound,
    SaveFailed,
)
from protocol.kmip.dialect import Login
from protocol.messages.vcenter.providers import KmipServer
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId
from services.runtime.durable import replace_durably
from services.runtime.node_certificates import EARLIER_S, create_own_certificate
from services.runtime.ports import Clock, Disk, Rng
from services.runtime.streams import TlsIdentity
from services.vcenter.tables import ClientCertificate, ProviderRow

SYMKEY: Final = "symkey.dat"


class Symkey:
    """Wraps secrets and opens them. Call ``start`` first."""

    def __init__(self, disk: Disk, rng: Rng) -> None:
        self._disk, self._rng = disk, rng
        self._key: KeyMaterial | None = None
        # The content of the file, until this life has made it durable.
        self._owed: bytes | None = None

    async def start(self) -> None:
        """Read the file; it is created when the first secret is wrapped."""
        try:
            raw = await self._disk.read(SYMKEY)
        except FileNotFoundError:
            return
        if len(raw) == KEK_SIZE:
            self._key, self._owed = _from_material(raw), raw

    async def wrap(self, secret: KeyMaterial, aad: bytes) -> bytes:
        """``secret`` wrapped for storage, bound to ``aad``.

        ``SaveFailed`` when the disk refuses this vCenter's key.
        """
        cipher = Wrapping(await self._durable_key())
        return cipher.wrap(secret, aad, self._rng.token(NONCE_SIZE))

    def unwrap(self, wrapped: bytes, aad: bytes) -> KeyMaterial:
        """The secret; ``CryptographicFailure`` when it does not open any more."""
        if self._key is None:
            raise CryptographicFailure(f"{SYMKEY} is gone")
        return Wrapping(self._key).unwrap(wrapped, aad)

    async def _durable_key(self) -> KeyMaterial:
        """The key, durable before any row that needs it.

        A file that an earlier life has written may not be synced.
        """
        if self._key is None or self._owed is not None:
            material = self._owed or self._rng.token(KEK_SIZE)
            try:
                await replace_durably(self._disk, SYMKEY, material)
            except OSError as error:
                raise SaveFailed(f"{SYMKEY}: {error.strerror or error}") from None
            self._key, self._owed = _from_material(material), None
        return self._key


def _from_material(material: bytes) -> KeyMaterial:
    return derive_key(KeyMaterial(material), salt=b"", info=b"keystead symkey of vCenter")


PASSWORD_LIMIT: Final = 1024
"""Longest password in bytes."""


class Logins:
    """Wraps passwords and opens them."""

    def __init__(self, symkey: Symkey) -> None:
        self._symkey = symkey

    async def wrap_password(
        self, provider: ProviderId, server: KmipServer, key: OneTimeKey, box: bytes
    ) -> bytes:
        """Wrap a password that was sealed to ``key``. ``InvalidArgument`` when it does not open, is
        empty or too long, or is not text; ``SaveFailed``."""
        try:
            password = key.open_box(box, "password")
        except CryptographicFailure as error:
            raise InvalidArgument(str(error)) from None
        if not 0 < len(password) <= PASSWORD_LIMIT or not _is_text(password):
            raise InvalidArgument(f"password: text of 1 to {PASSWORD_LIMIT} bytes in UTF-8")
        return await self._symkey.wrap(password, _login_aad(provider, server))

    def login(self, row: ProviderRow, server: KmipServer) -> Login | None:
        """The login at this server; None without a user name.

        ``InvalidState`` when the password is missing or cannot be opened any more.
        """
        if not server.user_name:
            return None
        if not row.passwords.get(server.name):
            raise InvalidState(f"the password of {server.user_name} at {server.name} is missing")
        try:
            password = self._symkey.unwrap(row.passwords[server.name], _login_aad(row.name, server))
        except CryptographicFailure as error:
            raise InvalidState(
                f"the password of {server.user_name} at {server.name} cannot be opened: {error}"
            ) from None
        return Login(server.user_name, password)


def same_user(one: KmipServer, other: KmipServer) -> bool:
    """Whether a password of one entry is valid for the other."""
    return _place(one) == _place(other)


def _place(server: KmipServer) -> tuple[str, str, str]:
    return server.name, server.address, server.user_name or ""


def _login_aad(provider: ProviderId, server: KmipServer) -> bytes:
    parts = (provider, *_place(server))
    return b"keystead kmip password" + b"".join(
        len(part.encode()).to_bytes(2, "big") + part.encode() for part in parts
    )


def _is_text(password: KeyMaterial) -> bool:
    try:
        password.reveal().decode()
    except UnicodeDecodeError:
        return False
    return True


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
        wrapped = await self._symkey.wrap(key, _certificate_aad(provider, chain[0]))
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
            key = self._symkey.unwrap(client.wrapped, _certificate_aad(row.name, client.chain[0]))
        except CryptographicFailure as error:
            raise InvalidState(
                f"the private key for key provider {row.name} cannot be opened: {error}"
            ) from None
        return TlsIdentity(client.chain, key, row.trusted)


def _digest(key: KeyMaterial) -> bytes:
    """SHA-256 of the public key of a private key."""
    return hashlib.sha256(certificates.public_key(key)).digest()


def _certificate_aad(provider: ProviderId, certificate: bytes) -> bytes:
    digest = hashlib.sha256(certificate).hexdigest()
    return f"keystead kmip client|{provider}|{digest}".encode()
