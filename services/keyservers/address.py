"""Addresses of key servers: ``bus:NODE``, or ``kmip://HOST:PORT`` with a node or any host for
HOST."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from protocol.errors import InvalidArgument
from protocol.terms import NodeName

KMIP_PORT: Final = 5696
"""The port that IANA has assigned to KMIP."""
_KMIP: Final = re.compile(
    r"kmip://(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.-]+))(:(?P<port>[0-9]{1,5}))?/?"
)
_FORMS: Final = "write bus:NODE, kmip://NODE or kmip://HOST:PORT"


class BusAddress(NamedTuple):
    """A node of the lab, reached over the bus."""

    node: NodeName


class Kmip(NamedTuple):
    """A server reached by KMIP; ``port`` None: ``host`` is a node of the lab."""

    host: str
    port: int | None = None

    @property
    def to(self) -> str:
        """The destination of a stream to it."""
        return self.host if self.port is None else f"{self.host}:{self.port}"


Address = BusAddress | Kmip


def address_of(node: NodeName, text: str) -> Address:
    """The address in ``text``; empty: the node, over the bus."""
    return parse(text) if text else BusAddress(node)


def parse(text: str) -> Address:
    """The address in ``text``; ``InvalidArgument`` names the valid forms."""
    scheme, colon, rest = text.partition(":")
    if scheme == "bus" and colon and rest:
        return BusAddress(NodeName(rest))
    found = _KMIP.fullmatch(text)
    if found is None or not 0 < int(found["port"] or KMIP_PORT) < 65_536:
        raise InvalidArgument(f"that is no address of a key server: {_FORMS}")
    return Kmip(found["v6"] or found["host"], int(found["port"]) if found["port"] else None)
