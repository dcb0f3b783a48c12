"""Certificates of endorsement keys: a right one has no flaw, and each wrong one has its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from protocol.crypto.ek_certificate import EK_USAGE, certificate_flaw, endorse
from protocol.crypto.tokens import Signer, new_certificate
from protocol.secret import KeyMaterial
from protocol.tpm.public import EccPoint, ek_public

SERIAL, AT = bytes(range(16)), 1_700_000_000.0
KEY, OTHER = (ec.derive_private_key(secret, ec.SECP256R1()).public_key() for secret in (7, 8))
NAMED = x509.SubjectAlternativeName([x509.DNSName("tpm")])
TO_SERVE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
TO_ENDORSE = x509.ExtendedKeyUsage([EK_USAGE])


def authority(letter: bytes) -> Signer:
    secret = KeyMaterial(letter * 32)
    return Signer(secret, new_certificate("ca", secret, SERIAL, AT))


CA = authority(b"a")
POINT = KEY.public_numbers()
EK = ek_public(EccPoint(POINT.x.to_bytes(32, "big"), POINT.y.to_bytes(32, "big")))


def issued(key: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType) -> bytes:
    start = datetime.fromtimestamp(AT, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .public_key(key)
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
    )
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return CA.issue_certificate(builder)


@pytest.mark.parametrize(
    ("certificate", "flaw"),
    [
        (endorse(CA, EK, SERIAL, AT), ""),
        (issued(KEY, TO_ENDORSE, NAMED), ""),
        (b"junk", "it is no certificate"),
        (endorse(authority(b"b"), EK, SERIAL, AT), "another CA has issued it"),
        (issued(KEY, NAMED), "it lacks 2.5.29.37"),
        (issued(KEY, TO_ENDORSE), "it lacks 2.5.29.17"),
        (issued(KEY, TO_SERVE, NAMED), "it is of no endorsement key"),
        (issued(OTHER, TO_ENDORSE, NAMED), "it is of another key"),
    ],
    ids=["endorsed", "plain", "junk", "other CA", "no usage", "no name", "server", "other key"],
)
def test_what_is_wrong_with_a_certificate(certificate: bytes, flaw: str) -> None:
    assert certificate_flaw(certificate, EK, CA.certificate) == flaw
