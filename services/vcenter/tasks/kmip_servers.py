"""The KMIP servers of a provider: the fields and passwords of their entries (STD-01), and trust
between them and vCenter, each way by itself (STD-03, STD-04), which is found out by trying.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from protocol.crypto import certificates
from protocol.errors import (
    CryptographicFailure,
    InvalidArgument,
    InvalidState,
    NotAvailable,
    NotFound,
    PermissionDenied,
    ProductError,
    TlsFailure,
)
from protocol.messages.host.session import Done
from protocol.messages.kms.keys import DiscoverVersions
from protocol.messages.vcenter import providers as provider_messages
from protocol.terms import ProviderId
from services.keyservers.address import Kmip
from services.keyservers.client import by_the_server
from services.vcenter.inventory import change_provider
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.providers.standard import DEFAULT_TIMEOUT, address_of
from services.vcenter.providers.stored_secrets import same_user
from services.vcenter.tables import ClientCertificate, ProviderRow
from services.vcenter.vcenter import VCenter

LONGEST_S: Final = 3600
USER_LIMIT: Final = 256
"""Longest user name in characters."""


def check_entry(server: provider_messages.KmipServer) -> None:
    """``InvalidArgument`` or ``NotAvailable`` unless vCenter supports a server with that entry."""
    if not server.node and not server.address:
        raise InvalidArgument(f"servers: {server.name} has no address")
    if server.proxy_address is not UNSET:
        text = (
            f"proxy_address: {server.name}: proxies are not built; vCenter connects to it directly"
        )
        raise NotAvailable(text)
    by_kmip = isinstance(address_of(server), Kmip)
    if server.timeout == 0:
        raise NotAvailable(
            f"timeout: {server.name}: an entry without any time-out is not built; "
            f"1 to {LONGEST_S} seconds, or {DEFAULT_TIMEOUT}: the default"
        )
    if server.timeout is not UNSET and not DEFAULT_TIMEOUT <= server.timeout <= LONGEST_S:
        raise InvalidArgument(
            f"timeout: {server.name}: 1 to {LONGEST_S} seconds, or {DEFAULT_TIMEOUT}: the default"
        )
    if server.user_name is UNSET:
        return
    if not by_kmip:
        text = f"user_name: {server.name} is reached over the bus, which has no user names"
        raise InvalidArgument(text)
    if not (0 < len(server.user_name) <= USER_LIMIT and server.user_name.isprintable()):
        raise InvalidArgument(f"user_name: {server.name}: 1 to {USER_LIMIT} printable characters")


async def passwords(
    vc: VCenter, message: provider_messages.RegisterKmsCluster, known: ProviderRow | None
) -> dict[str, bytes]:
    """The passwords of the servers with user names, wrapped for the row: new ones, or the kept
    ones.

    ``InvalidArgument`` for a missing one, or one without a user name; ``SaveFailed``.
    """
    given = {} if message.passwords is UNSET else dict(message.passwords.passwords)
    transfer = "" if message.passwords is UNSET else message.passwords.transfer
    key = vc.exports.transfer(transfer) if given else None
    found: dict[str, bytes] = {}
    for server in message.servers:
        if server.user_name is UNSET:
            continue
        box = given.pop(server.name, None)
        if box is not None and key is not None:
            found[server.name] = await vc.providers.logins.wrap_password(
                message.provider, server, key, box
            )
        elif known is not None and any(same_user(server, one) for one in known.servers):
            found[server.name] = known.passwords[server.name]
        else:
            text = f"passwords: {server.user_name} at {server.name} has a password, which lacks"
            raise InvalidArgument(text)
    if given:
        raise InvalidArgument(f"passwords: {', '.join(sorted(given))}: there is no user name")
    return found


TRUSTED_LIMIT = 32
"""Certificates that a provider trusts, at most."""


def retrieve_client(
    vc: VCenter, message: provider_messages.RetrieveClientCert
) -> provider_messages.ClientCert:
    """The certificate that vCenter presents to the servers of the provider."""
    client = _provider(vc, message.provider).client
    return provider_messages.ClientCert() if client is None else _build_client_cert(client)


async def generate_client(
    vc: VCenter, message: provider_messages.GenerateSelfSignedClientCert
) -> provider_messages.ClientCert:
    """Replace the certificate by a new one at once."""
    row = _provider(vc, message.provider)
    made = await vc.providers.certificates.create_self_signed(row.name, message.good_for_s)
    return await _show(vc, row, made)


async def upload_client(
    vc: VCenter, message: provider_messages.UploadClientCert
) -> provider_messages.ClientCert:
    """Replace the certificate by one that was issued elsewhere, with its key."""
    row = _provider(vc, message.provider)
    transfer = vc.exports.transfer(message.transfer)
    try:
        key = transfer.open_box(message.private_key, "private key")
    except CryptographicFailure as error:
        raise InvalidArgument(f"private_key: {error}") from None
    return await _show(
        vc, row, await vc.providers.certificates.wrap_certificate(row.name, message.chain, key)
    )


async def generate_request(
    vc: VCenter, message: provider_messages.GenerateClientCsr
) -> provider_messages.ClientCsr:
    """Replace the key by a new one at once, with a signing request."""
    row = _provider(vc, message.provider)
    made = await vc.providers.certificates.create_signing_request(row.name)
    await _show(vc, row, made)
    return provider_messages.ClientCsr(request=made.request)


def retrieve_request(
    vc: VCenter, message: provider_messages.RetrieveClientCsr
) -> provider_messages.ClientCsr:
    """The pending signing request."""
    client = _provider(vc, message.provider).client
    if client is None or not client.request:
        raise NotFound(f"no signing request was made for key provider {message.provider}")
    return provider_messages.ClientCsr(request=client.request)


async def update_signed(
    vc: VCenter, message: provider_messages.UpdateKmsSignedCsrClientCert
) -> provider_messages.ClientCert:
    """Present the certificate that was issued for the request from now on."""
    row = _provider(vc, message.provider)
    return await _show(
        vc, row, await vc.providers.certificates.accept_signed_chain(row, message.chain)
    )


async def lose_client_key(
    vc: VCenter, message: provider_messages.LoseClientKey
) -> provider_messages.ClientCert:
    """Lose the private key: the certificate stays, but cannot be presented any more."""
    row = _provider(vc, message.provider)
    if row.client is None:
        raise InvalidState(f"vCenter has no certificate for key provider {row.name}")
    return await _show(vc, row, msgspec.structs.replace(row.client, wrapped=b""))


async def lose_passwords(vc: VCenter, message: provider_messages.LoseKmipPasswords) -> Done:
    """Lose the passwords of users at the provider's servers; the user names stay."""
    row = _provider(vc, message.provider)
    if not row.passwords:
        raise InvalidState(f"no server of key provider {row.name} has a user name")
    lost = dict.fromkeys(row.passwords, b"")
    await vc.inventory.commit(change_provider(row.name, passwords=lost))
    await _look(vc, row.name)
    return Done()


async def upload_server(vc: VCenter, message: provider_messages.UploadKmipServerCert) -> Done:
    """Trust a server's certificate; no change when it is trusted already.

    At the limit it replaces a useless one: the earliest with its own subject, which a renewed
    server has presented before, else the earliest that has expired.
    """
    row = _provider(vc, message.provider)
    certificates.load(message.certificate)
    if message.certificate in row.trusted:
        return Done()
    kept = row.trusted
    if len(kept) >= TRUSTED_LIMIT:
        useless = _useless(kept, message.certificate, vc.clock.now())
        if useless is None:
            text = f"{row.name} trusts {TRUSTED_LIMIT} certificates, which is the limit"
            raise InvalidState(text)
        kept = tuple([one for one in kept if one != useless])
    trusted = (*kept, message.certificate)
    await vc.inventory.commit(change_provider(row.name, trusted=trusted))
    vc.vsan_ticker.tick_now()  # hosts of vSAN trust the certificates that vCenter trusts (STD-06)
    await _look(vc, row.name)
    return Done()


def _useless(trusted: Sequence[bytes], new: bytes, now: float) -> bytes | None:
    """A certificate that ``new`` may replace; None: all are in use."""
    subject = certificates.load(new).subject
    earlier = [one for one in trusted if certificates.load(one).subject == subject]
    ended = [one for one in trusted if certificates.validity(one)[1] < now]
    return next(iter((*earlier, *ended)), None)


async def retrieve_server(
    vc: VCenter, message: provider_messages.RetrieveKmipServerCert
) -> provider_messages.ServerCert:
    """Fetch the server's certificate, and check whether each side trusts the other."""
    row = _provider(vc, message.provider)
    server = next((one for one in row.servers if one.name == message.server), None)
    if server is None:
        raise NotFound(f"key provider {row.name} has no server {message.server}")
    address = address_of(server)
    if not isinstance(address, Kmip):
        raise NotAvailable(f"{server.name} is reached over the bus, which needs no certificates")
    shown = await vc.providers.server_certificate(row.name, address)
    trusts, trusted = await _probe_trust(vc, row, server)
    return provider_messages.ServerCert(
        certificate=info(shown), client_trust_server=trusts, server_trust_client=trusted
    )


def info(certificate: bytes) -> provider_messages.CertificateInfo:
    """A certificate (DER) for clients."""
    found = certificates.load(certificate)
    start, end = certificates.validity(certificate)
    return provider_messages.CertificateInfo(
        certificate=certificate,
        subject=found.subject.rfc4514_string(),
        issuer=found.issuer.rfc4514_string(),
        fingerprint=hashlib.sha256(certificate).hexdigest(),
        start=start,
        end=end,
    )


async def _show(
    vc: VCenter, row: ProviderRow, client: ClientCertificate
) -> provider_messages.ClientCert:
    await vc.inventory.commit(change_provider(row.name, client=client))
    await _look(vc, row.name)
    return _build_client_cert(client)


def _build_client_cert(client: ClientCertificate) -> provider_messages.ClientCert:
    return provider_messages.ClientCert(
        certificate=info(client.chain[0]), key_lost=not client.wrapped
    )


async def _look(vc: VCenter, provider: ProviderId) -> None:
    """Check at once whether its servers answer now."""
    await vc.providers.require_provider(provider).health()


async def _probe_trust(
    vc: VCenter, row: ProviderRow, server: provider_messages.KmipServer
) -> tuple[bool, bool | None]:
    """Whether vCenter trusts the server, and the server vCenter."""
    try:
        await vc.providers.ask_server(row.name, address_of(server), DiscoverVersions())
    except TlsFailure as error:
        return (True, False) if by_the_server(error) else (False, None)
    except PermissionDenied:
        return True, False
    except ProductError:
        return True, None
    return True, True


def _provider(vc: VCenter, name: ProviderId) -> ProviderRow:
    row = vc.inventory.providers.get(name)
    if row is None:
        raise NotFound(f"there is no key provider {name}")
    if not CAPABILITIES[row.management_type].has_key_servers:
        raise InvalidArgument(f"provider: vCenter has no key servers of {name}")
    return row
