"""How brokers are reached under TLS: behind the lab's door, from the first byte, or elsewhere.

The door has a certificate of the lab's own authority with one fixed name, wherever it listens:
addresses are left to the network, and the authority proves whose door it is. ALPN selects one of
the two brokers.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from typing import Any, Final

DOOR_NAME: Final = "door.keystead.internal"
"""The name in the certificate of every lab's door."""


def _no_news(record: logging.LogRecord) -> bool:
    """asyncio warns at each end of a connection whose TLS began after its stream was made."""
    return "eof_received() has no effect when using ssl" not in str(record.msg)


@dataclass(frozen=True)
class ServersTls:
    """Servers of somebody else, reached by ``tls://``: TLS after their greeting, with the name in
    their address. ``authority`` is the text of a certificate authority (PEM); without it, those
    that this machine trusts."""

    authority: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """The options for the broker's client. ``ssl.SSLError`` when there is no PEM in the
        text."""
        context = ssl.create_default_context(cadata=self.authority or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        logging.getLogger("asyncio").addFilter(_no_news)
        return {"tls": context}


@dataclass(frozen=True)
class Secured:
    """``authority`` is the path of the lab's certificate authority (PEM), ``broker`` the door's
    name of the broker: ``control`` or ``data``."""

    authority: str
    broker: str

    @property
    def options(self) -> dict[str, Any]:
        """The options for the broker's client. Raises ``OSError`` when there is no such file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.authority)
        # The authority is this lab's alone, and the clock of this machine may be years off.
        context.verify_flags |= getattr(ssl, "VERIFY_X509_NO_CHECK_TIME", 0x200000)
        context.set_alpn_protocols([self.broker])
        logging.getLogger("asyncio").addFilter(_no_news)  # once, however often it is added
        return {"tls": context, "tls_hostname": DOOR_NAME, "tls_handshake_first": True}


Way = Secured | ServersTls
