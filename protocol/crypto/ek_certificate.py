"""Certificates of TPM endorsement keys (TCG EK Credential Profile), as the lab issues them.

Empty subject; the TPM's manufacturer, model and version in a critical SubjectAltName; extended key
usage ``2.23.133.8.1``; key agreement, as for an ECC key that only decrypts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.crypto.tokens import Signer
from protocol.errors import InvalidArgument
from protocol.tpm.public import PublicError, public_key
from protocol.tpm.structures import PublicArea

EK_USAGE: Final = x509.ObjectIdentifier("2.23.133.8.1")
"""tcg-kp-EKCertificate."""
_MANUFACTURER: Final = x509.ObjectIdentifier("2.23.133.2.1")
_MODEL: Final = x509.ObjectIdentifier("2.23.133.2.2")
_VERSION: Final = x509.ObjectIdentifier("2.23.133.2.3")
_YEARS: Final = timedelta(days=3_650)


def endorse(ca: Signer, ek: PublicArea, serial: bytes, at: float) -> bytes:
    """A certificate (DER) of ``ek`` by ``ca``, valid for ten years from ``at`` (Unix seconds).

    ``serial`` has 16 bytes. ``InvalidArgument`` for a public area that is not an ECC key.
    """
    start = datetime.fromtimestamp(int(at), UTC)
    device = x509.Name(
        [
            x509.NameAttribute(_MANUFACTURER, "id:564D5700"),
            x509.NameAttribute(_MODEL, "VMware TPM2"),
            x509.NameAttribute(_VERSION, "id:00020065"),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .public_key(_key_of(ek))
        .serial_number(int.from_bytes(b"\x01" + serial[1:], "big"))
        .not_valid_before(start)
        .not_valid_after(start + _YEARS)
        .add_extension(x509.SubjectAlternativeName([x509.DirectoryName(device)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([EK_USAGE]), critical=False)
        .add_extension(_KEY_AGREEMENT, critical=True)
    )
    return ca.issue_certificate(builder)


_KEY_AGREEMENT: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=True,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def certificate_flaw(certificate: bytes, ek: PublicArea, ca: bytes) -> str:
    """What is wrong with ``certificate`` as a certificate of ``ek`` issued by ``ca`` (both DER);
    empty when it is right. The caller checks its validity period."""
    try:
        found, issuer = (x509.load_der_x509_certificate(each) for each in (certificate, ca))
    except ValueError:
        return "it is no certificate"
    try:
        found.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return "another CA has issued it"
    try:
        usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound as error:
        return f"it lacks {error.oid.dotted_string}"
    if EK_USAGE not in usage:
        return "it is of no endorsement key"
    if _spki(found.public_key()) != _spki(_key_of(ek)):
        return "it is of another key"
    return ""


def _key_of(ek: PublicArea) -> ec.EllipticCurvePublicKey:
    try:
        key = public_key(ek)
    except PublicError as error:
        raise InvalidArgument(f"ek: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidArgument("ek: not an ECC key")
    return key


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
