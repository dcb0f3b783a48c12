"""Addresses of servers of a bus that somebody else runs, and of machines, as people write them."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from pydantic_core import PydanticCustomError

MOST: Final = 16
_LARGEST_PORT: Final = 65_535
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_FORM: Final = "nats://HOST:PORT or tls://HOST:PORT, several with commas between them"


def bus_url(value: str) -> str:
    """Each address with its scheme, with commas between them; empty stays empty.

    ``PydanticCustomError`` for what is none. Who may log in goes by keys, so a name or a password
    in an address is refused.
    """
    if not value:
        return ""
    scheme, _, rest = value.partition("://")
    if scheme not in ("nats", "tls"):
        raise _wrong(f"{value!r} is no address of a bus: {_FORM}")
    found: list[str] = []
    for part in rest.split(","):
        address = part.strip()
        other, between, bare = address.partition("://")
        if between and other != scheme:
            raise _wrong(f"{address}: all servers of a bus are reached by {scheme}://")
        found.append(f"{scheme}://{_host_and_port(bare if between else address)}")
    if len(set(found)) != len(found) or len(found) > MOST:
        raise _wrong(f"each address once, at most {MOST}")
    return ",".join(found)


def gate_address(value: str) -> str:
    """HOST or HOST:PORT, the port 0 when there is none; empty stays empty, and so does what this
    function has returned: a lab's folder keeps it in that form."""
    if not value:
        return ""
    value = value.removesuffix(":0")
    alone = _NAME.fullmatch(value) or (value.startswith("[") and value.endswith("]"))
    host = _host_and_port(f"{value}:1" if alone else value, "HOST or HOST:PORT")
    return f"{host.rpartition(':')[0]}:0" if alone else host


def _host_and_port(text: str, form: str = _FORM) -> str:
    host, _, port = text.rpartition(":")
    if "@" in text:
        raise _wrong("an address has no user and no password: nodes log in with their keys")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not (_NAME.fullmatch(host) if bare == host else _is_ipv6(bare))
        or not port.isascii()
        or not port.isdecimal()
        or not 0 < int(port[:6]) <= _LARGEST_PORT
    ):
        raise _wrong(f"{text!r} is no HOST:PORT: {form}")
    return f"{host.lower() if bare == host else host}:{int(port)}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return text.isascii() and text.isprintable() and not set(text) & set("/?# ")


def _wrong(text: str) -> PydanticCustomError:
    return PydanticCustomError("bus", "{text}", {"text": text})
