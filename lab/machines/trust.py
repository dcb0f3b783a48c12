"""The certificate authority of a lab, and the certificate of its TLS proxy: made once."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from protocol.crypto.certificates import (
    SEED_SIZE,
    SERIAL_SIZE,
    issue_certificate,
    new_key,
    public_key,
    self_signed,
)
from protocol.secret import KeyMaterial
from services.runtime.real.broker_tls import PROXY_NAME
from services.runtime.real.files import replace_file

AUTHORITY: Final = "ca.pem"
_LIFE_S: Final = 20 * 366 * 86_400.0


def ensure_proxy_certificate(folder: Path, lab: str) -> tuple[Path, Path]:
    """The TLS proxy's certificate and its private key, PEM files in ``folder``, with ``ca.pem``
    beside them; made when they are not there. The authority's own key is not kept: there is one
    proxy."""
    certificate, key = folder / "proxy.pem", folder / "proxy.key"
    if not certificate.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = time.time()
        times = (now - 86_400.0, now + _LIFE_S)
        above = new_key(KeyMaterial(os.urandom(SEED_SIZE)))
        authority = self_signed(
            f"keystead lab {lab}", above, os.urandom(SERIAL_SIZE), *times, authority=True
        )
        own = new_key(KeyMaterial(os.urandom(SEED_SIZE)))
        proxy = issue_certificate(
            PROXY_NAME,
            public_key(own),
            os.urandom(SERIAL_SIZE),
            *times,
            issuer=authority,
            issuer_key=above,
            hosts=(PROXY_NAME,),
        )
        replace_file(key, _private_pem(own), mode=0o600, durable=False)
        replace_file(folder / AUTHORITY, _pem(authority), mode=0o644, durable=False)
        replace_file(certificate, _pem(proxy), mode=0o644, durable=False)  # last: all is there
    return certificate, key


def digest_of(authority: bytes) -> str:
    """A short name of a lab's authority (PEM)."""
    return hashlib.sha256(authority).hexdigest()[:12]


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _private_pem(key: KeyMaterial) -> bytes:
    loaded = load_der_private_key(key.reveal(), None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
