"""How a key server without a lab is reached: its address, a user name with a password, and
certificates, read from PEM files or made beside its disk.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from lab.schema.errors import KeysteadError
from lab.topology.secret_files import read_file, secret_in
from protocol.crypto.certificates import (
    SEED_SIZE,
    SERIAL_SIZE,
    issue_certificate,
    new_key,
    public_key,
    self_signed,
)
from protocol.errors import InvalidArgument
from protocol.kmip.dialect import Login
from protocol.secret import KeyMaterial
from services.keyservers.address import KMIP_PORT, Kmip, parse


class ServerAddress(NamedTuple):
    """A server that is reached over TCP; ``host`` without the brackets of IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def server_addresses(given: Sequence[str]) -> tuple[ServerAddress, ...]:
    """``HOST:PORT`` each, once; the port is KMIP's own when it is left out. KS-USE-003."""
    found = []
    for text in given:
        try:
            one = parse(text if "://" in text else f"kmip://{text}")
        except InvalidArgument:
            one = None
        if not isinstance(one, Kmip):
            raise KeysteadError("KS-USE-003", f"--server {text}: write HOST or HOST:PORT")
        found.append(ServerAddress(one.host, one.port or KMIP_PORT))
    if len(set(found)) != len(found):
        raise KeysteadError("KS-USE-003", "--server: one is named twice")
    return tuple(found)


def login(username: str, password_file: Path | None) -> Login | None:
    """The user name and password of a server's entry; None without a name, and an empty password
    without a file. KS-USE-003 for a file that has none, or cannot be read."""
    if not username:
        if password_file is not None:
            raise KeysteadError("KS-USE-003", "--password-file: name whose it is: --username")
        return None
    password = "" if password_file is None else secret_in(str(password_file))
    return Login(username, KeyMaterial(password.encode()))


def server_login(username: str, password_file: Path | None) -> Login | None:
    """What a server asks its clients for; KS-USE-003 for a user name without a password, which
    would keep nobody out."""
    if username and password_file is None:
        raise KeysteadError("KS-USE-003", "--username: its password is in a file: --password-file")
    return login(username, password_file)


AUTHORITY, SERVER, CLIENT = "ca", "server", "client"
_NAMES: Final = {AUTHORITY: "keystead CA", SERVER: "keystead key server", CLIENT: "client"}
_LIFE_S: Final = 10 * 366 * 86_400.0
_BEFORE_S: Final = 3600.0  # clocks of clients may be behind


class ServerFiles(NamedTuple):
    """Paths of PEM files; ``client`` and its key are those of a first client, if it was made."""

    certificate: Path
    key: Path
    authority: Path
    client: Path | None = None
    client_key: Path | None = None


def ensure_certificates(folder: Path, *hosts: str) -> ServerFiles:
    """The files in ``folder``; those that are missing are made.

    A client that looks at the name of a server finds it at ``hosts``, names or addresses, and at
    those of this machine.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, key = _own(folder, AUTHORITY, None)
    _own(folder, SERVER, (authority, key), _places(hosts))
    _own(folder, CLIENT, (authority, key))
    return ServerFiles(
        folder / f"{SERVER}.pem",
        folder / f"{SERVER}.key",
        folder / f"{AUTHORITY}.pem",
        folder / f"{CLIENT}.pem",
        folder / f"{CLIENT}.key",
    )


def certificates(file: Path) -> tuple[bytes, ...]:
    """The certificates in a PEM file (DER), in their order; KS-KMIP-004."""
    data = _content(file)
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise KeysteadError("KS-KMIP-004", f"{file}: there is no certificate in PEM") from None
    return tuple([one.public_bytes(Encoding.DER) for one in found])


def private_key(file: Path) -> KeyMaterial:
    """The private key in a PEM file, as PKCS#8 DER; KS-KMIP-004."""
    return key_in(str(file), _content(file))


def _content(file: Path) -> bytes:
    try:
        return read_file(str(file))
    except KeysteadError as error:
        raise KeysteadError("KS-KMIP-004", str(error)) from None


def key_in(path: str, data: bytes) -> KeyMaterial:
    """The private key in ``data``, the content (PEM) of ``path``, as PKCS#8 DER; KS-KMIP-004."""
    try:
        found = load_pem_private_key(data, None)
    except (ValueError, TypeError):
        text = f"{path}: there is no private key in PEM without a pass-phrase"
        raise KeysteadError("KS-KMIP-004", text) from None
    raw = found.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return KeyMaterial(raw)


def pem(request: bytes) -> str:
    """A signing request (DER) as text in PEM."""
    return x509.load_der_x509_csr(request).public_bytes(Encoding.PEM).decode()


def pair(certificate: Path, key: Path) -> tuple[tuple[bytes, ...], KeyMaterial]:
    """A chain and the private key of its first certificate; KS-KMIP-004, also when it is not."""
    chain, secret = certificates(certificate), private_key(key)
    own = load_der_private_key(secret.reveal(), None).public_key()
    if own != x509.load_der_x509_certificate(chain[0]).public_key():
        raise KeysteadError("KS-KMIP-004", f"{key}: it is not the key of {certificate}")
    return chain, secret


def _places(hosts: Sequence[str]) -> tuple[str, ...]:
    everywhere = ("", "0.0.0.0", "::")  # noqa: S104 - it is listened there, and nobody asks it there
    named = [host.partition("%")[0] for host in hosts if host not in everywhere]
    here, machine = ["localhost", "127.0.0.1", "::1"], socket.gethostname()
    with suppress(UnicodeError):  # a machine may be called what no certificate can say
        machine.encode("idna")
        here.append(machine)
    return tuple(dict.fromkeys([*named, *here]))


def _own(
    folder: Path,
    name: str,
    issuer: tuple[bytes, KeyMaterial] | None,
    hosts: Sequence[str] = (),
) -> tuple[bytes, KeyMaterial]:
    """Certificate and key of that name, made when either is missing."""
    file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    if file.exists() and key_file.exists():
        return certificates(file)[0], private_key(key_file)
    key = new_key(KeyMaterial(secrets.token_bytes(SEED_SIZE)))
    serial, now = secrets.token_bytes(SERIAL_SIZE), time.time()
    start, end = now - _BEFORE_S, now + _LIFE_S
    if issuer is None:
        certificate = self_signed(_NAMES[name], key, serial, start, end, authority=True)
    else:
        above, above_key = issuer
        certificate = issue_certificate(
            _NAMES[name],
            public_key(key),
            serial,
            start,
            end,
            issuer=above,
            issuer_key=above_key,
            hosts=hosts,
        )
    pem = load_der_private_key(key.reveal(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    _write(key_file, pem, 0o600)
    text = x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
    _write(file, text, 0o644)
    return certificate, key


def _write(file: Path, data: bytes, mode: int) -> None:
    """Whole or not at all; nobody else may read a key even for a moment."""
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(draft, file)
