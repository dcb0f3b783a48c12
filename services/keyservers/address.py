"""Where a key server is: ``bus:NODE``, or ``kmip://HOST:PORT`` with a node or any host for HOST."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from protocol.errors import InvalidArgument
from protocol.terms import NodeName

KMIP_PORT: Final = 5696
"""The port that IANA has given to KMIP."""
_FORMS: Final = "write bus:NODE, kmip://NODE or kmip://HOST:PORT"


class Bus(NamedTuple):
    """A node of the lab, asked over the bus."""

    node: NodeName


class Kmip(NamedTuple):
    """A server asked by KMIP; ``port`` None: ``host`` is a node of the lab."""

    host: str
    port: int | None = None

    @property
    def to(self) -> str:
        """What a stream is opened to."""
        return self.host if self.port is None else f"{self.host}:{self.port}"


Address = Bus | Kmip


def parse(text: str) -> Address:
    """The address that ``text`` is; ``InvalidArgument`` says which forms there are."""
    scheme, colon, rest = text.partition(":")
    if scheme == "bus" and colon and rest:
        return Bus(NodeName(rest))
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or parts.scheme != "kmip" or parts.path.strip("/"):
        raise InvalidArgument(f"that is no address of a key server: {_FORMS}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidArgument(f"an address of a key server has no more in it: {_FORMS}")
    return Kmip(host, port)
