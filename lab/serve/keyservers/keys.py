"""Keys at their key servers, as the operator of these, and key providers of vCenter."""

from __future__ import annotations

from typing import Final

from chaos import backups
from chaos.observe.listing import all_providers
from lab.building.kmip_trust import list_kmip_servers, trust_each_other
from lab.schema import commands
from lab.schema.answers import Fault, Key, KeyAttribute, KeyBackup, Provider
from lab.schema.commands.keys import BUS, KMIP, split_server
from lab.schema.errors import KeysteadError
from lab.serve.executing import executes
from lab.serve.faults import begin
from lab.serve.keyservers.entries import apply_entry, key_spec, passwords
from lab.serve.session import LabSession
from lab.serve.views import provider_view, view
from protocol.attributes import GRANTED_SCOPE, ObjectName, format_value
from protocol.errors import InvalidArgument
from protocol.messages.kms import (
    Activate,
    AddAttribute,
    DeleteAttribute,
    GetAttributes,
    GetKeyAttributes,
    KeyAttributes,
)
from protocol.messages.vcenter import KmipServer, MarkDefault, RegisterKmsCluster
from protocol.terms import KeyId, NodeName, ProviderId
from services.keyservers.address import Kmip, parse

# ---- keys --------------------------------------------------------------------------------


@executes
async def show(session: LabSession, command: commands.KmsKeyShow) -> Key:
    """See ``KmsKeyShow``."""
    return await _key(session, *await _find(session, command.key, command.kms))


@executes
async def activate(session: LabSession, command: commands.KmsKeyActivate) -> Key:
    """See ``KmsKeyActivate``."""
    server, found = await _find(session, command.key, command.kms)
    await session.ask(server, Activate(key_id=found.key_id))
    return await _key(session, *await _find(session, found.key_id, server))


@executes
async def grant(session: LabSession, command: commands.KmsKeyGrant) -> Key:
    """See ``KmsKeyGrant``."""
    having = await _having(session, command.key, command.kms)
    for server, found in having:
        message = AddAttribute(key_id=found.key_id, name=GRANTED_SCOPE, value=command.scope)
        await session.ask(server, message)
    return await _key(session, *having[0])


@executes
async def ungrant(session: LabSession, command: commands.KmsKeyUngrant) -> Key:
    """See ``KmsKeyUngrant``."""
    having = await _having(session, command.key, command.kms)
    for server, found in having:
        asked = GetKeyAttributes(key_id=found.key_id, names=(GRANTED_SCOPE,))
        for one in (await session.ask(server, asked)).attributes:
            if one.value == command.scope:
                message = DeleteAttribute(key_id=found.key_id, name=one.name, index=one.index)
                await session.ask(server, message)
    return await _key(session, *having[0])


@executes
async def revoke(session: LabSession, command: commands.KmsKeyRevoke) -> Fault:
    """See ``KmsKeyRevoke``."""
    state = "compromise" if command.compromised else "deactivate"
    return await _begin_key_state(session, command.key, state)


@executes
async def destroy(session: LabSession, command: commands.KmsKeyDestroy) -> Fault:
    """See ``KmsKeyDestroy``."""
    return await _begin_key_state(session, command.key, "destroy")


async def _begin_key_state(session: LabSession, key: str, state: str) -> Fault:
    """A key that is unknown is a wrong name, not a fault that could not act."""
    _, found = await _find(session, key, "")
    return await begin(session, "kms.key_state", {"keys": [found.key_id], "state": state})


_FIELDS: Final = (
    "Unique Identifier",
    "Name",
    "State",
    "Cryptographic Algorithm",
    "Cryptographic Length",
    "Cryptographic Usage Mask",
    "Initial Date",
    "Activation Date",
    "Deactivation Date",
    "Compromise Date",
    "Destroy Date",
    "Last Change Date",
)
"""Attributes that have a field of their own in ``Key``."""


async def _find(session: LabSession, key: str, kms: str) -> tuple[NodeName, KeyAttributes]:
    """The server that has the key, and its attributes there; KS-USE-002 when none has it."""
    key_id = KeyId(key.rsplit("/", 1)[-1])
    for server in (session.node(kms),) if kms else session.key_servers():
        found = (await session.ask(server, GetAttributes(key_ids=(key_id,)))).keys
        if found:
            return server, found[0]
    raise KeysteadError("KS-USE-002", f"no key server has the key {key_id}")


async def _having(session: LabSession, key: str, kms: str) -> list[tuple[NodeName, KeyAttributes]]:
    """All servers that have the key, or ``kms`` alone; KS-USE-002 when none has it."""
    first = await _find(session, key, kms)
    others = [] if kms else [server for server in session.key_servers() if server != first[0]]
    having = [first]
    for server in others:
        found = (await session.ask(server, GetAttributes(key_ids=(first[1].key_id,)))).keys
        having += [(server, one) for one in found]
    return having


async def _key(session: LabSession, server: NodeName, found: KeyAttributes) -> Key:
    told = await session.ask(server, GetKeyAttributes(key_id=found.key_id))
    names = [one.value.value for one in told.attributes if isinstance(one.value, ObjectName)]
    others = [one for one in told.attributes if one.name not in _FIELDS]
    attributes = [view(KeyAttribute, one, value=format_value(one.value)) for one in others]
    return view(Key, found, kms=server, names=tuple(names), attributes=tuple(attributes))


# ---- backups -----------------------------------------------------------------------------


@executes
async def backup(session: LabSession, command: commands.KmsBackup) -> KeyBackup:
    """See ``KmsBackup``."""
    servers = _servers(session, command.kms)
    for server in servers:
        await session.lab.check_room(server, to_copy=True)
    await backups.back_up(session.lab, servers, command.backup)
    return KeyBackup(backup=command.backup, kms=servers)


@executes
async def restore(session: LabSession, command: commands.KmsRestore) -> KeyBackup:
    """See ``KmsRestore``."""
    servers = _servers(session, command.kms)
    for server in servers:
        await session.lab.check_room(server, to_copy=True)
    await backups.restore(session.lab, servers, command.backup)
    return KeyBackup(backup=command.backup, kms=servers)


def _servers(session: LabSession, names: tuple[str, ...]) -> tuple[NodeName, ...]:
    """The key servers meant, with those that replicate with them; KS-USE-002 when there is none,
    or a node is no key server."""
    known = session.key_servers()
    chosen = session.nodes(names) if names else known
    wrong = [str(node) for node in chosen if node not in known]
    if wrong or not chosen:
        text = f"no key server: {', '.join(wrong)}" if wrong else "the lab has no key server"
        raise KeysteadError("KS-USE-002", text)
    return backups.together(session.lab, chosen)


# ---- providers ---------------------------------------------------------------------------


@executes
async def provider_add(session: LabSession, command: commands.ProviderAdd) -> Provider:
    """See ``ProviderAdd``."""
    name = ProviderId(command.provider)
    servers = tuple(
        apply_entry(_parse_server(session, one), command.entry) for one in command.servers
    )
    message = RegisterKmsCluster(
        provider=name,
        servers=servers,
        make_default=command.default,
        passwords=await passwords(session, servers, command.entry),
        keys=key_spec(command.keys),
    )
    state = await session.ask(session.vcenter, message)
    own = {server.node: server.name for server in servers if server.node and server.address}
    if not own:
        return provider_view(state.provider)
    await trust_each_other(session.lab, session.vcenter, name, own, own)
    listed = await all_providers(session, session.vcenter)
    return provider_view(next(one for one in listed if one.provider == name))


def _parse_server(session: LabSession, server: str) -> KmipServer:
    """A server as vCenter is to ask it; KS-USE-002 for an unknown node, KS-USE-003."""
    name, text = split_server(server)
    if not text.startswith(KMIP):
        node = session.node(text.removeprefix(BUS))
        if text.startswith(BUS) and list_kmip_servers(session.lab, (node,)):
            raise KeysteadError(
                "KS-USE-003",
                f"--server {text}: {node} takes clients by KMIP alone: --server {node}",
            )
        address = f"{KMIP}{node}" if list_kmip_servers(session.lab, (node,)) else ""
        return KmipServer(name=name or node, node=node, address=address)
    try:
        to = parse(text)
    except InvalidArgument as error:
        raise KeysteadError("KS-USE-003", f"--server {text}: {error}") from None
    if not isinstance(to, Kmip) or to.port is None:
        raise KeysteadError(
            "KS-USE-003", f"--server {text}: a server outside has a port: kmip://HOST:PORT"
        )
    return KmipServer(name=name or text.removeprefix(KMIP).rstrip("/"), address=text)


@executes
async def provider_default(session: LabSession, command: commands.ProviderDefault) -> Provider:
    """See ``ProviderDefault``."""
    message = MarkDefault(provider=ProviderId(command.provider))
    return provider_view((await session.ask(session.vcenter, message)).provider)


@executes
async def provider_delete(session: LabSession, command: commands.ProviderDelete) -> Fault:
    """See ``ProviderDelete``."""
    listed = await all_providers(session, session.vcenter)
    known = [str(p.provider) for p in listed]
    if command.provider not in known:
        there = ", ".join(known) or "none"
        text = f"there is no provider {command.provider}; there are: {there}"
        raise KeysteadError("KS-USE-002", text)
    at = {"vcenter": str(session.chosen)} if session.chosen else {}
    return await begin(session, "provider.delete", {"provider": command.provider, **at})
