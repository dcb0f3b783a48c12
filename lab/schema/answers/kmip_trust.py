"""Trust between a vCenter and KMIP servers, as each of them has it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from lab.schema.answers.base import Answer
from lab.schema.tables import ColumnTable, field


def _day(end: float | None) -> str:
    """Of a Unix time, UTC."""
    return "" if end is None else datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d")


_UNTIL = ("UNTIL", lambda row: _day(row.end))
_DIGEST = ("DIGEST", lambda row: row.digest[:16])
"""Enough of that of a public key to know it by, at both ends."""


class KmsIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A client of a key server's KMIP endpoint; ``digest`` is the SHA-256 of its public key,
    ``end`` when its certificate expires (Unix seconds)."""

    client: str
    role: str
    scope: str
    revoked: bool
    end: float
    digest: str

    table = ColumnTable(
        "client",
        (field("client"), field("role"), field("scope"), field("revoked"), _UNTIL, _DIGEST),
    )


class KmsIdentityList(Answer, frozen=True, kw_only=True):
    """Clients of the key server ``kms``, which shows the certificate of this SHA-256, good until
    ``end`` (Unix seconds); ``digest`` is the SHA-256 of its public key."""

    kms: str
    fingerprint: str
    digest: str
    end: float
    items: tuple[KmsIdentity, ...]

    def remarks(self) -> tuple[str, ...]:
        return (f"{self.kms} shows the key {self.digest[:16]}, good until {_day(self.end)}",)


class ServerTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Trust between vCenter and a server; None: not known. ``certificate`` (PEM) is what the server
    shows, of this SHA-256 (``fingerprint``), good until ``end`` (Unix seconds), and ``digest`` that
    of its public key; empty when it does not answer, for ``reason``.
    """

    server: str
    client_trust_server: bool | None = None
    server_trust_client: bool | None = None
    fingerprint: str = ""
    digest: str = ""
    end: float | None = None
    reason: str = ""
    certificate: str = ""

    table = ColumnTable(
        "server",
        (
            field("server"),
            field("client_trust_server", "CLIENT TRUSTS SERVER"),
            field("server_trust_client", "SERVER TRUSTS CLIENT"),
            _UNTIL,
            _DIGEST,
            field("reason"),
        ),
    )


class ProviderTrustList(Answer, frozen=True, kw_only=True):
    """The KMIP servers of a provider; vCenter shows them ``certificate`` (PEM), of this SHA-256,
    good until ``end`` (Unix seconds), but for one whose private key it has lost (``key_lost``).
    ``digest``: SHA-256 of its public key, by which key servers know vCenter."""

    provider: str
    fingerprint: str
    digest: str
    end: float
    certificate: str
    key_lost: bool = False
    items: tuple[ServerTrust, ...]

    def remarks(self) -> tuple[str, ...]:
        told = [f"vCenter shows the key {self.digest[:16]}, good until {_day(self.end)}"]
        if self.key_lost:
            told.append("vCenter has lost its private key: keystead provider renew-certificate")
        return tuple(told)


class SigningRequest(Answer, frozen=True, kw_only=True):
    """A ``request`` (PKCS#10 in PEM) for a certificate that vCenter shows the servers of a
    provider."""

    provider: str
    request: str
