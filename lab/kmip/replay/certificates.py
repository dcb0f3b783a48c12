"""What a certificate says of its owner, and whether a client may be content with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lab.kmip.replay import kinds
from lab.kmip.replay.exchanges import SeenFinding
from lab.kmip.replay.findings import FindingKind
from lab.schema.answers.replay import ReplayCertificate
from protocol.crypto.certificates import load, validity
from protocol.printable import one_line

DAY_S: Final = 86_400.0


def facts(certificate: bytes) -> ReplayCertificate:
    """What this certificate (DER) says; ``InvalidArgument`` when it is none."""
    found = load(certificate)
    start, end = validity(certificate)
    dns, addresses = _alternatives(found)
    return ReplayCertificate(
        subject=one_line(found.subject.rfc4514_string()),
        issuer=one_line(found.issuer.rfc4514_string()),
        names=tuple(one_line(name) for name in (*dns, *map(str, addresses))),
        start=start,
        end=end,
        key=_key(found),
        sha256=sha256(certificate).hexdigest(),
    )


def server_certificate(
    certificate: bytes, host: str, now: float, warning_s: float
) -> Iterator[SeenFinding]:
    """What is to be said of a server's certificate to a client that asked for ``host``."""
    if not names_host(certificate, host):
        found = facts(certificate)
        names = ", ".join(found.names) or f"no name; its subject is {found.subject or 'empty'}"
        yield SeenFinding(
            kinds.CERTIFICATE_NAME, f"asked for {host}, and the certificate has {names}"
        )
    yield from _ending(kinds.CERTIFICATE_EXPIRING, certificate, now, warning_s)


def client_certificate(certificate: bytes, now: float, warning_s: float) -> Iterator[SeenFinding]:
    """What is to be said of the client's own certificate."""
    yield from _ending(kinds.CLIENT_CERTIFICATE_EXPIRING, certificate, now, warning_s)


def _ending(
    kind: FindingKind, certificate: bytes, now: float, warning_s: float
) -> Iterator[SeenFinding]:
    """Nothing of one that has ended: the handshake tells of that."""
    _, end = validity(certificate)
    if 0 <= end - now < warning_s:
        day = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M UTC")
        yield SeenFinding(kind, f"it ends in {(end - now) / DAY_S:.1f} days, at {day}")


def names_host(certificate: bytes, host: str) -> bool:
    """Whether a Subject Alternative Name is that host: a name, of which the first label may be
    ``*`` in the certificate, or an address (RFC 9525). A common name names no host."""
    dns, addresses = _alternatives(load(certificate))
    try:
        return ip_address(host.partition("%")[0]) in addresses
    except ValueError:
        wanted = _labels(host)
        return any(_matches(_labels(name), wanted) for name in dns)


def _matches(pattern: list[str], wanted: list[str]) -> bool:
    if pattern[0] == "*" and len(pattern) > 2:
        return len(pattern) == len(wanted) and pattern[1:] == wanted[1:]
    return pattern == wanted


def _labels(name: str) -> list[str]:
    try:
        name = name.encode("idna").decode()
    except UnicodeError:
        pass  # it has a label that no name of a host has, such as "*"
    return name.lower().rstrip(".").split(".")


def _alternatives(
    certificate: x509.Certificate,
) -> tuple[list[str], list[IPv4Address | IPv6Address]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return [], []
    dns = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return dns, [one for one in addresses if isinstance(one, IPv4Address | IPv6Address)]


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "of an unknown kind"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")
