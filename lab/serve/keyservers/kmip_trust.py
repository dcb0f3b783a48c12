"""Trust between a vCenter and KMIP servers, as administrators of both."""

from __future__ import annotations

import hashlib
import ssl

from chaos.observe.look import all_providers
from lab.building.trust import fetch_certificate
from lab.kmip.credentials import key_in, pem
from lab.schema import commands
from lab.schema.answers.keys import (
    KmsIdentity,
    KmsIdentityList,
    ProviderTrustList,
    ServerTrust,
    SigningRequest,
)
from lab.schema.errors import KeysteadError
from lab.serve.session import LabSession, executes
from lab.serve.views import view
from protocol.crypto.certificates import key_digest, validity
from protocol.crypto.transfer import seal_secret
from protocol.errors import ProductError
from protocol.messages.kms import administration as m
from protocol.messages.vcenter.providers import (
    CertificateInfo,
    GenerateClientCsr,
    GenerateSelfSignedClientCert,
    KmipServer,
    OpenTransfer,
    RetrieveClientCert,
    RetrieveClientCsr,
    RetrieveKmipServerCert,
    UpdateKmsSignedCsrClientCert,
    UploadClientCert,
    UploadKmipServerCert,
)
from protocol.terms import NodeName, ProviderId

# ---- at a key server ---------------------------------------------------------------------


@executes
async def identities(session: LabSession, command: commands.KmsIdentities) -> KmsIdentityList:
    """See ``KmsIdentities``."""
    server = session.key_server(command.kms)
    return _build_identity_list(server, await session.ask(server, m.QueryIdentities()))


@executes
async def trust(session: LabSession, command: commands.KmsTrust) -> KmsIdentityList:
    """See ``KmsTrust``."""
    server = session.key_server(command.kms)
    certificate, role, scope = command.certificate, command.role, command.scope
    if command.provider:
        certificate = (await _client(session, command.provider)).certificate
        scope = scope or await _if_new(session, server, certificate, session.vcenter)
    like = ""
    if command.node:
        node = session.node(command.node)
        if command.renew:
            like = key_digest((await fetch_certificate(session.lab, node)).certificate).hex()
        own = await fetch_certificate(session.lab, node, renew=command.renew)
        certificate, role = own.certificate, command.role or own.role
        scope = scope or ("" if like else await _if_new(session, server, certificate, own.scope))
    message = m.TrustIdentity(certificate=certificate, role=role, scope=scope, like=like)
    return _build_identity_list(server, await session.ask(server, message))


async def _if_new(session: LabSession, server: NodeName, certificate: bytes, scope: str) -> str:
    """The scope of a client that the server does not know; empty for one that it knows."""
    known = (await session.ask(server, m.QueryIdentities())).clients
    digest = key_digest(certificate).hex()
    return "" if any(one.digest == digest for one in known) else scope


@executes
async def revoke(session: LabSession, command: commands.KmsRevoke) -> KmsIdentityList:
    """See ``KmsRevoke``."""
    server = session.key_server(command.kms)
    digest = await _find_client_digest(session, server, command.client)
    return _build_identity_list(server, await session.ask(server, m.RevokeIdentity(digest=digest)))


@executes
async def scope(session: LabSession, command: commands.KmsScope) -> KmsIdentityList:
    """See ``KmsScope``."""
    server = session.key_server(command.kms)
    digest = await _find_client_digest(session, server, command.client)
    message = m.ScopeIdentity(digest=digest, scope=command.scope, role=command.role)
    return _build_identity_list(server, await session.ask(server, message))


async def _find_client_digest(session: LabSession, server: NodeName, client: str) -> str:
    """The digest of a client that is named, or whose digest begins so; KS-USE-002."""
    known = (await session.ask(server, m.QueryIdentities())).clients
    meant = [one.digest for one in known if one.name == client or one.digest.startswith(client)]
    if len(meant) != 1:
        names = ", ".join(f"{one.name} ({one.digest[:16]})" for one in known) or "none"
        which = "several clients are" if meant else "no client is"
        raise KeysteadError("KS-USE-002", f"{which} {client} at {server}: {names}")
    return meant[0]


@executes
async def renew_server(
    session: LabSession, command: commands.KmsRenewCertificate
) -> KmsIdentityList:
    """See ``KmsRenewCertificate``."""
    server = session.key_server(command.kms)
    return _build_identity_list(server, await session.ask(server, m.RenewServerCertificate()))


def _build_identity_list(server: NodeName, found: m.KmipIdentities) -> KmsIdentityList:
    return KmsIdentityList(
        kms=server,
        fingerprint=hashlib.sha256(found.certificate).hexdigest(),
        digest=key_digest(found.certificate).hex(),
        end=validity(found.certificate)[1],
        items=tuple(view(KmsIdentity, one, client=one.name) for one in found.clients),
    )


# ---- at vCenter --------------------------------------------------------------------------


@executes
async def list_trust(session: LabSession, command: commands.ProviderTrust) -> ProviderTrustList:
    """See ``ProviderTrust``."""
    return await _trust(session, command.provider)


@executes
async def trust_servers(
    session: LabSession, command: commands.ProviderTrustServers
) -> ProviderTrustList:
    """See ``ProviderTrustServers``."""
    provider = ProviderId(command.provider)
    found = (
        [command.certificate]
        if command.certificate
        else await _fetch_certificates(session, provider)
    )
    for certificate in found:
        upload = UploadKmipServerCert(provider=provider, certificate=certificate)
        await session.ask(session.vcenter, upload)
    return await _trust(session, command.provider)


async def _fetch_certificates(session: LabSession, provider: ProviderId) -> list[bytes]:
    """What the servers show that answer; the error of the first one when none does."""
    found: list[bytes] = []
    errors: list[ProductError | KeysteadError] = []
    for server in await _kmip_servers(session, provider):
        asked = RetrieveKmipServerCert(provider=provider, server=server.name)
        try:
            found.append((await session.ask(session.vcenter, asked)).certificate.certificate)
        except (ProductError, KeysteadError) as error:
            errors.append(error)
    if errors and not found:
        raise errors[0]
    return found


@executes
async def renew_client(
    session: LabSession, command: commands.ProviderRenewCertificate
) -> ProviderTrustList:
    """See ``ProviderRenewCertificate``."""
    message = GenerateSelfSignedClientCert(provider=ProviderId(command.provider))
    await session.ask(session.vcenter, message)
    return await _trust(session, command.provider)


@executes
async def signing_request(
    session: LabSession, command: commands.ProviderSigningRequest
) -> SigningRequest:
    """See ``ProviderSigningRequest``."""
    provider = ProviderId(command.provider)
    made: GenerateClientCsr | RetrieveClientCsr = RetrieveClientCsr(provider=provider)
    if command.new:
        made = GenerateClientCsr(provider=provider)
    found = (await session.ask(session.vcenter, made)).request
    return SigningRequest(provider=provider, request=pem(found))


@executes
async def upload_certificate(
    session: LabSession, command: commands.ProviderUploadCertificate
) -> ProviderTrustList:
    """See ``ProviderUploadCertificate``."""
    provider = ProviderId(command.provider)
    if not command.key_file:
        signed = UpdateKmsSignedCsrClientCert(provider=provider, chain=command.chain)
        await session.ask(session.vcenter, signed)
        return await _trust(session, command.provider)
    key = key_in(command.key_file, session.files.content(command.key_file).reveal())
    opened = await session.ask(session.vcenter, OpenTransfer())
    upload = UploadClientCert(
        provider=provider,
        chain=command.chain,
        transfer=opened.transfer,
        private_key=seal_secret(opened.public_key, key, "private key"),
    )
    await session.ask(session.vcenter, upload)
    return await _trust(session, command.provider)


async def _trust(session: LabSession, provider: str) -> ProviderTrustList:
    client, key_lost = await _client_and_key(session, provider)
    servers = await _kmip_servers(session, provider)
    return ProviderTrustList(
        provider=provider,
        fingerprint=client.fingerprint,
        digest=key_digest(client.certificate).hex(),
        end=client.end,
        key_lost=key_lost,
        certificate=ssl.DER_cert_to_PEM_cert(client.certificate),
        items=tuple([await _with(session, provider, server.name) for server in servers]),
    )


async def _with(session: LabSession, provider: str, server: str) -> ServerTrust:
    asked = RetrieveKmipServerCert(provider=ProviderId(provider), server=server)
    try:
        found = await session.ask(session.vcenter, asked)
    except (ProductError, KeysteadError) as error:
        return ServerTrust(server=server, reason=str(error))
    return ServerTrust(
        server=server,
        client_trust_server=found.client_trust_server,
        server_trust_client=found.server_trust_client,
        fingerprint=found.certificate.fingerprint,
        digest=key_digest(found.certificate.certificate).hex(),
        end=found.certificate.end,
        certificate=ssl.DER_cert_to_PEM_cert(found.certificate.certificate),
    )


async def _client(session: LabSession, provider: str) -> CertificateInfo:
    return (await _client_and_key(session, provider))[0]


async def _client_and_key(session: LabSession, provider: str) -> tuple[CertificateInfo, bool]:
    """What vCenter shows for the provider, and whether its key is lost; KS-USE-002 when it shows
    nothing."""
    message = RetrieveClientCert(provider=ProviderId(provider))
    found = await session.ask(session.vcenter, message)
    if found.certificate is None:
        raise KeysteadError("KS-USE-002", f"no server of {provider} is asked by KMIP")
    return found.certificate, found.key_lost


async def _kmip_servers(session: LabSession, provider: str) -> tuple[KmipServer, ...]:
    listed = await all_providers(session, session.vcenter)
    return tuple(
        server
        for one in listed
        if one.provider == provider
        for server in one.servers
        if server.address.startswith("kmip:")
    )
