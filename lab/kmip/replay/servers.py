"""The key servers of a replay and its clients; single connections that show what a server lets
pass, also with certificates that it should not accept.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from protocol.kmip import dialect
from protocol.kmip.enums import KmipError
from protocol.kmip.message import RequestMessage, ResponseMessage, decode_response, encode_request
from protocol.kmip.payloads import DiscoverVersionsResponse, GetResponse
from protocol.kmip.ttlv import HEAD, message_size
from protocol.secret import KeyMaterial
from services.keyservers.kmip_sessions import Dialogue

LISTENS_S: Final = 1.0
"""For so long it is waited whether a server refuses a client that says nothing."""


class TlsOffer(StrEnum):
    """What a client offers of TLS: as vCenter; TLS 1.0 and 1.1 only; TLS 1.2 with suites that lack
    forward secrecy, authentication of the server, or authenticated encryption."""

    USUAL = "usual"
    OLD = "old"
    WEAK = "weak"


_NO_SOUND: Final = ":".join(
    f"-{exchange}+{cipher}"
    for exchange in ("ECDHE", "DHE")
    for cipher in ("AESGCM", "AESCCM", "CHACHA20", "ARIAGCM")
)
_SUITES: Final = {
    TlsOffer.USUAL: "DEFAULT",
    TlsOffer.OLD: "ALL:@SECLEVEL=0",  # OpenSSL does not use them unless it is asked to
    TlsOffer.WEAK: f"ALL:COMPLEMENTOFALL:{_NO_SOUND}:@SECLEVEL=0",
}


@dataclass(frozen=True)
class ShownCertificate:
    """What a client shows: its certificate and those above it, and the key, in PEM."""

    certificates: bytes | Path
    key: bytes | Path


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of it.

    ``refused``  why the connection was not made, or ended before anything was answered
    ``alert``    whether it was the other end that refused it, with words of TLS for why
    ``heard``    whether Discover Versions was answered
    ``served``   whether the value of the key was given out
    ``why``      why it was not, in the server's words
    """

    refused: str = ""
    alert: bool = False
    version: str = ""
    cipher: str = ""
    certificate: bytes = b""
    heard: bool = False
    served: bool = False
    why: str = ""


class Attempts(Protocol):
    """How a server is tried."""

    async def attempt(
        self, shown: ShownCertificate | None, uid: str = "", *, offer: TlsOffer = TlsOffer.USUAL
    ) -> Attempt:
        """Connect, and ask for key ``uid``, if one is named. ``shown`` None: no certificate."""
        ...


@dataclass(frozen=True)
class ServerAttempts(Attempts):
    """The server at ``host`` and ``port``; ``within_s`` for each handshake and each answer."""

    host: str
    port: int
    within_s: float

    async def attempt(
        self, shown: ShownCertificate | None, uid: str = "", *, offer: TlsOffer = TlsOffer.USUAL
    ) -> Attempt:
        """See ``Attempts``.

        With TLS 1.3 a server judges the client after the client's part of the handshake. One that
        closes at once may have its alert lost, together with what the client has sent meanwhile:
        a second connection says nothing, and listens.
        """
        first = await self._attempt(_context(shown, offer=offer), uid)
        if first.heard or first.alert or not (first.version and first.refused):
            return first
        second = await self._attempt(_context(shown, offer=offer), uid, listens=True)
        return second if second.alert else first

    async def _attempt(
        self, context: ssl.SSLContext, uid: str, *, listens: bool = False
    ) -> Attempt:
        try:
            async with asyncio.timeout(self.within_s):
                reader, writer = await asyncio.open_connection(
                    self.host, self.port, ssl=context, server_hostname=""
                )
        except TimeoutError:
            return Attempt(refused=f"no handshake within {self.within_s:g} s")
        except ssl.SSLError as error:
            return Attempt(refused=_reason(error), alert="ALERT" in (error.reason or ""))
        except OSError as error:
            return Attempt(refused=_words(error))
        try:
            return await self._attempt_request(reader, writer, uid, listens=listens)
        finally:
            await _end(writer)

    async def _attempt_request(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        uid: str,
        *,
        listens: bool,
    ) -> Attempt:
        over: ssl.SSLObject = writer.get_extra_info("ssl_object")
        suite = over.cipher()
        version, cipher = over.version() or "", suite[0] if suite else ""
        certificate = over.getpeercert(binary_form=True) or b""

        def build_attempt(**fields: str | bool) -> Attempt:
            return Attempt(version=version, cipher=cipher, certificate=certificate, **fields)  # type: ignore[arg-type]

        heard = False
        try:
            if listens:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LISTENS_S):
                        await reader.readexactly(1)
            answer = await self._exchange(reader, writer, dialect.discover_versions())
            dialect.one(dialect.discover_versions(), answer, DiscoverVersionsResponse)
            heard = True
            if not uid:
                return build_attempt(heard=True)
            asked = dialect.get(uid)
            answer = await self._exchange(reader, writer, asked)
            dialect.material(dialect.one(asked, answer, GetResponse))
        except (dialect.OperationFailed, KmipError) as refused:
            return build_attempt(heard=heard, why=str(refused))
        except ssl.SSLError as error:
            return build_attempt(
                heard=heard, refused=_reason(error), alert="ALERT" in (error.reason or "")
            )
        except TimeoutError:
            return build_attempt(heard=heard, refused=f"no answer within {self.within_s:g} s")
        except (OSError, EOFError) as error:
            return build_attempt(heard=heard, refused=_words(error))
        return build_attempt(heard=True, served=True)

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: RequestMessage,
    ) -> ResponseMessage:
        async with asyncio.timeout(self.within_s):
            writer.write(encode_request(request))
            await writer.drain()
            head = await reader.readexactly(HEAD)
            return decode_response(head + await reader.readexactly(message_size(head) - HEAD))


def _context(shown: ShownCertificate | None, *, offer: TlsOffer) -> ssl.SSLContext:
    """The other end's certificate is looked at, and not judged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(_SUITES[offer])
    if offer is TlsOffer.OLD:
        with warnings.catch_warnings():  # that these versions should not be used is the point
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    if offer is TlsOffer.WEAK:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if shown is not None:
        with _file(shown.certificates) as certificates, _file(shown.key) as key:
            context.load_cert_chain(certificates, key)
    return context


@contextmanager
def _file(held: bytes | Path) -> Iterator[str]:
    """A path at which OpenSSL reads it; what is in memory never gets to a disk."""
    if isinstance(held, Path):
        yield str(held)
        return
    number = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(number, held)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


async def _end(writer: asyncio.StreamWriter) -> None:
    """Tell the server that this is the end, do not wait for its word, and close the connection."""
    if not writer.is_closing():  # to close twice and then abort fails in Python 3.11.2
        writer.close()
    writer.transport.abort()
    with suppress(OSError):  # how the connection ended does not matter any more
        await writer.wait_closed()


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _words(error: OSError | EOFError) -> str:
    if isinstance(error, EOFError) or isinstance(error, ConnectionResetError):
        return "the server closed the connection"
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


class ReplayRole(StrEnum):
    """Who asks a key server. All but ``OTHER`` have the keys of one owner."""

    VCENTER = "vcenter"
    VSAN = "vsan-host"
    KPS = "key-provider-service"
    OTHER = "other"


@dataclass(frozen=True)
class Client:
    """vCenter, as key servers see it. ``certificate`` (DER) is its own, ``shown`` what it shows;
    ``unknown`` and ``expired`` are what others show, who should get nothing."""

    certificate: bytes
    shown: ShownCertificate
    unknown: ShownCertificate
    expired: ShownCertificate | None = None


@dataclass(frozen=True)
class ReplayedServer:
    """One key server, ``host:port``: how it is tried, and the dialogue that each role has with it;
    by its name also for who rehearses a trust flow."""

    name: str
    host: str
    proxy: Attempts
    talk: Callable[[str], Dialogue]

    @property
    def vcenter(self) -> Dialogue:
        """vCenter's dialogue with it."""
        return self.talk(ReplayRole.VCENTER)


_SIGNS: Final = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)
_Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_DAY: Final = timedelta(days=1)


def unknown(certificate: bytes) -> ShownCertificate:
    """A certificate with the subject of ``certificate`` (DER) that a new key has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.load_der_x509_certificate(certificate).subject, datetime.now(UTC)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return ShownCertificate(_self_signed(subject, key, now - _DAY, now + _DAY), pem)


def build_expired(certificate: bytes, key: KeyMaterial, key_file: Path) -> ShownCertificate | None:
    """``certificate`` as it would be after its end, signed by its own key; None for one that an
    authority has issued, which alone could do that. ``key`` is PKCS#8 DER, ``key_file`` has it."""
    found = x509.load_der_x509_certificate(certificate)
    private = load_der_private_key(key.reveal(), None)
    if found.subject != found.issuer or not isinstance(private, _SIGNS):
        return None
    now = datetime.now(UTC)
    return ShownCertificate(
        _self_signed(found.subject, private, now - 30 * _DAY, now - _DAY), key_file
    )


def _self_signed(subject: x509.Name, key: _Private, start: datetime, end: datetime) -> bytes:
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)
