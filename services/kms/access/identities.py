"""Clients that may use KMIP: certificates, identified by their public keys.

An identity is the SHA-256 of a certificate's public key, so a renewed certificate is the same
identity. It has a role in a scope, as a node of the lab has by its name. Rows carry a tag of the
vault, and the number of the trail's row that changed them last, which the check at start compares:
an edited file makes no client an owner and undoes no revocation. A row is never removed: a revoked
client gets an answer that says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from protocol.errors import CryptographicFailure
from services.kms.sealing.vault import Vault
from services.kms.settings.config import DEFAULT_SCOPE, KmsRole

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS identities (
        digest TEXT PRIMARY KEY,
        row BLOB NOT NULL,
        tag BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
)
_KIND: Final = b"identity"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One identity. ``digest`` is in hex; ``name``, which is unique, is the common name of its
    ``certificate`` (DER), which TLS trusts by itself. ``changed``: the row of the trail of its last
    change."""

    digest: str
    name: str
    role: KmsRole = KmsRole.OWNER
    scope: str = DEFAULT_SCOPE
    revoked: bool = False
    certificate: bytes
    changed: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Identity).decode


def put(connection: sqlite3.Connection, vault: Vault, identity: Identity) -> None:
    """Write an identity, in place of one with the same digest."""
    row = _encode(identity)
    connection.execute(
        "INSERT OR REPLACE INTO identities VALUES (?, ?, ?)",
        (identity.digest, row, vault.tag(_KIND, row)),
    )


def list_identities(connection: sqlite3.Connection, vault: Vault) -> Iterator[Identity]:
    """All identities, in order of their digests; ``CryptographicFailure`` for an altered row."""
    for digest, row, tag in connection.execute("SELECT * FROM identities ORDER BY digest"):
        vault.verify(_KIND, row, tag, f"the row of identity {digest}")
        identity = _decode(row)
        if identity.digest != digest:
            raise CryptographicFailure(f"the row of identity {digest} is another's")
        yield identity
