"""Keys at their key servers, for the operator of these, what seals them, and key providers of
vCenter: the entries of their servers (time-out, user name, password; STD-01), and native
providers, made, changed, exported and imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from chaos import administration
from chaos.administration import import_backup, take_backup, updating
from chaos.observe.look import all_providers
from lab.building.trust import list_kmip_servers, trust_each_other
from lab.schema import commands
from lab.schema.answers import (
    Fault,
    Key,
    KeyAttribute,
    KeyBackup,
    KeyServer,
    Provider,
    ProviderBackup,
)
from lab.schema.commands.keys import BUS, KMIP, Entry, ProviderKeys, split_server
from lab.schema.errors import KeysteadError
from lab.serve.faults import begin
from lab.serve.look import key_server
from lab.serve.session import LabSession, executes
from lab.serve.views import provider_view, view
from protocol.attributes import GRANTED_SCOPE, ObjectName, format_value
from protocol.crypto.provider_backup import read_backup
from protocol.crypto.transfer import seal_secret
from protocol.errors import InvalidArgument, InvalidState
from protocol.messages.kms.administration import (
    ChangeRoot,
    OpenRootTransfer,
    QueryCustody,
    RotateKek,
)
from protocol.messages.kms.keys import (
    Activate,
    AddAttribute,
    DeleteAttribute,
    GetAttributes,
    GetKeyAttributes,
    KeyAttributes,
)
from protocol.messages.vcenter.providers import (
    CreateNativeProvider,
    KeySpec,
    KmipPasswords,
    KmipServer,
    MarkDefault,
    OpenTransfer,
    ProviderInfo,
    RegisterKmsCluster,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KeyType, NodeName, ProviderId, RootKind
from services.keyservers.address import Kmip, parse


@executes
async def rotate(session: LabSession, command: commands.KmsRotateKek) -> KeyServer:
    """See ``KmsRotateKek``."""
    server = session.key_server(command.kms)
    now = await session.ask(server, QueryCustody())
    await session.ask(server, RotateKek(after=now.kek))
    return await key_server(session, server)


@executes
async def set_root(session: LabSession, command: commands.KmsSetRoot) -> KeyServer:
    """See ``KmsSetRoot``."""
    server, box = session.key_server(command.kms), b""
    if command.root is RootKind.PASSPHRASE:
        passphrase = KeyMaterial(session.files.secret(command.passphrase_file).encode())
        public = (await session.ask(server, OpenRootTransfer())).public_key
        box = seal_secret(public, passphrase, "passphrase")
    try:
        await session.ask(server, ChangeRoot(root=command.root, passphrase=box))
    except InvalidArgument as error:
        text = f"{command.passphrase_file}: {error}"
        raise KeysteadError("KS-USE-003", text, "put another one into its first line") from None
    except InvalidState as error:
        fix = f"keystead get kms {server} -o wide says which it has"
        raise KeysteadError("KS-PRODUCT-001", f"{server}: {error}", fix) from None
    return await key_server(session, server)


def apply_entry(server: KmipServer, entry: Entry) -> KmipServer:
    """That server, with what is said of its entry; the rest stays."""
    changes: dict[str, object] = {}
    if entry.timeout is not None:
        changes["timeout"] = entry.timeout
    if entry.user is not None:
        changes["user_name"] = entry.user or UNSET
    if entry.proxy:
        changes["proxy_address"] = entry.proxy
    return replace(server, **changes)


async def passwords(
    session: LabSession, servers: Iterable[KmipServer], entry: Entry
) -> KmipPasswords | UnsetType:
    """The password of the entry's file for these servers, sealed to vCenter; nothing without one.
    KS-USE-003 for a file without a password."""
    if not entry.password_file:
        return UNSET
    secret = KeyMaterial(session.files.secret(entry.password_file).encode())
    opened = await session.ask(session.vcenter, OpenTransfer())
    return KmipPasswords(
        transfer=opened.transfer,
        passwords={one.name: seal_secret(opened.public_key, secret, "password") for one in servers},
    )


def key_spec(keys: ProviderKeys) -> KeySpec | UnsetType:
    """What is asked for of a provider's new keys; nothing without a type."""
    if not keys.key_type:
        return UNSET
    return KeySpec(
        key_type=KeyType(keys.key_type),
        wrapping_key=KeyId(keys.wrapping_key),
        rotation_days=keys.rotation_days,
    )


async def fetch_provider(session: LabSession, provider: str) -> ProviderInfo:
    """The provider as vCenter has it; KS-USE-002 when it has none of that name."""
    found = await all_providers(session, session.vcenter)
    for one in found:
        if one.provider == provider:
            return one
    there = ", ".join(str(one.provider) for one in found) or "none"
    raise KeysteadError("KS-USE-002", f"there is no provider {provider}; there are: {there}")


@executes
async def provider_set(session: LabSession, command: commands.ProviderSet) -> Provider:
    """See ``ProviderSet``."""
    known = await fetch_provider(session, command.provider)
    names = [server.name for server in known.servers]
    for name in command.servers:
        if name not in names:
            text = f"{command.provider} has no server {name}; there are: {', '.join(names)}"
            raise KeysteadError("KS-USE-002", text)
    meant = [s for s in known.servers if not command.servers or s.name in command.servers]
    servers = tuple([apply_entry(s, command.entry) if s in meant else s for s in known.servers])
    message = RegisterKmsCluster(
        provider=known.provider,
        management_type=known.management_type,
        servers=servers,
        passwords=await passwords(session, meant, command.entry),
        keys=key_spec(command.keys),
    )
    return provider_view((await session.ask(session.vcenter, message)).provider)


@contextmanager
def _suggest_fix(fix: str) -> Iterator[None]:
    """Add the fix to the error for an argument that vCenter refuses."""
    try:
        yield
    except InvalidArgument as error:
        raise KeysteadError("KS-USE-003", str(error), fix) from None


@executes
async def create(session: LabSession, command: commands.ProviderCreate) -> Provider:
    """See ``ProviderCreate``."""
    message = CreateNativeProvider(
        provider=ProviderId(command.provider),
        key_id=command.key_id,
        tpm_required=command.tpm_required,
        make_default=command.default,
    )
    with _suggest_fix("give --key-id a UUID that is not all zeros, or leave it out"):
        return provider_view((await session.ask(session.vcenter, message)).provider)


@executes
async def update(session: LabSession, command: commands.ProviderUpdate) -> Provider:
    """See ``ProviderUpdate``."""
    message = updating(command.provider, command.key_id, session.lab.operation_id())
    with _suggest_fix("name a native key provider, and a UUID that is not all zeros"):
        return provider_view((await session.ask(session.vcenter, message)).provider)


@executes
async def export(session: LabSession, command: commands.ProviderExport) -> ProviderBackup:
    """See ``ProviderExport``. The client has made the file before, with room for the backup,
    because vCenter counts a download as a backup."""
    password = _password(session, command.password_file)
    provider = ProviderId(command.provider)
    backup = await take_backup(session.lab, session.vcenter, provider, password)
    found = read_backup(backup.reveal(), password)
    session.files.write(command.file, backup)
    return view(ProviderBackup, found, file=command.file)


@executes
async def import_(session: LabSession, command: commands.ProviderImport) -> ProviderBackup:
    """See ``ProviderImport``."""
    password = _password(session, command.password_file)
    backup = session.files.content(command.file)
    lab = session.lab
    given = "the password in --password-file" if password else "no password"
    with _suggest_fix(f"{command.file} was read with {given}: give the one that it was made with"):
        done = await import_backup(
            lab,
            session.vcenter,
            backup,
            password,
            make_default=command.default,
            dry_run=command.dry_run,
        )
    return ProviderBackup(
        provider=done.provider,
        file=command.file,
        key_id=done.key_id,
        exported_at=done.export_time,
        tpm_required=done.tpm_required,
        imported=done.state is not None,
    )


def _password(session: LabSession, path: str) -> str:
    """Empty without a file. A file has a password, or the backup would be in clear against what
    was asked for."""
    return session.files.secret(path) if path else ""


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
    await administration.back_up(session.lab, servers, command.backup)
    return KeyBackup(backup=command.backup, kms=servers)


@executes
async def restore(session: LabSession, command: commands.KmsRestore) -> KeyBackup:
    """See ``KmsRestore``."""
    servers = _servers(session, command.kms)
    for server in servers:
        await session.lab.check_room(server, to_copy=True)
    await administration.restore(session.lab, servers, command.backup)
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
    return administration.together(session.lab, chosen)


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
