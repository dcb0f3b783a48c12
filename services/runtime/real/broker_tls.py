"""TLS to brokers: through the lab's own TLS port, or to servers that somebody else runs.

The lab's TLS port (its *TLS proxy*) has a certificate of the lab's own authority, with one fixed
name wherever it listens: the network assigns addresses, and the authority proves that the port is
this lab's. ALPN selects one of the two brokers.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from typing import Any, Final

PROXY_NAME: Final = "proxy.keystead.internal"
"""The name in the certificate of every lab's TLS proxy."""


def _is_other_warning(record: logging.LogRecord) -> bool:
    """Drop asyncio's warning at the end of each connection whose TLS began after its stream was
    made."""
    return "eof_received() has no effect when using ssl" not in str(record.msg)


@dataclass(frozen=True)
class ForeignServersTls:
    """Servers that somebody else runs, reached by ``tls://``: TLS after their greeting, with the
    name in their address. ``authority`` is the text of a certificate authority (PEM); empty: the
    authorities that this machine trusts."""

    authority: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """The options for the broker's client. ``ssl.SSLError`` when the text has no PEM."""
        context = ssl.create_default_context(cadata=self.authority or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        logging.getLogger("asyncio").addFilter(_is_other_warning)
        return {"tls": context}


@dataclass(frozen=True)
class LabTls:
    """The lab's TLS proxy. ``authority`` is the path of the lab's certificate authority (PEM).
    ``broker`` is the ALPN name of the broker: ``control`` or ``data``."""

    authority: str
    broker: str

    @property
    def options(self) -> dict[str, Any]:
        """The options for the broker's client. ``OSError`` when there is no such file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.authority)
        # The authority is this lab's only. Validity is not checked: the clock of this machine may
        # be years off.
        context.verify_flags |= getattr(ssl, "VERIFY_X509_NO_CHECK_TIME", 0x200000)
        context.set_alpn_protocols([self.broker])
        # Adding the same filter again is no change.
        logging.getLogger("asyncio").addFilter(_is_other_warning)
        return {"tls": context, "tls_hostname": PROXY_NAME, "tls_handshake_first": True}


BrokerTls = LabTls | ForeignServersTls
