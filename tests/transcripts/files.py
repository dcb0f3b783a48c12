"""Certificates that a command of a transcript is given, in PEM files."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from protocol.crypto.certificates import SERIAL_SIZE, issue_certificate, key_digest, self_signed
from tests.lab.kmip.tls import Party, fresh_key

_YEARS = (1_700_000_000.0, 2_200_000_000.0)  # valid in a lab of any time


def certificate(folder: Path, name: str) -> None:
    """``NAME.pem``, signed by itself, and ``NAME.key``; by digest it comes behind others."""
    made = _authority(name)
    while key_digest(made.certificate)[0] != 0xFF:
        made = _authority(name)
    (folder / f"{name}.pem").write_bytes(_pem(made.certificate))
    private = load_der_private_key(made.key.reveal(), None)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(pem)


def sign(request: Path, certificate_: Path) -> None:
    """Write what an authority issues for a signing request, both in PEM."""
    authority = _authority("authority")
    asked = x509.load_pem_x509_csr(request.read_bytes())
    key = asked.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    made = issue_certificate(
        "vcenter",
        key,
        os.urandom(SERIAL_SIZE),
        *_YEARS,
        issuer=authority.certificate,
        issuer_key=authority.key,
    )
    certificate_.write_bytes(_pem(made))


def _authority(name: str) -> Party:
    key = fresh_key()
    return Party(self_signed(name, key, os.urandom(SERIAL_SIZE), *_YEARS, authority=True), key)


def _pem(certificate_: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate_).public_bytes(Encoding.PEM)
