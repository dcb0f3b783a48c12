"""What administrators do in several steps: back up and restore key servers, vCenters and native
providers (NKP-03, NKP-04), make a vCenter and KMIP servers trust each other (STD-03, STD-04),
and install machines anew. Actions, faults, the matrix and the commands of a lab share these
flows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import UNSET

from chaos.lab import LabUnderTest
from chaos.observe.look import all_providers, nodes_of
from protocol import scopes
from protocol.crypto.certificates import key_digest
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.errors import NotFound, ProductError
from protocol.messages.agent import DiskAct, NodeRunState, NodeStatus, TpmAct
from protocol.messages.kms.administration import QueryIdentities, TrustIdentity
from protocol.messages.vcenter import providers as provider_messages
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, ProviderId, Role

RESTORED_OPTION = "restoredBackup"
ACCEPT_OPTION = "acceptRollback"


def together(lab: LabUnderTest, servers: Iterable[NodeName]) -> tuple[NodeName, ...]:
    """``servers`` and those that share a provider with one of them, in order of the directory."""
    entries = lab.directory().nodes
    wanted = set(servers)
    while True:
        providers = {p for e in entries if e.node in wanted for p in e.providers}
        grown = wanted | {e.node for e in entries if providers.intersection(e.providers)}
        if grown == wanted:
            return tuple(e.node for e in entries if e.node in wanted)
        wanted = grown


async def back_up(lab: LabUnderTest, servers: Iterable[NodeName], backup: str) -> None:
    """Take a backup of nodes; those that run are stopped for it, all before the first copy."""
    await _while_off(lab, tuple(servers), DiskAct.SAVE, backup)


async def put_back(lab: LabUnderTest, nodes: Iterable[NodeName], backup: str) -> None:
    """Put a backup back; nodes that ran are started from it, those that were off stay off.

    ``NotFound`` when one of them has no backup of that name: then it is started as it was.
    """
    await _while_off(lab, tuple(nodes), DiskAct.RESTORE, backup)


async def roll_back(lab: LabUnderTest, servers: Iterable[NodeName], backup: str) -> None:
    """Put back the databases of a backup and nothing else, and tell nobody; who ran is started."""
    await _while_off(lab, tuple(servers), DiskAct.RESTORE_DATABASES, backup)


async def accept(lab: LabUnderTest, servers: Iterable[NodeName]) -> None:
    """Have servers that stand at their screen serve from the database that they found."""
    for server in servers:
        if (await lab.status(server)).state is NodeRunState.HALTED:
            await lab.power_off(server, "power_loss")
            await lab.power_on(server, {ACCEPT_OPTION: "true"})


async def _while_off(
    lab: LabUnderTest, nodes: tuple[NodeName, ...], act: DiskAct, backup: str
) -> None:
    """Do it to the disk of each; those that ran are started again, whatever came of it."""
    ran = await _stop_nodes(lab, nodes)
    try:
        for node in nodes:
            await lab.disk(node, act, backup)
    finally:
        await _start_nodes(lab, dict.fromkeys(ran))


async def restore(lab: LabUnderTest, servers: Iterable[NodeName], backup: str) -> None:
    """Put a backup back, and start the servers from it.

    ``NotFound`` when one of them has no backup of that name: then those that ran are started
    again, and those whose disks were put back before are told so.
    """
    nodes = tuple(servers)
    ran = await _stop_nodes(lab, nodes)
    restored: list[NodeName] = []
    try:
        for node in nodes:
            await lab.disk(node, DiskAct.RESTORE, backup)
            restored.append(node)
    finally:
        told = {RESTORED_OPTION: backup}
        wanted = {node: told if node in restored else None for node in nodes}
        await _start_nodes(lab, {n: how for n, how in wanted.items() if how or n in ran})


async def _start_nodes(lab: LabUnderTest, nodes: Mapping[NodeName, dict[str, str] | None]) -> None:
    """Power them on with these options, one after another. One that cannot be had again keeps no
    other off; the first error is raised when all have been tried."""
    errors: list[ProductError] = []
    for node, options in nodes.items():
        try:
            await lab.power_on(node, options)
        except ProductError as error:
            errors.append(error)
    if errors:
        raise errors[0]


async def _stop_nodes(lab: LabUnderTest, nodes: tuple[NodeName, ...]) -> tuple[NodeName, ...]:
    """Those that were not off, in order; all are off now."""
    ran = []
    for node in nodes:
        if (await lab.status(node)).state is not NodeRunState.OFF:
            ran.append(node)
    for node in ran:
        await lab.power_off(node, "stop")
    return tuple(ran)


async def take_backup(
    lab: LabUnderTest,
    vcenter: NodeName,
    provider: ProviderId,
    password: str = "",
    *,
    authority: str | None = None,
) -> KeyMaterial:
    """The PKCS#12 file of a native provider, which counts as backed up then.

    ``authority``: by what vCenter is reached; by its name when it is None. ``InvalidArgument`` for
    anything else, and for another kind of provider, ``NotFound`` when there is none.
    """
    transfer, box = "", b""
    if password:
        opened = await lab.ask(vcenter, provider_messages.OpenTransfer())
        transfer = opened.transfer
        box = seal_secret(opened.public_key, KeyMaterial(password.encode()), "password")
    export = provider_messages.ExportProvider(
        provider=provider,
        transfer=transfer,
        password=box,
        authority=UNSET if authority is None else authority,
    )
    location = await lab.ask(vcenter, export)
    mine = OneTimeKey()
    found = await lab.ask(
        vcenter, provider_messages.DownloadExport(token=location.token, recipient=mine.public)
    )
    return mine.open_box(found.config, "backup")


async def import_backup(
    lab: LabUnderTest,
    vcenter: NodeName,
    backup: KeyMaterial,
    password: str = "",
    *,
    make_default: bool = False,
    dry_run: bool = False,
) -> provider_messages.ProviderImported:
    """Make a provider of a backup. ``AlreadyExists`` for a name that is taken, ``InvalidArgument``
    for a wrong password or file."""
    opened = await lab.ask(vcenter, provider_messages.OpenTransfer())
    secret = KeyMaterial(password.encode())
    message = provider_messages.ImportProvider(
        transfer=opened.transfer,
        config=seal_secret(opened.public_key, backup, "backup"),
        password=seal_secret(opened.public_key, secret, "password") if password else b"",
        make_default=make_default,
        dry_run=dry_run,
    )
    return await lab.ask(vcenter, message)


def updating(provider: str, key_id: str, name: str) -> provider_messages.UpdateNativeProvider:
    """Give the KDK of a native provider another id (NKP-01), which its next backup is to have.

    ``key_id`` empty: one that is made of ``name``, a name that nothing else has.
    """
    fresh = str(uuid.uuid5(uuid.NAMESPACE_URL, f"keystead:{name}"))
    return provider_messages.UpdateNativeProvider(
        provider=ProviderId(provider), key_id=key_id or fresh
    )


def as_asked(
    lab: LabUnderTest, servers: Iterable[NodeName]
) -> tuple[provider_messages.KmipServer, ...]:
    """These key servers of the lab as a provider lists them, each as its clients come to it."""
    by_kmip = {entry.node for entry in lab.directory().nodes if entry.by_kmip}
    return tuple(
        provider_messages.KmipServer(
            name=str(node), node=node, address=f"kmip://{node}" if node in by_kmip else ""
        )
        for node in servers
    )


async def register(
    lab: LabUnderTest, vcenter: NodeName, provider: ProviderId, servers: Iterable[NodeName]
) -> None:
    """Register key servers of the lab as a standard provider, and have both ends trust each other
    where they are asked by KMIP."""
    listed = as_asked(lab, servers)
    await lab.ask(vcenter, provider_messages.RegisterKmsCluster(provider=provider, servers=listed))
    await trust_each_other(lab, vcenter, provider, by_kmip(lab, listed))


def by_kmip(
    lab: LabUnderTest, servers: Iterable[provider_messages.KmipServer]
) -> tuple[NodeName, ...]:
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
    shown = (
        await lab.ask(vcenter, provider_messages.RetrieveClientCert(provider=provider))
    ).certificate
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
        found = await lab.ask(
            vcenter, provider_messages.RetrieveKmipServerCert(provider=provider, server=entry)
        )
        await lab.ask(
            vcenter,
            provider_messages.UploadKmipServerCert(
                provider=provider, certificate=found.certificate.certificate
            ),
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
    opened = await lab.ask(vcenter, provider_messages.OpenTransfer())
    secret = KeyMaterial(f"{user}'s secret".encode())  # no message has these words
    sealed = {
        one.name: seal_secret(opened.public_key, secret, "password")
        for one in servers
        if one.node in asked
    }
    message = provider_messages.RegisterKmsCluster(
        provider=provider,
        management_type=listed[0].management_type,
        servers=servers,
        passwords=provider_messages.KmipPasswords(transfer=opened.transfer, passwords=sealed),
    )
    await lab.ask(vcenter, message)


async def lose_passwords(lab: LabUnderTest, vcenter: NodeName) -> tuple[ProviderId, ...]:
    """Take the passwords of users at KMIP servers from vCenter; the providers that had some."""
    listed = await all_providers(lab, vcenter)
    having = tuple(
        one.provider for one in listed if any(server.user_name for server in one.servers)
    )
    for provider in having:
        await lab.ask(vcenter, provider_messages.LoseKmipPasswords(provider=provider))
    return having


async def install_anew(lab: LabUnderTest, node: NodeName, *, leftover: bool = False) -> NodeStatus:
    """Power a node off, wipe its disk, and power it on; its TPM stays as it was.

    ``leftover``: a key of the old installation lies in the TPM where the new one keeps its storage
    root key, so that it cannot seal anything (CFG-01).
    """
    state = (await lab.status(node)).state
    if state is not NodeRunState.OFF:
        await lab.power_off(node, "stop" if state is NodeRunState.RUNNING else "power_loss")
    await lab.disk(node, DiskAct.WIPE, "")
    if leftover:
        await lab.tpm(node, TpmAct.OCCUPY)
    return await lab.power_on(node)


async def renew_services(lab: LabUnderTest, services: Sequence[NodeName]) -> None:
    """Install services of a Trust Authority anew, one after another: each makes itself another
    certificate and group, and is given its configuration by its vCenter.

    ``NotFound``, before anything is done, for a node that is no such service.
    """
    known = {*nodes_of(lab, Role.ATTESTATION), *nodes_of(lab, Role.KEYPROVIDER)}
    if others := [str(node) for node in services if node not in known]:
        raise NotFound(f"no service of a Trust Authority: {', '.join(others)}")
    for service in services:
        await install_anew(lab, service)


async def restore_vcenter(
    lab: LabUnderTest, vcenter: NodeName, backup: str
) -> tuple[ProviderId, ...]:
    """Put a backup of a vCenter back; the key providers that it does not know any more.

    A vCenter that was off stays off, and tells of none. ``NotFound`` without such a backup.
    """
    before = await _providers(lab, vcenter)
    await put_back(lab, (vcenter,), backup)
    after = await _providers(lab, vcenter)
    return () if after is None else tuple(sorted((before or set()) - after))


async def _providers(lab: LabUnderTest, vcenter: NodeName) -> set[ProviderId] | None:
    """Those that it knows; None when it does not answer."""
    try:
        return {one.provider for one in await all_providers(lab, vcenter)}
    except ProductError:
        return None
