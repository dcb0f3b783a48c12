"""The ways in which vCenter has a key server trust it (STD-04), each with an identity of its own,
and certificates that a person gives for others than vCenter (``ROLE=CERT,KEY``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from lab.kmip.replay.servers import ReplayRole, ShownCertificate
from lab.schema.errors import KeysteadError
from protocol.printable import quote_if_needed

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "certificate.key"
REQUEST: Final = "request.csr"
AUTHORITY: Final = "ca.pem"
_AUTHORITY_KEY: Final = "ca.key"
_BITS: Final = 2048
_LIFE: Final = timedelta(days=3650)
_BEFORE: Final = timedelta(hours=1)  # clocks of servers may be behind


class TrustFlow(StrEnum):
    """In the words of vCenter's dialog: root CA certificate, vCenter certificate, new certificate
    signing request, upload of a certificate and its private key."""

    ROOT_CA = "root-ca"
    CERTIFICATE = "certificate"
    SIGNING_REQUEST = "signing-request"
    UPLOAD = "upload"


class FlowPart(NamedTuple):
    """What of a flow is still to be done by the owner of the server, and the files that it is
    about; ``ready``: the identity is there, and can be shown."""

    flow: TrustFlow
    give: str
    then: str
    ready: bool


_TODO: Final[Mapping[TrustFlow, tuple[str, str]]] = {
    TrustFlow.ROOT_CA: (AUTHORITY, "have the server trust this authority for clients"),
    TrustFlow.CERTIFICATE: (CERTIFICATE, "have the server trust this certificate"),
    TrustFlow.SIGNING_REQUEST: (
        REQUEST,
        f"have the server's authority sign it, and put the result beside it as {CERTIFICATE}",
    ),
    TrustFlow.UPLOAD: (
        "",
        f"have the server issue a certificate with its key, and put them there as {CERTIFICATE} "
        f"and {KEY}",
    ),
}


def ensure_parts(folder: Path, name: str) -> tuple[FlowPart, ...]:
    """vCenter's part of every flow in ``folder``; files that are there already stay as they are.
    ``name`` is the common name of vCenter. KS-KMIP-004 where they cannot be written."""
    try:
        for flow in TrustFlow:
            (folder / flow).mkdir(mode=0o700, parents=True, exist_ok=True)
        _root_ca(folder / TrustFlow.ROOT_CA, name)
        _self_signed(folder / TrustFlow.CERTIFICATE, name)
        _request(folder / TrustFlow.SIGNING_REQUEST, name)
    except OSError as error:
        raise KeysteadError("KS-KMIP-004", f"{folder}: {error.strerror or error}") from None
    return parts(folder)


def parts(folder: Path) -> tuple[FlowPart, ...]:
    """How far each flow is."""
    return tuple(_part(folder, flow) for flow in TrustFlow)


def _part(folder: Path, flow: TrustFlow) -> FlowPart:
    give, then = _TODO[flow]
    here = folder / flow
    ready = (here / CERTIFICATE).is_file() and (here / KEY).is_file()
    return FlowPart(flow, str(here / give) if give else "", then, ready)


def _root_ca(folder: Path, name: str) -> None:
    if (folder / CERTIFICATE).exists():
        return
    above = _name(f"CA of {name}")
    authority = _key(folder / _AUTHORITY_KEY)
    ca = _builder(above, authority).issuer_name(above)
    usage = x509.BasicConstraints(ca=True, path_length=None)
    root = ca.add_extension(usage, critical=True).sign(authority, SHA256())
    _write(folder / AUTHORITY, root.public_bytes(Encoding.PEM))
    own = _builder(_name(name), _key(folder / KEY)).issuer_name(above).sign(authority, SHA256())
    _write(folder / CERTIFICATE, own.public_bytes(Encoding.PEM))


def _self_signed(folder: Path, name: str) -> None:
    """Without an Extended Key Usage, as vCenter's own has none."""
    if (folder / CERTIFICATE).exists():
        return
    key = _key(folder / KEY)
    own = _builder(_name(name), key).issuer_name(_name(name)).sign(key, SHA256())
    _write(folder / CERTIFICATE, own.public_bytes(Encoding.PEM))


def _request(folder: Path, name: str) -> None:
    if (folder / REQUEST).exists():
        return
    key = _key(folder / KEY)
    request = x509.CertificateSigningRequestBuilder(_name(name)).sign(key, SHA256())
    _write(folder / REQUEST, request.public_bytes(Encoding.PEM))


def _builder(subject: x509.Name, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _LIFE)
    )


def _name(common: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    except ValueError:
        text = f"--common-name {common[:80]!r}: 1 to 64 characters"
        raise KeysteadError("KS-USE-003", text) from None


def _key(file: Path) -> rsa.RSAPrivateKey:
    """The key in that file; it is made when there is none."""
    if file.exists():
        found = load_pem_private_key(file.read_bytes(), None)
        if isinstance(found, rsa.RSAPrivateKey):
            return found
        raise KeysteadError("KS-KMIP-004", f"{file}: it is no RSA key of this command")
    key = rsa.generate_private_key(65_537, _BITS)
    _write(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def _write(file: Path, data: bytes) -> None:
    """A new file, which nobody else may read."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)


EXPIRED: Final = "expired"
_ROLES: Final = (EXPIRED, ReplayRole.OTHER, ReplayRole.VSAN, ReplayRole.KPS)
_FORM: Final = f"write ROLE=CERT,KEY with a role of {', '.join(_ROLES)}"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """PEM files of a certificate, with those above it, and of its private key."""

    certificate: Path
    key: Path

    @property
    def shown(self) -> ShownCertificate:
        """As a client shows it."""
        return ShownCertificate(self.certificate, self.key)


def identities(given: Sequence[str]) -> Mapping[str, Pair]:
    """By role; KS-USE-003 for what is none, and for a role that is given twice."""
    found: dict[str, Pair] = {}
    for text in given:
        role, equals, files = text.partition("=")
        certificate, comma, key = files.rpartition(",")
        if role not in _ROLES or not (equals and comma and certificate and key):
            raise KeysteadError("KS-USE-003", f"--identity {quote_if_needed(text)}: {_FORM}")
        if role in found:
            raise KeysteadError("KS-USE-003", f"--identity: {role} is given twice")
        found[role] = Pair(certificate=Path(certificate), key=Path(key))
    return found


def of_flows(folder: Path, parts: Sequence[FlowPart]) -> Mapping[str, Pair]:
    """What each trust flow shows that is ready."""
    return {
        part.flow: Pair(certificate=folder / part.flow / CERTIFICATE, key=folder / part.flow / KEY)
        for part in parts
        if part.ready
    }
