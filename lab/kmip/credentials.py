"""Certificates and keys as people have them: PEM files."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from lab.errors import KeysteadError
from protocol.kmip.dialect import Login
from protocol.secret import KeyMaterial
from services.runtime.streams import TlsIdentity


def identity(certificate: Path, key: Path, trusted: Path) -> TlsIdentity:
    """What a client shows and believes: its chain, own certificate first; its key, which is not
    encrypted; and certificates to one of which the server's must lead."""
    return TlsIdentity(certificates(certificate), _key(key), certificates(trusted))


def certificates(file: Path) -> tuple[bytes, ...]:
    """All certificates of a PEM file, as DER, in their order."""
    try:
        found = x509.load_pem_x509_certificates(_read(file))
    except ValueError:
        raise KeysteadError("KS-USE-003", f"{file}: there is no certificate in PEM in it") from None
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)


def login(username: str, password_file: Path | None) -> Login | None:
    """The user name and password of a server's entry; None without a name."""
    if not username:
        if password_file is not None:
            raise KeysteadError("KS-USE-003", "--password-file: name whose it is: --username")
        return None
    first = b"" if password_file is None else _read(password_file).split(b"\n", 1)[0]
    return Login(username, KeyMaterial(first.rstrip(b"\r")))


def _key(file: Path) -> KeyMaterial:
    try:
        key = load_pem_private_key(_read(file), None)
    except TypeError:
        text = f"{file}: the key is encrypted; decrypt it first: openssl pkey -in {file} -out KEY"
        raise KeysteadError("KS-USE-003", text) from None
    except ValueError:
        raise KeysteadError("KS-USE-003", f"{file}: there is no private key in PEM in it") from None
    return KeyMaterial(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise KeysteadError("KS-USE-003", f"{file}: {error.strerror}") from None
