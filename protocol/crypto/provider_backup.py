"""The backup file of a native provider: PKCS#12 (RFC 7292), as the product's download is (NKP-03).

The product does not publish the content of its file. PKCS#12 has no bag for a symmetric key that
common tools read, so here the KDK is the private key of an Ed25519 key pair (RFC 8032: any 32 bytes
are one), with a self-signed certificate: its subject is the provider's name, its serial number the
KDK's id, it is valid from the export on, and an extension says whether hosts need a TPM. ``openssl
pkcs12 -info`` shows what the file is for, and a changed bit is detected. The password encrypts the
file (PBES2 with AES-256) and authenticates it (PBMAC1 of RFC 9579 with HMAC-SHA-256), each with
600,000 rounds of PBKDF2-HMAC-SHA-256. Without a password the file is in clear. OpenSSL reads it
from 3.4 on.
"""

from __future__ import annotations

import hmac
import os
import uuid
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from protocol.crypto import der
from protocol.crypto.der import (
    NULL,
    OCTETS,
    OID,
    SEQUENCE,
    Element,
    NotDer,
    elements,
    encode_element,
    integer,
    iterations,
)
from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId

_ROUNDS: Final = 600_000  # of PBKDF2, for the key, for the certificate and for the MAC
MOST_ROUNDS: Final = 4_000_000
"""Hash rounds that a whole file may ask for: its reader does nothing else meanwhile."""
_SALT: Final = 16  # bytes
_DATA: Final = bytes.fromhex("2a864886f70d010706")  # encryptedData (RFC 2315), the OID's content
_PBES2: Final = bytes.fromhex("2a864886f70d01050d")  # RFC 8018
_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
_PBMAC1: Final = bytes.fromhex("2a864886f70d01050e")
_HMAC_SHA256: Final = bytes.fromhex("2a864886f70d0209")
_TPM_REQUIRED: Final = x509.ObjectIdentifier("2.25.257813902144219417033406318117225064201")
_NAME: Final = x509.ObjectIdentifier("2.5.4.41")  # X520name
_COMMON_NAME: Final = 64
_TRUE, _FALSE = b"\x01\x01\xff", b"\x01\x01\x00"  # DER BOOLEAN
_YEARS: Final = timedelta(days=36_500)


@dataclass(frozen=True)
class BackupContent:
    """The content of a backup file. ``key_id`` is a UUID, ``exported_at`` Unix seconds."""

    provider: ProviderId
    key_id: str
    kdk: KeyMaterial
    tpm_required: bool
    exported_at: float


def write_backup(backup: BackupContent, password: str) -> bytes:
    """The backup file; with an empty ``password`` it is in clear."""
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
    data = pkcs12.serialize_key_and_certificates(
        backup.provider.encode(), key, certificate, None, _encryption(password)
    )
    return _replace_mac(data, password.encode()) if password else data


def _replace_mac(data: bytes, password: bytes) -> bytes:
    """The file with PBMAC1 in place of the library's MAC, which has 2,048 rounds."""
    (whole,) = elements(data)
    version, safe, _ = whole.parts
    content = safe.parts[1].parts[0].content
    salt = os.urandom(_SALT)  # noqa: TID251 - as the library draws its own
    key = PBKDF2HMAC(SHA256(), SHA256.digest_size, salt, _ROUNDS).derive(password)
    mac = hmac.digest(key, content, "sha256")
    prf = encode_element(SEQUENCE, encode_element(OID, _HMAC_SHA256), NULL)
    derivation = encode_element(
        SEQUENCE, encode_element(OCTETS, salt), integer(_ROUNDS), integer(SHA256.digest_size), prf
    )
    scheme = encode_element(SEQUENCE, encode_element(OID, _PBKDF2), derivation)
    algorithm = encode_element(
        SEQUENCE, encode_element(OID, _PBMAC1), encode_element(SEQUENCE, scheme, prf)
    )
    digest = encode_element(SEQUENCE, algorithm, encode_element(OCTETS, mac))
    # The salt behind it is of the older MAC; readers of PBMAC1 ignore it.
    return encode_element(
        SEQUENCE,
        encode_element(version.tag, version.content),
        encode_element(safe.tag, safe.content),
        encode_element(SEQUENCE, digest, encode_element(OCTETS, salt)),
    )


def _subject(provider: ProviderId) -> x509.Name:
    """The subject of the certificate. A common name has at most 64 characters (RFC 5280); a longer
    name is whole in ``name``."""
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


def read_backup(data: bytes, password: str) -> BackupContent:
    """The content of the file; ``InvalidArgument`` for a wrong password or another kind of file."""
    secret = password.encode() if password else None
    try:
        _check_rounds(data, secret or b"")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # backups are written in DER
            key, certificate, _ = pkcs12.load_key_and_certificates(data, secret)
    except (ValueError, UserWarning, UnsupportedAlgorithm):
        raise InvalidArgument(
            "config: not a backup of a key provider, or a wrong password"
        ) from None
    if not isinstance(key, Ed25519PrivateKey) or certificate is None:
        raise InvalidArgument("config: not a backup of a native key provider")
    try:
        key.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes)
        names = [
            *certificate.subject.get_attributes_for_oid(_NAME),
            *certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME),
        ]
        required = certificate.extensions.get_extension_for_oid(_TPM_REQUIRED).value
        return BackupContent(
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
        raise InvalidArgument("config: not the certificate of a backup") from None


def _check_rounds(data: bytes, password: bytes) -> None:
    """``InvalidArgument`` for a file that asks for too many hash rounds, in clear or in its
    encrypted parts; ``ValueError`` when it does not have the form of a backup."""
    found = elements(data)
    if (rounds := sum(iterations(found))) > MOST_ROUNDS:
        raise InvalidArgument(
            f"config: it asks for {rounds} rounds of hashing its password; at most {MOST_ROUNDS}"
        )
    for content in _walk_encrypted(found):
        clear = elements(_decrypt_part(content, password))
        if any(iterations(clear)) or any(_walk_encrypted(clear)):
            raise NotDer("an encrypted part has encrypted parts")


def _walk_encrypted(found: Sequence[Element]) -> Iterator[Element]:
    """The EncryptedContentInfo (RFC 7292, 4.2) of every encrypted part; ``NotDer`` for a password
    that is not hashed by PBKDF2."""
    for element in found:
        yield from _walk_encrypted(element.parts)
        match element.parts:
            case (Element(der.OID, oid), Element(parts=(Element(parts=(_, info)),))) if (
                oid == _DATA
            ):
                yield info
            case (Element(der.OID, oid), *_) if oid == _DATA:
                raise NotDer("an encrypted part does not have the form of a backup")
            case (Element(der.OID, oid), Element(parts=(Element(parts=(kdf, *_)), *_))) if (
                oid == _PBES2 and kdf.content == _PBKDF2
            ):
                pass
            case (Element(der.OID, oid), *_) if oid == _PBES2:
                raise NotDer("its password is not hashed as in a backup")
            case _:
                pass


def _decrypt_part(content: Element, password: bytes) -> bytes:
    """The clear content: PBES2 with PBKDF2, HMAC-SHA-256 and AES-256-CBC, as in a backup."""
    try:
        _, scheme, box = content.parts
        derivation, cipher = scheme.parts[1].parts
        salt, count, *_ = derivation.parts[1].parts
        vector = cipher.parts[1]
    except (ValueError, IndexError):
        raise NotDer("an encrypted part does not have the form of a backup") from None
    rounds = int.from_bytes(count.content, "big")
    key = PBKDF2HMAC(SHA256(), AES256.key_size // 8, salt.content, rounds).derive(password)
    decryptor = Cipher(AES256(key), CBC(vector.content)).decryptor()
    unpadder = PKCS7(AES256.block_size).unpadder()
    clear = unpadder.update(decryptor.update(box.content) + decryptor.finalize())
    return clear + unpadder.finalize()
