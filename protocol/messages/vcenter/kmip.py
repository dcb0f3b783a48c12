"""Trust between vCenter and the KMIP servers of a provider, each way by itself (STD-03, STD-04).

Certificates are DER. Requests bear the names of ``CryptoManagerKmip``.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import ProviderId


class CertificateInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, and what people are told of it.

    ``fingerprint``: SHA-256 of it, in hex; ``start`` and ``end`` of its validity: Unix seconds.
    """

    certificate: bytes
    subject: str
    issuer: str
    fingerprint: str
    start: float
    end: float


class RetrieveClientCert(Request["ClientCert"], frozen=True, kw_only=True):
    """What vCenter shows the servers of a standard provider; ``NotFound``: no such provider."""

    provider: ProviderId


class GenerateSelfSignedClientCert(Request["ClientCert"], frozen=True, kw_only=True):
    """Show another certificate from now on, which vCenter has signed itself: the servers refuse it
    until they trust that one. A repeat makes another one again. It is good for ``good_for_s``
    seconds; None: for as long as they usually are. ``InvalidArgument`` for a time that is none."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    good_for_s: float | None = None


class UploadClientCert(Request["ClientCert"], frozen=True, kw_only=True):
    """Show this chain from now on, own certificate first, with ``private_key`` (PKCS#8 DER), which
    is sealed to the key of ``transfer`` for the purpose ``private key``.

    ``InvalidArgument`` when they do not belong together.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    chain: tuple[bytes, ...]
    transfer: str
    private_key: bytes


class GenerateClientCsr(Request["ClientCsr"], frozen=True, kw_only=True):
    """Make another key and a request for a certificate of it, which takes the place of the earlier
    identity at once: until a certificate comes, vCenter shows one that it has signed itself. A
    repeat makes another key again."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class RetrieveClientCsr(Request["ClientCsr"], frozen=True, kw_only=True):
    """The request of the key that is shown; ``NotFound`` when none was made of it."""

    provider: ProviderId


class ClientCsr(Reply, frozen=True, kw_only=True):
    """``request``: PKCS#10 (RFC 2986), DER."""

    request: bytes


class UpdateKmsSignedCsrClientCert(Request["ClientCert"], frozen=True, kw_only=True):
    """Show this chain from now on: a certificate that was issued for the request, then those above
    it. ``NotFound`` when no request was made; ``InvalidArgument`` for a certificate of another key.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    chain: tuple[bytes, ...]


class LoseClientKey(Request["ClientCert"], frozen=True, kw_only=True):
    """Forget the private key of what is shown, as when the password of vCenter's certificate store
    is gone (SC-07): the certificate stays, and no server is reached until there is another one.
    ``InvalidState``: none is shown."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class LoseKmipPasswords(Request[Done], frozen=True, kw_only=True):
    """Forget the passwords of vCenter's users at the provider's servers, as a vCenter that was
    restored without them. User names stay; no such server is asked until a password is entered
    again (``RegisterKmsCluster``). ``InvalidState``: no server has a user name."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class ClientCert(Reply, frozen=True, kw_only=True):
    """The certificate that is shown; None: there is none yet.

    ``key_lost``: vCenter has no private key for it any more.
    """

    certificate: CertificateInfo | None = None
    key_lost: bool = False


class RetrieveKmipServerCert(Request["ServerCert"], frozen=True, kw_only=True):
    """What a server of the provider shows now, whether it is trusted or not.

    ``NotFound``: no such provider or server. ``NotAvailable``: it is not asked by KMIP.
    """

    provider: ProviderId
    server: str


class ServerCert(Reply, frozen=True, kw_only=True):
    """``client_trust_server``: whether it leads to what vCenter trusts, and is good now.

    ``server_trust_client``: whether the server takes vCenter's certificate; None: not known, for
    vCenter does not talk to a server that it does not trust.
    """

    certificate: CertificateInfo
    client_trust_server: bool
    server_trust_client: bool | None = None


class UploadKmipServerCert(Request[Done], frozen=True, kw_only=True):
    """Trust servers of the provider whose certificate is this one, or leads to it."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    certificate: bytes
