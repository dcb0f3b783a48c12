"""What a person gives to reach a key server: its address, and a user name with a password."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lab.schema.errors import KeysteadError
from lab.topology.secret_files import secret_in
from protocol.errors import InvalidArgument
from protocol.kmip.dialect import Login
from protocol.secret import KeyMaterial
from services.keyservers.address import KMIP_PORT, Kmip, parse


class ServerAddress(NamedTuple):
    """A server that is reached over TCP; ``host`` without the brackets of IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def server_addresses(given: Sequence[str]) -> tuple[ServerAddress, ...]:
    """``HOST:PORT`` each, once; the port is KMIP's own when it is left out. KS-USE-003."""
    found = []
    for text in given:
        try:
            one = parse(text if "://" in text else f"kmip://{text}")
        except InvalidArgument:
            one = None
        if not isinstance(one, Kmip):
            raise KeysteadError("KS-USE-003", f"--server {text}: write HOST or HOST:PORT")
        found.append(ServerAddress(one.host, one.port or KMIP_PORT))
    if len(set(found)) != len(found):
        raise KeysteadError("KS-USE-003", "--server: one is named twice")
    return tuple(found)


def login(username: str, password_file: Path | None) -> Login | None:
    """The user name and password of a server's entry; None without a name, and an empty password
    without a file. KS-USE-003 for a file that has none, or cannot be read."""
    if not username:
        if password_file is not None:
            raise KeysteadError("KS-USE-003", "--password-file: name whose it is: --username")
        return None
    password = "" if password_file is None else secret_in(str(password_file))
    return Login(username, KeyMaterial(password.encode()))


def server_login(username: str, password_file: Path | None) -> Login | None:
    """What a server asks its clients for; KS-USE-003 for a user name without a password, which
    would keep nobody out."""
    if username and password_file is None:
        raise KeysteadError("KS-USE-003", "--username: its password is in a file: --password-file")
    return login(username, password_file)
