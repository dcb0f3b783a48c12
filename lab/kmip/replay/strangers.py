"""Certificates that a key server should not accept: what is shown in place of the client's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from lab.kmip.replay.handshake import ShownCertificate
from protocol.secret import KeyMaterial

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
