"""Authorization: the role and scope of a caller against one request. Pure.

1. An unregistered caller may do nothing, not even probe: Permission Denied.
2. A caller sees the keys of its scope, and single keys that were granted to its scope. Any other
   key is Item Not Found, whatever the operation, so another scope's key and no key look alike.
3. A key that the caller sees, but an operation that its role lacks: Permission Denied. For requests
   about no single key (Create, Locate, lists) the role alone decides.
4. ``client`` creates, gets, reads and adds attributes, activates, locates: what vCenter does;
   it checks how a key may be used, and obtains leases.
   ``operator`` creates, registers, activates, revokes, destroys, locates, reads and changes
   attributes, reads the audit trail, rotates the KEK, and never gets or uses material.
   ``owner`` may use every KMIP operation on the keys of its scope. ``kps`` gets keys and reads
   attributes: the primary keys of its scope. ``vsan``, a host, does the same with the keys of its
   datastore. ``peer`` replicates keys of every scope, and does nothing else.
5. A grant is an attribute of a key, ``GRANTED_SCOPE``, that names another scope. A caller that may
   add an attribute to the key may grant it. Callers of that scope may then get the key, as their
   role permits, read its attributes and grant it on; they change nothing else. Locate does not find
   it.
6. The administrator at the server's own console is an operator of every scope. Only there can the
   root be changed, and clients of KMIP be registered.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.errors import ItemNotFound, PermissionDenied, ProductError
from protocol.terms import NodeName
from services.kms.objects import attributes
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import CoreOperation
from services.kms.settings.config import KmsConfig, KmsRole

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
