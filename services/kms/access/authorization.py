"""Authorization: the role and scope of a caller against one request, pure.

Clients of KMIP are certificates, identified by their public keys and stored with their role and
scope.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from protocol.errors import CryptographicFailure, ItemNotFound, PermissionDenied, ProductError
from protocol.terms import NodeName
from services.kms.objects import attributes
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import CoreOperation
from services.kms.sealing.vault import Vault
from services.kms.settings.config import DEFAULT_SCOPE, KmsConfig, KmsRole

_ASKED: Final = {CoreOperation.DISCOVER_VERSIONS, CoreOperation.QUERY}
_MATERIAL: Final = {
    CoreOperation.GET,
    CoreOperation.ENCRYPT,
    CoreOperation.DECRYPT,
    CoreOperation.GET_USAGE_ALLOCATION,
}
_CONSOLE: Final = {
    CoreOperation.CHANGE_ROOT,
    CoreOperation.TRUST,
    CoreOperation.DISTRUST,
    CoreOperation.MOVE_IDENTITY,
    CoreOperation.REJECT,
    CoreOperation.END_REJECTION,
    CoreOperation.CUT_TRAIL,
}
_GRANTED: Final = {
    CoreOperation.GET,
    CoreOperation.GET_ATTRIBUTES,
    CoreOperation.GET_ATTRIBUTE_LIST,
    CoreOperation.CHECK,
    CoreOperation.OBTAIN_LEASE,
    CoreOperation.ADD_ATTRIBUTE,
}
"""Operations on a key of another scope that was granted."""
_SERVERS: Final = {
    CoreOperation.SERVE,
    CoreOperation.REPLICATE,
    CoreOperation.ACCEPT_ROLLBACK,
    CoreOperation.RESTORE,
    CoreOperation.RETIRE_KEK,
    CoreOperation.ADMIT,
    CoreOperation.DATE_REACHED,
}
_ROLES: Final[dict[KmsRole, frozenset[CoreOperation]]] = {
    KmsRole.CLIENT: frozenset(
        {
            CoreOperation.DISCOVER_VERSIONS,
            CoreOperation.QUERY,
            CoreOperation.CREATE,
            CoreOperation.GET,
            CoreOperation.GET_ATTRIBUTES,
            CoreOperation.GET_ATTRIBUTE_LIST,
            CoreOperation.ADD_ATTRIBUTE,
            CoreOperation.ACTIVATE,
            CoreOperation.LOCATE,
            CoreOperation.CHECK,
            CoreOperation.OBTAIN_LEASE,
        }
    ),
    KmsRole.OPERATOR: frozenset(CoreOperation) - _MATERIAL - _SERVERS,
    KmsRole.OWNER: frozenset(CoreOperation)
    - _SERVERS
    - _CONSOLE
    - {CoreOperation.ROTATE_KEK, CoreOperation.QUERY_AUDIT},
    KmsRole.KPS: frozenset(_ASKED | {CoreOperation.GET, CoreOperation.GET_ATTRIBUTES}),
    KmsRole.VSAN: frozenset(_ASKED | {CoreOperation.GET, CoreOperation.GET_ATTRIBUTES}),
    KmsRole.PEER: frozenset({CoreOperation.REPLICATE}),
}


class KeyServerCaller(msgspec.Struct, frozen=True):
    """The caller of a request, named in the audit trail by ``who``.

    ``role`` None: not registered. ``scope``: the scope of its new keys, and of the keys that it
    sees unless ``every_scope``.
    """

    who: str
    role: KmsRole | None
    scope: str
    every_scope: bool = False

    def owns(self, row: StoredKeyRow) -> bool:
        """Whether the key is of this caller's scope."""
        return self.every_scope or row.scope == self.scope

    def sees(self, row: StoredKeyRow) -> bool:
        """Whether the key exists for this caller (rule 2)."""
        return self.owns(row) or self.scope in attributes.granted_scopes(row)


def caller_at(config: KmsConfig, node: NodeName, *, local: bool) -> KeyServerCaller:
    """The caller that the endpoint proved to be ``node``; ``local``: at the server's own
    console."""
    if local:
        return KeyServerCaller(
            f"local/{node}", KmsRole.OPERATOR, config.local_scope, every_scope=True
        )
    grant = config.identities.get(node)
    if grant is None:
        return KeyServerCaller(node, None, "")
    return KeyServerCaller(node, grant.role, grant.scope, every_scope=grant.role is KmsRole.PEER)


def refuse(caller: KeyServerCaller, *operations: CoreOperation) -> ProductError | None:
    """None when the role has all ``operations``, else the error (rules 1, 3, 4 and 6)."""
    if caller.role is None:
        return PermissionDenied(f"{caller.who} is not registered at this key server")
    for operation in operations:
        if operation not in _ROLES[caller.role]:
            return PermissionDenied(f"{caller.who} ({caller.role}) may not {operation}")
        if operation in _CONSOLE and not caller.every_scope:
            return PermissionDenied(f"{caller.who} is not at the server's console: {operation}")
    return None


def absent(caller: KeyServerCaller) -> ProductError:
    """The error for a key that does not exist, or that this caller does not see (rules 1 and 2)."""
    return refuse(caller) or ItemNotFound()


def refuse_key(
    caller: KeyServerCaller, operation: CoreOperation, row: StoredKeyRow
) -> ProductError | None:
    """None when ``operation`` may be done to the key, else the error."""
    if caller.role is None or not caller.sees(row):
        return absent(caller)
    if operation not in _GRANTED and not caller.owns(row):
        return PermissionDenied(f"the key was granted to {caller.who}, not to {operation}")
    return refuse(caller, operation)


IDENTITIES_SCHEMA: Final = (
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


def put_identity(connection: sqlite3.Connection, vault: Vault, identity: Identity) -> None:
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
