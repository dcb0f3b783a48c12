"""The entries of a provider's servers: time-out, user name and password (STD-01)."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from chaos.observe.listing import all_providers
from lab.schema import commands
from lab.schema.answers import Provider
from lab.schema.commands.keys import Entry, ProviderKeys
from lab.schema.errors import KeysteadError
from lab.serve.executing import executes
from lab.serve.session import LabSession
from lab.serve.views import provider_view
from protocol.crypto.transfer import seal_secret
from protocol.messages.vcenter import (
    KeySpec,
    KmipPasswords,
    KmipServer,
    OpenTransfer,
    ProviderInfo,
    RegisterKmsCluster,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KeyType


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
