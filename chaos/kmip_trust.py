"""A vCenter and the KMIP servers of a provider that come to trust each other (STD-03, STD-04)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from chaos.lab import LabUnderTest
from chaos.observe.listing import all_providers
from protocol import scopes
from protocol.crypto.certificates import key_digest
from protocol.crypto.transfer import seal_secret
from protocol.errors import NotFound
from protocol.messages.kms import QueryIdentities, TrustIdentity
from protocol.messages.vcenter import (
    KmipPasswords,
    KmipServer,
    OpenTransfer,
    RegisterKmsCluster,
)
from protocol.messages.vcenter.kmip import (
    LoseKmipPasswords,
    RetrieveClientCert,
    RetrieveKmipServerCert,
    UploadKmipServerCert,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, ProviderId


def as_asked(lab: LabUnderTest, servers: Iterable[NodeName]) -> tuple[KmipServer, ...]:
    """These key servers of the lab as a provider lists them, each as its clients come to it."""
    by_kmip = {entry.node for entry in lab.directory().nodes if entry.by_kmip}
    return tuple(
        KmipServer(name=str(node), node=node, address=f"kmip://{node}" if node in by_kmip else "")
        for node in servers
    )


async def register(
    lab: LabUnderTest, vcenter: NodeName, provider: ProviderId, servers: Iterable[NodeName]
) -> None:
    """Register key servers of the lab as a standard provider, and have both ends trust each other
    where they are asked by KMIP."""
    listed = as_asked(lab, servers)
    await lab.ask(vcenter, RegisterKmsCluster(provider=provider, servers=listed))
    await trust_each_other(lab, vcenter, provider, by_kmip(lab, listed))


def by_kmip(lab: LabUnderTest, servers: Iterable[KmipServer]) -> tuple[NodeName, ...]:
    """Those that are nodes of the lab and are asked by KMIP."""
    there = {entry.node for entry in lab.directory().nodes if entry.by_kmip}
    return tuple(one.node for one in servers if one.node in there and one.address)


async def trust_each_other(
    lab: LabUnderTest,
    vcenter: NodeName,
    provider: ProviderId,
    servers: Iterable[NodeName],
    *,
    like: str = "",
    names: Mapping[NodeName, str] | None = None,
) -> None:
    """Each server is told at its console to take vCenter's certificate, and vCenter to take what
    each of them shows. Repeating it changes nothing, as no servers do. ``like``: the digest of what
    vCenter showed before, whose role and scope it has then. One that a server does not know gets
    the scope of its vCenter. ``names``: of the provider's entries, where they are not the nodes'.
    """
    asked = tuple(servers)
    if not asked:
        return
    shown = (await lab.ask(vcenter, RetrieveClientCert(provider=provider))).certificate
    if shown is None:
        raise NotFound(f"{vcenter} has no certificate for {provider}")
    digest = key_digest(shown.certificate).hex()
    for server in asked:
        clients = (await lab.ask(server, QueryIdentities())).clients
        known = any(one.digest in (digest, like) for one in clients)
        scope = "" if known else scopes.of_vcenter(vcenter)
        message = TrustIdentity(certificate=shown.certificate, scope=scope, like=like)
        await lab.ask(server, message)
        entry = (names or {}).get(server, server)
        found = await lab.ask(vcenter, RetrieveKmipServerCert(provider=provider, server=entry))
        await lab.ask(
            vcenter,
            UploadKmipServerCert(provider=provider, certificate=found.certificate.certificate),
        )


async def enter_password(
    lab: LabUnderTest, vcenter: NodeName, provider: ProviderId, user: str
) -> None:
    """Give vCenter a user name and a password for the servers of a provider that are asked by KMIP,
    as an administrator enters them (STD-01). Key servers of a lab take any user.

    ``NotFound`` when vCenter does not have the provider, or asks none of its servers by KMIP.
    """
    listed = [one for one in await all_providers(lab, vcenter) if one.provider == provider]
    asked = by_kmip(lab, listed[0].servers) if listed else ()
    if not asked:
        raise NotFound(f"{vcenter} asks no server of a key provider {provider} by KMIP")
    servers = tuple(
        msgspec.structs.replace(one, user_name=user) if one.node in asked else one
        for one in listed[0].servers
    )
    opened = await lab.ask(vcenter, OpenTransfer())
    secret = KeyMaterial(f"the password of {user}".encode())
    sealed = {
        one.name: seal_secret(opened.public_key, secret, "password")
        for one in servers
        if one.node in asked
    }
    message = RegisterKmsCluster(
        provider=provider,
        management_type=listed[0].management_type,
        servers=servers,
        passwords=KmipPasswords(transfer=opened.transfer, passwords=sealed),
    )
    await lab.ask(vcenter, message)


async def lose_passwords(lab: LabUnderTest, vcenter: NodeName) -> tuple[ProviderId, ...]:
    """Take the passwords of users at KMIP servers from vCenter; the providers that had some."""
    listed = await all_providers(lab, vcenter)
    having = tuple(
        one.provider for one in listed if any(server.user_name for server in one.servers)
    )
    for provider in having:
        await lab.ask(vcenter, LoseKmipPasswords(provider=provider))
    return having
