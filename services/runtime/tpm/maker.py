"""The maker of a lab's TPMs: it certifies the endorsement key of every TPM that it makes.

The certificates follow the TCG's EK credential profile: an empty subject, the TPM's maker and model
in a critical subject alternative name, the key usage of a decryption key, and the extended key
usage tcg-kp-EKCertificate, issued by an intermediate authority under a root. A cleared TPM keeps
its key and its certificate; a replacement TPM has its own.

A lab has one maker. Both authorities are derived from its secret of 32 random bytes.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from protocol.secret import KeyMaterial
from protocol.tpm.public import public_key
from protocol.tpm.structures import PublicArea

SECRET_SIZE: Final = 32
_EK_USAGE: Final = x509.ObjectIdentifier("2.23.133.8.1")
_MANUFACTURER: Final = x509.ObjectIdentifier("2.23.133.2.1")
_MODEL: Final = x509.ObjectIdentifier("2.23.133.2.2")
_VERSION: Final = x509.ObjectIdentifier("2.23.133.2.3")
_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_TO: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # no well-defined end (RFC 5280)
_REMEMBERED: Final = 4096


class TpmMaker:
    """Issues certificates. ``chain``: DER of root and issuing authority, in that order."""

    def __init__(self, secret: KeyMaterial) -> None:
        root, self._issuing = (
            Ed25519PrivateKey.from_private_bytes(hashlib.sha256(label + secret.reveal()).digest())
            for label in (b"root", b"issuing")
        )
        self._name = _build_name("keystead TPM maker, issuing")
        top = _build_name("keystead TPM maker, root")
        self.chain = (
            _issue_authority(top, root, top, root, 1),
            _issue_authority(self._name, self._issuing, top, root, 0),
        )
        self._made: dict[bytes, bytes] = {}

    def certificate(self, ek: PublicArea) -> bytes:
        """The certificate (DER) of an endorsement key; the same one at each call."""
        found = self._made.get(ek.raw)
        if found is None:
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            found = self._made[ek.raw] = self._certify_ek(ek)
        return found

    def _certify_ek(self, ek: PublicArea) -> bytes:
        key = public_key(ek)
        agrees = isinstance(key, ec.EllipticCurvePublicKey)
        tpm = x509.Name(
            [
                x509.NameAttribute(_MANUFACTURER, "id:4B535400"),
                x509.NameAttribute(_MODEL, "keystead"),
                x509.NameAttribute(_VERSION, "id:00010000"),
            ]
        )
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=not agrees,
            data_encipherment=False,
            key_agreement=agrees,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(_serial_of(ek.raw))
            .not_valid_before(_FROM)
            .not_valid_after(_TO)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DirectoryName(tpm)]), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([_EK_USAGE]), critical=False)
            .sign(self._issuing, None)
        )
        return made.public_bytes(Encoding.DER)


def _build_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _serial_of(of: bytes) -> int:
    """16 bytes derived from ``of``; the length is always the same."""
    return int.from_bytes(b"\x01" + hashlib.sha256(of).digest()[:15], "big")


def _issue_authority(
    name: x509.Name,
    key: Ed25519PrivateKey,
    issuer: x509.Name,
    by: Ed25519PrivateKey,
    below: int,
) -> bytes:
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(_serial_of(key.public_key().public_bytes_raw()))
        .not_valid_before(_FROM)
        .not_valid_after(_TO)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .sign(by, None)
    )
    return made.public_bytes(Encoding.DER)
