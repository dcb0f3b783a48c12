"""The backup file of a native provider: PKCS#12 (RFC 7292), as its download is (NKP-03).

The product does not publish what is in its file. PKCS#12 has no bag for a symmetric key that tools
read, so here the KDK is the private key of an Ed25519 key pair (RFC 8032: any 32 bytes are one),
with a certificate that it has signed itself: subject the provider's name, serial number the KDK's
id, valid from the export on, and an extension that says whether hosts need a TPM. So ``openssl
pkcs12 -info`` shows what it is of, and a changed bit is noticed. The password encrypts it
(PBES2 with AES-256, HMAC-SHA-256 over the whole); without one it is in clear.
"""

from __future__ import annotations

import uuid
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from protocol.crypto.der import iterations
from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId

_ROUNDS: Final = 20_000  # of PBKDF2
MOST_ROUNDS: Final = 600_000
"""Of a file that is read: who reads it does nothing else meanwhile."""
_TPM_REQUIRED: Final = x509.ObjectIdentifier("2.25.257813902144219417033406318117225064201")
_NAME: Final = x509.ObjectIdentifier("2.5.4.41")  # X520name
_COMMON_NAME: Final = 64
_TRUE, _FALSE = b"\x01\x01\xff", b"\x01\x01\x00"  # DER BOOLEAN
_YEARS: Final = timedelta(days=36_500)


@dataclass(frozen=True)
class ProviderBackup:
    """What a backup file holds. ``key_id`` is a UUID, ``exported_at`` Unix seconds."""

    provider: ProviderId
    key_id: str
    kdk: KeyMaterial
    tpm_required: bool
    exported_at: float


def write_backup(backup: ProviderBackup, password: str) -> bytes:
    """The file; an empty ``password`` leaves it in clear."""
    key = Ed25519PrivateKey.from_private_bytes(backup.kdk.reveal())
    subject = _subject(backup.provider)
    start = datetime.fromtimestamp(int(backup.exported_at), UTC)
    required = _TRUE if backup.tpm_required else _FALSE
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(uuid.UUID(backup.key_id).int)
        .not_valid_before(start)
        .not_valid_after(start + _YEARS)
        .add_extension(x509.UnrecognizedExtension(_TPM_REQUIRED, required), critical=False)
        .sign(key, None)
    )
    return pkcs12.serialize_key_and_certificates(
        backup.provider.encode(), key, certificate, None, _encryption(password)
    )


def _subject(provider: ProviderId) -> x509.Name:
    """A common name has at most 64 characters (RFC 5280); a longer one is whole in ``name``."""
    common = x509.NameAttribute(NameOID.COMMON_NAME, provider[:_COMMON_NAME])
    if len(provider) <= _COMMON_NAME:
        return x509.Name([common])
    return x509.Name([common, x509.NameAttribute(_NAME, provider)])


def _encryption(password: str) -> KeySerializationEncryption:
    if not password:
        return NoEncryption()
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(password.encode())
    )


def read_backup(data: bytes, password: str) -> ProviderBackup:
    """What the file holds; ``InvalidArgument`` for a wrong password, or a file that is none."""
    secret = password.encode() if password else None
    if (most := max(iterations(data), default=0)) > MOST_ROUNDS:
        raise InvalidArgument(
            f"config: it asks for {most} rounds of hashing its password; at most {MOST_ROUNDS}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is not DER is no file of ours
            key, certificate, _ = pkcs12.load_key_and_certificates(data, secret)
    except (ValueError, UserWarning, UnsupportedAlgorithm):
        raise InvalidArgument(
            "config: it is no backup of a key provider, or the password is not the one it has"
        ) from None
    if not isinstance(key, Ed25519PrivateKey) or certificate is None:
        raise InvalidArgument("config: it is no backup of a native key provider")
    try:
        key.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes)
        names = [
            *certificate.subject.get_attributes_for_oid(_NAME),
            *certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME),
        ]
        required = certificate.extensions.get_extension_for_oid(_TPM_REQUIRED).value
        return ProviderBackup(
            provider=ProviderId(str(names[0].value)),
            key_id=str(uuid.UUID(int=certificate.serial_number)),
            kdk=KeyMaterial(key.private_bytes_raw()),
            tpm_required=required.public_bytes() == _TRUE,
            exported_at=certificate.not_valid_before_utc.timestamp(),
        )
    except (
        InvalidSignature,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        IndexError,
        ValueError,
    ):
        raise InvalidArgument("config: its certificate is not as a backup's is") from None
