"""Addresses of other people's servers that an option names: ``--webhook``, ``--otlp``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from lab.schema.errors import KeysteadError


@dataclass(frozen=True)
class HttpAddress:
    """A server with http or https. ``path`` begins with ``/`` and has the query too."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def name(self) -> str:
        """Host and port, for people: the path may be a secret of the server."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_http_address(option: str, url: str) -> HttpAddress:
    """The address in a URL. KS-USE-003 for what is none, which cannot be sent in a request, or
    which has a user or a password; the message has nothing of the URL."""
    wrong = KeysteadError("KS-USE-003", f"{option}: write http://HOST:PORT/PATH or https://")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.username is not None or parts.password is not None:
        raise KeysteadError("KS-USE-003", f"{option}: write no user and no password into it")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise wrong
    if not (url.isascii() and url.isprintable()) or " " in url:
        text = f"{option}: write the URL in ASCII without spaces: %20 for a space, xn-- for a host"
        raise KeysteadError("KS-USE-003", text)
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise wrong from None
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return HttpAddress(tls, parts.hostname, port or (443 if tls else 80), path)
