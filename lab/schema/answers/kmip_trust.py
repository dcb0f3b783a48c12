"""Trust between a vCenter and KMIP servers, as each of them has it."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer


class KmsIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A client of a key server's door of KMIP; ``digest`` is the SHA-256 of its public key, ``end``
    until when its certificate is good (Unix seconds)."""

    client: str
    role: str
    scope: str
    revoked: bool
    end: float
    digest: str


class KmsIdentityList(Answer, frozen=True, kw_only=True):
    """Clients of the key server ``kms``, which shows the certificate of this SHA-256, good until
    ``end`` (Unix seconds); ``digest`` is the SHA-256 of its public key."""

    kms: str
    fingerprint: str
    digest: str
    end: float
    items: tuple[KmsIdentity, ...]


class ServerTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Trust between vCenter and a server; None: not known. ``fingerprint``: SHA-256 of what the
    server shows, good until ``end`` (Unix seconds), and ``digest`` that of its public key; empty
    when it does not answer, for ``reason``.
    """

    server: str
    client_trust_server: bool | None = None
    server_trust_client: bool | None = None
    fingerprint: str = ""
    digest: str = ""
    end: float | None = None
    reason: str = ""


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


class SigningRequest(Answer, frozen=True, kw_only=True):
    """A ``request`` (PKCS#10 in PEM) for a certificate that vCenter shows the servers of a
    provider."""

    provider: str
    request: str
