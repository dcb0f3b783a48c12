"""User names and passwords in entries of KMIP servers (STD-01), as stored in the inventory.

A password is wrapped under vCenter's own key (``symkey``), bound to its provider, server, address
and user name: in the row of another server it does not open.
"""

from __future__ import annotations

from typing import Final

from protocol.crypto.transfer import OneTimeKey
from protocol.errors import CryptographicFailure, InvalidArgument, InvalidState
from protocol.kmip.dialect import Login
from protocol.messages.vcenter import KmipServer
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId
from services.vcenter.providers.symkey import Symkey
from services.vcenter.tables import ProviderRow

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
        return await self._symkey.wrap(password, _aad(provider, server))

    def login(self, row: ProviderRow, server: KmipServer) -> Login | None:
        """The login at this server; None without a user name.

        ``InvalidState`` when the password is missing or cannot be opened any more.
        """
        if not server.user_name:
            return None
        if not row.passwords.get(server.name):
            raise InvalidState(f"the password of {server.user_name} at {server.name} is missing")
        try:
            password = self._symkey.unwrap(row.passwords[server.name], _aad(row.name, server))
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


def _aad(provider: ProviderId, server: KmipServer) -> bytes:
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
