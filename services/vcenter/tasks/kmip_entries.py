"""The entries of a provider's servers: which fields are supported, and their passwords (STD-01)."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from protocol.errors import InvalidArgument, NotAvailable
from protocol.messages.vcenter import KmipServer, RegisterKmsCluster
from services.keyservers.address import Kmip
from services.vcenter.providers.logins import same_user
from services.vcenter.providers.standard import DEFAULT_TIMEOUT, address_of
from services.vcenter.tables import ProviderRow
from services.vcenter.vcenter import VCenter

LONGEST_S: Final = 3600
USER_LIMIT: Final = 256
"""Longest user name in characters."""


def check_entry(server: KmipServer) -> None:
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
    vc: VCenter, message: RegisterKmsCluster, known: ProviderRow | None
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
