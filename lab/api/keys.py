"""Key servers at their operator's door, and key providers of vCenter."""

from __future__ import annotations

from typing import Any

import msgspec

from lab.api.look import provider_row
from lab.api.table import Session, verb
from lab.errors import KeysteadError
from protocol.messages.kms import Activate, Destroy, GetAttributes, Revoke
from protocol.messages.vcenter import KmipServer, MarkDefault, RegisterKmsCluster
from protocol.terms import KeyId, NodeName, ProviderId, RevocationReason

Row = dict[str, Any]


class KeyArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``key`` as id or as provider/id; ``kms`` empty: the server that has it."""

    key: str
    kms: str = ""
    reason: str = "Unspecified"


async def _find(session: Session, arguments: KeyArgument) -> tuple[NodeName, KeyId]:
    key = KeyId(arguments.key.rsplit("/", 1)[-1])
    servers = (session.node(arguments.kms),) if arguments.kms else session.key_servers()
    for server in servers:
        if (await session.lab.ask(server, GetAttributes(key_ids=(key,)))).keys:
            return server, key
    raise KeysteadError("KS-USE-002", f"no key server has the key {key}")


@verb("kms.key.show", KeyArgument)
async def show(session: Session, arguments: KeyArgument) -> Row:
    server, key = await _find(session, arguments)
    found = await session.lab.ask(server, GetAttributes(key_ids=(key,)))
    return {"kind": "Key", "kms": server, **msgspec.to_builtins(found.keys[0])}


@verb("kms.key.activate", KeyArgument, changes=True)
async def activate(session: Session, arguments: KeyArgument) -> Row:
    server, key = await _find(session, arguments)
    await session.lab.ask(server, Activate(key_id=key))
    return await show(session, arguments)


@verb("kms.key.revoke", KeyArgument, changes=True)
async def revoke(session: Session, arguments: KeyArgument) -> Row:
    """KMIP Revoke with a reason; a compromise makes the key Compromised, else Deactivated."""
    try:
        reason = RevocationReason(arguments.reason)
    except ValueError:
        known = ", ".join(RevocationReason)
        raise KeysteadError("KS-USE-003", f"reason {arguments.reason!r}: one of {known}") from None
    server, key = await _find(session, arguments)
    await session.lab.ask(server, Revoke(key_id=key, reason=reason))
    return await show(session, arguments)


@verb("kms.key.destroy", KeyArgument, changes=True)
async def destroy(session: Session, arguments: KeyArgument) -> Row:
    server, key = await _find(session, arguments)
    await session.lab.ask(server, Destroy(key_id=key))
    return await show(session, arguments)


class ProviderArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: str
    servers: tuple[str, ...] = ()
    default: bool = False


@verb("provider.add", ProviderArgument, changes=True)
async def add(session: Session, arguments: ProviderArgument) -> Row:
    """Register a standard provider; re-adding under the old name restores it (LOCK-06)."""
    servers = [session.node(s) for s in arguments.servers]
    state = await session.lab.ask(
        session.lab.vcenter,
        RegisterKmsCluster(
            provider=ProviderId(arguments.provider),
            servers=tuple(KmipServer(name=str(s), node=s) for s in servers),
            make_default=arguments.default,
        ),
    )
    return {"kind": "Provider", **provider_row(state.provider)}


@verb("provider.default", ProviderArgument, changes=True)
async def default(session: Session, arguments: ProviderArgument) -> Row:
    message = MarkDefault(provider=ProviderId(arguments.provider))
    state = await session.lab.ask(session.lab.vcenter, message)
    return {"kind": "Provider", **provider_row(state.provider)}
